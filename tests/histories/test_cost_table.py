"""Costs by day and model, and projections, against sums made by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.histories.conftest import OpenGolden
from tests.histories.play import at

from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.replay.cost_table import cost_table
from omni.replay.costs import Line
from omni.replay.history import History

MONTH_ENDS = "2026-11-01 00:00:00"


def money(line: Line) -> tuple[float | None, float | None, float | None, int, float]:
    view = line.view()
    return view["billed_usd"], view["imputed_usd"], view["reported_usd"], view["unknown"], view["kept_usd"]


def test_days_begin_at_the_owners_midnight_and_kinds_of_money_stay_apart(golden: OpenGolden) -> None:
    table = cost_table(golden("quiet-day"))
    assert {day: set(models) for day, models in table.cells.items()} == {
        "2026-10-05": {"light", "heavy"},
        "2026-10-06": {"light"},
    }
    day = table.cells["2026-10-05"]
    assert money(day["heavy"]) == (0.5201, None, None, 1, 0.2)  # 0.1834 + 0.2410 + 0.0957; the fourth broke off
    assert money(day["light"]) == (None, 0.0192, 0.62, 0, 0.0)  # eight free calls; Moltworker's own figure
    assert money(table.days["2026-10-05"]) == (0.5201, 0.0192, 0.62, 1, 0.2)
    assert money(table.models["light"]) == (None, 0.0203, 0.62, 0, 0.0)
    assert money(table.total) == (0.5201, 0.0203, 0.62, 1, 0.2)
    assert table.total.calls == 13


def test_a_range_leaves_out_what_was_reserved_before_and_after(golden: OpenGolden) -> None:
    history = golden("budget-hit")
    table = cost_table(history, at("2026-10-10 20:01:00"), at("2026-10-11 00:00:05"))
    assert money(table.cells["2026-10-10"]["heavy"])[0] == 1.1
    assert money(table.cells["2026-10-11"]["heavy"])[0] == 0.6
    assert table.total.calls == 5


def test_calls_that_left_the_proxy_are_billed_where_they_went(golden: OpenGolden) -> None:
    table = cost_table(golden("litellm-killed"))
    # on the proxy 4 × 0.04 and one refused; directly 3 × 0.04 and four light ones at 0.0081, the repair's among them
    assert money(table.models["heavy"])[0] == 0.16
    assert money(table.models["claude-sonnet-4-5"])[0] == round(3 * 0.04 + 4 * 0.0081, 9)
    assert money(table.total)[3] == 0


def test_the_month_is_drawn_on_from_where_the_log_begins(golden: OpenGolden) -> None:
    month = cost_table(golden("quiet-day"), now=at("2026-10-07 08:00:00")).month
    assert (month.from_ms, month.until_ms) == (at("2026-10-01 00:00:00"), at(MONTH_ENDS))
    assert month.counted_from_ms == at("2026-10-05 08:00:00")
    assert money(month.so_far) == (0.5201, 0.0203, 0.62, 1, 0.2)
    # 48 h of 640 that are left from the log's beginning to the end of the month
    assert month.billed_usd == pytest.approx(0.5201 * 640 / 48)
    assert month.imputed_usd == pytest.approx(0.0203 * 640 / 48)
    assert month.reported_usd == pytest.approx(0.62 * 640 / 48)
    assert month.view()["not_in_it"] == {"unknown": 1, "kept_usd": 0.2}


def test_the_day_is_drawn_on_from_its_midnight(golden: OpenGolden) -> None:
    day = cost_table(golden("budget-hit"), now=at("2026-10-11 06:00:00")).day
    assert (day.from_ms, day.until_ms) == (at("2026-10-11 00:00:00"), at("2026-10-12 00:00:00"))
    assert money(day.so_far)[:2] == (0.6, None)
    assert day.billed_usd == pytest.approx(2.4)
    assert day.imputed_usd is day.reported_usd is None
    assert day.view()["projected"] == {"method": "linear", "billed_usd": 2.4, "imputed_usd": None, "reported_usd": None}


def test_in_the_first_hour_of_a_day_nothing_is_projected(golden: OpenGolden) -> None:
    table = cost_table(golden("budget-hit"), now=at("2026-10-11 00:59:59"))
    assert money(table.day.so_far)[0] == 0.6
    assert table.day.billed_usd is None
    assert table.month.billed_usd is None  # seven hours are too little of a month


def test_a_call_without_a_bill_stands_beside_the_sum(golden: OpenGolden) -> None:
    table = cost_table(golden("daemon-killed"))
    assert money(table.models["heavy"]) == (0.1, None, None, 1, 0.25)


def test_december_ends_in_january(golden: OpenGolden) -> None:
    month = cost_table(golden("quiet-day"), now=at("2026-12-31 12:00:00")).month
    assert (month.from_ms, month.until_ms) == (at("2026-12-01 00:00:00"), at("2027-01-01 00:00:00"))
    assert money(month.so_far) == (None, None, None, 0, 0.0)
    assert month.billed_usd is None


def test_an_empty_log_costs_nothing_and_projects_nothing(tmp_path: Path) -> None:
    with closing(SqliteEventStore.open(tmp_path / "omni.db", log_codec())) as store:
        table = cost_table(History(store, tmp_path / "omni.db"), now=at("2026-10-05 12:00:00"))
    assert (table.cells, table.total, table.month.billed_usd) == ({}, Line(), None)
