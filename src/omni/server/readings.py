"""What a scrape shows that no count holds: the state of now, read from whoever owns it."""

from __future__ import annotations

import platform
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, get_args

import msgspec

from omni import __version__
from omni.domain.commands import ComponentReport, SystemReport
from omni.domain.values import HealthState, Millis, Mode
from omni.server.counting import Labels
from omni.server.labels import Names, known

Samples: TypeAlias = dict[str, list[tuple[Labels, float]]]
Sample: TypeAlias = tuple[str, Labels, float]

MODES: tuple[str, ...] = get_args(Mode)
EXECUTOR_STATES: tuple[str, ...] = get_args(HealthState)
_UP = frozenset({"up", "ok"})
_COMPONENTS = frozenset({"proxy", "cloud", "key"})
DRILL = "drill"


class Sources(msgspec.Struct, frozen=True):
    """Where the daemon's own figures are. Each may be asked from any thread, and answers at once.

    `notices`: how many are undelivered, and when the oldest was queued.
    """

    database: Path
    depths: Callable[[], Mapping[str, int]]
    restarts: Callable[[], Mapping[str, int]]
    notices: Callable[[], tuple[int, Millis]]
    now: Callable[[], Millis]


class AtTheGate(msgspec.Struct, frozen=True):
    """What the gate has seen: who is inside now, and what it refused since the process began."""

    connections: Mapping[str, int]
    logins: Mapping[str, int]
    refused: Mapping[int, int]


def gathered(samples: Iterator[Sample]) -> Samples:
    """Samples by metric."""
    found: Samples = defaultdict(list)
    for name, labels, value in samples:
        found[name].append((labels, value))
    return found


def of_status(report: SystemReport, names: Names) -> Iterator[Sample]:
    """What the Gateway knows."""
    for state, count in report.counts.items():
        yield "omni_tasks", (state,), count
    for mode in MODES:
        yield "omni_mode", (mode,), mode == report.health.mode.mode
    yield "omni_dispatch_open", (), report.dispatch.state == "open"
    yield from _executors(report)
    yield from _components(report.health.components, names)
    yield from _spend(report)


def _executors(report: SystemReport) -> Iterator[Sample]:
    for each in report.executors:
        name = (each.spec.name,)
        for state in EXECUTOR_STATES:
            yield "omni_executor_state", (*name, state), state == each.health.state
        yield "omni_executor_running", name, each.running
        yield "omni_executor_slots", name, each.spec.max_concurrency
        yield "omni_executor_queued", name, each.queued


def _components(components: tuple[ComponentReport, ...], names: Names) -> Iterator[Sample]:
    breakers: dict[Labels, bool] = {}  # models that nobody knows share one series
    for each in components:
        if each.kind in _COMPONENTS:
            yield "omni_component_up", (each.kind, each.name), each.state in _UP
        elif each.kind == "breaker":
            channel, _, model = each.name.partition("/")
            labels = known(channel, names.channels), known(model, names.models)
            breakers[labels] = breakers.get(labels, False) or each.state == "open"
    yield from (("omni_breaker_open", labels, is_open) for labels, is_open in breakers.items())
    yield "omni_drill_active", (), any(each.kind == DRILL for each in components)


def _spend(report: SystemReport) -> Iterator[Sample]:
    spend = report.spend
    if spend is None:
        return
    yield "omni_spend_today_usd", ("billed",), spend.billed_usd
    yield "omni_spend_today_usd", ("imputed",), spend.imputed_usd
    yield "omni_spend_today_usd", ("reserved",), spend.reserved_usd
    yield "omni_spend_today_usd", ("kept",), spend.kept_usd
    yield "omni_spend_unknown_calls", (), spend.unknown
    if spend.budget.daily_usd is not None:
        yield "omni_spend_cap_usd", (), spend.budget.daily_usd


def of_gate(seen: AtTheGate) -> Iterator[Sample]:
    """What the gate has seen."""
    yield from (("omni_connections", (kind,), count) for kind, count in seen.connections.items())
    yield from (("omni_logins_refused_total", (reason,), count) for reason, count in seen.logins.items())
    yield from (("omni_requests_refused_total", (str(status),), count) for status, count in seen.refused.items())


def of_daemon(sources: Sources) -> Iterator[Sample]:
    """Actors, notices and files. Looks at the disk."""
    restarts = sources.restarts()
    for actor, depth in sources.depths().items():
        yield "omni_mailbox_depth", (actor,), depth
        yield "omni_actor_restarts_total", (actor,), restarts.get(actor, 0)
    count, since = sources.notices()
    yield "omni_notices_undelivered", (), count
    yield "omni_notices_oldest_seconds", (), max(0, sources.now() - since) / 1000 if count else 0
    for kind, suffix in (("database", ""), ("wal", "-wal")):
        yield "omni_log_bytes", (kind,), _size(Path(f"{sources.database}{suffix}"))
    yield "omni_disk_free_bytes", (), shutil.disk_usage(sources.database.parent).free
    yield "omni_build_info", (__version__, platform.python_version()), 1


def of_process() -> Iterator[Sample]:
    """This process, under the names that every Prometheus client has for these figures."""
    import psutil  # not before somebody looks: the daemon is to be ready quickly

    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        yield "process_start_time_seconds", (), process.create_time()
        yield "process_cpu_seconds_total", (), times.user + times.system
        yield "process_resident_memory_bytes", (), process.memory_info().rss
        yield "process_open_fds", (), process.num_fds()
    yield "process_max_fds", (), _max_fds()


def _max_fds() -> float:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a WAL that was emptied into the database
        return 0
