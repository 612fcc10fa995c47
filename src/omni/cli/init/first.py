"""The first configuration: look around, show what was found, write what fits, and say how to go on.

A configuration that there is already stays as it is: then only what could be added to it is shown.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.init import text
from omni.cli.init.clients import Client, clients
from omni.cli.init.wanted import beside, wanted
from omni.cli.init.way import way_of
from omni.config import Loaded
from omni.domain.errors import OmniError
from omni.ops.surroundings import Program, Server, Surroundings, Targets, look

_TITLES = {
    "claude": "Claude Code", "openclaw": "OpenClaw", "tailscale": "Tailscale", "litellm": "LiteLLM proxy",
    "cliproxyapi": "CLIProxyAPI", "ollama": "Ollama",
}  # fmt: skip


class Outcome(Struct, frozen=True, kw_only=True):
    """What there is to say at the end. `said`: the file that was made, or the keys that could be added to it."""

    path: Path
    said: str
    to_do: list[str]
    loaded: Loaded
    written: bool = False
    there: bool = False
    shown: bool = False  # the file was seen before the question


def run(context: Context, *, yes: bool, targets: Targets | None = None) -> int:
    """Look around, and write the configuration where there is none. Raises OmniError."""
    there, target = _place(context)
    found = look(targets)
    if not context.out.as_json:
        context.out.text("\n".join(_seen(found)))
    outcome = _left_alone(context, found, there) if there else _made(context, found, target, yes=yes)
    return _say(context, found, outcome)


def _place(context: Context) -> tuple[Path | None, Path]:
    """The file that is in force already, if any, and the one to write: --config, OMNI_CONFIG or the platform's."""
    from omni.config import user_file
    from omni.config.paths import expand, find_file

    named = context.options.config or os.environ.get("OMNI_CONFIG", "")
    if not named:
        there = find_file(None, {})
        return (there.absolute() if there else None), user_file()
    target = expand(named, os.environ)
    return (target if os.path.lexists(target) else None), target


# --- a file that is there -------------------------------------------------------------------------------------------


def _left_alone(context: Context, found: Surroundings, there: Path) -> Outcome:
    """What could be added to a file; raises ConfigError where it cannot be used as it is."""
    from omni.config.document import parse_document

    loaded = context.loaded
    said, _ = parse_document(there.read_text(encoding="utf-8-sig"), str(there))
    more = beside(wanted(found, {}), said, loaded.config)
    return Outcome(path=there, said=text.addition(more), to_do=[], loaded=loaded, there=True)


# --- a new one ------------------------------------------------------------------------------------------------------


def _made(context: Context, found: Surroundings, target: Path, *, yes: bool) -> Outcome:
    options = context.options
    data_dir = str(Path(options.data_dir).expanduser().absolute()) if options.data_dir else None
    told = {"host": options.host, "port": options.port or _port_of_this_shell(), "data_dir": data_dir}
    keys = wanted(found, told)
    said = text.rendered(keys, found)
    loaded = _checked(said, told)
    asks = _at_a_terminal(context) and not yes
    write = yes or (asks and _agreed(context, said, target))
    if write:
        _create(target, said)
        loaded = msgspec.structs.replace(loaded, path=target)
    return Outcome(path=target, said=said, to_do=text.to_do(keys, found), loaded=loaded, written=write, shown=asks)


def _port_of_this_shell() -> int | None:
    """The port of OMNI_PORT: the next shell may not have the variable, and clients are told this port."""
    said = os.environ.get("OMNI_PORT", "")
    return int(said) if said.isdecimal() else None


def _checked(said: str, overrides: dict[str, Any]) -> Loaded:
    """The configuration as the loader of a start reads it, before there is a file; raises ConfigError."""
    from omni.config import load

    with tempfile.TemporaryDirectory(prefix="omni-init-") as directory:
        file = Path(directory) / "config.yaml"
        file.write_text(said, encoding="utf-8")
        return msgspec.structs.replace(load(file, overrides=overrides), path=None)


def _at_a_terminal(context: Context) -> bool:
    return sys.stdin.isatty() and context.out.live and not context.out.as_json


