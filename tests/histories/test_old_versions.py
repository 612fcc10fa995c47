"""Logs of old versions: read honestly, and gone on with by a daemon of today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.histories.conftest import OpenGolden
from tests.histories.make import unpack
from tests.histories.play import Ask, Part, Play, house
from tests.sim.world import assert_equal, replay

from omni.actors.router import Router
from omni.domain.board import Board
from omni.domain.task import Task
from omni.replay.state import state_at
from omni.replay.verify import judge, verify
from omni.replay.why import card

AT_WORK = "01a09d87-daea-7015-8000-000000000015"  # when the log of the first version ends
WAITS = "01a09d4b-ca28-7009-8000-000000000009"
EASY = Part(5_000, (Ask(400),), "Done.")


class Heir(Play):
    """A daemon of today with an old log. The judges of the simulated world know only the rules of today: they look on
    when all is over, at what memory and log have in common.
    """

    def look(self) -> None:
        """Not yet."""

    def task(self, task_id: str) -> Task:
        """A task as the Router knows it."""
        found: Task = self.kernels["router"].state.tasks[task_id]
        return found

    def end(self) -> None:
        """The log is lawful, and memory is what it says."""
        report = judge(self.store._real, self.store.head)
        assert (report.violations, report.findings) == (0, ())
        replayed = Board()
        for row in self.store.read(prefixes=Router.prefixes, check=True):
            replay(replayed, row)
        assert_equal(self.kernels["router"].state, replayed)


@pytest.fixture
def take_over(tmp_path: Path) -> Iterator[Callable[[str], Heir]]:
    """Let a daemon of today take an old log over, some weeks later."""
    taken: list[Heir] = []

    def take(name: str) -> Heir:
        unpack(name, tmp_path / "life-0")
        taken.append(Heir(tmp_path, "2026-10-20 08:00:00", house()))
        return taken[0]

    yield take
    taken[0].close()


def test_what_was_decided_then_and_would_not_be_now_is_counted_and_is_no_damage(golden: OpenGolden) -> None:
    report = verify(golden("old-version").database)
    assert (report.damage, report.violations) == ((), 0)
    redecided = report.redecided
    assert (redecided.commands, redecided.divergences + redecided.other_rules) == (38, 11)
    if redecided.first:
        assert redecided.first.position == 16  # complexity was counted otherwise


def test_a_log_from_before_sinks_had_names_is_decided_alike(golden: OpenGolden) -> None:
    report = verify(golden("before-sinks").database)
    assert report.ok
    assert (report.redecided.commands, report.redecided.divergences, report.redecided.other_rules) == (97, 0, 0)


def test_a_notice_without_a_sink_is_owed_to_all_there_were(golden: OpenGolden) -> None:
    system = state_at(golden("before-sinks"), 60).view()["system"]
    assert [notice["owed"] for notice in system["outbox"]] == [[{"name": "(every sink)", "failed": 0}]]


def test_what_nobody_wrote_down_then_is_not_known_now(golden: OpenGolden) -> None:
    state = state_at(golden("old-version"), 78).view()
    assert state["system"]["outbox"] == []
    assert state["spend"]["caps"]["daily_usd"] is None
    told = card(golden("old-version"), AT_WORK).view()
    assert told["then"]["mode"]["since"] is None


def test_a_daemon_of_today_goes_on_with_the_first_log(take_over: Callable[[str], Heir]) -> None:
    heir = take_over("old-version")
    heir.until("2026-10-20 08:01:00")
    held = heir.task(AT_WORK).held
    assert held is not None
    assert held.kind == "interrupted"  # nobody knows what it did in five weeks
    assert (heir.task(WAITS).state, heir.task(WAITS).kind) == ("held", "time")
    new = heir.hand_in("Say hello", EASY)
    heir.until("2026-10-20 08:02:00")
    assert heir.task(new).state == "completed"
    heir.end()


def test_a_daemon_of_today_goes_on_with_a_log_from_before_sinks_had_names(take_over: Callable[[str], Heir]) -> None:
    heir = take_over("before-sinks")
    new = heir.hand_in("Say hello", EASY)
    heir.until("2026-10-20 08:02:00")
    assert heir.task(new).state == "completed"
    assert heir.kernels["health"].state.health.mode == "NORMAL"
    assert not heir.kernels["brainstem"].state.outbox
    heir.end()
