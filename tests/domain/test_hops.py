"""Where a model call goes: by mode, by health, by what the caller named."""

from __future__ import annotations

import pytest

from omni.domain.commands import ComponentReport, HealthReported, NoteMode
from omni.domain.hops import UNTOLD, Asked, Hop, Paths, Provider, Rung, named, plan
from omni.domain.values import LOCAL_MODEL, PROXY, Mode

P1 = Rung("P1", "fast", "fast")
P2 = Rung("P2", "smart", "genius", paid=True)
P3 = Rung("P3", "tiny", "tiny", channel=LOCAL_MODEL, runs_tasks=False)
LOCAL = Rung("P3", "tiny", "tiny", channel=LOCAL_MODEL)
ANTHROPIC = Provider("anthropic", ("messages",), {"smart": "claude-s"}, "claude-d", primary=True, backup=True)
OPENROUTER = Provider("openrouter", ("chat", "responses"), {}, "or-d", primary=True, backup=True)
PATHS = Paths(proxy=True, tiers=(P1, P2, P3), providers=(ANTHROPIC, OPENROUTER))
NO_PROXY = Paths(proxy=False, tiers=(P1, P2, P3), providers=(ANTHROPIC, OPENROUTER))
FREE = Hop(PROXY, "fast", None, "P1", paid=False)
PAID = Hop(PROXY, "smart", None, "P2", paid=True)


def health(mode: Mode = "NORMAL", *components: ComponentReport) -> HealthReported:
    return HealthReported(NoteMode(mode), components)


def down(kind: str, name: str) -> ComponentReport:
    return ComponentReport(kind, name, "down")


def breaker(name: str, until: int | None = 100) -> ComponentReport:
    return ComponentReport("breaker", name, "open", until=until, reason="limited")


def ways(
    asked: Asked, paths: Paths = PATHS, said: HealthReported = UNTOLD, at: int = 0, *, lost: bool = False
) -> list[str]:
    """The hops as `channel/model/key`."""
    made = plan(asked, paths, said, at, proxy_lost=lost)
    return ["/".join(filter(None, (hop.channel, hop.model, hop.key))) for hop in made.hops]


def reasons(asked: Asked, paths: Paths, said: HealthReported = UNTOLD, *, lost: bool = False) -> list[str]:
    return [str(each) for each in plan(asked, paths, said, proxy_lost=lost).left_out]


CHAT, MESSAGES = Asked("chat"), Asked("messages")


# --- NORMAL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["", "auto", "omni", "fast", "P1"])
def test_in_normal_times_the_free_tier_goes_first_and_the_paid_one_stands_behind_it(model: str) -> None:
    assert plan(Asked("chat", model), PATHS).hops == (FREE, PAID)


def test_the_tier_that_the_callers_model_belongs_to_goes_first() -> None:
    assert plan(Asked("chat", "smart"), PATHS).hops == (PAID, FREE)


def test_a_heavy_model_stays_heavy_on_its_tier() -> None:
    assert ways(Asked("chat", "genius")) == ["proxy/genius", "proxy/fast"]


def test_a_caller_who_leaves_it_open_gets_light_models() -> None:
    assert ways(CHAT, Paths(proxy=True, tiers=(Rung("P1", "light-1"), P2))) == ["proxy/light-1", "proxy/smart"]


def test_a_model_that_no_tier_knows_goes_under_its_own_name_first_and_is_not_taken_for_free() -> None:
    made = plan(Asked("chat", "gpt-x"), PATHS)
    assert made.hops == (Hop(PROXY, "gpt-x", None, "", paid=True), FREE, PAID)


def test_a_tier_that_runs_no_tasks_is_no_way() -> None:
    assert ways(Asked("chat", "tiny"))[0] == "proxy/tiny"  # like any other name that no such tier has
    assert ways(Asked("chat", "P3")) == ["proxy/fast", "proxy/smart"]


def test_a_local_tier_that_runs_tasks_is_one_in_its_place() -> None:
    paths = Paths(proxy=True, tiers=(P1, LOCAL))
    assert ways(Asked("chat", "tiny"), paths) == ["brainstem/tiny", "proxy/fast"]
    assert ways(CHAT, paths) == ["proxy/fast", "brainstem/tiny"]


def test_a_tier_on_a_providers_own_channel_goes_straight_there_with_the_primary_key() -> None:
    paths = Paths(
        proxy=True, tiers=(P1, Rung("P2", "own-name", channel="openrouter")), providers=(ANTHROPIC, OPENROUTER)
    )
    assert plan(Asked("chat", "own-name"), paths).hops == (
        Hop("openrouter", "own-name", "primary", "P2", paid=False),
        FREE,
    )


