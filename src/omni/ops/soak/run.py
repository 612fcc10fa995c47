"""`omni drill soak`: work that keeps coming, one fault after another, and what that comes to.

    stage ▶ daemon ▶ clients and calls ▶ warm ▶ fault, pause, fault … ▶ no new work ▶ all at rest ▶ reckoned

The daemon is a real one with real executors as processes; its world is the drills' stage. Nothing of the daemon's own
is believed: clients keep a ledger of what they were told, the executor of what it did, the stage of what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

import omni
from omni.domain.errors import OmniError
from omni.domain.values import PROXY
from omni.ops.load import WORKER, Called, Load
from omni.ops.pauses import Say, comes
from omni.ops.record import Record
from omni.ops.soak.clients import HAND, Clients
from omni.ops.soak.judge import Evidence, judged
from omni.ops.soak.ledger import Ledger
from omni.ops.soak.report import SoakReport
from omni.ops.soak.storm import Storm
from omni.ops.stage import Stage
from omni.ops.throwaway import Pace, ThrowAway, throw_away
from omni.runtime.ports import SystemClock

WARM_WITHIN_S = 60.0
DRAIN_STOPPED_S = 20.0
TELL_EVERY_S = 30.0
LEDGER = "hand.jsonl"


class Tempo(msgspec.Struct, frozen=True):
    """How a soak goes. `dwell_s` and `dwell_cap_s` are short, or the proxy would soon be left alone for minutes."""

    minutes: float = 10.0
    tasks_per_s: float = 4.0
    calls_per_s: float = 2.0
    pause_s: tuple[float, float] = (6.0, 14.0)
    dwell_s: float = 3.0
    dwell_cap_s: float = 6.0
    check_interval_s: float = 2.0
    drain_s: float = 120.0

    @property
    def pace(self) -> Pace:
        """What the drills' daemon goes by."""
        return Pace(self.dwell_s, self.check_interval_s, drain_s=self.drain_s)


class Scene(msgspec.Struct):
    """Everything that takes part."""

    stage: Stage
    daemon: ThrowAway
    clients: Clients
    load: Load
    record: Record
    storm: Storm
    say: Say


async def soak(seed: int, tempo: Tempo, say: Say, stop: asyncio.Event | None = None) -> SoakReport:
    """Hold one soak, until its time is over or `stop` is set. Raises OmniError when it could not be held at all."""
    stop = stop or asyncio.Event()
    say(f"seed {seed}; starting a stage and a daemon of its own")
    async with _scene(seed, tempo, say) as scene:
        calling = asyncio.create_task(scene.load.keep_calling(1 / tempo.calls_per_s))
        try:
            scene.clients.begin(tempo.tasks_per_s)
            await _warm(scene)
            say("work is under way; the faults begin")
            began_s, began_ms = asyncio.get_running_loop().time(), SystemClock().wall_ms()
            await _faults(scene, seed, tempo, stop)
            lasted_s = asyncio.get_running_loop().time() - began_s
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        say("no new work; what is under way is followed to its end")
        await scene.clients.end()
        await _drained(scene, min(tempo.drain_s, DRAIN_STOPPED_S) if stop.is_set() else tempo.drain_s)
        findings = await scene.daemon.verify()
        return judged(_evidence(scene, findings, began_s, began_ms, lasted_s), seed, _settings(tempo), stop.is_set())


@contextlib.asynccontextmanager
async def _scene(seed: int, tempo: Tempo, say: Say) -> AsyncIterator[Scene]:
    def amend(home: Path, usual: dict[str, Any]) -> dict[str, Any]:
        return amended(home, usual, tempo)

    async with Stage().open() as stage, throw_away(stage, tempo.pace, amend) as daemon:
        load, record = Load(daemon.url, daemon.token, daemon.model_key), Record(daemon.log)
        clients = Clients(daemon.url, daemon.token, random.Random(f"{seed} clients"))  # noqa: S311 - a seed repeats it
        try:
            yield Scene(stage, daemon, clients, load, record, Storm(daemon, load, record, say), say)
        finally:
            record.close()
            await clients.aclose()
            await load.aclose()


