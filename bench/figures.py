"""What was measured, beside its goal; printed as a table and kept as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number. `met` is None where there is no goal, or where a quick run is too small to judge."""

    section: str
    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""
    samples: tuple[float, ...] = ()


class Sheet:
    """Collects figures and shows each as soon as it is known."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.skipped: dict[str, str] = {}
        self._section = ""

    def begin(self, section: str, title: str) -> None:
        """Head the figures that follow."""
        self._section = section
        print(f"\n{title}", flush=True)

    def add(
        self,
        what: str,
        value: float | Sequence[float],
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        note: str = "",
    ) -> float:
        """Take down one figure, of several samples their median, and return it."""
        samples = tuple(value) if isinstance(value, Sequence) else (value,)
        middle = statistics.median(samples)
        goal, met = _judge(middle, at_least, at_most)
        kept = tuple(round(each, 4) for each in samples) if len(samples) > 1 else ()
        figure = Figure(self._section, what, round(middle, 4), unit, goal and f"{goal} {unit}", met, note, kept)
        self.figures.append(figure)
        print(_line(figure), flush=True)
        return middle

    def skip(self, why: str) -> None:
        """Say why a section has no figures."""
        self.skipped[self._section] = why
        print(f"  not measured: {why}", flush=True)

    def save(self, path: Path, facts: dict[str, str]) -> None:
        """Write everything down as one JSON document."""
        document = {
            "schema": "omni.bench/1", "machine": facts, "figures": self.figures, "not_measured": self.skipped,
        }  # fmt: skip
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")

    @property
    def missed(self) -> list[Figure]:
        """The figures that fall short of their goal."""
        return [each for each in self.figures if each.met is False]


def _judge(value: float, at_least: float | None, at_most: float | None) -> tuple[str, bool | None]:
    if at_least is not None:
        return f"≥ {at_least:g}", value >= at_least
    if at_most is not None:
        return f"≤ {at_most:g}", value <= at_most
    return "", None


def _line(figure: Figure) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    spread = ""
    if len(figure.samples) > 1:
        spread = f"[{_number(min(figure.samples))} … {_number(max(figure.samples))}]"
    shown = f"{_number(figure.value)} {figure.unit}"
    return f"  {figure.what:<52} {shown:>18}  {spread:<22} {figure.goal:<14} {verdict:<7}{figure.note}".rstrip()


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"
