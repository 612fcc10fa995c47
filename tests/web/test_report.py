"""The report as a file: whole, alone, safe, bounded, and with the figures that the command line gives."""

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from hashlib import sha256
from pathlib import Path

import pytest
from tests.histories.make import unpack
from tests.replay.logs import (
    AT_MS,
    beginning,
    completed_life,
    created,
    failed_life,
    held_life,
    life,
    planned,
    routed,
    task_id,
    write,
    write_at,
)
from tests.web.page import Page

from omni.config import log_path
from omni.domain import events as ev
from omni.domain.values import Candidate, Evidence, Held, Mode, Result, Route, TaskError
from omni.domain.visible import usd
from omni.notify.texts import Language
from omni.redact import Redactor
from omni.replay.bands import picture
from omni.replay.costs import bill
from omni.replay.history import History, nothing
from omni.replay.verify import verify
from omni.web.lanes import zoomed
from omni.web.report import report_html

GOLDEN = ("quiet-day", "litellm-killed", "cloud-lost", "daemon-killed", "budget-hit", "old-version")
FIGURES = {"Tasks in", "Completed", "Failed", "Open at the end", "Model calls", "Billed"}


@contextmanager
def opened(data_dir: Path) -> Iterator[History]:
    with History.open(data_dir) as history:
        yield history


def report(data_dir: Path, after: int = 0, until: int | None = None, language: Language = "en") -> str:
    with opened(data_dir) as history:
        return report_html(history, after, until, language, zone=UTC)


@pytest.fixture(scope="session", params=GOLDEN)
def golden_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(request.param, tmp_path_factory.mktemp("report") / request.param)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_is_one_well_formed_file_that_refers_to_nothing_outside(golden_dir: Path, language: Language) -> None:
    html = report(golden_dir, language=language)
    page = Page(html)
    assert page.wrong == []
    assert not set(page.tags) & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "a:href"}
    assert all(each.startswith("#") for each in page.values("href"))
    assert not page.values("src")
    assert not page.values("style")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, name, value in page.attributes if "//" in value and name not in {"title", "content"}]
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "//" not in style
    assert "@import" not in style


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_links_lead_somewhere_and_its_ids_are_unique(golden_dir: Path, language: Language) -> None:
    page = Page(report(golden_dir, language=language))
    assert len(page.ids) == len(set(page.ids))
    assert {each[1:] for each in page.values("href")} <= set(page.ids)
    for name in ("aria-labelledby", "aria-describedby"):
        assert {word for value in page.values(name) for word in value.split()} <= set(page.ids)
    fills = {value[5:-1] for value in page.values("fill") if value.startswith("url(")}
    assert fills <= set(page.ids)


def test_it_has_landmarks_and_headings_in_order(golden_dir: Path) -> None:
    page = Page(report(golden_dir))
    assert {tag: page.tags[tag] for tag in ("header", "main", "footer", "nav", "h1")} == dict.fromkeys(
        ("header", "main", "footer", "nav", "h1"), 1
    )
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert page.tags["th"] == page.values("scope").__len__()


def test_its_policy_allows_its_own_style_and_nothing_else(golden_dir: Path) -> None:
    html = report(golden_dir)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in html
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_the_language_of_the_page_is_named_and_its_words_are_of_it(golden_dir: Path) -> None:
    english, chinese = report(golden_dir), report(golden_dir, language="zh")
    assert '<html lang="en">' in english
    assert '<html lang="zh-Hans">' in chinese
    assert "事件报告" in chinese
    assert "Incident report" not in chinese
    assert "记录" in chinese


def test_the_same_log_gives_the_same_report(golden_dir: Path) -> None:
    assert report(golden_dir) == report(golden_dir)


def test_the_figures_are_those_of_status_costs_and_verify(golden_dir: Path) -> None:
    page = Page(report(golden_dir))
    figures = page.figures()
    assert set(figures) >= FIGURES - {"Billed"}
    with opened(golden_dir) as history:
        counts = history.status()["counts"]
        total = bill(history.reader, "model", 0, nothing).total
    ended = {"Completed": "completed", "Failed": "failed", "Cancelled": "cancelled"}
    assert {label: int(figures[label]) for label in ended} == {label: counts.get(s, 0) for label, s in ended.items()}
    assert int(figures["Open at the end"]) == sum(n for s, n in counts.items() if s not in ended.values())
    assert int(figures["Tasks in"]) == sum(counts.values())
    assert int(figures["Model calls"]) == total.calls + total.open
    if "Billed" in figures:
        assert figures["Billed"] == ("unknown" if total.billed_usd is None else usd(total.billed_usd))
    verdict = verify(log_path(golden_dir))
    assert ("The record is sound." in page.text) == verdict.ok
    assert figures["Events checked"] == str(verdict.events)
    assert verdict.head_hash in page.text


