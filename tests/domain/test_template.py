"""Templates of tool arguments are filled as values, once, and never read again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.domain.errors import ConfigError
from omni.domain.template import PLACEHOLDERS, compile_template, render

VALUES: dict[str, Any] = {
    "description": 'say "hi" to {key} & {{x}} 100%',
    "task_id": "t-1",
    "attempt": 2,
    "key": "t-1:2",
    "workdir": "",
    "model": None,
    "base_url": "http://127.0.0.1:18765",
    "session": "",
}


def test_a_string_that_is_one_placeholder_takes_the_type_of_its_value() -> None:
    assert render({"n": "{attempt}", "m": "{model}"}, VALUES) == {"n": 2, "m": None}


def test_placeholders_inside_text_are_written_out_and_none_is_nothing() -> None:
    assert render("{task_id} no. {attempt} {model}!", VALUES) == "t-1 no. 2 !"


def test_filled_text_is_never_scanned_again() -> None:
    assert render(["{description}", "do: {description}"], VALUES) == [
        VALUES["description"],
        "do: " + VALUES["description"],
    ]


def test_doubled_braces_are_plain_braces_and_a_percent_sign_is_itself() -> None:
    assert render("{{description}} is 100% {attempt} %s", VALUES) == "{description} is 100% 2 %s"


def test_braces_that_hold_no_name_are_plain_text() -> None:
    assert render('{"a": 1, "b": {}, "c": { } } {1}', VALUES) == '{"a": 1, "b": {}, "c": { } } {1}'


def test_an_unknown_placeholder_is_refused_when_the_template_is_read() -> None:
    with pytest.raises(ConfigError, match=r"unknown placeholder \{descripton\}"):
        compile_template({"deep": [{"text": "{descripton}"}]})


def test_values_that_are_not_text_stay_as_they_are_and_keys_are_not_templates() -> None:
    template = {"{key}": [1, 2.5, True, None, {"x": "{key}"}]}
    assert render(template, VALUES) == {"{key}": [1, 2.5, True, None, {"x": "t-1:2"}]}


def test_nesting_without_end_is_refused() -> None:
    template: Any = "x"
    for _ in range(100):
        template = [template]
    with pytest.raises(ConfigError, match="levels deep"):
        compile_template(template)


def test_filling_twice_gives_two_values_that_share_no_container() -> None:
    template = compile_template({"options": {"deep": ["{key}"]}})
    first, second = template.fill(VALUES), template.fill(VALUES)
    first["options"]["deep"].append("changed")
    assert second == {"options": {"deep": ["t-1:2"]}}


_TEXT = st.text(alphabet="{}%s kxey\n", max_size=20)


@given(literal=_TEXT, value=st.text(max_size=30))
def test_escaped_text_around_any_value_comes_back_unchanged(literal: str, value: str) -> None:
    escaped = literal.replace("{", "{{").replace("}", "}}")
    assert render(f"{escaped}|{{key}}|{escaped}", {"key": value}) == f"{literal}|{value}|{literal}"


@given(st.dictionaries(st.sampled_from(PLACEHOLDERS), st.text(max_size=10), min_size=8))
def test_a_placeholder_alone_is_its_value_whatever_the_value_holds(values: dict[str, str]) -> None:
    assert render({name: f"{{{name}}}" for name in values}, values) == values
