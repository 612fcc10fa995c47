"""SVG by hand: elements, patterns, and time axes. Presentation attributes and classes only, for a strict CSP."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

import msgspec
from markupsafe import Markup

from omni.domain.values import Millis
from omni.domain.visible import one_line

WIDTH = 960.0  # of every picture, in its own units
MOST_ROWS = 200  # of the table beside a picture
_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
_STEPS: tuple[Millis, ...] = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 56, 91, 182, 364)),
)
# What a tick says, by the width of a step: the first row whose bound is not reached.
_TICK_FORMS = ((_SECOND, "%H:%M:%S.%f"), (_MINUTE, "%H:%M:%S"), (_DAY, "%H:%M"), (56 * _DAY, "%m-%d"))
# Lines of each texture, in a tile of 6 × 6: what tells two fills apart where colours do not.
TEXTURES = {
    "diagonal": "M-1 1L1 -1M0 6L6 0M5 7L7 5",
    "upright": "M1.5 0V6M4.5 0V6",
    "level": "M0 1.5H6M0 4.5H6",
    "crossed": "M0 0L6 6M6 0L0 6",
    "dotted": "M1 1h1M4 4h1",
}


class Chart(msgspec.Struct, frozen=True):
    """A picture and the same as a table. `left_out` rows are not in the table, `undrawn` things not in the picture."""

    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0
    undrawn: int = 0


class Scale(msgspec.Struct, frozen=True):
    """Where a moment stands on a picture: `begin` at `left`, `end` at `left + width`."""

    begin: Millis
    end: Millis
    left: float
    width: float

    def __call__(self, at: Millis) -> float:
        """The place of a moment; what lies outside stands at the edge."""
        part = (min(max(at, self.begin), self.end) - self.begin) / max(1, self.end - self.begin)
        return round(self.left + part * self.width, 2)


def el(name: str, *children: str, **attributes: object) -> Markup:
    """One element; `class_` stands for `class`, underscores for dashes, and None leaves an attribute out."""
    said = Markup().join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, Markup().join(children))  # noqa: S704 - our own names


def text(said: str, x: float, y: float, class_: str | None = None, anchor: str | None = None) -> Markup:
    """Words at a place."""
    return el("text", said, x=x, y=y, class_=class_, text_anchor=anchor)


def rect(x: float, y: float, width: float, height: float, class_: str, *children: str, **more: object) -> Markup:
    """A box."""
    return el("rect", *children, x=x, y=y, width=width, height=height, class_=class_, **more)


def picture(name: str, title: str, about: str, size: tuple[float, float], parts: Iterable[str]) -> Markup:
    """The whole picture. `name` begins its ids, so that a page can hold several; `about` says what it shows."""
    width, height = size
    return el(
        "svg",
        el("title", title, id=f"{name}-title"),
        el("desc", about, id=f"{name}-about"),
        *parts,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-about",
    )


def pattern(name: str, texture: str, class_: str) -> Markup:
    """A texture to fill with as `url(#name)`; its class gives ground (`fill`) and lines (`stroke`)."""
    ground = rect(0, 0, 6, 6, f"{class_} ground")
    lines = el("path", d=TEXTURES[texture], class_=f"{class_} lines")
    return el("pattern", ground, lines, id=name, width=6, height=6, patternUnits="userSpaceOnUse")


def axis(scale: Scale, y: float, zone: tzinfo | None) -> list[Markup]:
    """A line of time at `y`, with ticks that run up over the whole picture."""
    drawn = [el("path", d=f"M{scale.left:g} {y:g}H{scale.left + scale.width:g}", class_="axis")]
    for at, said in ticks(scale.begin, scale.end, zone):
        x = scale(at)
        drawn.append(el("path", d=f"M{x:g} 0V{y + 4:g}", class_="grid"))
        drawn.append(text(said, x, y + 16, "soft", "end" if x > WIDTH - 30 else "middle"))
    return drawn


def short(name: str, most: int) -> str:
    """A name from outside as a label."""
    words = one_line(name)
    return words if len(words) <= most else words[: most - 1] + "…"


def ticks(begin: Millis, end: Millis, zone: tzinfo | None, most: int = 8) -> list[tuple[Millis, str]]:
    """Round moments of the local clock between two moments, with what to write at them; at most about `most`."""
    longest = _STEPS[-1] * max(1, -(-(end - begin) // (most * _STEPS[-1])))
    step = next((each for each in _STEPS if (end - begin) / each <= most), longest)
    offset = _offset(begin, zone)
    first = -(-(begin + offset) // step) * step - offset
    form = next((form for bound, form in _TICK_FORMS if step < bound), "%Y-%m")
    said = []
    for at in range(first, end + 1, step):
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
        midnight = step < _DAY and (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)
        said.append((at, local.strftime("%m-%d" if midnight else form)[: 12 if form.endswith("%f") else None]))
    return said


def _offset(at: Millis, zone: tzinfo | None) -> Millis:
    offset = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
