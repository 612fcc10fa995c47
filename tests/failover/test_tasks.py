"""Tasks while everything they need goes away and comes back: none fails, none is done twice."""

from __future__ import annotations

from tests.failover.conftest import MakeScene
from tests.failover.scene import HASTE, Scene
from tests.fakes.processes import FakeProxyProcess
from tests.torture.daemon_process import until

from omni.domain import events as ev


def lose_the_clouds(scene: Scene[FakeProxyProcess]) -> None:
    scene.proxy.set(fault="500")  # the proxy lives, and has nobody behind it
    for cloud in (scene.north, scene.south):
        cloud.kill()
    scene.until_mode("BRAINSTEM")


def find_them_again(scene: Scene[FakeProxyProcess]) -> None:
    scene.proxy.set(fault="ok")
    for cloud in (scene.north, scene.south):
        cloud.up()


def answered(scene: Scene[FakeProxyProcess]) -> list[str]:
    """The marks of all calls that were answered, by whomever."""
    calls = [*scene.proxy.calls(), *scene.north.calls(), *scene.south.calls()]
    return sorted(call.mark for call in calls if call.ended == "200")


def test_an_answer_that_still_arrives_counts_and_what_comes_later_waits_for_the_clouds(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.set(queue=["slow", "slow"], delay_s=8)
    under_way = scene.submit("mark:a say hello", "mark:b say hello", executor="model")
    until(lambda: len(scene.proxy.calls()) == 2, 20, "both are asked of a model")
    lose_the_clouds(scene)
    scene.until_state("waiting", *under_way)
    later = scene.submit("mark:c say hello", "mark:d say hello", executor="model")
    scene.until_state("completed", *under_way)
    assert scene.mode == "BRAINSTEM"
    scene.until_state("waiting", *later)
    find_them_again(scene)
    scene.until_state("completed", *later, within_s=40)
    assert answered(scene) == ["a", "b", "c", "d"]
    assert scene.events(ev.TaskFailed) == []
    assert scene.modes() == ["BRAINSTEM", "NORMAL"]


def test_a_call_that_fails_with_the_clouds_leaves_its_task_waiting_and_is_made_again_once_they_are_back(
    make_scene: MakeScene,
) -> None:
    scene = make_scene(fault_handler={**HASTE, "cloud_failure_span_s": 4})
    scene.proxy.set(fault="500")
    for cloud in (scene.north, scene.south):
        cloud.kill()
    tasks = scene.submit("mark:e say hello", "mark:f say hello", executor="model")
    until(scene.proxy.calls, 20, "a call fails before anybody knows the mode")
    scene.until_mode("BRAINSTEM")
    scene.until_state("waiting", *tasks)
    find_them_again(scene)
    scene.until_state("completed", *tasks, within_s=60)
    assert answered(scene) == ["e", "f"]
    assert scene.events(ev.TaskFailed) == []


def test_a_task_that_waits_is_cancelled_like_any_other_and_never_asked_of_a_model(make_scene: MakeScene) -> None:
    scene = make_scene()
    lose_the_clouds(scene)
    task, other = scene.submit("mark:gone say hello", "mark:stays say hello", executor="model")
    scene.until_state("waiting", task, other)
    assert scene.daemon.run("task", "cancel", task).returncode == 0
    scene.until_state("cancelled", task)
    find_them_again(scene)
    scene.until_state("completed", other)
    assert answered(scene) == ["stays"]


def test_a_daemon_killed_without_any_cloud_knows_its_mode_again_and_loses_no_task(make_scene: MakeScene) -> None:
    scene = make_scene()
    lose_the_clouds(scene)
    [task] = scene.submit("mark:kept say hello", executor="model")
    scene.until_state("waiting", task)
    scene.daemon.kill()
    scene.daemon.start().ready()
    assert scene.task(task)["state"] == "waiting"
    assert scene.mode == "BRAINSTEM"
    find_them_again(scene)
    scene.until_state("completed", task, within_s=40)
    assert answered(scene) == ["kept"]
