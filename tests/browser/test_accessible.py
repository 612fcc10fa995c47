"""What it takes to use the dashboard without a mouse, without colours, or without seeing it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit, Visitor

CONTROLS = {"button", "link", "textbox", "combobox", "slider", "checkbox", "DisclosureTriangle", "progressbar"}
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(each => Number(each.tagName[1]))"
TABLES = """[...document.querySelectorAll('table')].map(each => [
    Boolean(each.caption) || Boolean(each.closest('[aria-label]')),
    [...each.querySelectorAll('th')].every(head => head.scope),
])"""
# Every visible text against the first opaque ground behind it, as WCAG computes it.
CONTRAST = """() => {
    const number = text => text.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const ground = element => {
        for (let each = element; each; each = each.parentElement) {
            const colour = number(getComputedStyle(each).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (element.closest('svg, script, .hidden')) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(number(style.color)), light(ground(element))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (large ? 3 : 4.5)) poor.push(`${texts.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return poor;
}"""


def paths(owner: Visitor) -> list[str]:
    """All pages, with something on each."""
    task = owner.house.submit("say hello")["id"]
    owner.house.submit("broken", "--executor", "runbook", code=1)
    owner.house.begin()
    owner.house.omni.json("submit", "render it", "--executor", "absent")
    pages = ["/", "/timeline", "/timeline?at=5", "/tasks", f"/tasks/{task}", "/costs", "/levels"]
    return [*pages, f"/actions/tasks/{task}/retry"]


def nameless(page: Page) -> list[str]:
    """The controls that a screen reader could only call by their kind."""
    tree: dict[str, Any] = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    found = (n for n in tree["nodes"] if not n.get("ignored") and n.get("role", {}).get("value") in CONTROLS)
    return [str(n["role"]) for n in found if not str(n.get("name", {}).get("value", "")).strip()]


def test_every_page_has_landmarks_headings_in_order_named_controls_and_told_tables(owner: Visitor) -> None:
    page = owner.page
    for path in paths(owner):
        owner.go(path)
        expect(page.get_by_role("main")).to_have_count(1)
        levels = page.evaluate(HEADINGS)
        assert levels[0] == 1, path
        assert levels.count(1) == 1, path
        assert all(after - before <= 1 for before, after in pairwise(levels)), (path, levels)
        assert nameless(page) == [], path
        assert all(told == [True, True] for told in page.evaluate(TABLES)), path
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
        assert len(ids) == len(set(ids)), (path, sorted(each for each in ids if ids.count(each) > 1))
        if path.startswith("/actions"):
            continue
        for role in ("banner", "navigation", "contentinfo"):
            expect(page.get_by_role(role)).to_have_count(1)
        assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True])
def test_every_word_stands_out_from_its_ground(owner: Visitor, visit: Visit, dark: bool) -> None:
    come = visit(dark=dark)
    come.log_in()
    for path in paths(owner):
        come.go(path)
        assert come.page.evaluate(CONTRAST) == [], (path, dark)


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(owner: Visitor) -> None:
    page = owner.page
    paths(owner)
    owner.go("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    wanted = page.locator("main :is(a[href], button, input, select, summary):visible").count()
    reached: set[str] = set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
            const here = document.activeElement;
            if (!here || !here.closest('main')) return ['', true];
            here.dataset.n ||= String(window.n = (window.n || 0) + 1);
            return [here.dataset.n, getComputedStyle(here).outlineStyle !== 'none'];
        }"""
        )
        if where[0]:
            reached.add(where[0])
            assert where[1]
    assert len(reached) >= wanted


def test_what_moves_says_so_and_may_be_stopped(owner: Visitor) -> None:
    page = owner.page
    owner.go("/timeline")
    expect(page.locator("#link")).to_have_attribute("role", "status")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_have_attribute("aria-pressed", "false")
    pause.press("Enter")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("tbody[data-rows]")).to_have_attribute("aria-live", "polite")
