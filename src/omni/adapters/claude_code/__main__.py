"""`python -m omni.adapters.claude_code`: the adapter as an MCP server over stdio."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from omni.adapters.claude_code.adapter import ClaudeCode
from omni.adapters.records import Records
from omni.adapters.service import Adapter, serve
from omni.config.adapters import STATE_VARIABLE, ClaudeCodeOptions
from omni.domain.errors import ExecutorUnavailable
from omni.executors.bundled import Options
from omni.executors.children import find_program
from omni.runtime.ports import Clock


@contextlib.asynccontextmanager
async def lifespan(told: Options, records: Records, clock: Clock) -> AsyncIterator[Adapter]:
    """The adapter, after it has ended what an earlier one left running. Without the program there is none."""
    _look_for(msgspec.convert(told.options, ClaudeCodeOptions).binary, told)
    adapter = ClaudeCode(told, Path(os.environ[STATE_VARIABLE]), records, clock)
    await adapter.recover()
    try:
        yield adapter
    finally:
        await adapter.close()


def _look_for(binary: str, told: Options) -> None:
    """End with a last word for `omni status` where there is no Claude Code: it could take tasks, and do none."""
    path = told.env.get("PATH", os.environ.get("PATH", ""))
    try:
        find_program(binary, path)
    except ExecutorUnavailable as error:
        whose = "its entry's `env`" if "PATH" in told.env else "`omni serve`"
        where = "" if os.sep in binary else f"; the PATH of {whose} counts"
        sys.stderr.write(f"{error.message}: install Claude Code, or name it in `options.binary`{where}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    serve("claude-code", lifespan)
