"""The outbox: what is owed to whom, in which order, and when it is tried again.

Theory of operation. A notice is owed to every sink of the boot that serves it. A lane is one sink and one address: the
owner's, or that of whoever asked for an answer. Within a lane notices go in order, one at a time; lanes know nothing of
each other, so that a sink that is dead holds up nobody.

    queued ──Deliver──▶ delivered ──▶ the next of the lane
       ▲  ├──gone, or not ok after 24 h──▶ dropped ──▶ the next of the lane
       │  └──not ok──▶ delayed ──30 s, 60 s … 10 min, or its executor is back──▶ Deliver, under the same key
       └── quiet hours: in the lanes that reach people only their exceptions are due; at the end the rest, in order

What was sent and got no answer is sent again after a restart; whoever receives a key twice has told it already.

Whoever wants something told says it again after a restart, too, under the same name. Names are remembered, the newest
REMEMBERED of them; of what stood in the log before those that are forgotten, everything has been heard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.draft import NAME, TIMERS, Draft, brief
from omni.domain.effects import Send
from omni.domain.ledger import DAY_MS
from omni.domain.system import Lane, Notice, SystemState, serves
from omni.domain.values import Millis, NoticeSink, QuietHours

NOTIFIER = "notifier"
TIMER = "outbox"

NOTICE_BACKOFF_MS = 30_000
NOTICE_BACKOFF_CAP_MS = 600_000
NOTICE_LIFE_MS = DAY_MS
OUTBOX_LIMIT = 1_000  # of one sink: what nobody has taken by then is old news
MINUTE_MS = 60_000
LOOK_MS = 600_000  # a machine that slept through the end of the quiet hours is late by no more than this
ANSWER = "task_answer"
ANSWER_CHARS = 3_500


def tell(draft: Draft, wish: cmd.Tell) -> None:
    """Queue a notice, unless it was heard of; its key is its place in the stream, which nothing else ever has."""
    state, to = draft.state, wish.to
    if wish.dedup and (wish.dedup in state.dedups or 0 < wish.about <= state.heard_to):
        return
    lanes = _lanes_for(state, draft, to)
    for lane in lanes:
        _make_room(draft, lane)
    key = f"{wish.kind}:{draft.version + len(draft.events) + 1}:{draft.at}"
    notice = Notice(key, wish.kind, _kept(wish.kind, wish.facts), draft.at, to)
    draft.note(ev.NoticeQueued(key, wish.kind, notice.facts, wish.dedup, to, wish.about))
    for lane in lanes:
        _begin(draft, lane, notice)
        draft.queued[lane] += 1
    if not lanes:
        draft.note(ev.NoticeDropped(key, _why_nobody(state, to)))


def answered(state: SystemState, answer: cmd.Delivered, draft: Draft) -> None:
    """A sink has taken a notice, or has not; an answer for what is owed to it no more changes nothing."""
    notice = state.outbox.get(answer.key)
    lane = (answer.sink, notice.to if notice else "")
    if notice is None or answer.key not in state.lanes.get(lane, ()) or _sink_of(state, lane) is None:
        return
    if not answer.ok and not answer.gone and draft.at - notice.at < NOTICE_LIFE_MS:
        _failed(draft, lane, notice, answer.detail)
    elif answer.ok:
        draft.note(ev.NoticeDelivered(answer.key, answer.sink))
        _go_on(draft, lane, but=answer.key)
    else:
        draft.note(ev.NoticeDropped(answer.key, brief(answer.detail), answer.sink))
        _go_on(draft, lane, but=answer.key)


def ring(state: SystemState, address: str, draft: Draft) -> None:
    """The time of a lane has come: what is due there goes out."""
    sink, _, to = address.partition(":")
    _go_on(draft, (sink, to))


def back(state: SystemState, executor: str, draft: Draft) -> None:
    """An executor that carries what is told is there again: what has failed before need not wait any longer."""
    for lane, keys in state.lanes.items():
        sink = _sink_of(state, lane)
        if sink is not None and sink.executor == executor and any(keys.values()):
            _go_on(draft, lane)


def owed(state: SystemState) -> Iterator[Send]:
    """What may have been lost on its way. Where quiet hours may forbid it, a timer asks what time it is."""
    for lane, keys in state.lanes.items():
        sink = _sink_of(state, lane)
        if not keys or sink is None:
            continue
        if sink.people and state.telling.quiet and not lane[1]:
            yield Send(TIMERS, cmd.WakeIn(NAME, 0, _timer(lane)))
        else:
            yield _deliver(lane, state.outbox[next(iter(keys))])


def unserved(state: SystemState) -> Iterator[ev.NoticeDropped]:
    """Settle what is owed to sinks that this boot does not have, or not for that."""
    for lane, keys in state.lanes.items():
        if _sink_of(state, lane) is None:
            for key in keys:
                yield ev.NoticeDropped(key, f"the sink {lane[0]} is not configured any more", lane[0])
    held = {key for keys in state.lanes.values() for key in keys}
    for key, notice in state.outbox.items():
        if key not in held:
            yield ev.NoticeDropped(key, _why_nobody(state, notice.to))


def due(state: SystemState, lane: Lane, at: Millis, but: str = "") -> Notice | None:
    """The first notice of a lane that may be told now; `but` is being settled."""
    keys = (key for key in state.lanes.get(lane, ()) if key != but)
    return next((state.outbox[key] for key in keys if _may_tell(state, lane, state.outbox[key].kind, at)), None)


def quiet_ms(quiet: QuietHours, at: Millis) -> int:
    """How long the quiet hours go on; 0 outside them."""
    now = (at + quiet.utc_offset_ms) % DAY_MS
    start, end = quiet.from_min * MINUTE_MS, quiet.to_min * MINUTE_MS
    return (end - now) % DAY_MS if (now - start) % DAY_MS < (end - start) % DAY_MS else 0


def notice_backoff_ms(key: str, tries: int) -> int:
    """Milliseconds before the next try after `tries` earlier failures: doubling, capped, ± 25 % by a hash."""
    base = min(NOTICE_BACKOFF_CAP_MS, NOTICE_BACKOFF_MS << min(tries, 16))
    spread = int.from_bytes(hashlib.sha256(f"{key}:{tries}".encode()).digest()[:2]) / 65_535
    return int(base * (0.75 + 0.5 * spread))


def _sink_of(state: SystemState, lane: Lane) -> NoticeSink | None:
    """The sink of a lane, if this boot has it and it serves such notices."""
    sink = state.sink(lane[0])
    return sink if sink is not None and serves(sink, lane[1]) else None


def _failed(draft: Draft, lane: Lane, notice: Notice, detail: str) -> None:
    if due(draft.state, lane, draft.at) is not notice:  # sent before the quiet hours began or ended
        _go_on(draft, lane)
        return
    delay_ms = notice_backoff_ms(notice.key, draft.state.lanes[lane][notice.key])
    draft.note(ev.NoticeDelayed(notice.key, brief(detail), draft.at + delay_ms, lane[0]))
    draft.wake_in(delay_ms, _timer(lane))


def _begin(draft: Draft, lane: Lane, notice: Notice) -> None:
    """Send a new notice unless one before it is on its way."""
    if due(draft.state, lane, draft.at) or lane in draft.begun:
        return
    if _may_tell(draft.state, lane, notice.kind, draft.at):
        draft.begun.add(lane)
        draft.sends.append(_deliver(lane, notice))
    else:
        _wait(draft, lane)


def _go_on(draft: Draft, lane: Lane, but: str = "") -> None:
    """Send what is due in a lane; where people sleep, ask again."""
    if notice := due(draft.state, lane, draft.at, but):
        draft.sends.append(_deliver(lane, notice))
    elif any(key != but for key in draft.state.lanes.get(lane, ())):
        _wait(draft, lane)


def _wait(draft: Draft, lane: Lane) -> None:
    assert draft.state.telling.quiet is not None
    draft.wake_in(min(LOOK_MS, quiet_ms(draft.state.telling.quiet, draft.at)), _timer(lane))


def _may_tell(state: SystemState, lane: Lane, kind: str, at: Millis) -> bool:
    sink, quiet = state.sink(lane[0]) or NoticeSink(""), state.telling.quiet
    if quiet is None or lane[1] or not sink.people or kind in quiet.kinds:
        return True
    return not quiet_ms(quiet, at)


def _lanes_for(state: SystemState, draft: Draft, to: str) -> list[Lane]:
    lanes = [(sink.name, to) for sink in state.telling.sinks if serves(sink, to)]
    return [] if to and _answers(state, draft) >= OUTBOX_LIMIT else lanes


def _answers(state: SystemState, draft: Draft) -> int:
    """How many answers wait, whomever they are for; who asks from many addresses gets no more room than others."""
    waiting = sum(len(keys) for (_, to), keys in state.lanes.items() if to)
    return waiting + sum(count for (_, to), count in draft.queued.items() if to)


def _why_nobody(state: SystemState, to: str) -> str:
    if to and any(serves(sink, to) for sink in state.telling.sinks):
        return f"more than {OUTBOX_LIMIT} answers wait"
    return f"no sink reaches {to}" if to else "there is no sink"


def _make_room(draft: Draft, lane: Lane) -> None:
    """Drop what waits longest behind the one that is on its way."""
    keys = draft.state.lanes.get(lane, ())
    over = len(keys) + draft.queued[lane] - OUTBOX_LIMIT
    if over >= 0:
        now = due(draft.state, lane, draft.at)
        oldest = [key for key in keys if now is None or key != now.key][over]
        draft.note(ev.NoticeDropped(oldest, f"more than {OUTBOX_LIMIT} notices wait", lane[0]))


def _kept(kind: str, facts: dict[str, str]) -> dict[str, str]:
    return {k: brief(v, ANSWER_CHARS) if (kind, k) == (ANSWER, "text") else brief(v) for k, v in facts.items()}


def _timer(lane: Lane) -> str:
    return f"{TIMER}:{lane[0]}:{lane[1]}" if lane != ("", "") else TIMER


def _deliver(lane: Lane, notice: Notice) -> Send:
    return Send(NOTIFIER, cmd.Deliver(notice.key, notice.kind, notice.facts, notice.at, *lane))