def test_the_figures_of_a_stretch_are_those_of_the_events_in_it(golden_dir: Path) -> None:
    with opened(golden_dir) as history:
        head = history.reader.head.position
        cut = head // 2
        rows = list(history.reader.read())
    wanted = {"Tasks in": ev.TaskCreated, "Completed": ev.TaskCompleted, "Model calls": ev.CallReserved}
    for after, until in ((0, cut), (cut, head)):
        figures = Page(report(golden_dir, after, until)).figures()
        inside = [each.event for each in rows if after < each.position <= until]
        found = {label: sum(isinstance(each, kind) for each in inside) for label, kind in wanted.items()}
        assert {label: int(figures[label]) for label in wanted} == found
    whole = [Page(report(golden_dir, *each)).figures() for each in ((0, cut), (cut, head), (0, head))]
    assert int(whole[0]["Model calls"]) + int(whole[1]["Model calls"]) == int(whole[2]["Model calls"])


def hostile(n: int, text: str) -> list[tuple[str, object]]:
    error = TaskError("failed", text, text)
    candidates = (Candidate(text[:80], 1, (), text[:400]), Candidate("echo", 100, (text[:400],)))
    return [
        *life(
            n,
            created(text),
            ev.TaskRouted("general", 12, Route("echo", "P1", text[:60]), text, candidates),
            planned(n),
            ev.AttemptStarted(1),
            ev.AttemptFailed(1, error),
            ev.TaskFailed(error),
        ),
    ]


HOSTILE = "</style></title></pre><script>alert(1)</script><img src=http://evil/ onerror=x>'\"&\u202e\u2066\x1b[2J\x00"


def test_texts_from_outside_stay_text(tmp_path: Path) -> None:
    changed = ev.ModeChanged("NORMAL", "DEGRADED", "proxy", HOSTILE, (Evidence(AT_MS, "probe", "refused", HOSTILE),))
    write(tmp_path, *beginning(), (ev.HEALTH_STREAM, changed), *hostile(1, HOSTILE))
    for language in ("en", "zh"):
        html = report(tmp_path, language=language)
        page = Page(html)
        assert page.wrong == []
        assert not set(page.tags) & {"script", "img"}
        assert [char for char in "\u202e\u2066\x1b\x00" if char in html] == []
        assert "\\u202e" in html
        assert "&lt;script&gt;" in html


def changed(before: Mode, after: Mode) -> ev.ModeChanged:
    return ev.ModeChanged(before, after, "proxy", "it is so")


def test_an_outage_that_is_a_sliver_of_the_picture_is_drawn_from_near(tmp_path: Path) -> None:
    start = [(AT_MS + n, stream, event) for n, (stream, event) in enumerate(beginning())]
    edges = [
        (1_000_000, "NORMAL", "DEGRADED"),
        (1_010_000, "DEGRADED", "BRAINSTEM"),
        (1_020_000, "BRAINSTEM", "NORMAL"),
    ]
    rows = [(AT_MS + at, ev.HEALTH_STREAM, changed(before, after)) for at, before, after in edges]  # type: ignore[arg-type]
    last = [(AT_MS + 2_000_000, ev.ROUTER_STREAM, ev.RampMoved(0))]
    write_at(tmp_path, *start, *rows, *last)
    page = Page(report(tmp_path))
    assert page.wrong == []
    assert [each for each in page.ids if each.endswith("-title")] == ["lanes-title", "outage-4-title"]
    with opened(tmp_path) as history:
        near = zoomed(picture(history), AT_MS + 990_000, AT_MS + 1_030_000)
    assert [band.mode for band in near.bands] == ["NORMAL", "DEGRADED", "BRAINSTEM", "NORMAL"]
    assert "Modes in order: NORMAL 10 s, DEGRADED 10 s, BRAINSTEM 10 s, NORMAL 10 s" in page.text


def test_secrets_are_taken_out_wherever_they_stand(tmp_path: Path) -> None:
    key, known = "sk-ant-api03-abcdefghijklmnop", "the-password-of-the-owner"
    write(tmp_path, *beginning(), *hostile(1, f"{key} and Bearer abcdefghijkl and {known} & more"))
    with opened(tmp_path) as history:
        html = report_html(history, 0, None, redactor=Redactor([known]))
    assert "***" in html
    for secret in (key, "abcdefghijkl", known):
        assert secret not in html


