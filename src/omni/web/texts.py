"""Every word on a page, in each language; the one table that reports and dashboard speak from.

An entry is (English, Chinese) or (English, Chinese, English for one): the third is used where the fact `n` is 1.
`{name}` stands for a fact. Facts are values, never templates, and are escaped where the page is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from omni.notify.texts import Language
from omni.web.texts_common import COMMON
from omni.web.texts_door import DOOR
from omni.web.texts_pages import PAGES
from omni.web.texts_report import REPORT

LANGUAGES: tuple[Language, ...] = get_args(Language)
HTML_LANGUAGE: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
TABLES = (COMMON, REPORT, PAGES, DOOR)
TEXTS: dict[str, tuple[str, ...]] = {key: texts for table in TABLES for key, texts in table.items()}


def say(language: Language, key: str, facts: Mapping[str, Any]) -> str:
    """One text with its facts filled in. Raises KeyError for a key or a fact that is missing."""
    en, zh, *one = TEXTS[key]
    if language == "zh":
        return zh.format_map(facts)
    return (one[0] if one and facts.get("n") == 1 else en).format_map(facts)


def word(language: Language, group: str, value: str) -> str:
    """The word for one value of a set, such as a state; a value that has none stands for itself."""
    key = f"{group}.{value}"
    return say(language, key, {}) if key in TEXTS else value
