"""The fakes whose answers are scripted by the prompt."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from tests.fakes.messages import Api
from tests.fakes.provider import Provider
from tests.fakes.script import Mark, Spoken, marks_of, turn
from tests.fakes.telegram import Telegram

TOOL = '[[tool:add:{"a": [[1], 2], "note": "[[text:not a mark]]"}]]'


def test_marks_are_read_in_order_and_not_inside_the_input_of_a_tool() -> None:
    marks = list(marks_of(f"do this: {TOOL} then [[status:429:2]] and [[hang]]"))
    given = {"a": [[1], 2], "note": "[[text:not a mark]]"}
    assert marks == [Mark("tool", "add", given), Mark("status", "429:2"), Mark("hang")]


def test_each_turn_takes_the_next_mark_of_the_newest_script() -> None:
    said = [Spoken("user", ["[[text:old]]"]), Spoken("assistant", ["old"]), Spoken("user", [f"{TOOL}[[text:new]]"])]
    assert turn(said, "").kind == "tool"
    assert turn([*said, Spoken("assistant", []), Spoken("user", [])], "3") == Mark("text", "new")


@pytest.mark.parametrize(("last", "then"), [("tool", "TOOL SAID: 3"), ("loop", "Once more.")])
def test_when_the_marks_have_run_out_a_tool_is_told_of_and_a_loop_goes_on(last: str, then: str) -> None:
    said = [Spoken("user", [TOOL.replace("tool", last)]), Spoken("assistant", []), Spoken("user", [])]
    assert turn(said, "3").words == then


def test_the_messages_api_streams_a_call_and_notes_who_asked() -> None:
    api = Api()
    text = asyncio.run(_post(api.app, "/v1/messages", _asked(TOOL, stream=True), {"x-api-key": "sk-1"})).text
    assert '"partial_json": "{\\"a\\": [[1], 2]' in text
    assert '"stop_reason": "tool_use"' in text
    assert (api.ledger[0].key, api.ledger[0].mark, api.ledger[0].ended) == ("sk-1", "tool:add", "200")


def test_a_status_is_given_so_often_as_the_mark_says() -> None:
    api = Api()
    statuses = [asyncio.run(_post(api.app, "/v1/messages", _asked("[[status:529:2]]"))).status_code for _ in range(3)]
    assert statuses == [529, 529, 200]


def test_the_limit_of_an_account_has_its_headers() -> None:
    answer = asyncio.run(_post(Api().app, "/v1/messages", _asked("[[limit:five_hour:60]]")))
    assert answer.status_code == 429
    assert answer.headers["anthropic-ratelimit-unified-representative-claim"] == "five_hour"
    assert answer.headers["anthropic-ratelimit-unified-status"] == "rejected"


def test_the_provider_calls_a_tool_by_the_end_of_its_name_and_twice_when_told() -> None:
    tools = [{"type": "function", "function": {"name": "omni__create_task"}}]
    script = '[[twice:create_task:{"description": "x"}]]'
    answer = asyncio.run(_post(Provider().app, "/v1/chat/completions", {**_asked(script), "tools": tools})).json()
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [each["function"]["name"] for each in calls] == ["omni__create_task"] * 2
    assert len({each["id"] for each in calls}) == 2


def test_the_bot_hears_what_was_written_to_it_and_its_messages_are_kept_even_when_refused() -> None:
    async def talk() -> tuple[Any, Any, Any]:
        async with _client(Telegram().app) as client:
            waiting = asyncio.create_task(client.post("/botX/getUpdates", json={"offset": 0, "timeout": 10}))
            await client.post("/__inject", json={"text": "hello", "chat_id": 42})
            await client.post("/__control", json={"status": 502})
            refused = await client.post("/botX/sendMessage", json={"chat_id": 42, "text": "hi"})
            return (await waiting).json(), refused, (await client.get("/__ledger")).json()

    heard, refused, kept = asyncio.run(talk())
    assert [each["message"]["text"] for each in heard["result"]] == ["hello"]
    assert refused.status_code == 502
    assert [(each["text"], each["status"]) for each in kept["sent"]] == [("hi", 502)]


def _asked(text: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}


async def _post(app: Starlette, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    async with _client(app) as client:
        return await client.post(path, content=json.dumps(body), headers=headers)


def _client(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fake")