def test_huge_texts_and_long_logs_give_a_file_of_bounded_size_that_says_what_it_leaves_out(tmp_path: Path) -> None:
    lives = [event for n in range(1, 401) for event in failed_life(n)]
    write(tmp_path, *beginning(), *hostile(500, "x" * 1_000_000), *lives)
    html = report(tmp_path)
    assert len(html.encode()) < 3_000_000
    page = Page(html)
    assert page.wrong == []
    assert "201 more tasks were affected." in page.text
    assert "more events are not in this file. All of it: omni replay --from 1 --to" in page.text
    assert "characters are left out here" in page.text


def test_even_the_worst_texts_in_every_list_give_a_file_that_opens(tmp_path: Path) -> None:
    """Quotes grow most: fivefold in HTML, and twice more in JSON. Many executors, models and days come on top."""
    worst = '"' * 3_000
    rows: list[tuple[int, str, object]] = [(AT_MS + n, stream, event) for n, (stream, event) in enumerate(beginning())]
    for n in range(1, 500):
        at, spot = AT_MS + n * 86_400_000, ev.TASK_PREFIX + task_id(n)
        route = Route(f"{n % 40}{worst[:60]}", "P1", f"{n}{worst[:80]}")
        out = tuple(Candidate(worst[:60], 0, (), worst) for _ in range(30))
        failed = ev.AttemptFailed(1, TaskError("failed", worst))
        late = ev.LateOutcomeArrived(1, "failed", worst)
        evidence = tuple(Evidence(at, "probe", "refused", worst) for _ in range(20))
        calls = (ev.CallReserved(f"c{n}", "p", f"{n}{worst[:80]}", "NORMAL", 1), ev.CallSettled(f"c{n}", "ok", 1.0))
        attempt = ev.AttemptPlanned(1, route, "k", "h", "ask", 1, 1)
        life = (created(worst), ev.TaskRouted("general", 1, route, worst + str(n), out), attempt, *calls, failed)
        rows += [(at + k, spot, each) for k, each in enumerate((*life, late, late, late, late, late, late, late, late))]
        edge: tuple[Mode, Mode] = ("NORMAL", "DEGRADED") if n % 2 else ("DEGRADED", "NORMAL")
        rows.append((at + 20, ev.HEALTH_STREAM, ev.ModeChanged(*edge, "proxy", worst, evidence)))
    write_at(tmp_path, *rows)
    html = report(tmp_path)
    assert len(html.encode()) < 8_000_000
    page = Page(html)
    assert page.wrong == []
    for said in (
        "more models: omni costs",
        "earlier days: omni costs --by day",
        "attempts are not drawn",
        "18 more: omni why",
    ):
        assert said in page.text, said


def test_an_empty_log_and_an_empty_stretch_give_a_page_that_says_so(tmp_path: Path) -> None:
    write(tmp_path, *beginning())
    for after, until in ((3, 3), (3, None), (0, 0), (2, 1)):
        page = Page(report(tmp_path, after, until))
        assert page.wrong == []
        assert "There is nothing in this stretch of the log." in page.text
        assert page.tags["nav"] == 0


def test_a_range_beyond_the_log_is_the_log(tmp_path: Path) -> None:
    write(tmp_path, *beginning(), *completed_life(1))
    assert report(tmp_path, 0, 10**12) == report(tmp_path)
    page = Page(report(tmp_path, 10**12, None))
    assert "There is nothing in this stretch of the log." in page.text


def test_a_damaged_log_says_so_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    lawless = life(1, created(), routed(), ev.TaskCompleted(1), ev.TaskCompleted(1))
    write(tmp_path, *beginning(), *lawless)
    page = Page(report(tmp_path))
    assert "The record is not sound: see below." in page.text
    assert "task.second_end" in page.text


def test_what_was_held_and_what_is_open_is_told(tmp_path: Path) -> None:
    held = life(2, created(), routed(), ev.TaskHeld(Held("ask", "may it?", ("retry", "fail"))))
    write(tmp_path, *beginning(), *held_life(1), *held, *completed_life(3))
    page = Page(report(tmp_path))
    figures = page.figures()
    assert (figures["Held"], figures["Open at the end"], figures["Completed"]) == ("2", "2", "1")
    assert "may it?" in page.text


def test_a_result_is_no_part_of_the_story_but_of_the_raw_events(tmp_path: Path) -> None:
    said = ev.AttemptSucceeded(1, Result("the secret of the sea"))
    write(tmp_path, *beginning(), *life(1, created(), routed(), planned(1), ev.AttemptStarted(1), said))
    html = report(tmp_path)
    assert html.count("the secret of the sea") == 1
    assert html.index("the secret of the sea") > html.index('class="raw"')
