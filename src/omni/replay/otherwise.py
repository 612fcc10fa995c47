"""What would have to differ for another choice: found by trial, one change at a time.

Theory of operation. A decision is put again to the rules that made it, from what was recorded: once as it was, and once
for each thing that might have been otherwise. What does not change executor, tier or model is not told. Changes of one
kind that lead to the same choice are told in one line. The smallest come first: what chanced to be so at that moment
(an executor, the budget, the mode), what the client might have asked for, what the text might have said, and last what
the configuration might say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from omni.domain import budget, dispatch, intent, routing
from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.ledger import Booking, Ledger, day_of, restore
from omni.domain.routing import Choice
from omni.domain.task import Task
from omni.domain.values import ExecutorHealth, ExecutorSpec, Millis, Mode, Route, RoutingSettings, TaskSpec

MODES: tuple[Mode, ...] = ("NORMAL", "DEGRADED", "BRAINSTEM")
KINDS = ("coding", "general", "always_on", "gpu")  # what a text can be taken for
SHOWN = 3  # of changes that lead to the same, in words

# Smallest first. `{}` is what the change is about, or all of what would lead to the same.
WORDS = {
    "executor_ready": "if {} had been ready",
    "executor_down": "if {} had been down",
    "budget_room": "if there had been room in the day's budget",
    "budget_used_up": "if the day's budget had been used up",
    "mode": "if the mode had been {}",
    "executor_named": "if the client had named the executor {}",
    "tier_named": "if the client had named the tier {}",
    "not_named": "if the client had named no {}",
    "type": "if its type had been {}",
    "keyword": "if its text had said {}",
    "no_keyword": "if its text had not said {}",
    "threshold": "if the complexity threshold had been {}",
    "executor_enabled": "if {} could be used at all",
}


class Situation(msgspec.Struct, frozen=True):
    """What a decision was made by. `at_start`: the budget was asked too, because an attempt was to start."""

    task: Task
    settings: RoutingSettings
    health: dict[str, ExecutorHealth]
    mode: Mode
    ledger: Ledger
    at: Millis
    at_start: bool = False

    @property
    def spec(self) -> TaskSpec:
        """What the client asked for."""
        return self.task.spec


class Chosen(NamedTuple):
    """Who it went to; no executor: nobody, for the reason given."""

    executor: str
    tier: str
    model: str
    reason: str

    @property
    def what(self) -> tuple[str, str, str]:
        """The choice without the reason."""
        return self[:3]


class Change(msgspec.Struct, frozen=True):
    """One thing that would have led to another choice; `words` say it to a person."""

    kind: str
    about: tuple[str, ...]
    words: str
    executor: str
    tier: str
    model: str
    reason: str

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "about": list(self.about),
            "if": self.words,
            "executor": self.executor or None,
            "tier": self.tier or None,
            "model": self.model or None,
            "reason": self.reason,
        }


class _Trial(NamedTuple):
    kind: str
    about: str
    situation: Situation


def chosen(situation: Situation) -> Chosen:
    """What the rules choose in a situation."""
    choice = dispatch.choose(situation.spec, situation.settings, situation.health, situation.mode)
    if choice.route is None:
        return Chosen("", "", "", choice.reason)
    if situation.at_start:
        return _with_money(situation, choice, choice.route)
    return _as_routed(choice.route, choice.reason)


def changes(situation: Situation) -> list[Change]:
    """Every single change that would have led elsewhere."""
    as_it_was = chosen(situation)
    found: dict[tuple[str, tuple[str, str, str]], tuple[Chosen, list[str]]] = {}
    for trial in _trials(situation, as_it_was):
        other = chosen(trial.situation)
        if other.what != as_it_was.what:
            found.setdefault((trial.kind, other.what), (other, []))[1].append(trial.about)
    ranked = sorted(found.items(), key=lambda each: [*WORDS].index(each[0][0]))
    return [_change(kind, about, other) for (kind, _), (other, about) in ranked]


def _change(kind: str, about: list[str], other: Chosen) -> Change:
    shown = about if len(about) <= SHOWN else [*about[:SHOWN], "another of them"]
    return Change(kind, tuple(about), WORDS[kind].format(" or ".join(shown)), *other)


def _as_routed(route: Route, reason: str) -> Chosen:
    return Chosen(route.executor, route.tier, route.model, reason)


def _with_money(situation: Situation, choice: Choice, route: Route) -> Chosen:
    """Ask the budget as dispatch does before it starts an attempt."""
    board = Board()
    board.settings, board.ledger = situation.settings, situation.ledger
    task = replace(situation.task, route=route, kind=choice.kind, complexity=choice.complexity)
    over = budget.at_dispatch(board, task, situation.at)
    if isinstance(over, ev.TaskHeld):
        return Chosen("", "", "", over.held.reason)
    if over is not None and over.route is not None:
        return _as_routed(over.route, over.reason)
    return _as_routed(route, choice.reason)


# --- what might have been otherwise ---------------------------------------------------------------------------------


def _trials(situation: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    for make in (_executors, _money, _modes, _named, _types, _keywords, _threshold):
        yield from make(situation, as_it_was)


def _executors(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    for executor in now.settings.executors:
        name, health = executor.name, now.health.get(executor.name)
        if executor.unavailable:
            able = replace(now.settings, executors=_with(now.settings.executors, replace(executor, unavailable="")))
            yield _Trial("executor_enabled", name, replace(now, settings=able))
        elif not routing.unusable(executor, health, now.mode):
            yield _Trial("executor_down", name, replace(now, health={**now.health, name: ExecutorHealth("failed")}))
        elif routing.unusable(executor, health):
            yield _Trial("executor_ready", name, replace(now, health={**now.health, name: ExecutorHealth("ready")}))


def _with(executors: Iterable[ExecutorSpec], changed: ExecutorSpec) -> tuple[ExecutorSpec, ...]:
    return tuple(changed if each.name == changed.name else each for each in executors)


def _money(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    """No cap at all, and one that is reached already; where nobody has set a cap, none can be reached."""
    caps = now.settings.budget
    if caps.daily_usd is None and not caps.channel_usd:
        return
    if now.at_start:
        free = replace(now.settings, budget=replace(caps, daily_usd=None, channel_usd={}))
        yield _Trial("budget_room", "", replace(now, settings=free))
    yield _Trial("budget_used_up", "", replace(_used_up(now), at_start=True))


def _used_up(now: Situation) -> Situation:
    """With all of the day's cap spent; where only tiers and channels have caps, with what is spent as the day's cap."""
    caps = now.settings.budget
    day = day_of(now.at, caps.utc_offset_ms)
    spent = now.ledger.spent(day)
    cap = spent if caps.daily_usd is None else caps.daily_usd
    spent_by_others = Booking(day, "", "", "", kept_usd=max(0.0, cap - spent))
    saved = now.ledger.snapshot()
    full = restore(replace(saved, booked=(*saved.booked, spent_by_others)))
    return replace(now, settings=replace(now.settings, budget=replace(caps, daily_usd=cap)), ledger=full)


def _modes(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    yield from (_Trial("mode", mode, replace(now, mode=mode)) for mode in MODES if mode != now.mode)


def _named(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    """To name one that could not take it either would be no advice."""
    spec, settings = now.spec, now.settings
    for executor in settings.executors:
        usable = not routing.unusable(executor, now.health.get(executor.name), now.mode)
        if usable and executor.name not in (spec.executor, as_it_was.executor):
            yield _Trial("executor_named", executor.name, _asked(now, executor=executor.name))
    for name in (tier.name for tier in settings.tiers if tier.name != spec.tier):
        yield _Trial("tier_named", name, _asked(now, tier=name))
    for field in ("executor", "tier", "model", "type"):
        if getattr(spec, field):
            yield _Trial("not_named", field, _asked(now, **{field: None}))


def _types(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    kind = now.spec.type or intent.classify(now.spec.description).kind
    known = dict.fromkeys([*KINDS, *(each for e in now.settings.executors for each in e.types)])
    yield from (_Trial("type", each, _asked(now, type=each)) for each in known if each != kind)


def _keywords(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    """With a word more, and without: the text is read anew each time, for a word may also change what it is about."""
    text = now.spec.description
    for executor in now.settings.executors:
        said = routing.keywords_in(text.casefold(), executor.keywords)
        for word in executor.keywords:
            if word not in said:
                yield _Trial("keyword", f"“{word}”", _asked(now, description=f"{text} {word}"))
        without = _cut(text, said)
        if said and executor.name == as_it_was.executor and not routing.keywords_in(without.casefold(), tuple(said)):
            yield _Trial("no_keyword", " and ".join(f"“{word}”" for word in said), _asked(now, description=without))


def _cut(text: str, words: Iterable[str]) -> str:
    """The text without some words, in both forms in which they are found."""
    forms = dict.fromkeys(form for word in words for form in (word, word.replace("_", " ")) if form)
    return re.sub("|".join(map(re.escape, forms)), "", text, flags=re.IGNORECASE)


def _threshold(now: Situation, as_it_was: Chosen) -> Iterator[_Trial]:
    level, was = intent.classify(now.spec.description).complexity, now.settings.complexity_threshold
    other = level + 1 if level >= was else level
    words = f"{other} or {'more' if other > was else 'less'} (it was {was}, and the task's complexity is {level})"
    yield _Trial("threshold", words, replace(now, settings=replace(now.settings, complexity_threshold=other)))


def _asked(now: Situation, **changed: Any) -> Situation:
    return replace(now, task=replace(now.task, spec=replace(now.spec, **changed)))
