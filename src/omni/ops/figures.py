"""What a drill measured, what was wanted, and the verdict."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Rule: TypeAlias = Literal["below", "at most", "at least", "exactly"]


class Figure(msgspec.Struct, frozen=True):
    """One measured value against its bound; `measured` None: it did not happen. `unit` is empty for a count."""

    name: str
    measured: float | None
    rule: Rule
    wanted: float
    unit: str = ""

    @property
    def ok(self) -> bool:
        """Whether the bound holds."""
        if self.measured is None:
            return False
        match self.rule:
            case "below":
                return self.measured < self.wanted
            case "at most":
                return self.measured <= self.wanted
            case "at least":
                return self.measured >= self.wanted
            case "exactly":
                return self.measured == self.wanted

    def view(self) -> dict[str, Any]:
        """The figure in plain JSON values."""
        return {**msgspec.to_builtins(self), "ok": self.ok}


class Tasks(msgspec.Struct, frozen=True):
    """The tasks of a drill. `lost`: acknowledged, and not in the log. `twice`: ended twice, or asked of a model without
    a reserved call. `again`: attempts that were made anew after the one before was cut off, as is promised.
    """

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    open: int = 0
    lost: int = 0
    twice: int = 0
    again: int = 0


class Report(msgspec.Struct, frozen=True):
    """One drill. `settings`: what the daemon went by, as far as it bears on the figures; `notes` are for people."""

    fault: str
    live: bool
    settings: dict[str, float]
    figures: tuple[Figure, ...]
    tasks: Tasks
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every figure holds."""
        return all(figure.ok for figure in self.figures)

    def view(self) -> dict[str, Any]:
        """The report in plain JSON values."""
        return {
            "fault": self.fault,
            "live": self.live,
            "settings": self.settings,
            "figures": [figure.view() for figure in self.figures],
            "tasks": msgspec.to_builtins(self.tasks),
            "notes": list(self.notes),
            "ok": self.ok,
        }


def below(name: str, measured: float | None, wanted: float, unit: str = "s") -> Figure:
    """A duration that must stay under its bound."""
    return Figure(name, None if measured is None else round(measured, 3), "below", wanted, unit)


def within(name: str, measured: float | None, wanted: float, unit: str = "s") -> Figure:
    """A duration that may reach its bound."""
    return Figure(name, None if measured is None else round(measured, 3), "at most", wanted, unit)


def exactly(name: str, measured: int, wanted: int = 0) -> Figure:
    """A count with one right value."""
    return Figure(name, measured, "exactly", wanted)


def at_least(name: str, measured: int, wanted: int = 1) -> Figure:
    """A count that shows that something happened at all."""
    return Figure(name, measured, "at least", wanted)
