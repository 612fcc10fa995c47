"""The event log, its witness, its lock and its snapshots; all of it read only, beside a daemon that may be writing."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import psutil

from omni.domain.errors import CorruptLog, EventLogError
from omni.domain.events import DaemonStarted, DaemonStopped
from omni.domain.visible import one_line
from omni.eventlog.connection import BUSY_TIMEOUT_MS, connect_reader, translated
from omni.eventlog.lock import holder, lock_path
from omni.eventlog.marker import marker_path
from omni.eventlog.opening import TAIL_ROWS, check_marker, check_tail, lost_tail, read_head
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import read_snapshot, snapshot_files
from omni.eventlog.upcasters import log_codec
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.files import quoted
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene

QUICK_S = 5.0  # a log of a gigabyte is read in about this time
STEPS = 10_000  # of SQLite's machine, between two looks at the clock
AHEAD_MS = 5_000
STARTS_MS = 10 * 60 * 1000
_DEEPER = "omni verify"
_COMINGS_AND_GOINGS = (
    "SELECT type, at_ms FROM events WHERE stream = 'system' AND type IN ('system.started', 'system.stopped') "
    "ORDER BY version DESC LIMIT ?"
)


def database(scene: Scene) -> Iterator[Finding]:
    """The database opens, its pages and its end are sound, and its witness agrees."""
    if not scene.log.exists():
        yield found("log.none", f"there is no event log at {scene.log} yet", "omni serve, which makes it")
        return
    try:
        with translated(scene.log), contextlib.closing(connect_reader(scene.log)) as connection:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            yield from _content(scene, connection)
    except EventLogError as error:
        yield _unsound(error)


def _unsound(error: EventLogError) -> Finding:
    if not isinstance(error, CorruptLog):
        return found("log.unreadable", error.message, error.hint)
    other = "omni version" in error.hint or "omni config show" in error.hint
    return found("log.other_format" if other else "log.damaged", error.message, error.hint)


def _content(scene: Scene, connection: apsw.Connection) -> Iterator[Finding]:
    head = read_head(connection)
    check_tail(connection, TAIL_ROWS)
    missing, notes = check_marker(connection, marker_path(scene.log), head)
    if missing:
        error = lost_tail(missing.position - head.position, head)
        yield found("log.lost_tail", error.message, error.hint)
    for note in notes:
        yield found(
            "log.no_witness", note, "omni serve, which writes it afresh; omni verify, to look at all of the log"
        )
    wrong, whole = _quick_check(connection)
    if wrong:
        raise CorruptLog(f"the event log {scene.log} is damaged: {one_line(wrong)}", hint=_RESTORE)
    if not whole:
        says = f"the log has {head.position:,} events; after {QUICK_S:g} s the quick check was given up"
        yield found("log.partly_checked", says, _DEEPER)
    elif not (missing or notes):
        yield fine("log", f"{head.position:,} events; pages, end and head marker are sound (all of it: {_DEEPER})")


_RESTORE = "omni verify, then restore a backup of the log"


def _quick_check(connection: apsw.Connection) -> tuple[str, bool]:
    """What SQLite says of its pages, empty when they are sound; and whether it came to an end."""
    until = time.monotonic() + QUICK_S
    connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        said: list[tuple[Any, ...]] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.InterruptError:
        return "", False
    finally:
        connection.set_progress_handler(None)
    return ("" if said == [("ok",)] else str(said[0][0])), True


def snapshots(scene: Scene) -> Iterator[Finding]:
    """Snapshots are a cache: one that cannot be read, or is of another log, only takes space."""
    if not scene.log.exists():
        return
    good, bad = 0, list[Path]()
    with contextlib.closing(open_reader(scene.log, log_codec())) as reader:
        for path in snapshot_files(scene.data_dir / "snapshots"):
            snapshot = read_snapshot(path)
            sound = snapshot is not None and reader.hash_at(snapshot.position) == snapshot.hash
            good, bad = good + sound, bad if sound else [*bad, path]
    for path in bad:
        says = f"the snapshot {path.name} is damaged, or not of this log"
        yield found("snapshot.stale", says, f"rm {quoted(path)}", _remover(path))
    if good and not bad:
        yield fine("snapshots", f"{good} snapshots, all of this log")


def _remover(path: Path) -> Any:
    def remove() -> str:
        path.unlink(missing_ok=True)
        return f"removed {path}"

    return remove


def lock(scene: Scene) -> Iterator[Finding]:
    """One daemon for each log: whether the lock says so, and whom it names."""
    path = lock_path(scene.log)
    held, pid = holder(scene.log)
    if held:
        yield fine("lock", f"held by the daemon, pid {pid or 'unknown'}")
    elif (deleted := _holds_deleted(path)) is not None:
        says = f"pid {deleted} works on this log, and its lock file was deleted: a second daemon could start"
        yield found("lock.missing", says, f"kill {deleted}, then omni serve")
    elif pid is not None and not _ended_in_order(scene):
        says = f"{path} names pid {pid}, which has let go without a word: it was killed, or the machine went down"
        yield found("lock.stale", says, "omni serve; nothing has to be cleaned up")


def _holds_deleted(path: Path) -> int | None:
    """A process of ours that holds a lock file which its path does not name any more."""
    for process in _daemons():
        with contextlib.suppress(psutil.Error, OSError):
            for link in Path(f"/proc/{process.pid}/fd").iterdir():  # Linux alone keeps the names of deleted files
                if str(link.readlink()) == f"{path} (deleted)":
                    return process.pid
    return None


def _daemons() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid() and "serve" in process.cmdline():
                yield process


def _ended_in_order(scene: Scene) -> bool:
    return isinstance(last_word(scene.log), DaemonStopped)


def last_word(log: Path) -> DaemonStarted | DaemonStopped | None:
    """What the newest daemon said of itself last: that it had started, or that it would stop."""
    said: DaemonStarted | DaemonStopped | None = _newest(log, "system.started", "system.stopped")
    return said


def started(log: Path) -> DaemonStarted | None:
    """How the newest daemon described itself."""
    said: DaemonStarted | None = _newest(log, "system.started")
    return said


def _newest(log: Path, *types: str) -> Any:
    """The last event of the system of these types; None without one, or where the log cannot be read."""
    if not log.exists():
        return None
    with contextlib.suppress(EventLogError), contextlib.closing(open_reader(log, log_codec())) as reader:
        head = reader.head.position
        said = [each for tag in types if (each := reader.last("system", tag, head))]
        return max(said, key=lambda each: each.position).event if said else None
    return None


def clock(scene: Scene) -> Iterator[Finding]:
    """A log that ends in the future was written under another clock, or this one was set back."""
    if not scene.log.exists():
        return
    with contextlib.closing(open_reader(scene.log, log_codec())) as reader:
        at_ms = reader.at_ms(reader.head.position)
    ahead_ms = (at_ms or 0) - scene.machine.wall_ms()
    if ahead_ms > AHEAD_MS:
        says = f"the last event of the log is {ahead_ms / 1000:,.0f} s in the future: the clock was set back"
        yield found("clock.behind_log", says, set_clock(scene.machine.platform))
    else:
        yield fine("clock.log", "not behind the last event of the log")


def set_clock(platform: str) -> str:
    """The command that sets the clock from the network."""
    return "sudo sntp -sS time.apple.com" if platform == "darwin" else "sudo timedatectl set-ntp true"


def crash_loop(scene: Scene) -> Iterator[Finding]:
    """Whether the daemon was started again and again a short while ago; a stop in good order takes the count back."""
    if not scene.log.exists() or not scene.config.limits.crash_loop_starts:
        return
    most, since = scene.config.limits.crash_loop_starts, scene.machine.wall_ms() - STARTS_MS
    with translated(scene.log), contextlib.closing(connect_reader(scene.log)) as connection:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        newest: list[tuple[Any, ...]] = connection.execute(_COMINGS_AND_GOINGS, (most + 1,)).fetchall()
    starts = list(itertools.takewhile(lambda row: row[0] == "system.started" and row[1] > since, newest))
    if len(starts) > most:
        says = f"more than {most} starts within ten minutes, and none of them ended in order"
        yield found("daemon.crash_loop", says, "omni logs --level error; when it is mended: omni mode auto")
