"""The options that every command takes, read before anything heavy is loaded.

They may stand before or after the command (`omni --json tasks`, `omni tasks --json`), so they are taken out of the line
here, once, and no command has to declare them. What follows `--` is text and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from omni.cli.exits import BadUsage

FOREVER = "forever"
_VALUED = {"--data-dir": "data_dir", "--config": "config", "--host": "host", "--port": "port"}
_SECONDS = re.compile(r"\d+(\.\d+)?")


class Globals(Struct, frozen=True):
    """Options of every command; None says nothing, and environment, file and default decide."""

    json: bool = False
    data_dir: str | None = None
    config: str | None = None
    host: str | None = None
    port: int | None = None


def split(argv: Sequence[str]) -> tuple[Globals, list[str]]:
    """Take the global options out of a command line. Raises BadUsage."""
    found: dict[str, str] = {}
    as_json = False
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif word == "--json":
            as_json = True
        elif name in _VALUED:
            found[_VALUED[name]] = value if equals else _value_of(name, next(words, None))
        else:
            rest.append(word)
    port = _port(found.pop("port")) if "port" in found else None
    return Globals(json=as_json, port=port, **found), _spell_out_wait(rest)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether errors on this line, even in the line itself, are to be JSON."""
    return "--json" in argv[: argv.index("--")] if "--" in argv else "--json" in argv


def _value_of(name: str, value: str | None) -> str:
    if value is None or value.startswith("--"):
        raise BadUsage(f"{name} needs a value", hint=f"omni --help, or write {name}=VALUE")
    return value


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65535:
        return int(text)
    raise BadUsage(f"--port must be a number from 1 to 65535, not {text!r}", hint="omni --port 18765 status")


def _spell_out_wait(words: list[str]) -> list[str]:
    """`--wait` may stand alone or before a number; make it one word, so that TEXT is never taken for its value."""
    spelt: list[str] = []
    rest = iter(range(len(words)))
    for at in rest:
        if words[at] == "--":
            return spelt + words[at:]
        if words[at] != "--wait":
            spelt.append(words[at])
        elif at + 1 < len(words) and _SECONDS.fullmatch(words[at + 1]):
            spelt.append(f"--wait={words[next(rest)]}")
        else:
            spelt.append(f"--wait={FOREVER}")
    return spelt
