"""The dashboard's pages as a person uses them: live, back in time, and with a hand on the tasks."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit, Visitor
from tests.browser.house import House

PATHS = (
    "/",
    "/timeline",
    "/timeline?at=3",
    "/timeline?event=task.",
    "/tasks",
    "/tasks?state=failed",
    "/costs",
    "/levels",
)
HOSTILE = (
    '<script>window.hacked=1</script><img src=x onerror="window.hacked=2">"\'><svg onload=window.hacked=3>{{ 7*7 }}'
)
LOST = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|status of 503"


def live(page: Page) -> None:
    """Wait until the page follows the log."""
    expect(page.locator("#link")).to_have_text("Live")


def stay(page: Page) -> None:
    """Mark the page as it is: a reload would lose the mark."""
    page.evaluate("window.stayed = true")


def stayed(page: Page) -> bool:
    return bool(page.evaluate("window.stayed === true"))


def test_every_page_is_whole_follows_the_log_and_fits_a_phone(owner: Visitor, visit: Visit) -> None:
    done = owner.house.submit("say hello")["id"]
    owner.house.submit("broken", "--executor", "runbook", code=1)
    phone = visit(width=390, height=844)
    phone.log_in()
    for path in (*PATHS, f"/tasks/{done}", f"/tasks/{done[:18]}"):
        for each in (owner, phone):
            each.go(path)
            expect(each.page.locator("h1")).to_have_count(1)
            live(each.page)
            assert each.overflow() == 0, path


def test_an_empty_dashboard_says_what_to_do_next(owner: Visitor) -> None:
    owner.go("/")
    expect(owner.page.locator("#needs")).to_contain_text("Nothing needs you")
    expect(owner.page.locator("#running code")).to_contain_text("omni submit")
    owner.go("/costs")
    expect(owner.page.get_by_text("No model call is in the log")).to_be_visible()


def test_what_happens_shows_without_a_reload(owner: Visitor) -> None:
    page = owner.page
    owner.go("/")
    live(page)
    stay(page)
    owner.house.submit("broken", "--executor", "runbook", code=1)
    expect(page.locator("#needs")).to_contain_text("broken ended with exit code 1")
    owner.house.begin()
    expect(page.locator("#running")).to_contain_text("nap")
    expect(page.locator("#executors")).to_contain_text("runbook")
    assert stayed(page)


def test_what_a_person_has_opened_and_where_the_focus_is_outlives_a_look(owner: Visitor) -> None:
    page, house = owner.page, owner.house
    held = house.omni.json("submit", "render it", "--executor", "absent")["task"]["id"]
    owner.go("/")
    live(page)
    button = page.locator(f"#held-{held}").get_by_role("button", name=re.compile("^Give it up"))
    button.focus()
    house.submit("broken", "--executor", "runbook", code=1)
    expect(page.locator("#needs")).to_contain_text("broken ended")  # the whole region was swapped
    expect(button).to_be_focused()
    expect(page.locator("#told")).to_have_text("What needs you 2")
    owner.go("/timeline")
    live(page)
    page.get_by_text("The same as a table").click()
    house.submit("say hello")
    expect(page.locator("tbody[data-rows]")).to_contain_text("task.completed")
    expect(page.locator("#picture details")).to_have_attribute("open", "")


def test_new_rows_stand_on_top_of_the_timeline_and_wait_while_it_is_paused(owner: Visitor) -> None:
    page = owner.page
    owner.go("/timeline")
    live(page)
    stay(page)
    rows = page.locator("tbody[data-rows] tr")
    told = page.locator("tbody[data-rows]")
    first = owner.house.submit("first")["id"]
    expect(told).to_contain_text(first[:13])
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#link")).to_have_text("Paused")
    second = owner.house.submit("second")["id"]
    end = owner.house.position()
    page.wait_for_function("end => Number(document.body.dataset.heard) >= end", arg=end)  # it has heard of it
    expect(told).not_to_contain_text(second[:13])
    page.get_by_role("button", name="Go on").click()
    expect(told).to_contain_text(second[:13])
    positions = [int(each) for each in rows.evaluate_all("rows => rows.map(row => row.dataset.position)")]
    assert positions == sorted(set(positions), reverse=True)
    assert positions == list(range(positions[0], positions[-1] - 1, -1))
    assert stayed(page)


def test_a_page_comes_back_to_life_with_the_daemon_and_has_missed_nothing(owner: Visitor) -> None:
    owner.expect(LOST)
    page, house = owner.page, owner.house
    owner.go("/timeline")
    live(page)
    stay(page)
    house.kill()
    expect(page.locator("#link")).to_contain_text("Connection lost")
    house.daemon.start()
    told = house.submit("after the break")["id"]
    expect(page.locator("tbody[data-rows]")).to_contain_text(told[:13])
    live(page)
    assert stayed(page)


def test_filters_leave_what_was_asked_for(owner: Visitor) -> None:
    page = owner.page
    done = owner.house.submit("say hello")["id"]
    owner.house.submit("broken", "--executor", "runbook", code=1)
    owner.go("/timeline")
    page.locator("#f-executor").select_option("echo")
    page.locator("#f-event").select_option("attempt.")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody[data-rows] tr")).to_have_count(2)
    assert set(page.locator("tbody[data-rows] td a").all_text_contents()) >= {done[:13]}
    page.get_by_role("link", name="Show everything").click()
    expect(page.locator("tbody[data-rows]")).to_contain_text("system.started")


@pytest.mark.parametrize("script", [True, False])
def test_any_moment_can_be_looked_at_by_keyboard_with_script_and_without(
    visit: Visit, house: House, script: bool
) -> None:
    task = house.begin()
    come = visit(script=script)
    come.log_in()
    page = come.page
    come.go("/timeline")
    if script:
        live(page)
    page.locator("#scrub-range").focus()
    page.keyboard.press("Home")
    if not script:
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The state at position 1", exact=True)).to_be_visible()
    assert "at=1" in page.url
    expect(page.locator("#state")).to_contain_text("No task is open")
    page.get_by_role("link", name=re.compile("Event after")).click()
    expect(page.get_by_role("heading", name="The state at position 2", exact=True)).to_be_visible()
    page.locator("#scrub-range").focus()
    end = page.locator("#scrub-range").get_attribute("max")
    page.keyboard.press("End")
    if not script:
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"The state at position {end}", exact=True)).to_be_visible()
    expect(page.locator("#state").get_by_role("link", name="nap")).to_have_attribute("href", f"/tasks/{task}")
    page.get_by_role("link", name="Back to now").click()
    expect(page.locator("#state")).to_be_empty()


def test_a_time_can_be_asked_for_and_nonsense_is_answered(owner: Visitor) -> None:
    owner.expect("status of 40")
    page = owner.page
    owner.go("/timeline")
    page.locator("#scrub-time").fill("0s")
    page.locator("#scrub-time").press("Enter")
    expect(page.get_by_role("heading", name=re.compile("The state at position"))).to_be_visible()
    owner.go("/timeline?at=the+other+day")
    expect(page.locator("main")).to_contain_text("the other day")


def test_a_task_is_cancelled_after_a_question_and_not_before(owner: Visitor) -> None:
    page, house = owner.page, owner.house
    task = house.begin()
    owner.go(f"/tasks/{task}")
    live(page)
    page.get_by_role("button", name=re.compile("^Cancel: nap")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel this task?")
    expect(dialog.get_by_role("button")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert house.omni.json("task", "show", task)["task"]["state"] in {"dispatching", "executing"}
    page.get_by_role("button", name=re.compile("^Cancel: nap")).click()
    dialog.get_by_role("button").click()
    expect(page.locator("#task .big")).to_contain_text("cancelled")
    assert house.omni.json("task", "show", task)["task"]["state"] == "cancelled"


def test_a_held_task_is_decided_about_from_the_first_page(owner: Visitor) -> None:
    page, house = owner.page, owner.house
    held = house.omni.json("submit", "render it", "--executor", "absent")["task"]["id"]
    owner.go("/")
    live(page)
    card = page.locator(f"#held-{held}")
    expect(card).to_contain_text("absent was named")
    card.get_by_role("button", name=re.compile("^Give it up")).click()
    page.get_by_role("dialog").get_by_role("button").click()
    expect(page.locator("#task .big")).to_contain_text("failed")
    page.get_by_role("button", name=re.compile("^Try again")).click()
    page.get_by_role("dialog").get_by_role("button").click()
    expect(page.locator("#task")).to_contain_text("It waits for you")
    assert held not in page.url


def test_a_held_task_is_decided_about_without_script(visit: Visit, house: House) -> None:
    held = house.omni.json("submit", "render it", "--executor", "absent")["task"]["id"]
    come = visit(script=False)
    come.log_in()
    come.page.locator(f"#held-{held}").get_by_role("button", name=re.compile("^Give it up")).click()
    expect(come.page.get_by_role("heading")).to_contain_text("Give this task up?")
    come.page.get_by_role("button").click()
    expect(come.page.locator("#task .big")).to_contain_text("failed")


def test_a_refusal_is_shown_with_the_next_command(owner: Visitor) -> None:
    owner.expect("status of 40")
    page, house = owner.page, owner.house
    held = house.omni.json("submit", "render it", "--executor", "absent")["task"]["id"]
    owner.go(f"/actions/tasks/{held}/resolve?decision=accept")
    house.omni("task", "resolve", held, "fail")
    page.get_by_role("button").click()
    expect(page.locator("main")).to_contain_text("waits for no decision")
    expect(page.locator("code")).to_contain_text("omni why")


def test_hostile_words_are_words(owner: Visitor) -> None:
    page, house = owner.page, owner.house
    task = house.submit(HOSTILE)["id"]
    held = house.omni.json("submit", HOSTILE, "--executor", "absent")["task"]["id"]
    for path in ("/", "/tasks", f"/tasks/{task}", f"/tasks/{held}", "/timeline", f"/timeline?at={house.position()}"):
        owner.go(path)
        live(page)
        expect(page.locator("main")).to_contain_text("<script>window.hacked=1</script>")
        assert page.evaluate("window.hacked") is None
        assert "49" not in page.title()
    owner.go("/")
    page.locator(f"#held-{held}").get_by_role("button").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("<script>window.hacked=1</script>")
    assert page.evaluate("window.hacked") is None
