"""Install, start, stop, restart and uninstall, with processes that are really started and ended."""

from __future__ import annotations

import os
import random
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.fakes.services.launchd import Launchd as FakeLaunchd
from tests.fakes.services.systemd import Systemd as FakeSystemd
from tests.ops.service.conftest import BROKEN, DEAF, Scene

from omni.domain.errors import NotFound
from omni.ops.service import Plan, State, Systemd
from omni.ops.service.manager import ServiceError, prepare
from omni.ops.service.plan import PAUSE_S

GATE_CYCLES, CYCLES = 30, 200


def until(holds: Callable[[], object], within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def test_nothing_is_installed_at_first(scene: Scene) -> None:
    manager = scene.manager(scene.plan())
    state = manager.state()
    assert (state.installed, state.loaded, state.running, state.pid) == (False, False, False, None)
    for act in (manager.start, manager.stop, manager.restart):
        with pytest.raises(NotFound) as refused:
            act()
        assert refused.value.hint == "omni service install"
    assert not manager.uninstall().installed


def test_an_installed_service_runs_and_is_there_at_the_next_login(scene: Scene) -> None:
    state = scene.manager(scene.plan()).install()
    assert (state.installed, state.current, state.loaded, state.running, state.at_login) == (True,) * 5
    until(lambda: scene.alive)
    assert scene.alive == [state.pid]
    assert stat.S_IMODE(scene.plan().data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(scene.plan().said.stat().st_mode) & 0o077 == 0


def test_installing_again_changes_nothing_where_nothing_has_changed(scene: Scene) -> None:
    manager = scene.manager(scene.plan())
    first = manager.install()
    assert manager.install() == first
    until(lambda: scene.alive)
    assert len(scene.pids) == 1


def test_installing_again_takes_over_what_has_changed(scene: Scene) -> None:
    first = scene.manager(scene.plan()).install()
    changed = scene.manager(scene.plan(environment={"MORE": "x"}))
    assert not changed.state().current
    second = changed.install()
    assert second.running
    assert second.current
    assert second.pid != first.pid
    until(lambda: scene.alive == [second.pid])


def test_a_restart_ends_the_one_and_starts_another(scene: Scene) -> None:
    manager = scene.manager(scene.plan())
    first = manager.install()
    until(lambda: scene.alive)
    second = manager.restart()
    assert second.running
    assert second.pid != first.pid
    until(lambda: scene.alive == [second.pid])


def test_a_restart_leaves_what_is_installed_as_it_is_and_says_that_it_would_be_another(scene: Scene) -> None:
    first = scene.manager(scene.plan()).install()
    written = Path(first.file).read_bytes()
    other = scene.manager(scene.plan(environment={"MORE": "x"}))
    state = other.restart()
    assert (state.running, state.current) == (True, False)
    assert state.pid != first.pid
    assert Path(first.file).read_bytes() == written


def test_another_path_in_another_shell_is_no_change(scene: Scene) -> None:
    scene.manager(scene.plan()).install()
    elsewhere = scene.manager(scene.plan(path=("/opt/other tools/bin", "/bin")))
    assert elsewhere.state().current
    assert b"other tools" in elsewhere.definition()
    assert b"other tools" in Path(elsewhere.install().file).read_bytes()


@pytest.mark.parametrize("content", [b"", b"<plist>", b"\xff\xfe"])
def test_a_definition_that_is_broken_is_not_current_and_is_written_anew(scene: Scene, content: bytes) -> None:
    manager = scene.manager(scene.plan())
    file = Path(manager.state().file)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert not manager.state().current
    state = manager.install()
    assert (state.current, state.running) == (True, True)


def test_a_stop_lasts_and_a_start_ends_it(scene: Scene) -> None:
    manager = scene.manager(scene.plan())
    manager.install()
    until(lambda: scene.alive)
    stopped = manager.stop()
    assert (stopped.installed, stopped.running) == (True, False)
    assert scene.alive == []
    assert manager.start().running
    until(lambda: len(scene.alive) == 1)


def test_uninstalling_leaves_the_data_and_nothing_else(scene: Scene) -> None:
    plan = scene.plan()
    manager = scene.manager(plan)
    file = manager.install().file
    (plan.data_dir / "omni.db").write_text("what happened")
    gone = manager.uninstall()
    assert (gone.installed, gone.loaded, gone.running) == (False, False, False)
    assert scene.alive == []
    assert not os.path.lexists(file)
    assert (plan.data_dir / "omni.db").read_text() == "what happened"
    assert manager.uninstall() == gone


def test_what_ends_without_being_asked_is_started_again(scene: Scene) -> None:
    first = scene.manager(scene.plan()).install()
    until(lambda: scene.alive)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: len(scene.pids) == 2 and scene.alive)
    state = scene.manager(scene.plan()).state()
    assert state.running
    assert state.starts == 2


def test_what_does_not_end_when_asked_is_ended_by_force_after_its_time(scene: Scene) -> None:
    manager = scene.manager(scene.plan(DEAF, stop_within_s=200))  # 1 s here
    manager.install()
    until(lambda: scene.alive)
    manager.uninstall()
    assert scene.alive == []
    assert scene.fake.ended == ["KILL"]


def test_what_ends_at_once_is_throttled_and_its_end_is_shown(mac: Scene) -> None:
    assert isinstance(mac.fake, FakeLaunchd)
    manager = mac.manager(mac.plan(BROKEN))
    prepare(mac.plan())
    file = mac.home / "broken.plist"
    file.write_bytes(manager.definition())
    began = time.monotonic()
    assert mac.fake(["bootstrap", mac.fake.domain, str(file)]).code == 0
    until(lambda: len(mac.pids) >= 5)
    assert time.monotonic() - began > 4 * PAUSE_S * mac.fake.scale
    until(lambda: manager.state().last_exit == 3)


def test_a_service_that_a_person_disabled_is_enabled_by_installing_it(mac: Scene) -> None:
    assert isinstance(mac.fake, FakeLaunchd)
    mac.fake.disabled.add("local.omni")
    assert mac.manager(mac.plan()).install().running


def test_without_a_session_at_the_screen_it_says_what_to_do(mac: Scene) -> None:
    assert isinstance(mac.fake, FakeLaunchd)
    mac.fake.domain = ""
    with pytest.raises(ServiceError, match="nobody is logged in") as refused:
        mac.manager(mac.plan()).install()
    assert "docs/service.md" in refused.value.hint


def test_without_a_bus_it_says_what_to_do(linux: Scene) -> None:
    assert isinstance(linux.fake, FakeSystemd)
    linux.fake.bus = False
    asked = Systemd(linux.plan(), home=linux.home, environ=linux.served.environ, booted=linux.home)
    with pytest.raises(ServiceError, match="Failed to connect to bus") as refused:
        asked.install()
    assert "XDG_RUNTIME_DIR" in refused.value.hint


def test_where_systemd_does_not_run_the_machine_the_daemon_is_for_a_terminal(linux: Scene) -> None:
    assert isinstance(linux.fake, FakeSystemd)
    linux.fake.bus = False
    asked = Systemd(linux.plan(), home=linux.home, environ=linux.served.environ, booted=linux.home / "nowhere")
    with pytest.raises(ServiceError, match="Failed to connect to bus") as refused:
        asked.state()
    assert refused.value.hint.startswith("omni serve, in a terminal of its own")


def test_who_does_not_linger_is_told(linux: Scene) -> None:
    assert isinstance(linux.fake, FakeSystemd)
    assert "loginctl enable-linger" in linux.manager(linux.plan()).install().note
    linux.fake.linger = True
    assert linux.manager(linux.plan()).state().note == ""


def test_a_bootstrap_that_comes_too_early_is_tried_again(mac: Scene) -> None:
    assert isinstance(mac.fake, FakeLaunchd)
    mac.fake.busy_s = 2.0
    manager = mac.manager(mac.plan())
    manager.install()
    manager.uninstall()
    assert manager.install().running
    assert mac.fake.refused > 0


def test_two_services_stand_beside_each_other(scene: Scene) -> None:
    one, two = scene.manager(scene.plan()), scene.manager(replace(scene.plan(), name="omni-2"))
    first, second = one.install(), two.install()
    assert first.label != second.label
    one.uninstall()
    assert two.state().running


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_any_order_of_commands_leaves_one_process_at_most_and_in_the_end_nothing(scene: Scene) -> None:
    cycle(scene, GATE_CYCLES)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_two_hundred_commands_leave_one_process_at_most_and_in_the_end_nothing(scene: Scene) -> None:
    cycle(scene, CYCLES)


def cycle(scene: Scene, count: int) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    plan = scene.plan()
    for n in range(count):
        what = chance.choice(["install", "install", "changed", "restart", "restart", "stop", "uninstall"])
        if what == "changed":
            plan = replace(plan, environment={"CYCLE": str(n)})
        state = _act(scene, plan, what)
        assert state.running is (what not in {"stop", "uninstall"}), (seed, n, what, state)
        alive = [state.pid] if state.running else []
        until(lambda alive=alive: scene.alive == alive)  # type: ignore[misc]
    scene.manager(plan).uninstall()
    assert scene.alive == []
    assert scene.fake.ended.count("KILL") == 0
    assert not [each for each in scene.home.rglob("*") if "omni.plist" in each.name or "omni.service" in each.name]


def _act(scene: Scene, plan: Plan, what: str) -> State:
    manager = scene.manager(plan)
    if not manager.state().installed or what in {"install", "changed"}:
        state = manager.install()
        if what in {"install", "changed", "restart"}:
            return state
    return {"restart": manager.restart, "stop": manager.stop, "uninstall": manager.uninstall}[what]()
