"""What `launchctl` does, as its manual and its users tell: in the domain of one user who is logged in.

bootstrap   5 while the old one is being removed, and for a while after; 5 again where it is loaded; 119 disabled
bootout     returns before the job is gone: 36 where it takes a moment; 3 where there is none
kickstart   113 where it is not loaded; `-k` ends the running one first
print       113 where it is not loaded
"""

from __future__ import annotations

import os
import plistlib
import signal
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.services.job import Job, Spawn
from tests.fakes.services.launchd_keys import wrong

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
SOFT_FILES = 256
HARD_FILES = 65_536
AT_ONCE_S = 0.05


class Answer(NamedTuple):
    code: int = 0
    out: str = ""
    err: str = ""


class Launchd:
    """`scale`: how long one of its seconds is; `busy_s`: for how long a label is taken after its end."""

    def __init__(self, home: Path, *, scale: float = 1.0, busy_s: float = 0.1, logged_in: bool = True) -> None:
        self.home = home
        self.scale = scale
        self.busy_s = busy_s
        self.domain = f"gui/{os.getuid()}" if logged_in else ""
        self.jobs: dict[str, tuple[Job, Path, dict[str, Any]]] = {}
        self.disabled: set[str] = set()
        self.busy_until: dict[str, float] = {}
        self.leaving: dict[str, threading.Thread] = {}
        self.refused = 0  # bootstraps that came too early
        self.ended: list[str] = []  # by which signal each removed job ended
        self.pids: list[int] = []

    def __call__(self, argv: Sequence[str]) -> Answer:
        verbs: dict[str, Callable[[Sequence[str]], Answer]] = {
            "bootstrap": self._bootstrap,
            "bootout": self._bootout,
            "kickstart": self._kickstart,
            "kill": self._kill,
            "print": self._print,
            "enable": lambda words: self._allow(words[0], on=True),
            "disable": lambda words: self._allow(words[0], on=False),
        }
        if not argv or argv[0] not in verbs:
            return Answer(64, "", f"Unrecognized subcommand: {' '.join(argv[:1])}\n")
        return verbs[argv[0]](argv[1:])

    def close(self) -> None:
        for leaving in list(self.leaving.values()):
            leaving.join()
        for job, _, _ in self.jobs.values():
            job.discard()

    def _bootstrap(self, words: Sequence[str]) -> Answer:
        domain, path = words[0], Path(words[1])
        if domain != self.domain:
            return _failed("Bootstrap", 125, "Domain does not support specified action")
        try:
            body = plistlib.loads(path.read_bytes())
        except (OSError, plistlib.InvalidFileException, ValueError):
            return _failed("Bootstrap", 5, "Input/output error")
        mode = path.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            return _failed("Bootstrap", 122, "Path had bad ownership/permissions")
        label = body.get("Label", "")
        if wrong(body):
            return _failed("Bootstrap", 5, "Input/output error")
        if label in self.disabled:
            return _failed("Bootstrap", 119, "Service is disabled")
        if label in self.leaving or time.monotonic() < self.busy_until.get(label, 0):
            self.refused += 1
            return _failed("Bootstrap", 5, "Input/output error")
        if label in self.jobs:
            return _failed("Bootstrap", 5, "Input/output error")
        job = Job(self._spawn(body))
        self.jobs[label] = (job, path, body)
        if body.get("RunAtLoad") or body.get("KeepAlive") is True:
            job.start()
        return Answer()

    def _bootout(self, words: Sequence[str]) -> Answer:
        label = self._label(words[0])
        if label not in self.jobs:
            return _failed("Boot-out", 3, "No such process")
        leaving = self.leaving.get(label)
        if leaving is None:
            leaving = self.leaving[label] = threading.Thread(target=self._remove, args=(label,))
            leaving.start()
        leaving.join(AT_ONCE_S)  # it takes itself out of the table
        return _failed("Boot-out", 36, "Operation now in progress") if label in self.jobs else Answer()

    def _remove(self, label: str) -> None:
        job = self.jobs[label][0]
        job.discard()
        self.ended.append(job.stopped_by)
        self.pids += job.pids
        self.busy_until[label] = time.monotonic() + self.busy_s
        del self.jobs[label]
        del self.leaving[label]

    def _kickstart(self, words: Sequence[str]) -> Answer:
        label = self._label(words[-1])
        if label not in self.jobs or label in self.leaving:
            return self._unknown(label)
        job = self.jobs[label][0]
        if "-k" in words:
            job.stop()
        job.start()
        return Answer()

    def _kill(self, words: Sequence[str]) -> Answer:
        label = self._label(words[1])
        if label not in self.jobs:
            return self._unknown(label)
        if not self.jobs[label][0].signal(signal.Signals[words[0]]):
            return Answer(3, "", "No process to signal.\n")
        return Answer()

    def _allow(self, target: str, *, on: bool) -> Answer:
        (self.disabled.discard if on else self.disabled.add)(self._label(target))
        return Answer()

    def _print(self, words: Sequence[str]) -> Answer:
        label = self._label(words[0])
        if label not in self.jobs:
            return self._unknown(label)
        job, path, body = self.jobs[label]
        pid, last = job.pid, job.last_exit
        state = "running" if pid else "spawn scheduled" if job.scheduled else "not running"
        lines = [
            f"{self.domain}/{label} = {{",
            f"\tactive count = {1 if pid else 0}",
            f"\tpath = {path}",
            "\ttype = LaunchAgent",
            f"\tstate = {state}",
            "",
            f"\tprogram = {body['ProgramArguments'][0]}",
            "\targuments = {",
            *(f"\t\t{each}" for each in body["ProgramArguments"]),
            "\t}",
            "",
            "\tdefault environment = {",
            f"\t\tPATH => {PATH}",
            "\t\tpid = not this one",
            "\t}",
            f"\tminimum runtime = {body.get('ThrottleInterval', 10)}",
            f"\texit timeout = {body.get('ExitTimeOut', 20)}",
            f"\truns = {job.runs}",
            *([f"\tpid = {pid}"] if pid else []),
            f"\tlast exit code = {'(never exited)' if last is None else last}",
            "}",
        ]
        return Answer(0, "\n".join(lines) + "\n")

    def _spawn(self, body: dict[str, Any]) -> Spawn:
        keep = body.get("KeepAlive", False)
        soft = body.get("SoftResourceLimits", {}).get("NumberOfFiles", SOFT_FILES)
        hard = min(body.get("HardResourceLimits", {}).get("NumberOfFiles", HARD_FILES), HARD_FILES)
        own = {name: os.environ[name] for name in ("USER", "LOGNAME", "SHELL", "TMPDIR") if name in os.environ}
        return Spawn(
            argv=body["ProgramArguments"],
            cwd=body.get("WorkingDirectory", "/"),
            environment={"PATH": PATH, "HOME": str(self.home), **own, **body.get("EnvironmentVariables", {})},
            umask=body.get("Umask", 0o022),
            files=(min(soft, hard), hard),
            out=body.get("StandardOutPath", os.devnull),
            err=body.get("StandardErrorPath", os.devnull),
            stop_within_s=body.get("ExitTimeOut", 20) * self.scale,
            pause_s=body.get("ThrottleInterval", 10) * self.scale,
            again=lambda code: keep is True or (isinstance(keep, dict) and keep.get("SuccessfulExit") is (code == 0)),
            throttled=True,
        )

    def _label(self, target: str) -> str:
        return target.rpartition("/")[2]

    def _unknown(self, label: str) -> Answer:
        said = f'Could not find service "{label}" in domain for user gui: {os.getuid()}\n'
        return Answer(113, "", f"Bad request.\n{said}")


def _failed(what: str, code: int, why: str) -> Answer:
    return Answer(code, "", f"{what} failed: {code}: {why}\n")
