from __future__ import annotations

import json
import random
import string
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.redact import MASK, Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAQAB\n-----END RSA PRIVATE KEY-----"
TOKENS = [
    "sk-proj-abcdefgh12345678",
    "sk-or-v1-0123456789abcdef",
    "sk-ant-api03-0123456789abcdef",
    "ghp_0123456789abcdefghij",
    "github_pat_11ABCDEFG0123456789",
    "xoxb-123456789012-abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    JWT,
    PEM,
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("frame", ["{}", "key={};", '{{"a": "{}"}}', "看{}看", "url?x={}&y=1"])
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(token: str, frame: str) -> None:
    clean = Redactor().text(frame.format(token))

    assert token not in clean
    assert clean == frame.format(MASK)


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_of_any_form_is_masked_and_the_word_stays(word: str) -> None:
    assert Redactor().text(f"Authorization: {word} 0a1b2c3d4e") == f"Authorization: {word} ***"


def test_basic_credentials_and_passwords_in_urls_are_masked() -> None:
    assert Redactor().text("Authorization: Basic dXNlcjpwYXNz") == "Authorization: Basic ***"
    assert Redactor().text("at https://user:pass@host/x") == "at https://***@host/x"


@pytest.mark.parametrize(
    "text",
    [
        "the task-runner risk-assessment of 2026 went well",
        "basic understanding of bearer bonds",
        "mail me at someone@example.com about https://example.com/a",
        "a cursor eyJwYWdlIjoyLCJvcmRlciI6ImFzYyJ9 is no token",
        "ask-something-long-and-harmless-12345",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor(["some-secret"]).text(text) == text


def test_a_pem_block_without_an_end_is_masked_to_the_end() -> None:
    assert Redactor().text("x -----BEGIN PRIVATE KEY-----\nMIIabc\nrest") == "x ***"


def test_known_secrets_are_masked_from_six_characters_on() -> None:
    redactor = Redactor(["secret", "short"])

    assert redactor.text("a secret and a short one") == "a *** and a short one"


def test_a_secret_that_holds_another_is_masked_whole() -> None:
    assert Redactor(["abcdef", "abcdef-ghijkl"]).text("x abcdef-ghijkl y") == "x *** y"


def test_a_secret_is_found_in_its_escaped_forms() -> None:
    secret = 'pa"ss/wörd &1'
    redactor = Redactor([secret])

    assert redactor.text(json.dumps({"a": secret})) == '{"a": "***"}'
    assert redactor.text("http://h/?q=pa%22ss%2Fw%C3%B6rd%20%261") == "http://h/?q=***"


def test_values_are_cleaned_at_every_depth_and_the_original_is_untouched() -> None:
    given_value: dict[str, Any] = {
        "a": ["x canary-1 y", {"canary-1": 1, "n": None}],
        "b": b"canary-1",
        "c": 1.5,
    }
    before = repr(given_value)

    clean = Redactor(["canary-1"]).value(given_value)

    assert clean == {"a": ["x *** y", {"***": 1, "n": None}], "b": "***", "c": 1.5}
    assert repr(given_value) == before


def test_a_value_under_a_secret_name_is_masked_whatever_it_is() -> None:
    clean = Redactor().value({"Authorization": "x", "api_key": "y", "password": "z", "key": "k1", "token": "t"})

    assert clean == {"Authorization": MASK, "api_key": MASK, "password": MASK, "key": "k1", "token": "t"}


def test_a_value_nested_too_deeply_is_cut_off_and_does_not_raise() -> None:
    deep: Any = "canary-1"
    for _ in range(5000):
        deep = [deep]

    assert "canary" not in repr(Redactor(["canary-1"]).value(deep))


def test_two_hundred_canaries_spread_over_fields_leave_no_trace() -> None:
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + "-_/+="
    canaries = ["".join(chance.choices(letters, k=chance.randint(6, 40))) for _ in range(200)]
    event = {f"field{n}": [{"note": f"before {each} after"}, each, {each: n}] for n, each in enumerate(canaries)}

    written = json.dumps(Redactor(canaries).value(event))

    assert [each for each in canaries if each in written] == []


# A secret of stars could be put together by the masks themselves.
NO_STARS = st.characters(codec="utf-8", exclude_characters="*")


@given(
    secrets=st.lists(st.text(NO_STARS, min_size=6, max_size=20), min_size=1, max_size=5),
    pieces=st.lists(st.text(max_size=20), min_size=1, max_size=4),
)
def test_no_known_secret_survives_in_any_text(secrets: list[str], pieces: list[str]) -> None:
    text = secrets[0].join(["", *pieces, ""])
    clean = Redactor(secrets).text(text)

    assert [each for each in secrets if each in clean] == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["-eyJ", "sk-", "://a", "Bearer ", "-----BEGIN A-----", "authorization: ", "@", "_ghp_"]
)
def test_no_text_makes_the_search_slow(piece: str) -> None:
    text = piece * 100_000

    assert len(Redactor(["known-secret"]).text(text)) <= len(text) + len(MASK)


def test_text_without_a_secret_costs_little() -> None:
    redactor = Redactor(["a-known-secret-1", "a-known-secret-2"])
    text = ("The quick task ran at https://example.com/path and wrote 12 files; all went fine. " * 3)[:200]
    assert redactor.text(text) == text

    each_s = min(timeit.repeat(lambda: redactor.text(text), number=2000, repeat=5)) / 2000
    # About 0.7 µs; the bound leaves room for a busy machine and still catches one regular expression (6 µs).
    assert each_s < 5e-6
