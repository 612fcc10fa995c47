"""The dashboard's door, as its owner and as an attacker."""

from __future__ import annotations

import asyncio
import errno
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets
from tests.server.house import House, until
from tests.web.browsing import PAGE, Town, in_town
from websockets.exceptions import InvalidStatus

from omni.config import Limits
from omni.domain.values import TaskSpec
from omni.server.tokens import rotate_token
from omni.web import sessions
from omni.web.answers import SAFE

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def running_task(house: House) -> str:
    """A task of the executor that the test plays, running."""
    task = await house.desk.submit(TaskSpec("take your time", type="slow"), client="test", wait_s=None)
    await until(lambda: house.hands)
    return task.id


async def csrf_of(town: Town, cookie: dict[str, str], task_id: str) -> str:
    page = await town.ask("GET", f"/actions/tasks/{task_id}/cancel", {**PAGE, **cookie})
    assert page.status == 200, page
    return page.body.partition('name="csrf" value="')[2].partition('"')[0]


# --- the owner -------------------------------------------------------------------------------------------------------


def test_a_link_becomes_a_cookie_that_opens_pages_and_the_api(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        answer = await town.post("/login", {"code": await town.code()})
        said = answer.headers["set-cookie"]
        assert answer.headers["location"] == "/"
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"} <= {x.strip() for x in said.split(";")}
        assert "Domain" not in said
        cookie = {"Cookie": answer.cookie}
        assert (await town.ask("GET", "/api/status", cookie)).status == 200
        assert (await town.ask("GET", "/api/tasks", cookie)).status == 200

    in_town(tmp_path, test)


def test_looking_at_a_link_does_not_use_it_up(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        for _ in range(3):
            seen = await town.ask("GET", f"/login?code={code}", PAGE)
            assert seen.status == 200
            assert "set-cookie" not in seen.headers
        assert (await town.ask("HEAD", f"/login?code={code}", PAGE)).status == 200
        assert (await town.post("/login", {"code": code})).status == 303

    in_town(tmp_path, test)


def test_programs_see_what_they_saw_before(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        bare = await town.ask("GET", "/")
        assert (bare.status, msgspec.json.decode(bare.body)["error"]["message"]) == (401, "this needs the token")
        welcome = await town.ask("GET", "/", {**town.house.headers, "Accept": "*/*"})
        assert msgspec.json.decode(welcome.body)["name"] == "omni"
        assert (await town.ask("HEAD", "/")).status == 200
        assert (await town.ask("GET", "/nothing", town.house.headers)).status == 404

    in_town(tmp_path, test)


def test_a_browser_without_login_is_told_the_command(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        for path in ("/", "/api/status", "/actions/tasks/x/cancel"):
            page = await town.ask("GET", path, PAGE)
            assert page.status == 401
            assert "omni dashboard" in page.body
            assert page.headers["content-type"].startswith("text/html")

    in_town(tmp_path, test)


def test_a_page_that_does_not_exist_is_said_so_to_those_who_are_logged_in(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        for path in ("/nothing", "/mcp", "/v1x"):
            page = await town.ask("GET", path, {**PAGE, **cookie})
            assert (page.status, "no such page" in page.body) == (404, True)
            assert (await town.ask("GET", path, PAGE)).status == 401

    in_town(tmp_path, test)


def test_every_answer_to_a_browser_allows_nothing_but_our_own_files(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task_id = await running_task(town.house)
        pages = [
            await town.ask("GET", "/", PAGE),
            await town.ask("GET", "/login?code=x", PAGE),
            await town.post("/login", {"code": "x"}),
            await town.ask("GET", f"/actions/tasks/{task_id}/cancel", {**PAGE, **cookie}),
            await town.ask("GET", "/actions/tasks/nobody/cancel", {**PAGE, **cookie}),
            await town.ask("GET", "/static/omni.css", PAGE),
            await town.ask("GET", "/static/nothing.css", PAGE),
            await town.ask("GET", "/", PAGE, host="evil.example"),
        ]
        for page in pages:
            assert {name: page.headers.get(name) for name in SAFE} == SAFE, page
            assert "unsafe" not in page.headers["content-security-policy"]
            assert "<script>" not in page.body
            assert "style=" not in page.body
        assert [page.status for page in pages] == [401, 200, 401, 200, 404, 200, 404, 403]

    in_town(tmp_path, test)


def test_static_files_are_sent_again_only_when_they_changed_and_nothing_else_is_sent(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        first = await town.ask("GET", "/static/omni.css")
        assert first.headers["content-type"].startswith("text/css")
        again = await town.ask("GET", "/static/omni.css", {"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, "")
        for path in ("/static/../login.py", "/static/%2e%2e/login.py", "/static/%2e%2e%2flogin.py", "/static/"):
            assert (await town.ask("GET", path, town.house.headers)).status == 404

    in_town(tmp_path, test)


def test_a_change_by_hand_asks_first_and_then_leads_to_the_task(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task_id = await running_task(town.house)
        csrf = await csrf_of(town, cookie, task_id)
        done = await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": csrf}, {**town.own, **cookie})
        assert (done.status, done.headers["location"]) == (303, f"/tasks/{task_id}")
        assert (await town.house.desk.get(task_id)).cancel_requested

    in_town(tmp_path, test)


def test_a_button_pressed_twice_makes_one_change(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task = await town.house.desk.submit(TaskSpec("x"), client="test", wait_s=5)
        page = await town.ask("GET", f"/actions/tasks/{task.id}/retry", {**PAGE, **cookie})
        fields = {name: page.body.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("csrf", "once")}
        path, headers = f"/actions/tasks/{task.id}/retry", {**town.own, **cookie}
        answers = await asyncio.gather(*(town.post(path, fields, headers) for _ in range(4)))
        answers.append(await town.post(path, fields, headers))
        assert len({each.headers["location"] for each in answers}) == 1
        assert town.house.created_tasks() == 2
        again = await town.post(path, {**fields, "once": "another"}, headers)
        assert again.headers["location"] != answers[0].headers["location"]

    in_town(tmp_path, test)


def test_a_refused_change_is_shown_with_the_next_command(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task_id = await running_task(town.house)  # it runs: there is nothing to decide yet
        fields = {"csrf": await csrf_of(town, cookie, task_id), "decision": "accept"}
        page = await town.post(f"/actions/tasks/{task_id}/resolve", fields, {**town.own, **cookie})
        assert page.status == 409
        assert "waits for no decision" in page.body
        assert "<code>omni " in page.body
        wrong = await town.post(
            f"/actions/tasks/{task_id}/resolve", {**fields, "decision": "x"}, {**town.own, **cookie}
        )
        assert "retry, accept, fail" in wrong.body
        assert (await town.ask("GET", f"/actions/tasks/{task_id}/explode", {**PAGE, **cookie})).status == 409

    in_town(tmp_path, test)


def test_what_a_task_says_is_text_and_never_markup(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        spec = TaskSpec('<img src=x onerror=alert(1)> "quoted" \u202e', type="general")
        task = await town.house.desk.submit(spec, client="test", wait_s=5)
        page = await town.ask("GET", f"/actions/tasks/{task.id}/retry", {**PAGE, **cookie})
        assert "<img" not in page.body
        assert "&lt;img" in page.body
        assert "\u202e" not in page.body

    in_town(tmp_path, test)


def test_without_auth_there_is_no_login_and_forms_still_need_their_code(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        link = await town.ask("POST", "/api/login-links")
        assert msgspec.json.decode(link.body) == {"url": f"{town.origin}/", "expires_in_s": None}
        task_id = await running_task(town.house)
        csrf = await csrf_of(town, {}, task_id)
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": "x"})).status == 403
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": csrf})).status == 303

    in_town(tmp_path, test, auth="none")


# --- codes -----------------------------------------------------------------------------------------------------------


def test_a_code_is_good_once(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        assert (await town.post("/login", {"code": code})).status == 303
        again = await town.post("/login", {"code": code})
        assert again.status == 401
        assert "set-cookie" not in again.headers
        assert "omni dashboard" in again.body

    in_town(tmp_path, test)


def test_two_who_use_one_code_at_once_get_one_session(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        answers = await asyncio.gather(*(town.post("/login", {"code": code}) for _ in range(5)))
        assert sorted(each.status for each in answers) == [303, 401, 401, 401, 401]

    in_town(tmp_path, test)


def test_an_old_code_is_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(town: Town) -> None:
        monkeypatch.setattr(sessions, "LINK_S", 0)
        assert (await town.post("/login", {"code": await town.code()})).status == 401

    in_town(tmp_path, test)


def test_a_new_token_voids_open_links_and_sessions_at_once(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code, cookie = await town.code(), await town.log_in()
        rotate_token(tmp_path / "token")
        assert (await town.ask("GET", "/api/status", cookie)).status == 401
        assert (await town.post("/login", {"code": code})).status == 401
        assert (await town.ask("GET", "/api/status", await town.log_in())).status == 200

    in_town(tmp_path, test)


def test_only_so_many_links_and_sessions_are_open(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        codes = [await town.code() for _ in range(sessions.OPEN_LINKS + 1)]
        assert (await town.post("/login", {"code": codes[0]})).status == 401
        assert (await town.post("/login", {"code": codes[1]})).status == 303
        cookies = [await town.log_in() for _ in range(sessions.MOST_SESSIONS + 1)]
        assert (await town.ask("GET", "/api/status", cookies[0])).status == 401
        assert (await town.ask("GET", "/api/status", cookies[1])).status == 200

    in_town(tmp_path, test)


def test_wrong_codes_count_as_failed_logins_and_the_right_one_still_opens(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        tried = [(await town.post("/login", {"code": f"wrong{n}"})).status for n in range(7)]
        assert tried == [401] * 5 + [429] * 2
        wrong = {"Authorization": "Bearer wrong"}
        assert (await town.ask("GET", "/api/status", wrong)).status == 429  # one count for both ways
        assert (await town.post("/login", {"code": code})).status == 303

    in_town(tmp_path, test)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, "code=" + "x" * 10_000),
        (FORM, "code={code}&code={code}"),
        ({"Content-Type": "text/plain"}, "code={code}"),
        ({"Content-Type": "application/json"}, '{{"code":"{code}"}}'),
        (FORM, "&".join(f"a{n}=b" for n in range(100))),
        (FORM, "c\xf6de=x"),
        (FORM, ""),
    ],
)
def test_what_is_no_form_of_ours_opens_nothing(headers: dict[str, str], body: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        sent = body.format(code=await town.code())
        answer = await town.ask("POST", "/login", {**headers, **town.own, **PAGE}, sent)
        assert answer.status in {400, 401}
        assert "set-cookie" not in answer.headers

    in_town(tmp_path, test)


def test_a_code_cannot_write_headers_or_markup(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        for code in ("%0d%0aSet-Cookie:%20a=b", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"):
            page = await town.ask("GET", f"/login?code={code}", PAGE)
            assert "set-cookie" not in page.headers
            assert "<script" not in page.body
        cookie = await town.log_in()
        moved = await town.ask("GET", "/actions/tasks/x%0d%0aSet-Cookie:%20a=b/cancel", {**PAGE, **cookie})
        assert moved.status == 404
        assert "set-cookie" not in moved.headers

    in_town(tmp_path, test)


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "/%5Cevil.example/x", "/%09/evil.example/x", "http://evil.example/x"]
)
def test_the_way_on_after_a_login_stays_in_this_house(path: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        page = await town.ask("GET", path, PAGE)
        assert page.status == 401
        assert re.fullmatch(r"/(?!/)[\w%./-]*x", re.findall(r'<a href="([^"]*)"', page.body)[-1])

    in_town(tmp_path, test)


@pytest.mark.parametrize("line", ["OPTIONS * HTTP/1.1", "GET foo HTTP/1.1"])
def test_a_request_without_a_path_is_one_more_stranger(line: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        method, path, _ = line.split()
        assert (await town.ask(method, path)).status == 401

    in_town(tmp_path, test)


def test_strangers_who_log_in_slowly_keep_no_style_from_those_who_are_in(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        _, slow = await asyncio.open_connection("127.0.0.1", town.house.door.port)
        given = {"Host": f"127.0.0.1:{town.house.door.port}", "Origin": town.origin, **FORM, "Content-Length": "9"}
        slow.write(
            ("\r\n".join(["POST /login HTTP/1.1", *(f"{k}: {v}" for k, v in given.items())]) + "\r\n\r\n").encode()
        )
        await until(lambda: town.house.door._app._gate._before_login)
        assert (await town.ask("GET", "/static/omni.css")).status == 503
        assert (await town.ask("GET", "/static/omni.css", cookie)).status == 200
        slow.close()
        await slow.wait_closed()

    in_town(tmp_path, test, limits=Limits(connections_before_login=1))


def test_a_session_that_was_left_does_not_come_back_when_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    async def test(town: Town) -> None:
        cookie = await town.log_in()
        page = await town.ask("GET", "/", {**PAGE, **cookie})
        csrf = page.body.partition('name="csrf" value="')[2].partition('"')[0]
        with monkeypatch.context() as patch:
            patch.setattr(sessions, "replace_private", full)
            assert (await town.post("/logout", {"csrf": csrf}, {**town.own, **cookie})).status == 303
        await town.house.restart_door()
        assert (await town.ask("GET", "/api/status", cookie)).status == 401

    in_town(tmp_path, test)


# --- what a cookie does not open -------------------------------------------------------------------------------------


def test_a_cookie_opens_neither_mcp_nor_models_nor_a_websocket(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        for path in ("/mcp", "/v1/models", "/v1/chat/completions", "/metrics", "/nothing"):
            for method in ("GET", "POST"):
                assert (await town.ask(method, path, {**cookie, **town.own})).status == 401, path
        async with websockets.connect(town.house.url(), additional_headers=cookie) as socket:
            await socket.send('{"method":"create_task","params":{"description":"x"}}')
            assert "error" in msgspec.json.decode(await socket.recv())
        assert town.house.created_tasks() == 0

    in_town(tmp_path, test)


def test_a_cookie_makes_no_further_links(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        csrf = await csrf_of(town, cookie, await running_task(town.house))
        answer = await town.ask("POST", "/api/login-links", {**cookie, **town.own, "x-omni-csrf": csrf})
        assert answer.status == 403

    in_town(tmp_path, test)


FOREIGN = [
    "http://evil.example",
    "null",
    "http://127.0.0.1:1",
    "https://127.0.0.1:{port}",
    "http://localhost.evil:{port}",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_gets_nothing_with_a_cookie(origin: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task_id = await running_task(town.house)
        csrf = await csrf_of(town, cookie, task_id)
        foreign = {**cookie, "Origin": origin.format(port=town.house.door.port)}
        assert (await town.ask("GET", "/api/status", foreign)).status == 403
        assert (await town.ask("GET", "/api/events", foreign)).status == 403
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": csrf}, foreign)).status == 403
        assert (await town.post("/login", {"code": await town.code()}, foreign)).status == 403
        with pytest.raises(InvalidStatus):
            await websockets.connect(town.house.url(), additional_headers=foreign)
        assert not (await town.house.desk.get(task_id)).cancel_requested

    in_town(tmp_path, test)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:{port}", "evil.example:{port}"])
def test_a_rebound_name_gets_nothing_with_a_cookie(host: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        name = host.format(port=town.house.door.port)
        for path in ("/", "/api/status", "/login?code=x", "/static/omni.css"):
            assert (await town.ask("GET", path, {**cookie, **PAGE}, host=name)).status == 403

    in_town(tmp_path, test)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_made_the_browser_ask_counts_as_asked_without_login(site: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = {**await town.log_in(), "Sec-Fetch-Site": site}
        assert (await town.ask("GET", "/api/status", cookie)).status == 401
        assert (await town.ask("GET", "/actions/tasks/x/cancel", {**PAGE, **cookie})).status == 401
        assert (await town.ask("POST", "/api/mode", cookie, '{"mode":"brainstem"}')).status == 403

    in_town(tmp_path, test)


CHANGES: list[dict[str, Any]] = [
    {},  # no sign at all that a page of ours sent it
    {"Origin": "{origin}", "Sec-Fetch-Site": "same-site"},
    {"Origin": "{origin}", "Sec-Fetch-Site": "none"},
    {"Origin": "{origin}"},  # ours, but without the code
    {"Origin": "{origin}", "x-omni-csrf": "wrong"},
    {"Origin": "{origin}", "x-omni-csrf": ""},
]


@pytest.mark.parametrize("signs", CHANGES)
def test_a_cookie_alone_changes_nothing(signs: dict[str, str], tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        headers = {**cookie, **{name: value.format(origin=town.origin) for name, value in signs.items()}}
        answer = await town.ask("POST", "/api/mode", headers, '{"mode":"brainstem"}')
        assert answer.status == 403
        task_id = await running_task(town.house)
        form = {**headers, **FORM}
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": "wrong"}, form)).status == 403
        assert (await town.post("/logout", {}, form)).status == 403
        assert (await town.ask("GET", "/api/status", cookie)).status == 200

    in_town(tmp_path, test)


@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}])
def test_only_our_own_page_can_log_a_browser_in(site: dict[str, str], tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        refused = await town.post("/login", {"code": code}, site)
        assert (refused.status, refused.headers.get("set-cookie")) == (403, None)
        assert (await town.post("/login", {"code": code})).status == 303  # the refusal has used nothing up

    in_town(tmp_path, test)


@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-site"}])
def test_even_the_right_code_changes_nothing_unless_our_own_page_sent_it(site: dict[str, str], tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        task_id = await running_task(town.house)
        csrf = await csrf_of(town, cookie, task_id)
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": csrf}, {**site, **cookie})).status == 403
        headers = {**site, **cookie, "x-omni-csrf": csrf}
        assert (await town.ask("POST", "/api/mode", headers, '{"mode":"brainstem"}')).status == 403
        assert not (await town.house.desk.get(task_id)).cancel_requested

    in_town(tmp_path, test)


def test_our_own_page_may_change_things_through_the_api(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        csrf = await csrf_of(town, cookie, await running_task(town.house))
        headers = {**cookie, **town.own, "x-omni-csrf": csrf}
        answer = await town.ask("POST", "/api/mode", headers, '{"mode":"auto"}')
        assert msgspec.json.decode(answer.body)["error"]["kind"] == "not_watching"  # the house has no health monitor on

    in_town(tmp_path, test)


def test_the_code_of_one_session_is_no_good_in_another(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        mine, theirs = await town.log_in(), await town.log_in()
        task_id = await running_task(town.house)
        csrf = await csrf_of(town, theirs, task_id)
        assert (await town.post(f"/actions/tasks/{task_id}/cancel", {"csrf": csrf}, {**town.own, **mine})).status == 403

    in_town(tmp_path, test)


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_login_never_takes_over_a_cookie_that_was_there_before(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        name = (await town.log_in())["Cookie"].partition("=")[0]
        planted = {"Cookie": f"{name}=planted", **town.own}
        answer = await town.post("/login", {"code": await town.code()}, planted)
        assert "planted" not in answer.cookie
        assert (await town.ask("GET", "/api/status", {"Cookie": f"{name}=planted"})).status == 401
        two = {"Cookie": f"{answer.cookie}; {name}=planted"}
        assert (await town.ask("GET", "/api/status", two)).status == 401  # nobody can say which is ours
        other = {"Cookie": f"theme=dark; {answer.cookie}; x"}
        assert (await town.ask("GET", "/api/status", other)).status == 200

    in_town(tmp_path, test)


def test_a_second_login_of_one_browser_voids_its_first_session(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        first = await town.log_in()
        answer = await town.post("/login", {"code": await town.code()}, {**town.own, **first})
        assert (await town.ask("GET", "/api/status", first)).status == 401
        assert (await town.ask("GET", "/api/status", {"Cookie": answer.cookie})).status == 200

    in_town(tmp_path, test)


def test_leaving_voids_the_session_wherever_its_cookie_is(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        csrf = await csrf_of(town, cookie, await running_task(town.house))
        left = await town.post("/logout", {"csrf": csrf}, {**town.own, **cookie})
        assert (left.status, left.headers["location"]) == (303, "/login")
        assert "Max-Age=0" in left.headers["set-cookie"]
        assert (await town.ask("GET", "/api/status", cookie)).status == 401

    in_town(tmp_path, test)


def test_a_session_lives_through_a_restart_and_a_voided_one_does_not_come_back(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        kept, left = await town.log_in(), await town.log_in()
        csrf = await csrf_of(town, left, await running_task(town.house))
        await town.post("/logout", {"csrf": csrf}, {**town.own, **left})
        await town.house.restart_door()
        assert (await town.ask("GET", "/api/status", kept)).status == 200
        assert (await town.ask("GET", "/api/status", left)).status == 401

    in_town(tmp_path, test)


def test_a_token_changed_while_nobody_looked_voids_what_the_file_keeps(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        await town.house.door.stop()
        rotate_token(tmp_path / "token")
        await town.house.restart_door()
        assert (await town.ask("GET", "/api/status", cookie)).status == 401

    in_town(tmp_path, test)


def test_the_file_of_sessions_is_private_and_opens_nothing(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        file = tmp_path / "sessions"
        assert file.stat().st_mode & 0o777 == 0o600
        name, _, secret = cookie["Cookie"].partition("=")
        assert secret not in file.read_text()
        for kept in msgspec.json.decode(file.read_bytes())["ends_ms"]:
            assert (await town.ask("GET", "/api/status", {"Cookie": f"{name}={kept}"})).status == 401

    in_town(tmp_path, test)


DAMAGED = (
    b"",
    b"{",
    b"[]",
    b'{"mark":"","ends_ms":{"":99999999999999}}',
    b'{"mark":7}',
    b'{"mark":"\xff","ends_ms":{}}',
    b'{"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
)


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_of_sessions_lets_nobody_in_and_is_mended_by_the_next_login(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "sessions").write_bytes(content)

    async def test(town: Town) -> None:
        name = f"omni_session_{town.house.door.port}"
        assert (await town.ask("GET", "/api/status", {"Cookie": f"{name}="})).status == 401
        cookie = await town.log_in()
        await town.house.restart_door()
        assert (await town.ask("GET", "/api/status", cookie)).status == 200

    in_town(tmp_path, test)


def test_a_session_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(town: Town) -> None:
        monkeypatch.setattr(sessions, "SESSION_S", 0)
        assert (await town.ask("GET", "/api/status", await town.log_in())).status == 401

    in_town(tmp_path, test)


def test_a_token_file_that_others_can_read_voids_sessions_too(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        (tmp_path / "token").chmod(0o644)
        assert (await town.ask("GET", "/api/status", cookie)).status == 401
        (tmp_path / "token").chmod(0o600)
        assert (await town.ask("GET", "/api/status", cookie)).status == 200

    in_town(tmp_path, test)