def test_tiers_without_names_for_models_leave_the_choice_to_the_caller() -> None:
    paths = Paths(proxy=True, tiers=(Rung("P1"), Rung("P2", paid=True)))
    assert ways(Asked("chat", "gpt-x"), paths) == ["proxy/gpt-x"]
    assert ways(CHAT, paths) == []
    assert reasons(CHAT, paths) == ["proxy: neither the caller nor tier P1 names a model"]


def test_which_tier_a_model_belongs_to() -> None:
    assert named(Asked("chat", "genius"), PATHS.tiers) == P2
    assert named(CHAT, PATHS.tiers) == P1
    assert named(Asked("chat", "tiny"), PATHS.tiers) is None
    assert named(CHAT, ()) is None


# --- the proxy is gone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "lost"),
    [(health("DEGRADED"), False), (health("NORMAL", down("proxy", PROXY)), False), (UNTOLD, True)],
    ids=["degraded", "known to be down", "lost inside this call"],
)
def test_without_its_proxy_a_call_goes_to_the_clouds_with_the_backup_keys(said: HealthReported, lost: bool) -> None:
    assert ways(Asked("messages", "smart"), said=said, lost=lost) == [
        "anthropic/claude-s/backup",
        "openrouter/or-d/backup",
        "anthropic/claude-d/backup",
    ]
    assert all(hop.paid for hop in plan(MESSAGES, PATHS, said, proxy_lost=lost).hops)


def test_clouds_that_speak_the_dialect_go_first_else_the_order_of_the_configuration() -> None:
    said = health("DEGRADED")
    assert ways(CHAT, said=said)[0] == "openrouter/or-d/backup"
    assert ways(MESSAGES, said=said)[0] == "anthropic/claude-d/backup"
    either = Paths(proxy=True, tiers=(P1,), providers=(OPENROUTER, Provider("o2", ("chat",), {}, "x", backup=True)))
    assert ways(CHAT, either, said) == ["openrouter/or-d/backup", "o2/x/backup"]


def test_a_model_by_its_own_name_is_known_where_its_dialect_is_spoken() -> None:
    bare = Paths(proxy=True, providers=(Provider("anthropic", ("messages",), backup=True),))
    assert ways(Asked("messages", "claude-x"), bare, lost=True) == ["anthropic/claude-x/backup"]
    assert ways(Asked("chat", "gpt-x"), bare, lost=True) == []


def test_a_cloud_without_a_name_for_the_model_is_left_out_and_the_reason_says_what_to_set() -> None:
    paths = Paths(proxy=True, tiers=(P1,), providers=(Provider("anthropic", ("messages",), backup=True),))
    [reason] = reasons(MESSAGES, paths, lost=True)
    assert "providers.anthropic.default_model" in reason


def test_what_only_a_person_can_mend_is_told_from_what_passes() -> None:
    keyless = Paths(tiers=(P1,), providers=(Provider("anthropic", ("messages",), {}, "c"),))
    assert [each.for_good for each in plan(MESSAGES, keyless).left_out] == [True]
    behind = Paths(proxy=True, tiers=(P1,), providers=keyless.providers)
    assert [each.for_good for each in plan(MESSAGES, behind, proxy_lost=True).left_out] == [False]
    gone = health("NORMAL", down("cloud", "anthropic"))
    assert not any(each.for_good for each in plan(CHAT, NO_PROXY, gone).left_out)


def test_without_a_proxy_in_the_configuration_the_primary_keys_are_used() -> None:
    assert ways(Asked("messages", "smart"), NO_PROXY) == [
        "anthropic/claude-s/primary",
        "openrouter/or-d/primary",
        "anthropic/claude-d/primary",
    ]


def test_losing_a_proxy_that_there_never_was_opens_no_backup_keys() -> None:
    assert all(hop.key == "primary" for hop in plan(CHAT, NO_PROXY, health("DEGRADED"), proxy_lost=True).hops)


# --- a caller who mends the proxy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NORMAL", "DEGRADED"])
def test_a_direct_caller_goes_past_a_proxy_that_is_well_with_the_backup_keys(mode: Mode) -> None:
    assert ways(Asked("messages", "smart", direct=True), said=health(mode)) == [
        "anthropic/claude-s/backup",
        "openrouter/or-d/backup",
        "anthropic/claude-d/backup",
    ]


def test_a_direct_caller_without_backup_keys_has_no_way_and_only_a_person_can_mend_that() -> None:
    paths = Paths(proxy=True, tiers=(P1,), providers=(Provider("anthropic", ("messages",), {}, "c", primary=True),))
    made = plan(Asked("messages", direct=True), paths)
    assert made.hops == ()
    assert [(str(each), each.for_good) for each in made.left_out] == [("anthropic (c): there is no backup key", True)]


