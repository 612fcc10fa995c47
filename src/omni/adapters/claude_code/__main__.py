"""`python -m omni.adapters.claude_code`: the adapter as an MCP server over stdio."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from omni.adapters.claude_code.adapter import ClaudeCode
from omni.adapters.records import Records
from omni.adapters.service import Adapter, serve
from omni.config.adapters import STATE_VARIABLE
from omni.executors.bundled import Options
from omni.runtime.ports import Clock


@contextlib.asynccontextmanager
async def lifespan(told: Options, records: Records, clock: Clock) -> AsyncIterator[Adapter]:
    """The adapter, after it has ended what an earlier one left running."""
    adapter = ClaudeCode(told, Path(os.environ[STATE_VARIABLE]), records, clock)
    await adapter.recover()
    try:
        yield adapter
    finally:
        await adapter.close()


if __name__ == "__main__":
    serve("claude-code", lifespan)
