"""Each failure with the mode that follows from it and the channel that the next answer comes by."""

from __future__ import annotations

import itertools
import socket
import time
from datetime import datetime

import pytest
from tests.failover.conftest import MakeScene
from tests.failover.scene import HASTE, KEYS, Scene
from tests.fakes.processes import FakeProxyProcess
from tests.torture.daemon_process import until

from omni.domain import events as ev

PRIMARY, BACKUP = KEYS["primary"], KEYS["backup"]


def models_asked(scene: Scene[FakeProxyProcess]) -> list[str]:
    """What the proxy was asked for, oldest first."""
    return [entry.model for entry in scene.proxy.calls()]


# --- the cloud behind the proxy fails: the proxy lives, and the mode stays --------------------------------------------


def test_what_fails_behind_a_living_proxy_goes_to_the_next_tier_and_changes_no_mode(make_scene: MakeScene) -> None:
    scene = make_scene()
    expected = {
        "401": "key_rejected",
        "403": "key_rejected",
        "402": "out_of_credit",
        "408": "slow",
        "500": "server_error",
        "502": "server_error",
        "badjson": "bad_answer",
    }
    for fault, verdict in expected.items():
        scene.proxy.forget()
        scene.proxy.set(queue=[fault])
        before = len(scene.channels())
        assert scene.ask().status_code == 200, fault
        until(lambda: len(scene.channels()) == before + 2, 5, "both hops are settled")  # noqa: B023 - called here
        assert scene.channels()[before:] == [("proxy", verdict), ("proxy", "ok")]
        assert models_asked(scene) == ["fast", "heavy"]
    assert scene.modes() == []
    assert scene.keys_seen() == {"north": set(), "south": set()}


def test_a_mistake_of_the_caller_comes_back_as_it_is_and_is_not_asked_again(make_scene: MakeScene) -> None:
    scene = make_scene()
    answer = scene.ask("fault:400")
    assert (answer.status_code, models_asked(scene)) == (400, ["fast"])
    assert "too long" in answer.json()["error"]["message"]


def test_a_limited_model_is_left_alone_for_as_long_as_it_asks_and_for_ten_minutes_at_most(
    make_scene: MakeScene,
) -> None:
    names = ("silent", "polite", "absurd", "last")
    scene = make_scene(tiers=[{"name": f"T-{name}", "light": name, "heavy": name} for name in names])
    asked = {
        "silent": ("429", "", 5, 60),
        "polite": ("429-after", "8", 3, 9),
        "absurd": ("429-after", "1580000", 60, 600),
    }
    for name, (fault, after, least_s, most_s) in asked.items():
        scene.proxy.set(queue=[fault], retry_after=after)
        now = time.time()  # noqa: TID251 - held against a wall-clock time of the status
        assert scene.ask(model=name).status_code == 200
        breaker = until(lambda: scene.component("breaker", f"proxy/{name}"), 5, "the breaker opens")  # noqa: B023
        assert (breaker["state"], least_s <= until_s(breaker) - now <= most_s + 1) == ("open", True), breaker
    scene.proxy.forget()
    assert scene.ask(model="absurd").status_code == 200
    assert models_asked(scene) == ["last"]
    until(
        lambda: scene.ask(model="polite").status_code == 200 and "polite" in models_asked(scene),
        15,
        "it is asked again",
    )
    assert scene.modes() == []


def test_a_model_that_fails_again_and_again_is_left_alone_though_the_proxy_lives(make_scene: MakeScene) -> None:
    scene = make_scene()
    for _ in range(10):
        if scene.component("breaker", "proxy/fast").get("state") == "open":
            break
        scene.proxy.set(queue=["500", "ok"])
        assert scene.ask().status_code == 200
    scene.proxy.set(queue=[])
    scene.proxy.forget()
    assert scene.ask().status_code == 200
    assert models_asked(scene) == ["heavy"]
    assert scene.modes() == []


def until_s(component: dict[str, object]) -> float:
    return datetime.fromisoformat(str(component["until"])).timestamp()


# --- the proxy itself ------------------------------------------------------------------------------------------------


