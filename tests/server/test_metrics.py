"""What Prometheus sees: every family of the table, figures that agree with the log, and names that stay few."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from structlog.testing import capture_logs
from tests.server.test_daemon import Home

from omni.config import load, log_path
from omni.domain import events as ev
from omni.domain.board import Board, Fact
from omni.domain.task import created
from omni.domain.task import evolve as evolve_task
from omni.domain.values import Held, Result, Route, TaskError, TaskSpec, Usage
from omni.eventlog.sqlite import SqliteEventStore, open_reader
from omni.eventlog.store import Entry
from omni.eventlog.upcasters import log_codec
from omni.server.counting import Buckets
from omni.server.labels import Names
from omni.server.metrics_table import METRICS
from omni.server.tally import Tally
from omni.server.tokens import SCRAPE_KEYS, TokenFile, rotate_token

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NAMES = Names(frozenset({"dry"}), models=frozenset({"small"}), tiers=frozenset({"P1"}))
ROUTE = Route("dry", "P1", "small")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def get(home: Home, path: str, key: str = "", accept: str = "") -> tuple[int, str, str]:
    """Status, media type and body."""
    headers = {"Accept": accept, **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{home.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, "", refused.read().decode()


def token(home: Home) -> str:
    return (home.data_dir / "token").read_text().strip()


async def scraped(home: Home) -> dict[str, Metric]:
    status, _, body = await asyncio.to_thread(get, home, "/metrics", token(home))
    assert status == 200
    return {family.name: family for family in parse_text(body)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The one sample of that name and those labels."""
    found = [s.value for f in families.values() for s in f.samples if s.name == name and s.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return found[0]


# --- in front of a real daemon --------------------------------------------------------------------------------------


def test_every_family_of_the_table_is_exposed_with_its_labels_in_both_formats(home: Home) -> None:
    async def test() -> None:
        async with home.daemon():
            await home.plain("create_task", description="say hello")
            for accept, kind, parse in (
                ("text/plain", "text/plain", parse_text),
                (OPENMETRICS, OPENMETRICS, parse_openmetrics),
            ):
                status, media, body = await asyncio.to_thread(get, home, "/metrics", token(home), accept)
                assert (status, media.partition(";")[0]) == (200, kind.partition(";")[0])
                _agrees_with_the_table(list(parse(body)))

    asyncio.run(test())


def _agrees_with_the_table(families: list[Metric]) -> None:
    table = {each.name.removesuffix("_total"): each for each in METRICS}
    assert [family.name.removesuffix("_total") for family in families] == list(table)
    for family in families:
        metric = table[family.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample


def test_counts_are_those_of_the_log_and_begin_anew_with_each_daemon(home: Home) -> None:
    async def test() -> None:
        async with home.daemon() as daemon:
            for n in range(5):
                await home.plain("create_task", description=f"say {n}")
            await home.plain("create_task", description="paint", type="no such kind")
            families = await scraped(home)
            first = _recounted(home, families)
            _agrees_with_the_log(families, first)
            assert value(families, "omni_tasks_ended_total", type="general", executor="dry", outcome="completed") == 5
            assert value(families, "omni_tasks_ended_total", type="other", executor="dry", outcome="completed") == 1
            assert value(families, "omni_task_duration_seconds_count", executor="dry", outcome="completed") == 6
            assert value(families, "omni_task_queue_wait_seconds_count", executor="dry") == 6
            assert value(families, "omni_tasks", state="completed") == 6
            assert value(families, "omni_mode", mode="NORMAL") == 1
            assert value(families, "omni_executor_slots", executor="dry") == 4
            assert value(families, "omni_log_append_seconds_count") > 5
            daemon.kill()
            await daemon.wait()
            since = _recounted(home)
        async with home.daemon():
            await home.plain("create_task", description="once more")
            families = await scraped(home)
            assert value(families, "omni_tasks_created_total") == 1
            _agrees_with_the_log(families, _recounted(home, families) - since)

    asyncio.run(test())


def _recounted(home: Home, families: dict[str, Metric] | None = None) -> Counter[str]:
    until = int(value(families, "omni_log_position")) if families else None
    reader = open_reader(log_path(home.data_dir), log_codec())
    try:
        return Counter(ev.type_of(row.event) for row in reader.read(until=until))
    finally:
        reader.close()


def _agrees_with_the_log(families: dict[str, Metric], recorded: Counter[str]) -> None:
    shown = {s.labels["event"]: s.value for s in families["omni_events_recorded"].samples if s.name.endswith("_total")}
    assert shown == dict(recorded)
    assert value(families, "omni_tasks_created_total") == recorded["task.created"]


def test_the_token_and_a_scrapers_key_open_the_metrics_and_the_key_opens_nothing_else(home: Home) -> None:
    async def test() -> None:
        async with home.daemon():
            key = TokenFile(home.data_dir / "token").scrape_key()
            opened = {
                each: (await asyncio.to_thread(get, home, "/metrics", each))[0] for each in ("", key, token(home))
            }
            assert opened == {"": 401, key: 200, token(home): 200}
            for path in ("/api/status", "/api/tasks", "/mcp", "/v1/models", "/metrics/"):
                assert (await asyncio.to_thread(get, home, path, key))[0] in {401, 403}, path
            assert (await asyncio.to_thread(get, home, "/metrics", f"{SCRAPE_KEYS}{'0' * 64}"))[0] == 401
            rotate_token(home.data_dir / "token")
            assert (await asyncio.to_thread(get, home, "/metrics", key))[0] == 401
            families = await scraped(home)
            assert value(families, "omni_logins_refused_total", reason="wrong") == 2 + 1  # and once at the model port
            assert value(families, "omni_requests_refused_total", status="403") == 4

    asyncio.run(test())


def test_promtool_has_nothing_to_say_against_the_exposition(home: Home) -> None:
    promtool = _promtool()

    async def exposed() -> str:
        async with home.daemon():
            await home.plain("create_task", description="say hello")
            return (await asyncio.to_thread(get, home, "/metrics", token(home)))[2]

    body = asyncio.run(exposed())
    command = [promtool, "check", "metrics"]
    checked = subprocess.run(command, input=body, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def _promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here; on Debian: apt-get install prometheus")
    return found


# --- the fold -------------------------------------------------------------------------------------------------------


class Log:
    """A log on disk whose appends a tally is given; `deaf` makes it miss some."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteEventStore.open(path, log_codec())
        self.tally = Tally(NAMES, 0, self._read)
        self.deaf = False
        self.store.observe(lambda *given: None if self.deaf else self.tally.take(*given))
        self._versions: Counter[str] = Counter()

    def add(self, stream: str, *events: Any, at: int = 0) -> None:
        entries = []
        for event in events:
            self._versions[stream] += 1
            entries.append(Entry(stream, self._versions[stream], event, at, at, "router", "m"))
        self.store.append(entries)

    def counter(self, name: str) -> dict[tuple[str, ...], float]:
        return self.tally.counted().counters.get(name, {})

    def histogram(self, name: str, *labels: str) -> Buckets:
        return self.tally.counted().histograms[name][labels]

    def _read(self, after: int, until: int) -> Iterator[Fact]:
        return self.store.facts(after, (), until=until)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "omni.db")
    yield made
    made.store.close()


CREATED = ev.TaskCreated(TaskSpec("say"), "test", "d")
ROUTED = ev.TaskRouted("general", 0, ROUTE, "it can", ())


def planned(n: int) -> ev.AttemptPlanned:
    return ev.AttemptPlanned(n, ROUTE, "k", "h", "retry", 1000, 1000)


def test_a_life_with_an_interruption_is_counted_once_at_each_of_its_edges(log: Log) -> None:
    log.add("task-a", CREATED, ROUTED, at=1_000)
    log.add("task-a", planned(1), at=3_000)
    log.add("task-a", ev.AttemptStarted(1), at=3_250)
    log.add("task-a", ev.AttemptInterrupted(1, "it vanished", 9_000), at=5_000)
    log.add("task-a", planned(2), at=9_000)
    log.add("task-a", ev.AttemptSucceeded(2, Result("done")), ev.TaskCompleted(2), at=11_000)
    assert log.counter("omni_attempts_ended_total") == {("dry", "interrupted"): 1, ("dry", "succeeded"): 1}
    assert log.counter("omni_tasks_ended_total") == {("general", "dry", "completed"): 1}
    assert log.histogram("omni_task_queue_wait_seconds", "dry").total_s == 2
    assert log.histogram("omni_attempt_start_seconds", "dry").total_s == 0.25
    assert log.histogram("omni_task_duration_seconds", "dry", "completed").total_s == 10
    assert log.histogram("omni_attempt_duration_seconds", "dry", "interrupted").total_s == 2


def test_a_late_success_of_an_attempt_that_was_given_up_is_no_second_attempt(log: Log) -> None:
    log.add("task-a", CREATED, ROUTED, planned(1))
    log.add("task-a", ev.AttemptInterrupted(1, "nobody knows"), ev.TaskHeld(Held("interrupted", "nobody knows")))
    log.add("task-a", ev.AttemptSucceeded(1, Result("done")), ev.TaskCompleted(1))
    assert log.counter("omni_attempts_ended_total") == {("dry", "interrupted"): 1}
    assert log.counter("omni_tasks_held_total") == {("interrupted",): 1}
    assert log.counter("omni_tasks_ended_total") == {("general", "dry", "completed"): 1}


def test_tasks_and_calls_that_were_open_at_the_start_are_known(tmp_path: Path) -> None:
    board = Board()
    task = evolve_task(created("a", CREATED, 1_000, 1), ROUTED, 1_000, 2)
    board.tasks["a"] = evolve_task(task, planned(1), 1_500, 3)
    board.ledger.evolve("task-a", ev.CallReserved("c", "proxy", "small", "NORMAL", n=1, tier="P1"), 2_000, 0)
    tally = Tally(NAMES, 3, _nothing)
    tally.begin(board)
    events = [ev.CallSettled("c", "ok", billed_usd=0.5), ev.AttemptFailed(1, TaskError("failed", "no"))]
    last = ev.TaskFailed(TaskError("failed", "no"))
    entries = [Entry("task-a", 4 + n, e, 4_000, 0, "router", "m") for n, e in enumerate([*events, last])]
    tally.take(6, entries, 0.001, 0.001)
    counted = tally.counted()
    assert counted.counters["omni_tasks_ended_total"] == {("general", "dry", "failed"): 1}
    assert counted.counters["omni_attempts_ended_total"] == {("dry", "failed"): 1}
    assert counted.counters["omni_model_cost_usd_total"] == {("P1", "proxy", "small", "billed"): 0.5}
    assert counted.histograms["omni_task_queue_wait_seconds"] == {}  # it had its first attempt before we began


def test_an_append_that_went_through_although_nobody_knew_is_counted_with_the_next(log: Log) -> None:
    log.add("task-a", CREATED, ROUTED)
    log.deaf = True
    log.add("task-a", planned(1), ev.AttemptSucceeded(1, Result("done")), ev.TaskCompleted(1))
    log.deaf = False
    log.add("task-b", CREATED)
    assert log.tally.counted().position == log.store.head.position == 6
    assert log.counter("omni_tasks_ended_total") == {("general", "dry", "completed"): 1}
    assert log.counter("omni_tasks_created_total") == {(): 2}


def test_a_count_that_fails_holds_up_no_append_and_is_made_up_for(log: Log) -> None:
    read = log.tally._read
    log.tally._read = _broken
    log.deaf = True
    log.add("task-a", CREATED)
    log.deaf = False
    with capture_logs() as lines:
        log.add("task-b", CREATED)
    log.tally._read = read
    log.add("task-c", CREATED)
    assert [line["event"] for line in lines] == ["metrics.failed"]
    assert log.store.head.position == 3
    assert log.counter("omni_tasks_created_total") == {(): 3}


def _nothing(after: int, until: int) -> Iterator[Fact]:
    return iter(())


def _broken(after: int, until: int) -> Iterator[Fact]:
    raise OSError("the disk is gone")


def test_calls_are_counted_by_where_they_went_and_how_they_ended(log: Log) -> None:
    usage = Usage(100, 20, 60, 10)
    log.add("calls", ev.CallReserved("c1", "proxy", "small", "NORMAL", client="cli", tier="P1"))
    log.add(
        "calls", ev.CallSettled("c1", "ok", 0.25, usage=usage, model="small-2026", first_byte_ms=300, duration_ms=900)
    )
    log.add("calls", ev.CallSettled("c1", "ok", 0.25, usage=usage))
    log.add("calls", ev.CallReserved("c2", "brainstem", "qwen", "BRAINSTEM"))
    log.add("calls", ev.CallSettled("c2", "no such word", kept_usd=0.5), ev.CallRefused("c3", "P1", "full"))
    assert log.counter("omni_model_calls_total") == {
        ("P1", "proxy", "small", "ok"): 1,
        ("none", "brainstem", "other", "other"): 1,
    }
    tokens = {
        ("proxy", "small", each): n
        for each, n in zip(("input", "output", "cache_read", "cache_write"), (100, 20, 60, 10), strict=True)
    }
    assert log.counter("omni_model_tokens_total") == tokens
    assert log.counter("omni_model_cost_usd_total") == {
        ("P1", "proxy", "small", "billed"): 0.25,
        ("none", "brainstem", "other", "kept"): 0.5,
    }
    assert log.counter("omni_model_calls_refused_total") == {("P1",): 1}
    assert log.histogram("omni_model_call_first_byte_seconds", "proxy").total_s == 0.3


def test_whoever_names_types_executors_and_models_as_he_likes_makes_no_series(log: Log) -> None:
    for n in range(200):
        route = Route(f"e{n}", f"t{n}", f"m{n}")
        log.add(f"task-{n}", CREATED, ev.TaskRouted(f"kind{n}", 0, route, "", ()))
        plan = ev.AttemptPlanned(1, route, "k", "h", "retry", 1, 1)
        log.add(f"task-{n}", plan, ev.AttemptSucceeded(1, Result()), ev.TaskCompleted(1))
        log.add("calls", ev.CallReserved(f"c{n}", f"ch{n}", f"m{n}", "NORMAL", tier=f"t{n}"))
        log.add("calls", ev.CallSettled(f"c{n}", "ok", usage=Usage(1)), ev.CallRefused("x", f"cap{n}", "full"))
    counted = log.tally.counted()
    of_names = {name: each for name, each in counted.counters.items() if name != "omni_events_recorded_total"}
    assert all(len(each) <= 4 for each in of_names.values()), of_names
    assert all(len(each) <= 1 for each in counted.histograms.values())
    assert log.counter("omni_tasks_ended_total") == {("other", "other", "completed"): 200}


def test_the_names_that_may_stand_in_labels_are_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "lite_llm_url: http://127.0.0.1:4000\n"
        "router: {lightweight_model: small, heavyweight_model: large}\n"
        "providers: {openrouter: {models: {small: vendor/small}}}\n"
        "mcp_servers: {dry: {url: 'null:', types: [painting]}}\n"
    )
    names = Names.of(load(file, environ={}).config)
    assert names.executors == {"dry"}
    assert "painting" in names.types
    assert {"P1", "P2", "P3"} == names.tiers
    assert {"proxy", "brainstem", "openrouter"} <= names.channels
    assert {"small", "large", "vendor/small", "auto"} <= names.models


def test_buckets_count_what_lies_at_a_bound_under_it_and_a_clock_set_back_as_nothing() -> None:
    buckets = Buckets((1.0, 2.0), 1)
    for seconds in (1.0, 1.5, 2.0, 2.1, -5.0):
        buckets.observe(seconds)
    assert (buckets.counts, buckets.total_s) == ([2, 2, 1], 6.6)


# --- what is shipped beside the code --------------------------------------------------------------------------------


def test_the_documentation_has_the_table_of_the_code() -> None:
    from omni.server.metrics_table import table

    text = Path("docs/metrics.md").read_text()
    assert table() in text, "python -m omni.server.metrics_table prints the table that belongs into docs/metrics.md"
