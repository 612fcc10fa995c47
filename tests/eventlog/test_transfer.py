"""A log that was exported and imported is the same log; an export that was touched is none."""

import hashlib
import io
import itertools
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.eventlog.samples import CODEC, Counted, fill, said, texts, tinker

from omni.domain.errors import CorruptLog, EventLogError
from omni.eventlog.backup import verify
from omni.eventlog.chain import COLUMNS, seal
from omni.eventlog.marker import marker_path, read_marker
from omni.eventlog.reader import open_reader
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry, Head
from omni.eventlog.transfer import export_jsonl, import_jsonl

LARGE = "large " * 4_000
_numbers = itertools.count()


def exported(database: Path, after: int = 0, until: int | None = None) -> bytes:
    out = io.BytesIO()
    export_jsonl(database, out, after, until)
    return out.getvalue()


def imported(content: bytes, database: Path) -> Head:
    return import_jsonl(io.BytesIO(content), database)


def make(path: Path) -> Path:
    """A log with two boots, a payload that is kept, one that was erased, and inputs."""
    with SqliteEventStore.open(path, CODEC) as store:
        fill(store, "task-1", 3)
        store.append([said("task-2", 1, LARGE), said("task-3", 1, "secret " * 4_000)])
    with SqliteEventStore.open(path, CODEC) as store:
        store.append([Entry("task-4", 1, Counted(1.5, "mm"), 7, 7, "router", "m", b'{"a": 1}')])
        assert store.erase_blob(hashlib.sha256(b"secret " * 4_000).hexdigest())
    return path


@pytest.fixture
def content(path: Path) -> bytes:
    return exported(make(path))


def rows_of(database: Path) -> list[Any]:
    reader = open_reader(database, CODEC)
    found = [reader._rows(f"SELECT * FROM {table} ORDER BY 1") for table in ("events", "epochs", "blobs")]  # noqa: S608
    reader.close()
    return found


def resealed(line: bytes, change: Callable[[Any], None]) -> bytes:
    """A line that somebody has changed who knows how a check is made."""
    body = msgspec.json.decode(line)
    del body["check"]
    change(body)
    raw = msgspec.json.encode(body)
    return raw[:-1] + b',"check":"' + hashlib.sha256(raw).hexdigest()[:16].encode() + b'"}\n'


def bottomless(line: Any) -> None:
    """An event with a sound hash, and a list of payloads that nests too deeply to be read."""
    line["body"] = '{"$blob":[{"at":' + "[" * 100_000
    line["hash"] = seal((*(line[name] for name in COLUMNS[:-2]), bytes.fromhex(line["prev_hash"]))).hex()


def refused(content: bytes, directory: Path) -> str:
    """How an import is turned down; nothing may be left of it."""
    home = directory / f"home-{next(_numbers)}"
    with pytest.raises(CorruptLog) as caught:
        imported(content, home / "omni.db")
    assert list(home.iterdir()) == []
    return caught.value.message