def test_a_proxy_that_cuts_a_call_loses_it_to_a_cloud_with_the_backup_key(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.set(queue=["cut"])
    assert "south answers" in scene.ask().text
    assert scene.keys_seen() == {"north": set(), "south": {BACKUP["openrouter"]}}


def test_a_slow_but_healthy_proxy_is_never_taken_for_dead(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.set(liveliness_s=0.3)
    for _ in range(8):
        assert "proxy answers" in scene.ask("fault:slow").text
    assert scene.modes() == []


def test_a_proxy_too_busy_to_say_that_it_lives_stays_up_while_calls_get_through_and_no_longer(
    make_scene: MakeScene,
) -> None:
    scene = make_scene(fault_handler={**HASTE, "proxy_recent_success_s": 2})
    scene.proxy.set(liveliness_s=5)
    for _ in range(4):
        assert "proxy answers" in scene.ask("fault:slow").text
    assert scene.modes() == []
    scene.until_mode("DEGRADED", 10)


def test_a_proxy_that_fails_every_other_look_is_down(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.set(liveliness=[503, 200])
    scene.until_mode("DEGRADED", 10)
    assert "south answers" in scene.ask().text
    scene.proxy.set(liveliness=[200])
    scene.until_mode("NORMAL", 15)
    assert "proxy answers" in scene.ask().text


def test_the_modes_of_a_dying_and_a_returning_proxy_carry_their_evidence(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    scene.proxy.up()
    scene.until_mode("NORMAL")
    down, up = scene.events(ev.ModeChanged)
    assert (down.before, down.after, down.cause, up.after) == ("NORMAL", "DEGRADED", "proxy", "NORMAL")
    assert {each.verdict for each in down.evidence} <= {"refused", "closed"}  # closed: a look was under way
    assert down.evidence
    assert {each.verdict for each in up.evidence} == {"ok"}


# --- the clouds, with the proxy gone ---------------------------------------------------------------------------------


def test_every_dialect_finds_a_cloud_with_a_backup_key_when_the_proxy_is_gone(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.proxy.kill()
    said = {dialect: scene.ask("mark:direct", dialect).text for dialect in ("chat", "messages", "responses")}
    assert all("direct" in text for text in said.values()), said
    assert "north answers" in said["messages"]
    assert "south answers" in said["chat"]
    assert scene.keys_seen() == {"north": {BACKUP["anthropic"]}, "south": {BACKUP["openrouter"]}}
    scene.until_mode("DEGRADED")


def test_one_dead_cloud_of_two_is_gone_round_and_used_again_when_it_is_back(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.south.kill()
    until(lambda: scene.component("cloud", "openrouter")["state"] == "down", 15, "one cloud is down")
    assert scene.mode == "NORMAL"
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    assert "north answers" in scene.ask().text
    scene.south.up()
    until(lambda: scene.component("cloud", "openrouter")["state"] == "up", 15, "it is back")
    assert "south answers" in scene.ask().text
    assert scene.modes() == ["DEGRADED"]


def test_an_invalid_backup_key_leaves_the_other_cloud_and_two_of_them_leave_nothing(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.south.set(keys=[PRIMARY["openrouter"]])
    until(lambda: scene.component("key", "openrouter/backup")["state"] == "invalid", 15, "a ping shows it")
    assert scene.mode == "NORMAL"
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    assert "north answers" in scene.ask().text
    assert PRIMARY["openrouter"] not in scene.keys_seen()["south"]
    scene.north.set(keys=[PRIMARY["anthropic"]])
    scene.until_mode("BRAINSTEM")
    scene.proxy.up()
    scene.until_mode("NORMAL")
    assert scene.modes() == ["DEGRADED", "BRAINSTEM", "NORMAL"]


@pytest.mark.parametrize(("fault", "state"), [("402", "cooldown"), ("401", "invalid")])
def test_a_backup_key_that_fails_inside_a_call_sends_the_call_to_the_other_cloud(
    make_scene: MakeScene, fault: str, state: str
) -> None:
    scene = make_scene(fault_handler={**HASTE, "check_interval": 30})
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    scene.south.set(queue=[fault])
    assert "north answers" in scene.ask().text
    until(lambda: scene.component("key", "openrouter/backup")["state"] == state, 5, f"the key is {state}")
    assert "north answers" in scene.ask().text
    assert len(scene.south.calls()) == 1
    assert scene.mode == "DEGRADED"


def test_no_cloud_and_no_proxy_is_brainstem_and_says_so_to_callers(make_scene: MakeScene) -> None:
    scene = make_scene()
    for each in (scene.north, scene.south):
        each.kill()
    scene.until_mode("BRAINSTEM")
    answer = scene.ask()
    assert answer.status_code == 503
    assert "cloud is gone" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0


# --- after the first byte --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [False, True], ids=["by the proxy", "directly"])
def test_a_stream_that_breaks_in_the_middle_is_a_clear_error_and_in_the_books(
    make_scene: MakeScene, direct: bool
) -> None:
    scene = make_scene()
    if direct:
        scene.proxy.kill()
        scene.until_mode("DEGRADED")
    for settled, (dialect, fault) in enumerate(itertools.product(("chat", "messages"), ("cutstream", "errstream"))):
        answer = scene.ask(f"fault:{fault}", dialect, stream=True)
        assert answer.status_code == 200
        assert "answers" in answer.text
        assert '"error"' in "".join(answer.text.splitlines()[-2:])
        until(lambda: len(scene.channels()) > settled, 5, "the call is settled")  # noqa: B023 - called here
        assert scene.channels()[settled:] == [(scene.channels()[-1][0], "broken_stream")]
        usage = scene.events(ev.CallSettled)[-1].usage
        assert (usage is not None and usage.input_tokens == 11) is (dialect == "messages"), "what was said is counted"
    assert scene.modes() == (["DEGRADED"] if direct else [])


def test_a_caller_that_goes_away_takes_its_call_along(make_scene: MakeScene) -> None:
    scene = make_scene()
    body = b'{"model": "fast", "max_tokens": 5, "messages": [{"role": "user", "content": "fault:hang"}]}'
    host = f"127.0.0.1:{scene.daemon.port}"
    head = f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {scene.daemon.token}\r\n"
    with socket.create_connection(("127.0.0.1", scene.daemon.port)) as caller:
        caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(scene.proxy.calls, 10, "the call is at the proxy")
    until(lambda: [e.ended for e in scene.proxy.calls()] == ["left"], 10, "the proxy sees us leave")
    until(lambda: scene.channels() == [("proxy", "abandoned")], 10, "the call is settled")
