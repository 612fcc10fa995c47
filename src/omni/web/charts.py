"""Pictures as SVG made on the server: the same in the report and on the dashboard, without script, and on paper.

Every picture says in words what it shows, and comes with the same figures as a table. Colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec
from markupsafe import Markup

from omni.domain.values import Millis
from omni.domain.visible import one_line, usd
from omni.web.lanes import lanes
from omni.web.render import Words
from omni.web.svg import MOST_ROWS, WIDTH, Chart, Scale, axis, el, pattern, picture, rect, short, text

__all__ = ["Chart", "Day", "Point", "bars", "lanes", "line", "spark"]

_SERIES = ((1, ""), (2, "diagonal"), (3, ""), (4, "upright"), (5, "dotted"), (6, "crossed"))

_BAR = 56.0  # the widest that a bar gets


class Day(msgspec.Struct, frozen=True):
    """One bar: amounts by name, and how many calls have no known bill."""

    name: str
    parts: Mapping[str, float]
    unknown: int = 0


class Point(msgspec.Struct, frozen=True):
    """One value over time; None where nothing was measured."""

    at: Millis
    value: float | None


# --- amounts by day ---------------------------------------------------------------------------------------------------


def bars(name: str, days: Sequence[Day], words: Words) -> Chart:
    """One stacked bar a day; the dearest names have fills of their own, the rest is one. Amounts are US dollars."""
    names, rest = _dearest(days)
    most = max((sum(day.parts.values()) for day in days), default=0.0) or 1.0
    height, top, left = 160.0, 16.0, 64.0
    step = (WIDTH - left) / max(1, len(days))
    parts = [el("defs", *(pattern(f"{name}-s{n}", texture, f"fill-series-{n}") for n, texture in _SERIES if texture))]
    parts += _levels(most, left, top, height)
    every = -(-len(days) // 12)
    for at, day in enumerate(days):
        width = min(_BAR, step * 0.76)
        x = left + (at + 0.5) * step - width / 2
        parts += _stack(name, day, names, rest, (x, top + height, width, height / most), words)
        if at % every == 0:
            parts.append(
                text(
                    day.name[5:] if len(day.name) == 10 else day.name,
                    x + width / 2,
                    top + height + 16,
                    "soft",
                    "middle",
                )
            )
    shown = [*names, *([words.t("chart.others")] if rest else [])]
    parts += _series_legend(name, shown, left, top + height + 38)
    total = sum(sum(day.parts.values()) for day in days)
    about = words.t("chart.bars.about", n=len(days), total=usd(total), most=usd(most if total else 0.0))
    svg = picture(name, words.t("chart.bars.title"), about, (WIDTH, top + height + 48), parts)
    head = (words.t("chart.head.day"), *shown, words.t("unknown"))
    rows = [(day.name, *(usd(each) for each in _amounts(day, names, rest)), str(day.unknown or "")) for day in days]
    return Chart(svg, head, tuple(rows[-MOST_ROWS:]), max(0, len(rows) - MOST_ROWS))


def _dearest(days: Sequence[Day]) -> tuple[list[str], set[str]]:
    """At most as many names as there are fills; where there are more, the last fill is for all others."""
    sums: dict[str, float] = {}
    for day in days:
        for each, amount in day.parts.items():
            sums[each] = sums.get(each, 0.0) + amount
    ranked = sorted(sums, key=lambda each: (-sums[each], each))
    if len(ranked) <= len(_SERIES):
        return ranked, set()
    return ranked[: len(_SERIES) - 1], set(ranked[len(_SERIES) - 1 :])


def _amounts(day: Day, names: Sequence[str], rest: set[str]) -> list[float]:
    own = [day.parts.get(each, 0.0) for each in names]
    return [*own, sum(amount for each, amount in day.parts.items() if each in rest)] if rest else own


def _stack(
    name: str, day: Day, names: Sequence[str], rest: set[str], spot: tuple[float, float, float, float], words: Words
) -> list[Markup]:
    x, y, width, per_usd = spot
    said = [*names, *([words.t("chart.others")] if rest else [])]
    drawn = []
    for (n, texture), label, amount in zip(_SERIES, said, _amounts(day, names, rest), strict=False):
        tall = round(amount * per_usd, 2)
        if tall > 0:
            y -= tall
            fill = f"url(#{name}-s{n})" if texture else None
            tip = el("title", f"{day.name} · {one_line(label)} · {usd(amount)}")
            drawn.append(rect(x, y, width, max(0.5, tall - 1), f"series series-{n}", tip, fill=fill))
    if day.unknown:
        tip = el("title", words.t("chart.unknown", n=day.unknown))
        drawn.append(el("text", tip, "?", x=x + width / 2, y=y - 4, class_="mark", text_anchor="middle"))
    return drawn


def _levels(most: float, left: float, top: float, height: float) -> list[Markup]:
    drawn = []
    for part in (0.0, 0.5, 1.0):
        y = top + height * (1 - part)
        drawn.append(el("path", d=f"M{left:g} {y:g}H{WIDTH:g}", class_="grid" if part else "axis"))
        drawn.append(text(usd(most * part), left - 8, y + 4, "soft", "end"))
    return drawn


def _series_legend(name: str, said: Sequence[str], x: float, y: float) -> list[Markup]:
    drawn = []
    for (n, texture), label in zip(_SERIES, said, strict=False):
        fill = f"url(#{name}-s{n})" if texture else None
        word = short(label, 22)
        drawn += [rect(x, y - 9, 14, 10, f"series series-{n}", fill=fill), text(word, x + 20, y, "soft")]
        x += 36 + 6.5 * len(word)
    return drawn


# --- levels over time -------------------------------------------------------------------------------------------------


def line(
    name: str, title: str, points: Sequence[Point], words: Words, *, unit: str = "", limit: float | None = None
) -> Chart:
    """A value over time, with gaps where nothing was measured; `limit` is the level that was promised."""
    known = [p.value for p in points if p.value is not None]
    low, high = _range([*known, *([limit] if limit is not None else [])])
    height, top, left = 140.0, 12.0, 64.0
    scale = Scale(
        points[0].at if points else 0, max(points[-1].at, points[0].at + 1) if points else 1, left, WIDTH - left - 8
    )

    def y(value: float) -> float:
        return round(top + height * (1 - (value - low) / (high - low)), 2)

    parts = [text(f"{v:g}{unit}", left - 8, y(v) + 4, "soft", "end") for v in (low, high)]
    if limit is not None:
        parts += [
            el("path", d=f"M{left:g} {y(limit):g}H{WIDTH - 8:g}", class_="limit"),
            text(words.t("chart.limit", limit=f"{limit:g}{unit}"), WIDTH - 12, y(limit) - 4, "soft", "end"),
        ]
    parts += [el("path", d=_path(points, scale, y), class_="line"), *axis(scale, top + height, words.zone)]
    parts += [
        el("circle", cx=scale(p.at), cy=y(p.value), r=2, class_="dot") for p in points[:400] if p.value is not None
    ]
    said = f"{min(known):g}{unit} – {max(known):g}{unit}" if known else words.t("unknown")
    svg = picture(name, title, words.t("chart.line.about", span=said, n=len(known)), (WIDTH, top + height + 24), parts)
    rows = [(words.local(p.at), words.t("unknown") if p.value is None else f"{p.value:g}{unit}") for p in points]
    head = (words.t("chart.head.from"), title)
    return Chart(svg, head, tuple(rows[-MOST_ROWS:]), max(0, len(rows) - MOST_ROWS))


def spark(values: Sequence[float | None], title: str) -> Markup:
    """A line as high as a word, without an axis; `title` says what it shows."""
    known = [v for v in values if v is not None]
    low, high = _range(known)
    step = 96 / max(1, len(values) - 1)
    places = [
        None if v is None else (round(2 + n * step, 2), round(22 - 20 * (v - low) / (high - low), 2))
        for n, v in enumerate(values)
    ]
    return el(
        "svg", el("title", title), el("path", d=_strokes(places), class_="line"),
        viewBox="0 0 100 24", class_="spark", role="img", width=100, height=24,
    )  # fmt: skip


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05)


def _path(points: Sequence[Point], scale: Scale, y: Callable[[float], float]) -> str:
    return _strokes([None if p.value is None else (scale(p.at), y(p.value)) for p in points])


def _strokes(places: Sequence[tuple[float, float] | None]) -> str:
    """A path through the places, broken where one is missing."""
    steps = []
    for before, here in pairwise([None, *places]):
        if here is not None:
            steps.append(f"{'M' if before is None else 'L'}{here[0]:g} {here[1]:g}")
    return "".join(steps)
