from string import Formatter

import pytest
from jinja2 import Environment, PackageLoader, nodes

from omni.web.texts import HTML_LANGUAGE, LANGUAGES, TABLES, TEXTS, say, word

LOADER = PackageLoader("omni.web")
TEMPLATES = [name for name in LOADER.list_templates() if name.endswith(".html")]


def facts_of(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", TEXTS)
def test_every_text_is_there_in_each_language_with_the_same_facts(key: str) -> None:
    texts = TEXTS[key]
    assert len(texts) in {2, 3}
    assert all(text.strip() for text in texts)
    assert len({frozenset(facts_of(text)) for text in texts[:2]}) == 1
    assert all(facts_of(text) <= facts_of(texts[0]) for text in texts[2:])


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_use_only_known_texts_and_give_them_their_facts(name: str) -> None:
    source = LOADER.get_source(Environment(autoescape=True), name)[0]
    parsed = Environment(autoescape=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(source)
    for call in parsed.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "t":
            wanted, given = call.args[0], {each.key for each in call.kwargs}
            if isinstance(wanted, nodes.Const):
                assert wanted.value in TEXTS, f"{name}:{call.lineno}"
                assert facts_of(TEXTS[wanted.value][0]) <= given, f"{name}:{call.lineno}: {wanted.value}"
            elif isinstance(wanted, nodes.Concat):  # one of a set: "do." ~ what
                group = wanted.nodes[0].as_const()
                assert any(key.startswith(group) for key in TEXTS), f"{name}:{call.lineno}: {group}"


def test_no_text_of_one_table_hides_that_of_another() -> None:
    assert sum(map(len, TABLES)) == len(TEXTS)


def test_english_has_a_form_for_one() -> None:
    assert say("en", "text.more", {"n": 1}) == "1 more character"
    assert say("en", "text.more", {"n": 2}) == "2 more characters"
    assert say("zh", "text.more", {"n": 1}) == "还有 1 个字符"


def test_a_value_without_a_word_stands_for_itself() -> None:
    assert word("zh", "state", "completed") == "已完成"
    assert word("zh", "state", "new_one") == "new_one"


def test_each_language_has_a_name_for_html() -> None:
    assert set(HTML_LANGUAGE) == set(LANGUAGES)
