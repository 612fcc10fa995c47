"""The picture above a timeline: modes and attempts over the stretch of the log that its rows cover."""

from __future__ import annotations

from collections.abc import Sequence

from omni.notify.texts import Language
from omni.replay.history import History
from omni.replay.timeline import Row
from omni.web.charts import Chart


def drawn(history: History, rows: Sequence[Row], language: Language) -> Chart | None:
    """Draw the stretch from the oldest row to the newest; None where there is nothing to draw."""
    return None
