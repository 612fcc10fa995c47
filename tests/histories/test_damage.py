"""A golden log that was damaged is not judged further, and the verdict names the place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.histories.expect import visible
from tests.histories.make import DAMAGED, FORGED, file_of, unpack
from tests.histories.play import OWNER

from omni.config import log_path
from omni.domain.errors import CorruptLog, LostTail, OmniError
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.transfer import export_jsonl, import_jsonl
from omni.eventlog.upcasters import log_codec
from omni.replay.history import History
from omni.replay.verify import Report, verify
from omni.web.report import report_html

PAID = 31  # the call whose price is changed
TASK = "task-01a10980-d300-7003-8000-000000000003"
DELETED = "DELETE FROM events WHERE position = ?", (PAID,)
EDITS = (
    "UPDATE events SET at_ms = at_ms + 1 WHERE position = 26",
    "UPDATE events SET mono_ms = mono_ms - 1 WHERE position = 26",
    "UPDATE events SET actor = 'gateway' WHERE position = 26",
    "UPDATE events SET cause = 'router:1' WHERE position = 26",
    "UPDATE events SET boot = '2-00000002' WHERE position = 26",
    "UPDATE events SET input = replace(input, 'cli', 'me') WHERE position = 26",
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return log_path(unpack("quiet-day", tmp_path / "data"))


def edit(database: Path, *statements: tuple[str, tuple[Any, ...]]) -> Report:
    """Change the file as somebody would who knows SQLite, triggers or not, and judge it."""
    with closing(sqlite3.connect(database)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(*statement)
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    return verify(database)


def damage(report: Report) -> list[tuple[int, str]]:
    assert not report.ok
    assert (report.tasks, report.redecided.commands) == (0, 0), "a damaged log is not judged further"
    return [(each.position, each.what) for each in report.damage]


def test_the_log_is_sound_before_anybody_touches_it(database: Path) -> None:
    assert edit(database).ok


def test_a_cheaper_call_is_found(database: Path) -> None:
    report = edit(database, ("UPDATE events SET body = replace(body, ?, ?)", FORGED))
    assert damage(report) == [(PAID, f"call.settled of {TASK} was changed")]


def test_a_missing_event_is_found_three_times_over(database: Path) -> None:
    report = edit(database, DELETED)
    assert damage(report) == [
        (PAID + 1, f"positions {PAID} to {PAID} are missing"),
        (PAID + 1, f"{TASK} goes on with version 7 where 6 is next"),
        (PAID + 1, "the chain to the event before is broken"),
    ]


def test_a_missing_event_that_was_closed_over_breaks_the_chain(database: Path) -> None:
    closed_up = [("UPDATE events SET position = ? WHERE position = ?", (n - 1, n)) for n in range(PAID + 1, 155)]
    report = edit(database, DELETED, *closed_up)
    assert damage(report)[0] == (PAID, f"{TASK} goes on with version 7 where 6 is next")
    assert (PAID, "the chain to the event before is broken") in damage(report)


def test_a_lost_tail_is_found_by_the_head_marker_alone(database: Path) -> None:
    report = edit(database, ("DELETE FROM events WHERE position > ?", (150,)))
    assert damage(report) == [(150, "4 acknowledged events after this one are missing")]
    with pytest.raises(LostTail):
        SqliteEventStore.open(database, log_codec())


def test_two_events_that_changed_places_are_found(database: Path) -> None:
    places = ((1_000, 40), (40, 41), (41, 1_000))
    report = edit(database, *(("UPDATE events SET position = ? WHERE position = ?", each) for each in places))
    # both of them, the one that follows in the chain, and the one that follows in their stream
    assert {position for position, _ in damage(report)} == {40, 41, 42, 44}


@pytest.mark.parametrize("change", EDITS)
def test_every_column_is_under_the_seal(database: Path, change: str) -> None:
    report = edit(database, (change, ()))
    assert damage(report) == [(26, f"task.created of {TASK} was changed")]


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_found_or_changes_nothing(database: Path, tmp_path: Path, seed: int) -> None:
    before = tmp_path / "before.jsonl"
    with before.open("wb") as out:
        export_jsonl(database, out)
    raw = bytearray(database.read_bytes())
    place = 7919 * (seed + 1) * 104_729 % (len(raw) * 8)
    raw[place // 8] ^= 1 << place % 8
    database.write_bytes(raw)
    try:
        report = verify(database)
    except OmniError:
        return
    if report.ok:
        after = tmp_path / "after.jsonl"
        with after.open("wb") as out:
            export_jsonl(database, out)
        assert after.read_bytes() == before.read_bytes()


# --- exports --------------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], name: str = "quiet-day") -> str:
    """Why a changed export is not taken; nothing of it may be there afterwards."""
    file, target = tmp_path / "changed.jsonl", tmp_path / "data" / "omni.db"
    file.write_bytes(b"".join(change(file_of(name).read_bytes().splitlines(keepends=True))))
    with file.open("rb") as source, pytest.raises(CorruptLog) as caught:
        import_jsonl(source, target)
    assert not target.exists()
    return caught.value.message


def test_a_forged_export_that_checks_line_by_line_is_refused_by_the_chain(tmp_path: Path) -> None:
    why = refused(tmp_path, lambda lines: lines, DAMAGED)
    assert why == f"line 34: position {PAID} (call.settled of {TASK}) was changed; nothing was imported"


def test_an_export_without_a_line_or_without_its_end_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, lambda lines: lines[:33] + lines[34:]).startswith("line 34: position 32 follows 30")
    assert refused(tmp_path, lambda lines: lines[:-1]).startswith("line 157: the export ends here")
    assert refused(tmp_path, lambda lines: lines[:-5] + lines[-1:]).startswith("line 154: ")


def test_a_changed_letter_is_refused_in_its_line(tmp_path: Path) -> None:
    def change(lines: list[bytes]) -> list[bytes]:
        return [*lines[:50], lines[50].replace(b"e", b"E", 1), *lines[51:]]

    assert refused(tmp_path, change).startswith("line 51: it was changed or cut")


def test_the_forged_export_differs_from_the_sound_one_in_one_event(tmp_path: Path) -> None:
    sound, forged = (file_of(name).read_bytes().splitlines() for name in ("quiet-day", DAMAGED))
    differ = [n for n, pair in enumerate(zip(sound, forged, strict=True), 1) if pair[0] != pair[1]]
    assert differ == [34, len(sound)]
    with History.open(unpack("quiet-day", tmp_path / "data")) as history:
        assert history.reader.head.position == 154


# --- what a person is told ------------------------------------------------------------------------------------------


def test_the_report_of_a_damaged_log_says_so_and_where(database: Path) -> None:
    edit(database, ("UPDATE events SET body = replace(body, ?, ?)", FORGED))
    with History.at(database) as history:
        told = visible(report_html(history, 0, None, zone=OWNER))
    assert "The record is sound." not in told
    assert f"call.settled of {TASK} was changed" in told


def test_a_log_with_a_hole_is_refused_where_it_would_have_to_be_read_across(database: Path) -> None:
    edit(database, DELETED)
    with History.at(database) as history, pytest.raises(CorruptLog, match=f"position {PAID}"):
        list(history.reader.read())
