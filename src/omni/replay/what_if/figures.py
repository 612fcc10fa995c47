"""The answer: figures that say of each part whether it is recorded, re-priced or unknown, and tasks that change.

Theory. Every figure is split by what is known, and the parts of the record always add up to the record:

    money     recorded = same + repriced_from + avoided + unknown_recorded    by the policy: same + repriced (+ unknown)
    counts    recorded = same + gone + of the unknown those that were         by the policy: same + added  (+ unknown)
    latency   recorded = same + gone + unknown                                by the policy: same          (+ unknown)

A difference is that of the known parts alone, beside the number of what is not known.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from omni.domain.values import Millis
from omni.domain.view import money

RECORDED, REPRICED, UNKNOWN = "recorded", "re-priced", "unknown"
Fate: TypeAlias = Literal[
    "refused", "held", "elsewhere", "other_model", "let_on", "unsure", "other_time", "other_price"
]


class Meaning(NamedTuple):
    """What a fate says of the task from there on. `calls`: avoided, unknown, moved (to their new way) or recorded."""

    weight: int  # of two fates of one task the heavier one counts
    outcome: str
    latency: str
    calls: str


FATES: dict[str, Meaning] = {
    "refused": Meaning(9, "not created", "none", "avoided"),
    "held": Meaning(8, "held", UNKNOWN, "avoided"),
    "elsewhere": Meaning(7, UNKNOWN, UNKNOWN, UNKNOWN),
    "let_on": Meaning(6, UNKNOWN, UNKNOWN, UNKNOWN),
    "unsure": Meaning(5, UNKNOWN, UNKNOWN, UNKNOWN),
    "other_model": Meaning(4, UNKNOWN, UNKNOWN, "moved"),
    "other_time": Meaning(2, RECORDED, UNKNOWN, "moved"),
    "other_price": Meaning(1, RECORDED, RECORDED, "moved"),
}
FIGURES = ("cost", "latency", "held", "failed")
# Doubts that are no task's own, and the figures that are not whole while they stand.
_REACHES = {"thresholds": FIGURES, "probes": FIGURES, "slots": ("latency",), "let_on": ("held",)}
FINAL = 5  # from this weight on nothing more can be said of a task


class Chosen(msgspec.Struct, frozen=True):
    """One side of a changed choice; empty names where nobody was chosen."""

    executor: str = ""
    tier: str = ""
    model: str = ""
    reason: str = ""


class Money(msgspec.Struct):
    """US dollars. Unknown are calls whose cost by the policy nobody can say, whatever they cost in the record."""

    recorded_usd: float = 0.0
    recorded_unknown: int = 0  # calls that may have been billed, and nobody knows how much
    same: int = 0
    same_usd: float = 0.0
    repriced_from_usd: float = 0.0
    repriced_usd: float = 0.0
    repriced: int = 0
    avoided_usd: float = 0.0
    avoided: int = 0
    unknown: int = 0
    unknown_recorded_usd: float = 0.0
    unknown_tasks: int = 0  # tasks whose cost by the policy nobody can say, also where they made no recorded call

    @property
    def booked(self) -> bool:
        """Whether any call was added."""
        return bool(self.same or self.repriced or self.avoided or self.unknown)

    @property
    def known(self) -> bool:
        """Whether any part of the policy's side is known."""
        return bool(self.same or self.repriced or self.avoided)

    @property
    def in_doubt(self) -> bool:
        """Whether a part of the policy's side is not known."""
        return bool(self.unknown or self.unknown_tasks)

    @property
    def policy_usd(self) -> float:
        """The known part of what the policy would have cost."""
        return self.same_usd + self.repriced_usd

    @property
    def delta_usd(self) -> float:
        """The difference of what is known on both sides."""
        return self.repriced_usd - self.repriced_from_usd - self.avoided_usd

    def book(self, label: str, was: float | None, now: float | None = None) -> None:
        """Add one call: what it cost in the record (None: unknown), and by the policy."""
        self.recorded_usd += was or 0.0
        self.recorded_unknown += was is None
        if label == UNKNOWN or (was is None and label == REPRICED):
            self.unknown += 1
            self.unknown_recorded_usd += was or 0.0
        elif label == REPRICED:
            self.repriced += 1
            self.repriced_from_usd += was or 0.0
            self.repriced_usd += now or 0.0
        elif label == "avoided":
            self.avoided += 1
            self.avoided_usd += was or 0.0
        else:
            self.same += 1
            self.same_usd += was or 0.0

    def view(self) -> dict[str, Any]:
        """As JSON, with the label of each part."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain |= {"policy_usd": self.policy_usd, "delta_usd": self.delta_usd}
        return {name: money(value) if isinstance(value, float) else value for name, value in plain.items()} | {
            "label": label_of(
                repriced=bool(self.repriced), unknown=self.in_doubt or self.recorded_unknown > 0, known=self.known
            ),
            "labels": {
                "recorded_usd": RECORDED, "same_usd": RECORDED, "avoided_usd": RECORDED, "repriced_usd": REPRICED,
                "unknown": UNKNOWN,
            },
            "whole": not self.in_doubt and not self.recorded_unknown,
        }  # fmt: skip


class Tally(msgspec.Struct):
    """Tasks to which something happened: in the record, and by the policy."""

    tasks: int = 0
    recorded: int = 0
    same: int = 0
    gone: int = 0
    added: int = 0
    unknown: int = 0  # tasks of which nobody can say, whether it happened to them in the record or not
    unknown_recorded: int = 0  # and those of them to which it did
    by_price: bool = False  # it follows from re-priced money

    @property
    def delta(self) -> int:
        """The difference of what is known."""
        return self.added - self.gone

    def count(self, *, was: bool, now: bool | None) -> None:
        """Add one task; `now` is None where nobody can say."""
        self.tasks += 1
        self.recorded += was
        if now is None:
            self.unknown += 1
            self.unknown_recorded += was
        else:
            self.same += was and now
            self.gone += was and not now
            self.added += now and not was

    def view(self) -> dict[str, Any]:
        """As JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        known = {"policy": self.same + self.added, "delta": self.delta, "whole": not self.unknown}
        return {
            **plain,
            **known,
            "label": label_of(repriced=self.by_price, unknown=bool(self.unknown), known=self.tasks > self.unknown),
        }


