"""`GET /metrics`: what Prometheus reads, as text or as OpenMetrics, whichever it asks for.

Nothing is counted twice: what became durable comes from the fold over the log (`tally`), what is now from those who own
it (`readings`). The library is loaded by the first scrape, and each scrape is put together off the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni.domain.commands import SystemReport
from omni.domain.errors import OmniError
from omni.server.desk import Desk
from omni.server.metrics_table import METRICS, Metric
from omni.server.readings import (
    AtTheGate,
    Samples,
    Sources,
    gathered,
    of_daemon,
    of_gate,
    of_process,
    of_status,
)
from omni.server.tally import Counted, Tally

PATH = "/metrics"
STATUS_WITHIN_S = 2.0  # scrapers wait for ten; a Gateway that is stuck must not take the other figures along


class Metrics:
    """The endpoint. `stands_at` is said once the gate is there."""

    def __init__(self, desk: Desk, tally: Tally, sources: Sources) -> None:
        self._desk = desk
        self.tally = tally
        self._sources = sources
        self._at_the_gate: Callable[[], AtTheGate] = lambda: AtTheGate({}, {}, {})
        self.route = Route(PATH, self._answer, methods=["GET"])

    def stands_at(self, seen: Callable[[], AtTheGate]) -> None:
        """Whom to ask what the gate has seen."""
        self._at_the_gate = seen

    async def _answer(self, request: Request) -> Response:
        status, accept = await self._status(), request.headers.get("accept", "")
        body, kind = await asyncio.to_thread(self._exposed, status, accept)
        return Response(body, headers={"cache-control": "no-store", "content-type": kind})

    async def _status(self) -> SystemReport | None:
        try:
            async with asyncio.timeout(STATUS_WITHIN_S):
                return await self._desk.status()
        except (OmniError, TimeoutError):
            return None

    def _exposed(self, status: SystemReport | None, accept: str) -> tuple[bytes, str]:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        counted = self.tally.counted()
        registry = CollectorRegistry()
        registry.register(_Once(self._samples(status, counted), counted))
        encode, kind = choose_encoder(accept)
        return encode(registry), kind

    def _samples(self, status: SystemReport | None, counted: Counted) -> Samples:
        samples = gathered(self._read(status))
        samples["omni_status_answered"] = [((), status is not None)]
        samples["omni_log_position"] = [((), counted.position)]
        for name, each in counted.counters.items():
            samples[name] = list(each.items())
        return samples

    def _read(self, status: SystemReport | None) -> Iterator[Any]:
        if status is not None:
            yield from of_status(status, self.tally.names)
        yield from of_gate(self._at_the_gate())
        yield from of_daemon(self._sources)
        yield from of_process()


class _Once:
    """A collector of the library over one reading."""

    def __init__(self, samples: Samples, counted: Counted) -> None:
        self._samples = samples
        self._counted = counted

    def collect(self) -> Iterator[Any]:
        """Every family of the table, those without a sample too: whoever looks sees what there may be."""
        for metric in METRICS:
            yield self._histogram(metric) if metric.kind == "histogram" else self._plain(metric)

    def _plain(self, metric: Metric) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for labels, value in self._samples.get(metric.name, ()):
            family.add_metric(labels, value)
        return family

    def _histogram(self, metric: Metric) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, each in self._counted.histograms.get(metric.name, {}).items():
            bounds = (*map(str, each.bounds), "+Inf")
            buckets = list(zip(bounds, accumulate(each.counts), strict=True))
            family.add_metric(labels, buckets, each.total_s)
        return family
