"""Faults of the service: managers that behave like the real ones, asked by their own programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.fakes.services import launchd as fake_launchd
from tests.fakes.services import systemd as fake_systemd
from tests.fakes.services.server import Served
from tests.ops.doctor.conftest import Home

from omni.config.environment import keep
from omni.ops.doctor import service
from omni.ops.doctor.finding import Finding
from omni.ops.service import Launchd, Manager, Systemd, make_plan

PLATFORMS = {"systemd": "linux", "launchd": "darwin"}
Fake: TypeAlias = fake_systemd.Systemd | fake_launchd.Launchd


class Serviced:
    """A home with a service manager in it."""

    def __init__(
        self, kind: str, home: Home, fake: fake_systemd.Systemd | fake_launchd.Launchd, served: Served
    ) -> None:
        self.kind, self.home, self.fake = kind, home, fake
        home.environ["PATH"] = served.environ["PATH"]

    def manager(self) -> Manager:
        scene = self.home.scene()
        plan = make_plan(scene.config, scene.loaded.path, scene.environ)
        room = Launchd if self.kind == "launchd" else Systemd
        return room(plan, home=self.home.path, environ=scene.environ)

    def finds(self) -> dict[str, Finding]:
        scene = self.home.scene(platform=PLATFORMS[self.kind])
        return {each.name: each for each in service.service(scene)}


@pytest.fixture(params=PLATFORMS)
def managed(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Iterator[Serviced]:
    fake: Fake
    if request.param == "launchd":
        fake = agent = fake_launchd.Launchd(home.path, scale=0.005, busy_s=0.05)
        served = Served(tmp_path / "managers", {"launchctl": agent})
    else:
        fake = user = fake_systemd.Systemd(home.path, scale=0.005, linger=True)
        served = Served(tmp_path / "managers", {"systemctl": user, "loginctl": user.loginctl})
    home.write()
    yield Serviced(request.param, home, fake, served)
    served.close()
    fake.close()


def test_no_service_is_told_with_the_way_to_one(managed: Serviced) -> None:
    found = managed.finds()["service.not_installed"]
    assert (found.level, found.mend) == ("note", "omni service install")


def test_a_service_that_runs_is_well(managed: Serviced) -> None:
    managed.manager().install()
    assert [each.level for each in managed.finds().values()] == ["ok"]


def test_a_service_that_was_stopped_is_found(managed: Serviced) -> None:
    managed.manager().install()
    managed.manager().stop()
    found = managed.finds()["service.not_running"]
    assert found.level == "error"
    assert found.mend.startswith("omni service start")


def test_a_daemon_beside_the_service_is_told(managed: Serviced) -> None:
    managed.manager().install()
    managed.manager().stop()
    managed.home.daemon.start()
    assert managed.home.daemon.process
    found = managed.finds()["service.beside"]
    assert found.mend == f"kill {managed.home.daemon.process.pid}, then omni service start"


def test_a_definition_that_is_not_ours_any_more_is_found(managed: Serviced) -> None:
    state = managed.manager().install()
    file = Path(state.file)
    file.write_bytes(file.read_bytes().replace(b"8192", b"256"))
    assert managed.finds()["service.outdated"].mend == "omni service install"


def test_a_service_that_ends_at_logout_is_found(managed: Serviced) -> None:
    if not isinstance(managed.fake, fake_systemd.Systemd):
        pytest.skip("launchd's agents live as long as the login")
    managed.fake.linger = False
    managed.manager().install()
    assert managed.finds()["service.ends_at_logout"].mend == "loginctl enable-linger"


def test_the_service_s_variables_count(home: Home) -> None:
    home.config["lite_llm_key"] = "${KEY_OF_THE_SERVICE}"
    home.lived()
    keep(home.data / "service.env", {"KEY_OF_THE_SERVICE": "made-up-key"})
    names = {each["name"] for each in home.omni.json("doctor")["findings"]}
    assert "service.env" in names
    assert "config.secret_absent" not in names


def test_variables_that_others_can_read_are_found_and_closed(home: Home) -> None:
    home.lived()
    file = home.data / "service.env"
    keep(file, {"KEY_OF_THE_SERVICE": "made-up-key"})
    file.chmod(0o644)
    assert home.finding("service.variables").mend == f"chmod 600 {file}"
    told = home.omni.json("doctor", "--fix")
    assert [each["name"] for each in told["mended"]] == ["service.variables"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_manager_that_cannot_be_asked_is_told(home: Home, tmp_path: Path) -> None:
    home.environ["PATH"] = str(tmp_path)
    [found] = service.service(home.scene(platform="linux"))
    assert (found.name, found.level) == ("service.unknown", "note")
    assert found.mend
