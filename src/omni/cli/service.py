"""`omni service …`: the daemon as a service of this machine, which starts at login and again after a crash."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK, UNREACHABLE, BadUsage
from omni.cli.output import one_line
from omni.domain.errors import ConfigError, DaemonUnreachable

if TYPE_CHECKING:
    from omni.ops.service import Manager, Plan, State

ANSWERS_WITHIN_S = 30.0
_OVERLAID = ("LITELLM_URL", "GITHUB_LITELLM_KEY")  # variables that say something without standing in the file


def install(context: Context, name: str, env: Sequence[str], *, shown: bool) -> int:
    """Write the definition and start the service; `shown`: only print what would be written."""
    plan, manager = _service(context, name)
    if shown:
        context.out.show("service_definition", {"definition": manager.definition().decode()},
                         manager.definition().decode().splitlines())  # fmt: skip
        return OK
    _alone(context, manager)
    _keep(plan, env)
    _check(context, plan)
    return _up(context, plan, manager.install(), f"installed; its variables: {plan.env_file}")


def change(context: Context, name: str, verb: str) -> int:
    """Uninstall, start, stop or restart it."""
    plan, manager = _service(context, name, lenient=verb in {"stop", "uninstall"})
    if verb == "uninstall":
        return _said(context, manager.uninstall(), f"removed; the data stays in {plan.data_dir}")
    if verb == "stop":
        return _said(context, manager.stop(), "stopped until you start it or log in again")
    _alone(context, manager)
    return _up(context, plan, manager.start() if verb == "start" else manager.restart(), "")


def status(context: Context, name: str) -> int:
    """How the service is; exit code 3 where it does not run."""
    _, manager = _service(context, name, lenient=True)
    state = manager.state()
    _said(context, state, "" if state.installed else "next: omni service install")
    return OK if state.running else UNREACHABLE


def _service(context: Context, name: str, *, lenient: bool = False) -> tuple[Plan, Manager]:
    """The service of this configuration; `lenient`: also where that cannot be read, for what must be possible then."""
    from omni.config import Config
    from omni.config.paths import data_dir
    from omni.ops.service import make_plan, manager_here

    try:
        config, file = context.loaded.config, context.loaded.path
    except ConfigError:
        if not lenient:
            raise
        config, file = Config(data_dir=str(data_dir(context.options.data_dir or ""))), None
    plan = make_plan(config, file, os.environ, name=name, options=options_of(context))
    return plan, manager_here(plan)


def _alone(context: Context, manager: Manager) -> None:
    """Refuse to begin beside a daemon that somebody has started by hand. Raises BadUsage."""
    if not manager.state().running and _answers(context):
        host, port = context.address
        said = f"a daemon answers at {host}:{port} already, and it is not this service"
        raise BadUsage(said, hint="end it (Ctrl-C where it runs), then omni service start")


def _answers(context: Context) -> bool:
    from omni.cli.status import fetch

    try:
        fetch(*context.address, "", "/healthz")
    except DaemonUnreachable:
        return False
    return True


def _up(context: Context, plan: Plan, state: State, note: str) -> int:
    """Tell that it runs once its port answers. Raises DaemonUnreachable where it never does."""
    from omni.ops.service.manager import until

    if not state.current:  # it may listen elsewhere: with the options that it was installed with
        return _said(context, state, note)
    if not until(lambda: _answers(context), ANSWERS_WITHIN_S):
        host, port = context.address
        said = f"{state.label} was started, and nothing answers at {host}:{port}"
        raise DaemonUnreachable(said, hint=f"tail {plan.said}")
    return _said(context, state, note)


def options_of(context: Context) -> list[str]:
    """Host and port where they come from this command line or its environment, which the service will not see."""
    given = {
        "--host": context.options.host or os.environ.get("OMNI_HOST"),
        "--port": context.options.port or os.environ.get("OMNI_PORT"),
    }
    return [word for name, value in given.items() if value for word in (name, str(value))]


def _keep(plan: Plan, names: Sequence[str]) -> None:
    """Copy variables of this shell into the service's own file. Raises BadUsage for one that is not set."""
    from omni.config.environment import keep

    missing = [name for name in names if name not in os.environ]
    if missing:
        raise BadUsage(f"not set here: {', '.join(missing)}", hint=f"export {missing[0]}=…, and again")
    if names or not plan.env_file.exists():
        keep(plan.env_file, {name: os.environ[name] for name in names})


def _check(context: Context, plan: Plan) -> None:
    """Read the configuration as the service will, and name what it will not find. Raises ConfigError."""
    from omni.config import load
    from omni.config.environment import read_env_file

    seen = {**plan.variables, "HOME": os.environ.get("HOME", "")}
    try:
        absent = set(load(context.loaded.path, overrides=_overrides(context), environ=seen).absent)
    except ConfigError as error:
        message = f"the service could not read the configuration as you can: {error.message}"
        raise ConfigError(message, hint="omni service install --env NAME, for each variable that it needs") from None
    overlaid = {name for name in _OVERLAID if name in os.environ and name not in read_env_file(plan.env_file)}
    if lost := sorted((absent - set(context.loaded.absent)) | overlaid):
        said = " ".join(f"--env {name}" for name in lost)
        context.out.note(f"the service will not see {', '.join(lost)}\n  next: omni service install {said}")


def _overrides(context: Context) -> dict[str, Any]:
    options = context.options
    return {"host": options.host, "port": options.port, "data_dir": str(context.data_dir)}


def _said(context: Context, state: State, note: str) -> int:
    context.out.show("service", msgspec.to_builtins(state), _lines(context, state))
    if note:
        context.out.note(note)
    return OK


def _lines(context: Context, state: State) -> list[str]:
    running = "running" if state.running else "not running" if state.installed else "not installed"
    style = "good" if state.running else "bad"
    process = [f"process  {state.pid}" + (f", start {state.starts}" if state.starts else "")] if state.pid else []
    ended = [f"ended    with exit code {state.last_exit}"] if state.last_exit and not state.running else []
    stale = ["changed  the definition is not what it would be now: omni service install"]
    return [
        f"{context.out.style(running, style)}  {state.label}, by {state.manager}",
        f"file     {state.file}{'' if state.installed else ' (not there)'}",
        *process,
        *ended,
        *(stale if state.installed and not state.current else []),
        *([f"note     {one_line(state.note)}"] if state.note else []),
    ]
