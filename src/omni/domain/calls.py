"""Every model call on its way: reserved before it goes out, settled when it has ended.

Theory of operation. Both are durable before anything follows from them. A reservation is let go for the open attempt of
a task, or for a client with a key of its own, if it fits under the caps (`omni.domain.budget`). Each call is settled
once: a second word about it changes nothing. One that was open when the daemon died may have been made or not, so its
estimate is kept as spent.
"""

from __future__ import annotations

from msgspec.structs import replace

from omni.domain import budget, orders
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.budget import Ask
from omni.domain.effects import Outcome, Send
from omni.domain.ledger import Reservation, is_unknown
from omni.domain.task import Task
from omni.domain.values import MOST_USD, Capped, Millis

PORT = "port"
CRASHED = "the daemon ended before the call was settled"


def reserve(board: Board, message: cmd.ReserveCall, at: Millis) -> Outcome:
    """Let a call go out, once that is durable, or say why not. The same call asked for twice is let go twice."""
    if message.call in board.ledger.open:
        return Outcome((), [Send(PORT, cmd.CallAnswered(message.request))])
    task = board.tasks.get(message.task_id)
    if message.task_id and not _is_open(task, message.n):
        return Outcome((), [Send(PORT, cmd.CallAnswered(message.request, _stale(message)))])
    over = _over(board, message, task, at) if message.paid else None
    return _granted(message, task) if over is None else _turned_down(board, message, task, over)


def settle(board: Board, message: cmd.SettleCall) -> ev.CallSettled | None:
    """What a call came to; None for one that is not open: it was settled before, or never reserved."""
    call = board.ledger.open.get(message.call)
    if call is None:
        return None
    settled = ev.CallSettled(
        message.call,
        message.verdict,
        _price(message.billed_usd),
        _price(message.imputed_usd),
        message.source,
        message.usage,
        message.model,
        message.first_byte_ms,
        message.duration_ms,
        message.detail,
    )
    return replace(settled, kept_usd=call.charge_usd) if is_unknown(call, settled) else settled


def stream_of(board: Board, call: Reservation) -> str:
    """Where the end of a call is written: its task's stream, unless the task has left memory."""
    task = board.tasks.get(call.task_id)
    return task.stream if task else ev.CALLS_STREAM


def left_behind(board: Board) -> list[tuple[str, ev.CallSettled]]:
    """Settle what an earlier boot left open: nobody knows whether it was made, so its estimate stays spent."""
    return [
        (stream_of(board, call), ev.CallSettled(call.call, "unknown", detail=CRASHED, kept_usd=call.charge_usd))
        for call in board.ledger.open.values()
    ]


def _over(board: Board, message: cmd.ReserveCall, task: Task | None, at: Millis) -> Capped | None:
    """The cap that a paid call does not fit under; the one that stopped its task already goes on doing so."""
    rules, day = board.settings.budget, budget.today(board, at)
    if task is not None and task.capped is not None:
        return task.capped
    ask = Ask(message.tier, message.channel, _price(message.estimate_usd))
    cap = budget.hit(budget.caps(board, rules, task, day, ask), ask)
    return None if cap is None else budget.capped(cap, rules.at_cap, day, ask)


def _granted(message: cmd.ReserveCall, task: Task | None) -> Outcome:
    reserved = ev.CallReserved(
        message.call,
        message.channel,
        message.model,
        message.mode,
        message.n,
        message.client,
        message.paid,
        _price(message.estimate_usd),
        message.tier,
    )
    return Outcome([(_stream(task), reserved)], [Send(PORT, cmd.CallAnswered(message.request))])


def _turned_down(board: Board, message: cmd.ReserveCall, task: Task | None, over: Capped) -> Outcome:
    """Refuse a call; the attempt that wanted it is asked to stop, once, unless a free call will do.

    Of a client it is written down once a day for each cap: one that asks again and again must not fill the log.
    """
    degrade = over.at_cap == "degrade"
    answer = Send(PORT, cmd.CallAnswered(message.request, _over_budget(message, over), degrade))
    known = board.ledger.refused.get((message.client, over.cap)) == over.day
    if known if task is None else task.capped is not None:
        return Outcome((), [answer])
    refused = ev.CallRefused(message.call, over.cap, over.reason, message.n, message.client, over)
    return Outcome([(_stream(task), refused)], [answer, *([] if degrade else _stop(task))])


def _stop(task: Task | None) -> list[Send]:
    attempt = task.open_attempt if task else None
    if task is None or attempt is None:
        return []
    return [orders.stop(task, attempt)]


def _price(usd: float | None) -> float | None:
    """An amount that can be one: what is negative or no number opens every budget, what is absurd spoils every sum."""
    return usd if usd is not None and 0.0 <= usd <= MOST_USD else None


def _stream(task: Task | None) -> str:
    return task.stream if task else ev.CALLS_STREAM


def _is_open(task: Task | None, n: int) -> bool:
    """Whether an attempt may still buy: it runs, and nobody has asked it to stop."""
    attempt = task.open_attempt if task and not task.cancel_requested else None
    return attempt is not None and attempt.n == n


def _stale(message: cmd.ReserveCall) -> cmd.Refusal:
    told = f"attempt {message.n} of task {message.task_id} has ended or is to stop: its key buys no more model calls"
    return cmd.Refusal("stale_key", told, f"omni task show {message.task_id}")


def _over_budget(message: cmd.ReserveCall, over: Capped) -> cmd.Refusal:
    where = f"omni task show {message.task_id}" if message.task_id else "omni costs --by day"
    return cmd.Refusal("over_budget", over.reason, where)
