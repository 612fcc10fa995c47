"""What the daemon's process asks of the operating system before it begins."""

from __future__ import annotations

import os
import resource
import signal

MOST_FILES = 10_240  # more than macOS gives one process, even where it says that there is no limit
PRIVATE = 0o077


def settle_in() -> None:
    """Files that nobody else may read, and as many of them open at once as we may have."""
    os.umask(PRIVATE)
    raise_file_limit()


def raise_file_limit(wanted: int = MOST_FILES) -> int:
    """Raise the soft limit of open files as far as the hard one allows; launchd gives 256. Returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= reachable:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    except (OSError, ValueError):  # some systems allow less than they say
        return soft
    return reachable


def hold_hang_ups() -> None:
    """Let SIGHUP wait for `take_hang_ups`: while nobody handles it, it ends the process, and systemd lets that be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take_hang_ups() -> None:
    """Deliver a SIGHUP that waits, and each one to come. Processes that we start inherit this, too."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def ignores_hang_ups() -> bool:
    """Whether whoever started us wants us to outlive a terminal, as nohup does."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def has_terminal() -> bool:
    """Whether this process still has a terminal of its own: one that was closed cannot be opened any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
