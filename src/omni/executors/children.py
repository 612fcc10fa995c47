"""Child processes: started with a clean environment, recorded before use, ended with all that they started.

Three nets, because each has a hole. The recorded pid and start time find a child whose environment cannot be read; the
marker `OMNI_OWNER` in the environment finds descendants that left the process group and lost their parent; the process
tree finds descendants that cleaned their environment. A descendant that did all three escapes (ADR-0017).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from omni.domain.errors import ExecutorUnavailable

FILE_NAME = "children.json"
OWNER = "OMNI_OWNER"
CHILD = "OMNI_CHILD"
PATIENCE_S = 0.8  # after each of: stdin closed, INT, TERM; four steps stay below the five seconds of a daemon's stop
SAME_START_S = 2.0  # start times are counted from a boot time that moves when the clock is set
ROUNDS = 6
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_SAFE = frozenset(
    (
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TMPDIR",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    )
)
_LAUNCHER = str(Path(__file__).with_name("launch.py"))


class Record(msgspec.Struct, frozen=True):
    """A child that was started: enough to know it again, and not to mistake another for it."""

    pid: int
    started_s: float
    executor: str = ""


class Book:
    """`children.json`: which children live now. A lost write costs nothing that the marker does not find."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._records: dict[int, Record] = {}

    def add(self, record: Record) -> None:
        self._records[record.pid] = record
        with contextlib.suppress(OSError):
            self._write()

    def remove(self, pid: int) -> None:
        if self._records.pop(pid, None):
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(list(self._records.values())))
        draft.replace(self._path)


def read_book(data_dir: Path) -> list[Record]:
    """What the last daemon wrote; nothing when the file is absent or damaged."""
    try:
        return msgspec.json.decode((data_dir / FILE_NAME).read_bytes(), type=list[Record])
    except (OSError, msgspec.DecodeError):
        return []


def environment(
    configured: Mapping[str, str], owner: str, child: str, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The child's whole environment: what is harmless, what its entry says, and the two markers."""
    safe = {name: value for name, value in base.items() if name in _SAFE or name.startswith("LC_")}
    return {**safe, **configured, OWNER: owner, CHILD: child}


class Child:
    """One running child with pipes on stdin, stdout and stderr, in a session of its own."""

    def __init__(self, process: asyncio.subprocess.Process, record: Record, marker: str, book: Book) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self.pid = process.pid
        self.started_ms = int(record.started_s * 1000)
        self._process = process
        self._marker = marker
        self._book = book

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.returncode

    async def exited(self, patience_s: float) -> bool:
        """Wait for the end, but not for the pipes: a grandchild may hold them."""
        for _ in range(max(1, int(patience_s / 0.02))):
            if self.exit_code is not None:
                return True
            await asyncio.sleep(0.02)
        return self.exit_code is not None

    async def end(self) -> None:
        """End it and all that it started: stdin closed, INT, TERM, KILL. Takes four steps of patience at most."""
        family = await asyncio.to_thread(_family, [self.pid])
        self.stdin.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            if await self.exited(PATIENCE_S):
                break
            signal_group(self.pid, number)
        await self.exited(PATIENCE_S)
        await asyncio.to_thread(_put_down, lambda: _alive(family) + _marked(CHILD, {self._marker}))
        await self.exited(PATIENCE_S)
        self._book.remove(self.pid)
        close_pipes(self._process)


async def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: str, owner: str, name: str, book: Book) -> Child:
    """Start a program, or raise ExecutorUnavailable with the reason a person needs."""
    marker = uuid.uuid4().hex
    process = await launched(argv, env=environment(env, owner, marker), cwd=cwd)
    record = recorded(process.pid, name)
    book.add(record)
    return Child(process, record, marker, book)


