"""Executors that rest: until when, who hears of it, and what they are afterwards."""

from __future__ import annotations

from typing import Any

from omni.domain import commands as cmd
from omni.domain import executor_watch as watch
from omni.domain.effects import Outcome
from omni.domain.values import ExecutorHealth

NAME = "claude"
HOUR_MS = 3_600_000


class Post:
    """One executor's health through the rules, folded as it is recorded."""

    def __init__(self) -> None:
        self.executors: watch.Executors = {}
        self.at = 1_000_000
        self.last = Outcome()

    def see(self, *, ok: bool) -> list[Any]:
        return self._fold(watch.observe(self.executors, cmd.ExecutorObserved(NAME, ok, "refused"), self.at))

    def rest(self, for_ms: int) -> list[Any]:
        return self._fold(watch.pause(self.executors, cmd.ExecutorPaused(NAME, for_ms, "session limit"), self.at))

    def ring(self) -> list[Any]:
        return self._fold(watch.rung(self.executors, NAME, self.at))

    def forget(self) -> None:
        """A restart: what is recorded stays, what was observed is gone."""
        health = self.health
        self.executors = {NAME: watch.Watched(health=health)}

    @property
    def health(self) -> ExecutorHealth:
        return self.executors[NAME].health

    def told(self, to: str) -> list[Any]:
        return [send.message for send in self.last.sends if send.to == to]

    def _fold(self, outcome: Outcome) -> list[Any]:
        self.last = outcome
        events = [event for _, event in outcome.events]
        for event in events:
            watch.evolve(self.executors, event, self.at)
        return events


def test_a_rest_is_told_to_router_gateway_and_the_user_and_ends_by_a_timer() -> None:
    post = Post()
    post.see(ok=True)
    (changed,) = post.rest(HOUR_MS)
    assert changed.health.until_ms == post.at + HOUR_MS
    assert [note.health.state for note in post.told("router")] == ["paused"]
    assert [status.health.state for status in post.told("gateway")] == ["paused"]
    (told,) = post.told("brainstem")
    assert (told.kind, told.facts["executor"], told.facts["reason"]) == ("executor_paused", NAME, "session limit")
    assert post.told("timers") == [cmd.WakeAt("health", post.at + HOUR_MS, f"pause:{NAME}")]


def test_what_is_observed_during_a_rest_changes_nothing_and_counts_afterwards() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    assert [post.see(ok=ok) for ok in (True, False, False, True)] == [[]] * 4
    assert post.health.state == "paused"
    post.at += HOUR_MS
    assert [event.health.state for event in post.ring()] == ["ready"]


def test_an_executor_that_went_away_during_its_rest_is_failed_after_it() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    post.see(ok=False)
    post.see(ok=False)
    post.at += HOUR_MS
    assert [event.health.state for event in post.ring()] == ["failed"]


def test_tasks_that_hear_of_one_limit_one_after_the_other_make_one_rest() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    post.at += 20_000
    assert post.rest(HOUR_MS) == []
    assert post.rest(HOUR_MS // 2) == []
    assert len(post.rest(3 * HOUR_MS)) == 1


def test_a_timer_that_rings_early_is_set_again() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    until = post.health.until_ms or 0
    post.at += HOUR_MS // 2
    assert post.ring() == []
    assert post.told("timers") == [cmd.WakeAt("health", until, f"pause:{NAME}")]


def test_after_a_restart_the_rest_goes_on_and_its_timer_is_set_when_the_executor_is_seen() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    (told,) = post.told("brainstem")
    post.forget()
    assert post.see(ok=True) == []
    assert [note.health.state for note in post.told("router")] == ["paused"]
    assert len(post.told("timers")) == 1
    assert post.told("brainstem") == [told]  # the first word may have been lost with the process; Brainstem knows
    post.see(ok=True)
    assert post.told("brainstem") == []
    post.at += HOUR_MS
    assert [event.health.state for event in post.ring()] == ["ready"]


def test_a_rest_that_ended_while_nobody_was_there_ends_with_the_first_observation() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(HOUR_MS)
    post.forget()
    post.at += 2 * HOUR_MS
    assert [event.health.state for event in post.see(ok=True)] == ["ready"]


def test_no_rest_lasts_for_weeks_and_none_outlives_a_clock_that_was_set_back() -> None:
    post = Post()
    post.see(ok=True)
    post.rest(90 * 86_400_000)
    assert (post.health.until_ms or 0) - post.at == watch.LONGEST_PAUSE_MS
    post.at -= 86_400_000
    assert [event.health.state for event in post.see(ok=True)] == ["ready"]
