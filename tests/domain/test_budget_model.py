"""Any order of reservations, bills, repetitions, days and crashes, against books that are kept by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.domain.given import READY, Desk, worker

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain.ledger import DAY_MS
from omni.domain.values import Budget, RoutingSettings, TaskState

CENT = 0.01
DAILY, PAID, OWN = 100, 60, 40  # cents: of a day, of the paid tier in a day, of one task
TASKS = ("a", "b", "c")
LIMITS = Budget(daily_usd=DAILY * CENT, task_usd=OWN * CENT, channel_usd={"P2": PAID * CENT})

Call = st.sampled_from([f"c{i}" for i in range(8)])
Owner = st.sampled_from([*TASKS, ""])
Cents = st.integers(0, 50)
Tier = st.sampled_from(["P2", "P9"])


class Books:
    """Cents by call: (owner, day, tier, estimate, bill), where a bill of None is still awaited."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[str, int, str, int]] = {}
        self.closed: list[tuple[str, int, str, int]] = []
        self.excess = 0  # by how much bills went over their estimates, in all
        self.lifts: Counter[tuple[str, str]] = Counter()
        self.stopped: dict[str, str] = {}  # which cap stopped a task

    def charged(self, *, owner: str | None = None, day: int | None = None, tier: str | None = None) -> int:
        """What counts, of one owner, day or tier."""
        return sum(
            cents
            for o, d, t, cents in (*self.open.values(), *self.closed)
            if owner in (None, o) and day in (None, d) and tier in (None, t)
        )

    def hit(self, owner: str, day: int, tier: str, cents: int) -> str:
        """The first cap that one more call would go over; empty when it fits."""
        rooms = {"task": OWN * (1 + self.lifts[owner, "task"]) - self.charged(owner=owner)} if owner else {}
        rooms["day"] = DAILY * (1 + self.lifts[owner, f"day {day}"]) - self.charged(day=day)
        if tier == "P2":
            rooms["P2"] = PAID * (1 + self.lifts[owner, f"P2 {day}"]) - self.charged(day=day, tier=tier)
        return next((cap for cap, room in rooms.items() if room <= 0 or cents > room), "")

    def lifted(self, cap: str) -> int:
        """How often somebody raised a cap, for whichever task."""
        return sum(times for (_, name), times in self.lifts.items() if name == cap)


class Spending(RuleBasedStateMachine):
    """Three tasks that are tried again and again, and a client with a key of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(worker(on_crash="retry", max_concurrency=9), budget=LIMITS)
        self.books = Books()
        self.boots = 1
        for task in TASKS:
            self.desk.create(task)

    @property
    def day(self) -> int:
        return self.desk.at // DAY_MS

    @rule(call=Call, owner=Owner, cents=Cents, tier=Tier, stale=st.sampled_from([0, 0, 0, 1]))
    def reserve(self, call: str, owner: str, cents: int, tier: str, stale: int) -> None:
        n = len(self.desk.task(owner).attempts) if owner else 0
        running = not owner or (self.desk.task(owner).open_attempt is not None and not stale)
        if running and owner and owner not in self.books.stopped and call not in self.books.open:
            self._note_stop(owner, self.books.hit(owner, self.day, tier, cents))
        asked = cmd.ReserveCall("r", call, "cloud", "large", "NORMAL", owner, n + stale, "", True, cents * CENT, tier)
        self.desk.put(asked)
        if call in self.books.open:
            assert self.refusal is None
            return
        expected = running and owner not in self.books.stopped and not self.books.hit(owner, self.day, tier, cents)
        assert (self.refusal is None) is expected
        if expected:
            self.books.open[call] = (owner, self.day, tier, cents)

    @rule(call=Call, cents=Cents, how=st.sampled_from(["billed", "billed", "unknown", "turned away"]))
    def settle(self, call: str, cents: int, how: str) -> None:
        bill = cents * CENT if how == "billed" else None
        self.desk.put(cmd.SettleCall(call, "rate_limited" if how == "turned away" else "slow", billed_usd=bill))
        if call in self.books.open:
            owner, day, tier, estimate = self.books.open.pop(call)
            came_to = {"billed": cents, "unknown": estimate, "turned away": 0}[how]
            self.books.closed.append((owner, day, tier, came_to))
            self.books.excess += max(0, came_to - estimate)

    @rule(task=st.sampled_from(TASKS))
    def stop(self, task: str) -> None:
        last = self.desk.task(task).last
        if last is not None and self.desk.task(task).capped is not None:
            self.desk.put(cmd.ReportCancelled(task, last.n))
            assert self.desk.task(task).state in {TaskState.HELD, TaskState.DISPATCHING}

    @rule(task=st.sampled_from(TASKS))
    def let_go_on(self, task: str) -> None:
        if self.desk.task(task).state is TaskState.HELD:
            self.desk.put(cmd.ResolveTask("r", task, "retry", "owner"))
            self.books.lifts[task, self.books.stopped[task]] += 1
            assert self.desk.task(task).open_attempt is not None

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.desk.at += hours * 3_600_000
        self.desk.put(cmd.TimerFired("budget"))

    @rule()
    def crash(self) -> None:
        """The memory is gone; what the log says is all there is."""
        self.boots += 1
        self.desk.board = self.desk.replayed()
        self.desk.put(cmd.Boot(f"boot-{self.boots}", RoutingSettings(self.desk.settings.executors, (), budget=LIMITS)))
        self.desk.note("worker", READY)
        self.books.closed += self.books.open.values()
        self.books.open = {}

    @rule()
    def snapshot(self) -> None:
        self.desk.board = boards.restore(self.desk.board.snapshot())

    def _note_stop(self, owner: str, cap: str) -> None:
        if cap:
            self.books.stopped[owner] = cap if cap == "task" else f"{cap} {self.day}"

    @invariant()
    def what_goes_on_is_no_longer_stopped(self) -> None:
        for task in list(self.books.stopped):
            if self.desk.task(task).capped is None:
                del self.books.stopped[task]

    @invariant()
    def the_books_agree(self) -> None:
        ledger = self.desk.board.ledger
        for day in {self.day, *(d for _, d, *_ in self.books.closed)}:
            assert round(ledger.spent(day) / CENT) == self.books.charged(day=day)
            assert round(ledger.spent(day, "P2") / CENT) == self.books.charged(day=day, tier="P2")
            caps = DAILY * (1 + self.books.lifted(f"day {day}")), PAID * (1 + self.books.lifted(f"P2 {day}"))
            assert self.books.charged(day=day) <= caps[0] + self.books.excess
            assert self.books.charged(day=day, tier="P2") <= caps[1] + self.books.excess
        for task in TASKS:
            spent = self.desk.task(task).meter.spent_usd + ledger.reserved_for(task)
            own = OWN * (1 + self.books.lifts[task, "task"])
            assert round(spent / CENT) == self.books.charged(owner=task) <= own + self.books.excess

    @invariant()
    def what_the_log_says_is_what_is_remembered(self) -> None:
        assert self.desk.replayed().snapshot() == self.desk.board.snapshot()

    @property
    def refusal(self) -> Any:
        return next(s.message for s in self.desk.sends if isinstance(s.message, cmd.CallAnswered)).refusal


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
