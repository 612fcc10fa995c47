"""The adapter's parts put together, and its rule for a gateway that is not there.

An executor that is connected is taken for one that can work. So a process whose gateway cannot be reached does not
stay: it ends, and its last word on stderr is what `omni status` shows. The daemon starts it again, with pauses of up to
half a minute. A gateway that only restarts is waited for (`AWAY_S`); attempts that run meanwhile find their runs again,
and those that cannot are told to Omni as interrupted before the process ends (ADR-0041).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from omni.adapters.openclaw.absence import GONE
from omni.adapters.openclaw.device import Device
from omni.adapters.openclaw.frames import Away
from omni.adapters.openclaw.gateway import Gateway
from omni.adapters.openclaw.moltworker import Patience, titled
from omni.adapters.openclaw.outcome import structured
from omni.adapters.openclaw.runs import AWAY_S, Run, looked_up, noted
from omni.adapters.openclaw.sending import Sending
from omni.adapters.openclaw.settings import settings_of
from omni.adapters.records import Record, Records
from omni.adapters.service import ExtraTool, Stop, Structured, Tell, Work
from omni.config.adapters import STATE_VARIABLE
from omni.domain.errors import ConfigError
from omni.executors.bundled import Options
from omni.executors.contract import Lookup
from omni.runtime.ports import Clock

LOOKUP_S = 3.0
FIRST_S = 20.0  # the daemon waits 30 s for a server that starts
FIRST_WITH_STATUS_S = 12.0  # what remains of them is for the question about its status
LAST_ANSWERS_S = 5.0


class OpenClaw:
    """One gateway as an executor."""

    def __init__(self, gateway: Gateway, records: Records, sending: Sending) -> None:
        self._gateway = gateway
        self._records = records
        self.sending = sending

    async def run(self, work: Work, before: Record | None, stop: Stop, tell: Tell) -> Structured:
        """Do one attempt as a run of the agent."""
        return await Run(self._gateway, self._records, work, before, stop, tell).carry()

    async def look_up(self, record: Record | None, handle: str, key: str) -> Lookup:
        """What became of a run that this process does not watch.

        One that goes on is not called `running`: called again with `resume`, it is adopted with its progress, and can
        be cancelled. Somebody who only waits for its result can do neither.
        """
        if record is None:
            return Lookup()
        ending = await looked_up(self._gateway, record, LOOKUP_S)
        if record.key == key and ending.kind in {"done", "failed"}:
            notes = noted(record)
            return Lookup("finished", structured(ending, notes.session, touched=notes.tools))
        return Lookup("unknown", None, resumable=True)


@contextlib.asynccontextmanager
async def open_adapter(told: Options, records: Records, clock: Clock) -> AsyncIterator[OpenClaw]:
    """The adapter while its gateway can be reached; SystemExit, with a last word, where it cannot."""
    state = Path(os.environ[STATE_VARIABLE])
    try:
        settings = settings_of(told, os.environ)
        device = Device(state / "device") if settings.signs else None
    except ConfigError as error:
        raise _farewell(error.message) from error
    patience = Patience(state / "starting", settings.connect_s, clock) if settings.status_url else None
    gateway = Gateway(settings, device, patience, ledger=False)
    sends = gateway if device else Gateway(settings, None)
    keeping = [asyncio.create_task(each.keep()) for each in {gateway, sends}]
    watching = asyncio.create_task(_watch(gateway))
    try:
        await _reached(gateway)
        messages = Records(state / "messages", clock)
        messages.prune()
        yield OpenClaw(gateway, records, Sending(sends, messages))
    finally:
        for task in (*keeping, watching):
            task.cancel()
        await asyncio.gather(*keeping, watching, return_exceptions=True)


def tools_of(adapter: OpenClaw) -> Mapping[str, ExtraTool]:
    """The tools beside the common ones."""
    return adapter.sending.tools()


async def _reached(gateway: Gateway) -> None:
    asks = bool(gateway.settings.status_url)
    within_s = FIRST_WITH_STATUS_S if asks else FIRST_S
    try:
        async with asyncio.timeout(within_s):
            await gateway.first()
    except Away as away:
        raise _farewell(_said(gateway, away)) from away
    except TimeoutError as late:
        if asks:
            raise _farewell(_said(gateway, await gateway.explained(late))) from None
        raise _farewell(f"OpenClaw's gateway at {gateway.settings.url} gave no answer within {within_s:g} s") from None


async def _watch(gateway: Gateway) -> None:
    """End the process, in order, once the gateway has been away for too long, or a person has to let us in."""
    await gateway.given_up(AWAY_S + LAST_ANSWERS_S)
    away = gateway.why_away
    if away.kind == GONE and gateway.settings.status_url:  # the next handshake has no answer yet
        away = await gateway.explained(TimeoutError())
    _farewell(_said(gateway, away))
    os.kill(os.getpid(), signal.SIGTERM)


def _said(gateway: Gateway, away: Away) -> str:
    """The reason; a Moltworker's begins with its state, as there are more of them."""
    return titled(away) if gateway.settings.admin_url else away.message


def _farewell(why: str) -> SystemExit:
    """Say why, where the daemon keeps the last words of a server."""
    sys.stderr.write(why + "\n")
    sys.stderr.flush()
    return SystemExit(1)
