"""A stretch of the log as a Chrome trace in JSON, which ui.perfetto.dev and chrome://tracing open.

    process Omni        a track for the mode, one for outages, one for the instants that explain them
    process executors   a track for each executor, and more where it does several things at a time; arrows join the
                        attempts of one task
    process calls       the model calls of a task, or of a client, from their reservation to their end

Times are wall-clock microseconds since the epoch. A slice ends where it is last known to have gone on: one that was cut
off by a crash ends with the last word of the daemon that died, and one that had not ended ends with the stretch; its
`args` say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as count_from
from typing import Any, BinaryIO, TypeAlias

import msgspec

from omni import __version__
from omni.domain import events as ev
from omni.domain.values import Millis
from omni.replay.bands import Bar, Picture, picture
from omni.replay.history import Count, History, nothing
from omni.replay.timeline import MODE_EDGE, Row, Wanted, timeline

TraceEvent: TypeAlias = dict[str, Any]
OMNI, EXECUTORS, CALLS = 1, 2, 3  # process ids; thread ids are made as they are needed
MODE, OUTAGES, INSTANTS = 1, 2, 3
INSTANT_EVENTS = (
    "health.", "system.started", "system.stopped", "system.suspended", "system.restored", "system.repair",
    "system.drill", "system.loss", "task.held", "task.suspended", "task.restored", "attempt.interrupted",
    "attempt.late",
)  # fmt: skip
BARS_KEPT = 200_000  # some hundred megabytes; more than that no viewer opens with pleasure
_NEVER: Millis = 1 << 62
_PROCESSES = {OMNI: "Omni", EXECUTORS: "executors", CALLS: "model calls"}
_OWN_TRACKS = {MODE: "mode", OUTAGES: "no daemon", INSTANTS: "events"}


def write_trace(
    history: History, out: BinaryIO, after: int = 0, until: int | None = None, count: Count = nothing
) -> int:
    """Write the trace, event by event, and give their number. Memory: BARS_KEPT attempts, and the calls under way."""
    until = history.reader.head.position if until is None else until
    drawn = picture(history, after, until, count, BARS_KEPT)
    about = {"omni": __version__, "after": after, "until": until, "attempts_left_out": drawn.left_out}
    out.write(b'{"displayTimeUnit":"ms","otherData":' + msgspec.json.encode(about) + b',"traceEvents":[')
    written = 0
    for written, event in enumerate(_events(history, drawn, count), 1):
        out.write((b",\n" if written > 1 else b"\n") + msgspec.json.encode(event))
    out.write(b"\n]}\n")
    return written


def _events(history: History, drawn: Picture, count: Count) -> Iterator[TraceEvent]:
    yield from _names()
    yield from _modes(drawn)
    yield from _outages(drawn)
    yield from _attempts(drawn)
    yield from _calls(history, drawn)
    for row in timeline(history, Wanted(after=drawn.after, until=drawn.until, events=INSTANT_EVENTS), count):
        yield _instant(row)


def _names() -> Iterator[TraceEvent]:
    for pid, name in _PROCESSES.items():
        yield _named("process_name", pid, 0, name)
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid, name in _OWN_TRACKS.items():
        yield _named("thread_name", OMNI, tid, name)


def _modes(drawn: Picture) -> Iterator[TraceEvent]:
    for band in drawn.bands:
        until = drawn.until_ms if band.until_ms is None else band.until_ms
        args = {"cause": band.cause, "reason": band.reason, "position": band.from_position}
        yield _slice(OMNI, MODE, band.mode, band.from_ms, until, args)


def _outages(drawn: Picture) -> Iterator[TraceEvent]:
    for gap in drawn.gaps:
        until = max(drawn.until_ms, gap.from_ms) if gap.until_ms is None else gap.until_ms
        args = {"position": gap.from_position, "over": gap.until_ms is not None}
        yield _slice(OMNI, OUTAGES, "crashed" if gap.crashed else "stopped", gap.from_ms, until, args)


def _attempts(drawn: Picture) -> Iterator[TraceEvent]:
    last: dict[str, tuple[int, Bar]] = {}  # the newest attempt of each task, and its track
    joins = count_from(1)
    tracks = _Tracks()
    for bar in sorted((bar for lane in drawn.lanes for bar in lane.bars), key=lambda bar: bar.from_position):
        here = tracks.place(bar), bar
        yield _slice(EXECUTORS, here[0], f"{bar.task_id} #{bar.n}", bar.from_ms, _end(bar, drawn), _args(bar))
        if before := last.get(bar.task_id):
            yield from _join(next(joins), before, here, drawn)
        last[bar.task_id] = here
    yield from tracks.named


class _Tracks:
    """Gives each bar a track of its executor on which nothing else goes on meanwhile."""

    def __init__(self) -> None:
        self.named: list[TraceEvent] = []
        self._free: dict[str, list[tuple[int, Millis]]] = {}  # tracks by executor: thread id, and when it is free

    def place(self, bar: Bar) -> int:
        tracks = self._free.setdefault(bar.executor, [])
        at = next((i for i, (_, free) in enumerate(tracks) if free <= bar.from_ms), len(tracks))
        if at == len(tracks):
            tracks.append((len(self.named) + 1, 0))
            more = f" ({at + 1})" if at else ""
            self.named.append(_named("thread_name", EXECUTORS, tracks[at][0], bar.executor + more))
        # What takes no time at all is drawn with a length, and the next one must not lie over it.
        tracks[at] = tracks[at][0], _NEVER if bar.until_ms is None else max(bar.until_ms, bar.from_ms + 1)
        return tracks[at][0]


def _join(number: int, before: tuple[int, Bar], here: tuple[int, Bar], drawn: Picture) -> Iterator[TraceEvent]:
    """An arrow from the end of one attempt to the beginning of the next."""
    flow = {"name": "task", "cat": "task", "id": number, "pid": EXECUTORS}
    end = max(_end(before[1], drawn) * 1_000 - 1, before[1].from_ms * 1_000)
    yield {"ph": "s", **flow, "tid": before[0], "ts": end}
    yield {"ph": "f", "bp": "e", **flow, "tid": here[0], "ts": here[1].from_ms * 1_000}


def _calls(history: History, drawn: Picture) -> Iterator[TraceEvent]:
    """Calls overlap as they like, so they are spans by id. One that was reserved before the stretch is left out."""
    under_way: dict[str, TraceEvent] = {}
    calls = history.reader.facts(drawn.after, (), until=drawn.until, types=("call.reserved", "call.settled"))
    for position, stream, at_ms, event in calls:
        if isinstance(event, ev.CallReserved):
            span = {
                "cat": "call",
                "id": event.call,
                "name": f"{event.model} at {event.channel}",
                "pid": CALLS,
                "tid": 1,
            }
            under_way[event.call] = span
            task = stream.removeprefix(ev.TASK_PREFIX) if stream != ev.CALLS_STREAM else ""
            args = {"task": task, "attempt": event.n, "client": event.client, "position": position}
            yield {"ph": "b", **span, "ts": at_ms * 1_000, "args": args}
        elif (span := under_way.pop(event.call, {})) != {}:
            args = {"verdict": event.verdict, "billed_usd": event.billed_usd, "imputed_usd": event.imputed_usd}
            yield {"ph": "e", **span, "ts": at_ms * 1_000, "args": args}
    for span in under_way.values():
        yield {"ph": "e", **span, "ts": drawn.until_ms * 1_000, "args": {"open": True}}


def _instant(row: Row) -> TraceEvent:
    args = {"text": row.text, "position": row.position, "task": row.task_id, "mode": row.mode}
    here = {"pid": OMNI, "tid": INSTANTS, "ts": row.at_ms * 1_000}
    return {"ph": "i", "s": "g" if row.type == MODE_EDGE else "t", "name": row.type, **here, "args": args}


def _slice(pid: int, tid: int, name: str, begin: Millis, end: Millis, args: dict[str, Any]) -> TraceEvent:
    """A stretch of a track; at least a microsecond long, for one of no length is not shown."""
    duration = max((end - begin) * 1_000, 1)
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": begin * 1_000, "dur": duration, "args": args}


def _named(what: str, pid: int, tid: int, name: str) -> TraceEvent:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _end(bar: Bar, drawn: Picture) -> Millis:
    """Where the bar is last known to have gone on."""
    known = bar.until_ms if bar.sure_until_ms is None else bar.sure_until_ms
    return drawn.until_ms if known is None else known


def _args(bar: Bar) -> dict[str, Any]:
    state = bar.state if bar.until_ms is not None else f"{bar.state}, not ended"
    args = {"state": state, "reason": bar.reason, "late": bar.late, "position": bar.from_position}
    return {name: value for name, value in args.items() if value != ""}
