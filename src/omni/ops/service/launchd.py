"""launchd: a LaunchAgent that starts at login, and the same as a LaunchDaemon for a machine nobody logs in to.

Theory of operation. A definition is read when it is bootstrapped, never later: what changed on disk counts after a
boot-out and a bootstrap. A boot-out returns before the old one is gone; until then a bootstrap fails with 5
(Input/output error), 16, 36 or 37, which all mean: not yet. So it is waited for, and tried again for a bounded time.

    absent ──bootstrap──▶ loaded, running ──SIGTERM, exit 0──▶ loaded, not running ──kickstart──▶ loaded, running
                 ▲                 │
                 └────── gone ◀──bootout: SIGTERM … ExitTimeOut … SIGKILL
"""

from __future__ import annotations

import os
import plistlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from omni.ops.service.manager import (
    FIRST_LOOK_S,
    LAST_LOOK_S,
    Commands,
    Ran,
    ServiceError,
    State,
    prepare,
    read,
    until,
    wanted,
    write,
)
from omni.ops.service.plan import FILES, NAME, PAUSE_S, Plan

LABEL = "local.omni"
SETTLE_S = 30.0  # for a bootstrap that follows a boot-out
GRACE_S = 10.0  # beside the time-out of a stop
NOT_FOUND = frozenset({3, 113})  # no such process, could not find service
NOT_YET = frozenset({5, 16, 17, 36, 37})  # I/O error, busy, exists, in progress, already in progress
NO_SESSION = 125  # the domain does not support the action: nobody is logged in at the screen
_FIELD = re.compile(r"^\t?([a-z][a-z ]*?) = (.*?)$", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+")


def label(plan: Plan) -> str:
    """The name that launchd knows it by."""
    return LABEL if plan.name == NAME else f"{LABEL}.{plan.name}"


def definition(plan: Plan) -> dict[str, Any]:
    """The keys of launchd.plist(5)."""
    files = {"NumberOfFiles": FILES}
    body: dict[str, Any] = {
        "Label": label(plan),
        "ProgramArguments": list(plan.program),
        "WorkingDirectory": str(plan.data_dir),
        "EnvironmentVariables": plan.variables,
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},  # a stop in order stays one
        "ThrottleInterval": PAUSE_S,
        "ExitTimeOut": plan.stop_within_s,
        "SoftResourceLimits": files,
        "HardResourceLimits": files,
        "Umask": 0o077,
        "ProcessType": "Interactive",  # any other type may have its timers and its disk held back
        "StandardOutPath": str(plan.said),
        "StandardErrorPath": str(plan.said),
    }
    return {**body, "UserName": plan.user} if plan.user else body


