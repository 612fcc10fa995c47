from datetime import UTC, timedelta, timezone
from xml.etree import ElementTree as ET

import pytest

from omni.replay.bands import Band, Bar, Gap, Lane, Picture
from omni.web.charts import Chart, Day, Point, bars, lanes, line, spark
from omni.web.lanes import MOST_BARS
from omni.web.render import Words
from omni.web.svg import WIDTH, ticks

AT = 1_790_000_000_000
EN, ZH = Words("en", UTC), Words("zh", UTC)


def bar(n: int, begin: int, end: int | None, state: str = "succeeded", **more: object) -> Bar:
    return Bar(f"task-{n}", 1, "worker", state, AT + begin, None if end is None else AT + end, n, None, **more)  # type: ignore[arg-type]


def picture(*made: Bar, gaps: tuple[Gap, ...] = ()) -> Picture:
    modes = (
        Band("NORMAL", AT, AT + 20_000, 1, 50),
        Band("DEGRADED", AT + 20_000, AT + 40_000, 50, 80, "proxy", "2 failures"),
        Band("BRAINSTEM", AT + 40_000, None, 80, None, "cloud", "<b>every cloud</b> is gone"),
    )
    return Picture(0, 100, AT, AT + 60_000, modes, (Lane("worker", made),), gaps)


def parsed(chart: Chart) -> ET.Element:
    return ET.fromstring(str(chart.svg))  # noqa: S314 - our own


def of_class(root: ET.Element, word: str) -> list[ET.Element]:
    return [each for each in root.iter() if word in each.get("class", "").split()]


def test_each_mode_is_a_band_with_its_word_and_a_texture_of_its_own() -> None:
    root = parsed(lanes("p", picture(bar(1, 0, 1000)), EN))
    bands = of_class(root, "band")
    assert [each.get("class") for each in bands] == ["band band-NORMAL", "band band-DEGRADED", "band band-BRAINSTEM"]
    assert [each.get("fill") for each in bands] == [None, "url(#p-DEGRADED)", "url(#p-BRAINSTEM)"]
    assert [each.text for each in of_class(root, "band-word")] == ["NORMAL", "DEGRADED", "BRAINSTEM"]
    widths = [float(each.get("width", "0")) for each in bands]
    assert widths == pytest.approx([widths[0]] * 3, abs=0.1)


def test_attempts_are_bars_in_place_and_overlapping_ones_stand_below_each_other() -> None:
    root = parsed(lanes("p", picture(bar(1, 0, 30_000), bar(2, 15_000, 45_000), bar(3, 31_000, 60_000)), EN))
    found = of_class(root, "bar-succeeded")[:3]
    x, width, y = ([float(each.get(key, "0")) for each in found] for key in ("x", "width", "y"))
    assert x[1] - x[0] == pytest.approx(width[0] / 2, abs=0.1)
    assert y[0] == y[2] < y[1]
    assert width[0] == pytest.approx(width[1], abs=0.1)


def test_what_has_not_ended_reaches_the_edge_and_is_called_open() -> None:
    root = parsed(lanes("p", picture(bar(1, 30_000, None, "started")), EN))
    (open_bar, _legend) = of_class(root, "bar-open")
    assert float(open_bar.get("x", "0")) + float(open_bar.get("width", "0")) == pytest.approx(WIDTH - 8, abs=0.1)


def test_of_an_attempt_that_was_cut_off_only_the_part_that_surely_ran_is_solid() -> None:
    cut = bar(1, 0, 30_000, "interrupted", sure_until_ms=AT + 10_000)
    root = parsed(lanes("p", picture(cut), EN))
    whole, sure = of_class(root, "bar-interrupted")[0], of_class(root, "bar-sure")[0]
    assert float(sure.get("width", "0")) == pytest.approx(float(whole.get("width", "0")) / 3, abs=0.1)


def test_a_lane_with_very_many_attempts_becomes_how_many_ran_at_a_time() -> None:
    crowd = [bar(n, n * 10, n * 10 + 500) for n in range(MOST_BARS + 100)]
    chart = lanes("p", picture(*crowd, bar(0, 55_000, 56_000, "failed")), EN)
    assert len(of_class(parsed(chart), "bar")) < 220
    assert "341 attempts" in chart.svg
    assert of_class(parsed(chart), "bar-failed")


def test_the_table_says_the_same_as_the_picture() -> None:
    gap = Gap(AT + 50_000, AT + 55_000, 90, 91, crashed=True)
    chart = lanes("p", picture(bar(7, 0, 2_500, "failed", reason="it said no"), gaps=(gap,)), EN)
    assert [row[1] for row in chart.rows] == [
        "NORMAL",
        "DEGRADED",
        "BRAINSTEM",
        "the daemon had ended without a word",
        "failed",
    ]
    assert chart.rows[-1] == ("worker", "failed", EN.local(AT, "exact"), "2.5 s", "task task-7, attempt 1: it said no")
    assert len(chart.head) == len(chart.rows[0])