async def launched(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """A program with this whole environment, in a session of its own, that ends with us; or ExecutorUnavailable."""
    line = _launched([find_program(argv[0], env.get("PATH", ""), cwd), *argv[1:]])
    try:
        return await asyncio.create_subprocess_exec(
            *line, stdin=stdin, stdout=-1, stderr=-1, env=env, cwd=cwd or None, start_new_session=True,
            limit=MAX_MESSAGE_BYTES,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ExecutorUnavailable(f"cannot start {argv[0]}: {error}", hint="omni config check --live") from error


def recorded(pid: int, name: str = "") -> Record:
    """What to keep of a process that was just started."""
    return Record(pid, _started_s(pid), name)


def end_all(records: Iterable[Record], variable: str, values: Collection[str]) -> int:
    """End these processes, all that carry the variable with one of the values, and their descendants. Blocks."""
    found = [process for record in records if (process := _identify(record))]
    return _put_down(lambda: _alive(_family_of(found)) + _marked(variable, values))


def sweep(data_dir: Path, owner: str) -> int:
    """End what an earlier daemon of this data directory left behind; how many processes that were. Blocks."""
    ended = end_all(read_book(data_dir), OWNER, {owner})
    (data_dir / FILE_NAME).unlink(missing_ok=True)
    return ended


def find_program(name: str, path: str, cwd: str = "") -> str:
    """The full path of a program; ExecutorUnavailable where it, or the directory to run it in, is not there."""
    if "/" in name:
        found = str(Path(cwd or ".", name).expanduser().absolute())
        found = found if os.access(found, os.X_OK) else ""
    else:
        found = shutil.which(name, path=path) or ""
    if found and (not cwd or Path(cwd).is_dir()):
        return found
    what = f"the command {name!r} was not found" if not found else f"the directory {cwd!r} does not exist"
    raise ExecutorUnavailable(
        what, hint="install it, or give its full path in `command`; then omni config check --live"
    )


def _launched(argv: list[str]) -> list[str]:
    if sys.platform != "linux":
        return argv
    return [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), *argv]


def _started_s(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def _identify(record: Record) -> psutil.Process | None:
    """The process that a record means, if it can be a child of ours: the book may be damaged, or forged."""
    with contextlib.suppress(psutil.Error, ValueError, OverflowError):  # the latter for pids that no system gives
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started_s) < SAME_START_S
        if same and process.pid not in _spared() and process.uids().real == os.getuid():
            return process
    return None


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and _state(each) != psutil.STATUS_ZOMBIE]


def _state(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return psutil.STATUS_ZOMBIE


def _family(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return _family_of(found)


def _family_of(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes and all their descendants, each once."""
    found = {each.pid: each for each in processes}
    for each in list(found.values()):
        with contextlib.suppress(psutil.Error):
            found.update({child.pid: child for child in each.children(recursive=True)})
    return list(found.values())


def _marked(name: str, values: Collection[str]) -> list[psutil.Process]:
    """Our own user's processes with this variable, without ourselves and our ancestors."""
    spared = _spared()
    return [each for each in psutil.process_iter() if each.pid not in spared and _has(each, name, values)]


def _spared() -> set[int]:
    return {os.getpid(), *(each.pid for each in psutil.Process().parents())}


def _has(process: psutil.Process, name: str, values: Collection[str]) -> bool:
    try:
        if process.uids().real != os.getuid():
            return False
        return process.environ().get(name) in values and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def _put_down(find: Callable[[], list[psutil.Process]]) -> int:
    """TERM, then KILL, until nothing is found any more: a process may fork while it is being ended."""
    ended: set[int] = set()
    for turn in range(ROUNDS):
        found = _family_of(find())
        if not found:
            break
        ended.update(each.pid for each in found)
        for each in found:
            with contextlib.suppress(psutil.Error):
                each.terminate() if turn == 0 else each.kill()
        psutil.wait_procs(found, timeout=0.5)
    return len(ended)


def signal_group(pid: int, number: signal.Signals) -> None:
    """To a program that was `launched`, and to what stayed in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)  # it leads its own group, because it leads its own session


def close_pipes(process: asyncio.subprocess.Process) -> None:
    """Let go of a process that has ended: a descendant's pipe end would keep the transport open for ever."""
    # nothing public closes it
    transport = getattr(process, "_transport", None)
    if transport is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            transport.close()
