"""The picture of an incident: mode bands over the lanes of executors, each attempt a bar, over one axis of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from markupsafe import Markup

from omni.domain.values import Millis
from omni.domain.visible import one_line
from omni.replay.bands import Band, Bar, Gap, Lane, Picture
from omni.web.render import Words
from omni.web.svg import MOST_ROWS, WIDTH, Chart, Scale, axis, el, pattern, picture, rect, short, text

GUTTER = 132.0
MOST_BARS = 240  # in one lane; more of them are drawn as how many ran at a time
MOST_LANES = 16  # those with the most attempts
_TIP_CHARS = 160
_BAND, _ROW, _GAP = 22.0, 12.0, 8.0
_MOST_TRACKS = 8
_THIN = 6.0
_COLUMNS = 200
_TEXTURES = {
    "DEGRADED": "diagonal", "BRAINSTEM": "upright", "gap": "dotted", "interrupted": "diagonal", "failed": "crossed",
}  # fmt: skip
_OPEN = {"planned": "open", "started": "open"}
_WORST = ("failed", "interrupted", "cancelled", "open", "succeeded")


class _Drawing(msgspec.Struct, frozen=True):
    """What every part needs to know."""

    name: str
    scale: Scale
    words: Words
    most_bars: int

    def place(self, begin: Millis, end: Millis | None) -> tuple[float, float]:
        """Left edge and width; what took no time is seen all the same."""
        x = self.scale(begin)
        width = max(2.0, round(self.scale(self.scale.end if end is None else end) - x, 2))
        return min(x, self.scale.left + self.scale.width - width), width

    def when(self, begin: Millis, end: Millis | None) -> str:
        """From when, and for how long."""
        lasted = self.words.t("chart.not_over") if end is None else self.words.duration(end - begin)
        return f"{self.words.local(begin, 'time')}, {lasted}"

    def fill(self, kind: str) -> str | None:
        """The texture of a kind that has one."""
        return f"url(#{self.name}-{kind})" if kind in _TEXTURES else None


def lanes(name: str, drawn: Picture, words: Words, most_bars: int = MOST_BARS) -> Chart:
    """Draw what `omni.replay.bands` found; `name` begins all ids, so that a page can hold several."""
    drawn = _busiest(drawn)
    end = max(drawn.until_ms, drawn.from_ms + 1)
    drawing = _Drawing(name, Scale(drawn.from_ms, end, GUTTER, WIDTH - GUTTER - 8), words, most_bars)
    gaps = [gap for gap in drawn.gaps if gap.from_ms < drawn.until_ms]
    bottom, bars = _BAND + _GAP, []
    for lane in drawn.lanes:
        parts, height = _lane(drawing, lane, bottom)
        bars += parts
        bottom += height + _GAP
    parts = [
        el("defs", *(pattern(f"{name}-{kind}", texture, f"fill-{kind}") for kind, texture in _TEXTURES.items())),
        *(part for band in drawn.bands for part in _band(drawing, band, bottom)),
        *(_gap(drawing, gap, bottom) for gap in gaps),
        *(part for band in drawn.bands for part in _plate(drawing, band)),
        text(words.t("chart.mode"), 0, 15, "soft"),
        *axis(drawing.scale, bottom, words.zone),
        *bars,
        *_legend(drawing, drawn, gaps, bottom + 36),
    ]
    svg = picture(name, words.t("chart.lanes.title"), _about(drawn, words), (WIDTH, bottom + 46), parts)
    return _with_table(svg, drawn, words)


def zoomed(drawn: Picture, from_ms: Millis, until_ms: Millis) -> Picture:
    """The part of a picture between two moments, with whatever reaches into it."""

    def near(begin: Millis, end: Millis | None) -> bool:
        return begin <= until_ms and (end is None or end >= from_ms)

    kept = (
        Lane(lane.executor, tuple(bar for bar in lane.bars if near(bar.from_ms, bar.until_ms))) for lane in drawn.lanes
    )
    return msgspec.structs.replace(
        drawn,
        from_ms=from_ms,
        until_ms=until_ms,
        bands=tuple(band for band in drawn.bands if near(band.from_ms, band.until_ms)),
        lanes=tuple(lane for lane in kept if lane.bars),
        gaps=tuple(gap for gap in drawn.gaps if near(gap.from_ms, gap.until_ms)),
        left_out=0,
    )


def _busiest(drawn: Picture) -> Picture:
    """Of very many lanes those with the most attempts; the attempts of the others count as left out."""
    ranked = sorted(drawn.lanes, key=lambda lane: -len(lane.bars))
    rest = sum(len(lane.bars) for lane in ranked[MOST_LANES:])
    kept = tuple(sorted(ranked[:MOST_LANES], key=lambda lane: lane.executor))
    return msgspec.structs.replace(drawn, lanes=kept, left_out=drawn.left_out + rest) if rest else drawn


def outcome(bar: Bar) -> str:
    """How an attempt went, for people: one without an outcome is open."""
    return _OPEN.get(bar.state, bar.state)


def _band(drawing: _Drawing, band: Band, height: float) -> list[Markup]:
    x, width = drawing.place(band.from_ms, band.until_ms)
    word = drawing.words.word("mode", band.mode)
    tip = f"{word} · {drawing.when(band.from_ms, band.until_ms)}{_because(band.reason, drawing.words)}"
    return [
        rect(x, _BAND, width, height - _BAND, f"tint tint-{band.mode}"),
        rect(x, 0, width, _BAND, f"band band-{band.mode}", el("title", tip), fill=drawing.fill(band.mode)),
    ]


def _plate(drawing: _Drawing, band: Band) -> list[Markup]:
    """The mode's name on its band, where it fits."""
    x, width = drawing.place(band.from_ms, band.until_ms)
    plate = 9 * len(band.mode) + 10
    if width <= plate + 8:
        return []
    return [rect(x + 4, 3, plate, _BAND - 6, "plate", rx=3), text(band.mode, x + 8, 15.5, "band-word")]


