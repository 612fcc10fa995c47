"""`send_message`: words of Omni's own to a person, over one of OpenClaw's channels, and never twice.

OpenClaw has two ways to send, and remembers them differently (2026.9.6):

`conversations.send`  keeps a ledger on disk by our key: asked again, also after a crash, it tells what became of the
                      message and does not send it a second time. It wants a chat that the gateway has met before.
`send`                forgets our key when it restarts, and would send again. It leaves a copy in a session of ours once
                      the channel has confirmed, and that outlives a restart.

So the ledger is used wherever the chat is in it. A chat's first message goes by `send`, and is sent again only while
the gateway that took it still lives, or after the session of ours has been searched. Which way a key went is on disk
before anything is sent.

A channel that fails (Telegram answers 502) is no end: OpenClaw keeps such a message as queued and gives it up without
sending it; its ledger repeats `queued` for five minutes, and then says `unknown`. Where the gateway itself has told us
of the failure, the message is begun again under a key of its own. What remains is a gateway killed between the
channel's taking a message and its own note of it: nobody knows, and such a message is `uncertain` and `settled` and
not sent a second time.

OpenClaw takes its agents' words for more than words: a line `MEDIA:/path` attaches that file, a picture's address is
fetched, `[[…]]` is an instruction. A text of ours may hold what a stranger wrote, so none of that is left in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal
from weakref import WeakValueDictionary

import mcp_types as types
import msgspec

from omni.adapters.openclaw.frames import Away, Late, Lost, Refused, mapping, text_of
from omni.adapters.openclaw.gateway import LEDGER_SCOPE, Gateway, Link
from omni.adapters.openclaw.outcome import mirrored
from omni.adapters.records import Record, Records
from omni.adapters.service import ExtraTool, Structured, failed

SEND_TOOL = "send_message"
SEND_S = 45.0
THERE_S = 5.0
CHATS_S = 10.0
CHATS = 100  # it refuses to list more at once
QUEUED = "OUTBOUND_DELIVERY_QUEUED"
RECOVERY_S = 60.0  # after its start a gateway may still be sending what it had queued
HISTORY_MESSAGES = 200
_TEXT = {"type": "string"}
_JOINER = "\u2060"  # has no width, and parts what would be an instruction
_INSTRUCTION = re.compile(r"(?<=MEDIA)(?=:)|(?<=\[)(?=\[)|(?<=!)(?=\[)", re.IGNORECASE)


class Message(msgspec.Struct, frozen=True):
    """What to send. `key` names this message; the same one is sent once."""

    channel: str
    to: str
    text: str
    key: str


class Sent(msgspec.Struct, frozen=True):
    """What the record keeps of a message. `failed`: the gateway itself told us that its channel failed; `n`: tries."""

    way: Literal["", "ledger", "send"] = ""
    boot: str = ""
    reference: str = ""
    n: int = 1
    failed: bool = False


class Sending:
    """The messages of one adapter."""

    def __init__(self, gateway: Gateway, records: Records) -> None:
        self._gateway = gateway
        self._records = records
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def tools(self) -> Mapping[str, ExtraTool]:
        """The tool as the server lists it."""
        schema = {
            "type": "object",
            "properties": {"channel": _TEXT, "to": _TEXT, "text": _TEXT, "key": _TEXT},
            "required": ["channel", "to", "text", "key"],
        }
        about = "Send a message to a person over a channel of OpenClaw; the same key is sent once."
        return {SEND_TOOL: (types.Tool(name=SEND_TOOL, description=about, input_schema=schema), self.call)}

    async def call(self, said: Mapping[str, Any]) -> Structured:
        """Send, or say what became of an earlier call with the same key."""
        try:
            message = msgspec.convert(said, Message)
        except msgspec.ValidationError as error:
            return failed("bad_request", f"send_message was called in a way it does not know: {error}")
        if not (message.channel and message.to and message.text.strip() and message.key):
            return failed("bad_request", "send_message wants a channel, a recipient, a text and a key")
        async with self._locks.setdefault(message.key, asyncio.Lock()):
            return await self._sent(msgspec.structs.replace(message, text=harmless(message.text)))

    async def _sent(self, message: Message) -> Structured:
        record = self._records.find(_name(message.key))
        if record and record.outcome is not None:
            return dict(record.outcome)
        before = _noted(record)
        try:
            link = await self._gateway.link(THERE_S)
            outcome = await self._chosen(link, message, before)
        except Away as away:
            return failed("unavailable", away.message) if not before.way else _uncertain(away.message)
        except (Lost, Late) as error:
            return _uncertain(error.message)
        except Refused as refusal:
            return _refused(refusal)
        if outcome.get("state") == "sent" or outcome.get("settled"):
            self._note(message, _noted(self._records.find(_name(message.key))), outcome)
        return outcome

    async def _chosen(self, link: Link, message: Message, before: Sent) -> Structured:
        if before.way == "ledger":
            return await self._by_ledger(link, message, before)
        if before.way == "send":
            return await self._again(link, message, before)
        if await self._is_mirrored(link, message.key):  # our own record is gone, or another process sent it
            return {"state": "sent"}
        reference = await _chat(link, self._gateway.settings.agent, message)
        if reference:
            now = self._note(message, Sent("ledger", link.boot_id, reference))
            return await self._by_ledger(link, message, now, first=True)
        return await self._by_send(link, message)

    # --- the ledger

    async def _by_ledger(self, link: Link, message: Message, before: Sent, *, first: bool = False) -> Structured:
        """`first`: nobody has asked with this key before, so `queued` can only mean that the channel failed."""
        status = await self._status(link, message, before)
        if status == "unknown" and before.failed:
            now = msgspec.structs.replace(before, boot=link.boot_id, n=before.n + 1, failed=False)
            return await self._by_ledger(link, message, self._note(message, now), first=True)
        if status == "queued" and first:
            self._note(message, msgspec.structs.replace(before, failed=True))
        return _of_ledger(status)

    async def _status(self, link: Link, message: Message, sent: Sent) -> str:
        """Send, or hear what became of it. A refusal is the gateway's last word on this message."""
        params = {
            "agentId": self._gateway.settings.agent,
            "operationId": _tried(message.key, sent.n),
            "conversationRef": sent.reference,
            "message": message.text,
        }
        return text_of(mapping(await link.ask("conversations.send", params, SEND_S)).get("status"))

    # --- the first message of a chat

    async def _by_send(self, link: Link, message: Message, n: int = 1) -> Structured:
        sent = self._note(message, Sent("send", link.boot_id, n=n))
        params = {
            "channel": message.channel,
            "to": message.to,
            "message": message.text,
            "idempotencyKey": _tried(message.key, n),
            "sessionKey": self._session,
        }
        try:
            await link.ask("send", params, SEND_S)
        except Refused as refusal:
            if refusal.code != QUEUED:
                raise
            self._note(message, msgspec.structs.replace(sent, failed=True))
            return _uncertain(f"OpenClaw has queued it, because its channel failed: {refusal.message}")
        return {"state": "sent"}

    async def _again(self, link: Link, message: Message, before: Sent) -> Structured:
        """The same key once more. The gateway that took it first still knows it; any other has to be searched."""
        if await self._is_mirrored(link, _tried(message.key, before.n)):
            return {"state": "sent"}
        if link.boot_id and link.boot_id == before.boot:
            return await self._by_send(link, message, before.n)
        if self._gateway.there_s < RECOVERY_S:
            return _uncertain("OpenClaw was restarted while it sent this, and may still be sending it")
        if before.failed:
            return await self._by_send(link, message, before.n + 1)
        why = "OpenClaw was restarted while it sent this, and has kept no word of it: it may have arrived or not"
        return _uncertain(why, settled=True)

    async def _is_mirrored(self, link: Link, key: str) -> bool:
        params = {"sessionKey": self._session, "limit": HISTORY_MESSAGES}
        try:
            return mirrored(await link.ask("chat.history", params), key)
        except Refused:
            return False

    @property
    def _session(self) -> str:
        return f"agent:{self._gateway.settings.agent}:omni-notices"

    def _note(self, message: Message, sent: Sent, outcome: Structured | None = None) -> Sent:
        state: Literal["running", "finished"] = "finished" if outcome else "running"
        name, notes = _name(message.key), msgspec.to_builtins(sent)
        self._records.write(Record(name, message.key, "", state, 0, outcome, notes))
        return sent


