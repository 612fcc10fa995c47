"""When the proxy, a cloud, a key or a model goes down, and when it comes back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from tests.domain.ward import BOTH, HOUR, MINUTE, RULES, Ward, kinds

from omni.domain import events as ev
from omni.domain import health as healths
from omni.domain.health import Health
from omni.domain.values import HealthSettings
from omni.domain.verdict import MEANING, Verdict

PROXY = "proxy"
F, S = "refused", "ok"


def proxy_after(verdicts: Sequence[str], every_ms: int = 2_000) -> str:
    ward = Ward()
    ward.series(PROXY, verdicts, every_ms)
    return ward.state(PROXY)


# --- the proxy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ([F], "up"),
        ([F, F], "down"),
        ([F, S, F], "up"),
        ([F, S, F, S], "up"),  # four outcomes are too few for a rate
        ([F, S, F, S, F], "down"),  # 3 of 5
        ([S, F, S, F, S], "up"),  # 2 of 5
        ([S, F, S, F, S, F], "down"),  # 3 of 6
        ([S] * 9 + [F, S] * 3, "up"),  # of the last ten, three failed
        ([S] * 9 + [F, S] * 5, "down"),  # of the last ten, five did
        (["hung", "hung"], "down"),
        (["no_route", "closed"], "down"),
        (["server_error", "rate_limited", "misconfigured", "caller_error", "bad_answer"], "up"),
        ([F, "slow", F], "down"),  # what says nothing neither counts nor breaks a streak
        ([F, "abandoned", "broken_stream"], "up"),
    ],
)
def test_the_proxy_is_down_after_two_failures_in_a_row_or_when_half_of_the_last_outcomes_failed(
    verdicts: list[str], state: str
) -> None:
    assert proxy_after(verdicts) == state


@pytest.mark.parametrize("verdict", list(Verdict))
def test_two_answers_of_a_kind_take_the_proxy_down_only_if_the_table_says_that_it_is_not_alive(
    verdict: Verdict,
) -> None:
    assert proxy_after([verdict, verdict]) == ("down" if MEANING[verdict].alive is False else "up")


def test_a_probe_that_times_out_does_not_count_while_real_calls_get_through() -> None:
    ward = Ward()
    ward.calls(PROXY)
    ward.series(PROXY, ["hung"] * 5)
    assert ward.state(PROXY) == "up"
    ward.run(1)  # more than ten seconds after the call
    assert kinds([*ward.see(PROXY, "hung"), *ward.see(PROXY, "hung")]) == ["ProxyChanged", "ModeChanged"]


def test_a_refused_probe_counts_although_calls_get_through() -> None:
    ward = Ward()
    ward.calls(PROXY)
    ward.series(PROXY, [F, F], 500)
    assert ward.state(PROXY) == "down"


def test_a_call_that_hangs_counts_although_another_got_through() -> None:
    ward = Ward()
    ward.calls(PROXY)
    ward.calls(PROXY, "hung")
    ward.calls(PROXY, "hung")
    assert ward.state(PROXY) == "down"


def test_a_call_and_a_probe_that_fail_make_two_failures() -> None:
    ward = Ward()
    ward.calls(PROXY, "refused")
    ward.see(PROXY, "refused")
    assert ward.state(PROXY) == "down"


def test_an_upstream_that_is_dead_behind_a_living_proxy_never_takes_the_proxy_down() -> None:
    ward = Ward()
    for _ in range(50):
        ward.calls(PROXY, "server_error")
        ward.calls(PROXY, "slow")
    assert ward.state(PROXY) == "up"
    assert ward.modes == []


def test_the_proxy_is_up_after_two_successes_and_its_dwell() -> None:
    ward = Ward()
    ward.kill(PROXY)
    down_at = ward.health.proxy.since
    ward.series(PROXY, [S] * 4, 2_500)
    assert ward.state(PROXY) == "down"  # less than 15 s after it went down
    ward.run(down_at + RULES.dwell_ms - ward.wall)
    assert kinds(ward.see(PROXY)) == ["ProxyChanged", "ModeChanged"]


def test_one_success_after_the_dwell_is_not_enough() -> None:
    ward = Ward()
    ward.kill(PROXY)
    ward.run(MINUTE)
    assert ward.see(PROXY) == []
    assert ward.see(PROXY, F) == []
    assert ward.see(PROXY) == []
    assert kinds(ward.see(PROXY)) == ["ProxyChanged", "ModeChanged"]


def test_each_return_of_the_last_hour_doubles_the_dwell_up_to_ten_minutes() -> None:
    ward = Ward()
    dwells = []
    for _ in range(8):
        ward.kill(PROXY)
        down_at = ward.health.proxy.since
        while ward.state(PROXY) == "down":
            ward.series(PROXY, [S], 500)
        dwells.append(round((ward.wall - down_at) / 1_000))
    assert dwells == [15, 30, 60, 120, 240, 480, 600, 600]
    ward.run(HOUR)
    ward.kill(PROXY)
    down_at = ward.health.proxy.since
    ward.series(PROXY, [S] * 31, 500)
    assert ward.state(PROXY) == "up"


def test_what_took_the_proxy_down_once_is_not_held_against_it_when_it_is_back() -> None:
    ward = Ward()
    ward.series(PROXY, [F, F, F, F], 500)
    ward.run(MINUTE)
    ward.series(PROXY, [S, S, F])
    assert ward.state(PROXY) == "up"


def test_a_dwell_goes_on_through_a_restart_and_streaks_do_not() -> None:
    ward = Ward()
    ward.kill(PROXY)
    ward.run(10_000)
    ward.see(PROXY)
    ward.start(down_ms=10_000)
    assert ward.see(PROXY) == []
    assert kinds(ward.see(PROXY)) == ["ProxyChanged", "ModeChanged"]
    ward.see(PROXY, F)
    ward.start(down_ms=100)
    assert ward.see(PROXY, F) == []


def test_an_edge_carries_the_observations_that_led_to_it() -> None:
    ward = Ward()
    edge = ward.series(PROXY, [S, F, "hung"])[0]
    assert [each.verdict for each in edge.evidence] == ["refused", "hung"]
    assert [ward.wall - each.at for each in edge.evidence] == [2_000, 0]
    other = Ward()
    edge = other.series(PROXY, [F, S, F, S, F])[0]
    assert [each.verdict for each in edge.evidence] == [F, S, F, S, F]


# --- clouds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "every_ms", "state"),
    [
        ([F, F], 10_000, "up"),
        ([F, F, F], 2_499, "up"),  # three, and not five seconds apart
        ([F, F, F], 2_500, "down"),
        ([F] * 20, 250, "up"),
        ([F] * 21, 250, "down"),
        ([F, F, S, F, F], 10_000, "up"),
        (["hung", "no_route", "closed"], 10_000, "down"),
        (["key_rejected", "out_of_credit", "rate_limited", "server_error"] * 3, 10_000, "up"),
        ([F, "slow", "slow", "slow"], 10_000, "up"),
        ([F, F, "server_error", F], 10_000, "up"),  # whoever answers can be reached
    ],
)
def test_a_cloud_is_down_after_three_failures_in_a_row_that_span_five_seconds(
    verdicts: list[str], every_ms: int, state: str
) -> None:
    ward = Ward()
    ward.series("east", verdicts, every_ms)
    assert ward.state("east") == state
    assert ward.state("west") == "up"


@pytest.mark.parametrize(
    ("verdicts", "network"),
    [(["no_route"] * 3, True), (["no_route", "hung", "no_route"], False), (["hung"] * 3, False)],
)
def test_a_cloud_is_down_by_our_own_network_when_every_failure_was_one_of_it(
    verdicts: list[str], network: bool
) -> None:
    ward = Ward()
    edge = ward.series("east", verdicts, 2_500)[0]
    assert isinstance(edge, ev.CloudChanged)
    assert (edge.state, edge.network) == ("down", network)


def test_a_cloud_is_up_after_two_successes_and_one_more_for_each_return_of_the_last_hour_at_most_six() -> None:
    ward = Ward()
    needed = []
    for _ in range(7):
        ward.kill("east")
        count = 0
        while ward.state("east") == "down":
            ward.series("east", [S], 30_000)
            count += 1
        needed.append(count)
    assert needed == [2, 3, 4, 5, 6, 6, 6]


def test_a_failure_between_two_successes_begins_the_count_anew() -> None:
    ward = Ward()
    ward.kill("east")
    ward.series("east", [S, F, S])
    assert ward.state("east") == "down"
    ward.see("east")
    assert ward.state("east") == "up"


def test_direct_calls_count_for_a_cloud_as_pings_do() -> None:
    ward = Ward()
    for _ in range(3):
        ward.calls("east", "hung")
        ward.run(3_000)
    assert ward.state("east") == "down"


def test_calls_through_the_proxy_say_nothing_of_clouds() -> None:
    ward = Ward()
    for verdict in Verdict:
        for _ in range(5):
            ward.run(3_000)
            ward.calls(PROXY, verdict)
    assert {cloud.state for cloud in ward.health.clouds.values()} == {"up"}


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("key_rejected", "invalid"),
        ("out_of_credit", "cooldown"),
        ("rate_limited", "ok"),
        ("server_error", "ok"),
        ("caller_error", "ok"),
        ("hung", "ok"),
    ],
)
@pytest.mark.parametrize("source", ["call", "ping"])
def test_a_key_is_what_the_cloud_says_of_it(verdict: str, state: str, source: str) -> None:
    ward = Ward()
    ward.see("east", verdict, source, key="backup")
    assert ward.health.key("east", "backup").state == state
    assert ward.health.key("east", "primary").state == "ok"
    assert ward.health.key("west", "backup").state == "ok"


def test_an_answer_to_a_question_without_a_key_says_nothing_of_keys() -> None:
    ward = Ward()
    assert ward.see("east", "key_rejected") == []
    assert ward.calls(PROXY, "key_rejected", key="primary") == []


def test_a_mended_key_is_noticed_by_the_next_ping_with_it() -> None:
    ward = Ward()
    ward.see("east", "key_rejected", key="backup")
    ward.see("east", "ok", key="primary")
    assert ward.health.key("east", "backup").state == "invalid"
    (edge,) = ward.see("east", "ok", key="backup")
    assert (edge.state, [each.verdict for each in edge.evidence]) == ("ok", ["ok"])


def test_a_key_out_of_credit_may_be_tried_again_after_ten_minutes_or_when_a_call_with_it_is_paid_for() -> None:
    ward = Ward()
    (edge,) = ward.calls("east", "out_of_credit", key="backup")
    assert edge.until_ms == ward.wall + 10 * MINUTE
    assert ward.calls("east", "out_of_credit", key="backup") == []
    assert not ward.health.key("east", "backup").good(ward.wall)
    assert ward.health.key("east", "backup").good(edge.until_ms)
    paid = ward.calls("east", "ok", key="backup")
    assert kinds(paid) == ["KeyChanged"]
    assert ward.health.key("east", "backup").state == "ok"


def test_a_free_ping_does_not_refute_a_call_that_nobody_would_pay_for() -> None:
    ward = Ward()
    ward.calls("east", "out_of_credit", key="backup")
    assert ward.see("east", "ok", key="backup") == []
    ward.run(10 * MINUTE)
    assert kinds(ward.see("east", "ok", key="backup")) == ["KeyChanged"]
    ward.see("east", "out_of_credit", key="backup")
    assert kinds(ward.see("east", "ok", key="backup")) == ["KeyChanged"]  # here it was a ping that said so


def test_a_second_refusal_after_the_cooldown_begins_a_new_one() -> None:
    ward = Ward()
    ward.calls("east", "out_of_credit", key="backup")
    ward.run(11 * MINUTE)
    (edge,) = ward.calls("east", "out_of_credit", key="backup")
    assert edge.until_ms == ward.wall + 10 * MINUTE


def test_keys_that_are_not_configured_are_absent_and_stay_so() -> None:
    ward = Ward(replace(BOTH, backup_keys=("west",)))
    assert ward.health.key("east", "backup").state == "absent"
    assert ward.see("east", "ok", key="backup") == []


# --- breakers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after_ms", "pause_ms"),
    [(None, 30_000), (7_000, 7_000), (10**12, 600_000), (0, 1_000)],
)
def test_a_limited_model_is_left_alone_for_as_long_as_it_says_within_reason(
    retry_after_ms: int | None, pause_ms: int
) -> None:
    ward = Ward()
    (edge,) = ward.calls(PROXY, "rate_limited", "small", retry_after_ms=retry_after_ms)
    assert (edge.channel, edge.model, edge.state, edge.until_ms) == (PROXY, "small", "open", ward.wall + pause_ms)
    assert ward.calls(PROXY, "rate_limited", "small") == []
    assert ward.modes == []


@pytest.mark.parametrize("verdict", ["server_error", "bad_answer", "broken_stream"])
def test_a_model_that_fails_half_of_its_calls_is_left_alone(verdict: str) -> None:
    ward = Ward()
    for each in (verdict, "ok", verdict, "ok"):
        assert ward.calls("east", each) == []
    (edge,) = ward.calls("east", verdict)
    assert (edge.state, edge.until_ms) == ("open", ward.wall + 30_000)
    assert edge.reason == "3 of its last 5 calls failed"
    assert len(edge.evidence) == 5


def test_models_do_not_answer_for_each_other_nor_channels_nor_pings() -> None:
    ward = Ward()
    for n in range(20):
        ward.calls("east", "server_error", f"m{n % 5}")
        ward.see("east", "server_error")
        ward.see("east", "rate_limited")
    assert ward.health.breakers == {}


@pytest.mark.parametrize("verdict", ["caller_error", "key_rejected", "hung", "abandoned", "slow"])
def test_what_is_no_fault_of_the_model_does_not_open_its_breaker(verdict: str) -> None:
    ward = Ward()
    for _ in range(20):
        ward.calls("east", verdict)
    assert ward.health.breakers == {}


def test_after_its_pause_a_breaker_is_half_open_closes_with_an_ok_and_opens_for_longer_with_a_failure() -> None:
    ward = Ward()
    pauses = []
    for verdict in ["rate_limited", "server_error", "rate_limited", "bad_answer", "rate_limited", "rate_limited"]:
        (edge,) = ward.calls("east", verdict)
        pauses.append((edge.until_ms - ward.wall) // 1_000)
        ward.run(edge.until_ms - ward.wall - 1)
        assert ward.calls("east", "server_error") == []
        assert ward.calls("east", "ok") == []
        ward.run(1)
    assert pauses == [30, 60, 120, 240, 480, 600]
    (edge,) = ward.calls("east", "ok")
    assert edge.state == "closed"
    assert ward.health.breakers == {}
    (edge,) = ward.calls("east", "rate_limited")
    assert edge.until_ms == ward.wall + 30_000


def test_names_of_models_that_callers_make_up_do_not_fill_the_memory() -> None:
    ward = Ward()
    for n in range(1_000):
        ward.calls("east", "rate_limited", f"limited-{n}")
        ward.calls("east", "server_error", f"failing-{n}")
    assert len(ward.health.breakers) == 200
    assert len(ward.symptoms.models) == 200


# --- clocks and restarts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_ms", [5_001, -5_001, 8 * HOUR, -8 * HOUR])
def test_a_jump_of_the_clock_voids_streaks_and_for_twenty_seconds_failures_do_not_count(by_ms: int) -> None:
    ward = Ward()
    ward.see(PROXY, F)
    ward.series("east", [F, F], 3_000)
    ward.jump(by_ms)
    assert [(type(e), e.by_ms) for e in ward.see(PROXY, F)] == [(ev.ClockJumped, by_ms)]
    for _ in range(9):
        ward.run(2_000)
        assert ward.see(PROXY, F) + ward.see("east", F) == []
    ward.run(2_000)
    assert ward.see(PROXY, F) == []
    assert kinds(ward.see(PROXY, F)) == ["ProxyChanged", "ModeChanged"]


@pytest.mark.parametrize("by_ms", [5_000, -5_000])
def test_small_differences_of_the_clocks_are_none(by_ms: int) -> None:
    ward = Ward()
    ward.see(PROXY, F)
    ward.jump(by_ms)
    assert kinds(ward.see(PROXY, F)) == ["ProxyChanged", "ModeChanged"]


def test_streams_that_broke_in_a_sleep_are_not_held_against_their_model() -> None:
    ward = Ward()
    ward.jump(HOUR)
    ward.see("west")
    for _ in range(10):
        assert ward.calls("east", "broken_stream") == []
    ward.run(RULES.grace_ms)
    assert kinds([event for _ in range(5) for event in ward.calls("east", "broken_stream")]) == ["BreakerChanged"]


def test_successes_count_in_the_grace_after_a_jump() -> None:
    ward = Ward()
    ward.kill("east")
    ward.jump(HOUR)
    ward.see("east")
    ward.series("east", [S, S], 1_000)
    assert ward.state("east") == "up"


@pytest.mark.parametrize("by_ms", [HOUR, -HOUR])
def test_a_jump_makes_the_dwell_neither_shorter_nor_longer(by_ms: int) -> None:
    ward = Ward()
    ward.series(PROXY, [F, F])
    ward.jump(by_ms)
    ward.series(PROXY, [S] * 7)
    assert ward.state(PROXY) == "down"
    ward.series(PROXY, [S])
    assert ward.state(PROXY) == "up"


@pytest.mark.parametrize(("by_ms", "restart"), [(-24 * HOUR, False), (-5 * MINUTE, False), (-24 * HOUR, True)])
def test_a_clock_that_was_set_back_does_not_prolong_the_pause_of_a_key_or_a_model(by_ms: int, restart: bool) -> None:
    ward = Ward()
    ward.calls("east", "out_of_credit", key="backup")
    ward.calls("east", "rate_limited", retry_after_ms=10 * MINUTE)
    if restart:
        ward.start(down_ms=by_ms)
    else:
        ward.jump(by_ms)
        ward.see("west")
    ward.run(10 * MINUTE)
    assert ward.health.key("east", "backup").good(ward.wall)
    assert kinds(ward.calls("east", "ok", key="backup")) == ["KeyChanged", "BreakerChanged"]


def test_a_clock_that_was_set_back_while_nobody_ran_does_not_prolong_the_dwell() -> None:
    ward = Ward()
    ward.kill(PROXY)
    ward.start(down_ms=-24 * HOUR)
    ward.series(PROXY, [S] * 8)
    assert ward.state(PROXY) == "up"


def test_a_clock_that_is_set_back_right_after_a_restart_does_not_prolong_the_dwell() -> None:
    ward = Ward()
    ward.kill(PROXY)
    ward.start(down_ms=1_000)
    ward.jump(-24 * HOUR)
    ward.series(PROXY, [S] * 9)
    assert ward.state(PROXY) == "up"


def test_recoveries_by_a_clock_that_was_set_back_since_count_only_once() -> None:
    ward = Ward()
    for _ in range(3):
        ward.kill("east")
        ward.series("east", [S] * 9)
    ward.start(down_ms=-HOUR)
    ward.run(HOUR + 1)
    ward.kill("east")
    ward.series("east", [S] * 2)
    assert ward.state("east") == "up"


def test_a_boot_is_cleared_when_everything_that_is_watched_has_answered_a_probe() -> None:
    ward = Ward()
    steps = []
    for target in ("proxy", "east"):
        steps.append(ward.symptoms.cleared(ward.health))
        ward.see(target, "hung")
    ward.calls("west")
    steps.append(ward.symptoms.cleared(ward.health))
    ward.see("west", "server_error")
    steps.append(ward.symptoms.cleared(ward.health))
    assert steps == [False, False, False, True]
    ward.start()
    assert not ward.symptoms.cleared(ward.health)


def test_a_target_that_is_not_watched_is_not_heard_of() -> None:
    ward = Ward(replace(BOTH, proxy=False, clouds=("west",)))
    assert ward.series(PROXY, [F] * 10) + ward.series("east", [F] * 10) == []
    assert ward.state(PROXY) == "absent"


def test_breakers_of_a_proxy_that_is_no_longer_configured_are_forgotten() -> None:
    known = Health()
    healths.evolve(known, ev.HealthConfigured(HealthSettings(proxy=True, clouds=("east",))), 1)
    for channel in ("proxy", "east"):
        healths.evolve(known, ev.BreakerChanged(channel, "large", "open", "limited", 99), 2)
    healths.evolve(known, ev.HealthConfigured(HealthSettings(clouds=("east",))), 3)
    assert list(known.breakers) == [("east", "large")]
