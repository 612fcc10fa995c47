"""What service levels consist of: durations against bounds, shares between two ends, outages, drills."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from omni.domain.values import Cause, Millis, Mode
from omni.domain.view import timestamp

AVAILABLE = 0.99

Kind: TypeAlias = Literal["outage", "drill", "asked"]
KINDS: tuple[Kind, ...] = ("outage", "drill", "asked")


class Spread(msgspec.Struct):
    """Durations against a bound that each must stay below; None: there is no bound."""

    wanted_ms: int | None = None
    count: int = 0
    over: int = 0
    longest_ms: int | None = None
    total_ms: int = 0

    def add(self, ms: int) -> None:
        """Take one in."""
        self.count += 1
        self.over += self.wanted_ms is not None and ms >= self.wanted_ms
        self.longest_ms = ms if self.longest_ms is None else max(ms, self.longest_ms)
        self.total_ms += ms

    @property
    def ok(self) -> bool | None:
        """Whether the bound held each time; None where nothing was measured."""
        return self.over == 0 if self.count and self.wanted_ms is not None else None

    def view(self) -> dict[str, Any]:
        """As JSON, with the mean."""
        mean = round(self.total_ms / self.count) if self.count else None
        return {**msgspec.to_builtins(self), "mean_ms": mean, "ok": self.ok}


class Share(msgspec.Struct, frozen=True):
    """A part of a whole that lies between two ends, because of what nobody knows; None where there is no whole."""

    least: float | None
    most: float | None

    @property
    def ok(self) -> bool | None:
        """Whether it is more than wanted for sure; None while that depends on what is not known."""
        if self.least is None or self.most is None:
            return None
        sure, can = self.least > AVAILABLE, self.most > AVAILABLE
        return sure if sure == can else None

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {"least": self.least, "most": self.most, "wanted": AVAILABLE, "ok": self.ok}


class Outage(msgspec.Struct, frozen=True):
    """One stay in DEGRADED or BRAINSTEM; `ended_ms` None: it lasts. `detected_ms` is counted from the first sign."""

    mode: Mode
    cause: Cause
    kind: Kind
    position: int
    began_ms: Millis
    first_sign_ms: Millis | None
    detected_ms: int | None
    ended_ms: Millis | None = None


class Drill(msgspec.Struct):
    """One fault made on purpose: the mode that followed, how long after it began, and NORMAL how long after its end.

    `tasks_failed` is how many tasks failed until then, whatever of. `ok` is None while it is not over.
    """

    fault: str
    position: int
    begun_ms: Millis
    until_ms: Millis
    mode: str = ""
    detected_ms: int | None = None
    back_ms: int | None = None
    tasks_failed: int = 0
    ok: bool | None = None


class ModeTime(msgspec.Struct):
    """How often and how long a mode was in force, by the record: the time without a daemon in it counts as well."""

    times: int = 0
    total_ms: int = 0
    longest_ms: int = 0


class Levels(msgspec.Struct):
    """All of it over one window. `lost`: created, and neither ended nor open; `doubled`: ended a second time.

    These two and `open` are of the whole log up to `until_ms`: a task may have come before the window.
    """

    since_ms: Millis
    until_ms: Millis
    overhead: Spread
    waited: Spread
    detection: Spread
    calls_moved: Spread
    calls_unanswered: int
    modes: dict[str, dict[str, ModeTime]]
    submission: Share
    path: Share
    completion: Share
    up_ms: int
    stopped_ms: int
    unclear_ms: int
    crashes: int
    created: int
    completed: int
    failed: int
    cancelled: int
    open: int
    lost: int
    doubled: int
    failed_by_kind: dict[str, int]
    outages: list[Outage]
    drills: list[Drill]
    drills_held: int
    requests_refused: int | None = None

    def view(self) -> dict[str, Any]:
        """Plain JSON values; times RFC 3339, durations in milliseconds."""
        return {
            "since": timestamp(self.since_ms),
            "until": timestamp(self.until_ms),
            "overhead": self.overhead.view(),
            "waited": self.waited.view(),
            "failover": {
                "detection": self.detection.view(),
                "calls": {**self.calls_moved.view(), "unanswered": self.calls_unanswered},
            },
            "modes": msgspec.to_builtins(self.modes),
            "availability": {
                "submission": self.submission.view(),
                "path": self.path.view(),
                "completion": self.completion.view(),
            },
            "daemon": {name: getattr(self, name) for name in ("up_ms", "stopped_ms", "unclear_ms", "crashes")},
            "tasks": {name: getattr(self, name) for name in _TASKS},
            "outages": [_dated(each) for each in self.outages],
            "drills": [_dated(each) for each in self.drills],
            "drills_held": self.drills_held,
            "requests_refused": self.requests_refused,
        }


_TASKS = ("created", "completed", "failed", "failed_by_kind", "cancelled", "open", "lost", "doubled")
_MOMENTS = {f"{name}_ms": name for name in ("began", "ended", "first_sign", "begun", "until")}


def _dated(each: Outage | Drill) -> dict[str, Any]:
    """As JSON, moments in the form of all views."""
    plain: dict[str, Any] = msgspec.to_builtins(each)
    return {_MOMENTS.get(name, name): timestamp(it) if name in _MOMENTS else it for name, it in plain.items()}
