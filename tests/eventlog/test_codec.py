import hashlib
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.eventlog.samples import CODEC, Counted, Rawly, Said, said, texts

from omni.domain.errors import CorruptLog
from omni.eventlog.chain import GENESIS, seal
from omni.eventlog.codec import Codec
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import BadEvent, Entry


def nest(depth: int) -> Any:
    tree: Any = 1
    for _ in range(depth):
        tree = [tree]
    return tree


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_valid_text_goes_through_unchanged(text: str) -> None:
    name, schema, body = CODEC.encode(Said(text))
    assert CODEC.decode(name, schema, body) == Said(text)


def test_a_body_carries_its_type_so_that_a_person_can_read_the_log() -> None:
    assert CODEC.encode(Counted(2.5, "kg")) == (
        "sample.counted", 2, '{"type":"sample.counted","number":2.5,"unit":"kg"}',
    )  # fmt: skip


def test_an_old_event_is_lifted_and_renamed() -> None:
    assert CODEC.decode("sample.tallied", 1, '{"type":"sample.tallied","count":3}') == Counted(3, "pieces")


def test_upcasters_are_applied_one_after_the_other() -> None:
    class Third(msgspec.Struct, frozen=True, tag="t"):
        schema: ClassVar[int] = 3
        total: int

    codec = Codec(
        Third, {("t", 1): lambda b: {**b, "sum": b["n"] + 1}, ("t", 2): lambda b: {**b, "total": b["sum"] * 2}}
    )
    assert codec.decode("t", 1, '{"type":"t","n":4}') == Third(10)
    assert codec.decode("t", 2, '{"type":"t","sum":4}') == Third(8)


@pytest.mark.parametrize(("name", "schema"), [("sample.said", 2), ("sample.sung", 1), ("sample.counted", 3)])
def test_an_event_from_the_future_names_a_newer_omni(name: str, schema: int) -> None:
    with pytest.raises(CorruptLog, match="a newer omni wrote") as raised:
        CODEC.decode(name, schema, "{}")
    assert "omni version" in raised.value.hint


def test_an_old_event_without_an_upcaster_says_so() -> None:
    with pytest.raises(CorruptLog, match="no upcaster to 2"):
        CODEC.decode("sample.counted", 1, "{}")


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '{"type":"sample.counted"}', '{"type":"sample.said","text":5}', '{"type":"sample.said"}',
     '{"type":"sample.said","text":"\\ud800"}', '{"type":"sample.said","text":"a","nested":{"a":' + "[" * 3000,
     '{"type":"sample.said","text":"a","nested":{"a":' + "[" * 3000 + "]" * 3000 + "}}"],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_damage(body: str) -> None:
    with pytest.raises(CorruptLog, match=r"sample\.said"):
        CODEC.decode("sample.said", 1, body)


@pytest.mark.parametrize("body", ["", "{", "[]", "5", "{}", "[" * 3000])
def test_an_old_body_that_cannot_be_lifted_is_damage(body: str) -> None:
    with pytest.raises(CorruptLog):
        CODEC.decode("sample.tallied", 1, body)


class Stranger(msgspec.Struct, frozen=True, tag="sample.stranger"):
    pass


POISON = {
    "a lone surrogate": Said("\ud800"),
    "a lone surrogate in raw JSON": Rawly(msgspec.Raw(b'{"a": "\\ud800"}')),
    "a number for a text": Said(5),  # type: ignore[arg-type]
    "not a number": Counted(float("nan"), "kg"),
    "raw JSON that is none": Rawly(msgspec.Raw(b"{oops")),
    "depth 1000": Said("", {"a": nest(1000)}),
    "depth 200, which a reader deep in its stack cannot follow": Said("", {"a": nest(200)}),
    "an event of another house": Stranger(),
    "something that is no JSON": Said("", {"a": object()}),
}


@pytest.mark.parametrize("event", POISON.values(), ids=POISON.keys())
def test_an_event_that_could_not_be_read_back_is_never_written(store: SqliteEventStore, event: msgspec.Struct) -> None:
    store.append([said("task-1", 1)])
    with pytest.raises(BadEvent):
        store.append([said("task-1", 2), Entry("task-1", 3, event, 1, 1, "a", "c")])
    assert store.append([said("task-1", 2, "after")]) == 2
    assert texts(store, check=True) == ["hello", "after"]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 500 + b"]" * 500, b"NaN", b"{} {}"])
def test_an_input_that_is_no_sound_json_is_never_written(store: SqliteEventStore, raw: bytes) -> None:
    with pytest.raises(BadEvent):
        store.append([said("task-1", 1, raw=raw)])
    assert store.head.position == 0


@pytest.mark.parametrize(
    "change",
    [{"stream": "\ud800"}, {"actor": "\ud800"}, {"at_ms": 2**70}, {"at_ms": 2**63}, {"cause": None}, {"at_ms": "x"}],
)
def test_a_column_of_the_wrong_kind_is_never_written(store: SqliteEventStore, change: dict[str, Any]) -> None:
    with pytest.raises(BadEvent):
        store.append([msgspec.structs.replace(said("task-1", 1), **change)])
    assert store.append([said("task-1", 1)]) == 1


def test_brackets_inside_strings_are_no_depth(store: SqliteEventStore) -> None:
    text = '[[{{\\"' * 300
    store.append([said("task-1", 1, text)])
    assert texts(store) == [text]


def test_the_chain_is_what_its_description_says() -> None:
    row = (1, "s", 1, "t", 1, 5, 6, "1-b", "a", "c", "{}", None, GENESIS)
    assert hashlib.sha256(b"omni event log, format 1").digest() == GENESIS
    assert seal(row) == hashlib.sha256(msgspec.msgpack.encode(row)).digest()
    assert seal(row).hex() == "b764a8b3ac7761f3c081ad80304797d9aae74727c09f1f72d6a871302ce87427"


def test_events_need_a_string_tag() -> None:
    class Nameless(msgspec.Struct):
        pass

    with pytest.raises(TypeError, match="Nameless"):
        Codec(Nameless)
