"""The words of the dashboard's pages."""

from __future__ import annotations

PAGES: dict[str, tuple[str, ...]] = {}
