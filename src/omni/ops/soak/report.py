"""What a soak found, as a person and a program get it."""

from __future__ import annotations

from typing import Any

import msgspec

from omni.ops.figures import Figure, Tasks
from omni.ops.soak.reckoning import Share, Times


class Struck(msgspec.Struct, frozen=True):
    """One fault that was really made. `at_s` counts from the beginning of the soak; `effects` are in words."""

    at_s: float
    kind: str
    lasted_s: float
    effects: tuple[str, ...] = ()


class SoakReport(msgspec.Struct, frozen=True):
    """One soak. `lasted_s`: while faults were made; `stopped`: before its time, by a person."""

    seed: int
    lasted_s: float
    stopped: bool
    settings: dict[str, float]
    figures: tuple[Figure, ...]
    shares: tuple[Share, ...]
    times: tuple[Times, ...]
    tasks: Tasks
    held: int
    calls: dict[str, int]
    faults: tuple[Struck, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every figure holds."""
        return all(figure.ok for figure in self.figures)

    def view(self) -> dict[str, Any]:
        """The report in plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {
            "fault": "soak",
            **plain,
            "figures": [figure.view() for figure in self.figures],
            "shares": [{**msgspec.to_builtins(share), "percent": share.percent} for share in self.shares],
            "tasks": {**plain["tasks"], "held": self.held},
            "ok": self.ok,
        }
