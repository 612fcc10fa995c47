"""Telegram's Bot API on loopback for a real OpenClaw: people write to the bot, and the bot's messages are kept.

python -m tests.fakes.telegram --port 0
prints its port, then serves

POST /__inject   {"text": "…", "chat_id": 42}: someone writes to the bot
POST /__control  {"status": 502}: the answer to every message from now on, 0 for a good one; {"lose": true}: a
                 message is taken, and the connection of whoever sent it is cut before an answer
GET  /__ledger   {"sent": [...], "calls": {"getMe": 1, …}}      DELETE /__ledger forgets
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.fakes.upstream import Wires, serve, settings

Json = dict[str, Any]
BOT = {"id": 123456, "is_bot": True, "first_name": "Fake", "username": "fake_bot", "can_join_groups": True}
LONGEST_POLL_S = 25.0
MADE = 1_790_000_000
SENDS = ("sendMessage", "editMessageText")


class TelegramControl(msgspec.Struct, forbid_unknown_fields=True):
    """What happens to the bot's messages from now on."""

    status: int = 0
    lose: bool = False


class Sent(msgspec.Struct):
    """One message that the bot sent, whether or not it was told so; `at_s` on the machine's monotonic clock."""

    n: int
    at_s: float
    method: str
    chat_id: str
    text: str
    status: int


class Telegram:
    """The Bot API as an ASGI application."""

    def __init__(self) -> None:
        self.control = TelegramControl()
        self.wires = Wires()
        self._updates: list[Json] = []
        self._sent: list[Sent] = []
        self._calls: Counter[str] = Counter()
        self._ids = 0
        self._news = asyncio.Condition()
        self.app = Starlette(
            routes=[
                Route("/__control", self._set, methods=["POST"]),
                Route("/__ledger", self._show, methods=["GET", "DELETE"]),
                Route("/__inject", self._inject, methods=["POST"]),
                Route("/{bot:str}/{method:str}", self._call, methods=["GET", "POST"]),
            ]
        )

    async def _set(self, request: Request) -> Response:
        known = msgspec.to_builtins(self.control)
        self.control = msgspec.convert({**known, **await request.json()}, TelegramControl)
        return JSONResponse(msgspec.to_builtins(self.control))

    async def _show(self, request: Request) -> Response:
        shown = {"sent": msgspec.to_builtins(self._sent), "calls": dict(self._calls)}
        if request.method == "DELETE":
            self._sent.clear()
            self._calls.clear()
        return JSONResponse(shown)

    async def _inject(self, request: Request) -> Response:
        told = await request.json()
        chat = int(told.get("chat_id", 42))
        person = {"id": chat, "is_bot": False, "first_name": "Ada", "username": f"ada{chat}"}
        message = {**self._message(chat, told["text"]), "from": person}
        async with self._news:
            self._updates.append({"update_id": self._next(), "message": message})
            self._news.notify_all()
        return JSONResponse({"ok": True})

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        self._calls[method] += 1
        told = {**await _body(request), **request.query_params}
        if method in SENDS:
            return self._take(request, method, told)
        if method == "getUpdates":
            return _ok(await self._poll(int(told.get("offset") or 0), float(told.get("timeout") or 0)))
        known: Json = {"getMe": BOT, "getWebhookInfo": {"url": "", "pending_update_count": 0}}
        return _ok(known.get(method, True))

    async def _poll(self, offset: int, within_s: float) -> list[Json]:
        def new() -> list[Json]:
            return [each for each in self._updates if each["update_id"] >= offset]

        try:
            async with asyncio.timeout(min(within_s, LONGEST_POLL_S)), self._news:
                await self._news.wait_for(new)
        except TimeoutError:
            return []
        return new()

    def _take(self, request: Request, method: str, told: Json) -> Response:
        chat, text = str(told.get("chat_id", "")), str(told.get("text", ""))
        status = self.control.status or 200
        self._sent.append(Sent(len(self._sent) + 1, time.monotonic(), method, chat, text, status))
        if self.control.lose:
            self.wires.cut(request.scope)
        if status != 200:
            said = {"ok": False, "error_code": status, "description": "the fake was told to refuse"}
            return JSONResponse(said, status)
        return _ok(self._message(int(chat or 0), text))

    def _message(self, chat: int, text: str) -> Json:
        where = {"id": chat, "type": "private", "first_name": "Ada"}
        return {"message_id": self._next(), "date": MADE, "chat": where, "text": text}

    def _next(self) -> int:
        self._ids += 1
        return self._ids


async def _body(request: Request) -> Json:
    if request.headers.get("content-type", "").startswith("application/json"):
        found: Json = await request.json()
        return found
    return dict(await request.form())


def _ok(result: Any) -> Response:
    return JSONResponse({"ok": True, "result": result})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    telegram = Telegram()
    serve(settings(telegram.app, telegram.wires.protocol()), parser.parse_args(arguments).port)


if __name__ == "__main__":
    main(sys.argv[1:])