class Launchd:
    """One LaunchAgent of the user who asks."""

    def __init__(self, plan: Plan, *, home: Path, environ: Mapping[str, str] | None = None) -> None:
        self._plan = plan
        self._label = label(plan)
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{self._label}"
        self._file = home / "Library" / "LaunchAgents" / f"{self._label}.plist"
        self._launchctl = Commands("launchctl", environ)

    def definition(self) -> bytes:
        """The property list, keys in order."""
        return plistlib.dumps(definition(self._plan))

    def install(self) -> State:
        """Write, load and start; a definition that changed is loaded anew."""
        prepare(self._plan)
        changed = write(self._file, self.definition(), 0o644)
        if changed and self._print() is not None:
            self._boot_out()
        self._bring_up()
        return self.state()

    def uninstall(self) -> State:
        """Boot it out and remove the definition."""
        self._boot_out()
        self._file.unlink(missing_ok=True)
        return self.state()

    def start(self) -> State:
        """Load it if it is not, and start it if it does not run."""
        wanted(self._file)
        self._bring_up()
        return self.state()

    def stop(self) -> State:
        """Boot it out: only that ends by force what does not end by itself. The next login loads it again."""
        wanted(self._file)
        self._boot_out()
        return self.state()

    def restart(self) -> State:
        """Ask it to end and wait for that, which is its drain; then kick it."""
        wanted(self._file)
        before = self._print()
        if before is None:
            self._bring_up()
            return self.state()
        if pid := _number(before, "pid"):
            self._launchctl("kill", "SIGTERM", self._target)
            until(lambda: _number(self._print() or {}, "pid") != pid, self._plan.stop_within_s)
        self._done(self._launchctl("kickstart", "-k", self._target))
        self._running()
        return self.state()

    def state(self) -> State:
        """What `launchctl print` says, as far as it can be read."""
        said = self._print()
        fields = said or {}
        on_disk = read(self._file)
        pid = _number(fields, "pid")
        return State(
            manager="launchd",
            name=self._plan.name,
            label=self._label,
            file=str(self._file),
            installed=on_disk is not None,
            current=_settled(on_disk) == _settled(self.definition()),
            loaded=said is not None,
            running=pid is not None,
            pid=pid,
            last_exit=_number(fields, "last exit code"),
            starts=_number(fields, "runs"),
            at_login=on_disk is not None,
            note=fields.get("state", "") if pid is None else "",
        )

    def _bring_up(self) -> None:
        fields = self._print()
        if fields is None:
            self._launchctl("enable", self._target)  # a person may have disabled it once, and forgotten
            self._bootstrap()
            fields = self._print() or {}
        if _number(fields, "pid") is None:
            self._done(self._launchctl("kickstart", self._target))
            self._running()

    def _bootstrap(self) -> None:
        """Load the definition, again and again while launchd is not through with the one before."""
        end, pause = time.monotonic() + SETTLE_S, FIRST_LOOK_S
        while (ran := self._launchctl("bootstrap", self._domain, str(self._file))).code in NOT_YET:
            if self._print() is not None:
                return  # it has been loaded by now, by us or by somebody beside us
            if time.monotonic() > end:
                break
            time.sleep(pause)
            pause = min(LAST_LOOK_S, pause * 1.5)
        self._done(ran)

    def _boot_out(self) -> None:
        """Unload it and wait until it is gone."""
        ran = self._launchctl("bootout", self._target)
        if ran.code in NOT_FOUND:
            return
        if ran.code not in NOT_YET:
            self._done(ran)
        within_s = self._plan.stop_within_s + GRACE_S
        if not until(lambda: self._print() is None, within_s):
            raise ServiceError(
                f"{self._label} did not end within {within_s:.0f} s", hint=f"launchctl print {self._target}"
            )

    def _running(self) -> None:
        within_s = GRACE_S + 2 * PAUSE_S  # launchd waits PAUSE_S between two starts
        if not until(lambda: _number(self._print() or {}, "pid") is not None, within_s):
            raise ServiceError(f"{self._label} does not start", hint=f"omni logs, or: tail {self._plan.said}")

    def _print(self) -> dict[str, str] | None:
        """The fields that launchd shows of the service; None when it does not know it."""
        ran = self._launchctl("print", self._target)
        if ran.code == 0:
            return _fields(ran.out)
        if ran.code in NOT_FOUND:
            return None
        self._done(ran)
        return None

    def _done(self, ran: Ran) -> None:
        if ran.code == 0:
            return
        if ran.code == NO_SESSION:
            raise ServiceError(
                "nobody is logged in at the screen of this machine, so that there is nothing to start an agent in",
                hint="log in there once, then omni service install; or as a daemon: docs/service.md",
            )
        raise ServiceError(f"launchctl: {ran.said or f'exit code {ran.code}'}", hint=f"launchctl print {self._target}")


def _settled(content: bytes | None) -> dict[str, Any] | None:
    """What a definition says but for its PATH, which is another in each shell; None for what is none."""
    try:
        body: dict[str, Any] = plistlib.loads(content or b"")
        body["EnvironmentVariables"].pop("PATH")
    except (plistlib.InvalidFileException, ValueError, KeyError, AttributeError, TypeError, ExpatError):
        return None
    return body


def _fields(text: str) -> dict[str, str]:
    """The first value of each field on the outermost level; its format is nobody's promise."""
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        found.setdefault(name, value.strip())
    return found


def _number(fields: Mapping[str, str], name: str) -> int | None:
    match = _NUMBER.match(fields.get(name, ""))
    return int(match[0]) if match else None
