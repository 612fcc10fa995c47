"""OpenClaw's Gateway protocol, versions 3 and 4, as far as we speak it: what its frames say. No IO here.

gateway ──▶ event connect.challenge {nonce, ts}
we      ──▶ req connect {…}                 gateway ──▶ res hello-ok {server.bootId}, or an error
we      ──▶ req METHOD {…}                  gateway ──▶ res with the same id; `agent` gets two: accepted, then the end
                                            gateway ──▶ event agent | chat | task | …, at any time
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from omni.domain.errors import ExecutorError

MAX_FRAME_BYTES = 26 * 1024 * 1024  # the gateway's own limit is 25 MiB
MAX_WORDS = 2_000

Json: TypeAlias = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """An error as the gateway writes it."""

    code: str = ""
    message: str = ""
    details: Any = None
    retryable: bool = False
    retry_after_ms: float | None = None


class Frame(msgspec.Struct, frozen=True):
    """Any frame that the gateway sends; `id` names the request of an answer, `event` the kind of an event."""

    type: str
    id: str = ""
    ok: bool = False
    event: str = ""
    payload: Any = None
    error: Fault | None = None


class Server(msgspec.Struct, frozen=True, rename="camel"):
    version: str = ""
    boot_id: str = ""


class Granted(msgspec.Struct, frozen=True, rename="camel"):
    """What a connection may do; `device_token` comes to a paired device."""

    scopes: tuple[str, ...] = ()
    device_token: str = ""


class Hello(msgspec.Struct, frozen=True):
    """The answer to `connect`. Protocol 3 may name no boot id: then the connection's own life is all there is."""

    protocol: int = 0
    server: Server = Server()
    auth: Granted = Granted()


class Execution(msgspec.Struct, frozen=True):
    state: str = ""


class RunTask(msgspec.Struct, frozen=True, rename="camel"):
    """One run in the gateway's list of tasks."""

    run_id: str = ""
    status: str = ""
    session_key: str = ""
    error: str = ""
    terminal_summary: str = ""
    created_at: float = 0.0
    execution: Execution = Execution()

    @property
    def runs(self) -> bool:
        return self.status in {"queued", "pending", "running"}


class Refused(ExecutorError):
    """The gateway answered a request with an error."""

    def __init__(self, method: str, fault: Fault, payload: Any = None) -> None:
        super().__init__(fault.message[:MAX_WORDS] or f"the gateway refused {method} and gave no reason")
        self.fault = fault
        self.payload = payload

    @property
    def code(self) -> str:
        """The most exact code there is: the details' own, else the general one."""
        return str(mapping(self.fault.details).get("code") or self.fault.code)


class Away(ExecutorError):
    """There is no connection; whatever was to be asked was not sent. `kind` says which state it is."""

    def __init__(self, message: str, kind: str = "offline") -> None:
        super().__init__(message)
        self.kind = kind


class Lost(ExecutorError):
    """The connection went after a request was sent: nobody knows what became of it."""


class Late(ExecutorError):
    """The gateway did not answer in time; the request may still be worked on."""


def read_frame(data: str | bytes) -> Frame | None:
    """The frame, or None for what is none: a newer gateway may say more than we know."""
    try:
        return msgspec.json.decode(data, type=Frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def request(id_: str, method: str, params: Json) -> str:
    """One request as text."""
    return msgspec.json.encode({"type": "req", "id": id_, "method": method, "params": params}).decode()


def read_hello(payload: Any) -> Hello:
    """What `hello-ok` said; empty fields for what it left out."""
    return _lenient(payload, Hello())


def read_tasks(payload: Any) -> list[RunTask]:
    """The runs of a session, newest first."""
    said = mapping(payload).get("tasks")
    found = [_lenient(each, RunTask()) for each in said] if isinstance(said, list) else []
    return sorted(found, key=lambda task: task.created_at, reverse=True)


def is_accepted(frame: Frame) -> bool:
    """Whether this is the first of two answers."""
    return frame.ok and mapping(frame.payload).get("status") == "accepted"


class Step(msgspec.Struct, frozen=True):
    """A sign of life of a run: how much text there is by now, and words for people."""

    run_id: str
    kind: Literal["text", "tool", "other"]
    words: str = ""


def read_step(event: str, payload: Any) -> Step | None:
    """What an event says about a run; None when it is about none. Text comes twice, so `chat` is left out."""
    said = mapping(payload)
    run_id = said.get("runId")
    if event != "agent" or not isinstance(run_id, str):
        return None
    data, stream = mapping(said.get("data")), said.get("stream")
    if stream == "assistant":
        return Step(run_id, "text", text_of(data.get("text"))[-200:])
    if (stream == "item" and data.get("kind") == "tool") or stream == "tool":
        name = text_of(data.get("name")) or "a tool"
        return Step(run_id, "tool", f"{name}: {text_of(data.get('title')) or text_of(data.get('phase'))}")
    begun = stream == "lifecycle" and data.get("phase") == "start"
    return Step(run_id, "other", "OpenClaw has begun" if begun else "")


def mapping(value: Any) -> Json:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """The value where it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def whole_of(value: Any) -> int:
    """The value where it is a whole number, else 0."""
    return value if type(value) is int else 0


def words_of(content: Any) -> str:
    """The text of a message's content: a string, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(text_of(mapping(each).get("text")) for each in blocks if mapping(each).get("type") == "text")


def _lenient(payload: Any, default: S) -> S:
    """The struct as far as the payload keeps its types; a field of another kind counts as left out."""
    kind = type(default)
    said = mapping(payload)
    kept = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in said:
            try:
                kept[field.name] = msgspec.convert(said[field.encode_name], field.type)
            except msgspec.ValidationError:
                continue
    return msgspec.structs.replace(default, **kept)
