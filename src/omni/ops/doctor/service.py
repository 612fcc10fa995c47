"""The service: whether the daemon starts by itself, and whether its definition is the one that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omni.config.environment import read_env_file
from omni.domain.errors import ConfigError, OmniError
from omni.eventlog.lock import holder
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.files import closed
from omni.ops.doctor.finding import Finding, Mend
from omni.ops.doctor.scene import Scene
from omni.ops.service import Launchd, Manager, State, Systemd, make_plan
from omni.ops.service.plan import ENV_FILE
from omni.ops.service.systemd import LINGER

_AGAIN = "omni service install"


def service(scene: Scene) -> Iterator[Finding]:
    """How launchd or systemd sees the daemon."""
    try:
        state = _manager(scene).state()
    except OmniError as error:
        yield found("service.unknown", f"nothing is known of a service: {error.message}", error.hint)
        return
    trouble = list(_state(scene, state))
    yield from trouble or [fine("service", f"{state.manager} keeps the daemon up, pid {state.pid}")]


def variables(scene: Scene) -> Iterator[Finding]:
    """The private file of variables: the service's daemon does not start when it is unfit."""
    file = scene.data_dir / ENV_FILE
    if not file.exists():
        return
    try:
        names = read_env_file(file)
        yield fine("service.env", f"{file}: {len(names)} variables, yours alone to read")
    except ConfigError as error:
        open_to_others = file.stat().st_mode & 0o077
        yield found("service.variables", error.message, error.hint, _closer(file) if open_to_others else None)


def _closer(file: Path) -> Mend:
    return lambda: closed(file, 0o600)


def _manager(scene: Scene) -> Manager:
    plan = make_plan(scene.config, scene.loaded.path, scene.environ, options=scene.options)
    room = Launchd if scene.machine.platform == "darwin" else Systemd
    return room(plan, home=Path(scene.environ.get("HOME") or Path.home()), environ=scene.environ)


def _state(scene: Scene, state: State) -> Iterator[Finding]:
    if not state.installed:
        yield found("service.not_installed", "the daemon does not start at login, nor after a crash", _AGAIN)
        return
    if not state.running:
        yield _idle(scene, state)
    if not state.current:
        yield found("service.outdated", f"{state.file} is not what this Omni and configuration would write", _AGAIN)
    if state.note == LINGER:
        yield found("service.ends_at_logout", "the service ends when you log out", "loginctl enable-linger")


def _idle(scene: Scene, state: State) -> Finding:
    held = holder(scene.log)
    if held.held:
        says = f"the daemon, pid {held.pid}, was not started by the service, which is installed and does not run"
        return found("service.beside", says, f"kill {held.pid}, then omni service start")
    ended = f", its last exit code was {state.last_exit}" if state.last_exit else ""
    says = f"the service {state.label} is installed and does not run{ended}"
    return found("service.not_running", says, "omni service start; if it ends again: omni logs --level error")
