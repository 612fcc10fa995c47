"""The port and the daemon behind it: who listens, whether it is ours, and whether it does its work."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import psutil

from omni import __version__
from omni.config import token_path
from omni.eventlog.lock import Holder, holder, lock_path
from omni.ops.asking import Answer, get
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.files import quoted
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.log import started
from omni.ops.doctor.scene import Scene

ANSWER_S = 3.0
_HERE = "set `host: 127.0.0.1` in the configuration"


def daemon(scene: Scene) -> Iterator[Finding]:
    """Whether a daemon runs on this data directory, answers on the port, takes our token, and is of our version."""
    alive = get(f"{scene.url}/healthz", ANSWER_S)
    held = holder(scene.log)
    if alive.member("status") == "alive":
        yield from _ours(scene, held)
    elif alive.status or listener(scene.config.port):
        yield from _taken(scene, held, alive)
    else:
        yield from _nobody(scene, held)


def _ours(scene: Scene, held: Holder) -> Iterator[Finding]:
    """An Omni answers."""
    at = listener(scene.config.port)
    if at and held.pid and held.held and at.pid != held.pid:
        says = f"pid {at.pid} listens on port {scene.config.port}, and pid {held.pid} works on {scene.data_dir}"
        yield found("daemon.second", says, _apart(held.pid))
        return
    if not held.held:
        says = f"an Omni daemon{_who(at)} listens on port {scene.config.port}; it does not work on {scene.data_dir}"
        yield found(
            "daemon.second", says, "omni doctor --data-dir DIR, with its directory; or OMNI_PORT=PORT omni serve"
        )
        return
    trouble = [*_login(scene), *_readiness(scene), *_version(scene)]
    yield from trouble or [fine("daemon", f"answers at {scene.url}, pid {held.pid}, version {__version__}")]


def _apart(pid: int) -> str:
    return f"kill {pid}, or give one of them a port of its own: OMNI_PORT=PORT omni serve"


def _login(scene: Scene) -> Iterator[Finding]:
    answer = get(f"{scene.url}/api/status", ANSWER_S, {"authorization": f"Bearer {scene.token}"})
    if answer.status == 401:
        says = f"the daemon does not take the token in {token_path(scene.data_dir)}"
        yield found("daemon.refuses_token", says, "omni token rotate; a running daemon takes the new one at once")


def _readiness(scene: Scene) -> Iterator[Finding]:
    ready = get(f"{scene.url}/readyz", ANSWER_S)
    if ready.problem:
        yield found("daemon.not_ready", f"the daemon: {ready.problem}", "omni logs --level warning")
    elif ready.status != 200:
        says = f"the daemon is not ready: {ready.member('reason') or f'HTTP {ready.status}'}"
        yield found("daemon.not_ready", says, "omni logs --level warning")
    elif isinstance(paused := ready.member("dispatch"), dict):
        says = f"no task is begun: {paused.get('reason')}"
        yield found("daemon.dispatch_paused", says, "omni logs --level error; when it is mended: omni mode auto")


def _version(scene: Scene) -> Iterator[Finding]:
    known = started(scene.log)
    if known and known.version != __version__:
        says = f"the daemon is omni {known.version}, and this is omni {__version__}"
        yield found("daemon.other_version", says, f"kill {known.pid}, then omni serve (or: omni service restart)")


def _taken(scene: Scene, held: Holder, alive: Answer) -> Iterator[Finding]:
    """Somebody listens who does not answer as Omni: a stranger, or ours that hangs."""
    at, port = listener(scene.config.port), scene.config.port
    if held.held and at and at.pid == held.pid:
        yield _mute(at, alive.why)
        return
    mend = "OMNI_PORT=PORT omni serve, or `port: PORT` in the configuration, with a free one"
    end = f"kill {at.pid}, if it is not needed; else {mend}" if at and at.pid else f"sudo lsof -i :{port}; {mend}"
    yield found("port.taken", f"port {port} is taken by {_who(at).strip() or 'a process of another user'}", end)
    if held.held:
        yield _elsewhere(scene, held)


def _mute(process: psutil.Process, why: str) -> Finding:
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_STOPPED:
            says = f"the daemon, pid {process.pid}, is stopped: somebody sent it SIGSTOP"
            return found("daemon.stopped", says, f"kill -CONT {process.pid}")
    says = f"the daemon, pid {process.pid}, listens and does not answer ({why})"
    return found("daemon.silent", says, f"kill {process.pid}, then omni serve; the log brings everything back")


def _nobody(scene: Scene, held: Holder) -> Iterator[Finding]:
    if held.held:
        yield _elsewhere(scene, held)
        return
    trouble = _bind(scene.config.host, scene.config.port)
    yield trouble or fine("port", f"port {scene.config.port} is free")
    yield found("daemon.none", f"no daemon runs on {scene.data_dir}", "omni serve, or omni service start")


def _elsewhere(scene: Scene, held: Holder) -> Finding:
    """The log is held, and nobody answers here for it."""
    pid = held.pid or 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            return found(
                "daemon.stopped", f"the daemon, pid {pid}, is stopped: it was sent SIGSTOP", f"kill -CONT {pid}"
            )
        ports = _ports(process)
        if ports:
            says = f"the daemon of {scene.data_dir}, pid {pid}, listens on port {ports[0]}, not {scene.config.port}"
            return found("daemon.silent", says, f"omni --port {ports[0]} doctor, and set `port` to the same for both")
    says = f"pid {held.pid or 'unknown'} works on {scene.data_dir}, and does not listen on port {scene.config.port}"
    lock = lock_path(scene.log)
    return found("daemon.silent", says, f"kill {pid}, then omni serve" if pid else f"fuser {quoted(lock)}")


def _ports(process: psutil.Process) -> list[int]:
    found_ = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return [each.laddr.port for each in found_]


def _bind(host: str, port: int) -> Finding | None:
    """Why nobody can listen there; None when it can be done."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon does
            probe.bind(address)
    except socket.gaierror:
        return found("port.no_address", f"host {host!r} cannot be resolved", _HERE)
    except OSError as error:
        return _unbound(host, port, error)
    return None


def _unbound(host: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRNOTAVAIL:
        says = f"host {host} is no address of this machine"
        return found("port.no_address", says, _HERE)
    if error.errno in (errno.EACCES, errno.EPERM):
        return found("port.forbidden", f"this user may not listen on port {port}", "set `port` to one above 1023")
    return found("port.taken", f"port {port}: {error.strerror}", f"sudo lsof -i :{port}")


def listener(port: int) -> psutil.Process | None:
    """The process that listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        pids = [each.pid for each in psutil.net_connections("tcp") if _listens(each, port) and each.pid]
        return psutil.Process(pids[0]) if pids else None
    return _own_listener(port)


def _own_listener(port: int) -> psutil.Process | None:
    """The same where only one's own processes may be looked at (macOS)."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(_listens(each, port) for each in process.net_connections("tcp")):
                return process
    return None


def _listens(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


def _who(process: psutil.Process | None) -> str:
    if process is None:
        return ""
    with contextlib.suppress(psutil.Error):
        return f" {process.name()} (pid {process.pid})"
    return f" pid {process.pid}"
