"""Traces: off unless asked for, one from the client over the task to the executor, and nothing of a text in them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.server.clients import values, ws_transport
from tests.server.house import ENVIRONMENT
from tests.server.test_daemon import Home
from tests.telemetry.collector import attributes, collector

from omni.domain import events as ev
from omni.domain.board import Board
from omni.domain.task import created
from omni.domain.task import evolve as evolve_task
from omni.domain.values import Result, Route, TaskError, TaskSpec, Usage
from omni.eventlog.store import Entry
from omni.telemetry import genai
from omni.telemetry.context import Parents, parsed, span_id, trace_id
from omni.telemetry.switch import wanted
from omni.telemetry.traces import Traces

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{CALLER}-01"
CONFIG = f"""
mcp_servers:
  tracer:
    url: stdio
    command: {sys.executable}
    args: [{Path(__file__).with_name("tracing_server.py")}]
    tool: trace
    types: [general]
    needs_cloud: false
"""


LOOK = """
import os, signal, sys
from pathlib import Path
from omni.config import load
from omni.daemon import run

def look():
    print(sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
    os.kill(os.getpid(), signal.SIGTERM)

loaded = load(Path(sys.argv[1]), environ={"OMNI_PORT": "0"})
run(loaded, Path(sys.argv[2]), on_ready=lambda daemon: daemon._loop.call_later(1, look))
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.config.write_text(CONFIG)
    return made


class _Door:
    """What a client needs to know of a daemon."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.headers = home.headers

    def url(self, path: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self._home.port}{path}"


async def done(home: Home, meta: dict[str, Any] | None = None) -> Any:
    """A task that has ended, made by an MCP client that brought this along."""
    async with Client(ws_transport(_Door(home)), mode="auto") as client:  # type: ignore[arg-type]
        asked = {"description": "a very private text", "executor": "tracer", "wait_s": 20}
        return values(await client.call_tool("create_task", asked, meta=meta))  # type: ignore[arg-type]


# --- a real daemon, a real collector --------------------------------------------------------------------------------


def test_a_clients_trace_goes_through_the_task_to_the_executor(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        with collector() as other:
            monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", other.url)
            monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_HEADERS", "x-team=ours")
            async with home.daemon() as daemon:
                task = await done(home, {"traceparent": GIVEN})
                daemon.send_signal(signal.SIGTERM)
                await asyncio.wait_for(daemon.wait(), 20)
            _is_one_trace(other, task)

    asyncio.run(test())


def _is_one_trace(other: Any, task: Any) -> None:
    [whole] = other.named("task general")
    [attempt] = other.named("invoke_agent tracer")
    [call] = other.named("tools/call trace")
    assert {span.trace_id.hex() for span in (whole, attempt, call)} == {TRACE}
    assert whole.parent_span_id.hex() == CALLER
    assert (attempt.parent_span_id, call.parent_span_id) == (whole.span_id, attempt.span_id)
    heard = json.loads(task["result"]["content"])["traceparent"]
    assert heard == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert attributes(whole)[genai.TASK] == task["id"]
    assert attributes(attempt)[genai.OPERATION] == "invoke_agent"
    assert attributes(call)[genai.TOOL_NAME] == "trace"
    assert whole.start_time_unix_nano <= attempt.start_time_unix_nano <= call.start_time_unix_nano
    assert call.end_time_unix_nano <= attempt.end_time_unix_nano <= whole.end_time_unix_nano
    assert other.resources[0]["service.name"] == "omni"
    assert other.headers[0]["x-team"] == "ours"
    assert b"private" not in other.raw


def test_without_a_collector_the_sdk_is_not_loaded_and_nothing_is_passed_on(home: Home) -> None:
    async def test() -> None:
        async with home.daemon():
            task = await done(home, {"traceparent": GIVEN})
            assert json.loads(task["result"]["content"]) == {"traceparent": None}

    asyncio.run(test())
    assert _loaded(home) == "[]"


def test_with_a_collector_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert "opentelemetry.sdk.trace" in _loaded(home)


def _loaded(home: Home) -> str:
    """What a daemon has loaded of the SDK a second after it was ready."""
    command = [sys.executable, "-c", LOOK, str(home.config), str(home.data_dir)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout.strip()


def test_a_collector_that_is_not_there_holds_up_neither_tasks_nor_the_end(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        async with home.daemon() as daemon:
            assert (await done(home))["state"] == "completed"
            began = time.monotonic()
            daemon.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(daemon.wait(), 20) == 0
            assert time.monotonic() - began < 8

    asyncio.run(test())


def test_without_the_extra_the_daemon_says_what_to_install_and_goes_on() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from omni.telemetry.switch import traces\n"
        "from omni.telemetry.context import Parents\n"
        "print(traces({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:9'}, Parents(), str))"
    )
    said = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "traces.unavailable" in said.stdout
    assert "omni-orchestrator[otel]" in said.stdout
    assert said.stdout.strip().endswith("None")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_where_the_environment_names_a_collector(environ: dict[str, str], expected: bool) -> None:
    assert wanted(environ) is expected


# --- the fold -------------------------------------------------------------------------------------------------------

TASK = "0198c0de-0000-7000-8000-000000000001"
ROUTE = Route("peer", "P1", "small")
CREATED = ev.TaskCreated(TaskSpec("say"), "test", "d")
ROUTED = ev.TaskRouted("coding", 0, ROUTE, "it can", ())


def planned(n: int) -> ev.AttemptPlanned:
    return ev.AttemptPlanned(n, ROUTE, "k", "h", "retry", 1000, 1000)


class Fold:
    """Traces into memory."""

    def __init__(self, board: Board | None = None, given: str = "") -> None:
        self.exporter = InMemorySpanExporter()
        self.parents = Parents()
        if given:
            self.parents.adopt(TASK, given)
        self.traces = Traces(self.parents, {"peer": "act"}.__getitem__, SimpleSpanProcessor(self.exporter))
        self.traces.start(board or Board())

    def add(self, at: int, *events: Any, stream: str = f"task-{TASK}") -> None:
        self.traces.take(0, [Entry(stream, 1, each, at, at, "router", "m") for each in events], 0, 0)

    def spans(self) -> dict[str, Any]:
        """What was made, by name; ends the fold."""
        self.traces._over.set()
        self.traces._thread.join()
        found = self.exporter.get_finished_spans()
        self.traces.stop()
        return {span.name: span for span in found}


def test_a_failed_and_an_interrupted_attempt_are_errors_and_the_task_is_its_last_words() -> None:
    fold = Fold()
    fold.add(1_000, CREATED, ROUTED, planned(1))
    fold.add(2_000, ev.AttemptStarted(1))
    fold.add(3_000, ev.AttemptInterrupted(1, "gone", 4_000))
    fold.add(9_000, ev.AttemptFailed(1, TaskError("late", "no")))  # for an attempt that has ended
    spans = fold.spans()
    assert set(spans) == {"tools/call act", "invoke_agent peer"}
    attempt = spans["invoke_agent peer"]
    assert attempt.attributes[genai.ERROR_TYPE] == "interrupted"
    assert (attempt.start_time, attempt.end_time) == (1_000_000_000, 3_000_000_000)
    assert attempt.context.trace_id == trace_id(TASK)
    assert attempt.parent.span_id == span_id(TASK)
    assert not attempt.status.is_ok


def test_a_task_goes_on_in_the_same_trace_after_a_restart() -> None:
    task = evolve_task(created(TASK, CREATED, 1_000, 1), ROUTED, 1_000, 2)
    task = evolve_task(evolve_task(task, planned(1), 2_000, 3), ev.AttemptStarted(1), 2_500, 4)
    board = Board()
    board.tasks[TASK] = task
    fold = Fold(board)
    fold.add(5_000, ev.AttemptFailed(1, TaskError("failed", "no")), ev.TaskFailed(TaskError("failed", "no")))
    spans = fold.spans()
    assert {name: span.start_time // 1_000_000 for name, span in spans.items()} == {
        "tools/call act": 2_500,
        "invoke_agent peer": 2_000,
        "task coding": 1_000,
    }
    assert {span.context.trace_id for span in spans.values()} == {trace_id(TASK)}
    assert spans["task coding"].parent is None
    assert spans["task coding"].attributes[genai.ERROR_TYPE] == "failed"


def test_model_calls_hang_under_the_call_that_their_attempt_is() -> None:
    fold = Fold()
    fold.add(1_000, CREATED, ROUTED, planned(1), ev.AttemptStarted(1))
    fold.add(2_000, ev.CallReserved("c1", "openrouter", "small", "NORMAL", n=1, tier="P1"))
    settled = ev.CallSettled("c1", "ok", 0.25, usage=Usage(100, 20, 60, 10), model="small-2026", first_byte_ms=300)
    fold.add(3_000, settled)
    fold.add(4_000, ev.CallReserved("c2", "proxy", "large", "NORMAL", client="cli"), stream="calls")
    fold.add(5_000, ev.CallSettled("c2", "hung"), stream="calls")
    spans = fold.spans()
    mine, lone = spans["chat small"], spans["chat large"]
    assert mine.parent.span_id == span_id(TASK, 1, "call")
    assert mine.context.trace_id == trace_id(TASK)
    wanted = {
        genai.OPERATION: "chat",
        genai.PROVIDER: "openrouter",
        genai.REQUEST_MODEL: "small",
        genai.RESPONSE_MODEL: "small-2026",
        genai.INPUT_TOKENS: 100,
        genai.OUTPUT_TOKENS: 20,
        genai.COST_BILLED: 0.25,
        genai.FIRST_BYTE_MS: 300,
    }
    assert wanted.items() <= dict(mine.attributes).items()
    assert (lone.parent, lone.context.trace_id) == (None, trace_id("c2"))
    assert lone.attributes[genai.ERROR_TYPE] == "hung"


def test_a_client_that_keeps_no_trace_gets_none_from_us_either() -> None:
    fold = Fold(given=f"00-{TRACE}-{CALLER}-00")
    assert fold.parents.meta(TASK, 1)["traceparent"].endswith("-00")
    fold.add(1_000, CREATED, ROUTED, planned(1), ev.AttemptStarted(1))
    fold.add(2_000, ev.AttemptSucceeded(1, Result("done")), ev.TaskCompleted(1))
    assert fold.spans() == {}


def test_events_that_cannot_be_read_cost_their_own_spans_only() -> None:
    fold = Fold()
    nobody: dict[str, str] = {}
    fold.traces._spans._tool_of = nobody.__getitem__
    fold.add(1_000, CREATED, ROUTED, planned(1), ev.AttemptStarted(1))
    fold.add(2_000, ev.AttemptSucceeded(1, Result("done")))
    fold.add(3_000, ev.TaskCompleted(1))
    assert set(fold.spans()) == {"task coding"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}",
        f"00-{TRACE}-{CALLER}-01-more",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{CALLER}-01",
        f" {GIVEN}",
    ],
)
def test_what_is_no_traceparent_is_no_parent(text: str) -> None:
    assert parsed(text) is None
    parents = Parents()
    parents.adopt(TASK, text)
    assert parents.of(TASK) is None


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    later = parsed(f"01-{TRACE}-{CALLER}-03-and-more")
    assert later is not None
    assert (later.trace_id, later.span_id, later.sampled) == (int(TRACE, 16), int(CALLER, 16), True)


def test_parents_are_remembered_in_bounds() -> None:
    from omni.telemetry import context

    parents = Parents()
    for n in range(context.REMEMBERED + 5):
        parents.adopt(f"t{n}", GIVEN)
    assert len(parents._remote) == context.REMEMBERED
    assert parents.of("t0") is None
