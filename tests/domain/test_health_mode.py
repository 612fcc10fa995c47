"""Which mode follows from which health, and what is written down of it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace
from tests.domain.ward import BOTH, CLOUDS, MINUTE, NO_PROXY, ONLY_PROXY, Ward, kinds, replayed

from omni.domain import events as ev
from omni.domain.health import Component, Health, Key, report
from omni.domain.mode import derive
from omni.domain.values import ComponentState, HealthSettings, KeyState

STATES: list[ComponentState] = ["up", "down"]
KEYS: list[KeyState] = ["ok", "invalid", "cooldown", "absent"]


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("proxy", ["up", "down", "absent"])
def test_the_mode_is_what_the_table_of_the_design_says(proxy: ComponentState, forced: bool) -> None:
    for (east, west), (key_east, key_west), (by_net, also) in product(
        product(STATES, STATES), product(KEYS, KEYS), product([False, True], [False, True])
    ):
        health = Health(proxy=Component(proxy), forced=forced)
        health.clouds = {"east": Component(east, network=by_net), "west": Component(west, network=also)}
        health.keys = {("east", "backup"): Key(key_east, until=10), ("west", "backup"): Key(key_west, until=10)}
        direct = (east, key_east) == ("up", "ok") or (west, key_west) == ("up", "ok")
        if forced:
            expected = "BRAINSTEM", "operator"
        elif (east, west) == ("down", "down"):
            expected = "BRAINSTEM", "network" if by_net and also else "cloud"
        elif proxy == "down":
            expected = ("DEGRADED", "proxy") if direct else ("BRAINSTEM", "no_path")
        else:
            expected = "NORMAL", ""
        assert derive(health, at=9) == expected


def test_a_key_whose_cooldown_is_over_counts_as_good() -> None:
    health = Health(proxy=Component("down"), clouds={"east": Component()})
    health.keys = {("east", "backup"): Key("cooldown", until=100)}
    assert [derive(health, at).mode for at in (99, 100)] == ["BRAINSTEM", "DEGRADED"]


def test_without_any_cloud_a_proxy_that_is_down_leaves_no_way_to_a_model() -> None:
    ward = Ward(ONLY_PROXY)
    ward.kill("proxy")
    assert (ward.mode, ward.health.cause) == ("BRAINSTEM", "no_path")
    assert "no cloud is configured" in ward.health.reason


def test_without_a_proxy_the_mode_is_never_degraded() -> None:
    ward = Ward(NO_PROXY)
    ward.kill("proxy")
    ward.kill("east")
    assert ward.modes == []
    ward.kill("west")
    assert ward.modes == ["BRAINSTEM"]


def test_where_nothing_is_watched_the_mode_is_normal() -> None:
    ward = Ward(HealthSettings())
    ward.kill("proxy")
    assert ward.modes == []
    assert kinds(event for event, _ in ward.log) == ["HealthStarted"]


STORIES: list[tuple[list[Any], list[tuple[str, str]], str]] = [
    ([("proxy", "refused")], [("DEGRADED", "proxy")], "the LiteLLM proxy is down (refused: "),
    ([("east", "hung")], [], ""),
    ([("east", "hung"), ("west", "refused")], [("BRAINSTEM", "cloud")], "no cloud can be reached: east (hung: "),
    ([("east", "no_route"), ("west", "no_route")], [("BRAINSTEM", "network")], "this machine reaches no network: east"),
    ([("east", "no_route"), ("west", "hung")], [("BRAINSTEM", "cloud")], "no cloud can be reached"),
    (
        [("proxy", "hung"), ("east", "hung"), ("west", "hung")],
        [("DEGRADED", "proxy"), ("BRAINSTEM", "cloud")],
        "no cloud can be reached",
    ),
    (
        [("east", "hung"), ("west", "hung"), ("proxy", "hung")],
        [("BRAINSTEM", "cloud")],
        "no cloud can be reached",
    ),
]


@pytest.mark.parametrize(("faults", "modes", "reason"), STORIES)
def test_faults_lead_to_modes_with_a_reason_in_plain_words(
    faults: list[tuple[str, str]], modes: list[tuple[str, str]], reason: str
) -> None:
    ward = Ward()
    for target, verdict in faults:
        ward.kill(target, verdict)
    changes = [event for event, _ in ward.log if isinstance(event, ev.ModeChanged)]
    assert [(each.after, each.cause) for each in changes] == modes
    assert ward.health.reason.startswith(reason)
    assert all(each.evidence for each in changes)


def test_a_proxy_that_is_down_with_a_refused_and_an_empty_backup_key_leaves_no_path_until_one_may_be_tried() -> None:
    ward = Ward()
    ward.see("east", "key_rejected", key="backup")
    ward.calls("west", "out_of_credit", key="backup")
    ward.kill("proxy")
    assert (ward.mode, ward.health.cause) == ("BRAINSTEM", "no_path")
    assert ward.health.reason.endswith(
        "no cloud can be called directly: "
        "the backup key of east is invalid, the backup key of west is cooldown"
    )  # fmt: skip
    change = [event for event, _ in ward.log if isinstance(event, ev.ModeChanged)][-1]
    assert {each.verdict for each in change.evidence} == {"refused", "key_rejected", "out_of_credit"}
    ward.run(10 * MINUTE)
    ward.see("east", "server_error")
    assert (ward.mode, ward.health.cause) == ("DEGRADED", "proxy")


def test_primary_keys_lead_nowhere_when_the_proxy_is_down() -> None:
    ward = Ward(replace(BOTH, backup_keys=()))
    ward.kill("proxy")
    assert (ward.mode, ward.health.cause) == ("BRAINSTEM", "no_path")


def test_a_change_of_mode_stands_right_behind_the_edge_that_caused_it_with_its_evidence() -> None:
    ward = Ward()
    edge, change = ward.series("proxy", ["refused", "refused"])
    assert isinstance(edge, ev.ProxyChanged)
    assert change == ev.ModeChanged("NORMAL", "DEGRADED", "proxy", ward.health.reason, edge.evidence)


def test_the_way_back_carries_the_observations_of_the_return() -> None:
    ward = Ward()
    ward.kill("east")
    ward.kill("west")
    ward.series("west", ["ok", "ok"], 30_000)
    change = ward.log[-1][0]
    assert (change.before, change.after, change.cause) == ("BRAINSTEM", "NORMAL", "")
    assert change.reason == "west can be reached again"
    assert "ok" in {each.verdict for each in change.evidence}


def test_a_proxy_that_dies_and_returns_in_brainstem_is_known_on_the_way_out() -> None:
    ward = Ward()
    ward.kill("east")
    ward.kill("west")
    ward.kill("proxy")
    ward.series("west", ["ok", "ok"], 30_000)
    assert ward.modes == ["BRAINSTEM", "DEGRADED"]
    assert ward.health.reason.startswith("the LiteLLM proxy is down")


def test_a_person_may_force_brainstem_and_give_the_decision_back() -> None:
    ward = Ward()
    assert kinds(ward.force(brainstem=True)) == ["ModeForced", "ModeChanged"]
    assert (ward.mode, ward.health.cause, ward.health.reason) == ("BRAINSTEM", "operator", "asked for by owner")
    assert ward.force(brainstem=True) == []
    ward.kill("proxy")
    ward.start()
    assert ward.mode == "BRAINSTEM"
    ward.force(brainstem=False)
    assert (ward.mode, ward.health.cause) == ("DEGRADED", "proxy")


def test_a_new_cause_of_the_same_mode_is_written_down_and_the_time_since_stays() -> None:
    ward = Ward()
    ward.kill("east")
    ward.kill("west")
    since = ward.health.since
    ward.run(1_000)
    (_, change) = ward.force(brainstem=True)
    assert (change.before, change.after, change.cause) == ("BRAINSTEM", "BRAINSTEM", "operator")
    assert ward.health.since == since


def test_a_restart_keeps_health_and_mode_and_new_settings_change_what_they_say() -> None:
    ward = Ward()
    ward.kill("proxy")
    ward.kill("east")
    ward.see("west", "key_rejected", key="primary")
    before = ward.health
    assert kinds(ward.start(down_ms=1_000)) == ["HealthStarted"]
    ward.health.boot, ward.health.revision = before.boot, before.revision
    assert ward.health == before
    assert kinds(ward.start(replace(BOTH, proxy=False))) == ["HealthStarted", "HealthConfigured", "ModeChanged"]
    assert (ward.mode, ward.health.reason) == ("NORMAL", "the configuration has changed")
    ward.start(BOTH)
    assert ward.state("proxy") == "up"
    assert ward.state("east") == "down"
    assert ward.health.key("west", "primary").state == "invalid"


def test_the_log_alone_tells_the_health() -> None:
    ward = Ward()
    ward.kill("proxy")
    ward.calls("east", "rate_limited")
    ward.jump(MINUTE)
    ward.see("west")
    assert replayed(ward.log) == ward.health


def test_the_report_names_every_component_with_its_state_and_evidence() -> None:
    ward = Ward(replace(BOTH, backup_keys=("east",)))
    ward.kill("proxy")
    ward.see("east", "key_rejected", key="backup")
    ward.calls("east", "rate_limited", "large")
    told = {(each.kind, each.name): each for each in report(ward.health, cleared=True).components}
    assert [name for kind, name in told if kind == "cloud"] == list(CLOUDS)
    assert {name: each.state for (kind, name), each in told.items() if kind != "cloud"} == {
        "proxy": "down",
        "east/primary": "ok",
        "east/backup": "invalid",
        "west/primary": "ok",
        "west/backup": "absent",
        "east/large": "open",
    }
    proxy = told["proxy", "proxy"]
    assert proxy.reason.startswith("refused: refused at")
    assert len(proxy.evidence) == 2
    assert told["breaker", "east/large"].until == ward.wall + 30_000
