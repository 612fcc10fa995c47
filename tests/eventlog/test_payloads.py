"""Large strings live in a table of their own and can be erased; the chain never notices."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.eventlog.samples import CODEC, Said, said, texts, tinker

from omni.domain.errors import CorruptLog
from omni.eventlog.backup import verify
from omni.eventlog.payloads import LARGE_BYTES, erased_text, is_stub, put_back, take_out
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry

SECRET = "my secret diary, page after page. " * 1000

_leaf = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text("ab€", max_size=9) | st.just(SECRET)
_trees = st.recursive(
    _leaf, lambda node: st.lists(node, max_size=4) | st.dictionaries(st.text("ab$", max_size=3), node)
)


@given(st.dictionaries(st.sampled_from(["a", "b", "$blob", "type"]), _trees) | _trees)
def test_what_is_taken_out_can_be_put_back(tree: Any) -> None:
    text = msgspec.json.encode(tree).decode()
    blobs: dict[bytes, bytes] = {}
    stub = take_out(text, blobs)
    assert is_stub(stub) == bool(blobs)
    assert msgspec.json.decode(put_back(stub, blobs.get) if blobs else stub) == tree
    assert len(stub) <= LARGE_BYTES or SECRET not in stub


def test_a_forged_stub_is_kept_as_what_it_is() -> None:
    forged = '{"$blob":[{"at":["a"],"sha256":"00","bytes":1}],"a":""}'
    blobs: dict[bytes, bytes] = {}
    stub = take_out(forged, blobs)
    assert put_back(stub, blobs.get) == forged


def test_a_large_text_is_stored_once_and_read_back(path: Path, store: SqliteEventStore) -> None:
    raw = msgspec.json.encode({"id": "m-1", "prompt": SECRET})
    store.append([Entry("task-1", 1, Said("kept", {"prompt": SECRET}), 1, 1, "a", "c", raw)])
    (recorded,) = store.read(check=True)
    assert recorded.event == Said("kept", {"prompt": SECRET})
    assert recorded.input is not None
    assert msgspec.json.decode(recorded.input) == {"id": "m-1", "prompt": SECRET}
    rows = store._rows("SELECT length(body) + length(input), (SELECT count(*) FROM blobs) FROM events")
    assert rows[0][0] < 1_000
    assert rows[0][1] == 1


def test_an_erased_text_says_so_and_the_chain_still_holds(path: Path, store: SqliteEventStore) -> None:
    store.append([Entry("task-1", 1, Said("kept", {"prompt": SECRET}), 1, 1, "a", "c")])
    ((digest, size),) = store._rows("SELECT hash, bytes FROM blobs")
    assert store.erase_blob(digest.hex())
    assert not store.erase_blob(digest.hex())
    (recorded,) = store.read(check=True)
    assert recorded.event == Said("kept", {"prompt": erased_text(digest.hex(), size)})
    store.append([said("task-1", 2)])
    store.close()
    assert verify(path, CODEC).ok


def test_erasing_leaves_no_trace_of_the_bytes_in_any_file(path: Path, store: SqliteEventStore) -> None:
    store.append([Entry("task-1", 1, Said("kept", {"prompt": SECRET}), 1, 1, "a", "c", b'{"a":1}')])
    needle = SECRET[:34].encode()
    assert needle in b"".join(_content(file) for file in path.parent.iterdir())
    store.erase_blob(store._rows("SELECT hash FROM blobs")[0][0].hex())
    assert needle not in b"".join(_content(file) for file in path.parent.iterdir())
    store.close()
    assert needle not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_the_same_text_given_again_after_an_erasure_is_there_again(store: SqliteEventStore) -> None:
    store.append([said("task-1", 1, SECRET)])
    store.erase_blob(store._rows("SELECT hash FROM blobs")[0][0].hex())
    store.append([said("task-2", 1, SECRET)])
    assert texts(store, check=True) == [SECRET, SECRET]


def test_a_large_input_that_is_no_object_leaves_as_a_whole(store: SqliteEventStore) -> None:
    raw = msgspec.json.encode(SECRET)
    store.append([said("task-1", 1, raw=raw)])
    assert next(iter(store.read())).input == raw


def test_a_missing_payload_is_damage_and_not_an_erasure(path: Path, store: SqliteEventStore) -> None:
    store.append([said("task-1", 1, SECRET)])
    store.close()
    tinker(path, "DROP TRIGGER blobs_no_delete", "DELETE FROM blobs")
    assert any("is missing" in problem.what for problem in verify(path, CODEC).problems)
    with SqliteEventStore.open(path, CODEC) as again, pytest.raises(CorruptLog, match="is missing"):
        list(again.read())


def test_a_changed_payload_is_found_by_every_read(path: Path, store: SqliteEventStore) -> None:
    store.append([said("task-1", 1, SECRET)])
    store.close()
    tinker(path, "UPDATE blobs SET data = CAST('x' || substr(data, 2) AS BLOB)")
    assert any("payload" in problem.what and "changed" in problem.what for problem in verify(path, CODEC).problems)
    with SqliteEventStore.open(path, CODEC) as again, pytest.raises(CorruptLog, match="was changed"):
        list(again.read())


def _content(file: Path) -> bytes:
    # The database itself is open: reading it here would drop SQLite's locks on closing. The WAL has the bytes.
    return file.read_bytes() if file.name.endswith("-wal") else b""
