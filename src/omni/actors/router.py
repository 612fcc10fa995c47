"""Router: the only writer of task streams. Its rules stand in `omni.domain.dispatch`; here they meet the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from omni.domain import board as boards
from omni.domain import budget, calls, dispatch
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import news as word
from omni.domain.board import OWN_STREAMS, Board, BoardSnapshot, Fact
from omni.domain.effects import Outcome, Send
from omni.domain.folding import fold
from omni.domain.values import Millis, TaskError

NAME = "router"


class Router:
    """Behaviour over the board."""

    name = NAME
    prefixes: tuple[str, ...] = boards.STREAMS
    shape: type[msgspec.Struct] | None = BoardSnapshot

    def initial(self) -> Board:
        return Board()

    def handle(self, state: Board, envelope: cmd.Envelope) -> Outcome:
        return dispatch.decide(state, envelope)

    def settle(self, state: Board, envelope: cmd.Envelope) -> Outcome:
        return dispatch.settle(state, envelope.at)

    def evolve(self, state: Board, stream: str, event: Any, at: Millis, position: int) -> None:
        boards.evolve(state, stream, event, at, position)

    def fold(self, state: Board, facts: Iterable[Fact]) -> None:
        fold(state, facts)

    def version(self, state: Board, stream: str) -> int:
        if stream == ev.ROUTER_STREAM:
            return state.version
        if stream == ev.CALLS_STREAM:
            return state.ledger.version
        task = state.tasks.get(stream[len(ev.TASK_PREFIX) :])
        return task.version if task else 0

    def announce(self, state: Board, touched: Sequence[str]) -> Sequence[Send]:
        """Tell the Gateway the new state of every task that changed, which have left memory, and what was spent."""
        ids = [s[len(ev.TASK_PREFIX) :] for s in touched if s not in OWN_STREAMS]
        changed = tuple(state.tasks[i] for i in ids if i in state.tasks)
        forgotten = tuple(state.take_forgotten())
        news = [Send(dispatch.GATEWAY, cmd.TasksChanged(changed, forgotten))] if ids or forgotten else []
        if state.ledger.take_news():
            news.append(Send(dispatch.GATEWAY, budget.spend(state)))
        return news + word.of(changed, failures=state.settings.tells_failures)

    def owed(self, state: Board, boot: str) -> Sequence[Send]:
        """Attempts and timers again, and the whole board and what was spent for the Gateway."""
        known = [cmd.TasksChanged(tuple(state.tasks.values())), budget.spend(state)]
        told = word.owed(state.tasks.values())
        return [*(Send(dispatch.GATEWAY, each) for each in known), *told, *dispatch.owed(state, boot)]

    def refuse(self, message: Any, refusal: cmd.Refusal) -> Sequence[Send]:
        """Answer a request; let an outcome that cannot be written down fail its attempt, which would else hang."""
        request = getattr(message, "request", None)
        if isinstance(message, cmd.Reconfigure):  # it stands in the log that these settings hold: it waits for the disk
            internal = refusal.kind == "internal"
            return [Send(dispatch.RELOAD, cmd.Reply(message.request, refusal))] if internal else []
        if isinstance(message, cmd.ReserveCall):
            return [Send(calls.PORT, cmd.CallAnswered(message.request, refusal))]
        if request:
            return [Send(dispatch.GATEWAY, cmd.Answered(request, "", refusal))]
        if refusal.kind == "internal" and isinstance(message, cmd.ReportSucceeded):
            error = TaskError("bad_result", f"the result could not be recorded: {refusal.message}", refusal.hint)
            return [Send(NAME, cmd.ReportFailed(message.task_id, message.n, error))]
        return []

    def dump(self, state: Board) -> BoardSnapshot:
        return state.snapshot()

    def load(self, snapshot: BoardSnapshot) -> Board:
        return boards.restore(snapshot)
