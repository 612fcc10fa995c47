"""Managers that are fakes with real processes, and a light program for them to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import pytest
from msgspec.structs import replace
from tests.fakes.services import launchd as fake_launchd
from tests.fakes.services import systemd as fake_systemd
from tests.fakes.services.server import Served

from omni.ops.service import Launchd, Manager, Plan, Systemd

# Says who it is, and ends in order when it is asked to; `deaf` ends by force only, `broken` at once.
LIGHT = "trap 'exit 0' TERM; echo $$ >> {ledger}; while :; do sleep 60 & wait $!; done"
DEAF = "trap '' TERM; echo $$ >> {ledger}; while :; do sleep 60 & wait $!; done"
BROKEN = "echo $$ >> {ledger}; exit 3"
SCALE = 0.005  # a second of the managers


class Fake(Protocol):
    scale: float
    ended: list[str]
    home: Path

    def close(self) -> None: ...


class Scene(NamedTuple):
    """A home with a manager in it; `manager(plan)` is what would manage it there."""

    kind: str
    home: Path
    fake: fake_launchd.Launchd | fake_systemd.Systemd
    served: Served

    def manager(self, plan: Plan) -> Manager:
        if self.kind == "launchd":
            return Launchd(plan, home=self.home, environ=self.served.environ)
        return Systemd(plan, home=self.home, environ=self.served.environ)

    @property
    def ledger(self) -> Path:
        return self.home / "ledger"

    @property
    def pids(self) -> list[int]:
        """Every process of the program that ever ran."""
        return [int(line) for line in self.ledger.read_text().split()] if self.ledger.exists() else []

    @property
    def alive(self) -> list[int]:
        return [pid for pid in self.pids if psutil.pid_exists(pid) and not _is_gone(pid)]

    def plan(self, script: str = LIGHT, **changes: object) -> Plan:
        data = self.home / "data dir"
        plan = Plan(
            name="omni",
            program=("/bin/sh", "-c", script.format(ledger=f"'{self.ledger}'")),
            data_dir=data,
            env_file=data / "service.env",
            path=("/usr/bin", "/bin"),
            stop_within_s=600,
        )
        return replace(plan, **changes)


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(params=["launchd", "systemd"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    yield from _scene(request.param, tmp_path)


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[Scene]:
    yield from _scene("launchd", tmp_path)


@pytest.fixture
def linux(tmp_path: Path) -> Iterator[Scene]:
    yield from _scene("systemd", tmp_path)


def _scene(kind: str, home: Path) -> Iterator[Scene]:
    fake: fake_launchd.Launchd | fake_systemd.Systemd
    if kind == "launchd":
        fake = agent = fake_launchd.Launchd(home, scale=SCALE, busy_s=0.05)
        served = Served(home / "bin", {"launchctl": agent})
    else:
        fake = user = fake_systemd.Systemd(home, scale=SCALE)
        served = Served(home / "bin", {"systemctl": user, "loginctl": user.loginctl})
    yield Scene(kind, home, fake, served)
    served.close()
    fake.close()
