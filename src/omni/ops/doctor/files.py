"""Files and directories: who can read them, whether they are there, and whether there is room."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from omni.config import token_path
from omni.domain.errors import ConfigError
from omni.eventlog.ballast import BALLAST_BYTES, SPARE_BYTES, Ballast
from omni.eventlog.file_system import UntrustedFileSystem, require_trusted
from omni.eventlog.lock import holder
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene
from omni.server.tokens import read_token

LOW_BYTES = 1024 * 1024 * 1024
LARGE_LOGS_BYTES = 512 * 1024 * 1024
MIB = 1024 * 1024
_OTHERS = 0o077


def quoted(path: Path | str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def token(scene: Scene) -> Iterator[Finding]:
    """The login token: there, usable, and nobody else's to read."""
    path = token_path(scene.data_dir)
    if scene.config.auth == "none":
        yield fine("token", "none is wanted: auth is none, on this machine only")
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield _readable_token(path, mode)
    except OSError as error:
        yield _no_token(path, error)


def _readable_token(path: Path, mode: int) -> Finding:
    try:
        read_token(path)
    except ConfigError as error:
        if mode & _OTHERS:
            mend = f"chmod 600 {quoted(path)}, then omni token rotate: it may have been read"
            return found("token.open_to_others", error.message, mend, lambda: closed(path, 0o600))
        return found("token.unusable", error.message, error.hint)
    return fine("token", f"{path}: mode {mode:04o}")


def _no_token(path: Path, error: OSError) -> Finding:
    if isinstance(error, FileNotFoundError):
        return found("token.none", f"there is no token at {path} yet", "omni serve, which makes it")
    return found("token.unusable", f"{path} cannot be read: {error.strerror}", f"ls -l {quoted(path)}")


def config_file(scene: Scene) -> Iterator[Finding]:
    """The configuration file may hold keys, so it is its owner's alone."""
    if scene.loaded.path is None:
        return
    path = scene.loaded.path.absolute()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        says = f"others can read {path} (mode {mode:04o}); it may hold keys"
        yield found("config.open_to_others", says, f"chmod 600 {quoted(path)}", lambda: closed(path, 0o600))
    else:
        yield fine("config.file", f"{path}: mode {mode:04o}")


def data_dir(scene: Scene) -> Iterator[Finding]:
    """The data directory: ours, private and writable."""
    path = scene.data_dir
    if not path.exists():
        yield found("data.none", f"{path} does not exist yet", f"mkdir -m 700 -p {quoted(path)}", lambda: _made(path))
        return
    if not path.is_dir():
        yield found("data.no_directory", f"{path} is not a directory", "omni serve --data-dir DIR, with another one")
        return
    trouble = [*_access(path), *_file_system(scene)]
    yield from trouble or [fine("data", f"{path}: private and writable")]


def _access(path: Path) -> Iterator[Finding]:
    status = path.stat()
    if status.st_uid != os.geteuid():
        owner = f"user {status.st_uid}"
        yield found("data.foreign", f"{path} belongs to {owner}", f"sudo chown -R $(id -u) {quoted(path)}")
    if not os.access(path, os.W_OK | os.X_OK):
        yield found("data.not_writable", f"nothing can be written into {path}", f"chmod 700 {quoted(path)}")
    if (mode := stat.S_IMODE(status.st_mode)) & _OTHERS:
        says = f"others can look into {path} (mode {mode:04o})"
        if mode & stat.S_ISVTX or path.resolve() == Path(path.anchor):  # everybody's: closed, it would stop them all
            mend = "omni serve --data-dir DIR, with a directory of its own"
            yield found("data.open_to_others", f"{says}, which belongs to everybody", mend)
        else:
            yield found("data.open_to_others", says, f"chmod 700 {quoted(path)}", lambda: closed(path, 0o700))


def _file_system(scene: Scene) -> Iterator[Finding]:
    try:
        require_trusted(scene.data_dir, trust=scene.config.trust_file_system, look=scene.machine.mount)
    except UntrustedFileSystem as error:
        yield found("data.file_system", error.message, error.hint)


def workdirs(scene: Scene) -> Iterator[Finding]:
    """The directories that tasks may work in."""
    absent = [Path(each) for each in scene.config.allowed_workdirs if not Path(each).is_dir()]
    for path in absent:
        says = f"allowed_workdirs: {path} is not a directory"
        yield found("workdir.none", says, f"mkdir -p {quoted(path)}", None if path.exists() else _maker(path))
    if not absent:
        yield fine("workdirs", f"tasks may work below {', '.join(scene.config.allowed_workdirs)}")


def disk(scene: Scene) -> Iterator[Finding]:
    """Room for the log, and the ballast that is given up when there is none."""
    where = _existing(scene.data_dir)
    room = scene.machine.space(where)
    said = f"{room.free // MIB:,} MiB free under {where}"
    if room.free < BALLAST_BYTES + SPARE_BYTES:
        yield found("disk.full", said, f"df -h {quoted(where)}, then free some space; Omni goes on by itself")
    elif room.free < LOW_BYTES:
        yield found("disk.low", said, f"df -h {quoted(where)}, then free some space")
    else:
        yield fine("disk", said)
    yield from _ballast(scene)


def _ballast(scene: Scene) -> Iterator[Finding]:
    ballast = Ballast(scene.log)
    if not scene.log.exists() or ballast.held:
        return
    says = "the 8 MiB that are kept back for a full disk are not there"
    yield found("disk.no_ballast", says, "omni doctor --fix, or omni serve, when there is room", lambda: _kept(ballast))


def log_size(scene: Scene) -> Iterator[Finding]:
    """What the daemon's and the executors' log files take."""
    directory = scene.data_dir / "logs"
    size = sum(each.stat().st_size for each in directory.rglob("*") if each.is_file())
    said = f"{directory}: {size / MIB:,.1f} MiB"
    if size > LARGE_LOGS_BYTES:
        yield found("logs.large", said, f"du -a {quoted(directory)} | sort -n, then delete old *.log.N files")
    else:
        yield fine("logs", said)


def children(scene: Scene) -> Iterator[Finding]:
    """Processes of executors that outlived their daemon."""
    from omni.executors.children import SAME_START_S, read_book

    left = [
        f"{record.pid} ({record.executor or 'unnamed'})"
        for record in read_book(scene.data_dir)
        if abs(_started_s(record.pid) - record.started_s) < SAME_START_S
    ]
    if left and not holder(scene.log).held:
        says = f"no daemon runs, and these processes of executors do: {', '.join(left)}"
        yield found("daemon.orphans", says, "omni serve, which ends them before it starts any of its own")


def _started_s(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def _existing(path: Path) -> Path:
    """The path, or what there is of it."""
    return next(each for each in (path, *path.parents) if each.exists())


# --- mending ----------------------------------------------------------------------------------------------------------


def closed(path: Path, mode: int) -> str:
    """Give a file or directory this mode; says so."""
    path.chmod(mode)
    return f"set the mode of {path} to {mode:04o}"


def _made(path: Path) -> str:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"made the directory {path}"


def _maker(path: Path) -> Callable[[], str]:
    return lambda: _made(path)


def _kept(ballast: Ballast) -> str:
    return "kept 8 MiB back" if ballast.take() else "there is too little room to keep 8 MiB back"
