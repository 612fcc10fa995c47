"""Caps on spending: what fits under them, and what happens to a task that ran into one.

Theory of operation. Three kinds of caps bind a call: its task's, the day's, and the day's for its tier or channel.
Every hop is asked for anew: what is spent, what is reserved and what the call may cost must fit under each of them. A
call whose cost nobody can estimate counts nothing until it is settled, but needs room under the cap; a free one is
written down and never refused for money.

    a paid call does not fit      hold, ask   it is refused, its task is marked, and the attempt asked to stop
                                  degrade     it is refused, and a free one may be made instead
    the marked attempt ends       succeeded   that counts, as ever
                                  interrupted its policy decides, as ever: it meets the cap again, or a person is asked
                                  otherwise   the task is held, instead of failing or trying again
    a paid task is to start,      hold, ask   it is held before anything runs
    and the day is used up        degrade     it starts on the first free tier

A task that ran into a day's cap under `hold` goes on by itself when there is room again: on the next day, at a start
with a higher cap, or when calls cost less than they had reserved (then one task at a time, for many would use it up at
once). It does so only where the work may be repeated or resumed and the call is within the cap at all; else, under
`ask`, and at its own cap it waits for a person. The person's `retry` raises the cap that it ran into by one more of the
same, for this task alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from omni.domain import attempt as attempts
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.effects import Send
from omni.domain.ledger import day_ends, day_of
from omni.domain.task import Task, lifting
from omni.domain.values import (
    DAY_CAP,
    TASK_CAP,
    AtCap,
    Attempt,
    Budget,
    Capped,
    Held,
    Millis,
    Route,
    RoutingSettings,
    Tier,
)

ROUTER = "router"
TIMERS = "timers"
NEXT_DAY = "budget"  # the timer that wakes the Router at midnight
KIND = "budget"  # of a held task
CENT_PART = 1e-9  # sums of floats may be off by so much and still fit
_WHOSE = {TASK_CAP: "the task's cap", DAY_CAP: "the day's cap"}
_ENDS = (ev.AttemptFailed, ev.AttemptInterrupted, ev.AttemptCancelled)


class Ask(NamedTuple):
    """The call that is asked about, as far as money goes; `instead_of` names an open call that is to be left out."""

    tier: str = ""
    channel: str = ""
    estimate_usd: float | None = None
    instead_of: str = ""
    came_to_usd: float = 0.0  # what that open call costs, now that it ends


class Cap(NamedTuple):
    """One cap, and what is spent and reserved of it."""

    name: str
    limit_usd: float
    spent_usd: float


# --- caps -----------------------------------------------------------------------------------------------------------


def caps(board: Board, budget: Budget, task: Task | None, day: int, ask: Ask) -> Iterator[Cap]:
    """Every cap that binds a call."""
    yield from _own_cap(board, budget, task, day, ask)
    yield from _daily_caps(board, budget, task, day, ask)


def _own_cap(board: Board, budget: Budget, task: Task | None, day: int, ask: Ask) -> Iterator[Cap]:
    own = [usd for usd in (budget.task_usd, task.spec.budget_usd) if usd is not None] if task else []
    if task is not None and own:
        out = board.ledger.open.get(ask.instead_of)
        reserved = board.ledger.reserved_for(task.id, instead_of=ask.instead_of)
        ended = ask.came_to_usd if out is not None and out.task_id == task.id else 0.0
        yield Cap(TASK_CAP, min(own) * _times(task, TASK_CAP, day), task.meter.spent_usd + reserved + ended)


def hit(caps: Iterable[Cap], ask: Ask) -> Cap | None:
    """The first cap that a paid call would go over; None when it fits under all."""
    for cap in caps:
        room = cap.limit_usd - cap.spent_usd
        if (ask.estimate_usd or 0.0) > room + CENT_PART or room <= CENT_PART:
            return cap
    return None


def _daily_caps(
    board: Board, budget: Budget, task: Task | None, day: int, ask: Ask, *, reserved: bool = True
) -> Iterator[Cap]:
    ledger = board.ledger
    out = ledger.open.get(ask.instead_of)
    for name, usd in _daily(budget, ask):
        spent = ledger.spent(day, "" if name == DAY_CAP else name, instead_of=ask.instead_of, reserved=reserved)
        same = out is not None and out.day == day and name in (DAY_CAP, out.tier, out.channel)
        yield Cap(name, usd * _times(task, name, day), spent + (ask.came_to_usd if same else 0.0))


def _daily(budget: Budget, ask: Ask) -> Iterator[tuple[str, float]]:
    if budget.daily_usd is not None:
        yield DAY_CAP, budget.daily_usd
    for name in dict.fromkeys((ask.tier, ask.channel)):
        if name in budget.channel_usd:
            yield name, budget.channel_usd[name]


def _times(task: Task | None, cap: str, day: int) -> int:
    return 1 + (task.meter.lifted.count(lifting(cap, day)) if task else 0)


# --- tasks ----------------------------------------------------------------------------------------------------------


def at_dispatch(board: Board, task: Task, at: Millis) -> ev.TaskHeld | ev.TaskRouted | None:
    """What stands against starting a task on its tier: nothing, unless that is paid and the day is used up."""
    budget = board.settings.budget
    if (budget.daily_usd is None and not budget.channel_usd) or task.route is None or attempts.uncertain(task):
        return None
    if not any(tier.paid for tier in board.settings.tiers if tier.name == task.route.tier):
        return None
    ask, day = Ask(task.route.tier), today(board, at)
    cap = hit(_daily_caps(board, budget, task, day, ask, reserved=False), ask)
    if cap is None:
        return None
    free = next((tier for tier in board.settings.tiers if not tier.paid), None)
    if budget.at_cap == "degrade" and free is not None:
        return _degraded(task, board.settings, free, cap)
    # Where nothing is free, there is nothing to degrade to.
    return held(task, capped(cap, "hold" if budget.at_cap == "degrade" else budget.at_cap, day, ask))


def stopped(task: Task, outcome: list[ev.TaskEvent]) -> list[ev.TaskEvent]:
    """How the attempt of a task that ran into a cap ends: only a success counts, else the task is held.

    An interrupted attempt may have done its work: it is repeated under its own key, or a person is asked.
    """
    kinds = {type(event) for event in outcome}
    if task.capped is None or task.cancel_requested or not kinds & set(_ENDS):
        return outcome
    ended = [event for event in outcome if isinstance(event, _ENDS)]
    lost = ended[0]
    if isinstance(lost, ev.AttemptInterrupted):
        question = ev.TaskHeld(attempts.question(task.attempts[-1], lost.evidence))
        return outcome if lost.retry_at is not None else [lost, question]
    return [_for_good(lost), held(task, task.capped)]


def freed(board: Board, settled: ev.CallSettled, at: Millis) -> list[Task]:
    """The one task that may go on, now that a call has come to less than it had reserved; none if there is none."""
    call = board.ledger.open[settled.call]
    came_to = (settled.billed_usd or 0.0) + settled.kept_usd
    if not board.at("capped") or came_to >= call.charge_usd:
        return []
    return list(islice(_fitting(board, board.settings.budget, at, settled.call, came_to), 1))


def released(board: Board, settings: RoutingSettings, at: Millis) -> list[Task]:
    """The tasks that may go on with a new day, or with the caps of a new start."""
    if settings.budget.at_cap == "degrade":
        return [board.tasks[i] for i in board.at("capped")]
    return list(_fitting(board, settings.budget, at))


def capped(cap: Cap, at_cap: AtCap, day: int, ask: Ask) -> Capped:
    """What has to be remembered of a cap that a call, or a start, did not fit under."""
    if at_cap == "hold" and (ask.estimate_usd or 0.0) > cap.limit_usd:
        at_cap = "ask"  # no new day would make room for it
    return Capped(cap.name, day, at_cap, _reason(cap, ask), ask.estimate_usd, ask.tier, ask.channel)


def held(task: Task, capped: Capped) -> ev.TaskHeld:
    """Hold a task at a cap; it goes on by itself when the cap is a day's and its work may be repeated or resumed."""
    alone = capped.at_cap == "hold" and capped.cap != TASK_CAP and _may_repeat(task.last)
    what = "it goes on by itself when the next day begins" if alone else "retry allows as much again"
    return ev.TaskHeld(Held(KIND, f"{capped.reason}; {what}", ("retry", "fail")), replace(capped, alone=alone))