def test_an_import_has_the_same_rows_payloads_and_head(path: Path, content: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "omni.db"
    head = imported(content, copy)
    assert rows_of(copy) == rows_of(path)
    assert read_marker(marker_path(copy)) == (head, False)
    assert verify(copy, CODEC).ok
    assert exported(copy) == content
    reader = open_reader(copy, CODEC)
    assert "[erased: 28000 bytes" in " ".join(r.event.text for r in reader.read() if hasattr(r.event, "text"))
    assert LARGE in texts(reader, prefixes=("task-2",))
    reader.close()


def test_a_daemon_goes_on_where_the_export_ended(content: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "omni.db"
    head = imported(content, copy)
    with SqliteEventStore.open(copy, CODEC) as store:
        assert store.boot.startswith("3-"), "the third to own this log"
        assert store.notes == ()
        assert store.append([said("task-1", 4)]) == head.position + 1
    assert verify(copy, CODEC).ok


def test_the_files_are_the_owners_alone(content: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "new" / "omni.db"
    imported(content, copy)
    assert {file.name: file.stat().st_mode & 0o777 for file in copy.parent.iterdir()} == {
        "omni.db": 0o600,
        "omni.db.head": 0o600,
    }
    assert copy.parent.stat().st_mode & 0o777 == 0o700


def test_a_living_log_can_be_exported(path: Path, store: SqliteEventStore, tmp_path: Path) -> None:
    fill(store, "task-1", 5)
    copy = tmp_path / "copy" / "omni.db"
    assert imported(exported(path), copy) == store.head


def test_an_empty_log_travels_too(path: Path, tmp_path: Path) -> None:
    SqliteEventStore.open(path, CODEC).close()
    copy = tmp_path / "copy" / "omni.db"
    assert imported(exported(path), copy).position == 0
    assert verify(copy, CODEC).ok


def test_every_line_is_json_and_names_all_columns(content: bytes) -> None:
    lines = [msgspec.json.decode(line) for line in content.splitlines()]
    assert [line["line"] for line in lines] == ["header", *["epoch"] * 2, *["blob"] * 2, *["event"] * 6, "end"]
    assert lines[0]["head"]["position"] == 6
    assert lines[5]["body"] == '{"type":"sample.said","text":"hello 1","nested":{}}'
    assert lines[5]["input"] == '{"asked":1}'
    assert {line["data"] is None for line in lines[3:5]} == {True, False}


def test_a_range_can_be_read_and_not_imported(path: Path, content: bytes, tmp_path: Path) -> None:
    part = exported(path, 3, 5)
    lines = [msgspec.json.decode(line) for line in part.splitlines()]
    assert [line.get("position") for line in lines if line["line"] == "event"] == [4, 5]
    assert len([line for line in lines if line["line"] == "blob"]) == 2
    message = refused(part, tmp_path)
    assert "line 1: it is a part of a log, from position 4 to 5 of 6" in message
    assert "part of a log" in refused(exported(path, 0, 5), tmp_path)
    assert exported(path, 0, 99) == content, "beyond the end is the end"


def test_nothing_is_overwritten(content: bytes, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "omni.db"
    imported(content, copy)
    before = copy.read_bytes()
    with pytest.raises(EventLogError, match="exists already"):
        imported(content, copy)
    assert copy.read_bytes() == before
    for left in ("omni.db.head", "omni.db-wal"):
        other = tmp_path / left
        other.mkdir()
        (other / left).touch()
        with pytest.raises(EventLogError, match=re.escape(f"{left} exists already")):
            imported(content, other / "omni.db")
        (other / left).unlink()
        (other / left).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(EventLogError, match=re.escape(f"{left} exists already")):
            imported(content, other / "omni.db")
        assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("number", range(1, 13))
def test_a_line_that_is_missing_doubled_or_moved_is_refused(number: int, content: bytes, tmp_path: Path) -> None:
    lines = content.splitlines(keepends=True)
    assert len(lines) == 12
    at = number - 1
    without = [*lines[:at], *lines[number:]]
    for changed in (without, [*lines[:number], *lines[at:]], [*without[: at - 1], lines[at], *without[at - 1 :]]):
        if changed != lines:
            assert re.match(r"line \d+: ", refused(b"".join(changed), tmp_path))


def test_an_export_that_was_cut_anywhere_is_refused(content: bytes, tmp_path: Path) -> None:
    ends = {0, 1, len(content) - 1, len(content) - 2, *(m.end() for m in re.finditer(rb"\n", content[:-1]))}
    for end in sorted(ends):
        assert re.match(r"line \d+: ", refused(content[:end], tmp_path))


def test_what_follows_the_last_line_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "line 12: something follows" in refused(content + b"\n", tmp_path)


TAMPERED: dict[str, tuple[int, Callable[[Any], None], str]] = {
    "another text": (6, lambda line: line.update(body='{"type":"sample.said","text":"hullo"}'), "line 6: position 1"),
    "another time": (7, lambda line: line.update(at_ms=5), "line 7: position 2"),
    "another hash": (8, lambda line: line.update(hash="00" * 32), "line 8: position 3"),
    "no hash": (8, lambda line: line.update(hash="zz"), "line 8: it holds what no log holds"),
    "a time that no calendar has": (8, lambda line: line.update(at_ms=10**15), "line 8: it holds what no log holds"),
    "a time before all clocks": (8, lambda line: line.update(at_ms=-1), "line 8: it holds what no log holds"),
    "a payload without a bottom": (6, bottomless, "line 6: it holds what no log holds"),
    "a number beyond all": (8, lambda line: line.update(mono_ms=2**70), "line 8"),
    "another payload": (5, lambda line: line.update(data="aGk=", bytes=2), "line 5: payload"),
    "another name of a payload": (4, lambda line: line.update(hash="00" * 32), "line "),
    "another place": (6, lambda line: line.update(position=2), "line 6: position 2 follows 0"),
    "another column": (6, lambda line: line.update(more=1), "line 6: it cannot be read"),
    "a word for a number": (6, lambda line: line.update(version="1"), "line 6: it cannot be read"),
    "another epoch": (2, lambda line: line.update(epoch=2), "line 2: epoch 2 is out of order"),
    "another pid": (2, lambda line: line.update(pid=1), "line 12: the last line speaks of other lines"),
    "another head": (1, lambda line: line["head"].update(position=5), "line 12"),
    "a later format": (1, lambda line: line.update(format=2), "line 1: it has format 2"),
    "another sum": (12, lambda line: line.update(sha256="00" * 32), "line 12: the last line speaks of other lines"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_changed_with_care_is_refused_too(case: str, content: bytes, tmp_path: Path) -> None:
    number, change, message = TAMPERED[case]
    lines = content.splitlines(keepends=True)
    lines[number - 1] = resealed(lines[number - 1], change)
    assert message in refused(b"".join(lines), tmp_path)


def test_a_damaged_log_is_not_exported(path: Path) -> None:
    make(path)
    tinker(path, "DROP TRIGGER events_no_update", "UPDATE events SET actor = 'other' WHERE position = 2")
    out = io.BytesIO()
    with pytest.raises(CorruptLog, match="position 2"):
        export_jsonl(path, out)
    assert b'"position":2' not in out.getvalue()


def test_progress_is_told(path: Path) -> None:
    make(path)
    told: list[int] = []
    out = io.BytesIO()
    assert export_jsonl(path, out, 2, None, told.append) == 4
    assert told == [4]


def test_a_place_that_cannot_be_written_says_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EventLogError, match="cannot be written"):
        imported(content, tmp_path / "file" / "omni.db")


Text = st.one_of(
    st.text(max_size=20), st.just("x" * 20_000), st.just('{"$blob":[]} "\\'), st.just("\u2028\x7f\U0001f600")
)
Logs = st.lists(
    st.lists(st.tuples(st.sampled_from(["task-a", "task-b", "router"]), Text, st.booleans()), min_size=1, max_size=4),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(log=Logs, data=st.data())
def test_any_log_comes_back_as_it_was_and_any_changed_byte_is_noticed(
    log: list[list[tuple[str, str, bool]]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("log")
    versions = {"task-a": 0, "task-b": 0, "router": 0}
    with SqliteEventStore.open(home / "omni.db", CODEC) as store:
        for turn in log:
            entries = []
            for stream, text, asked in turn:
                versions[stream] += 1
                raw = msgspec.json.encode({"text": text}) if asked else None
                entries.append(said(stream, versions[stream], text, raw))
            store.append(entries)
    content = exported(home / "omni.db")
    copy = home / "copy" / "omni.db"
    imported(content, copy)
    assert exported(copy) == content
    assert rows_of(copy) == rows_of(home / "omni.db")
    assert verify(copy, CODEC).ok
    at, other = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    changed = content[:at] + bytes([content[at] ^ other]) + content[at + 1 :]
    line = content.count(b"\n", 0, at) + 1
    message = refused(changed, home)
    assert message.startswith((f"line {line}: ", f"line {line + 1}: ") if content[at] == 10 else f"line {line}: ")


def test_memory_holds_a_batch_and_not_the_log(path: Path, tmp_path: Path) -> None:
    """The source is read line by line, and never further than the lines that are taken."""
    with SqliteEventStore.open(path, CODEC) as store:
        for block in range(5):
            store.append([said(f"task-{block}", version, "x" * 100) for version in range(1, 1_001)])
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as source, os.fdopen(write_fd, "wb") as sink:

        def write() -> None:
            export_jsonl(path, sink)
            sink.close()

        writer = threading.Thread(target=write)
        writer.start()
        head = import_jsonl(source, tmp_path / "copy" / "omni.db")
        writer.join(10)
    assert head.position == 5_000
