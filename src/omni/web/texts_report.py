"""The words of the incident report."""

from __future__ import annotations

REPORT: dict[str, tuple[str, ...]] = {
    "report.title": ("Incident report", "事件报告"),
}
