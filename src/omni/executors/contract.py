"""What an executor's answer means: any MCP server's, and that of servers which keep Omni's small contract.

Any server: text blocks become the text, `structuredContent` the structured result, `isError` a failure in its words.

Bundled adapters, and any server whose `structuredContent` says `"contract": "omni.result/1"`, may say more there:

    text            the result for people, instead of the text blocks
    session         id of the executor's own session, to go on from later
    cost_usd        what it cost, where the executor knows
    usage           {"input_tokens", "output_tokens"}
    error           {"kind", "message"}; kinds: bad_request, cancelled, failed, idle_timeout, interrupted, rate_limited,
                    timeout, unavailable. `unavailable` and `rate_limited` promise that nothing was begun
    resumable       with `interrupted`: whether the executor can go on from the handle

A server that offers the tool `lookup_attempt` (arguments `handle`, `key`) can be asked after a crash. It answers with
`{"state": "finished" | "running" | "unknown", "result": the contract above, "resumable": bool}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from omni.domain import commands as cmd
from omni.domain.values import Result, TaskError, Usage

VERSION = "omni.result/1"
LOOKUP_TOOL = "lookup_attempt"
MAX_TEXT_BYTES = 1024 * 1024
MAX_ERROR_CHARS = 4_000
ERROR_KINDS = frozenset(
    {"bad_request", "cancelled", "failed", "idle_timeout", "interrupted", "rate_limited", "timeout", "unavailable"}
)

Report: TypeAlias = cmd.ReportSucceeded | cmd.ReportFailed | cmd.ReportInterrupted | cmd.ReportCancelled


class Answer(msgspec.Struct, frozen=True):
    """A tool's answer, free of the library it came through. `blocks` are content blocks as JSON objects."""

    blocks: tuple[Mapping[str, Any], ...] = ()
    structured: Any = None
    is_error: bool = False


class Said(msgspec.Struct, frozen=True):
    """The error of the contract."""

    kind: str = "failed"
    message: str = ""


class Contract(msgspec.Struct, frozen=True):
    """The structured part of an answer that keeps the contract."""

    text: str | None = None
    session: str = ""
    cost_usd: float | None = None
    usage: Usage | None = None
    error: Said | None = None
    resumable: bool = False


class Lookup(msgspec.Struct, frozen=True):
    """The answer of `lookup_attempt`."""

    state: str = "unknown"
    result: Any = None
    resumable: bool = False


def report(task_id: str, n: int, answer: Answer, *, adapter: bool = False) -> Report:
    """The report that an answer amounts to."""
    text = text_of(answer.blocks)
    if not keeps_contract(answer.structured, adapter=adapter):
        if answer.is_error:
            return failure(task_id, n, "failed", text or "the executor reported an error and gave no reason")
        return cmd.ReportSucceeded(task_id, n, Result(*_capped(text, answer.structured)))
    return _from_contract(task_id, n, answer, text)


def failure(task_id: str, n: int, kind: str, message: str, hint: str = "") -> cmd.ReportFailed:
    """A failed attempt, its message cut to a length that people read."""
    return cmd.ReportFailed(task_id, n, TaskError(kind, clean(message)[:MAX_ERROR_CHARS], hint))


def keeps_contract(structured: Any, *, adapter: bool) -> bool:
    """Whether the structured part is meant for Omni; a stranger's `error` or `text` key is not."""
    return isinstance(structured, Mapping) and (adapter or structured.get("contract") == VERSION)


def read_lookup(answer: Answer) -> Lookup:
    """What `lookup_attempt` said; `unknown` for anything that is not the contract."""
    try:
        return msgspec.convert(answer.structured, Lookup)
    except msgspec.ValidationError:
        return Lookup()


def text_of(blocks: tuple[Mapping[str, Any], ...]) -> str:
    """The text of all content blocks, one below the other; other kinds in one line each."""
    return "\n".join(_block(block) for block in blocks)


def clean(text: str) -> str:
    """The text without lone surrogates, which neither the log nor the wire can carry."""
    return text.encode("utf-8", "replace").decode()


def _from_contract(task_id: str, n: int, answer: Answer, text: str) -> Report:
    try:
        said = msgspec.convert(answer.structured, Contract)
    except msgspec.ValidationError as error:
        return failure(task_id, n, "failed", f"the executor's answer breaks the result contract: {error}\n{text}")
    words = said.text if said.text is not None else text
    if said.error or answer.is_error:
        return _from_error(task_id, n, said, words)
    result = Result(*_capped(words, _own(answer.structured)))
    return cmd.ReportSucceeded(task_id, n, result, said.session, said.usage, said.cost_usd)


def _from_error(task_id: str, n: int, said: Contract, text: str) -> Report:
    error = said.error or Said()
    message = error.message or text or "the executor reported an error and gave no reason"
    if error.kind == "interrupted":
        return cmd.ReportInterrupted(task_id, n, clean(message)[:MAX_ERROR_CHARS], said.resumable)
    if error.kind == "cancelled":
        return cmd.ReportCancelled(task_id, n, confirmed=True)
    return failure(task_id, n, error.kind if error.kind in ERROR_KINDS else "failed", message)


def _own(structured: Mapping[str, Any]) -> Any:
    """What the executor added beside the keys of the contract; None when it added nothing."""
    known = {"contract", *Contract.__struct_fields__}
    return {key: value for key, value in structured.items() if key not in known} or None


def _capped(text: str, structured: Any) -> tuple[str, Any]:
    """Text and structured result within their bounds; what was left out is said in the text."""
    data = text.encode("utf-8", "replace")
    text = data.decode()
    if len(data) > MAX_TEXT_BYTES:
        head = data[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
        text = f"{head}\n[cut: the executor gave {len(data)} bytes of text, the first {MAX_TEXT_BYTES} are kept]"
    size = _size(structured)
    if size > MAX_TEXT_BYTES:
        return f"{text}\n[left out: {size} bytes of structured content]", None
    return text, structured


def _size(structured: Any) -> int:
    try:
        return 0 if structured is None else len(msgspec.json.encode(structured))
    except (ValueError, TypeError, RecursionError):
        return MAX_TEXT_BYTES * 1024  # not JSON at all


def _block(block: Mapping[str, Any]) -> str:
    kind = block.get("type", "content")
    if kind == "text":
        return str(block.get("text", ""))
    resource = block.get("resource")
    if kind == "resource" and isinstance(resource, Mapping):
        return str(resource.get("text") or f"[resource {resource.get('uri', '')}]")
    if kind == "resource_link":
        return f"[link {block.get('name', '')}: {block.get('uri', '')}]"
    size = len(str(block.get("data", ""))) * 3 // 4
    return f"[{kind}, {block.get('mimeType', 'unknown type')}, {size} bytes]"
