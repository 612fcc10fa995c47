"""What notices say."""

from __future__ import annotations

import string

import pytest

from omni.config import NotifyConfig
from omni.domain import brainstem as rules
from omni.notify.texts import TEXTS, group, render


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_kind_that_brainstem_tells_has_a_text() -> None:
    told = {kind for kinds in rules._TOLD.values() for kind in kinds}
    own = {"restarted_after_crash", "no_repair", "repair_given_up", "local_model_stays"}
    assert told | own <= TEXTS.keys()


@pytest.mark.parametrize("kind", TEXTS)
def test_both_languages_say_the_same_facts(kind: str) -> None:
    text = TEXTS[kind]
    assert placeholders(text.en) == placeholders(text.zh)
    assert any("一" <= c <= "鿿" for c in text.zh)
    assert text.en.isascii()


@pytest.mark.parametrize("kind", TEXTS)
def test_a_notice_without_its_facts_can_be_read_all_the_same(kind: str) -> None:
    for language in ("en", "zh"):
        said = render(kind, {}, language)
        assert "{" not in said
        assert "None" not in said


def test_the_language_is_the_users() -> None:
    assert "The cloud is back" in render("cloud_restored", {"mode": "NORMAL"}, "en")
    assert "云端已恢复" in render("cloud_restored", {"mode": "NORMAL"}, "zh")


def test_a_fact_is_never_taken_for_a_template() -> None:
    said = render("degraded", {"reason": "{attempts} {0.__class__} %s"}, "en")
    assert ": {attempts} {0.__class__} %s. " in said


def test_a_fact_that_is_empty_is_shown_as_unsaid() -> None:
    assert render("degraded", {"reason": ""}, "en").startswith("DEGRADED: –. ")


def test_a_kind_without_a_text_is_told_with_its_facts() -> None:
    assert render("new_thing", {"a": "1", "b": "2"}, "en") == "new_thing: a=1 b=2"
    assert group("new_thing") is None


def test_every_group_is_one_that_the_configuration_knows() -> None:
    everything = NotifyConfig(events=("mode", "held", "failed", "budget", "repair"))
    assert {text.group for text in TEXTS.values()} == set(everything.events)
