"""What `systemctl --user` and `loginctl` do: units are read at daemon-reload, or when they are first asked for."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fakes.services.job import Job, Spawn
from tests.fakes.services.launchd import Answer

PATH = "/usr/local/bin:/usr/bin:/bin"
HARD_FILES = 65_536

Unit = dict[str, list[str]]


class Systemd:
    """`scale`: how long one of its seconds is."""

    def __init__(self, home: Path, *, scale: float = 1.0, bus: bool = True, linger: bool = False) -> None:
        self.home = home
        self.scale = scale
        self.bus = bus
        self.linger = linger
        self.units: dict[str, Unit] = {}
        self.jobs: dict[str, Job] = {}
        self.pids: list[int] = []
        self.ended: list[str] = []

    @property
    def folder(self) -> Path:
        return self.home / ".config" / "systemd" / "user"

    def loginctl(self, argv: Sequence[str]) -> Answer:
        return Answer(0, f"Linger={'yes' if self.linger else 'no'}\n")

    def __call__(self, argv: Sequence[str]) -> Answer:
        if not self.bus:
            return Answer(1, "", "Failed to connect to bus: No medium found\n")
        verbs: dict[str, Callable[[Sequence[str]], Answer]] = {
            "daemon-reload": lambda _: self._reload(),
            "enable": self._enable,
            "disable": self._disable,
            "start": lambda words: self._start(words[0]),
            "stop": lambda words: self._stop(words[0]),
            "restart": lambda words: self._restart(words[0]),
            "reset-failed": lambda _: Answer(),
            "show": self._show,
        }
        assert argv[0] == "--user", argv
        if argv[1] not in verbs:
            return Answer(1, "", f"Unknown command verb {argv[1]}.\n")
        return verbs[argv[1]](argv[2:])

    def close(self) -> None:
        for job in self.jobs.values():
            job.discard()

    def _reload(self) -> Answer:
        self.units = {name: _parse(file) for name in self.units if (file := self.folder / name).exists()}
        return Answer()

    def _unit(self, name: str) -> Unit | None:
        file = self.folder / name
        if name not in self.units and file.exists():
            self.units[name] = _parse(file)
        return self.units.get(name)

    def _link(self, name: str) -> Path:
        return self.folder / "default.target.wants" / name

    def _enable(self, words: Sequence[str]) -> Answer:
        if self._unit(words[0]) is None:
            return Answer(1, "", f"Failed to enable unit: Unit file {words[0]} does not exist.\n")
        link = self._link(words[0])
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            return Answer()
        link.symlink_to(self.folder / words[0])
        return Answer(0, "", f"Created symlink {link} -> {self.folder / words[0]}.\n")

    def _disable(self, words: Sequence[str]) -> Answer:
        name = words[-1]
        self._link(name).unlink(missing_ok=True)
        return self._stop(name) if "--now" in words else Answer()

    def _start(self, name: str) -> Answer:
        unit = self._unit(name)
        if unit is None:
            return Answer(5, "", f"Failed to start {name}: Unit {name} not found.\n")
        job = self.jobs.get(name)
        if job is not None and (job.pid or job.scheduled):
            return Answer()
        self._forget(name)
        self.jobs[name] = job = Job(self._spawn(unit))
        job.start()
        return Answer()

    def _stop(self, name: str) -> Answer:
        if self._unit(name) is None:
            return Answer(5, "", f"Failed to stop {name}: Unit {name} not loaded.\n")
        if name in self.jobs:
            self.jobs[name].stop()
            self.ended.append(self.jobs[name].stopped_by)
        return Answer()

    def _restart(self, name: str) -> Answer:
        if self._unit(name) is None:
            return Answer(5, "", f"Failed to restart {name}: Unit {name} not found.\n")
        self._stop(name)
        self._forget(name)
        return self._start(name)

    def _forget(self, name: str) -> None:
        job = self.jobs.pop(name, None)
        if job is not None:
            job.discard()
            self.pids += job.pids

    def _show(self, words: Sequence[str]) -> Answer:
        name = words[0]
        wanted = words[1].removeprefix("--property=").split(",")
        unit, job = self._unit(name), self.jobs.get(name)
        pid = job.pid if job else None
        known = {
            "LoadState": "loaded" if unit is not None else "not-found",
            "ActiveState": "active" if pid else "activating" if job and job.scheduled else _ended(job),
            "SubState": "running" if pid else "auto-restart" if job and job.scheduled else "dead",
            "MainPID": str(pid or 0),
            "ExecMainStatus": str(abs(job.last_exit) if job and job.last_exit is not None else 0),
            "NRestarts": str(max(0, job.runs - 1)) if job else "0",
            "UnitFileState": "enabled" if self._link(name).is_symlink() else "disabled" if unit is not None else "",
        }
        return Answer(0, "".join(f"{key}={known[key]}\n" for key in wanted if key in known))

    def _spawn(self, unit: Unit) -> Spawn:
        files = int(_one(unit, "LimitNOFILE", "1024"))
        variables = dict(word.partition("=")[::2] for line in unit.get("Environment", []) for word in _words(line))
        return Spawn(
            argv=[word.replace("$$", "$") for word in _words(_one(unit, "ExecStart"))],
            cwd=_one(unit, "WorkingDirectory", str(self.home)).replace("%%", "%"),
            environment={"PATH": PATH, "HOME": str(self.home), **variables},
            umask=int(_one(unit, "UMask", "0022"), 8),
            files=(files, max(files, HARD_FILES) if "LimitNOFILE" not in unit else files),
            out=_file(_one(unit, "StandardOutput", "journal")),
            err=_file(_one(unit, "StandardError", "journal")),
            stop_within_s=float(_one(unit, "TimeoutStopSec", "90")) * self.scale,
            pause_s=float(_one(unit, "RestartSec", "0.1")) * self.scale,
            again=lambda code: _one(unit, "Restart", "no") == "on-failure" and code not in {0, -1, -2, -13, -15},
        )


def _ended(job: Job | None) -> str:
    return "failed" if job and job.last_exit not in {None, 0, -15} else "inactive"


def _one(unit: Unit, name: str, otherwise: str = "") -> str:
    return unit.get(name, [otherwise])[-1]


def _parse(file: Path) -> Unit:
    unit: Unit = {}
    for line in file.read_text("utf-8", "replace").splitlines():
        if line and line[0] not in "#;[":
            name, _, value = line.partition("=")
            unit.setdefault(name, []).append(value)
    return unit


def _words(line: str) -> list[str]:
    """Words as systemd splits them; quotes may stand around a whole word only."""
    return [word.replace("%%", "%") for word in shlex.split(line)]


def _file(said: str) -> str:
    return said.removeprefix("append:").replace("%%", "%") if said.startswith("append:") else os.devnull
