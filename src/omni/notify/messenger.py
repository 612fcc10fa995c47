"""People, through an executor that can send messages: OpenClaw, or any MCP server with the tool `send_message`.

    send_message {channel, to, text, key}  ──▶  {"state": "sent"}         told
                                                {"state": "uncertain"}    not known: asked again later
                                                … with "settled": true    never to be known: given up
                                                an error, or silence      not told: asked again later

The key is the notice's and this sink's, and the same at every try. The messenger sends nothing twice under one key, so
that asking again is safe when nobody knows whether the last try went out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from omni.domain.values import NoticeSink
from omni.notify.sinks import Gone, NotTold, Told

NAME = "messenger"
TOOL = "send_message"
WITHIN_S = 25.0  # less than a notifier waits for any sink


class ToolAnswer(Protocol):
    """What is read of a tool's answer."""

    @property
    def blocks(self) -> tuple[Mapping[str, Any], ...]: ...

    @property
    def structured(self) -> Any: ...

    @property
    def is_error(self) -> bool: ...


UseTool = Callable[[str, str, Mapping[str, Any], float], Awaitable[ToolAnswer]]


class MessengerSink:
    """An executor that sends: notices to the owner, where a channel and a target are set, and answers to who asked."""

    def __init__(self, executor: str, use_tool: UseTool, *, channel: str = "", target: str = "") -> None:
        self._executor = executor
        self._use_tool = use_tool
        self._owner = (channel, target)
        owned = bool(channel and target)
        self.spec = NoticeSink(NAME, people=True, owner=owned, addressed=True, executor=executor)

    async def deliver(self, notice: Told) -> None:
        """Have it sent; raises unless the messenger says that it was: Gone where asking again would tell nothing."""
        channel, target = _address(notice.to) if notice.to else self._owner
        arguments = {"channel": channel, "to": target, "text": notice.text, "key": f"{notice.key}:{NAME}"}
        answer = await self._use_tool(self._executor, TOOL, arguments, WITHIN_S)
        if answer.is_error or _said(answer, "state") != "sent":
            raise (Gone if _is_settled(answer) else NotTold)(_words(answer))


def _address(to: str) -> tuple[str, str]:
    channel, _, target = to.partition(":")
    return channel, target


def _said(answer: ToolAnswer, name: str) -> Any:
    said = answer.structured
    return said.get(name, "") if isinstance(said, Mapping) else ""


def _is_settled(answer: ToolAnswer) -> bool:
    """Whether nobody will ever know more of it than now."""
    return not answer.is_error and _said(answer, "state") == "uncertain" and _said(answer, "settled") is True


def _words(answer: ToolAnswer) -> str:
    text = " ".join(str(block["text"]) for block in answer.blocks if block.get("type") == "text" and "text" in block)
    if answer.is_error:
        return text or f"{TOOL} failed"
    why = str(_said(answer, "why") or text)
    return f"{TOOL} answered {_said(answer, 'state') or 'without a state'}: {why}".rstrip(": ")
