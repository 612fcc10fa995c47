"""One line in the log for each call of ours that a client makes over MCP, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from mcp.shared.exceptions import MCPError

from omni.domain.errors import OmniError
from omni.runtime.ports import Clock
from omni.server.refusals import kind_of

log = structlog.get_logger()

LONGEST_NAME = 80  # a client may ask for tools and tasks of any name
_IDS = ("id", "task_id", "taskId")


class Answering:
    """A call under way; whoever answers it says which task it concerns, and how it ended where no error says so."""

    __slots__ = ("outcome", "task")

    def __init__(self) -> None:
        self.task: str | None = None
        self.outcome = "ok"

    def concerns(self, view: Any) -> None:
        """Take the task from the view that the caller gets, if it is about one."""
        found = next((view[each] for each in _IDS if each in view), None) if isinstance(view, dict) else None
        self.task = found[:LONGEST_NAME] if isinstance(found, str) else None


@contextmanager
def answering(clock: Clock, tool: str, client: str) -> Iterator[Answering]:
    """Write the line at the end; errors pass through."""
    began, call = clock.mono_ms(), Answering()
    try:
        yield call
    except asyncio.CancelledError:
        call.outcome = "abandoned"  # the caller went away; what it asked for goes on
        raise
    except MCPError:
        call.outcome = "invalid"
        raise
    except OmniError as error:
        call.outcome = kind_of(error)
        raise
    except Exception:
        call.outcome = "internal"
        raise
    finally:
        log.info(
            "call.answered",
            dialect="mcp",
            tool=tool[:LONGEST_NAME],
            task=call.task,
            client=client,
            duration_ms=clock.mono_ms() - began,
            outcome=call.outcome,
        )
