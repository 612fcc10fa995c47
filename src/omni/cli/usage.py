"""What is said of a command line that cannot be read: in our own form, with what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from omni.cli.exits import BadUsage
from omni.domain.errors import OmniError

_GLOBALS = ("--json", "--data-dir", "--config", "--host", "--port", "--help")
_NO_COMMAND = re.compile(r"No such command '(.+?)'")
MOST_MEANT = 3
# What people try first, coming from other programs.
_USUAL: dict[str, tuple[str, ...]] = {
    "list": ("tasks",), "ls": ("tasks",), "ps": ("tasks", "status"), "get": ("task show",), "info": ("status",),
    "run": ("submit",), "add": ("submit",), "create": ("submit", "token new"), "up": ("serve",), "start": ("serve",),
    "log": ("logs",), "kill": ("task cancel",), "approve": ("task resolve",), "check": ("config check", "verify"),
    "explain": ("why",), "history": ("replay",), "login": ("dashboard", "token show"), "ui": ("dashboard",),
    "web": ("dashboard",), "restore": ("replay import",),
}  # fmt: skip


def walk(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below one, groups too, in the order of the help."""
    for name, found in getattr(command, "commands", {}).items():
        full = f"{path} {name}".strip()
        yield full, found
        yield from walk(found, full)


def runs(command: Any) -> bool:
    """Whether it does something by itself; a group may only hold others."""
    return not hasattr(command, "commands") or bool(command.invoke_without_command)


def usage_error(error: Any, root: Any, words: list[str]) -> OmniError:
    """A complaint of the option parser about these words, in our own form and with the next command."""
    ctx: Any = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else _named(root, words)
    if type(error).__name__ == "NoArgsIsHelpError":
        names = ", ".join(ctx.command.list_commands(ctx))
        return BadUsage(f"{path} needs a command: {names}", hint=f"{path} --help")
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    if unknown := _NO_COMMAND.match(message):
        return _no_such_command(unknown[1], path, root)
    wrong = getattr(error, "option_name", None)
    if wrong and type(error).__name__ == "NoSuchOption":
        message = f"No such option: {wrong}{_near(wrong, ctx)}"
    return BadUsage(message[:1].lower() + message[1:], hint=f"{path} --help")


def _named(command: Any, words: list[str]) -> str:
    """The command that the words begin with; not every complaint of the parser says where it comes from."""
    path = "omni"
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    return path


def _no_such_command(word: str, path: str, root: Any) -> OmniError:
    group, known = path.removeprefix("omni").strip(), [p for p, _ in walk(root)]
    inside = [each.rpartition(" ")[2] for each in known if each.rpartition(" ")[0] == group]
    slips = difflib.get_close_matches(word, inside, n=MOST_MEANT, cutoff=0.65)
    own = [f"{group} {slip}".strip() for slip in slips]
    found = _in_group(word, group, own, known) if group else _anywhere(word, own, known)
    meant = [f"omni {each}" for each in dict.fromkeys(found)][:MOST_MEANT]
    asked = f"did you mean {' or '.join(meant)}?" if meant else f"{path} has {', '.join(inside)}"
    return BadUsage(f"there is no command {path} {word[:60]}; {asked}", hint=f"{meant[0] if meant else path} --help")


def _in_group(word: str, group: str, own: list[str], known: list[str]) -> list[str]:
    """What was meant by a word behind a group: its own commands before those that are called so elsewhere."""
    usual = [each for each in _USUAL.get(word, ()) if each in known and each.startswith(group)]
    return usual or own or _named_so(word, known)


def _anywhere(word: str, own: list[str], known: list[str]) -> list[str]:
    """What was meant by a first word: a command of a group, a usual name, a slip."""
    usual = [each for each in _USUAL.get(word, ()) if each in known]
    far = difflib.get_close_matches(word, [each.rpartition(" ")[2] for each in known], n=1, cutoff=0.75)
    others = [each for each in known if each.rpartition(" ")[2] in far]
    return [*_named_so(word, known), *usual] or own or others


def _named_so(word: str, known: list[str]) -> list[str]:
    return [each for each in known if each.rpartition(" ")[2] == word]


def _near(wrong: str, ctx: Any) -> str:
    known = [o for p in ctx.command.get_params(ctx) for o in p.opts if o.startswith("--")]
    close = difflib.get_close_matches(wrong, [*known, *_GLOBALS], n=1)
    return f"; did you mean {close[0]}?" if close else ""
