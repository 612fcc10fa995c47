"""What replay says of each golden log: verdict, states, timeline, costs, service levels, decision cards, report."""

from __future__ import annotations

from typing import Any

import pytest
from tests.histories.conftest import OpenGolden
from tests.histories.expect import plain, same, visible
from tests.histories.make import SOUND
from tests.histories.play import OWNER

from omni.domain import events as ev
from omni.domain.view import timestamp
from omni.notify.texts import Language
from omni.replay.cost_table import cost_table
from omni.replay.costs import BY, bill
from omni.replay.history import History
from omni.replay.levels import levels
from omni.replay.state import state_at
from omni.replay.timeline import Row, Wanted, timeline
from omni.replay.verify import verify
from omni.replay.why import card
from omni.web.report import report_html

# Positions at which much is under way, beside the end.
MOMENTS = {
    "quiet-day": (106,),  # a task is held until its executor has rested
    "litellm-killed": (72,),  # DEGRADED, a repair and two tasks run
    "cloud-lost": (97, 117),  # BRAINSTEM with seven tasks waiting; the ramp at one
    "daemon-killed": (58, 79),  # killed in mid-attempt; asked what became of four
    "budget-hit": (53,),  # three tasks held
    "old-version": (52,),
    "before-sinks": (60,),  # a notice is owed to whoever there is
}
ENDS = [(name, None) for name in SOUND]
TOLD: list[tuple[str, Language]] = [*((name, "en") for name in SOUND), ("litellm-killed", "zh"), ("cloud-lost", "zh")]
# The task whose whole card is kept: its id's end.
CARDS = {
    "quiet-day": "0014",  # named an executor that rested
    "litellm-killed": "a9ee",  # the repair
    "cloud-lost": "000b",  # was queued when the cloud went
    "daemon-killed": "0003",  # cut off and resumed
    "budget-hit": "0005",  # went on by itself after midnight
    "old-version": "0005",
    "before-sinks": "0003",
}


@pytest.mark.parametrize("name", SOUND)
def test_verdict(golden: OpenGolden, name: str) -> None:
    same(name, "verify.json", plain(verify(golden(name).database)))


@pytest.mark.parametrize(("name", "position"), [*ENDS, *((n, p) for n in MOMENTS for p in MOMENTS[n])])
def test_state(golden: OpenGolden, name: str, position: int | None) -> None:
    history = golden(name)
    state = state_at(history, position or history.reader.head.position)
    same(name, f"state-{position or 'end'}.json", plain(state.view()))


@pytest.mark.parametrize(("name", "language"), TOLD)
def test_timeline(golden: OpenGolden, name: str, language: Language) -> None:
    rows = timeline(golden(name), Wanted(), language=language)
    same(name, f"timeline-{language}.txt", "".join(f"{_line(row)}\n" for row in rows))


@pytest.mark.parametrize("name", SOUND)
def test_costs(golden: OpenGolden, name: str) -> None:
    reader = golden(name).reader
    bills = {by: bill(reader, by, 0, lambda _: None) for by in BY}
    lines = {by: {key: line.view() for key, line in sorted(each.lines.items())} for by, each in bills.items()}
    same(name, "costs.json", plain({"by": lines, "table": cost_table(golden(name)).view()}))


@pytest.mark.parametrize("name", SOUND)
def test_levels(golden: OpenGolden, name: str) -> None:
    same(name, "levels.json", plain(levels(golden(name)).view()))


@pytest.mark.parametrize("name", SOUND)
def test_why_of_every_task(golden: OpenGolden, name: str) -> None:
    history = golden(name)
    cards = {task_id: card(history, task_id).view() for task_id in _tasks(history)}
    briefly = {task_id: _briefly(each) for task_id, each in cards.items()}
    whole = {task_id: each for task_id, each in cards.items() if task_id.endswith(CARDS[name])}
    same(name, "why.json", plain({"briefly": briefly, "whole": whole}))


@pytest.mark.parametrize(("name", "language"), TOLD)
def test_report(golden: OpenGolden, name: str, language: Language) -> None:
    same(name, f"report-{language}.txt", visible(report_html(golden(name), 0, None, language, zone=OWNER)))


def _line(row: Row) -> str:
    since = f"+{row.since_ms / 1000:.3f}"
    task = f"{row.task_id[-4:]}/{row.attempt}" if row.task_id else "-"
    where = f"{row.mode:9} {row.lane:11} {task:7}"
    return f"{row.position:4} {timestamp(row.at_ms)} {since:>11} {where} {row.type} | {row.text}"


def _briefly(told: dict[str, Any]) -> list[Any]:
    decision = told["decision"]
    return [told["state"], decision["reason"], told["reproduced"], len(told["otherwise"])]


def _tasks(history: History) -> list[str]:
    streams = history.reader.find_streams(ev.TASK_PREFIX, 100)
    return [stream.removeprefix(ev.TASK_PREFIX) for stream in streams]
