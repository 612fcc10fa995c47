"""The card of a decision: what was known at that moment, and which single change would have led elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.domain.given import READY, Desk, worker
from tests.replay.logs import codec, task_id

from omni.config import log_path
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.errors import NotFound
from omni.domain.values import Budget, ExecutorHealth, ExecutorSpec
from omni.domain.verdict import Verdict
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry
from omni.replay.history import History
from omni.replay.why import card

ONE = task_id(1)
CODER = ExecutorSpec("coder", types=("coding",))
MONITOR = ExecutorSpec("monitor", types=("always_on",), keywords=("disk_report",), needs_cloud=False)
RENDERER = ExecutorSpec("renderer", types=("gpu",), unavailable="disabled in the configuration")
CLERK = worker("clerk", types=("general",))
FOUR = (CLERK, CODER, MONITOR, RENDERER)
DOWN = ExecutorHealth("failed", "connection refused")

Play = Callable[..., Desk]


def write(home: Path, desk: Desk) -> Path:
    """The desk's log as a file; what the daemon says of its configuration comes first, at position 1."""
    home.mkdir(exist_ok=True)
    versions: dict[str, int] = {}
    loaded = ("system", ev.ConfigLoaded("digest-1", {}), 500)
    with closing(SqliteEventStore.open(log_path(home), codec())) as store:
        entries = []
        for stream, event, at in (loaded, *((s, e, at) for s, e, at, _ in desk.log)):
            versions[stream] = versions.get(stream, 0) + 1
            entries.append(Entry(stream, versions[stream], event, at, at, "router", "m"))
        store.append(entries)
    return home


def shown(home: Path, desk: Desk, at: int | None = None) -> dict[str, Any]:
    if not log_path(home).exists():
        write(home, desk)
    with History.open(home) as history:
        return card(history, ONE, at).view()


def told(view: dict[str, Any]) -> dict[str, tuple[str | None, str | None, str | None]]:
    return {each["if"]: (each["executor"], each["tier"], each["model"]) for each in view["otherwise"]}


def test_a_card_names_every_single_change_and_no_other(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE)
    view = shown(tmp_path, desk)
    assert view["chosen"] == {"executor": "clerk", "tier": "P1", "model": "small", "mode": "NORMAL"}
    assert view["reproduced"] is True
    assert told(view) == {
        "if clerk had been down": (None, None, None),
        "if the client had named the executor coder": ("coder", "P1", "small"),
        "if the client had named the executor monitor": ("monitor", "P1", "small"),
        "if the client had named the tier P2": ("clerk", "P2", "large"),
        "if its type had been coding": ("coder", "P1", "small"),
        "if its type had been always_on": ("monitor", "P1", "small"),
        "if its text had said “disk_report”": ("monitor", "P1", "small"),
        "if the complexity threshold had been 6 or less (it was 50, and the task's complexity is 6)": (
            "clerk", "P2", "large-plus",
        ),
    }  # fmt: skip


def test_a_card_shows_what_was_known_at_that_moment(tmp_path: Path) -> None:
    desk = Desk(*FOUR, ready=False, budget=Budget(daily_usd=2.0, task_usd=1.0))
    desk.note("clerk", READY)
    desk.note("coder", DOWN)
    desk.put(cmd.NoteMode("DEGRADED", reason="the proxy is gone", cleared=True))
    desk.create(ONE, budget_usd=0.5)
    routed = next(position for _, event, _, position in desk.log if isinstance(event, ev.TaskRouted)) + 1
    desk.note("coder", READY)
    view = shown(tmp_path, desk)
    then = view["then"]
    assert (view["decision"]["position"], then["position"]) == (routed, routed - 1)
    assert then["mode"]["mode"] == view["chosen"]["mode"] == "DEGRADED"
    assert [(e["name"], e["state"], e["running"], e["slots"]) for e in then["executors"]] == [
        ("clerk", "ready", 0, 4),
        ("coder", "failed", 0, 4),
        ("monitor", "unknown", 0, 4),
        ("renderer", "unknown", 0, 4),
    ]
    assert then["configuration"] == {"digest": "digest-1", "position": 1, "at": "1970-01-01T00:00:00.500Z"}
    assert (then["budget"]["caps"]["daily_usd"], then["budget"]["task_usd"]) == (2.0, 0.5)
    assert (then["complexity_threshold"], len(then["settings_hash"])) == (50, 64)
    assert view["as_of"] == len(desk.log) + 1


