"""Until when an account's limit lasts, in every wording that the program has."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from omni.adapters.claude_code.limits import LONGEST_S, SLACK_S, UNSTATED_S, Limit, is_limit, limit_of

NOW = datetime(2026, 11, 21, 15, 22, tzinfo=UTC)
HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("You've hit your session limit · resets 8pm (UTC)", 4 + 38 / 60),
        ("You've hit your limit · resets 5:22pm (UTC)", 2),
        ("You've hit your limit · resets 3pm (UTC)", 23 + 38 / 60),  # tomorrow
        ("You've hit your limit · resets 12am (UTC)", 8 + 38 / 60),
        ("You've hit your limit · resets 12pm (America/New_York)", 1 + 38 / 60),
        ("You've hit your weekly limit · resets Nov 23, 3:22pm (UTC)", 48),
        ("You've hit your limit · resets at 17:22 (UTC)", 2),
        ("Claude AI usage limit reached|1795281720", 2),
    ],
)
def test_a_stated_time_is_waited_for(text: str, hours: float) -> None:
    assert is_limit(text)
    assert limit_of(text, None, NOW) == Limit(hours * HOUR_S + SLACK_S, stated=True)


def test_a_time_without_a_zone_is_that_of_the_machine() -> None:
    here = NOW.astimezone(timezone(timedelta(hours=-5)))
    assert limit_of("resets 12pm", None, here).for_s == 1 * HOUR_S + 38 * 60 + SLACK_S


def test_a_date_at_the_turn_of_the_year_is_in_the_next_one() -> None:
    eve = datetime(2026, 12, 31, 12, 0, tzinfo=UTC)
    assert limit_of("resets Jan 1, 12pm (UTC)", None, eve).for_s == 24 * HOUR_S + SLACK_S


def test_the_time_that_came_with_it_outranks_the_words() -> None:
    at = NOW.timestamp() + 60
    assert limit_of("resets 8pm (UTC)", at, NOW) == Limit(60 + SLACK_S, stated=True)


@pytest.mark.parametrize(
    "text",
    [
        "You're out of usage credits",
        "resets soon",
        "resets Feb 30, 3pm (UTC)",
        "resets 27:80 (UTC)",
        "resets 3pm (Nowhere/City)",
        "resets 3pm (../../etc/passwd)",
    ],
)
def test_without_a_time_it_is_a_guess_and_says_so(text: str) -> None:
    assert limit_of(text, None, NOW) == Limit(UNSTATED_S, stated=False)


def test_neither_the_past_nor_the_far_future_is_believed() -> None:
    assert limit_of("", NOW.timestamp() - 10, NOW) == Limit(UNSTATED_S, stated=False)
    assert limit_of("", NOW.timestamp() + 1e9, NOW).for_s == LONGEST_S


def test_other_words_are_no_limit() -> None:
    assert not is_limit("API Error: Request rejected (429) · too many requests")
    assert not is_limit("I have reached the limit of what this file allows")
