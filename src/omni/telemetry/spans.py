"""From recorded events to spans: a fold beside the log, like the metrics.

    task                created ──────────────────────────────────▶ ended
      attempt           planned ──────────────────▶ ended
        tools/call         started (sent) ────────▶ ended
          chat                reserved ──▶ settled

A span is made when what it stands for has ended. Where a daemon died in between, the next one knows from the log when
it began. Model calls of clients without a task are a trace each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.task import Task
from omni.domain.values import Millis, Usage
from omni.eventlog.store import Entry
from omni.telemetry import genai
from omni.telemetry.context import Parents, span_id, trace_id

Kind: TypeAlias = Literal["internal", "client", "server"]
Attributes: TypeAlias = dict[str, str | int | float]
_ID_STARTS = len(ev.TASK_PREFIX)


class Span(msgspec.Struct, frozen=True):
    """One finished span. `parent` is 0 for the first of a trace; a client that came with one may want it not kept."""

    name: str
    kind: Kind
    trace: int
    id: int
    parent: int
    start_ms: Millis
    end_ms: Millis
    attributes: Attributes
    error: str = ""
    sampled: bool = True
    is_remote: bool = False  # the parent


class _Attempt:
    __slots__ = ("executor", "n", "planned_at", "started_at", "tier")

    def __init__(self, n: int, executor: str, tier: str, planned_at: Millis, started_at: Millis | None = None) -> None:
        self.n = n
        self.executor = executor
        self.tier = tier
        self.planned_at = planned_at
        self.started_at = started_at


class _Task:
    __slots__ = ("attempt", "created_at", "kind")

    def __init__(self, created_at: Millis, kind: str = "", attempt: _Attempt | None = None) -> None:
        self.created_at = created_at
        self.kind = kind
        self.attempt = attempt


class Spans:
    """The fold. `tool_of` says by which tool an executor is called. Not safe on several threads."""

    def __init__(self, parents: Parents, tool_of: Callable[[str], str]) -> None:
        self._parents = parents
        self._tool_of = tool_of
        self._tasks: dict[str, _Task] = {}
        self._calls: dict[str, tuple[ev.CallReserved, Millis]] = {}

    def begin(self, board: Board) -> None:
        """Know what was open when the daemon began; of open model calls the log will say no more than their end."""
        for task in board.tasks.values():
            if not task.ended:
                self._tasks.setdefault(task.id, _known(task))

    def ended(self, entries: Iterable[Entry]) -> Iterator[Span]:
        """The spans that end with these events."""
        for entry in entries:
            handle = _HANDLERS.get(type(entry.event))
            if handle is not None:
                yield from handle(self, entry.stream[_ID_STARTS:], entry.event, entry.at_ms)

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _created(self, task_id: str, event: ev.TaskCreated, at: Millis) -> Iterable[Span]:
        self._tasks[task_id] = _Task(at)
        return ()

    def _routed(self, task_id: str, event: ev.TaskRouted, at: Millis) -> Iterable[Span]:
        if task := self._tasks.get(task_id):
            task.kind = event.kind
        return ()

    def _finished(self, task_id: str, event: Any, at: Millis) -> Iterator[Span]:
        task = self._tasks.pop(task_id, None)
        if task is None:
            return
        state, remote = ev.TASK_ENDS[type(event)], self._parents.of(task_id)
        attributes: Attributes = {genai.TASK: task_id, genai.TASK_TYPE: task.kind, genai.TASK_STATE: state}
        error = event.error.kind if isinstance(event, ev.TaskFailed) else ""
        above, name = remote.span_id if remote else 0, f"task {task.kind}".rstrip()
        made = self._span(task_id, name, "server", span_id(task_id), above, task.created_at, at, attributes, error)
        yield msgspec.structs.replace(made, is_remote=remote is not None)

    def _span(
        self, task_id: str, name: str, kind: Kind, mine: int, above: int, start: Millis, end: Millis,
        attributes: Attributes, error: str,
    ) -> Span:  # fmt: skip
        """A span in the trace of a task."""
        remote = self._parents.of(task_id)
        trace, sampled = (remote.trace_id, remote.sampled) if remote else (trace_id(task_id), True)
        return Span(name, kind, trace, mine, above, start, end, attributes, error, sampled)

    # --- attempts -------------------------------------------------------------------------------------------------

    def _planned(self, task_id: str, event: ev.AttemptPlanned, at: Millis) -> Iterable[Span]:
        if task := self._tasks.get(task_id):
            task.attempt = _Attempt(event.n, event.route.executor, event.route.tier, at)
        return ()

    def _started(self, task_id: str, event: ev.AttemptStarted, at: Millis) -> Iterable[Span]:
        task = self._tasks.get(task_id)
        if task and task.attempt and task.attempt.n == event.n:
            task.attempt.started_at = at
        return ()

    def _tried(self, task_id: str, event: Any, at: Millis) -> Iterator[Span]:
        task = self._tasks.get(task_id)
        if task is None or task.attempt is None or task.attempt.n != event.n:
            return
        attempt, task.attempt = task.attempt, None
        state = ev.ATTEMPT_ENDS[type(event)]
        error = event.error.kind if isinstance(event, ev.AttemptFailed) else "" if state == "succeeded" else state
        if attempt.started_at is not None:
            yield self._tool_call(task_id, attempt, attempt.started_at, at, error)
        attributes: Attributes = {
            genai.OPERATION: genai.INVOKE_AGENT,
            genai.AGENT_NAME: attempt.executor,
            genai.TASK: task_id,
            genai.ATTEMPT: attempt.n,
            genai.ATTEMPT_STATE: state,
            **({genai.TIER: attempt.tier} if attempt.tier else {}),
        }
        name, mine = f"{genai.INVOKE_AGENT} {attempt.executor}", span_id(task_id, attempt.n)
        above, start = span_id(task_id), attempt.planned_at
        yield self._span(task_id, name, "internal", mine, above, start, at, attributes, error)

    def _tool_call(self, task_id: str, attempt: _Attempt, start: Millis, end: Millis, error: str) -> Span:
        """The call over MCP by which the executor got the attempt; its id went along as the parent of what it does."""
        tool = self._tool_of(attempt.executor)
        attributes: Attributes = {
            genai.OPERATION: genai.EXECUTE_TOOL,
            genai.MCP_METHOD: genai.TOOLS_CALL,
            genai.TOOL_NAME: tool,
            genai.TASK: task_id,
            genai.ATTEMPT: attempt.n,
        }
        name, mine = f"{genai.TOOLS_CALL} {tool}".rstrip(), span_id(task_id, attempt.n, "call")
        return self._span(task_id, name, "client", mine, span_id(task_id, attempt.n), start, end, attributes, error)

    # --- model calls ----------------------------------------------------------------------------------------------

    def _reserved(self, task_id: str, event: ev.CallReserved, at: Millis) -> Iterable[Span]:
        self._calls[event.call] = event, at
        return ()

    def _settled(self, task_id: str, event: ev.CallSettled, at: Millis) -> Iterator[Span]:
        asked, began = self._calls.pop(event.call, (None, at))
        if asked is None:
            return  # of a daemon before us: where it went is not known here
        attributes: Attributes = {
            genai.OPERATION: genai.CHAT,
            genai.PROVIDER: asked.channel,
            genai.REQUEST_MODEL: asked.model,
            genai.RESPONSE_MODEL: event.model or asked.model,
            genai.MODE: asked.mode,
            genai.CALL: event.call,
            **({genai.TASK: task_id, genai.ATTEMPT: asked.n} if asked.n else {}),
            **({genai.TIER: asked.tier} if asked.tier else {}),
            **_figures(event),
        }
        error = "" if event.verdict == "ok" else event.verdict
        name = f"{genai.CHAT} {asked.model}"
        mine = span_id(event.call)
        if asked.n:
            above = span_id(task_id, asked.n, "call")
            yield self._span(task_id, name, "client", mine, above, began, at, attributes, error)
        else:
            yield Span(name, "client", trace_id(event.call), mine, 0, began, at, attributes, error)


def _known(task: Task) -> _Task:
    known = _Task(task.created_at, task.kind)
    if attempt := task.open_attempt:
        route = attempt.route
        known.attempt = _Attempt(attempt.n, route.executor, route.tier, attempt.planned_at, attempt.started_at)
    return known


def _figures(event: ev.CallSettled) -> Attributes:
    found = {
        genai.COST_BILLED: event.billed_usd,
        genai.COST_IMPUTED: event.imputed_usd,
        genai.FIRST_BYTE_MS: event.first_byte_ms,
        **_tokens(event.usage),
    }
    return {name: value for name, value in found.items() if value is not None}


def _tokens(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {
        genai.INPUT_TOKENS: usage.input_tokens,
        genai.OUTPUT_TOKENS: usage.output_tokens,
        genai.CACHE_READ_TOKENS: usage.cache_read_tokens,
        genai.CACHE_WRITE_TOKENS: usage.cache_write_tokens,
    }


# ruff: noqa: SLF001 - the table belongs to the class
_HANDLERS: dict[type[Any], Callable[[Spans, str, Any, Millis], Iterable[Span]]] = {
    ev.TaskCreated: Spans._created,
    ev.TaskRouted: Spans._routed,
    **dict.fromkeys(ev.TASK_ENDS, Spans._finished),
    ev.AttemptPlanned: Spans._planned,
    ev.AttemptStarted: Spans._started,
    **dict.fromkeys(ev.ATTEMPT_ENDS, Spans._tried),
    ev.CallReserved: Spans._reserved,
    ev.CallSettled: Spans._settled,
}