def test_the_answer_of_explain_task_stays_what_it_was(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE)
    desk.fail(ONE)
    view = shown(tmp_path, desk)
    with History.open(tmp_path) as history:
        explained = history.why(ONE)
    assert {name: view[name] for name in explained} == explained
    assert [(a["state"], a["error"]["message"]) for a in view["attempts"]] == [("failed", "it said no")]


def test_an_executor_that_was_down_would_have_been_the_choice(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.note("coder", DOWN)
    desk.create(ONE, type="coding")
    found = told(shown(tmp_path, desk))
    assert found["if coder had been ready"] == ("coder", "P1", "small")
    assert "if the client had named no type" not in found, "the clerk has it either way"
    assert "if coder had been down" not in found
    assert "if the client had named the executor coder" not in found


def test_what_is_switched_off_is_named_last(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE, type="gpu")
    view = shown(tmp_path, desk)
    assert view["otherwise"][-1]["if"] == "if renderer could be used at all"
    assert view["otherwise"][-1]["executor"] == "renderer"


def test_nobody_could_take_it_and_the_card_says_who_could_have(tmp_path: Path) -> None:
    desk = Desk(CODER, MONITOR)
    desk.create(ONE)
    view = shown(tmp_path, desk)
    assert (view["chosen"], view["reproduced"], view["state"]) == (None, True, "held")
    assert told(view)["if its type had been coding"] == ("coder", "P1", "small")
    assert told(view)["if the client had named the executor coder"] == ("coder", "P1", "small")


def test_a_named_executor_and_a_keyword_are_what_decided(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE, "make a disk report", executor="coder", tier="P2")
    found = told(shown(tmp_path, desk))
    assert found["if the client had named no executor"] == ("monitor", "P2", "large")
    assert found["if the client had named no tier"] == ("coder", "P1", "small")
    other = Desk(*FOUR)
    other.create(ONE, "make a disk report")
    found = told(shown(tmp_path / "other", other))
    assert found["if its text had not said “disk_report”"] == ("clerk", "P1", "small")


def test_the_cloud_is_gone_and_the_card_says_what_its_return_would_change(tmp_path: Path) -> None:
    local = worker("local", types=("general",), needs_cloud=False)
    desk = Desk(CLERK, local)
    desk.put(cmd.NoteMode("BRAINSTEM", reason="no cloud", cleared=True))
    desk.create(ONE)
    view = shown(tmp_path, desk)
    assert view["chosen"]["executor"] == "local"
    assert told(view)["if the mode had been NORMAL or DEGRADED"] == ("clerk", "P1", "small")
    assert "if clerk had been ready" not in told(view), "it is, and the cloud is what is missing"


def spent(desk: Desk, usd: float) -> None:
    """Somebody's call uses up some of the day's money."""
    desk.put(
        cmd.ReserveCall("q", "c", "proxy", "large", "NORMAL", client="somebody", paid=True, estimate_usd=usd, tier="P2")
    )
    desk.put(cmd.SettleCall("c", Verdict.OK, billed_usd=usd))


@pytest.mark.parametrize("at_cap", ["degrade", "hold"])
def test_a_budget_that_was_used_up_is_what_decided(at_cap: Any, tmp_path: Path) -> None:
    desk = Desk(*FOUR, budget=Budget(daily_usd=1.0, at_cap=at_cap))
    spent(desk, 1.0)
    desk.create(ONE, tier="P2")
    view = shown(tmp_path, desk)
    assert view["then"]["budget"]["billed_usd"] == 1.0
    assert view["reproduced"] is True
    if at_cap == "degrade":
        assert view["chosen"]["tier"] == "P1"
    else:
        assert (view["chosen"], view["held"]["kind"]) == (None, "budget")
    assert told(view)["if there had been room in the day's budget"] == ("clerk", "P2", "large")


def test_money_that_is_there_might_have_been_gone(tmp_path: Path) -> None:
    desk = Desk(*FOUR, budget=Budget(daily_usd=1.0, at_cap="degrade"))
    desk.create(ONE, tier="P2")
    view = shown(tmp_path, desk)
    assert told(view)["if the day's budget had been used up"] == ("clerk", "P1", "small")
    (used_up,) = (each for each in view["otherwise"] if each["kind"] == "budget_used_up")
    assert "the day's cap of $1.00 ($1.00 spent or reserved) is used up" in used_up["reason"]
    free = Desk(*FOUR)
    free.create(ONE, tier="P2")
    assert not [each for each in told(shown(tmp_path / "free", free)) if "budget" in each]


def test_an_earlier_moment_shows_the_decision_of_then(tmp_path: Path) -> None:
    desk = Desk(CODER, CLERK)
    desk.note("clerk", DOWN)
    desk.create(ONE)  # held: nobody can take it
    held_at = len(desk.log) + 1
    desk.note("clerk", READY)  # and goes on by itself
    now, before = shown(tmp_path, desk), shown(tmp_path, desk, held_at)
    assert (now["chosen"]["executor"], now["state"]) == ("clerk", "dispatching")
    assert (before["chosen"], before["state"], before["as_of"]) == (None, "held", held_at)
    assert len(now["earlier"]) == 1
    assert before["earlier"] == []
    assert told(before)["if clerk had been ready"] == ("clerk", "P1", "small")
    with pytest.raises(NotFound, match="was created at position"):
        shown(tmp_path, desk, 3)


def test_before_any_decision_there_is_a_moment_and_no_choice(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE)
    created = next(position for _, event, _, position in desk.log if isinstance(event, ev.TaskCreated)) + 1
    view = shown(tmp_path, desk, created)
    assert (view["decision"], view["chosen"], view["reproduced"], view["otherwise"]) == (None, None, None, [])
    assert view["then"]["position"] == created


def test_a_decision_by_other_rules_is_told_and_not_guessed_about(tmp_path: Path) -> None:
    desk = Desk(*FOUR)
    desk.create(ONE)
    at = next(i for i, (_, event, _, _) in enumerate(desk.log) if isinstance(event, ev.TaskRouted))
    stream, event, when, position = desk.log[at]
    other = ev.TaskRouted(
        event.kind, 0, event.route.__class__("coder", "P1", "small"), "as it was then", event.candidates
    )
    desk.log[at] = (stream, other, when, position)
    view = shown(tmp_path, desk)
    assert (view["chosen"]["executor"], view["reproduced"], view["otherwise"]) == ("coder", False, [])


def test_changes_that_lead_to_the_same_stand_in_one_line(tmp_path: Path) -> None:
    desk = Desk(CLERK, worker("maid", types=("coding", "gpu", "always_on", "research", "mail"), keywords=("a1", "b2")))
    desk.create(ONE)
    found = told(shown(tmp_path, desk))
    assert found["if its type had been coding or always_on or gpu or another of them"] == ("maid", "P1", "small")
    assert found["if its text had said “a1” or “b2”"] == ("maid", "P1", "small")


Executors = st.lists(
    st.builds(
        lambda n, types, keywords, cloud, off: ExecutorSpec(
            n, tuple(types), tuple(keywords), needs_cloud=cloud, unavailable="off" if off else ""
        ),
        st.sampled_from("abcd"),
        st.lists(st.sampled_from(["general", "coding", "gpu"]), max_size=2, unique=True),
        st.lists(st.sampled_from(["disk", "moon"]), max_size=1),
        st.booleans(),
        st.integers(0, 4).map(lambda n: n == 4),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda e: e.name,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    executors=Executors,
    down=st.sets(st.sampled_from("abcd")),
    mode=st.sampled_from(["NORMAL", "DEGRADED", "BRAINSTEM"]),
    text=st.sampled_from(["say hello", "fix the bug in main.py", "show the disk", "train on the moon"]),
    kind=st.sampled_from([None, None, "gpu"]),
    cap=st.sampled_from([None, 0.0, 5.0]),
)
def test_whatever_was_decided_is_decided_again_and_no_change_repeats_it(
    executors: list[ExecutorSpec],
    down: set[str],
    mode: Any,
    text: str,
    kind: str | None,
    cap: float | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    desk = Desk(*executors, budget=Budget(daily_usd=cap, at_cap="degrade"))
    for name in sorted(down & {e.name for e in executors}):
        desk.note(name, DOWN)
    desk.put(cmd.NoteMode(mode, reason="as observed", cleared=True))
    desk.create(ONE, text, type=kind)
    view = shown(tmp_path_factory.mktemp("log"), desk)
    assert view["reproduced"] is True
    route = view["chosen"] or {"executor": None, "tier": None, "model": None}
    for change in view["otherwise"]:
        assert (change["executor"], change["tier"], change["model"]) != (
            route["executor"],
            route["tier"],
            route["model"],
        )
    lines = [each["if"] for each in view["otherwise"]]
    outcomes = [(e["kind"], e["executor"], e["tier"], e["model"]) for e in view["otherwise"]]
    assert len(set(lines)) == len(lines)
    assert len(set(outcomes)) == len(outcomes)
