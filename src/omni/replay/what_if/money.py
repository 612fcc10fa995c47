"""Calls and caps a second time: what each recorded call would have cost, and whether it would have been let go.

Theory of operation. The shadow has a ledger of its own. A recorded call keeps its way, moves to another one (a changed
tier, a changed route), is avoided (its task would have been held before) or is unknown. One that keeps its way or moves
is asked for again under the new caps (`caps`). Re-priced are the tokens that were used, at the price of the model that
would have been asked.
"""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace

from omni.domain import budget
from omni.domain import events as ev
from omni.domain.budget import Ask, Cap
from omni.domain.ledger import NOT_BILLED, Reservation, is_unknown
from omni.domain.task import Task
from omni.domain.values import PROXY
from omni.replay.what_if.caps import Caps
from omni.replay.what_if.figures import RECORDED, REPRICED, UNKNOWN, Chosen, Money
from omni.replay.what_if.policy import Way
from omni.replay.what_if.world import Life, Moment, World, chosen, same_way

AVOIDED, MOVED = "avoided", "moved"
_UNSURE_MODE = "its call may have gone another way, or to nobody: the mode is not known"
_UNSURE_MODEL = "which model would have answered its call, and over which way, is not known"


class Call(msgspec.Struct, frozen=True, gc=False):
    """A recorded call that is not settled. `label`: what became of it; `way`: by the policy, None where unknown."""

    label: str
    was: Way
    way: Way | None
    life: Life
    counted: bool
    paid: bool  # in the record


