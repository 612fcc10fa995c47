"""Finding out what became of an attempt that nobody watched to its end, from servers that can be asked."""

from __future__ import annotations

import asyncio

from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors.call import look_up
from omni.executors.connection import Session
from omni.executors.contract import LOOKUP_TOOL, Answer, Report, report

ASK_EVERY_S = 1.0
SILENCES = 5  # questions in a row without an answer


async def inquire(
    config: ExecutorConfig, session: Session, task_id: str, n: int, handle: str, key: str, evidence: str,
    stop: asyncio.Event,
) -> Report:  # fmt: skip
    """Ask `lookup_attempt` until the attempt has ended; interrupted when the server cannot say."""
    if LOOKUP_TOOL not in session.tools:
        return cmd.ReportInterrupted(task_id, n, f"{evidence}; {config.name} keeps no record that could be asked")
    loop = asyncio.get_running_loop()
    until = loop.time() + config.timeout_s
    silent = 0
    while loop.time() < until:
        found = await look_up(session, handle, key)
        if found.state == "finished" and found.result is not None:
            return report(task_id, n, Answer(structured=found.result), adapter=True)
        silent = silent + 1 if found.state == "silent" else 0
        if silent == SILENCES or (silent and session.ended.is_set()):
            return cmd.ReportInterrupted(task_id, n, f"{evidence}; {config.name} did not answer what became of it")
        if found.state not in {"running", "silent"}:
            return cmd.ReportInterrupted(
                task_id, n, f"{evidence}; {config.name} has no outcome for it", found.resumable
            )
        if await _stopped(stop):
            return cmd.ReportCancelled(task_id, n, confirmed=False)
    return cmd.ReportInterrupted(task_id, n, f"{evidence}; it was still running after {config.timeout_s:g} s")


async def _stopped(stop: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), ASK_EVERY_S)
    except TimeoutError:
        return False
    return True