def midnight(budget: Budget, at: Millis) -> Send:
    """Look again when this day is over."""
    offset = budget.utc_offset_ms
    return Send(TIMERS, cmd.WakeAt(ROUTER, day_ends(day_of(at, offset), offset), NEXT_DAY))


def wakes(budget: Budget, waiting: Iterable[Capped]) -> list[Send]:
    """Look again when the day is over that those who go on by themselves were held on."""
    days = [each.day for each in waiting if each.alone]
    return [Send(TIMERS, cmd.WakeAt(ROUTER, day_ends(max(days), budget.utc_offset_ms), NEXT_DAY))] if days else []


def owed(board: Board) -> list[Send]:
    """The timer that a Router without memory may not have set."""
    tasks = (board.tasks[i] for i in board.at("capped"))
    return wakes(board.settings.budget, (task.capped for task in tasks if task.capped))


def spend(board: Board) -> cmd.Spend:
    """What the newest day with calls came to."""
    ledger, budget = board.ledger, board.settings.budget
    total = ledger.total(ledger.newest)
    return cmd.Spend(
        day_ends(ledger.newest, budget.utc_offset_ms),
        total.billed_usd,
        total.imputed_usd,
        sum(call.charge_usd for call in ledger.open.values() if call.day == ledger.newest),
        total.kept_usd,
        total.unknown,
        budget,
    )


