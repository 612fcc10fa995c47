"""What an executor's answer means: any MCP server's, and that of servers which keep Omni's small contract.

Any server: text blocks become the text, `structuredContent` the structured result, `isError` a failure in its words.

Bundled adapters, and any server whose `structuredContent` says `"contract": "omni.result/1"`, may say more there:

    text            the result for people, instead of the text blocks
    session         id of the executor's own session, to go on from later
    cost_usd        what it cost, where the executor knows
    usage           {"input_tokens", "output_tokens"}
    error           {"kind", "message"}; kinds: bad_request, cancelled, failed, idle_timeout, interrupted, over_budget,
                    rate_limited, timeout, unavailable. `unavailable` and `rate_limited` promise that nothing was
                    begun; these two and `interrupted` may say `retry_after_s`
    resumable       with `interrupted`: whether the executor can go on from the handle. With `retry_after_s` as well it
                    stopped in order, by itself, and can go on after that time: no attempt counts as used up
    pause           {"for_s", "reason"}: the executor as a whole can take nothing for so long (an account's limit)

A server that offers the tool `pause_attempt` (arguments `handle`, `key`) hears of it when the cloud is gone. It goes
on, or ends the call as `interrupted` with `resumable`. What it answers to `pause_attempt` itself decides nothing.

A server that offers the tool `lookup_attempt` (arguments `handle`, `key`) can be asked after a crash. It answers with
`{"state": "finished" | "running" | "unknown", "result": the contract above, "resumable": bool}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from omni.domain import commands as cmd
from omni.domain.values import Result, TaskError, Usage

VERSION = "omni.result/1"
LOOKUP_TOOL = "lookup_attempt"
PAUSE_TOOL = "pause_attempt"
MAX_TEXT_BYTES = 1024 * 1024
MAX_ERROR_CHARS = 4_000
MAX_DEPTH = 64  # well within what the log takes, with the events and views that are laid around a result
ERROR_KINDS = frozenset(
    (
        "bad_request",
        "cancelled",
        "failed",
        "idle_timeout",
        "interrupted",
        "over_budget",
        "rate_limited",
        "timeout",
        "unavailable",
    )
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
    retry_after_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class Tokens(msgspec.Struct, frozen=True):
    """`usage` within its bounds: nobody gives tokens back."""

    input_tokens: Annotated[int, Meta(ge=0, le=2**53)] = 0
    output_tokens: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Pause(msgspec.Struct, frozen=True):
    """The executor rests: for how many seconds, and why."""

    for_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    reason: str = ""


class Contract(msgspec.Struct, frozen=True):
    """The structured part of an answer that keeps the contract. A cost below zero would open every budget."""

    text: str | None = None
    session: Annotated[str, Meta(max_length=1000)] = ""
    cost_usd: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    usage: Tokens | None = None
    error: Said | None = None
    resumable: bool = False
    pause: Pause | None = None


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


def failure(
    task_id: str, n: int, kind: str, message: str, hint: str = "", *, retry_after_s: float | None = None
) -> cmd.ReportFailed:
    """A failed attempt, its message cut to a length that people read."""
    return cmd.ReportFailed(task_id, n, TaskError(kind, brief(message), hint), int((retry_after_s or 0) * 1000))


def keeps_contract(structured: Any, *, adapter: bool) -> bool:
    """Whether the structured part is meant for Omni; a stranger's `error` or `text` key is not."""
    return isinstance(structured, Mapping) and (adapter or structured.get("contract") == VERSION)


def pause_of(executor: str, answer: Answer, *, adapter: bool) -> cmd.ExecutorPaused | None:
    """That the whole executor rests, where the answer says so."""
    if not keeps_contract(answer.structured, adapter=adapter):
        return None
    try:
        pause = msgspec.convert(answer.structured.get("pause"), Pause | None)
    except msgspec.ValidationError:
        return None
    if pause is None or not pause.for_s:
        return None
    return cmd.ExecutorPaused(executor, int(pause.for_s * 1000), brief(pause.reason))


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


def brief(text: str) -> str:
    """The text clean, and cut to a length that people read."""
    return clean(text)[:MAX_ERROR_CHARS]


def _from_contract(task_id: str, n: int, answer: Answer, text: str) -> Report:
    try:
        said = msgspec.convert(answer.structured, Contract)
    except msgspec.ValidationError as error:
        return failure(task_id, n, "failed", f"the executor's answer breaks the result contract: {error}\n{text}")
    words = said.text if said.text is not None else text
    if said.error or answer.is_error:
        return _from_error(task_id, n, said, words)
    result = Result(*_capped(words, _own(answer.structured)))
    usage = Usage(said.usage.input_tokens, said.usage.output_tokens) if said.usage else None
    return cmd.ReportSucceeded(task_id, n, result, clean(said.session), usage, said.cost_usd)


def _from_error(task_id: str, n: int, said: Contract, text: str) -> Report:
    error = said.error or Said()
    message = error.message or text or "the executor reported an error and gave no reason"
    if error.kind == "interrupted":
        orderly = error.retry_after_s is not None
        wait_ms = int((error.retry_after_s or 0) * 1000)
        return cmd.ReportInterrupted(task_id, n, brief(message), said.resumable, orderly, wait_ms)
    if error.kind == "cancelled":
        return cmd.ReportCancelled(task_id, n, confirmed=True)
    kind = error.kind if error.kind in ERROR_KINDS else "failed"
    return failure(task_id, n, kind, message, retry_after_s=error.retry_after_s)


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
    if structured is None:
        return text, None
    kept, unfit = _kept(structured)
    return (f"{text}\n[left out: {unfit}]", None) if unfit else (text, kept)


def _kept(structured: Any) -> tuple[Any, str]:
    """The structured content as it will be read back from the log, or why the log cannot keep it."""
    try:
        msgspec.msgpack.encode(structured)  # as snapshots do, which hold no integer beyond 64 bits
        data = msgspec.json.encode(structured)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        return None, f"structured content that cannot be kept: {brief(str(error))}"
    if len(data) > MAX_TEXT_BYTES:
        return None, f"{len(data)} bytes of structured content"
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(structured, MAX_DEPTH):
        return None, f"structured content that nests deeper than {MAX_DEPTH}"
    return msgspec.json.decode(data), ""


def _is_deeper(node: Any, levels: int) -> bool:
    if not isinstance(node, Mapping | list | tuple):
        return False
    inner = node.values() if isinstance(node, Mapping) else node
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


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
