from datetime import UTC, datetime, timedelta, timezone

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from omni.web.render import Words, _environment, page

AT = 1_763_750_172_345  # 2025-11-21 18:36:12.345 UTC
EAST = timezone(timedelta(hours=8))
EN, ZH = Words("en", UTC), Words("zh", EAST)


def test_times_are_local_and_carry_utc() -> None:
    assert ZH.clock(AT) == Markup(
        '<time datetime="2025-11-21T18:36:12.345Z" title="2025-11-21 18:36:12.345 UTC">2025-11-22 02:36:12</time>'
    )
    assert EN.local("2025-11-21T18:36:12.345Z", "exact") == "2025-11-21 18:36:12.345"
    assert EN.clock(None) == "–"


@pytest.mark.parametrize(
    ("ms", "en", "zh"),
    [
        (0, "0 ms", "0 毫秒"),
        (850, "850 ms", "850 毫秒"),
        (2_400, "2.4 s", "2.4 秒"),
        (192_000, "3 min 12 s", "3 分 12 秒"),
        (7_500_000, "2 h 5 min", "2 小时 5 分"),
        (3 * 86_400_000, "3 d", "3 天"),
        (None, "unknown", "未知"),
    ],
)
def test_spans_are_said_in_their_greatest_units(ms: int | None, en: str, zh: str) -> None:
    assert (EN.duration(ms), ZH.duration(ms)) == (en, zh)


def test_relative_times_look_both_ways() -> None:
    assert "3 min ago</time>" in EN.ago(AT, AT + 192_000)
    assert "2 小时后</time>" in ZH.ago(AT + 7_200_000, AT)
    assert EN.ago(None, AT) == "never"


def test_money_that_nobody_knows_is_never_nothing() -> None:
    assert "unknown" in EN.money(None)
    assert "$" not in EN.money(None)
    assert "未知" in ZH.money(None)
    assert "$0.00" in EN.money(0.0)
    assert "$0.0123" in EN.money(0.0123)


def test_texts_from_outside_are_escaped_and_hide_nothing() -> None:
    hostile = '<script>alert("x")</script>\u202e\x1b[31m'
    for shown in (EN.line(hostile), EN.outside(hostile), EN.outside(hostile * 100), EN.state("<b>"), EN.mode('"><b>')):
        assert "<script" not in shown
        assert "<b>" not in shown
        assert "\u202e" not in shown
        assert "\x1b" not in shown
    assert "\\u202e\\x1b[31m" in EN.outside(hostile)


def test_a_long_text_is_folded_and_a_huge_one_is_cut_and_says_how_to_see_it() -> None:
    long = EN.outside("a" * 1000, 100)
    assert long.count("a" * 1000) == 1
    assert "900 more characters" in long
    huge = EN.outside("a" * 1_000_000, 100, most=5000, whole="omni task show 0123")
    assert len(huge) < 6000
    assert "995,000 characters are left out here" in huge
    assert "omni task show 0123" in huge


def test_a_page_without_what_its_template_shows_is_a_mistake() -> None:
    with pytest.raises(UndefinedError):
        _environment("en", UTC).from_string("{{ nobody }}").render()


def test_a_template_escapes_what_it_is_given() -> None:
    made = _environment("zh", UTC).from_string("{{ t('mode.NORMAL') }} {{ text }}")
    assert made.render(text="<i>") == "NORMAL 正常 &lt;i&gt;"


def test_the_base_page_names_its_language() -> None:
    assert '<html lang="zh-Hans">' in page("base.html", "zh")
    assert '<html lang="en">' in page("base.html", "en")


def test_the_clock_follows_the_zone_of_the_page() -> None:
    noon = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)
    made = _environment("en", EAST).from_string("{{ at|clock('time') }}").render(at=noon)
    assert ">20:00:00<" in made