@pytest.mark.parametrize("words", [EN, ZH])
def test_pictures_say_what_they_are_and_hold_no_style_and_no_script(words: Words) -> None:
    made = [
        lanes("a", picture(bar(1, 0, 1000, "failed", reason="</title><script>x</script>")), words).svg,
        bars("b", [Day("2026-01-01", {"<script>": 1.0}, 1)], words).svg,
        line("c", "level", [Point(AT, 1.0), Point(AT + 1000, None)], words).svg,
        spark([1.0, None, 2.0], "a title"),
    ]
    for svg in made:
        root = ET.fromstring(str(svg))  # noqa: S314 - our own
        assert root.get("role") == "img"
        assert root.find("title") is not None
        names = {each.tag for each in root.iter()}
        assert not names & {"script", "style", "a", "image", "foreignObject"}
        attributes = {key for each in root.iter() for key in each.attrib}
        assert not {key for key in attributes if key == "style" or key.startswith("on") or "href" in key}


def test_ids_of_a_picture_begin_with_its_name() -> None:
    root = parsed(lanes("mine", picture(bar(1, 0, 1000)), EN))
    ids = [each.get("id", "") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    assert all(each.startswith("mine-") for each in ids)


def test_an_empty_log_still_makes_a_picture() -> None:
    nothing = Picture(0, 0, 0, 0, (), (), ())
    assert parsed(lanes("p", nothing, EN)).tag == "svg"
    assert parsed(bars("p", [], EN)).tag == "svg"
    assert parsed(line("p", "level", [], EN)).tag == "svg"
    assert spark([], "nothing")


def test_costs_are_stacked_to_scale_and_the_cheap_ones_are_one() -> None:
    day = Day("2026-01-01", {f"model-{n}": float(10 - n) for n in range(9)}, unknown=2)
    chart = bars("p", [day, Day("2026-01-02", {"model-0": 5.0})], EN)
    first = [
        float(each.get("height", "0")) + 1 for each in of_class(parsed(chart), "series") if each.get("rx") is None
    ][:6]
    assert first == pytest.approx([160 * n / 54 for n in (10, 9, 8, 7, 6, 5 + 4 + 3 + 2)], abs=0.1)
    assert chart.head == ("Day", "model-0", "model-1", "model-2", "model-3", "model-4", "others", "unknown")
    assert chart.rows[0] == ("2026-01-01", "$10.00", "$9.00", "$8.00", "$7.00", "$6.00", "$14.00", "2")
    assert "2 calls without a known bill" in chart.svg


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = line(
        "p", "level", [Point(AT, 1.0), Point(AT + 1, 2.0), Point(AT + 2, None), Point(AT + 3, 1.0)], EN, limit=1.5
    )
    (path,) = of_class(parsed(chart), "line")
    assert path.get("d", "").count("M") == 2
    assert chart.rows[2][1] == "unknown"


@pytest.mark.parametrize(
    ("span_ms", "labels"),
    [
        (60_000, ["14:13:20", "14:13:30"]),
        (3_600_000, ["14:20", "14:30"]),
        (86_400_000, ["15:00", "18:00", "21:00", "09-22"]),
        (20 * 86_400_000, ["09-24", "10-01"]),
        (300, ["14:13:20.000", "14:13:20.050"]),
    ],
)
def test_ticks_stand_at_round_moments(span_ms: int, labels: list[str]) -> None:
    assert [said for _, said in ticks(AT, AT + span_ms, UTC)][: len(labels)] == labels


@pytest.mark.parametrize("span_ms", [1, 7, 999, 12_345, 10**7, 10**9, 10**11, 10**13])
def test_there_are_never_too_many_ticks(span_ms: int) -> None:
    assert len(ticks(AT - 10**13, AT - 10**13 + span_ms, UTC)) <= 9


def test_ticks_are_round_on_the_local_clock() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert {said[-2:] for _, said in ticks(AT, AT + 4 * 3_600_000, east)} == {"00", "30"}


def test_no_gap_hides_the_name_of_a_mode() -> None:
    gap = Gap(AT, AT + 10_000, 1, 2, crashed=True)
    drawn = str(lanes("p", picture(bar(1, 0, 1000), gaps=(gap,)), EN).svg)
    assert drawn.index('class="gap"') < drawn.index(">NORMAL</text>")


def test_a_mode_too_short_for_its_name_is_in_the_legend() -> None:
    modes = (Band("NORMAL", AT, AT + 58_000, 1, 50), Band("DEGRADED", AT + 58_000, None, 50, None))
    drawn = str(lanes("p", Picture(0, 100, AT, AT + 60_000, modes, (Lane("worker", (bar(1, 0, 1000),)),), ()), EN).svg)
    assert drawn.count(">NORMAL</text>") == 1
    assert ">DEGRADED</text>" in drawn[drawn.index(">NORMAL</text>") :]