def _gap(drawing: _Drawing, gap: Gap, height: float) -> Markup:
    x, width = drawing.place(gap.from_ms, gap.until_ms)
    why = drawing.words.t("chart.crashed" if gap.crashed else "chart.stopped")
    tip = el("title", f"{why} · {drawing.when(gap.from_ms, gap.until_ms)}")
    return rect(x, 0, width, height, "gap", tip, fill=drawing.fill("gap"))


def _lane(drawing: _Drawing, lane: Lane, top: float) -> tuple[list[Markup], float]:
    draw: Callable[[_Drawing, Lane, float], tuple[list[Markup], float]]
    draw = _crowd if len(lane.bars) > drawing.most_bars else _each
    drawn, height = draw(drawing, lane, top)
    label = el("text", el("title", one_line(lane.executor)), short(lane.executor, 18), x=0, y=top + 10, class_="lane")
    rule = el("path", d=f"M0 {top + height + _GAP / 2:g}H{WIDTH:g}", class_="axis")
    return [label, *drawn, rule], height


def _each(drawing: _Drawing, lane: Lane, top: float) -> tuple[list[Markup], float]:
    """One bar for each attempt; those that overlap stand in tracks, and what finds no track shares the last."""
    free: list[float] = []
    drawn: list[Markup] = []
    for bar in sorted(lane.bars, key=lambda each: (each.from_ms, each.from_position)):
        x, width = drawing.place(bar.from_ms, bar.until_ms)
        track = next((n for n, until in enumerate(free) if until <= x), min(len(free), _MOST_TRACKS - 1))
        free[track : track + 1] = [x + width + 1]
        drawn += _bar(drawing, bar, x, top + track * _ROW, width)
    return drawn, max(1, len(free)) * _ROW + 2


def _bar(drawing: _Drawing, bar: Bar, x: float, y: float, width: float) -> list[Markup]:
    """A bar; of one that was cut off, only that part is solid in which it is known to have run."""
    kind = outcome(bar)
    when, why = drawing.when(bar.from_ms, bar.until_ms), _because(bar.reason, drawing.words)
    tip = el("title", f"{_label(bar, drawing.words)} · {when}{why}")
    thin = " thin" if width < _THIN else ""  # too narrow for a texture to be seen
    drawn = [rect(x, y, width, _ROW - 3, f"bar bar-{kind}{thin}", tip, rx=1.5, fill=drawing.fill(kind))]
    if kind == "interrupted" and bar.sure_until_ms is not None:
        sure = min(width, drawing.place(bar.from_ms, bar.sure_until_ms)[1])
        drawn.append(rect(x, y, sure, _ROW - 3, "bar bar-sure", rx=1.5))
    return drawn


def _crowd(drawing: _Drawing, lane: Lane, top: float) -> tuple[list[Markup], float]:
    """Too many for bars: how many ran at a time, each column as bad as the worst that ended in it."""
    counts, worst = _columns(lane.bars, drawing.scale)
    most = max(1, *counts)
    height, width = 3 * _ROW, drawing.scale.width / _COLUMNS
    drawn = [text(drawing.words.t("chart.crowd", n=len(lane.bars), most=most), 0, top + 26, "soft")]
    for n, (count, kind) in enumerate(zip(counts, worst, strict=True)):
        if count:
            tall = round(max(2.0, height * count / most), 2)
            tip = el("title", drawing.words.t("chart.at_once", n=count))
            x = round(drawing.scale.left + n * width, 2)
            drawn.append(rect(x, top + height - tall, round(width, 2), tall, f"bar bar-{kind}", tip))
    return drawn, height + 2


