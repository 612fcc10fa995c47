"""`omni drill --live`: the same faults in the daemon that runs, for a short time, with the work that it has anyway.

No task is handed in. Calls are made only where they were asked for: they go to real models, and may cost something.
The fault ends when the drill does, however that is; and should nobody be left to end it, by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from omni.domain.drill import Fault
from omni.domain.errors import NotFound, OmniError, Refused
from omni.domain.health import Health
from omni.domain.symptoms import dwell_ms
from omni.domain.values import PROXY, HealthSettings, Millis, Thresholds
from omni.ops.figures import Figure, Report, below, exactly, within
from omni.ops.load import Called, Load
from omni.ops.pauses import FIRST_WITHIN_S, GRACE_S, MODE_WITHIN_S, Say, passed, since
from omni.ops.record import Record, count

EXPECTED: dict[Fault, str] = {"proxy-down": "DEGRADED", "proxy-hang": "DEGRADED", "cloud-down": "BRAINSTEM"}
USUAL_S: dict[Fault, float] = {"cloud-down": 60.0}  # clouds that are well are asked every 30 s
OTHERWISE_S = 20.0
CLIENT = "drill"
NOTHING_YET = "no call was made meanwhile: --with-calls makes some"


class Running(msgspec.Struct, frozen=True):
    """The daemon that runs: where it is, and its log."""

    url: str
    token: str
    model_key: Callable[[], str]  # made only when it is needed
    log: Path


async def run(
    fault: Fault, running: Running, say: Say, *, seconds: float | None = None, with_calls: bool = False
) -> Report:
    """Hold one drill in the daemon that runs. Raises OmniError when it cannot be held."""
    if not running.log.exists():
        raise NotFound(
            f"there is no event log in {running.log.parent}", hint="omni serve, or --data-dir of the daemon that runs"
        )
    seconds = seconds or USUAL_S.get(fault, OTHERWISE_S)
    key = running.model_key() if with_calls else ""
    load, record = Load(running.url, running.token, key), Record(running.log)
    try:
        _require(fault, record.health().settings, await load.status())
        drill = await _begun(load, fault, seconds)
        say(f"{fault} for {seconds:g} s in the daemon at {running.url}")
        try:
            return await _measured(fault, record, load, drill, say, with_calls=with_calls)
        finally:
            await _ended(load)
    finally:
        record.close()
        await load.aclose()


async def _begun(load: Load, fault: Fault, seconds: float) -> dict[str, Any]:
    """Whoever is stopped before the daemon has answered may have begun it all the same."""
    try:
        return await load.drill(fault, seconds)
    except asyncio.CancelledError:
        await _ended(load)
        raise


async def _ended(load: Load) -> None:
    with contextlib.suppress(OmniError):  # it is over already, or the daemon is
        await load.drill("none", OTHERWISE_S)


async def end(running: Running) -> None:
    """End the fault that is under way in the daemon that runs, if there is one. Raises OmniError."""
    load = Load(running.url, running.token, "")
    try:
        await load.drill("none", OTHERWISE_S)
    finally:
        await load.aclose()


def _require(fault: Fault, watched: HealthSettings, status: dict[str, Any]) -> None:
    """Refuse a drill that would measure something else. Raises Refused."""
    if status.get("mode") != "NORMAL":
        raise Refused(
            f"the daemon is in {status.get('mode')}: a drill now would measure that",
            hint="omni status; try again later",
        )
    if fault in FIRST_WITHIN_S and not watched.proxy:
        raise Refused("no LiteLLM proxy is configured, so none can fail", hint=f"omni drill {fault}, without --live")
    if fault == "cloud-down" and not watched.clouds:
        raise Refused("no cloud is configured, so none can be gone", hint="omni drill cloud-down, without --live")


async def _measured(
    fault: Fault, record: Record, load: Load, drill: dict[str, Any], say: Say, *, with_calls: bool
) -> Report:
    began, ends = drill["since_ms"], drill["until_ms"]
    called = await load.call() if with_calls else None
    rules = record.health().settings.thresholds
    found = await _found(fault, rules, record, began, ends)
    await passed(ends)
    say("the fault is over")
    back = await _back(fault, record, ends, say)
    first, note = _first(fault, record, called, began)
    histories = record.tasks()
    tasks = count(histories, list(histories))
    figures = (*first, *found, *back, exactly("tasks failed meanwhile", tasks.failed))
    seconds = {"fault_s": (ends - began) / 1000, **_thresholds(rules)}
    return Report(fault, live=True, settings=seconds, figures=figures, tasks=tasks, notes=note)


async def _found(fault: Fault, rules: Thresholds, record: Record, began: Millis, ends: Millis) -> list[Figure]:
    mode = EXPECTED.get(fault)
    if mode is None:
        await passed(ends)
        return [exactly("changes of mode", sum(change.at >= began for change in record.changes()))]
    change = await record.change_to(mode, (ends - began) / 1000, began)
    wanted_s = MODE_WITHIN_S + _before_doubt_ms(fault, rules) / 1000
    return [within(f"mode event {mode}", since(change, began), wanted_s)]


def _before_doubt_ms(fault: Fault, rules: Thresholds) -> int:
    """How long it may take by the rules until the first failure counts, where nobody makes calls all the time.

    A call that succeeded lately speaks for a proxy that is silent now, and clouds that are well are rarely asked.
    """
    return {"proxy-hang": rules.proxy_recent_ms, "cloud-down": rules.cloud_every_ms + rules.cloud_span_ms}.get(fault, 0)


async def _back(fault: Fault, record: Record, ends: Millis, say: Say) -> list[Figure]:
    """The time back to NORMAL, by the rules for what came back often lately."""
    if fault not in EXPECTED or not record.changes():
        return []
    wanted_s = GRACE_S + _recovery_ms(fault, record.health(), ends) / 1000
    say(f"waiting for NORMAL, for {wanted_s:g} s at most")
    change = await record.change_to("NORMAL", wanted_s + GRACE_S, ends)
    return [within("NORMAL again after the fault", since(change, ends), wanted_s)]


def _recovery_ms(fault: Fault, health: Health, at: Millis) -> int:
    """How long a proxy has to stay well, or a cloud to answer: the longer, the more often it came back lately."""
    rules = health.settings.thresholds
    if fault != "cloud-down":
        return dwell_ms(health.proxy, rules, at)
    recoveries = max(cloud.recoveries(at) for cloud in health.clouds.values())
    return rules.cloud_every_ms * min(rules.cloud_successes_cap, rules.cloud_successes + recoveries)


def _first(fault: Fault, record: Record, called: Called | None, began: Millis) -> tuple[list[Figure], tuple[str, ...]]:
    """The first call after the fault: ours, or whoever's was first. That nobody made one is no failure."""
    if fault not in FIRST_WITHIN_S:
        return [], ()
    if called is not None:
        direct = called.ok and called.channel != PROXY
        took_s = called.took_s if direct else None
    elif calls := record.journeys(began):
        took_s = calls[0].took_ms / 1000 if calls[0].ok else None
    else:
        return [], (NOTHING_YET,)
    return [below("first call answered on the direct channel", took_s, FIRST_WITHIN_S[fault])], ()


def _thresholds(rules: Thresholds) -> dict[str, float]:
    return {
        "dwell_s": rules.dwell_ms / 1000,
        "check_interval": rules.cloud_every_ms / 1000,
        "cloud_failure_span_s": rules.cloud_span_ms / 1000,
    }
