"""The incident report as its readers have it: a file on a disk, no network, a phone, a sheet of paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from tests.browser.test_accessible import CONTRAST, HEADINGS, TABLES, nameless
from tests.cli.conftest import Omni, make_omni
from tests.histories.make import unpack

from omni.domain.visible import usd

LOGS = ("litellm-killed", "cloud-lost", "budget-hit")
FIGURES = """Object.fromEntries(
    [...document.querySelectorAll('dl > div')].map(each => [each.children[0].innerText, each.children[1].innerText])
)"""

Look = Callable[..., Page]


@pytest.fixture(scope="module", params=LOGS)
def omni(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Omni:
    """A command line whose log is a golden one, with a report of it in either language."""
    made = make_omni(tmp_path_factory.mktemp("report"))
    unpack(request.param, made.data_dir)
    for language in ("en", "zh"):
        done = made("replay", "--html", f"report-{language}.html", "--lang", language)
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def look(chromium: Browser, omni: Omni) -> Iterator[Look]:
    """Opens the report from disk, offline. Whatever Chromium complains of or asks for beside it fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(language: str = "en", *, width: int = 1100, dark: bool = False) -> Page:
        size = ViewportSize(width=width, height=900)
        context = chromium.new_context(viewport=size, color_scheme="dark" if dark else "light", offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        url = (omni.home / f"report-{language}.html").as_uri()
        page.on("request", lambda asked: complaints.append(asked.url) if asked.url != url else None)
        page.goto(url)
        return page

    yield opened
    for each in contexts:
        each.close()
    assert complaints == []


def test_it_shows_the_figures_that_the_command_line_shows(omni: Omni, look: Look) -> None:
    shown: dict[str, str] = look().evaluate(FIGURES)
    counts = omni.json("status", code=3)["counts"]
    total = omni.json("costs")["total"]
    verdict = omni.json("verify")
    for label in ("Completed", "Failed", "Cancelled"):
        assert int(shown[label]) == counts.get(label.lower(), 0)
    assert int(shown["Tasks in"]) == sum(counts.values())
    assert int(shown["Model calls"].split()[0]) == total["calls"] + total["open"]
    assert shown["Billed"] == ("unknown" if total["billed_usd"] is None else usd(total["billed_usd"]))
    assert int(shown["Events checked"]) == verdict["events"]
    assert verdict["ok"]
    assert verdict["head_hash"] in shown["Head"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_on_a_phone_and_in_the_dark(look: Look, language: str, dark: bool) -> None:
    page = look(language, width=390, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(17, 21, 26)" if dark else "rgb(244, 245, 247)"
    )


def test_it_can_be_used_without_seeing_it(look: Look) -> None:
    page = look()
    levels = page.evaluate(HEADINGS)
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(told == [True, True] for told in page.evaluate(TABLES))
    assert nameless(page) == []
    for role in ("banner", "navigation", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    picture = page.get_by_role("img", name="Modes and attempts over time").first
    expect(picture).to_be_visible()
    expect(picture).to_have_accessible_description(re.compile("^Modes in order: NORMAL"))


def test_on_paper_what_is_folded_is_open_but_for_the_raw_events(look: Look, tmp_path: Path) -> None:
    page = look(dark=True)
    evidence = page.locator(".change > details table, .tasks details li, td details li").first
    expect(evidence).to_be_hidden()
    page.emulate_media(media="print", color_scheme="dark")
    expect(evidence).to_be_visible()
    expect(page.locator(".raw")).to_be_hidden()
    expect(page.get_by_text("they are not printed")).to_be_visible()
    expect(page.get_by_role("navigation")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.pdf(format="A4")) > 20_000


def test_its_contents_lead_to_its_sections(look: Look) -> None:
    page = look()
    for link in page.get_by_role("navigation").get_by_role("link").all():
        link.click()
        target = page.locator(str(link.get_attribute("href")))
        expect(target).to_be_in_viewport()
    page.get_by_role("link", name="Back to the top").click()
    expect(page.get_by_role("heading", level=1)).to_be_in_viewport()
