"""`omni init --openclaw`: registers Omni with OpenClaw, or prints the command that does."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any, Final

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.init.way import NAME, Way, way_of
from omni.domain.errors import OmniError

OPENCLAW: Final = "openclaw"
WITHIN_S = 120.0  # OpenClaw takes ten seconds to start on a small machine
_WAY = ("url", "transport", "headers", "command", "args", "env", "cwd")  # of an entry: how the server is reached
_NEXT = (
    ("omni serve", "runs the daemon, which has to be there when OpenClaw calls"),
    ("openclaw mcp reload", "lets a gateway that runs take it with its next turn"),
    ("openclaw mcp probe omni", "shows whether OpenClaw reaches it"),
)


def run(context: Context, *, stdio: bool, apply: bool, force: bool) -> int:
    """Print a registration or make it. Raises BadUsage, ConfigError, OmniError."""
    if force and not apply:
        raise BadUsage("--force goes with --apply", hint="omni init --openclaw --apply --force")
    way = way_of(context.loaded)
    entry = entry_of(way, stdio=stdio)
    if not apply:
        return _print(context, way, entry)
    if "headers" in entry:
        entry |= {"headers": {"Authorization": _bearer(context)}}
    return _apply(context, entry, force=force)


# --- what is registered ---------------------------------------------------------------------------------------------


def entry_of(way: Way, *, stdio: bool = False) -> dict[str, Any]:
    """Omni as an entry of OpenClaw's `mcp.servers`, the token left for a shell to put in."""
    if stdio:
        command, *arguments = way.bridge
        return {"command": command, "args": arguments}
    return {"url": way.http, "transport": "streamable-http", **way.headers}


def line_of(way: Way, entry: dict[str, Any]) -> str:
    """The command that registers an entry."""
    return f"{OPENCLAW} mcp set {NAME} {way.in_shell(entry)}"


def _bearer(context: Context) -> str:
    """The header's value. Raises ConfigError when there is no token yet."""
    from omni.config import token_path
    from omni.server.tokens import read_token

    return f"Bearer {read_token(token_path(context.data_dir))}"


# --- printing -------------------------------------------------------------------------------------------------------


def _print(context: Context, way: Way, entry: dict[str, Any]) -> int:
    line = line_of(way, entry)
    context.out.show("init", {"program": OPENCLAW, "name": NAME, "entry": entry, "command": line}, [line])
    if context.out.as_json:
        return OK
    if "headers" in entry:
        context.out.note("the shell puts the token in; do not write it into the line, which stays in the history")
    context.out.note("  next: run this line, or let omni init --openclaw --apply do it; then")
    _say_next(context)
    return OK


def _say_next(context: Context) -> None:
    width = max(len(command) for command, _ in _NEXT)
    for command, why in _NEXT:
        context.out.note(f"  {command:{width}}  {why}")


# --- applying -------------------------------------------------------------------------------------------------------


def _apply(context: Context, entry: dict[str, Any], *, force: bool) -> int:
    program = shutil.which(OPENCLAW)
    if program is None:
        hint = "npm install -g openclaw, or omni init --openclaw for the line to run elsewhere"
        raise OmniError("there is no program openclaw on the PATH", hint=hint)
    known = _registered(program)
    if known is not None and _same(known, entry):
        return _done(context, "is registered with OpenClaw already", changed=False)
    if known is not None and not force:
        hint = "openclaw mcp show omni, to look at it; omni init --openclaw --apply --force, to replace it"
        raise BadUsage(f"OpenClaw has another MCP server called omni ({_reach(known)})", hint=hint)
    kept = {key: value for key, value in (known or {}).items() if key not in _WAY}
    _call(program, "mcp", "set", NAME, json.dumps({**kept, **entry}))
    if (now := _registered(program)) is None or not _same(now, entry):
        raise OmniError("OpenClaw took the entry, and does not have it", hint="openclaw mcp list")
    return _done(context, "is now registered with OpenClaw", changed=True)


def _done(context: Context, said: str, *, changed: bool) -> int:
    body = {"program": OPENCLAW, "name": NAME, "registered": True, "changed": changed}
    context.out.show("init", body, [f"{NAME} {said}"])
    if not context.out.as_json:
        context.out.note("  next:")
        _say_next(context)
    return OK


def _registered(program: str) -> dict[str, Any] | None:
    """The entry that OpenClaw has under our name; None when it has none."""
    printed = _call(program, "mcp", "list", "--json")
    try:
        return dict(json.loads(printed[printed.index("{") :])[NAME])
    except KeyError:
        return None
    except (ValueError, TypeError):
        hint = "openclaw mcp list --json, and openclaw --version"
        raise OmniError("OpenClaw's list of MCP servers cannot be read", hint=hint) from None


def _same(known: dict[str, Any], entry: dict[str, Any]) -> bool:
    return {key: known[key] for key in _WAY if key in known} == entry


def _reach(entry: dict[str, Any]) -> str:
    """How an entry is reached, without its headers, which hold secrets."""
    return str(entry.get("url") or entry.get("command") or "it says neither url nor command").partition("?")[0]


def _call(program: str, *words: str) -> str:
    """Run OpenClaw; what it prints. What it says of a failure is told without our arguments, which hold the token."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that the PATH names, with a list of words
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise OmniError(
            f"openclaw {' '.join(words[:2])} took longer than {WITHIN_S:g} s", hint="openclaw doctor"
        ) from None
    except OSError as error:
        raise OmniError(f"openclaw cannot be started: {error.strerror}", hint="openclaw --version") from None
    if done.returncode != 0:
        raise OmniError(_complaint(words, done), hint="openclaw doctor")
    return done.stdout.decode("utf-8", "replace")


def _complaint(words: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> str:
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
    last = said[-1].strip() if said else "it said nothing"
    for secret in words[3:]:
        last = last.replace(secret, "…")
    return f"openclaw {' '.join(words[:2])} failed ({done.returncode}): {last[:300]}"
