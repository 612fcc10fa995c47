"""What another configuration changes, key by key, and which of it holds only after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from omni.config.model import Config
from omni.config.redacted import redacted
from omni.redact import Redactor

# Bound, opened or decided once, when the daemon starts. Everything else is taken up while it runs.
AT_A_START = frozenset({"host", "port", "data_dir", "trust_file_system", "auth"})
LIMITS_AT_A_START = frozenset({"frame_bytes", "frame_queue", "nesting", "open_timeout_s", "crash_loop_starts"})
NOTHING = "(not set)"
_OURS = frozenset({"secret_paths"})


class Change(Struct, frozen=True):
    """One key that differs; secrets are masked on both sides. `restart`: the old value holds until the next start."""

    key: str
    old: Any
    new: Any
    restart: bool = False


def in_force(running: Config, wanted: Config) -> Config:
    """What holds when the wanted configuration is taken up without a restart."""
    limits = {name: getattr(running.limits, name) for name in LIMITS_AT_A_START}
    kept = {name: getattr(running, name) for name in AT_A_START}
    return replace(wanted, limits=replace(wanted.limits, **limits), **kept)


def changes(running: Config, wanted: Config, redactor: Redactor) -> list[Change]:
    """What differs, in the order of the configuration. A key that is a secret shows only that it differs."""
    old, new = msgspec.to_builtins(running), msgspec.to_builtins(wanted)
    found = _differences("", old, new, redacted(running), redacted(wanted))
    return [
        Change(key, redactor.value(was), redactor.value(shall), restart=needs_restart(key)) for key, was, shall in found
    ]


def needs_restart(key: str) -> bool:
    """Whether a key holds from the next start on only."""
    first, _, rest = key.partition(".")
    return first in AT_A_START or (first == "limits" and rest in LIMITS_AT_A_START)


def _differences(
    path: str, old: dict[str, Any], new: dict[str, Any], shown_old: dict[str, Any], shown_new: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in [*new, *(each for each in old if each not in new)]:
        key, was, shall = f"{path}.{name}" if path else name, old.get(name), new.get(name)
        if was == shall or key in _OURS:
            continue
        if isinstance(was, dict) and isinstance(shall, dict):
            yield from _differences(key, was, shall, shown_old[name], shown_new[name])
        else:
            yield key, _shown(shown_old, name), _shown(shown_new, name)


def _shown(body: dict[str, Any], name: str) -> Any:
    """The value as people see it: an entry without the keys that it leaves out."""
    value = body.get(name, NOTHING)
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if each not in (None, "", [], {})}
    return NOTHING if value is None else value
