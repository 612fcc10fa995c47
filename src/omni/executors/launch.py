"""Start a program that ends with its parent: `python -I -S launch.py PARENT_PID PROGRAM ARGUMENT…` (Linux).

The wish is kept by the kernel across exec, so it costs one short-lived interpreter per connection and no code between
fork and exec in the daemon, where only async-signal-safe calls are allowed. It reaches the child alone; descendants are
the sweep's business. Run as a file and without imports from Omni: the interpreter starts in about 30 ms this way.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    """Become `argv`, to be sent SIGTERM when `parent` ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a daemon in a shell's background ignores it; its children need not
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit(143)
    os.execv(argv[0], argv)  # noqa: S606 - an argument list, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