class Latency(msgspec.Struct):
    """From creation to completion, of tasks that completed in the range. `gone`: they would not have been created."""

    recorded: int = 0
    recorded_ms: int = 0
    same: int = 0
    same_ms: int = 0
    gone: int = 0
    gone_ms: int = 0
    unknown: int = 0
    unknown_ms: int = 0  # what these took in the record

    def count(self, took_ms: int, now: str) -> None:
        """Add one completed task; `now` is the label of its latency by the policy."""
        self.recorded += 1
        self.recorded_ms += took_ms
        part = {RECORDED: "same", UNKNOWN: "unknown"}.get(now, "gone")
        setattr(self, part, getattr(self, part) + 1)
        setattr(self, f"{part}_ms", getattr(self, f"{part}_ms") + took_ms)

    def view(self) -> dict[str, Any]:
        """As JSON. Where a latency is known, it is the recorded one: the known difference is always nothing."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        known = {"delta_ms": 0, "whole": not self.unknown}
        return {**plain, **known, "label": label_of(unknown=bool(self.unknown), known=self.same > 0)}


class Change(msgspec.Struct):
    """One task that the policy would have treated otherwise, from `position` on."""

    task: str
    position: int
    at_ms: Millis
    fate: Fate
    recorded: Chosen
    policy: Chosen
    ended: str = ""  # how it ended in the record, as far as that was read
    ran_later: bool = False  # it was held, and later ran in the record
    waits_for_day: bool = False  # held, and it goes on by itself with the next day
    money: Money = msgspec.field(default_factory=Money)

    @property
    def means(self) -> Meaning:
        """What its fate says of it."""
        return FATES[self.fate]

    @property
    def costs_unknown(self) -> bool:
        """Whether nobody can say what it would have cost: of a model that is not metered nobody ever could."""
        unmetered = self.fate == "other_model" and not self.money.booked
        return self.means.calls == UNKNOWN or self.waits_for_day or unmetered

    def view(self) -> dict[str, Any]:
        """As JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        means = {"outcome": self.means.outcome, "latency": self.means.latency}
        return {**plain, **means, "cost": self.money.view()} if plain.pop("money", None) is not None else plain


class Doubt(msgspec.Struct):
    """Something that the log cannot tell, and how often that matters."""

    what: str
    times: int = 0
    from_ms: Millis | None = None
    until_ms: Millis | None = None

    def at(self, at: Millis) -> None:
        """Count once more."""
        self.times += 1
        self.from_ms = at if self.from_ms is None else min(self.from_ms, at)
        self.until_ms = at if self.until_ms is None else max(self.until_ms, at)


class Answer(msgspec.Struct):
    """What another policy would have done to a stretch of the log."""

    after: int
    until: int
    events: int = 0
    tasks: int = 0
    decisions: int = 0  # routing decisions that were put again
    asked: int = 0  # and model calls that were asked for again
    cost: Money = msgspec.field(default_factory=Money)
    latency: Latency = msgspec.field(default_factory=Latency)
    held: Tally = msgspec.field(default_factory=Tally)
    failed: Tally = msgspec.field(default_factory=Tally)
    refused: int = 0  # tasks that would not have been accepted
    changes: list[Change] = msgspec.field(default_factory=list)
    doubts: dict[str, Doubt] = msgspec.field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is different or in doubt."""
        return bool(self.changes or self.doubts or self.cost.in_doubt or self.cost.repriced or self.cost.avoided)

    def doubt(self, kind: str, what: str, at: Millis | None = None) -> None:
        """Note what the log cannot tell; with `at`, that it mattered then."""
        known = self.doubts.setdefault(kind, Doubt(what))
        if at is not None:
            known.at(at)

    def figure(self, name: str) -> dict[str, Any]:
        """One figure as JSON; `doubts` names what the log cannot tell of it beside its own unknown parts."""
        view: dict[str, Any] = getattr(self, name).view()
        view["doubts"] = doubts = [kind for kind in self.doubts if name in _REACHES.get(kind, ())]
        if doubts and UNKNOWN not in view["label"]:
            view["label"] = f"{view['label']} + {UNKNOWN}"
        return view | {"whole": view["whole"] and not doubts}

    def view(self) -> dict[str, Any]:
        """As JSON, without the dust of adding floats."""
        figures = {name: self.figure(name) for name in FIGURES}
        counts = {name: getattr(self, name) for name in ("after", "until", "events", "tasks", "decisions", "asked")}
        doubts = [{"kind": kind, **msgspec.to_builtins(each)} for kind, each in self.doubts.items()]
        changes = [each.view() for each in self.changes]
        return {**counts, **figures, "refused": self.refused, "changes": changes, "unknown": doubts}


def label_of(*, repriced: bool = False, unknown: bool = False, known: bool = True) -> str:
    """What a figure rests on: the weaker label of what is known, and whether some of it, or all, is not."""
    if unknown and not known:
        return UNKNOWN
    rests = REPRICED if repriced else RECORDED
    return f"{rests} + {UNKNOWN}" if unknown else rests
