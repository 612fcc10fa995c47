"""The keys of launchd.plist(5) that a service may use, with their types and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Key(NamedTuple):
    kind: type | tuple[type, ...]
    fits: Callable[[Any], bool] = lambda _: True


def _texts(value: Any) -> bool:
    return all(isinstance(each, str) for each in value)


def _variables(value: Any) -> bool:
    return all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def _absolute(value: Any) -> bool:
    return bool(value.startswith("/"))


_LIMITS = frozenset(("Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles", "NumberOfProcesses",
                     "ResidentSetSize", "Stack"))  # fmt: skip
_KEEP_ALIVE = {"SuccessfulExit": bool, "Crashed": bool, "PathState": dict, "OtherJobEnabled": dict}


def _limits(value: Any) -> bool:
    return all(name in _LIMITS and type(each) is int and each > 0 for name, each in value.items())


def _keep_alive(value: Any) -> bool:
    return type(value) is bool or all(isinstance(each, _KEEP_ALIVE.get(name, ())) for name, each in value.items())


KEYS: dict[str, Key] = {
    "Label": Key(str, lambda value: bool(re.fullmatch(r"[A-Za-z0-9._-]+", value))),
    "Disabled": Key(bool),
    "UserName": Key(str),
    "GroupName": Key(str),
    "LimitLoadToSessionType": Key((str, list)),
    "Program": Key(str, _absolute),
    "ProgramArguments": Key(list, lambda value: bool(value) and _texts(value) and _absolute(value[0])),
    "KeepAlive": Key((bool, dict), _keep_alive),
    "RunAtLoad": Key(bool),
    "WorkingDirectory": Key(str, _absolute),
    "EnvironmentVariables": Key(dict, _variables),
    "Umask": Key((int, str)),
    "TimeOut": Key(int),
    "ExitTimeOut": Key(int, lambda value: value > 0),
    "ThrottleInterval": Key(int, lambda value: value > 0),
    "InitGroups": Key(bool),
    "StartInterval": Key(int),
    "StandardInPath": Key(str, _absolute),
    "StandardOutPath": Key(str, _absolute),
    "StandardErrorPath": Key(str, _absolute),
    "SoftResourceLimits": Key(dict, _limits),
    "HardResourceLimits": Key(dict, _limits),
    "Nice": Key(int),
    "ProcessType": Key(str, lambda value: value in {"Background", "Standard", "Adaptive", "Interactive"}),
    "AbandonProcessGroup": Key(bool),
    "LowPriorityIO": Key(bool),
    "LegacyTimers": Key(bool),
    "SessionCreate": Key(bool),
}


def wrong(body: dict[str, Any]) -> list[str]:
    """What launchd would not understand, or not as it was meant."""
    found = [f"{name} is no key" for name in body if name not in KEYS]
    for name, key in KEYS.items():
        if name not in body:
            continue
        value = body[name]
        kinds = key.kind if isinstance(key.kind, tuple) else (key.kind,)
        if type(value) not in kinds:  # exactly: a bool is an int to Python, and not to a property list
            found.append(f"{name} is a {type(value).__name__}")
        elif not key.fits(value):
            found.append(f"{name} does not take {value!r}")
    missing = [name for name in ("Label",) if name not in body]
    if "Program" not in body and "ProgramArguments" not in body:
        missing.append("ProgramArguments")
    return found + [f"{name} is missing" for name in missing]
