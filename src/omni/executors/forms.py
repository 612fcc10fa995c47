"""What a memory's tools want, read from their input schemas: which property takes which of our values.

Memories differ in names and types, and their documentation differs from what they serve. So nothing is taken for
granted but the schema: a property is known by its name, the value is given the type that it asks for, and a tool with
a required property that nobody here can fill is not called at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from omni.domain.errors import OmniError

Purpose = Literal["query", "limit", "user", "agent", "conversation", "first_message", "messages", "content"]
Writer: TypeAlias = Callable[["Values"], Any]

MAX_REFERENCES = 8

# Which names stand for what, without case, blanks and underscores.
_NAMES: Mapping[Purpose, tuple[str, ...]] = {
    "query": ("query", "searchquery", "question", "text", "q", "keyword", "keywords", "prompt", "input"),
    "limit": (
        "memorylimitnumber", "memorylimit", "limit", "topk", "k", "n", "maxresults", "numresults", "count", "size",
    ),
    "user": ("userid", "user", "uid", "username", "userids"),
    "agent": ("agentid", "appid", "source"),
    "conversation": ("conversationid", "sessionid", "threadid", "chatid", "runid", "session"),
    "first_message": ("conversationfirstmessage", "firstmessage"),
    "messages": ("messages", "messagelist", "conversation", "dialogue"),
    "content": ("content", "memorycontent", "memory", "text", "message", "data", "note", "value"),
}  # fmt: skip
# What is filled wherever it can be; the rest only where the schema requires it. A search is not bound to one
# conversation unless the tool insists: what other tasks have learnt is the point of it.
SEARCH: Mapping[Purpose, bool] = {
    "query": True, "limit": True, "user": True, "agent": False, "conversation": False, "first_message": False,
}  # fmt: skip
ADD: Mapping[Purpose, bool] = {
    "messages": True, "content": False, "user": True, "agent": False, "conversation": True, "first_message": True,
}  # fmt: skip
_ROLES = ("role", "sender", "speaker")
_WORDS = ("content", "text", "message")
_TIMES = ("chattime", "time", "timestamp", "createdat")


class Unfit(OmniError):
    """A tool that cannot be called with what we have; the text says why."""


class Said(NamedTuple):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


class Values(msgspec.Struct, frozen=True):
    """What Omni can tell a memory. `text` is the task, `said` the conversation that is to be remembered."""

    text: str
    user: str
    conversation: str
    limit: int = 5
    said: tuple[Said, ...] = ()
    at: str = ""


class Form(NamedTuple):
    """How one tool is called: its name, and what writes each of its properties."""

    tool: str
    writers: Mapping[str, Writer]

    def arguments(self, values: Values) -> dict[str, Any]:
        """The arguments for these values."""
        return {name: write(values) for name, write in self.writers.items()}


def fit(tool: str, schema: Mapping[str, Any], purposes: Mapping[Purpose, bool], vital: tuple[Purpose, ...]) -> Form:
    """Read how a tool is called; Unfit when it wants what nobody can fill, or takes none of the `vital` values."""
    properties = {name: resolved(node, schema) for name, node in properties_of(schema).items()}
    required = {each for each in _list(schema.get("required")) if isinstance(each, str)}
    if missing := sorted(required - set(properties)):
        raise Unfit(f"the tool {tool!r} requires {missing[0]!r}, and does not say what that is")
    writers: dict[str, Writer] = {}
    served: set[Purpose] = set()
    for name, node in _ordered(properties, purposes):
        purpose = _purpose(name, purposes)
        write = _writer(purpose, node, schema) if purpose else None
        if write and purpose and (name in required or _is_wanted(purpose, purposes, vital, served)):
            writers[name] = write
            served.add(purpose)
        elif name in required:
            writers[name] = _only_value(tool, name, node)
    if not served & set(vital):
        raise Unfit(f"the tool {tool!r} has no property for {' or '.join(vital)}; it has: {', '.join(properties)}")
    return Form(tool, writers)


def _is_wanted(
    purpose: Purpose, purposes: Mapping[Purpose, bool], vital: tuple[Purpose, ...], served: set[Purpose]
) -> bool:
    """Whether a property that could stay empty is filled: once, and where it helps."""
    return purpose not in served and (purposes[purpose] or (purpose in vital and not served & set(vital)))


def _ordered(properties: Mapping[str, Any], purposes: Mapping[Purpose, bool]) -> list[tuple[str, Any]]:
    """The properties, those that are filled wherever possible before those that replace them."""

    def rank(item: tuple[str, Any]) -> int:
        purpose = _purpose(item[0], purposes)
        return list(purposes).index(purpose) if purpose else len(purposes)

    return sorted(properties.items(), key=rank)


def _purpose(name: str, purposes: Mapping[Purpose, bool]) -> Purpose | None:
    plain = re.sub(r"[\s_-]", "", name).lower()
    return next((each for each in purposes if plain in _NAMES[each]), None)


def _only_value(tool: str, name: str, node: Mapping[str, Any]) -> Writer:
    """A required property that means nothing to us still has a value where the schema leaves no choice."""
    if "default" in node:
        value = node["default"]
    elif "const" in node:
        value = node["const"]
    elif len(choices := _list(node.get("enum"))) == 1:
        value = choices[0]
    else:
        raise Unfit(f"the tool {tool!r} requires {name!r}, which Omni cannot fill")
    return lambda _values: value


# --- values in the type that is asked for


def _writer(purpose: Purpose, node: Mapping[str, Any], schema: Mapping[str, Any]) -> Writer | None:
    """What writes a purpose into a property of this type; None when it has no such form."""
    if purpose == "limit":
        return _number(node)
    if purpose == "messages":
        return _messages(node, schema)
    return _text(node, _TEXTS[purpose])


def _transcript(values: Values) -> str:
    return "\n\n".join(f"{each.role}: {each.text}" for each in values.said)


_TEXTS: Mapping[Purpose, Callable[[Values], str]] = {
    "query": lambda values: values.text,
    "user": lambda values: values.user,
    "agent": lambda _values: "omni",
    "conversation": lambda values: values.conversation,
    "first_message": lambda values: values.text,
    "content": _transcript,
}


def _text(node: Mapping[str, Any], value: Callable[[Values], str]) -> Writer | None:
    types = json_types(node)
    if node.get("enum") is not None or "const" in node:
        return None
    longest = node.get("maxLength")
    end = longest if isinstance(longest, int) and longest >= 0 else None
    if not types or "string" in types:
        return lambda values: value(values)[:end]
    return (lambda values: [value(values)]) if "array" in types else None


def _number(node: Mapping[str, Any]) -> Writer | None:
    types = json_types(node)
    low, high = _bound(node, "minimum"), _bound(node, "maximum")

    def number(values: Values) -> int:
        least = values.limit if low is None else max(values.limit, low)
        return least if high is None else min(least, high)

    if not types or types & {"integer", "number"}:
        return number
    return (lambda values: str(number(values))) if "string" in types else None


def _messages(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Writer | None:
    types = json_types(node)
    if not types or "array" in types:
        return _message_list(resolved(_array(node).get("items"), schema))
    return _transcript if "string" in types else None


def _message_list(item: Mapping[str, Any]) -> Writer | None:
    if json_types(item) == {"string"}:
        return lambda values: [f"{each.role}: {each.text}" for each in values.said]
    names = properties_of(item)
    role = next((each for each in names if _plain(each) in _ROLES), "" if names else "role")
    words = next((each for each in names if _plain(each) in _WORDS), "" if names else "content")
    times = [each for each in _list(item.get("required")) if _plain(each) in _TIMES]
    if not words or set(_list(item.get("required"))) - {role, words, *times}:
        return None

    def messages(values: Values) -> list[dict[str, str]]:
        extra = dict.fromkeys(times, values.at)
        return [({role: each.role} if role else {}) | {words: each.text} | extra for each in values.said]

    return messages


# --- reading schemas, which are a stranger's


def resolved(node: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node itself, or what it refers to within the same schema; an empty one for anything else."""
    for _ in range(MAX_REFERENCES):
        if not isinstance(node, Mapping):
            return {}
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return node
        node = _pointed(schema, reference)
    return {}


def _pointed(schema: Mapping[str, Any], reference: str) -> Any:
    node: Any = schema
    for step in reference.removeprefix("#").strip("/").split("/"):
        node = node.get(step) if isinstance(node, Mapping) else None
    return node


def json_types(node: Mapping[str, Any]) -> set[str]:
    """The JSON types that a node allows, without null; empty when it does not say."""
    said = node.get("type")
    types = {said} if isinstance(said, str) else {each for each in _list(said) if isinstance(each, str)}
    for branch in _branches(node):
        types |= {each for each in (branch.get("type"),) if isinstance(each, str)}
    return types - {"null"}


def _array(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((each for each in (node, *_branches(node)) if each.get("type") == "array"), node)


def _branches(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for key in ("anyOf", "oneOf") for each in _list(node.get(key)) if isinstance(each, Mapping)]


def properties_of(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of a schema by name; none for anything else."""
    found = node.get("properties")
    return found if isinstance(found, Mapping) else {}


def _bound(node: Mapping[str, Any], key: str) -> int | None:
    value = node.get(key)
    return int(value) if isinstance(value, int | float) and abs(value) < 2**53 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(name: Any) -> str:
    return re.sub(r"[\s_-]", "", str(name)).lower()
