"""What Claude Code says while it runs: its stream-json events, folded into one story, with a line of progress for each.

system/init ──▶ begun      assistant ──▶ acted, tools open      user (tool_result) ──▶ tools closed
rate_limit_event (rejected) ──▶ when the account takes calls again      result ──▶ complete
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

Event: TypeAlias = Mapping[str, Any]
SYNTHETIC = "<synthetic>"  # the CLI's own words, where no model answered
MAX_LINE = 160
_TELLING = ("command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description", "prompt")


class Story(msgspec.Struct, frozen=True):
    """What is known of a run. `acted`: a model answered, so that something may have been done.

    `open`: what the tools that run now are doing, by the id of their use. `said`: the model's latest words.
    """

    begun: bool = False
    acted: bool = False
    said: str = ""
    open: dict[str, str] = {}
    resets_at_s: float | None = None
    result: dict[str, Any] | None = None


def event_of(line: bytes) -> Event | None:
    """The event on a line; None for anything else."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a model may nest a tool's input as it likes
        return None
    return found if isinstance(found, dict) else None


def hear(story: Story, event: Event) -> tuple[Story, str]:
    """The story with one more event, and a line for people; empty for what nobody wants to read."""
    kind = f"{event.get('type')}/{event.get('subtype', '')}"
    follow = _FOLLOWS.get(kind) or _FOLLOWS.get(str(event.get("type")))
    return follow(story, event) if follow else (story, "")


def brief(text: str, limit: int = MAX_LINE) -> str:
    """A text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def label_of(name: str, given: Any) -> str:
    """A use of a tool in a few words."""
    said = given if isinstance(given, Mapping) else {}
    what = next((value for key in _TELLING if isinstance(value := said.get(key), str) and value), "")
    return brief(f"{name} {what}".strip(), 100)


def _init(story: Story, event: Event) -> tuple[Story, str]:
    silent = [str(each.get("name")) for each in _list(event.get("mcp_servers")) if each.get("status") == "failed"]
    line = f"begun; these MCP servers did not start: {', '.join(silent)}" if silent else "begun"
    return msgspec.structs.replace(story, begun=True), line


def _retry(story: Story, event: Event) -> tuple[Story, str]:
    return story, brief(f"the model's API failed ({event.get('error', 'unknown')}); it is asked again")


def _denied(story: Story, event: Event) -> tuple[Story, str]:
    return story, brief(f"denied: {event.get('tool_name', 'a tool')}")


def _assistant(story: Story, event: Event) -> tuple[Story, str]:
    message = event.get("message")
    if not isinstance(message, Mapping) or message.get("model") == SYNTHETIC:
        return story, ""
    blocks = _list(message.get("content"))
    words = " ".join(str(each.get("text", "")) for each in blocks if each.get("type") == "text").strip()
    used = {str(each.get("id")): _use(each) for each in blocks if each.get("type") == "tool_use"}
    story = msgspec.structs.replace(story, acted=True, said=words or story.said, open={**story.open, **used})
    return story, brief("; ".join(each for each in (words, *used.values()) if each))


def _use(block: Mapping[str, Any]) -> str:
    return label_of(str(block.get("name", "tool")), block.get("input"))


def _user(story: Story, event: Event) -> tuple[Story, str]:
    message = event.get("message")
    blocks = _list(message.get("content")) if isinstance(message, Mapping) else []
    closed = {str(each.get("tool_use_id")) for each in blocks if each.get("type") == "tool_result"}
    still = {use: label for use, label in story.open.items() if use not in closed}
    return msgspec.structs.replace(story, open=still), ""


def _limited(story: Story, event: Event) -> tuple[Story, str]:
    """Only a rejection is a limit; the event also comes with calls that are let through."""
    info = event.get("rate_limit_info")
    if not isinstance(info, Mapping) or info.get("status") != "rejected":
        return story, ""
    at = info.get("resetsAt")
    known = float(at) if isinstance(at, int | float) else None
    return msgspec.structs.replace(story, resets_at_s=known), "the account has reached its limit"


def _result(story: Story, event: Event) -> tuple[Story, str]:
    return msgspec.structs.replace(story, result=dict(event), open={}), ""


def _list(found: Any) -> list[Mapping[str, Any]]:
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


_FOLLOWS: dict[str, Callable[[Story, Event], tuple[Story, str]]] = {
    "system/init": _init,
    "system/api_retry": _retry,
    "system/permission_denied": _denied,
    "assistant": _assistant,
    "user": _user,
    "rate_limit_event": _limited,
    "result": _result,
}
