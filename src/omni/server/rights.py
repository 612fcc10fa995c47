"""What a caller may do: the token does everything, and a program that needs less gets a key for less.

    READ      look at tasks, events, decisions and the system
    SUBMIT    the same, and hand in tasks
    ADMIN     change what is there: cancel, retry, decide, set the mode, reload the configuration

    omni-read-<name>-<64 hex>, omni-submit-<name>-<64 hex>      made by the token, stored nowhere; a new token voids all

The rights of a request are set at the gate, and stand in a context variable for what lies behind a library that passes
no request on. Where nobody has set them there are none.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from enum import IntEnum

import msgspec

from omni.domain.errors import ConfigError, NotAuthorised

_KEY = re.compile(r"omni-(read|submit)-([0-9A-Za-z][0-9A-Za-z._-]{0,63})-[0-9a-f]{64}")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
HINT = "use the token (`omni token show`), or a key for more (`omni token new NAME --scope submit`)"
_ADMIN_HINT = "use the token (`omni token show`): no other key opens it"


class Rights(IntEnum):
    """Each holds those before it."""

    NONE = 0
    READ = 1
    SUBMIT = 2
    ADMIN = 3


class Client(msgspec.Struct, frozen=True):
    """Whom a key is for, and what it opens."""

    name: str
    rights: Rights


rights: ContextVar[Rights] = ContextVar("rights", default=Rights.NONE)


def demand(needed: Rights, what: str) -> None:
    """Raises NotAuthorised where the caller of this request may not do it."""
    if rights.get() < needed:
        hint = _ADMIN_HINT if needed > Rights.SUBMIT else HINT
        raise NotAuthorised(f"this key does not open {what}: it is for {rights.get().name.lower()}", hint=hint)


def claim(name: str, given: Rights) -> str:
    """What a key says before its seal. Raises ConfigError for a name that is none."""
    if not _NAME.fullmatch(name):
        hint = "use letters, digits, dots, dashes and underscores, at most 64"
        raise ConfigError(f"{name!r} cannot be the name of a client", hint=hint)
    return f"omni-{given.name.lower()}-{name}"


def client_of(key: str) -> Client | None:
    """Whom a key says that it is for; whether it is one of ours is for its seal to show."""
    found = _KEY.fullmatch(key)
    return Client(found[2], Rights[found[1].upper()]) if found else None
