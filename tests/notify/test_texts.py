"""What notices say."""

from __future__ import annotations

import string
from typing import get_args

import pytest

from omni.config import EventGroup
from omni.domain import brainstem as rules
from omni.notify.texts import TEXTS, Language, group, kinds_of, render


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_kind_that_brainstem_tells_has_a_text() -> None:
    told = {kind for kinds in rules._TOLD.values() for kind in kinds}
    own = {
        "restarted_after_crash",
        "no_repair",
        "repair_given_up",
        "local_model_stays",
        "executor_paused",
        "crash_loop",
    }
    assert told | own <= TEXTS.keys()


@pytest.mark.parametrize("kind", TEXTS)
def test_both_languages_say_the_same_facts(kind: str) -> None:
    text = TEXTS[kind]
    assert placeholders(text.en) == placeholders(text.zh)
    assert any("一" <= c <= "鿿" for c in text.zh)
    assert text.en.isascii()


@pytest.mark.parametrize("kind", TEXTS)
def test_a_notice_without_its_facts_can_be_read_all_the_same(kind: str) -> None:
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        said = render(kind, {}, language)
        assert "{" not in said
        assert "None" not in said


def test_the_language_is_the_users() -> None:
    assert "Cloud restored" in render("cloud_restored", {"mode": "NORMAL"}, "en")
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
    assert {text.group for text in TEXTS.values()} - {None} == set(get_args(EventGroup))


def test_the_mode_is_told_in_the_owners_words() -> None:
    assert "Cloud offline, tasks suspended" in render("cloud_offline", {"reason": "no route"}, "en")
    assert "云端离线，任务已挂起" in render("cloud_offline", {"reason": "no route"}, "zh")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_held_task_is_told_with_what_to_type(language: Language) -> None:
    facts = {"task": "t1", "title": "Tidy up", "reason": "it broke", "options": "retry accept fail"}
    said = render("task_held", facts, language)
    assert "Tidy up" in said
    assert "omni task resolve t1 retry; omni task resolve t1 accept; omni task resolve t1 fail" in said
    waits = render("task_held", {**facts, "options": ""}, language)
    assert "omni task retry t1; omni task cancel t1" in waits
    assert "resolve" not in waits


def test_the_exceptions_of_quiet_hours_are_known_by_their_kinds() -> None:
    assert set(kinds_of(["mode"])) >= {"cloud_offline", "cloud_restored", "degraded", "recovered"}
    assert set(kinds_of(["held", "executor"])) == {"task_held", "task_stranded", "executor_paused"}
