"""Sends spans by the OpenTelemetry SDK, off every path that a task takes. The one module that imports the SDK.

    the writer appends ── take (its thread, a deque) ──▶ our thread: events to spans ──▶ the SDK's batches ──▶ OTLP/HTTP

Where to, with which headers, and how many are kept is said by the variables of the SDK itself (`OTEL_…`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from omni import __version__
from omni.domain.board import Board
from omni.eventlog.store import Entry
from omni.telemetry import genai
from omni.telemetry.context import Parents
from omni.telemetry.spans import Span, Spans

log = structlog.get_logger()

EVERY_S = 0.5
BACKLOG = 4096  # appends; a collector that is slow, or our thread, must not fill the memory
END_WITHIN_S = 2.0
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "server": SpanKind.SERVER}


class _Given(IdGenerator):
    """Ids that were decided before the span is made; used by one thread."""

    def __init__(self) -> None:
        self.trace = 0
        self.span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class Traces:
    """Makes spans of what is recorded, from `start` to `stop`. `take` belongs behind `SqliteEventStore.observe`."""

    def __init__(self, parents: Parents, tool_of: Callable[[str], str], processor: SpanProcessor | None = None) -> None:
        self._spans = Spans(parents, tool_of)
        self._ids = _Given()
        resource = Resource.create({"service.version": __version__, **_service()})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(_exporter()))
        self._tracer = self._provider.get_tracer(genai.INSTRUMENTATION, __version__)
        self._waiting: deque[Sequence[Entry]] = deque(maxlen=BACKLOG)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="omni-traces", daemon=True)

    def start(self, board: Board) -> None:
        """Begin, knowing what is open."""
        self._spans.begin(board)
        self._thread.start()

    def take(self, position: int, entries: Sequence[Entry], append_s: float, commit_s: float) -> None:
        """Note one append; the oldest go where too many wait."""
        self._waiting.append(entries)

    def stop(self) -> None:
        """Send what is left, within a bound, after which it is lost. Blocks."""
        self._over.set()
        self._thread.join(END_WITHIN_S)
        last = threading.Thread(target=self._provider.shutdown, name="omni-traces-end", daemon=True)
        last.start()  # the SDK tries a collector that is not there for longer than anybody waits
        last.join(END_WITHIN_S)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._waiting:
            try:
                for span in self._spans.ended(self._waiting.popleft()):
                    self._send(span)
            except Exception:  # traces must stop no work
                log.exception("traces.failed")

    def _send(self, span: Span) -> None:
        self._ids.trace, self._ids.span = span.trace, span.id
        made = self._tracer.start_span(
            span.name,
            context=_above(span),
            kind=_KINDS[span.kind],
            attributes={**span.attributes, **({genai.ERROR_TYPE: span.error} if span.error else {})},
            start_time=span.start_ms * 1_000_000,
        )
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(span.end_ms * 1_000_000)


def _above(span: Span) -> Any:
    """The parent as the SDK wants it; a client's own word on sampling counts."""
    if not span.parent:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    flags = TraceFlags(TraceFlags.SAMPLED if span.sampled else TraceFlags.DEFAULT)
    above = SpanContext(span.trace, span.parent, is_remote=span.is_remote, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(above))


def _exporter() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _service() -> dict[str, str]:
    import os

    return {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": genai.SERVICE}
