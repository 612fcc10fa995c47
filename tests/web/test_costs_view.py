"""What *Costs* and *Service levels* show, from what the log says."""

from typing import Any

import pytest

from omni.web.charts import Day
from omni.web.pages import costs, levels


def line(
    billed: float | None = None, imputed: float | None = None, unknown: int = 0, kept: float = 0.0
) -> dict[str, Any]:
    return {"billed_usd": billed, "imputed_usd": imputed, "reported_usd": None, "unknown": unknown, "kept_usd": kept}


def period(billed: float | None, projected: float | None) -> dict[str, Any]:
    return {
        "until": "2026-01-02T00:00:00.000Z",
        "so_far": line(billed),
        "projected": {"billed_usd": projected, "imputed_usd": None},
        "not_in_it": {"unknown": 2, "kept_usd": 0.5},
    }


TABLE = {
    "cells": {"2026-01-01": {"dear": line(2.0), "free": line(None, 1.0)}, "2026-01-02": {"dear": line(1.0, unknown=2)}},
    "days": {"2026-01-01": line(2.0, 1.0), "2026-01-02": line(1.0, unknown=2)},
    "models": {"free": line(None, 1.0), "dear": line(3.0, unknown=2), "kept": line(None, kept=9.0)},
    "total": line(3.0, 1.0, 2),
    "projection": {"day": period(1.0, 4.0), "month": period(3.0, None)},
}


def test_days_stand_newest_first_and_models_dearest_first() -> None:
    shown = costs.view(TABLE, 30, "billed")
    assert [day["name"] for day in shown["days"]] == ["2026-01-02", "2026-01-01"]
    assert [each["name"] for each in shown["days"][1]["models"]] == ["dear", "free"]
    assert [each["name"] for each in shown["models"]] == ["kept", "dear", "free"]


def test_a_projection_names_what_is_not_in_it_and_may_be_missing() -> None:
    day, month = costs.view(TABLE, 30, "billed")["projections"]
    assert (day["name"], day["so_far_usd"], day["projected_usd"], day["unknown"], day["kept_usd"]) == (
        "day",
        1.0,
        4.0,
        2,
        0.5,
    )
    assert (month["so_far_usd"], month["projected_usd"]) == (3.0, None)


def test_bars_hold_one_kind_of_money_and_mark_bills_that_nobody_knows() -> None:
    assert costs.chart_days(TABLE, "billed") == [Day("2026-01-01", {"dear": 2.0}), Day("2026-01-02", {"dear": 1.0}, 2)]
    assert costs.chart_days(TABLE, "imputed") == [Day("2026-01-01", {"free": 1.0}), Day("2026-01-02", {})]


@pytest.mark.parametrize(
    ("least", "most", "ok", "shown"),
    [
        (None, None, None, (None, None, "unmeasured")),
        (0.995, 0.995, True, ("99.5", "99.5", "ok")),
        (0.98999, 0.999, None, ("98.99", "99.9", "unsure")),
        (0.98999, 0.98999, False, ("98.99", "98.99", "missed")),  # never rounded up to what was wanted
    ],
)
def test_a_share_says_what_is_sure(
    least: float | None, most: float | None, ok: bool | None, shown: tuple[str | None, str | None, str]
) -> None:
    told = levels.share({"least": least, "most": most, "wanted": 0.99, "ok": ok})
    assert (told["least"], told["most"], told["verdict"]) == shown
    assert told["wanted"] == "99"


def test_a_span_that_was_never_measured_is_not_called_kept() -> None:
    assert levels.spread({"count": 0, "ok": None})["verdict"] == "unmeasured"
    assert levels.spread({"count": 1, "ok": False})["verdict"] == "missed"
