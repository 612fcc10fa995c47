"""Who gets in with a browser, and what a browser hears."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit, Visitor
from tests.browser.house import House

LISTEN = """after => {
    window.heard = [];
    window.stream = new EventSource(`/api/events?after=${after}`);
    window.stream.onmessage = event => window.heard.push(JSON.parse(event.data).position);
}"""
REFUSED = "status of 40[13]|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"


def heard_up_to(page: Page, position: int) -> list[int]:
    """What the page has heard up to a position, once it has heard of that; more may have happened meanwhile."""
    page.wait_for_function("position => window.heard.includes(position)", arg=position, timeout=60_000)
    heard: list[int] = page.evaluate("window.heard")
    return [each for each in heard if each <= position]


def test_nobody_gets_in_without_a_login_and_is_told_how(visitor: Visitor) -> None:
    visitor.expect("status of 401")
    for path in ("/", "/tasks", "/api/status", "/actions/tasks/x/cancel"):
        answer = visitor.page.goto(visitor.house.url(path))
        assert answer is not None
        assert answer.status == 401
    visitor.go("/")
    expect(visitor.page.get_by_text("omni dashboard")).to_be_visible()


def test_a_link_opens_the_dashboard_once_and_for_one_browser(visit: Visit, house: House) -> None:
    link = house.link()
    first, second = visit(), visit()
    second.expect("status of 401")
    second.page.goto(link)  # looking at it is not using it
    first.page.goto(link)
    expect(first.page.get_by_role("button")).to_be_focused()  # the browser gives it after the page has loaded
    first.page.keyboard.press("Enter")
    first.page.wait_for_url(house.url("/"))
    second.page.get_by_role("button").click()
    expect(second.page.get_by_role("heading")).to_contain_text("not good")
    second.go("/")
    expect(second.page.get_by_text("omni dashboard")).to_be_visible()


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(owner: Visitor) -> None:
    (cookie,) = owner.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == "/"
    assert owner.page.evaluate("document.cookie") == ""
    token = (owner.house.omni.data_dir / "token").read_text().strip()
    assert all(token not in url for url in owner.asked)
    assert token not in owner.page.content()


def test_an_event_is_heard_without_asking_again(owner: Visitor) -> None:
    owner.page.evaluate(LISTEN, owner.house.position())
    owner.house.submit("say hello")
    end = owner.house.position()
    heard = heard_up_to(owner.page, end)
    assert heard == list(range(heard[0], end + 1))


def test_a_page_that_lived_through_a_kill_of_the_daemon_has_missed_nothing_and_heard_nothing_twice(
    owner: Visitor,
) -> None:
    owner.expect(REFUSED)
    house = owner.house
    owner.page.evaluate(LISTEN, 0)
    for turn in range(2):
        house.submit(f"before kill {turn}")
        heard_up_to(owner.page, house.position())
        house.kill()
        house.daemon.start()
        house.submit(f"after kill {turn}")  # before or while the page comes back
    end = house.position()
    assert heard_up_to(owner.page, end) == list(range(1, end + 1))


def test_a_login_lives_through_a_restart_and_ends_with_the_token(owner: Visitor) -> None:
    owner.expect(REFUSED)
    owner.house.kill()
    owner.house.daemon.start()
    assert status_of(owner, "/") == 200
    assert owner.house.omni("token", "rotate").returncode == 0
    assert status_of(owner, "/") == 401


def test_a_stream_ends_when_the_token_changes(owner: Visitor) -> None:
    owner.expect(REFUSED)
    owner.page.evaluate(LISTEN, 0)
    owner.page.wait_for_function("() => window.heard.length > 0")
    assert owner.house.omni("token", "rotate").returncode == 0
    owner.page.wait_for_function("() => window.stream.readyState === EventSource.CLOSED")  # the new try was refused


def test_the_daemon_stops_at_once_while_pages_listen(owner: Visitor) -> None:
    owner.expect(REFUSED)
    owner.page.evaluate(LISTEN, 0)
    owner.page.wait_for_function("() => window.heard.length > 0")
    assert owner.house.daemon.stop() == 0
    assert "graceful" not in (owner.house.omni.data_dir / "logs" / "omni.log").read_text()


def test_a_page_of_another_port_can_neither_read_nor_change_anything(owner: Visitor) -> None:
    """Ports of one host are one site: the cookie is sent along, and must not be enough."""
    owner.expect("CORS|status of 40[13]|Failed to load|ERR_FAILED|ERR_BLOCKED|NotSameOrigin|Content Security")
    task_id = owner.house.begin()
    neighbour = owner.watched(owner.context.new_page())
    neighbour.route("http://127.0.0.1:1/**", lambda route: route.fulfill(content_type="text/html", body="<p>hello"))
    neighbour.goto("http://127.0.0.1:1/")
    attack: Any = neighbour.evaluate(
        """async ([origin, task]) => {
            const tried = [];
            for (const [path, wish] of [
                ["/api/tasks", {}], ["/api/tasks", {credentials: "include"}],
                ["/api/mode", {method: "POST", credentials: "include", body: '{"mode":"brainstem"}'}],
                [`/actions/tasks/${task}/cancel`, {method: "POST", credentials: "include", mode: "no-cors",
                    headers: {"content-type": "application/x-www-form-urlencoded"}, body: "csrf=x"}],
            ]) {
                try { const answer = await fetch(origin + path, wish); tried.push(answer.type + answer.status); }
                catch (error) { tried.push("refused"); }
            }
            return tried;
        }""",
        [owner.house.origin, task_id],
    )
    assert set(attack) <= {"refused", "opaque0"}
    neighbour.evaluate(
        """([origin, task]) => {
            document.body.innerHTML = `<form method="post" action="${origin}/actions/tasks/${task}/cancel">`;
            document.forms[0].submit();
        }""",
        [owner.house.origin, task_id],
    )
    neighbour.wait_for_url(f"{owner.house.origin}/**")
    owner.asked[:] = [url for url in owner.asked if not url.startswith("http://127.0.0.1:1/")]
    assert owner.house.omni.json("status")["mode"] == "NORMAL"
    assert not owner.house.omni.json("task", "show", task_id)["task"]["cancel_requested"]


def test_a_task_is_cancelled_after_a_question_and_the_page_moves_on(owner: Visitor) -> None:
    task_id = owner.house.begin()
    owner.go(f"/actions/tasks/{task_id}/cancel")
    owner.page.get_by_role("button").click()
    owner.page.wait_for_url(owner.house.url(f"/tasks/{task_id}"))
    ended = owner.house.omni.json("task", "show", task_id)["task"]
    assert ended["cancel_requested"] or ended["state"] == "cancelled"


def test_a_question_is_answered_by_keyboard_alone(owner: Visitor) -> None:
    task_id = owner.house.begin()
    owner.go(f"/actions/tasks/{task_id}/cancel")
    expect(owner.page.get_by_role("button")).to_be_focused()
    owner.page.keyboard.press("Tab")
    expect(owner.page.get_by_role("link", name="No, go back")).to_be_focused()
    owner.page.keyboard.press("Shift+Tab")
    owner.page.keyboard.press("Enter")
    owner.page.wait_for_url(owner.house.url(f"/tasks/{task_id}"))
    ended = owner.house.omni.json("task", "show", task_id)["task"]
    assert ended["cancel_requested"] or ended["state"] == "cancelled"


def test_leaving_ends_the_session(owner: Visitor) -> None:
    owner.expect("status of 401")
    task_id = owner.house.begin()
    owner.go(f"/actions/tasks/{task_id}/cancel")
    csrf = owner.page.locator("input[name=csrf]").input_value()
    (cookie,) = owner.context.cookies()
    owner.page.evaluate(
        """csrf => {
            const form = document.createElement("form");
            form.method = "post"; form.action = "/logout";
            form.innerHTML = `<input name="csrf" value="${csrf}">`;
            document.body.append(form); form.submit();
        }""",
        csrf,
    )
    owner.page.wait_for_url(owner.house.url("/login"))
    assert owner.context.cookies() == []
    owner.context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": owner.house.origin}])
    assert status_of(owner, "/") == 401  # the daemon has forgotten it, not only the browser


def test_the_pages_of_the_door_fit_a_phone(visit: Visit, house: House) -> None:
    phone = visit(width=390, height=844)
    phone.expect("status of 401")
    phone.go("/")
    assert phone.overflow() <= 0
    heading = phone.page.locator("h1").bounding_box()
    assert heading
    assert heading["y"] >= 12
    phone.page.goto(house.link())
    assert phone.overflow() <= 0
    task_id = house.submit("a rather long description " * 40 + "x" * 300)["id"]
    phone.log_in()
    phone.go(f"/actions/tasks/{task_id}/retry")
    assert phone.overflow() <= 0


def test_the_door_works_without_any_script(visit: Visit, house: House) -> None:
    plain = visit(script=False)
    plain.log_in()
    assert plain.page.url == house.url("/")


def status_of(visitor: Visitor, path: str) -> int:
    answer = visitor.page.goto(visitor.house.url(path))
    assert answer is not None
    status: int = answer.status
    return status
