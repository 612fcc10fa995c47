"""How a command ends: its exit code and, where it failed, what it says.

Each error is one line of what is wrong and one line with the next command. With `--json` it is a document of its own,
and the exit code is the same.
"""

from __future__ import annotations

from typing import Any

from omni.domain.errors import (
    ConfigError,
    DaemonUnreachable,
    EventLogError,
    NotAuthorised,
    NotFound,
    OmniError,
    Refused,
    ReplayDivergence,
)

OK = 0
TASK_FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
NOT_AUTHORISED = 5
HELD = 6
MISMATCH = 7
LOG_DAMAGED = 8
TIMED_OUT = 124
INTERNAL = 70  # outside the contract's list on purpose: never to be taken for a failed task
INTERRUPTED = 130  # what a shell reports for SIGINT
PIPE_CLOSED = 141  # and for SIGPIPE: the reader has seen enough

# The contract's list, as the help and the reference say it.
MEANINGS: dict[int, str] = {
    OK: "ok",
    TASK_FAILED: "the task failed",
    USAGE: "usage or configuration",
    UNREACHABLE: "daemon unreachable",
    NOT_FOUND: "not found",
    NOT_AUTHORISED: "not authorised",
    HELD: "held (budget or decision)",
    MISMATCH: "verification found a mismatch",
    LOG_DAMAGED: "log damaged or locked",
    TIMED_OUT: "wait timed out",
}

# One machine may run several daemons, each with a data directory and a token of its own.
ELSEWHERE = (
    "omni token show --data-dir DIR, with the DIR of that daemon; or take another port for your own: OMNI_PORT=PORT"
)
# Somebody else has the port.
OTHER_PORT = "omni serve --port PORT, with another one; commands take the same --port, or OMNI_PORT"


class BadUsage(OmniError):
    """The command line cannot be understood."""


class Nobody(DaemonUnreachable):
    """Nothing listens on the port."""


class Broken(OmniError):
    """Omni itself went wrong."""


class DaemonRefused(Refused):
    """The daemon turned a request down; `kind` is stable."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


# The first class that fits gives the exit code and the kind.
_BY_CLASS: tuple[tuple[type[OmniError], int, str], ...] = (
    (BadUsage, USAGE, "usage"),
    (Broken, INTERNAL, "internal"),
    (ConfigError, USAGE, "config"),
    (DaemonUnreachable, UNREACHABLE, "daemon_unreachable"),
    (NotFound, NOT_FOUND, "not_found"),
    (NotAuthorised, NOT_AUTHORISED, "not_authorised"),
    (ReplayDivergence, MISMATCH, "mismatch"),
    (EventLogError, LOG_DAMAGED, "log"),
)
# A refusal is the caller's to correct, except where the daemon cannot take anything at all.
_BY_KIND = {"overloaded": UNREACHABLE, "storage_unavailable": LOG_DAMAGED, "over_budget": HELD}
_NEXT = {
    UNREACHABLE: "omni serve",
    NOT_FOUND: "omni tasks",
    NOT_AUTHORISED: "omni token show",
    MISMATCH: "omni verify",
    LOG_DAMAGED: "omni verify",
}


def code_of(error: OmniError) -> int:
    """The exit code that the contract gives an error."""
    if isinstance(error, DaemonRefused):
        return _BY_KIND.get(error.kind, USAGE)
    return next((code for kind, code, _ in _BY_CLASS if isinstance(error, kind)), USAGE)


def kind_of(error: OmniError) -> str:
    """The stable name of an error, for programs."""
    if isinstance(error, Refused):
        return str(getattr(error, "kind", "refused"))
    return next((name for kind, _, name in _BY_CLASS if isinstance(error, kind)), "error")


def error_document(error: OmniError) -> dict[str, Any]:
    """`{kind, message, hint}`; the hint is never empty."""
    return {"kind": kind_of(error), "message": error.message, "hint": hint_of(error)}


def hint_of(error: OmniError) -> str:
    """The next command: the error's own, or the usual one for its exit code."""
    return error.hint or _NEXT.get(code_of(error), "omni --help")


def code_of_task(task: dict[str, Any]) -> int:
    """The exit code that a task's state stands for; a task on its way counts as one that was waited for in vain."""
    return {"completed": OK, "failed": TASK_FAILED, "cancelled": TASK_FAILED, "held": HELD}.get(
        str(task["state"]), TIMED_OUT
    )
