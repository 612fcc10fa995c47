"""What was decided just after midnight was decided by the money of the new day."""

from __future__ import annotations

from tests.histories.conftest import OpenGolden

from omni.replay.why import card

MIDNIGHT = "2026-10-11T16:00:00.000Z"  # where the owner lives, the end of 11 October


def test_the_card_of_a_task_that_went_on_at_midnight_shows_an_unspent_day(golden: OpenGolden) -> None:
    budget = card(golden("budget-hit"), "01a125b0-1860-7005").view()["then"]["budget"]
    assert (budget["day_ends"], budget["billed_usd"], budget["caps"]["daily_usd"]) == (MIDNIGHT, 0.0, 2.0)


def test_the_card_of_its_first_attempt_shows_the_day_before(golden: OpenGolden) -> None:
    budget = card(golden("budget-hit"), "01a125b0-1860-7005", 40).view()["then"]["budget"]
    assert (budget["day_ends"], budget["billed_usd"]) == ("2026-10-10T16:00:00.000Z", 0.55)