class Purse:
    """Spending on the shadow side."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._caps = Caps(world)
        self._calls: dict[str, Call] = {}
        self._vague: set[str] = set()  # open calls whose estimate is only bounded

    # --- calls --------------------------------------------------------------------------------------------------------

    def reserved(self, now: Moment, event: ev.CallReserved, task: Task | None) -> None:
        """Ask for a recorded call again."""
        world = self._world
        life = world.life(task.id) if task else Life()
        was = Way(event.tier, event.channel, event.model, event.paid)
        if not world.active:
            return self._go(now, event, Call(RECORDED, was, was, life, counted=False, paid=event.paid), event)
        world.answer.asked += 1
        way = self._way(now, event, was, life)
        if way is None and task is not None and not life.final:
            world.unsure(now, task, life, _UNSURE_MODE if world.modes.differs(now.at) else _UNSURE_MODEL)
        label = life.change.means.calls if life.change and life.final else RECORDED if way == was else MOVED
        label = UNKNOWN if way is None and label == MOVED else label
        call = Call(label, was, way, life, counted=True, paid=event.paid)
        if label in {AVOIDED, UNKNOWN}:
            return self._drop(now, event, call)
        return self._ask(now, event, call, task)

    def settled(self, now: Moment, event: ev.CallSettled, recorded: Reservation | None) -> None:
        """Book a recorded call on both sides."""
        call = self._calls.pop(event.call, None)
        self._vague.discard(event.call)
        if call is None or recorded is None:
            return
        was = None if is_unknown(recorded, event) else event.billed_usd or 0.0
        label, usd = self._cost(event, call, was)
        if call.counted:
            for money in self._books(call):
                money.book(label, was, usd)
        if label == RECORDED:
            self._evolve(now, event, call.life, (event.billed_usd or 0.0) + event.kept_usd)
        elif label == REPRICED:
            self._evolve(now, replace(event, billed_usd=usd, kept_usd=0.0), call.life, usd or 0.0)
        else:
            self._forget(now, event, call, label)

    def unmetered(self, event: ev.AttemptSucceeded, life: Life) -> None:
        """What an executor says that its own calls cost: re-priced by its route, where it says how many tokens."""
        if event.cost_usd is None or not self._world.active:
            return
        label, usd = RECORDED, event.cost_usd
        if life.change is not None and life.change.means.calls in {AVOIDED, UNKNOWN}:
            label = life.change.means.calls
        elif life.route is not None and not same_way(life.route, life.planned):
            known = self._world.price(PROXY, life.route.model, event.usage) if event.usage else None
            label, usd = (REPRICED, known) if known is not None else (UNKNOWN, 0.0)
        for money in self._books_of(life):
            money.book(label, event.cost_usd, usd)

    def close(self) -> None:
        """Count the calls that are still open where the range ends: nobody knows what they come to."""
        for call in self._calls.values():
            if call.counted:
                for money in self._books(call):
                    money.book(call.label if call.label != MOVED else UNKNOWN, None if call.paid else 0.0)

    def refused(self, now: Moment, event: ev.CallRefused, task: Task | None) -> None:
        """Ask for a call again that was refused in the record: would it have been let go?"""
        world, over = self._world, event.capped
        if not world.active or over is None:
            return None
        life = world.life(task.id) if task else Life()
        if life.final:
            return None
        ask = self._caps.as_tried(Ask(over.tier, over.channel, over.estimate_usd), life, task)
        cap = self._caps.hit(now.at, ask, task, life) if self._caps.is_paid(ask, over.tier) else None
        if cap is not None:
            return self._refused_too(now, event, task, life, cap, ask)
        if task is None:
            world.answer.cost.unknown += 1
            world.in_doubt(world.day(now.at))
            return world.answer.doubt("clients", "refusals of clients' own calls that would have been let go", now.at)
        why = f"the call fits: {over.cap} has room"
        return world.turn(
            now, task, life, "let_on", chosen(task.route, over.reason), chosen(life.route or task.route, why)
        )

    # --- tasks --------------------------------------------------------------------------------------------------------

    def hold(self, now: Moment, task: Task, life: Life, over: ev.TaskHeld, why: str = "") -> None:
        """Hold a task on the shadow side."""
        world = self._world
        was = chosen(task.route, why or "it went on")
        world.turn(now, task, life, "held", was, chosen(life.route or task.route, over.held.reason))
        if life.change is not None and over.capped is not None and over.capped.alone:
            life.change.waits_for_day = True
            world.in_doubt(over.capped.day + 1)

    # --- how a call goes ----------------------------------------------------------------------------------------------

    def _way(self, now: Moment, event: ev.CallReserved, was: Way, life: Life) -> Way | None:
        world = self._world
        if world.policy is None:
            return was
        if world.modes.differs(now.at):
            world.answer.doubt("channels", "model calls while the mode may have been another", now.at)
            return None
        way = world.ladders.moved(was, event.mode, life.planned if event.n else None, life.route)
        return None if way == was and world.ladders.stands_for_another(was) else way

    def _ask(self, now: Moment, event: ev.CallReserved, call: Call, task: Task | None) -> None:
        assert call.way is not None
        if not call.way.paid:
            return self._go(now, event, call, _as(event, call.way, event.estimate_usd))
        bounds = self._caps.bounds(event, call.was, call.way)
        ask = Ask(call.way.tier, call.way.channel, bounds.low)
        cap = self._caps.hit(now.at, ask, task, call.life)
        if cap is not None and self._vague:
            return self._not_known(
                now, event, call, task, "calls on their way may have cost more or less than reserved"
            )
        if cap is not None:
            return self._turned_down(now, event, call, task, cap, ask)
        if why := self._caps.in_doubt(now.at, task, call.life, call.way, bounds):
            return self._not_known(now, event, call, task, why)
        return self._go(now, event, call, _as(event, call.way, bounds.high), vague=not bounds.exact)

    def _go(
        self, now: Moment, event: ev.CallReserved, call: Call, shadow: ev.CallReserved, *, vague: bool = False
    ) -> None:
        if call.label == MOVED and call.life.change is None and call.counted:
            self._other_price(now, call)
        self._calls[event.call] = call
        if vague:
            self._vague.add(event.call)
        self._world.shadow.ledger.evolve(now.stream, shadow, now.at, self._offset)

    def _drop(self, now: Moment, event: ev.CallReserved, call: Call) -> None:
        self._calls[event.call] = call
        if call.label == UNKNOWN:
            self._world.in_doubt(self._world.day(now.at))
            call.life.doubtful += 1

    def _turned_down(
        self, now: Moment, event: ev.CallReserved, call: Call, task: Task | None, cap: Cap, ask: Ask
    ) -> None:
        """The call would have been refused: its task held, or the call made over a free tier."""
        world = self._world
        rules, day = world.shadow.settings.budget, world.day(now.at)
        free = world.ladders.free_instead(call.was, event.mode) if rules.at_cap == "degrade" else None
        capped = budget.capped(cap, "hold" if rules.at_cap == "degrade" else rules.at_cap, day, ask)
        if free is not None:
            if task is not None:
                then = Chosen(task.route.executor if task.route else "", free.tier, free.model, capped.reason)
                world.turn(now, task, call.life, "other_model", chosen(task.route, "its paid call was let go"), then)
            return self._go(now, event, replace(call, label=MOVED, way=free), _as(event, free, None))
        if task is None:
            world.answer.doubt("refused_clients", "calls of clients that would have been refused", now.at)
        else:
            self.hold(now, task, call.life, budget.held(task, capped), "its call was let go")
        return self._drop(now, event, replace(call, label=AVOIDED))

    def _not_known(self, now: Moment, event: ev.CallReserved, call: Call, task: Task | None, why: str) -> None:
        if task is not None:
            self._world.unsure(now, task, call.life, f"whether its call fits under the caps is not known: {why}")
        else:
            self._world.answer.doubt("caps", "calls of which nobody can say whether they fit under the caps", now.at)
        self._drop(now, event, replace(call, label=UNKNOWN))

    def _refused_too(
        self, now: Moment, event: ev.CallRefused, task: Task | None, life: Life, cap: Cap, ask: Ask
    ) -> None:
        world, over = self._world, event.capped
        assert over is not None
        rules = world.shadow.settings.budget
        if task is None:
            return None
        if (over.at_cap == "degrade") == (rules.at_cap == "degrade"):
            return self._held_too(now, task, life, cap, ask) if rules.at_cap != "degrade" else None
        if rules.at_cap == "degrade":
            then = chosen(life.route, "a free call would have been made instead")
            return world.turn(now, task, life, "let_on", chosen(task.route, over.reason), then)
        capped = budget.capped(cap, rules.at_cap, world.day(now.at), ask)
        return self.hold(now, task, life, budget.held(task, capped), "a free call was made instead")

    def _held_too(self, now: Moment, task: Task, life: Life, cap: Cap, ask: Ask) -> None:
        """Remember how the policy would have held what the record holds."""
        rules, day = self._world.shadow.settings.budget, self._world.day(now.at)
        life.capped = budget.held(task, budget.capped(cap, rules.at_cap, day, ask)).capped
        life.sooner = False

    # --- books --------------------------------------------------------------------------------------------------------

    def _cost(self, event: ev.CallSettled, call: Call, was: float | None) -> tuple[str, float | None]:
        """The label of a settled call, and what it comes to by the policy."""
        if call.label in {RECORDED, AVOIDED, UNKNOWN} or call.way is None:
            return call.label, was
        if event.verdict in NOT_BILLED and not was:
            return RECORDED, was  # turned away before a model was asked: that costs nothing anywhere
        if not call.way.paid:
            return REPRICED, 0.0
        usd = self._priced(event, call, call.way)
        return (UNKNOWN, None) if usd is None or not math.isfinite(usd) else (REPRICED, usd)

    def _priced(self, event: ev.CallSettled, call: Call, way: Way) -> float | None:
        if (way.channel, way.model) == (call.was.channel, call.was.model):
            own = event.billed_usd if call.was.paid else event.imputed_usd
            if own is not None:
                return own
        return self._world.price(way.channel, way.model, event.usage) if event.usage else None

    def _evolve(self, now: Moment, event: ev.CallSettled, life: Life, spent_usd: float) -> None:
        life.spent_usd += spent_usd
        self._world.shadow.ledger.evolve(now.stream, event, now.at, self._offset)

    def _forget(self, now: Moment, event: ev.CallSettled, call: Call, label: str) -> None:
        """End a call on the shadow side that was let go there, and that nobody knows the price of."""
        open_call = self._world.shadow.ledger.open.get(event.call)
        if open_call is None:
            return
        self._world.shadow.ledger.evolve(now.stream, replace(event, billed_usd=0.0, kept_usd=0.0), now.at, self._offset)
        if label == UNKNOWN:
            self._world.in_doubt(open_call.day)
            call.life.doubtful += 1

    def _books(self, call: Call) -> list[Money]:
        return self._books_of(call.life)

    def _books_of(self, life: Life) -> list[Money]:
        cost = self._world.answer.cost
        return [cost, life.change.money] if life.change is not None else [cost]

    def _other_price(self, now: Moment, call: Call) -> None:
        """The call goes another way, though its task does not."""
        task_id = now.stream.removeprefix(ev.TASK_PREFIX)
        task = self._world.board.tasks.get(task_id)
        if task is None or call.way is None:
            return
        executor = task.route.executor if task.route else ""
        was = Chosen(executor, call.was.tier, call.was.model, f"over {call.was.channel}{_bill(call.was)}")
        way = call.way
        then = Chosen(executor, way.tier, way.model, f"over {way.channel}{_bill(way)}")
        self._world.turn(now, task, call.life, "other_price", was, then)

    @property
    def _offset(self) -> int:
        return self._world.shadow.settings.budget.utc_offset_ms


def _bill(way: Way) -> str:
    return ", paid" if way.paid else ", free"


def _as(event: ev.CallReserved, way: Way, estimate_usd: float | None) -> ev.CallReserved:
    """A call as the shadow's ledger has it."""
    return replace(event, tier=way.tier, channel=way.channel, model=way.model, paid=way.paid, estimate_usd=estimate_usd)
