"""What a request to the model port may hold; told before it costs memory."""

import json

import pytest

from omni.server.model_port import MOST_VALUES, decoded, too_many

MANY = MOST_VALUES + 1
CROWDS = {
    "lists": b'{"x":[' + b"[]," * MANY + b"[]]}",
    "objects": b'{"x":[' + b"{}," * MANY + b"{}]}",
    "numbers": b'{"x":[' + b"1," * MANY + b"1]}",
    "texts": b'{"x":[' + b'"ab",' * MANY + b'"ab"]}',
    "names": b"{" + b",".join(b'"%d":1' % number for number in range(MANY)) + b"}",
    "after an escape": b'{"a":"\\\\","x":[' + b"[]," * MANY + b'[]],"b":"\\""}',
    "far more texts": b'{"x":[' + b'"",' * (5 * MANY) + b'""]}',
}
TEXTS = {
    "commas": "," * (8 * MOST_VALUES),
    "code": 'f([{"a": 1}], "\\n"), ' * MOST_VALUES,
    "quotes": '","' * MOST_VALUES,
    "backslashes": '\\",[' * MOST_VALUES,
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_more_values_than_any_conversation_has_are_turned_down_unread(crowd: str) -> None:
    assert json.loads(CROWDS[crowd])
    with pytest.raises(Exception, match=f"may have {MOST_VALUES} values"):
        decoded(CROWDS[crowd], 64)


@pytest.mark.parametrize("text", TEXTS)
def test_a_long_text_is_one_value_whatever_it_is_full_of(text: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": TEXTS[text]}]}
    raw = json.dumps(body).encode()
    assert not too_many(raw)
    assert decoded(raw, 64) == body


def test_as_many_values_as_are_allowed_are_read() -> None:
    raw = b'{"x":[' + b"1," * (MOST_VALUES - 3) + b"1]}"
    assert len(decoded(raw, 64)["x"]) == MOST_VALUES - 2
