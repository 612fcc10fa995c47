"""The dashboard behind `tailscale serve`: a name that the owner allowed, and TLS that somebody else speaks."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.web.browsing import PAGE, Answer, Town, in_town

NAME = "mac-mini.tail1234.ts.net"
FORM = {"Content-Type": "application/x-www-form-urlencoded", **PAGE}
OWN = {"Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}


async def enter(town: Town, code: str, headers: dict[str, str]) -> Answer:
    return await town.ask("POST", "/login", {**FORM, **headers}, urlencode({"code": code}), host=NAME)


def test_a_link_works_under_the_name_and_the_cookie_opens_pages_there(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        assert (await town.ask("GET", f"/login?code={code}", PAGE, host=NAME)).status == 200
        entered = await enter(town, code, OWN)
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = {"Cookie": entered.cookie}
        assert (await town.ask("GET", "/", {**PAGE, **cookie}, host=NAME)).status == 200
        assert (await town.ask("GET", "/", PAGE, host=NAME)).status == 401

    in_town(tmp_path, test, allowed_hosts=(NAME,))


@pytest.mark.parametrize(
    "origin", ["https://other.tail1234.ts.net", f"https://{NAME}:8443", "http://127.0.0.1:18765", "null"]
)
def test_no_other_page_can_log_a_browser_in_there(tmp_path: Path, origin: str) -> None:
    async def test(town: Town) -> None:
        code = await town.code()
        assert (await enter(town, code, {"Origin": origin, "Sec-Fetch-Site": "same-site"})).status == 403
        assert (await enter(town, code, OWN)).status == 303, "and the code is not used up"

    in_town(tmp_path, test, allowed_hosts=(NAME,))
