"""One line in the log for each tool of an executor that is called, however that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import structlog
from mcp import MCPError
from mcp_types import CallToolResult

from omni.domain import commands as cmd
from omni.executors.connection import explain
from omni.executors.contract import Report, brief

log = structlog.get_logger()

Outcome: TypeAlias = Literal["succeeded", "failed", "interrupted", "cancelled"]


class Calling:
    """A call under way. Whoever knows better than the library's exceptions how it ended says so."""

    __slots__ = ("detail", "error", "outcome", "quiet")

    def __init__(self) -> None:
        self.outcome: Outcome = "succeeded"
        self.error: str | None = None
        self.detail: str | None = None
        self.quiet = False  # asked over and over, with the same answer

    def fails(self, error: str, detail: str, outcome: Outcome = "failed") -> None:
        """It did not succeed: the kind of error, and what was said."""
        self.outcome, self.error, self.detail = outcome, error, brief(detail)

    def gives(self, result: CallToolResult) -> CallToolResult:
        """An answer came; servers say in it whether it is one."""
        if result.is_error:
            self.fails("tool_error", "the tool says that it failed")
        return result

    def ends(self, report: Report | None, broke_by: str) -> None:
        """What an attempt's call came to; None: it broke after sending, and nobody knows."""
        match report:
            case cmd.ReportFailed():
                self.fails(report.error.kind, report.error.message)
            case cmd.ReportInterrupted():
                self.fails("interrupted", report.evidence, "interrupted")
            case cmd.ReportCancelled():
                self.fails("cancelled" if report.confirmed else "unconfirmed", "", "cancelled")
            case None:
                self.fails("interrupted", broke_by, "interrupted")


@contextmanager
def calling(executor: str, tool: str, task: str | None = None, attempt: int | None = None) -> Iterator[Calling]:
    """Write the line at the end; errors pass through."""
    loop, call = asyncio.get_running_loop(), Calling()
    began = loop.time()
    try:
        yield call
    except asyncio.CancelledError:
        call.fails("cancelled", "nobody waits for it any more", "cancelled")
        raise
    except TimeoutError:
        call.fails("timeout", "no answer in time")
        raise
    except MCPError as error:
        call.fails("refused", f"{error.message} (code {error.code})")
        raise
    except Exception as error:
        call.fails("broken", explain(error))
        raise
    finally:
        say = log.debug if call.quiet else log.info
        say(
            "tool.called",
            executor=executor,
            tool=tool,
            task=task,
            attempt=attempt,
            duration_ms=round((loop.time() - began) * 1000),
            outcome=call.outcome,
            error=call.error,
            detail=call.detail,
        )
