"""Random damage to a log at rest: whatever changes what the log says is reported; nothing else raises.

OMNI_TORTURE multiplies the number of examples.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.eventlog.process import LogProcess
from tests.eventlog.samples import CODEC, fill, said

from omni.domain.errors import CorruptLog, EventLogError
from omni.eventlog.backup import RowCheck, verify
from omni.eventlog.connection import Rows, SharedReader
from omni.eventlog.marker import marker_path
from omni.eventlog.reader import BATCH_ROWS, SMALL_BATCH_ROWS, LogReader
from omni.eventlog.sqlite import SqliteEventStore

pytestmark = pytest.mark.slow
EXAMPLES = 150 * int(os.environ.get("OMNI_TORTURE", "1"))
torture = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
SUFFIXES = ("", "-wal", ".head")


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that was closed: everything is in the database."""
    path = tmp_path_factory.mktemp("at-rest") / "omni.db"
    with SqliteEventStore.open(path, CODEC) as store:
        fill(store, "task-1", 30, "some words of a task")
        store.append([said("task-2", 1, "large " * 4_000), said("task-2", 2)])
        fill(store, "task-3", 10)
    assert not Path(f"{path}-wal").exists()
    return path


@pytest.fixture(scope="module")
def in_the_wal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose daemon died: everything is in the WAL."""
    path = tmp_path_factory.mktemp("in-the-wal") / "omni.db"
    with LogProcess(path) as process:
        assert process.ask("append 40") == "ok 40"
        process.tell("exit")
        process.wait()
    assert Path(f"{path}-wal").stat().st_size > 100_000
    return path


@torture
@given(data=st.data())
def test_flipped_bits_in_the_database_are_reported(at_rest: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    _damage_and_judge(at_rest, tmp_path_factory, "", _flips(data))


@torture
@given(data=st.data())
def test_flipped_bits_in_the_wal_are_reported(in_the_wal: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    _damage_and_judge(in_the_wal, tmp_path_factory, "-wal", _flips(data))


@torture
@given(data=st.data())
def test_a_wal_cut_short_is_a_lost_tail(in_the_wal: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    def cut(raw: bytearray) -> None:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]

    copy = _damage(in_the_wal, tmp_path_factory, "-wal", cut)
    assert verify(copy, CODEC).problems
    with pytest.raises(EventLogError):
        SqliteEventStore.open(copy, CODEC)


@torture
@given(data=st.data())
def test_a_database_cut_short_is_reported(at_rest: Path, tmp_path_factory: Any, data: st.DataObject) -> None:
    def cut(raw: bytearray) -> None:
        del raw[data.draw(st.integers(1, len(raw) - 1)) :]

    _damage_and_judge(at_rest, tmp_path_factory, "", cut)


def test_undamaged_copies_are_found_whole(at_rest: Path, in_the_wal: Path, tmp_path_factory: Any) -> None:
    for original in (at_rest, in_the_wal):
        copy = _damage(original, tmp_path_factory, "", bytearray.copy)
        assert _says(copy) == _says(original)
        assert verify(copy, CODEC).problems == []


class Circles:
    """Pages that lead back to where they came from, as one flipped bit can make them."""

    def __init__(self, rows: SharedReader) -> None:
        self._rows = rows

    def rows(self, sql: str, bindings: tuple[object, ...] = ()) -> Rows:
        in_batches = sql.endswith((f"LIMIT {BATCH_ROWS}", f"LIMIT {SMALL_BATCH_ROWS}"))
        first_again = (0, *bindings[1:]) if in_batches else bindings
        return self._rows.rows(sql, first_again)


def test_rows_that_run_in_circles_are_reported_and_left(path: Path) -> None:
    with SqliteEventStore.open(path, CODEC) as store:
        store.append([said("task-1", version) for version in range(1, BATCH_ROWS + 2)])
    rows = SharedReader(path)
    check = RowCheck(path, CODEC)
    assert len(list(check._events(Circles(rows), None, lambda _: None))) == 2 * SMALL_BATCH_ROWS  # type: ignore[arg-type]
    assert check.report().events == 2 * SMALL_BATCH_ROWS
    assert not check.report().ok
    with pytest.raises(CorruptLog, match="out of order"):
        list(LogReader(Circles(rows), CODEC).read(prefixes=("task-",)))  # type: ignore[arg-type]
    rows.close()


def _flips(data: st.DataObject) -> Callable[[bytearray], None]:
    def flip(raw: bytearray) -> None:
        for bit in data.draw(st.lists(st.integers(0, len(raw) * 8 - 1), min_size=1, max_size=3, unique=True)):
            raw[bit // 8] ^= 1 << bit % 8

    return flip


def _damage_and_judge(
    original: Path, tmp_path_factory: pytest.TempPathFactory, suffix: str, change: Callable[[bytearray], object]
) -> None:
    copy = _damage(original, tmp_path_factory, suffix, change)
    report = verify(copy, CODEC)
    if report.ok:
        event("harmless")
        assert _says(copy) == _says(original)
    else:
        event("reported")
    with suppress(EventLogError):
        SqliteEventStore.open(copy, CODEC).close()


def _damage(
    original: Path, tmp_path_factory: pytest.TempPathFactory, suffix: str, change: Callable[[bytearray], object]
) -> Path:
    copy = tmp_path_factory.mktemp("damaged") / "omni.db"
    for each in SUFFIXES:
        if Path(f"{original}{each}").exists():
            shutil.copy(f"{original}{each}", f"{copy}{each}")
    damaged = Path(f"{copy}{suffix}")
    raw = bytearray(damaged.read_bytes())
    change(raw)
    damaged.write_bytes(raw)
    return copy


def _says(path: Path) -> list[Any]:
    """All that a log says, read without any of our code."""
    copy = path.with_name("said.db")
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    connection = apsw.Connection(str(copy))
    try:
        return [
            *connection.execute("SELECT * FROM events ORDER BY position"),
            *connection.execute("SELECT * FROM blobs"),
        ]
    finally:
        connection.close()
        assert marker_path(path).exists()
