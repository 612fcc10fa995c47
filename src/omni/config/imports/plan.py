"""What an import found: what can be added, what cannot and why, and which variables have to be set for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from omni.config.variables import is_secret_name
from omni.redact import Redactor

_LOOKS = Redactor(())
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}")
_SCHEME = re.compile(r"((?:Bearer|Basic|Token)\s+)(.+)", re.IGNORECASE)
_RANDOM = re.compile(r"(?=[^-_]*\d)(?=[^-_]*[A-Za-z])[A-Za-z0-9]{20,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class LeftOut(Struct, frozen=True):
    """Something of the file that does not come along; `what` names it as the file does."""

    what: str
    why: str


class Secret(Struct, frozen=True):
    """A value that was written out in the file and is a variable now; `where` says where it stands."""

    variable: str
    where: str


class Plan(Struct, kw_only=True):
    """Filled while a file is read. `add`: keys for the configuration; `notes`: what else a person should know."""

    add: dict[str, Any] = {}
    left_out: list[LeftOut] = []
    secrets: list[Secret] = []
    notes: list[str] = []
    values: dict[str, str] = {}
    """The secrets by their variables, so that one value is one variable. Never shown."""

    def leave(self, what: str, why: str) -> None:
        """Say that something does not come along."""
        self.left_out.append(LeftOut(what, why))

    def absorb(self, other: Plan) -> None:
        """Take over what was found for one part, apart from what it adds."""
        self.left_out += other.left_out
        self.secrets += other.secrets
        self.notes += other.notes
        self.values |= other.values

    def hide(self, value: str, variable: str, where: str) -> str:
        """The reference to a variable in place of a secret; another name where another value has that one."""
        name, n = _identifier(variable), 1
        while self.values.get(name, value) != value:
            n += 1
            name = f"{_identifier(variable)}_{n}"
        self.values[name] = value
        self.secrets.append(Secret(name, where))
        return f"${{{name}}}"

    def variables(self, environ: Mapping[str, str]) -> list[str]:
        """The variables that the added keys need and that are not set."""
        found = (each for text in _texts(self.add) for each in _VARIABLE.finditer(text))
        return list(dict.fromkeys(each[1] for each in found if not each[2] and not environ.get(each[1])))


def is_written_out(name: str, value: str) -> bool:
    """Whether a value is a secret that stands in the file in clear, by its name or by its looks."""
    if not value or "${" in value or value.startswith("os.environ/"):
        return False
    return is_secret_name(name) or _LOOKS.text(value) != value or is_random(value)


def is_random(text: str) -> bool:
    """Whether a text looks as if it had been drawn: nobody writes such a word."""
    return any(_RANDOM.fullmatch(part) for part in re.split(r"[-_]", text)) or bool(_UUID.fullmatch(text))


def without_scheme(value: str) -> tuple[str, str]:
    """A header's value in two: `Bearer ` or the like, and what is secret."""
    found = _SCHEME.fullmatch(value)
    return (found[1], found[2]) if found else ("", value)


def _identifier(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").upper()
    return f"_{name}" if name[:1].isdigit() else name


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
