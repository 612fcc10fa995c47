"""`omni drill`: break something on purpose in a daemon that is thrown away, and measure what that does to the work.

Theory of operation. A stage where all is well, a real daemon on it, tasks and calls that keep coming; then the fault,
at the seam where the daemon meets the world. The event log says when the mode changed, the load says which calls were
answered, when and by whom, and after the fault the work is let run out and counted. A fault of the proxy is made once
more when nothing is left to do: then the probes alone must find it.

    stage ▶ daemon ▶ load ▶ steady ▶ FAULT ▶ figures ▶ fault over ▶ figures ▶ no new work ▶ all done ▶ counted
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec

from omni.domain.drill import Fault
from omni.domain.errors import OmniError
from omni.domain.health import Breaker
from omni.domain.symptoms import pause_ms
from omni.domain.values import PROXY, Millis, Thresholds
from omni.ops.figures import Figure, Report, Tasks, at_least, below, exactly, within
from omni.ops.load import Called, Load, failed
from omni.ops.pauses import FIRST_WITHIN_S, GRACE_S, LOOK_S, MODE_WITHIN_S, Say, comes, passed, since
from omni.ops.record import Change, Record, count
from omni.ops.stage import Stage
from omni.ops.throwaway import HEAVY, LIGHT, Pace, ThrowAway, throw_away
from omni.runtime.ports import SystemClock

WARM_WITHIN_S = 60.0
RETRY_AFTER_S = 5.0
LOCAL_WITHIN_S = 10.0
GIVE_UP_S = 60.0
READY_WITHIN_S = 10.0
FIRST_ELSEWHERE_S = 1.0
USUAL = Thresholds()


class Scene(msgspec.Struct):
    """Everything that a scenario works with; `seconds` is how long the fault lasts."""

    stage: Stage
    daemon: ThrowAway
    load: Load
    record: Record
    pace: Pace
    seconds: float
    say: Say
    fault_began_s: float = 0.0

    async def inject(self, fault: Fault) -> tuple[Millis, Millis]:
        """Begin the fault; when it began and when it ends, in wall-clock milliseconds."""
        self.fault_began_s = asyncio.get_running_loop().time()
        drill = await self.load.drill(fault, self.seconds)
        self.say(f"{fault} for {self.seconds:g} s")
        return drill["since_ms"], drill["until_ms"]

    async def back_to_normal(self, lost: Change | None, pause_s: float, ends: Millis) -> Change | None:
        """The way back; None when it takes for ever, or when NORMAL was never lost."""
        return await self.record.change_to("NORMAL", pause_s + GIVE_UP_S, ends) if lost else None

    def calls_failed(self, first: Called) -> Figure:
        """Of the calls that were under way when the fault began, and of those after it."""
        met = [first, *(each for each in self.load.calls if each.began_s + each.took_s >= self.fault_began_s)]
        return exactly("model calls without an answer", failed(met))


Scenario: TypeAlias = Callable[[Scene], Awaitable[list[Figure]]]


async def run(fault: str, say: Say, *, seconds: float | None = None, pace: Pace | None = None) -> Report:
    """Hold one drill with a daemon of its own. Raises OmniError when it could not be held at all."""
    pace = pace or Pace()
    scenario, usual_s = SCENARIOS[fault]
    async with _scene(pace, seconds or usual_s, say) as scene:
        say("work begins; a first task and a first call")
        scene.load.begin(pace.tasks_per_s, pace.calls_per_s)
        await _warm(scene)
        await asyncio.sleep(pace.steady_s)
        figures = await scenario(scene)
        await scene.load.end()
        tasks = await _counted(scene)
        quiet = [await _quiet(scene, fault)] if fault in _PROXY_FAULTS else []
        figures += [*quiet, *_verdicts(tasks), exactly("findings of omni verify", await scene.daemon.verify())]
        return Report(fault, live=False, settings=_settings(scene), figures=tuple(figures), tasks=tasks)


@contextlib.asynccontextmanager
async def _scene(pace: Pace, seconds: float, say: Say) -> AsyncIterator[Scene]:
    say("starting a stage and a daemon of its own")
    async with Stage().open() as stage, throw_away(stage, pace) as daemon:
        load, record = Load(daemon.url, daemon.token, daemon.model_key), Record(daemon.log)
        try:
            yield Scene(stage, daemon, load, record, pace, seconds, say)
        finally:
            record.close()
            await load.aclose()


async def _warm(scene: Scene) -> None:
    """Return when all is well: NORMAL, a call went through the proxy, and a task was done."""

    def well() -> bool:
        calls, tasks = scene.load.calls, scene.record.tasks().values()
        return any(each.ok and each.channel == PROXY for each in calls) and any(each.completed for each in tasks)

    if not await comes(well, WARM_WITHIN_S):
        raise OmniError("the daemon of the drill did not get to work", hint="omni version, and report it")
    scene.load.calls.clear()  # while models were being loaded, callers were told to try again


async def _counted(scene: Scene) -> Tasks:
    """Let the work run out, and count it."""
    scene.say(f"no new work; waiting for the rest of {len(scene.load.accepted)} tasks")
    accepted = set(scene.load.accepted.values())

    def done() -> bool:
        known = scene.record.tasks()
        return accepted <= set(known) and all(each.ends for each in known.values())

    await comes(done, scene.pace.drain_s)
    return count(scene.record.tasks(), accepted, scene.stage.asked)


def _verdicts(tasks: Tasks) -> list[Figure]:
    return [
        exactly("tasks failed", tasks.failed),
        exactly("tasks not done", tasks.open),
        exactly("tasks lost", tasks.lost),
        exactly("tasks done twice", tasks.twice),
    ]


async def _quiet(scene: Scene, fault: str) -> Figure:
    """Make a fault of the proxy while nobody calls it; a silent one, once no call is recent enough to speak for it."""
    recent_s = USUAL.proxy_recent_ms / 1000 if fault == "proxy-hang" else 0
    scene.say(f"all is done; the same fault with nothing to do, {recent_s:g} s after the last call")
    await asyncio.sleep(recent_s)
    began, _ = await scene.inject(_PROXY_FAULTS[fault])
    degraded = await scene.record.change_to("DEGRADED", scene.seconds + GRACE_S, began)
    return within("mode event DEGRADED, by probes alone", since(degraded, began), MODE_WITHIN_S)


def _settings(scene: Scene) -> dict[str, float]:
    pace = scene.pace
    return {
        "fault_s": scene.seconds,
        "dwell_s": pace.dwell_s,
        "check_interval": pace.check_interval_s,
        "cloud_failure_span_s": USUAL.cloud_span_ms / 1000,
        "tasks_per_s": pace.tasks_per_s,
        "calls_per_s": pace.calls_per_s,
    }


# --- one function per fault -------------------------------------------------------------------------------------------


def _proxy_fault(fault: Fault) -> Scenario:
    async def scenario(scene: Scene) -> list[Figure]:
        began, ends = await scene.inject(fault)
        first = await scene.load.call()
        degraded = await scene.record.change_to("DEGRADED", scene.seconds + GRACE_S, began)
        await passed(ends)
        scene.say(f"the fault is over; the proxy has to stay well for {scene.pace.dwell_s:g} s")
        normal = await scene.back_to_normal(degraded, scene.pace.dwell_s, ends)
        direct = first.ok and first.channel != PROXY
        return [
            below("first call answered on the direct channel", first.took_s if direct else None, FIRST_WITHIN_S[fault]),
            within("mode event DEGRADED", since(degraded, began), MODE_WITHIN_S),
            within("NORMAL again after the fault, dwell included", since(normal, ends), scene.pace.dwell_s + GRACE_S),
            scene.calls_failed(first),
        ]

    return scenario


async def _cloud_down(scene: Scene) -> list[Figure]:
    loop = asyncio.get_running_loop()
    began, ends = await scene.inject("cloud-down")
    gone = await scene.record.change_to("BRAINSTEM", scene.seconds + GRACE_S, began)
    gone_s = loop.time()
    refused = await _refused(scene, gone_s) if gone else None
    await comes(lambda: bool(scene.stage.loaded), LOCAL_WITHIN_S)
    waiting = await _most_waiting(scene, ends)
    scene.say("the fault is over; clouds are asked again")
    normal = await scene.back_to_normal(gone, 0, ends)
    back_s = loop.time()
    await comes(lambda: not scene.stage.loaded, LOCAL_WITHIN_S)
    span_s, asked_s = USUAL.cloud_span_ms / 1000, scene.pace.check_interval_s * USUAL.cloud_successes
    return [
        within("mode event BRAINSTEM", since(gone, began), span_s + MODE_WITHIN_S),
        at_least("tasks that waited for the cloud", waiting),
        below("calls refused with Retry-After, after the mode event", refused, FIRST_ELSEWHERE_S),
        within("local model loaded", _moved(scene.stage, "load", gone_s), LOCAL_WITHIN_S),
        within("NORMAL again after the fault", since(normal, ends), asked_s + GRACE_S),
        within("local model unloaded", _moved(scene.stage, "unload", back_s), LOCAL_WITHIN_S),
    ]


async def _rate_limit(scene: Scene) -> list[Figure]:
    began, _ = await scene.inject("rate-limit")
    began_s = scene.fault_began_s
    first = await scene.load.call()
    other = first.ok and first.model != LIGHT
    rest_s = _rest_s(scene.seconds)
    back = await _answered_by(scene, LIGHT, began_s, give_up_s=rest_s + GIVE_UP_S)
    return [
        below("first call answered by the next tier", first.took_s if other else None, FIRST_ELSEWHERE_S),
        within("first tier used again, its rest included", back, rest_s + GRACE_S),
        _no_change(scene, began),
        scene.calls_failed(first),
    ]


async def _quota(scene: Scene) -> list[Figure]:
    began, ends = await scene.inject("quota")
    first = await scene.load.call(HEAVY)
    other = first.ok and first.model == LIGHT
    await passed(ends)
    over_s = asyncio.get_running_loop().time()
    back = await _answered_by(scene, HEAVY, over_s, HEAVY)
    return [
        below(
            "first call for the paid model answered by the free tier",
            first.took_s if other else None,
            FIRST_ELSEWHERE_S,
        ),
        within("paid model used again after the fault", back, GRACE_S),
        _no_change(scene, began),
        scene.calls_failed(first),
    ]


async def _kill(scene: Scene) -> list[Figure]:
    loop = asyncio.get_running_loop()
    scene.say("SIGKILL")
    scene.daemon.kill()
    killed_s = loop.time()
    await scene.daemon.start()
    ready_s = loop.time() - killed_s
    scene.say("the daemon is back; the work goes on")
    answered = await _answered_by(scene, LIGHT, killed_s)
    await asyncio.sleep(scene.pace.steady_s)
    return [
        within("ready again after SIGKILL", ready_s, READY_WITHIN_S),
        within("first good call after SIGKILL", answered, READY_WITHIN_S + GRACE_S),
    ]


_PROXY_FAULTS: dict[str, Fault] = {"proxy-down": "proxy-down", "proxy-hang": "proxy-hang"}
SCENARIOS: dict[str, tuple[Scenario, float]] = {
    "proxy-down": (_proxy_fault("proxy-down"), 10.0),
    "proxy-hang": (_proxy_fault("proxy-hang"), 10.0),
    "cloud-down": (_cloud_down, 20.0),
    "rate-limit": (_rate_limit, 4.0),  # shorter than Retry-After: the model is well when it is asked again
    "quota": (_quota, 6.0),
    "kill": (_kill, 0.0),
}


# --- measuring --------------------------------------------------------------------------------------------------------


def _moved(stage: Stage, what: str, since_s: float) -> float | None:
    """How long after `since_s` the local model was loaded or unloaded; a little before counts as at once."""
    found = [at_s for at_s, kind in stage.loads if kind == what and at_s >= since_s - MODE_WITHIN_S]
    return max(0.0, found[0] - since_s) if found else None


def _no_change(scene: Scene, began: Millis) -> Figure:
    return exactly("changes of mode", sum(change.at >= began for change in scene.record.changes()))


async def _refused(scene: Scene, since_s: float) -> float | None:
    """Seconds from `since_s` until a call is refused as it should be without a cloud."""
    loop = asyncio.get_running_loop()
    while loop.time() < since_s + GRACE_S:
        answer = await scene.load.call()
        if answer.status == 503 and answer.retry_after:
            return loop.time() - since_s
    return None


def _rest_s(seconds: float) -> float:
    """How long a model is left alone that answers 429 for so long: Retry-After, and then longer with each time."""
    rest_s, opened = RETRY_AFTER_S, 1
    while rest_s < seconds:
        rest_s += pause_ms(Breaker(opened=opened)) / 1000
        opened += 1
    return rest_s


async def _answered_by(
    scene: Scene, model: str, since_s: float, asking: str = "auto", *, give_up_s: float = GIVE_UP_S
) -> float | None:
    """Seconds from `since_s` to the first answer of this model to a new call."""
    loop = asyncio.get_running_loop()
    while loop.time() < since_s + give_up_s:
        answer = await scene.load.call(asking)
        if answer.ok and answer.model == model:
            return loop.time() - since_s
        await asyncio.sleep(LOOK_S)
    return None


async def _most_waiting(scene: Scene, until: Millis) -> int:
    """The most tasks that were seen waiting by then."""
    most, clock = 0, SystemClock()
    while clock.wall_ms() < until:
        counts = (await scene.load.status()).get("tasks", {})
        most = max(most, counts.get("waiting", 0))
        await asyncio.sleep(LOOK_S)
    return most
