"""Positions and times as people name them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replay.logs import AT_MS, write_at

from omni.domain import events as ev
from omni.domain.errors import NotFound
from omni.eventlog.store import EventReader
from omni.replay.history import History
from omni.replay.when import NoSuchMoment, moment, position_at, position_before, position_of

NOW = AT_MS + 3_600_000
STEPS = (0, 10, 20, 20, 30)  # milliseconds after AT_MS, of the positions 1 to 5


class Clock:
    """The times of a log and nothing else: the search asks for no more."""

    def __init__(self, *times: int) -> None:
        self.times = times
        self.asked = 0

    @property
    def head(self) -> "Clock":
        return self

    @property
    def position(self) -> int:
        return len(self.times)

    def at_ms(self, position: int) -> int | None:
        self.asked += 1
        return self.times[position - 1] if 0 < position <= len(self.times) else None


def at(clock: Clock, when: int) -> int:
    reader: EventReader = clock  # type: ignore[assignment]
    return position_at(reader, when)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[EventReader]:
    """A real log whose events came at `STEPS`."""
    changes = [(AT_MS + step, ev.HEALTH_STREAM, ev.ClockJumped(step)) for step in STEPS]
    with History.open(write_at(tmp_path / "data", *changes)) as history:
        yield history.reader


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0", 0),
        ("3", 3),
        (" 5 ", 5),
        ("60m", 1),
        ("3600s", 1),
        ("1d", 0),
        ("0s", 5),
        ("2026-09-21T14:13:20Z", 1),
        ("2026-09-21T14:13:20.020Z", 4),
        ("2026-09-21T16:13:20.019+02:00", 2),
        ("2026-09-21", 0),
        ("2026-09-23", 5),
    ],
)
def test_a_time_stands_for_the_state_after_everything_up_to_it(reader: EventReader, text: str, position: int) -> None:
    assert position_of(reader, text, NOW) == position


@pytest.mark.parametrize(
    ("text", "position"), [("0", 0), ("1", 0), ("3", 2), ("2026-09-21T14:13:20.020Z", 2), ("60m", 0), ("0s", 5)]
)
def test_what_begins_at_a_position_or_time_holds_the_event_there(reader: EventReader, text: str, position: int) -> None:
    assert position_before(reader, text, NOW) == position


def test_a_date_and_a_time_without_an_offset_are_local() -> None:
    assert moment("2026-01-31T08:00", NOW) == int(time.mktime((2026, 1, 31, 8, 0, 0, 0, 0, -1))) * 1000
    assert moment("2026-01-31", NOW) == int(time.mktime((2026, 1, 31, 0, 0, 0, 0, 0, -1))) * 1000


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata", "America/St_Johns"])
def test_a_time_of_day_is_the_last_one_that_the_clock_showed(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    def local(*parts: int) -> int:
        year, month, day, hour, minute, second = (*parts, *[0] * (6 - len(parts)))
        return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1))) * 1000

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = local(2026, 3, 9, 14, 30, 15)
        assert moment("08:05", now) == local(2026, 3, 9, 8, 5)
        assert moment("8:05", now) == local(2026, 3, 9, 8, 5)
        assert moment("14:30:15", now) == local(2026, 3, 9, 14, 30, 15)
        assert moment("14:30:16", now) == local(2026, 3, 8, 14, 30, 16)
        assert moment(" 19:31 ", now) == local(2026, 3, 8, 19, 31)
        assert moment("00:00", local(2026, 3, 30, 1, 0)) == local(2026, 3, 30)  # the day after the hour was lost
    finally:
        monkeypatch.undo()
        time.tzset()


def test_milliseconds_are_exact() -> None:
    assert [moment(f"2026-09-21T14:13:20.{ms:03d}Z", 0) - AT_MS for ms in range(1000)] == list(range(1000))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7x", "-3", "2026-13-01", "9" * 400, "1.5h", "2026-01-31T99:00", "24:00", "7:5"]
)
def test_what_is_no_point_in_time_says_what_would_be_one(reader: EventReader, text: str) -> None:
    with pytest.raises(NoSuchMoment, match="7d, 19:31, 2026-01-31") as wrong:
        position_of(reader, text, NOW)
    assert wrong.value.hint == "omni replay --help"


def test_a_position_beyond_the_end_names_the_end(reader: EventReader) -> None:
    for ask in (position_of, position_before):
        with pytest.raises(NotFound, match="no position 6 in this log: it ends at 5") as wrong:
            ask(reader, "6", NOW)
        assert wrong.value.hint == "omni replay at 5"


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(-1, 51))
def test_on_a_steady_clock_the_answer_is_the_last_event_up_to_the_time(times: list[int], when: int) -> None:
    steady = sorted(times)
    assert at(Clock(*steady), when) == sum(1 for each in steady if each <= when)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(-1, 51))
def test_where_the_clock_was_set_back_the_log_goes_from_not_later_to_later_there(times: list[int], when: int) -> None:
    position = at(Clock(*times), when)
    assert position == 0 or times[position - 1] <= when
    assert position == len(times) or times[position] > when


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(-1, 50), st.integers(1, 40))
def test_what_comes_later_does_not_move_the_answer(times: list[int], when: int, more: int) -> None:
    assert at(Clock(*times), when) == at(Clock(*times, *[51] * more), when)


def test_a_million_events_take_twenty_looks() -> None:
    clock = Clock(*range(1_000_000))
    assert at(clock, 777_777) == 777_778
    assert clock.asked <= 20


def test_looks_at_a_real_log_take_no_time(tmp_path: Path) -> None:
    many = [(AT_MS + n, ev.HEALTH_STREAM, ev.ClockJumped(n)) for n in range(5_000)]
    with History.open(write_at(tmp_path / "data", *many)) as history:
        began = time.perf_counter()
        assert [position_at(history.reader, AT_MS + n) for n in range(0, 5_000, 100)] == list(range(1, 5_001, 100))
        assert (time.perf_counter() - began) / 50 < 0.010
