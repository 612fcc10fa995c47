"""A house with the real dashboard on a real log, and a client that sends exactly the headers it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec
from tests.server.house import House

from omni.config import Limits, log_path
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.upcasters import log_codec
from omni.server.app import MakeSite
from omni.server.limits import PerMinute
from omni.server.tokens import TokenFile
from omni.web.dashboard import Dashboard

PAGE = {"Accept": "text/html,application/xhtml+xml"}


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def cookie(self) -> str:
        """`name=value`, as a browser sends it back."""
        return self.headers.get("set-cookie", "").partition(";")[0]


class Town:
    """The house, the log that its dashboard reads, and ways to ask."""

    def __init__(
        self,
        tmp_path: Path,
        *,
        auth: Literal["token", "none"] = "token",
        limits: Limits | None = None,
        allowed_hosts: tuple[str, ...] = (),
    ) -> None:
        self.store = SqliteEventStore.open(log_path(tmp_path), log_codec())
        self.house = House(tmp_path, auth=auth, limits=limits, site=self._site, allowed_hosts=allowed_hosts)

    def _site(self, house: House) -> MakeSite:
        def make(tokens: TokenFile | None, failed: PerMinute) -> Dashboard:
            self.site = Dashboard(house.desk, house.config, self.store, house.data_dir, tokens, failed)
            return self.site

        return make

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.house.door.port}"

    @property
    def own(self) -> dict[str, str]:
        """How a browser marks what our own page sends."""
        return {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "", *, host: str = ""
    ) -> Answer:
        """One request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.house.door.port)
        given = {"Host": host or f"127.0.0.1:{self.house.door.port}", **(headers or {}), "Connection": "close"}
        if body or method == "POST":
            given["Content-Length"] = str(len(body.encode()))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1"))
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        status, *fields = head.decode("latin-1").split("\r\n")
        pairs = (field.partition(":") for field in fields)
        return Answer(int(status.split()[1]), {k.lower(): v.strip() for k, _, v in pairs}, rest.decode())

    async def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """A form, as our own page sends it unless `headers` say otherwise."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        given = self.own if headers is None else headers
        return await self.ask("POST", path, {**kind, **PAGE, **given}, urlencode(fields))

    async def code(self) -> str:
        """The code in a fresh link."""
        answer = await self.ask("POST", "/api/login-links", self.house.headers)
        assert answer.status == 200, answer
        url: str = msgspec.json.decode(answer.body)["url"]
        return url.partition("?code=")[2]

    async def log_in(self) -> dict[str, str]:
        """The header that a logged-in browser sends."""
        answer = await self.post("/login", {"code": await self.code()})
        assert answer.status == 303, answer
        return {"Cookie": answer.cookie}


Test: TypeAlias = Callable[[Town], Awaitable[None]]


def in_town(tmp_path: Path, test: Test, **settings: Any) -> None:
    """Run a coroutine function while the door is open."""

    async def opened() -> None:
        town = Town(tmp_path, **settings)
        await town.house.door.start()
        try:
            async with asyncio.timeout(60):
                await test(town)
        finally:
            await town.house.door.stop()
            town.store.close()

    asyncio.run(opened())
