"""A real daemon, and a real Chromium that looks at it. Whatever the browser complains about fails the test."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from tests.browser.house import House, make_house

HERE = Path(__file__).parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
WITHIN_MS = 30_000

Visit: TypeAlias = Callable[..., "Visitor"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test of this folder wants a browser."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


class Visitor:
    """One browser with its own cookies and one page; remembers what it asked for and what it complained about."""

    def __init__(self, context: BrowserContext, house: House) -> None:
        self.context = context
        self.house = house
        self.page = self.watched(context.new_page())
        self._expected: list[re.Pattern[str]] = []

    def watched(self, page: Page) -> Page:
        """A page that is listened to; for a second one of the same browser, too."""
        self.complaints: list[str] = getattr(self, "complaints", [])
        self.asked: list[str] = getattr(self, "asked", [])
        page.set_default_timeout(WITHIN_MS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def expect(self, pattern: str) -> None:
        """A complaint that this test brings about on purpose."""
        self._expected.append(re.compile(pattern))

    def go(self, path: str = "/") -> None:
        """Open a page of the dashboard."""
        self.page.goto(self.house.url(path))

    def log_in(self) -> None:
        """Come in as the owner does: a link from the command line, one click."""
        self.page.goto(self.house.link())
        self.page.get_by_role("button").click()
        self.page.wait_for_url(self.house.url("/"))

    def check(self) -> None:
        """No complaint but those expected, and not one request to anybody else."""
        unexpected = [each for each in self.complaints if not any(p.search(each) for p in self._expected)]
        assert not unexpected, unexpected
        foreign = [url for url in self.asked if not url.startswith(f"{self.house.origin}/")]
        assert not foreign, foreign

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width


def chromium_path() -> str:
    """The browser of this machine."""
    found = os.environ.get("OMNI_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "there is no Chromium here: scripts/setup_browser.sh"
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    root = [] if os.getuid() else ["--no-sandbox"]  # Chromium's sandbox refuses to work for root
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=[*QUIET, *root], timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A home with a daemon of its own, which the test may kill."""
    house = make_house(tmp_path / "home")
    house.daemon.start()
    yield house
    house.end()


@pytest.fixture
def visit(chromium: Browser, house: House) -> Iterator[Visit]:
    """Makes visitors; all of them are checked at the end."""
    visitors: list[Visitor] = []

    def come(*, width: int = 1280, height: int = 800, script: bool = True, dark: bool = False) -> Visitor:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            java_script_enabled=script,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        visitors.append(Visitor(context, house))
        return visitors[-1]

    yield come
    for each in visitors:
        each.context.close()
    for each in visitors:
        each.check()


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    """Somebody who has not logged in."""
    return visit()


@pytest.fixture
def owner(visit: Visit) -> Visitor:
    """Somebody who has."""
    come = visit()
    come.log_in()
    return come