def harmless(text: str) -> str:
    """The same words to a reader, and nothing but words to OpenClaw."""
    return _INSTRUCTION.sub(_JOINER, text)


def _name(key: str) -> str:
    """A key as the name of a record."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def _noted(record: Record | None) -> Sent:
    try:
        return msgspec.convert(record.notes if record else {}, Sent)
    except msgspec.ValidationError:
        return Sent()


def _tried(key: str, n: int) -> str:
    """The key of the n-th time that a message was begun."""
    return key if n == 1 else f"{key}#{n}"


async def _chat(link: Link, agent: str, message: Message) -> str:
    """The gateway's own name of a chat that it has met; empty where it has not, or where we may not ask.

    Raises Refused where it cannot say just now: the same key must not go one way today and another tomorrow.
    """
    if LEDGER_SCOPE not in link.scopes:
        return ""
    try:
        said = await link.ask(
            "conversations.list", {"agentId": agent, "channel": message.channel, "limit": CHATS}, CHATS_S
        )
    except Refused as refusal:
        if refusal.fault.code == "UNAVAILABLE":
            raise
        return ""
    meant = {message.to, f"{message.channel}:{message.to}"}
    chats = mapping(said).get("conversations")
    for each in chats if isinstance(chats, list) else []:
        chat = mapping(each)
        if chat.get("channel") == message.channel and chat.get("target") in meant:
            return text_of(chat.get("conversationRef"))
    return ""


def _of_ledger(status: str) -> Structured:
    """What the ledger says of a message."""
    if status in {"sent", "replied"}:
        return {"state": "sent"}
    if status == "queued":
        return _uncertain("OpenClaw has it in its queue and has not said yet that it arrived")
    if status == "suppressed":
        return failed("failed", "OpenClaw took the message and kept it back (suppressed)")
    return _uncertain("OpenClaw was killed while it sent this and cannot say whether it arrived", settled=True)


def _refused(refusal: Refused) -> Structured:
    kind = "unavailable" if refusal.fault.code == "UNAVAILABLE" else "bad_request"
    return failed(kind, f"OpenClaw did not send the message: {refusal.message}")


def _uncertain(why: str, *, settled: bool = False) -> Structured:
    """Not known to have arrived. `settled`: asking again will not make it known."""
    return {"state": "uncertain", "why": why} | ({"settled": True} if settled else {})