def as_of(spend: cmd.Spend, at: Millis) -> cmd.Spend:
    """What was spent on the day of `at`: nothing yet, when the newest day with calls is over."""
    if at < spend.until:
        return spend
    offset = spend.budget.utc_offset_ms
    return cmd.Spend(day_ends(day_of(at, offset), offset), budget=spend.budget)


def _fitting(
    board: Board, budget: Budget, at: Millis, instead_of: str = "", came_to_usd: float = 0.0
) -> Iterator[Task]:
    """The held tasks whose call would be let go now, longest held first."""
    day = day_of(at, budget.utc_offset_ms)
    full: dict[tuple[Ask, tuple[str, ...]], bool] = {}  # most of those that wait ask for the same
    for task_id in board.at("capped"):
        task = board.tasks[task_id]
        assert task.capped is not None
        ask = Ask(task.capped.tier, task.capped.channel, task.capped.estimate_usd, instead_of, came_to_usd)
        alike = ask, task.meter.lifted
        if alike not in full:
            full[alike] = hit(_daily_caps(board, budget, task, day, ask), ask) is not None
        if not full[alike] and hit(_own_cap(board, budget, task, day, ask), ask) is None:
            yield task


def _degraded(task: Task, settings: RoutingSettings, free: Tier, cap: Cap) -> ev.TaskRouted:
    assert task.route is not None
    heavy = task.complexity >= settings.complexity_threshold
    model = (free.heavy_model if heavy else free.light_model) or free.light_model or free.heavy_model
    reason = f"{task.route.executor}: {free.name} instead of {task.route.tier}, because {_described(cap)} is used up"
    route = Route(task.route.executor, free.name, model, task.route.mode)
    return ev.TaskRouted(task.kind, task.complexity, route, reason, ())


def _may_repeat(last: Attempt | None) -> bool:
    """Whether another attempt may follow without a person's word, after one that may have done part of the work."""
    if last is None or last.policy == "retry":
        return True
    unsent = last.error is not None and last.error.kind in attempts.UNSENT
    return unsent or (last.policy == "resume" and bool(last.session))


def _for_good(ended: ev.TaskEvent) -> ev.TaskEvent:
    if isinstance(ended, ev.AttemptFailed) and ended.retry_at is not None:
        return replace(ended, retry_at=None)
    return ended


def today(board: Board, at: Millis) -> int:
    """The day since the epoch that it is where the owner lives."""
    return day_of(at, board.settings.budget.utc_offset_ms)


def _reason(cap: Cap, ask: Ask) -> str:
    room = cap.limit_usd - cap.spent_usd
    if room <= CENT_PART:
        return f"{_described(cap)} is used up"
    return f"{_described(cap)}, and this call may cost {usd(ask.estimate_usd or 0.0)}"


def _described(cap: Cap) -> str:
    whose = _WHOSE.get(cap.name, f"the day's cap for {cap.name}")
    return f"{whose} of {usd(cap.limit_usd)} ({usd(cap.spent_usd)} spent or reserved)"


def usd(amount: float) -> str:
    """An amount of money for people: cents, and below ten of them as much as matters."""
    return f"${amount:.2f}" if amount >= 0.1 or not amount else f"${amount:.4f}"