def _agreed(context: Context, said: str, target: Path) -> bool:
    """Whether a person says yes to the file."""
    context.out.text(f"\n{said}")
    sys.stderr.write(f"Write this to {target}? [Y/n] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}


def _create(target: Path, said: str) -> None:
    """A file that only its owner reads; never over another. Raises BadUsage, OmniError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadUsage(f"{target} exists already", hint=f"omni config check --config {target}") from None
    except OSError as error:
        raise OmniError(f"{target} cannot be written: {error.strerror}", hint="omni init --config FILE") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(said)
        file.flush()
        os.fsync(file.fileno())


# --- what is said ---------------------------------------------------------------------------------------------------


def _seen(found: Surroundings) -> list[str]:
    rows = [*map(_program_line, found.programs), *map(_server_line, found.servers)]
    keys = ", ".join(found.keys) or "none that Omni knows"
    return ["On this machine:", *rows, f"  {'Keys':17} {keys}"]


def _program_line(program: Program) -> str:
    where = "" if program.on_path else f", at {program.path}, which is not on the PATH"
    told = f"{program.version or program.problem}{where}" if program.found else "not on the PATH"
    return f"  {_TITLES[program.name]:17} {told}"


def _server_line(server: Server) -> str:
    title = "OpenClaw Gateway" if server.name == "openclaw" else _TITLES[server.name]
    models = f", {len(server.models)} models: {text.listed(server.models, 4)}" if server.models else ""
    told = f"{server.url}{models}" if server.found else f"not at {server.url} ({server.problem})"
    return f"  {title:17} {told}{', which wants a key' if server.locked else ''}"


def _say(context: Context, found: Surroundings, outcome: Outcome) -> int:
    known = clients(way_of(outcome.loaded))
    steps = _next(context, found, outcome)
    body = {
        "found": msgspec.to_builtins(found), "path": str(outcome.path), "written": outcome.written,
        "existing": outcome.there, "config": "" if outcome.there else outcome.said,
        "adds": outcome.said if outcome.there else "", "to_do": outcome.to_do, "warnings": outcome.loaded.warnings,
        "clients": {each.name: _client_body(each) for each in known},
        "next": [command for command, _ in steps], "programs": [each.name for each in known],
    }  # fmt: skip
    context.out.show("init", body, [*_outcome_lines(outcome), *_client_lines(known)])
    if not context.out.as_json:
        width = max(len(command) for command, _ in steps)
        context.out.note("next:\n" + "\n".join(f"  {command:{width}}  {what}" for command, what in steps))
    return OK


def _outcome_lines(outcome: Outcome) -> list[str]:
    to_do = ["", "Left for you:", *(f"  {each}" for each in outcome.to_do)] if outcome.to_do else []
    if outcome.written:
        return ["", f"Written: {outcome.path}", *to_do]
    if outcome.shown:
        return ["", "Nothing is written.", *to_do]
    if not outcome.there:
        return ["", f"Nothing is written; omni init --yes writes this to {outcome.path}:", "", outcome.said, *to_do]
    if not outcome.said:
        return ["", f"{outcome.path} is there already, and nothing was found that it does not name."]
    return ["", f"{outcome.path} is there already and stays as it is. What was found could be added to it:", "",
            outcome.said]  # fmt: skip


def _client_lines(known: Sequence[Client]) -> list[str]:
    lines = ["", "For the programs that shall hand it work, once the daemon has started for the first time:"]
    for each in known:
        lines += ["", f"{each.title}{f' ({each.note})' if each.note else ''}", *(f"  {line}" for line in each.lines)]
    return lines


def _client_body(client: Client) -> dict[str, Any]:
    return {"command": client.command, "file": client.file, "entry": client.entry, "note": client.note}


def _next(context: Context, found: Surroundings, outcome: Outcome) -> list[tuple[str, str]]:
    named = f" --config {shlex.quote(str(outcome.path))}" if context.options.config else ""
    if not (outcome.written or outcome.there):
        return [(f"omni init --yes{named}", "writes it")]
    kept = "".join(f" --env {name}" for name in found.keys if f"${{{name}}}" in outcome.said)
    return [
        (f"omni doctor{named}", "checks all that it needs"),
        (f"omni serve{named}", "runs the daemon in this terminal"),
        (f"omni service install{named}{kept}", "or from now on, at every login"),
        (f"omni submit{named} 'show a system report' --wait", "a first task, in another terminal"),
    ]
