"""Brainstem under anything that may happen: messages late, twice or lost, clocks set, actors and daemons restarted."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.stem import Stem, replayed

from omni.domain import brainstem as rules
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Send
from omni.domain.values import Mode, RepairSettings

ATTEMPTS = 3
CALM_STEPS = 2_000
Step: TypeAlias = tuple[str, Any]

MODES = st.sampled_from(["NORMAL", "DEGRADED", "BRAINSTEM", "DEGRADED"])
STEP: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("carry"), st.tuples(st.integers(0, 3), st.booleans())),
    st.tuples(st.just("carry"), st.tuples(st.just(0), st.just(True))),  # twice as often: the rest lives on it
    st.tuples(st.just("turn"), MODES),
    st.tuples(st.just("end"), st.integers(0, 3)),
    st.tuples(st.just("unconfirmed"), MODES),
    st.tuples(st.just("late"), st.integers(0, 9)),
    st.tuples(st.just("clock"), st.sampled_from([-90_000_000, -1, 1_000, 700_000, 90_000_000])),
    st.tuples(st.just("restart"), st.sampled_from(["crash", "stop", "actor"])),
    st.tuples(st.just("tell"), st.sampled_from(["", "once"])),
)
STEPS = st.integers(0, 80).flatmap(lambda n: st.lists(STEP, min_size=n, max_size=n))  # else most would be short


class Outside:
    """Router, notifier, local model and timers; what is on its way to them is lost with the process."""

    def __init__(self, repair: RepairSettings) -> None:
        self.repair = repair
        self.tasks: dict[str, bool] = {}  # whether it is still open; the Router has a log of its own
        self.told: OrderedDict[str, None] = OrderedDict()
        self.answers: list[Any] = []  # ever given, to be given again
        self.mode: Mode = "NORMAL"
        self.stem = Stem(repair)
        self.pending: list[Send] = list(self.stem.sends)

    def step(self, step: Step) -> None:
        name, value = step
        getattr(self, f"on_{name}")(value)
        self.look()

    def put(self, message: Any) -> None:
        self.answers.append(message)
        self.stem.put(message)
        self.check_sends(self.stem.sends)
        self.pending += self.stem.sends

    def on_turn(self, mode: Mode) -> None:
        self.mode = mode
        self.put(cmd.NoteMode(mode, reason=mode.lower(), cleared=True))

    def on_unconfirmed(self, mode: Mode) -> None:
        self.put(cmd.NoteMode(mode))

    def on_carry(self, how: tuple[int, bool]) -> None:
        """What was sent first to one of the receivers arrives, and is answered well or badly."""
        lanes = sorted({send.to: i for i, send in reversed(list(enumerate(self.pending)))}.values())
        if lanes:
            send = self.pending.pop(lanes[how[0] % len(lanes)])
            self.arrive(send.message, ok=how[1])

    def arrive(self, message: Any, *, ok: bool) -> None:
        match message:
            case cmd.Deliver():
                if ok:
                    self.told[message.key] = None
                self.put(cmd.Delivered(message.key, ok))
            case cmd.CreateTask():
                if not self.tasks.setdefault(message.task_id, True):
                    self.put(cmd.RepairReported(message.task_id, "failed"))
            case cmd.CancelTask():
                if message.task_id in self.tasks:
                    self.tasks[message.task_id] = False
                self.put(cmd.RepairReported(message.task_id, "cancelled"))
            case cmd.WakeIn():
                self.stem.at += message.delay_ms
                self.put(cmd.TimerFired(message.key))
            case cmd.WakeLocal():
                self.put(cmd.LocalObserved("checked" if ok else "failed"))
            case cmd.SleepLocal():
                self.put(cmd.LocalObserved("unloaded" if ok else "failed"))

    def on_end(self, which: int) -> None:
        open_tasks = [task for task, is_open in self.tasks.items() if is_open]
        if which < len(open_tasks):
            self.tasks[open_tasks[which]] = False
            self.put(cmd.RepairReported(open_tasks[which], "failed", "could not"))

    def on_late(self, which: int) -> None:
        """An answer comes again, long after it was given."""
        said = [a for a in self.answers if not isinstance(a, cmd.NoteMode)]
        if which < len(said):
            self.put(said[which])

    def on_clock(self, by_ms: int) -> None:
        self.stem.at += by_ms

    def on_restart(self, how: str) -> None:
        if how == "actor":
            self.stem.state = replayed(self.stem.log)
            self.pending += rules.owed(self.stem.state)
            return
        if how == "stop":
            self.stem.put(cmd.DaemonDown("SIGTERM"))
        self.stem.start(self.repair)
        self.pending = list(self.stem.sends)

    def on_tell(self, dedup: str) -> None:
        self.put(cmd.Tell("task_held", {}, dedup))

    def check_sends(self, sends: list[Send]) -> None:
        state = self.stem.state
        for send in sends:
            match send.message:
                case cmd.Deliver(key):
                    assert key == next(iter(state.outbox)), "told before its turn, or again"
                case cmd.CreateTask(task_id=task_id):
                    assert task_id == state.repair
                case cmd.WakeLocal():
                    assert state.mode == "BRAINSTEM"
                case cmd.SleepLocal():
                    assert state.mode != "BRAINSTEM"

    def look(self) -> None:
        """What holds at every moment."""
        state, events = self.stem.state, [event for event, _ in self.stem.log]
        assert state.mode == self.mode
        assert vars(state) == vars(replayed(self.stem.log))
        keys = [event.key for event in events if isinstance(event, ev.NoticeQueued)]
        assert len(keys) == len(set(keys))
        check_repairs(events, state.repair, may_repair=bool(self.repair.executor))

    def calm(self) -> None:
        """The proxy and the clouds are back, everything arrives and succeeds."""
        self.step(("turn", "NORMAL"))
        for _ in range(CALM_STEPS):
            if not self.pending:
                break
            self.step(("carry", (0, True)))
        assert not self.pending, "it does not come to rest"
        state = self.stem.state
        assert not state.outbox
        assert not any(self.tasks.values()), "a repair that nobody wants goes on"
        assert state.local in {"", "unloaded"} or state.sleep_tries >= rules.SLEEP_TRIES
        queued = [e.key for e, _ in self.stem.log if isinstance(e, ev.NoticeQueued)]
        dropped = {e.key for e, _ in self.stem.log if isinstance(e, ev.NoticeDropped)}
        assert [key for key in self.told if key not in dropped] == [key for key in queued if key not in dropped]


def check_repairs(events: list[Any], open_by_state: str, *, may_repair: bool) -> None:
    """At most one is open, only in DEGRADED, and never more than so many for one outage."""
    mode, open_one, count = "NORMAL", "", 0
    called_off: set[str] = set()
    for event in events:
        match event:
            case ev.ModeFollowed(mode=mode):
                assert not open_one, "the mode changed under an open repair"
                count = 0 if mode == "NORMAL" else count
            case ev.RepairStarted(n=n, task_id=task_id):
                assert may_repair
                assert (mode, open_one) == ("DEGRADED", "")
                count, open_one = count + 1, task_id
                assert n == count <= ATTEMPTS
            case ev.RepairEnded(task_id=task_id, outcome=outcome):
                assert task_id == open_one or task_id in called_off
                called_off ^= {task_id} if task_id in called_off or outcome == "not wanted any more" else set()
                open_one = "" if task_id == open_one else open_one
    assert open_one == open_by_state


@settings(max_examples=300)
@given(STEPS, st.sampled_from(["fixer", ""]))
def test_whatever_happens_repairs_stay_single_notices_keep_their_order_and_all_comes_to_rest(
    steps: list[Step], executor: str
) -> None:
    outside = Outside(RepairSettings(executor, attempts=ATTEMPTS))
    for step in steps:
        outside.step(step)
    outside.calm()
