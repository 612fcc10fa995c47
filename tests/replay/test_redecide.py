"""The rules give every recorded event again; each kind of wrong event, in a chain that is sound, is found and shown."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.replay.lived import after, check, copied, edited, groups, inputs, stored, where, without
from tests.replay.logs import codec
from tests.sim.conftest import make_scratch
from tests.sim.outside import VirtualClock
from tests.sim.world import World

from omni import __version__
from omni.actors.router import Router
from omni.config import log_path
from omni.domain import board as boards
from omni.domain import brainstem, dispatch, suspension
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import (
    Capped,
    ExecutorHealth,
    ExecutorSpec,
    Held,
    Result,
    RoutingSettings,
    TaskError,
    TaskSpec,
)
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Recorded
from omni.replay import evidence
from omni.replay.divergence import Redecided
from omni.replay.inputs import ERASED, MISSING, Inputs, Unreadable
from omni.replay.redecide import CUT_SHORT, Redecide
from omni.replay.rules import RuleCheck
from omni.replay.verify import verify
from omni.runtime.kernel import Kernel


def test_every_command_of_a_day_is_decided_again_as_it_was(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path)
    assert found.ok
    assert (found.redecided.divergences, found.redecided.first, found.redecided.undecided) == (0, None, {})
    messages = list(groups(list(day.store.read())))
    assert found.redecided.commands + found.redecided.settled == len(messages)
    kinds = {type(row.event) for row in day.store.read()}
    wanted = {ev.ProxyChanged, ev.CloudChanged, ev.ModeChanged, ev.TaskSuspended, ev.RampMoved, ev.RepairStarted}
    assert wanted | {ev.NoticeQueued, ev.TaskHeld, ev.CallSettled, ev.ExecutorHealthChanged} <= kinds


def proof(event: Any) -> Any:
    return replace(event, evidence=event.evidence[-1:])


def is_budget(event: Any) -> bool:
    return bool(event.held.kind == "budget")


BUDGET = ev.TaskHeld(Held("budget", "the day's cap is used up", ("retry", "fail")), Capped("day", 1, "hold", "used up"))
PLANTED = {
    "another executor": (
        edited(ev.TaskRouted, lambda e: replace(e, route=replace(e.route, executor="second"))),
        ("CreateTask", "event.route.executor", "second", "retrier"),
    ),
    "another time to try again": (
        edited(ev.AttemptFailed, lambda e: replace(e, retry_at=e.retry_at + 1)),
        ("ReportFailed", "event.retry_at", None, None),
    ),
    "an attempt that nobody planned": (without(ev.AttemptPlanned), ("CreateTask", "", None, "attempt.planned")),
    "a task that nobody suspended": (
        without(ev.TaskSuspended, lambda e: e.reason == suspension.REASON),
        ("NoteMode", "", None, "task.suspended"),
    ),
    "an event of another message": (
        after(ev.AttemptFailed, ev.TaskCancelled("me")),
        ("ReportFailed", "", "task.cancelled", None),
    ),
    "a mode that does not follow": (
        edited(ev.ModeChanged, lambda e: replace(e, after="BRAINSTEM", cause="cloud")),
        ("Observed", "event.after", "BRAINSTEM", "DEGRADED"),
    ),
    "a mode in other words": (
        edited(ev.ModeChanged, lambda e: replace(e, reason="because")),
        ("Observed", "event.reason", "because", None),
    ),
    "a proxy that fell too soon": (
        edited(ev.ProxyChanged, proof),
        ("Observed", "", "health.proxy_changed", None),
    ),
    "a cloud that fell too soon": (edited(ev.CloudChanged, proof), ("Observed", "", "health.cloud_changed", None)),
    "a task held for a budget that is not used up": (
        after(ev.AttemptFailed, BUDGET),
        ("ReportFailed", "", "task.held", None),
    ),
    "a task that was let go over its budget": (without(ev.TaskHeld, is_budget), ("CreateTask", "", None, "task.held")),
    "another notice": (
        edited(ev.NoticeQueued, lambda e: replace(e, kind="all_is_well")),
        ("", "event.kind", "all_is_well", None),
    ),
    "another repair": (
        edited(ev.RepairStarted, lambda e: replace(e, n=4)),
        ("NoteMode", "event.n", 4, 1),
    ),
    "an executor that recovered without a word": (
        edited(ev.ExecutorHealthChanged, lambda e: replace(e, health=replace(e.health, state="failed"))),
        ("ExecutorObserved", "event.health.state", "failed", "ready"),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_event_in_a_sound_chain_is_found_with_both_sides(day: World, tmp_path: Path, name: str) -> None:
    plant, (command, field, stands, would) = PLANTED[name]
    found = check(day, tmp_path, plant)
    assert not found.ok
    assert not found.damage
    assert found.redecided.divergences >= 1
    first = found.redecided.first
    assert first is not None
    assert not command or first.command["type"] == command
    if field:
        [differs] = [each for each in first.fields if each.field == field]
        assert stands is None or differs.recorded == stands
        assert would is None or differs.decided == would
    else:
        assert _name(first.recorded) == stands
        assert _name(first.decided) == would
    rows = plant(list(day.store.read()))
    assert first.cause == rows[first.position - 1].cause
    assert (first.recorded_by, first.decided_by) == (__version__, __version__)


def _name(side: Any) -> Any:
    return side and side["event"]["type"]


def test_divergences_are_counted_and_the_log_is_read_on_from_what_is_recorded(day: World, tmp_path: Path) -> None:
    def later(rows: list[Recorded]) -> list[Recorded]:
        return [
            replace(row, event=replace(row.event, kind="x")) if isinstance(row.event, ev.NoticeQueued) else row
            for row in rows
        ]

    count = sum(isinstance(row.event, ev.NoticeQueued) for row in day.store.read())
    found = check(day, tmp_path, later).redecided
    assert count > 2
    assert 2 < found.divergences <= count
    sound = check(day, tmp_path / "sound").redecided
    assert found.commands + found.divergences == sound.commands


# --- what cannot be decided again -----------------------------------------------------------------------------------


def test_a_log_without_inputs_is_not_taken_for_equal(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path, inputs(lambda _: None)).redecided
    assert found.commands == 0
    assert found.undecided[MISSING] > 30
    assert found.divergences == 0


def test_an_event_whose_message_left_no_input_is_none_that_follows_from_the_state(day: World, tmp_path: Path) -> None:
    """In a boot whose inputs are kept."""

    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, ev.AttemptFailed)
        return [*rows[:at], replace(rows[at], input=None), *rows[at + 1 :]]

    first = check(day, tmp_path, edit).redecided.first
    assert first is not None
    assert (first.command, first.decided, first.recorded["event"]["type"]) == (None, None, "attempt.failed")


def by_an_older_version(rows: list[Recorded]) -> list[Recorded]:
    at = where(rows, ev.DaemonStarted)
    raw = (rows[at].input or b"").replace(f'"{__version__}"'.encode(), b'"0.0.9"')
    old = replace(rows[at], event=replace(rows[at].event, version="0.0.9"), input=raw)
    return [*rows[:at], old, *rows[at + 1 :]]


@inputs
def unknown_commands(row: Recorded) -> bytes | None:
    return row.input and row.input.replace(b'"type":"CreateTask"', b'"type":"MakeTask"')


def test_a_command_that_this_version_does_not_know_is_counted_by_its_name(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path, lambda rows: unknown_commands(by_an_older_version(rows))).redecided
    assert found.undecided["this version knows no such command: MakeTask"] >= 4
    assert found.divergences == 0


def test_this_version_cannot_have_written_a_command_that_it_does_not_know(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path, unknown_commands)
    assert not found.ok
    assert found.redecided.divergences >= 4
    assert found.redecided.first is not None
    why = {"error": "this version knows no such command: MakeTask"}
    assert found.redecided.first.decided["event"] == why


def test_this_version_has_no_writer_that_it_does_not_know(day: World, tmp_path: Path) -> None:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, ev.AttemptStarted)
        return [*rows[:at], replace(rows[at], actor="another"), *rows[at + 1 :]]

    found = check(day, tmp_path, edit)
    assert found.redecided.divergences == 1
    older = check(day, tmp_path / "older", lambda rows: edit(by_an_older_version(rows)))
    assert older.redecided.undecided == {"nothing is known of how another decides": 1}


def test_a_version_that_the_start_does_not_give_excuses_nothing(day: World, tmp_path: Path) -> None:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        rows = edited(ev.TaskRouted, lambda e: replace(e, reason="as we did it then"))(rows)
        return edited(ev.DaemonStarted, lambda e: replace(e, version="0.0.9"))(rows)

    found = check(day, tmp_path, edit)
    assert not found.ok
    assert (found.redecided.divergences, found.redecided.other_rules) == (2, 0)


@pytest.mark.parametrize("of", [ev.TaskCompleted, ev.TaskRouted, ev.ModeChanged])
@pytest.mark.parametrize("field", ["at_ms", "mono_ms"])
def test_what_one_message_led_to_bears_its_time(day: World, tmp_path: Path, of: type[Any], field: str) -> None:
    def later(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, of)
        assert rows[at].cause == rows[at - 1].cause
        return [*rows[:at], replace(rows[at], **{field: getattr(rows[at], field) + 5_000}), *rows[at + 1 :]]

    first = check(day, tmp_path, later).redecided.first
    assert first is not None
    [differs] = first.fields
    assert (differs.field, differs.recorded - differs.decided) == (field, 5_000)
    older = check(day, tmp_path / "older", lambda rows: later(by_an_older_version(rows)))
    assert "time.apart" in {each.rule for each in older.findings}, "whatever rules another version has"


def test_where_inputs_are_kept_none_is_missing_in_another_boot_or_of_another_writer(day: World, tmp_path: Path) -> None:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, ev.HealthStarted)
        return [*rows[:at], replace(rows[at], input=None), *rows[at + 1 :]]

    found = check(day, tmp_path, edit)
    assert found.redecided.divergences == 1
    assert MISSING not in found.redecided.undecided


def test_a_turn_that_another_boot_follows_is_whole(day: World) -> None:
    rows = list(day.store.read())
    cut = where(rows, ev.TaskRouted) + 1
    assert rows[cut].cause == rows[cut - 1].cause
    again = Redecide(lambda row: rows[row[0] - 1], lambda *_: None)
    for row in [*rows[:cut], replace(rows[0], boot="another", input=None)]:
        again(stored(row))
    assert CUT_SHORT not in again.finish().undecided


def test_a_boot_that_is_over_does_not_come_back_and_no_time_goes_back_within_one(day: World) -> None:
    rows = list(day.store.read())
    at = where(rows, ev.AttemptStarted)

    def found(row: Recorded) -> set[str]:
        rules = RuleCheck()
        for each in [*rows[:at], row, *rows[at + 1 :]]:
            rules(stored(each), each.event)
        return {each.rule for each in rules.findings}

    assert found(rows[at]) == set()
    assert found(replace(rows[at], boot="another")) == {"boot.again"}
    assert found(replace(rows[at], mono_ms=rows[at].mono_ms + 3_600_000)) == {"time.back"}


def test_an_input_of_another_shape_or_none_at_all_is_said(day: World) -> None:
    read = Inputs(dispatch.TAKES)
    with pytest.raises(Unreadable, match="another shape than this version's Boot"):
        read.read(b'{"from":"x","message":{"type":"Boot"}}')
    for raw in (b"null", b"{", b'{"from":"x"}', b"[" * 3000):
        with pytest.raises(Unreadable, match="cannot be read"):
            read.read(raw)


def test_a_turn_that_the_log_ends_within_is_counted(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path, lambda rows: rows[: where(rows, ev.TaskRouted) + 1])
    assert found.redecided.undecided == {CUT_SHORT: 1}
    assert found.ok


def test_what_another_version_decided_otherwise_is_told_and_is_no_mistake(day: World, tmp_path: Path) -> None:
    def other(rows: list[Recorded]) -> list[Recorded]:
        rows = edited(ev.TaskRouted, lambda e: replace(e, reason="as we did it then"))(rows)
        return by_an_older_version(rows)

    found = check(day, tmp_path, other)
    assert found.ok
    assert (found.redecided.divergences, found.redecided.other_rules) == (0, 1)
    assert found.redecided.first is not None
    assert (found.redecided.first.recorded_by, found.redecided.first.decided_by) == ("0.0.9", __version__)


def test_what_was_decided_by_an_erased_text_cannot_be_decided_again(tmp_path: Path) -> None:
    scratch = make_scratch()
    world = World(scratch)
    world.everyone_ready()
    world.settle()
    secret = world.submit("coding", "mend the parser " * 2_000)
    world.submit("coding")
    world.settle()
    for _ in range(2):
        world.does(secret, "unavailable")
        world.clock.run(60_000)
        world.fire()
        world.settle()
    database = copied(world, tmp_path)
    world.close()
    shutil.rmtree(scratch)
    assert verify(database).redecided.undecided == {}
    with closing(SqliteEventStore.open(database, codec())) as store:
        [stub] = _blobs(database)
        assert store.erase_blob(stub)
    found = verify(database)
    assert found.ok
    assert found.redecided.undecided == {ERASED: 1}
    assert found.redecided.commands > 5


def _blobs(database: Path) -> list[str]:
    import apsw

    with closing(apsw.Connection(str(database))) as raw:
        return [row[0].hex() for row in raw.execute("SELECT hash FROM blobs")]


def test_words_about_a_task_that_left_memory_lead_to_what_they_led_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "KEEP_ENDED", 2)
    with closing(SqliteEventStore.open(log_path(tmp_path), codec())) as store:
        kernel: Kernel[Any] = Kernel(Router(), store, VirtualClock())
        settings = RoutingSettings((ExecutorSpec("dry", ("coding",), on_crash="retry"),))
        kernel.turn([("daemon", cmd.Boot("b", settings)), ("health", cmd.NoteExecutor("dry", ExecutorHealth("ready")))])
        call = cmd.ReserveCall("c", "c", "cloud", "large", "NORMAL", "t0", 1)
        for n in range(5):
            spec = TaskSpec(f"mend {n}", "coding", idempotency_key=f"k{n}")
            done = cmd.ReportSucceeded(f"t{n}", 1, Result("done"))
            kernel.turn([("gateway", cmd.CreateTask("r", f"t{n}", spec, "me"))])
            kernel.turn([("port", call), ("pool", done)] if n == 0 else [("pool", done)])
        assert "t0" not in kernel.state.tasks
        late = cmd.ReportFailed("t0", 1, TaskError("failed", "after all"))
        again = cmd.CreateTask("r", "t9", TaskSpec("another", "coding", idempotency_key="k0"), "me")
        kernel.turn([("pool", late), ("port", cmd.SettleCall("c", "ok", "t0", 0.5)), ("gateway", again)])
    found = verify(log_path(tmp_path))
    assert found.ok
    assert (found.redecided.commands, found.redecided.undecided) == (15, {})
    monkeypatch.setattr(boards, "KEEP_ENDED", 10)
    assert verify(log_path(tmp_path)).redecided.divergences == 2, "with another memory the same words mean other things"


def test_each_writer_reads_every_message_that_it_takes() -> None:
    for takes in (dispatch.TAKES, brainstem.TAKES, evidence.TAKES):
        assert all(issubclass(each, cmd.Message) for each in takes)
    read = Inputs(evidence.TAKES).read(b'{"from":"d","message":{"type":"ForceMode","request":"r","brainstem":true}}')
    assert read == ("d", cmd.ForceMode("r", brainstem=True))


def test_the_verdict_reads_back(day: World, tmp_path: Path) -> None:
    found = check(day, tmp_path, PLANTED["another executor"][0]).redecided
    assert msgspec.json.decode(msgspec.json.encode(found), type=Redecided).divergences == found.divergences
    assert log_path(tmp_path).exists()


def test_whoever_waits_for_executors_that_are_gone_moves_on_in_the_order_of_the_log(tmp_path: Path) -> None:
    """However the board came to be: by a life of many events, or from a snapshot."""
    left = RoutingSettings((ExecutorSpec("a", ("coding",)), ExecutorSpec("b", ("general",))))
    with closing(SqliteEventStore.open(log_path(tmp_path), codec())) as store:
        kernel: Kernel[Any] = Kernel(Router(), store, VirtualClock(), Snapshots(tmp_path / "snapshots"))
        kernel.turn([("daemon", cmd.Boot("1", left))])
        for name in ("a", "b"):  # the queue of `a` is known first, and the task in it now came last
            kernel.turn([("gateway", cmd.CreateTask("r", f"{name}1", TaskSpec("x", executor=name)))])
        kernel.turn(
            [("gateway", cmd.CancelTask("r", "a1")), ("gateway", cmd.CreateTask("r", "a2", TaskSpec("x", "coding")))]
        )
        kernel.save_snapshot()
        kernel.refold()
        kernel.turn([("daemon", cmd.Boot("2", RoutingSettings((ExecutorSpec("c", ("coding", "general")),))))])
        moved = [row.stream for row in store.read() if isinstance(row.event, ev.TaskRouted)][-2:]
    assert moved == ["task-b1", "task-a2"]
    assert verify(log_path(tmp_path)).redecided == Redecided(commands=6)