def test_where_there_is_no_proxy_a_direct_caller_is_like_any_other() -> None:
    assert plan(Asked("messages", "smart", direct=True), NO_PROXY) == plan(Asked("messages", "smart"), NO_PROXY)


# --- what is left out -----------------------------------------------------------------------------------------------


def test_a_cloud_that_is_down_is_left_out() -> None:
    said = health("DEGRADED", down("cloud", "anthropic"))
    assert ways(MESSAGES, said=said) == ["openrouter/or-d/backup"]
    assert "anthropic (claude-d): it is down" in reasons(MESSAGES, PATHS, said)


@pytest.mark.parametrize("state", ["invalid", "absent", "cooldown"])
def test_a_key_that_is_not_good_is_left_out(state: str) -> None:
    said = health("DEGRADED", ComponentReport("key", "anthropic/backup", state))
    assert ways(MESSAGES, said=said) == ["openrouter/or-d/backup"]
    assert f"anthropic (claude-d): its backup key is {state}" in reasons(MESSAGES, PATHS, said)


def test_a_key_that_is_not_good_says_nothing_about_the_other_one() -> None:
    said = health("NORMAL", ComponentReport("key", "anthropic/backup", "invalid"))
    assert ways(MESSAGES, NO_PROXY, said)[0] == "anthropic/claude-d/primary"


def test_a_cooldown_that_is_over_counts_no_more() -> None:
    said = health("DEGRADED", ComponentReport("key", "anthropic/backup", "cooldown", until=50))
    assert "anthropic/claude-d/backup" not in ways(MESSAGES, said=said, at=49)
    assert "anthropic/claude-d/backup" in ways(MESSAGES, said=said, at=50)


def test_a_cloud_without_that_key_is_left_out() -> None:
    paths = Paths(proxy=True, tiers=(P1,), providers=(Provider("anthropic", ("messages",), {}, "c", primary=True),))
    assert ways(MESSAGES, paths, lost=True) == []
    assert reasons(MESSAGES, paths, lost=True) == ["anthropic (c): there is no backup key"]


def test_a_limited_model_is_left_out_while_there_is_another_and_comes_back_in_time() -> None:
    said = health("NORMAL", breaker("proxy/fast", until=100))
    assert ways(CHAT, said=said, at=99) == ["proxy/smart"]
    assert ways(CHAT, said=said, at=100) == ["proxy/fast", "proxy/smart"]
    assert "proxy (fast): limited" in reasons(CHAT, PATHS, said)


def test_when_all_are_limited_the_one_that_is_free_again_first_goes_first() -> None:
    said = health("NORMAL", breaker("proxy/fast", until=200), breaker("proxy/smart", until=100))
    assert ways(CHAT, said=said) == ["proxy/smart", "proxy/fast"]


def test_a_breaker_is_found_whatever_slashes_are_in_the_name_of_its_model() -> None:
    paths = Paths(proxy=True, tiers=(Rung("P1", "a/b/c"), P2))
    assert ways(CHAT, paths, health("NORMAL", breaker("proxy/a/b/c"))) == ["proxy/smart"]


# --- BRAINSTEM ------------------------------------------------------------------------------------------------------


def test_in_brainstem_no_cloud_is_asked_whatever_was_named() -> None:
    for model in ("", "smart", "gpt-x", "tiny"):
        assert ways(Asked("chat", model), said=health("BRAINSTEM"), lost=True) == []


def test_in_brainstem_a_local_tier_that_runs_tasks_is_the_only_way() -> None:
    paths = Paths(proxy=True, tiers=(P1, P2, LOCAL), providers=(ANTHROPIC,))
    assert plan(Asked("chat", "smart"), paths, health("BRAINSTEM")).hops == (Hop(LOCAL_MODEL, "tiny", None, "P3"),)


# --- always ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NORMAL", "DEGRADED", "BRAINSTEM"])
@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("model", ["", "fast", "genius", "gpt-x", "P2"])
@pytest.mark.parametrize("paths", [PATHS, NO_PROXY], ids=["proxy", "no proxy"])
@pytest.mark.parametrize("direct", [True, False])
def test_no_way_comes_twice_and_no_key_is_used_outside_its_time(
    mode: Mode, lost: bool, model: str, paths: Paths, direct: bool
) -> None:
    hops = plan(Asked("messages", model, direct), paths, health(mode), proxy_lost=lost).hops
    where = [(hop.channel, hop.model, hop.key) for hop in hops]
    assert len(set(where)) == len(where)
    wanted = "backup" if paths.proxy and (lost or direct or mode == "DEGRADED") else "primary"
    assert not (direct and PROXY in {hop.channel for hop in hops})
    assert {hop.key for hop in hops} <= {None, wanted}
    assert all(hop.model for hop in hops)
