"""Whether traces are wanted, without loading anything that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from omni.telemetry.context import Parents

if TYPE_CHECKING:
    from omni.telemetry.traces import Traces

log = structlog.get_logger()

WHERE = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector, and nothing there says no."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in WHERE)


def traces(environ: Mapping[str, str], parents: Parents, tool_of: Callable[[str], str]) -> Traces | None:
    """What makes traces; None where nobody wants any, or the extra is not installed. Takes long when it loads."""
    if not wanted(environ):
        return None
    try:
        from omni.telemetry.traces import Traces
    except ImportError as error:
        log.warning("traces.unavailable", error=str(error), hint="pip install 'omni-orchestrator[otel]'")
        return None
    return Traces(parents, tool_of)
