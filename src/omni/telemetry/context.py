"""Which trace a task belongs to, in the W3C form that travels in the `_meta` of MCP requests.

Theory. Ids are derived, not drawn: the trace of a task is its UUID, a span's id a hash over what it stands for. So a
restart, which loses all memory, goes on with the same trace, and whoever is called knows its parent before that span
has been sent. A client that brings a `traceparent` with its call makes the task part of its own trace. That is known in
memory only: after a restart the task goes on in the trace of its own.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections import OrderedDict

import msgspec

TRACEPARENT = "traceparent"
REMEMBERED = 10_000  # tasks that came with a trace; as many as may be open
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Remote(msgspec.Struct, frozen=True, gc=False):
    """The caller's span."""

    trace_id: int
    span_id: int
    flags: int

    @property
    def sampled(self) -> bool:
        """Whether the caller's trace is kept."""
        return bool(self.flags & 1)


def parsed(text: str) -> Remote | None:
    """What a `traceparent` says (W3C Trace Context, level 1); None for one that says nothing."""
    match = _FORM.fullmatch(text)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    remote = Remote(int(match[2], 16), int(match[3], 16), int(match[4], 16))
    return remote if remote.trace_id and remote.span_id else None


def trace_id(name: str) -> int:
    """The trace of a task by its id, or of a call that belongs to none."""
    try:
        found = uuid.UUID(name).int
    except ValueError:
        found = 0
    return found or int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])


def span_id(*parts: object) -> int:
    """The span that stands for these parts; never 0."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:8]) or 1


class Parents:
    """The callers' traces of tasks. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._remote: OrderedDict[str, Remote] = OrderedDict()

    def adopt(self, task_id: str, traceparent: str) -> None:
        """A client brought this with the call that makes the task; what is no trace changes nothing."""
        remote = parsed(traceparent)
        if remote is None:
            return
        with self._lock:
            self._remote[task_id] = remote
            if len(self._remote) > REMEMBERED:
                self._remote.popitem(last=False)

    def of(self, task_id: str) -> Remote | None:
        """The caller's span, where there is one."""
        return self._remote.get(task_id)

    def meta(self, task_id: str, n: int) -> dict[str, str]:
        """What goes along with the call of an attempt: the span of that very call."""
        remote = self.of(task_id)
        trace, flags = (remote.trace_id, remote.flags) if remote else (trace_id(task_id), 1)
        return {TRACEPARENT: f"00-{trace:032x}-{span_id(task_id, n, 'call'):016x}-{flags:02x}"}