def amended(home: Path, usual: dict[str, Any], tempo: Tempo) -> dict[str, Any]:
    """The drills' configuration, and an executor with a ledger that goes on without the cloud."""
    hand = {
        "command": sys.executable,
        "args": ["-m", "omni.ops.soak.hand", str(home / LEDGER)],
        "env": {"PYTHONPATH": str(Path(omni.__file__).parents[1])},
        "tool": "work",
        "arguments": {name: f"{{{name}}}" for name in ("description", "task_id", "attempt", "handle", "key")},
        "types": ["soak"],
        "needs_cloud": False,
        "max_concurrency": 8,
        "timeout_s": 60,
    }
    return {
        **usual,
        "fault_handler": {**usual["fault_handler"], "dwell_cap_s": tempo.dwell_cap_s},
        "mcp_servers": {**usual["mcp_servers"], HAND: hand},
    }


async def _warm(scene: Scene) -> None:
    """Return when all is well: a call went through the proxy, and each executor has done a task."""

    def well() -> bool:
        done = {each.executor for each in scene.record.tasks().values() if each.completed}
        return {HAND, WORKER} <= done and any(each.ok and each.channel == PROXY for each in scene.load.calls)

    if not await comes(well, WARM_WITHIN_S):
        raise OmniError("the daemon of the soak did not get to work", hint="omni version, and report it")
    scene.load.calls.clear()  # while models were being loaded, callers were told to try again


async def _faults(scene: Scene, seed: int, tempo: Tempo, stop: asyncio.Event) -> None:
    """Make faults until the time is over, or until somebody has had enough."""
    until_s = asyncio.get_running_loop().time() + tempo.minutes * 60
    chance = random.Random(seed)  # noqa: S311 - a seed repeats the soak
    raging = asyncio.create_task(scene.storm.rage(chance, tempo.pause_s, until_s))
    stopped, telling = asyncio.create_task(stop.wait()), asyncio.create_task(_tell(scene))
    try:
        await asyncio.wait({raging, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if raging.done():
            raging.result()
    finally:
        for task in (raging, stopped, telling):
            task.cancel()
        await asyncio.gather(raging, stopped, telling, return_exceptions=True)
        if scene.daemon.exit_code is not None:  # stopped between a kill and the start after it
            await scene.daemon.start()
        with contextlib.suppress(OmniError):  # what was under way when somebody stopped it is over too
            await scene.load.drill("none", 1)


async def _tell(scene: Scene) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        known = scene.record.tasks().values()
        done, at_rest = sum(each.completed for each in known), sum(bool(each.ends) or each.held for each in known)
        scene.say(
            f"{len(scene.clients.wishes)} handed in, {len(scene.clients.accepted)} accepted, {done} completed, "
            f"{len(known) - at_rest} under way"
        )


async def _drained(scene: Scene, within_s: float) -> None:
    accepted = set(scene.clients.accepted.values())

    def at_rest() -> bool:
        known = scene.record.tasks()
        return accepted <= set(known) and all(each.ends or each.held for each in known.values())

    await comes(at_rest, within_s)


def _evidence(scene: Scene, findings: int, began_s: float, began_ms: int, lasted_s: float) -> Evidence:
    return Evidence(
        began_s=began_s,
        began_ms=began_ms,
        lasted_s=lasted_s,
        wishes=scene.clients.wishes,
        tries=scene.clients.tries,
        calls=_answers(scene.load.calls),
        called=scene.load.calls,
        histories=scene.record.tasks(),
        changes=scene.record.changes(),
        journeys=scene.record.journeys(began_ms),
        asked=scene.stage.asked,
        lines=Ledger(scene.daemon.home / LEDGER).lines(),
        blows=scene.storm.blows,
        ends=scene.storm.ends,
        findings=findings,
    )


def _answers(calls: Iterable[Called]) -> dict[str, int]:
    """How many calls were answered, refused with a time to come again, broken off, or failed."""
    return dict(sorted(Counter(_answer(each) for each in calls).items()))


def _answer(call: Called) -> str:
    if call.ok:
        return "answered"
    if call.status == 503 and call.retry_after:
        return "told to come again"
    return f"HTTP {call.status}" if call.status else "broken off"


def _settings(tempo: Tempo) -> dict[str, float]:
    names = ("minutes", "tasks_per_s", "calls_per_s", "dwell_s", "dwell_cap_s", "check_interval_s")
    return {name: float(getattr(tempo, name)) for name in names}
