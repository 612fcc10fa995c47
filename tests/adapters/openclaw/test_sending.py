"""Messages, each sent once: by the gateway's ledger, and by `send` for the first word of a chat."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.gateway import TOKEN, FakeGateway, fake_gateway

from omni.adapters.openclaw import sending
from omni.adapters.openclaw.gateway import Gateway
from omni.adapters.openclaw.sending import Sending
from omni.adapters.openclaw.settings import Settings
from omni.adapters.records import Records
from omni.adapters.service import Structured
from omni.runtime.ports import SystemClock

SENT = {"state": "sent"}


@contextlib.asynccontextmanager
async def desk(fake: FakeGateway, path: Path) -> AsyncIterator[Sending]:
    """The sending part of an adapter's process, on a connection of its own."""
    gateway = Gateway(Settings(url=fake.url, token=TOKEN), None)
    keeping = asyncio.create_task(gateway.keep())
    try:
        yield Sending(gateway, Records(path, SystemClock()))
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def tell(out: Sending, key: str = "n1", to: str = "42", text: str = "cloud offline") -> Structured:
    return await out.call({"channel": "telegram", "to": to, "text": text, "key": key})


async def test_a_message_is_sent_once_whoever_asks_again(tmp_path: Path) -> None:
    async with fake_gateway() as fake:
        async with desk(fake, tmp_path) as out:
            assert await tell(out) == SENT
            assert await tell(out) == SENT
        await fake.restart()  # the gateway has forgotten the key, and the adapter is another process
        async with desk(fake, tmp_path) as out:
            assert await tell(out) == SENT
        assert fake.messages == [("42", "cloud offline")]


async def test_it_is_sent_once_even_where_our_own_records_are_gone(tmp_path: Path) -> None:
    async with fake_gateway() as fake:
        async with desk(fake, tmp_path / "one") as out:
            assert await tell(out, "first") == SENT  # by send
            assert await tell(out, "second") == SENT  # by the ledger, which knows the chat by now
        await fake.restart()
        async with desk(fake, tmp_path / "two") as out:
            assert await tell(out, "first") == SENT
            assert await tell(out, "second") == SENT
        assert len(fake.messages) == 2
        assert len(fake.calls("send")) == 1


async def test_a_ledger_that_cannot_answer_just_now_is_not_gone_around(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.busy.add("conversations.list")
        assert (await tell(out))["error"]["kind"] == "unavailable"
        assert not fake.messages
        fake.busy.clear()
        assert await tell(out) == SENT


async def test_a_chat_that_the_gateway_has_met_is_written_to_by_its_ledger(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.chats.add("42")
        assert await tell(out) == SENT
        assert not fake.calls("send")
        assert fake.calls("conversations.send")[0]["operationId"] == "n1"


async def test_the_ledger_outlives_a_gateway_killed_while_it_sends(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.chats.add("42")
        fake.channel = "hang"
        sending_one = asyncio.create_task(tell(out))
        await fake.until_asked("conversations.send")
        await until(lambda: bool(fake.messages))
        await fake.restart()
        assert (await sending_one)["state"] == "uncertain"
        fake.channel = "ok"
        assert (await tell(out))["state"] == "uncertain"  # the ledger knows the key, and does not send again
        assert fake.messages == [("42", "cloud offline")]
        fake.ledger["n1"] = "sent"
        assert await tell(out) == SENT
        fake.ledger["n1"] = "unknown"
        assert await tell(out) == SENT  # what was known once stays known


async def test_a_first_message_cut_off_after_the_channel_took_it_is_not_sent_again(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.channel = "hang"
        sending_one = asyncio.create_task(tell(out))
        await until(lambda: bool(fake.messages))
        await fake.restart()
        fake.channel = "ok"
        assert (await sending_one)["state"] == "uncertain"
        soon = await tell(out)
        assert (soon["state"], soon.get("settled")) == ("uncertain", None)
        out._gateway._there_since -= sending.RECOVERY_S  # as if the gateway had been there for so long
        late = await tell(out)
        assert (late["state"], late["settled"]) == ("uncertain", True)
        assert await tell(out) == late
        assert fake.messages == [("42", "cloud offline")]


async def test_a_copy_in_the_session_of_notices_proves_that_a_message_arrived(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.channel = "hang"
        sending_one = asyncio.create_task(tell(out))
        await until(lambda: bool(fake.messages))
        fake.history["agent:main:omni-notices"] = [{"role": "assistant", "idempotencyKey": "n1"}]
        await fake.restart()
        await sending_one
        assert await tell(out) == SENT
        assert len(fake.messages) == 1


async def test_a_channel_that_fails_leaves_it_uncertain_and_the_same_key_asks_again(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.channel = "queued"
        first = await tell(out)
        assert first["state"] == "uncertain"
        assert "queued" in first["why"]
        assert (await tell(out))["state"] == "uncertain"
        assert {each["idempotencyKey"] for each in fake.calls("send")} == {"n1"}
        assert not fake.messages


async def test_a_message_that_the_gateway_gave_up_after_its_channel_failed_is_begun_again(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        fake.chats.add("42")
        fake.channel = "queued"
        assert (await tell(out))["state"] == "uncertain"
        fake.ledger["n1"] = "unknown"
        fake.channel = "ok"
        assert await tell(out) == SENT
        assert [each["operationId"] for each in fake.calls("conversations.send")] == ["n1", "n1", "n1#2"]
        assert fake.messages == [("42", "cloud offline")]


async def test_a_gateway_that_is_away_has_sent_nothing(tmp_path: Path) -> None:
    fake = FakeGateway()
    async with desk(fake, tmp_path) as out:
        assert (await tell(out))["error"]["kind"] == "unavailable"
        await fake.up()
        try:
            assert await tell(out) == SENT
        finally:
            await fake.kill()


async def test_what_is_no_message_is_refused(tmp_path: Path) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        assert (await out.call({"channel": "telegram"}))["error"]["kind"] == "bad_request"
        assert (await tell(out, text=" "))["error"]["kind"] == "bad_request"
        assert not fake.messages


async def until(true: object, within_s: float = 10) -> None:
    assert callable(true)
    end = asyncio.get_running_loop().time() + within_s
    while not true():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "text",
    [
        "done\nMEDIA:/etc/passwd",
        "media: ~/x.png",
        "[[reply_to:5]] hi",
        "[[[audio_as_voice]]]",
        "![x](http://a.example/b)",
    ],
)
async def test_nothing_in_a_text_is_an_instruction_to_openclaw(tmp_path: Path, text: str) -> None:
    async with fake_gateway() as fake, desk(fake, tmp_path) as out:
        assert await tell(out, text=text) == SENT
        ((_, told),) = fake.messages
        assert told.replace("\u2060", "") == text
        assert not re.search(r"media:|\[\[|!\[", told, re.IGNORECASE)
