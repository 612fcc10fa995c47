"""The owner's figures and promises, with a real daemon, a real LiteLLM proxy, and clouds that fail on demand.

Thresholds are the owner's own where a time is measured; rests and rounds are shortened where a test would only wait.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.failover.scene import KEYS, Scene
from tests.fakes.processes import ProxyProcess
from tests.real.conftest import Figures, MakeScene
from tests.torture.daemon_process import until

from omni.domain import events as ev

BACKUP, PRIMARY = KEYS["backup"], KEYS["primary"]
OWNERS = {"dwell_s": 1}
QUICK_ROUNDS = {"dwell_s": 1, "check_interval": 0.5, "cloud_check_timeout": 1, "cloud_failure_span_s": 1}
DIALECTS = ("messages", "chat", "responses")
BACKUP_ONLY = {"north": {BACKUP["anthropic"]}, "south": {BACKUP["openrouter"]}}
PRIMARY_ONLY = {"north": {PRIMARY["anthropic"]}, "south": {PRIMARY["openrouter"]}}


def forget(scene: Scene[ProxyProcess]) -> None:
    scene.north.forget()
    scene.south.forget()


def test_calls_that_meet_a_killed_proxy_are_answered_directly_within_a_second_and_with_the_backup_keys(
    make_scene: MakeScene, figures: Figures
) -> None:
    scene = make_scene(fault_handler=OWNERS)
    for dialect in DIALECTS:
        assert scene.ask("mark:before", dialect).status_code == 200
    scene.north.set(fault="529")
    assert "south answers" in scene.ask("mark:before").text
    scene.north.set(fault="ok")
    assert scene.keys_seen() == PRIMARY_ONLY
    assert scene.modes() == []
    forget(scene)

    scene.proxy.kill()
    for dialect in DIALECTS:
        answer, took_s = scene.timed("mark:after", dialect, stream=dialect == "messages")
        figures.note(f"proxy killed → a call answered directly ({dialect})", took_s, below=1.0)
        assert (answer.status_code, "after" in answer.text) == (200, True)
    scene.until_mode("DEGRADED")
    for dialect in DIALECTS:
        assert scene.ask("mark:degraded", dialect).status_code == 200
    assert scene.keys_seen() == BACKUP_ONLY


@pytest.mark.parametrize("dialect", ["messages", "chat"])
def test_a_call_that_meets_a_frozen_proxy_is_answered_directly_within_two_and_a_half_seconds(
    make_scene: MakeScene, figures: Figures, dialect: str
) -> None:
    scene = make_scene(fault_handler=OWNERS)
    assert scene.ask("mark:before", dialect).status_code == 200
    forget(scene)
    scene.proxy.freeze()
    try:
        answer, took_s = scene.timed("mark:after", dialect, stream=dialect == "messages")
    finally:
        scene.proxy.thaw()
    figures.note(f"proxy frozen → the first call answered directly ({dialect})", took_s, below=2.5)
    assert (answer.status_code, "after" in answer.text) == (200, True)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_any_traffic_the_mode_follows_within_five_seconds_and_comes_back_by_itself(
    make_scene: MakeScene, figures: Figures, how: str
) -> None:
    scene = make_scene(fault_handler=OWNERS)
    began = time.monotonic()
    scene.proxy.kill() if how == "killed" else scene.proxy.freeze()
    until(lambda: scene.entered("DEGRADED", began), 10, "the mode event is in the log")
    entered = scene.entered("DEGRADED", began)
    assert entered is not None
    figures.note(f"proxy {how}, no traffic → DEGRADED in the log", entered - began, below=5.0)
    scene.proxy.thaw() if how == "frozen" else scene.proxy.up()
    began = time.monotonic()
    until(lambda: len(scene.modes()) == 2, 30, "it is back in the log")
    figures.note(f"proxy {how}, and live again → NORMAL, with a rest of 1 s", time.monotonic() - began, below=15.0)
    assert scene.modes() == ["DEGRADED", "NORMAL"]


def test_dead_clouds_behind_a_living_proxy_never_make_it_the_proxys_fault(make_scene: MakeScene) -> None:
    scene = make_scene(fault_handler=QUICK_ROUNDS)
    scene.north.kill()
    for _ in range(3):
        assert "south answers" in scene.ask().text
    scene.south.kill()
    assert scene.ask().status_code >= 500
    scene.until_mode("BRAINSTEM")
    for cloud in (scene.north, scene.south):
        cloud.up()
    scene.until_mode("NORMAL")
    until(lambda: scene.ask().status_code == 200, 10, "the proxy's own cooldown is over")
    assert scene.modes() == ["BRAINSTEM", "NORMAL"]


def test_hanging_and_failing_clouds_behind_a_living_proxy_never_make_it_the_proxys_fault(make_scene: MakeScene) -> None:
    scene = make_scene(fault_handler={**QUICK_ROUNDS, "check_interval": 30})
    for fault in ("hang", "500", "cut", "429", "529"):
        for cloud in (scene.north, scene.south):
            cloud.set(fault=fault)
        assert scene.ask().status_code >= 400
    for cloud in (scene.north, scene.south):
        cloud.set(fault="ok")
    assert "DEGRADED" not in scene.modes()


def test_without_any_cloud_tasks_wait_and_then_each_is_done_once_and_in_order(
    make_scene: MakeScene, figures: Figures
) -> None:
    scene = make_scene(fault_handler=QUICK_ROUNDS)
    for cloud in (scene.north, scene.south):
        cloud.kill()
    began = time.monotonic()
    scene.until_mode("BRAINSTEM")
    entered = scene.entered("BRAINSTEM")
    assert entered is not None
    figures.note("all clouds gone → BRAINSTEM (looked at every 0.5 s)", entered - began, below=10.0)
    marks = [f"t{n}" for n in range(8)]
    tasks = scene.submit(*(f"mark:{mark} say hello" for mark in marks), executor="model")
    scene.until_state("waiting", *tasks)
    until(scene.ollama.loaded, 10, "the local model is in memory")
    assert scene.ollama.loaded() == ["qwen2.5:7b"]

    for cloud in (scene.north, scene.south):
        cloud.up()
    began = time.monotonic()
    scene.until_state("completed", *tasks, within_s=60)
    figures.note("the clouds back → 8 waiting tasks done", time.monotonic() - began, below=60.0)
    done = [e.mark for e in (*scene.north.calls(), *scene.south.calls()) if e.mark in marks]
    assert sorted(done) == sorted(marks), "each was asked of a cloud once"
    assert planned_in_order(scene, tasks)
    assert scene.modes() == ["BRAINSTEM", "NORMAL"]
    assert [each.window for each in scene.events(ev.RampMoved)][:2] == [1, 2]
    until(lambda: not scene.ollama.loaded(), 10, "the local model is gone from memory")
    assert {e.what for e in scene.ollama.entries()} == {"load", "generate", "unload"}
    assert scene.events(ev.TaskFailed) == []
    assert scene.daemon.terminate() == 0
    verified = scene.daemon.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def planned_in_order(scene: Scene[ProxyProcess], tasks: list[str]) -> bool:
    planned = [each.stream.removeprefix("task-") for each in scene.log() if isinstance(each.event, ev.AttemptPlanned)]
    return planned == tasks


def test_a_task_whose_proxy_dies_under_it_is_done_all_the_same_and_once(make_scene: MakeScene) -> None:
    scene = make_scene(fault_handler=OWNERS)
    scene.north.set(queue=["hang"])
    [task] = scene.submit("mark:flight say hello", executor="model")
    until(scene.north.calls, 20, "its call hangs at a cloud")
    scene.proxy.kill()
    scene.until_state("completed", task)
    assert [attempt.n for attempt in scene.events(ev.AttemptPlanned)] == [1]
    [answered] = [e.key for e in (*scene.north.calls(), *scene.south.calls()) if e.ended == "200"]
    assert answered in BACKUP.values()


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize("fault", ["cutstream", "errstream"])
def test_a_stream_that_breaks_behind_the_proxy_is_a_clear_error_and_metered(
    make_scene: MakeScene, dialect: str, fault: str
) -> None:
    scene = make_scene(fault_handler=OWNERS)
    answer = scene.ask(f"fault:{fault}", dialect, stream=True)
    assert answer.status_code == 200
    assert "error" in answer.text.splitlines()[-2] + answer.text.splitlines()[-1]
    until(scene.channels, 5, "the call is settled")
    assert scene.channels() == [("proxy", "broken_stream")]
    [settled] = scene.events(ev.CallSettled)
    assert settled.duration_ms > 0
    assert scene.modes() == []


def test_a_hundred_calls_at_once_leave_the_proxy_quick_to_say_that_it_lives(
    make_scene: MakeScene, figures: Figures
) -> None:
    scene = make_scene(fault_handler=OWNERS)
    for cloud in (scene.north, scene.south):
        cloud.set(fault="slow", delay_s=3)  # so that they are all under way at the same time

    def ask(_: int) -> int:
        return scene.ask("hello", stream=True).status_code

    with ThreadPoolExecutor(100) as pool, httpx.Client(trust_env=False, timeout=10) as client:
        asked = [pool.submit(ask, n) for n in range(100)]
        looks = []
        while not all(each.done() for each in asked):
            began = time.monotonic()
            assert client.get(f"{scene.proxy.url}/health/liveliness").status_code == 200
            looks.append(time.monotonic() - began)
            time.sleep(0.05)
        assert Counter(each.result() for each in asked) == {200: 100}
    figures.note("100 calls at once: the proxy's liveliness, median", statistics.median(looks), below=0.5)
    figures.note("100 calls at once: the proxy's liveliness, worst", max(looks), below=1.0)
    assert scene.modes() == []