def _columns(bars: Iterable[Bar], scale: Scale) -> tuple[list[int], list[str]]:
    counts, worst = [0] * _COLUMNS, ["succeeded"] * _COLUMNS
    for bar in bars:
        first, last = _column(bar.from_ms, scale), _column(scale.end if bar.until_ms is None else bar.until_ms, scale)
        for n in range(first, last + 1):
            counts[n] += 1
        worst[last] = min(worst[last], outcome(bar), key=_WORST.index)
    return counts, worst


def _column(at: Millis, scale: Scale) -> int:
    return min(_COLUMNS - 1, int((scale(at) - scale.left) / scale.width * _COLUMNS))


def _legend(drawing: _Drawing, drawn: Picture, gaps: list[Gap], y: float) -> list[Markup]:
    """The kinds of bars that are there, a stretch without a daemon, and the modes whose name stands on no band."""
    used = {outcome(bar) for lane in drawn.lanes for bar in lane.bars}
    kinds = [(f"bar bar-{kind}", kind, drawing.words.word("state", kind)) for kind in reversed(_WORST) if kind in used]
    kinds += [("gap", "gap", drawing.words.t("chart.stopped"))] if gaps else []
    named = {band.mode for band in drawn.bands if _plate(drawing, band)}
    modes = dict.fromkeys(band.mode for band in drawn.bands if band.mode not in named)
    kinds += [(f"band band-{mode}", mode, drawing.words.word("mode", mode)) for mode in modes]
    said, x = [], GUTTER
    for class_, kind, word in kinds:
        said += [rect(x, y - 8, 18, 9, class_, rx=1.5, fill=drawing.fill(kind)), text(word, x + 24, y, "soft")]
        said += [rect(x, y - 8, 9, 9, "bar bar-sure", rx=1.5)] if kind == "interrupted" else []
        x += 44 + sum(11 if ord(char) > 255 else 6.5 for char in word)
    return said


def _about(drawn: Picture, words: Words) -> str:
    told = [f"{words.word('mode', b.mode)} {_lasted(b.from_ms, b.until_ms, drawn, words)}" for b in drawn.bands[:12]]
    modes = words.t("join.list").join(told) + (" …" if len(drawn.bands) > 12 else "")
    attempts = sum(len(lane.bars) for lane in drawn.lanes) + drawn.left_out
    return words.t("chart.lanes.about", modes=modes, lanes=len(drawn.lanes), n=attempts)


def _with_table(svg: Markup, drawn: Picture, words: Words) -> Chart:
    rows = [
        (words.t("chart.mode"), words.word("mode", b.mode), words.local(max(b.from_ms, drawn.from_ms), "exact"),
         _lasted(b.from_ms, b.until_ms, drawn, words), short(b.reason, _TIP_CHARS))
        for b in drawn.bands
    ]  # fmt: skip
    rows += [
        (words.t("chart.daemon"), words.t("chart.crashed" if g.crashed else "chart.stopped"),
         words.local(g.from_ms, "exact"), _lasted(g.from_ms, g.until_ms, drawn, words), "")
        for g in drawn.gaps if g.from_ms < drawn.until_ms
    ]  # fmt: skip
    rows += [_row(lane, bar, drawn, words) for lane in drawn.lanes for bar in lane.bars]
    head = tuple(words.t(key) for key in _HEAD)
    return Chart(svg, head, tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS) + drawn.left_out, drawn.left_out)


_HEAD = ("chart.head.lane", "chart.head.what", "chart.head.from", "chart.head.lasted", "chart.head.about")


def _row(lane: Lane, bar: Bar, drawn: Picture, words: Words) -> tuple[str, str, str, str, str]:
    about = f"{words.t('chart.attempt', task=bar.task_id[:18], n=bar.n)}{_because(bar.reason, words)}"
    lasted = _lasted(bar.from_ms, bar.until_ms, drawn, words, clip=False)
    return one_line(lane.executor), words.word("state", outcome(bar)), words.local(bar.from_ms, "exact"), lasted, about


def _lasted(begin: Millis, end: Millis | None, drawn: Picture, words: Words, *, clip: bool = True) -> str:
    """How long it lasted, of a band within the stretch alone."""
    if end is None and not clip:
        return words.t("chart.not_over")
    until = drawn.until_ms if end is None else end
    if clip:
        begin, until = max(begin, drawn.from_ms), min(until, drawn.until_ms)
    return words.duration(max(0, until - begin))


def _label(bar: Bar, words: Words) -> str:
    return f"{words.t('chart.attempt', task=bar.task_id[:18], n=bar.n)} · {words.word('state', outcome(bar))}"


def _because(reason: str, words: Words) -> str:
    return f"{words.t('join.why')}{short(reason, _TIP_CHARS)}" if reason else ""
