"""HealthMonitor: the only writer of the health stream, and with it of the mode.

Theory of operation. Observations go to `omni.domain.symptoms`, which chooses the edges; edges change
`omni.domain.health`. After each message `settle` compares the recorded mode with the derived one (`omni.domain.mode`),
so a change of mode stands in the same turn as the edge that caused it. When all is written, everybody is told, and
whoever asked is answered. When to look again is said by `omni.domain.rounds`.

Before the first StartWatch it knows executors only (`omni.domain.executor_watch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from omni.actors.soft import Quiet
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import executor_watch, health, mode, rounds, symptoms
from omni.domain.effects import NOTHING, Outcome, Send
from omni.domain.health import Health
from omni.domain.rounds import Rounds
from omni.domain.symptoms import Symptoms
from omni.domain.values import Millis

NAME = rounds.NAME
GATEWAY = "gateway"
DOOR = "door"
TOLD_THE_MODE = ("router", "brainstem")
TOLD_ALL = (GATEWAY, "port")


class HealthState:
    """What is recorded, and what was observed since; `version` counts the events of the health stream."""

    def __init__(self) -> None:
        self.version = 0
        self.executors: executor_watch.Executors = {}
        self.health = Health()
        self.symptoms = Symptoms()
        self.rounds = Rounds()
        self.asked: list[str] = []  # requests that wait for the mode to be settled
        self.told: tuple[int, bool] | None = None  # what others know: the revision, and whether it is cleared

    @property
    def cleared(self) -> bool:
        """Whether the first round of looks of this process is in."""
        return self.symptoms.cleared(self.health)


class HealthMonitor(Quiet):
    """Behaviour over the health stream."""

    name = NAME
    prefixes: tuple[str, ...] = (ev.HEALTH_STREAM,)

    def initial(self) -> HealthState:
        return HealthState()

    def handle(self, state: HealthState, envelope: cmd.Envelope) -> Outcome:
        handler = _HANDLERS.get(type(envelope.message))
        if handler is None:
            return NOTHING
        jumped = _tick(state, envelope)
        outcome = handler(state, envelope.message, envelope, jumped=bool(jumped))
        if not jumped:
            return outcome
        void = executor_watch.jumped(state.executors, envelope.at)
        return Outcome([*_recorded(jumped), *outcome.events], [*outcome.sends, *void])

    def settle(self, state: HealthState, envelope: cmd.Envelope) -> Outcome:
        if not state.health.boot:
            return NOTHING
        if changed := mode.change(state.health, envelope.at):
            return Outcome(_recorded([changed]))
        return Outcome((), [*_news(state), *_answers(state)])

    def evolve(self, state: HealthState, stream: str, event: Any, at: Millis, position: int) -> None:
        state.version += 1
        if isinstance(event, ev.ExecutorHealthChanged):
            executor_watch.evolve(state.executors, event, at)
        else:
            health.evolve(state.health, event, at)

    def version(self, state: HealthState, stream: str) -> int:
        return state.version

    def owed(self, state: HealthState, boot: str) -> Sequence[Send]:
        executors = [*executor_watch.tell_all(state.executors), *executor_watch.owed(state.executors)]
        if not state.health.boot or state.health.boot != boot:
            return executors
        settings = state.health.settings
        return [*executors, *_tell(state), *rounds.resume(state.health.targets, settings.thresholds)]

    def refuse(self, message: Any, refusal: cmd.Refusal) -> Sequence[Send]:
        """Answer whoever wants another mode."""
        return [Send(DOOR, cmd.Reply(message.request, refusal))] if isinstance(message, cmd.ForceMode) else []


# --- one function per message ---------------------------------------------------------------------------------------


def _started(state: HealthState, watch: cmd.StartWatch, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    """Look at everything at once; what is known of what stays, stays."""
    known = state.health
    state.symptoms.keep_only(health.targets(watch.settings))
    anew = executor_watch.begin_anew(state.executors, watch.anew)
    events = symptoms.start(known, watch.boot, watch.settings)
    targets = health.targets(watch.settings)
    looks = rounds.begin(state.rounds, targets, watch.settings.thresholds, envelope.mono)
    return Outcome(_recorded(events), [*anew, *looks])


def _observed(state: HealthState, seen: cmd.Observed, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    """Fold one observation; one that a jump of the clock runs through is as void as those before it."""
    known, at, mono = state.health, envelope.at, envelope.mono
    events = [] if jumped else symptoms.observe(known, state.symptoms, seen, at, mono)
    return Outcome(_recorded(events), rounds.seen(state.rounds, known, state.symptoms, seen, mono))


def _fired(state: HealthState, timer: cmd.TimerFired, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    if timer.key.startswith(executor_watch.PAUSE_TIMER):
        return executor_watch.rung(state.executors, timer.key.removeprefix(executor_watch.PAUSE_TIMER), envelope.at)
    return Outcome((), rounds.rung(state.rounds, state.health, timer.key, envelope.mono))


def _force(state: HealthState, wish: cmd.ForceMode, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    """Answered by `settle`, when the mode that follows is known."""
    if not state.health.boot:
        refusal = cmd.Refusal(
            "not_watching", "Omni is still starting, and watches nothing yet", "try again in a second"
        )
        return Outcome((), [Send(DOOR, cmd.Reply(wish.request, refusal))])
    state.asked.append(wish.request)
    return Outcome(_recorded(symptoms.force(state.health, wish.by, brainstem=wish.brainstem)))


def _executor(state: HealthState, seen: cmd.ExecutorObserved, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    return executor_watch.observe(state.executors, seen, envelope.at)


def _paused(state: HealthState, said: cmd.ExecutorPaused, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    return executor_watch.pause(state.executors, said, envelope.at)


def _restarted(state: HealthState, news: cmd.ActorRestarted, envelope: cmd.Envelope, *, jumped: bool) -> Outcome:
    """Say again what the other had only in memory."""
    sends = [*executor_watch.tell_all(state.executors)] if news.actor == GATEWAY else []
    told = [*sends, *(_tell(state) if state.health.boot else ())]
    return Outcome((), [send for send in told if send.to == news.actor])


_HANDLERS: dict[type[Any], Callable[..., Outcome]] = {
    cmd.StartWatch: _started,
    cmd.Observed: _observed,
    cmd.TimerFired: _fired,
    cmd.ForceMode: _force,
    cmd.ExecutorObserved: _executor,
    cmd.ExecutorPaused: _paused,
    cmd.ActorRestarted: _restarted,
}


# --- what follows ---------------------------------------------------------------------------------------------------


def _tick(state: HealthState, envelope: cmd.Envelope) -> list[ev.HealthEvent]:
    if not state.health.boot:
        return []
    return symptoms.tick(state.health, state.symptoms, envelope.at, envelope.mono)


def _recorded(events: Iterable[ev.HealthEvent]) -> list[tuple[str, ev.HealthEvent]]:
    return [(ev.HEALTH_STREAM, event) for event in events]


def _news(state: HealthState) -> list[Send]:
    """Tell everybody, unless they know."""
    news = state.health.revision, state.cleared
    if state.told == news:
        return []
    state.told = news
    return _tell(state)


def _tell(state: HealthState) -> list[Send]:
    note = health.note(state.health, cleared=state.cleared)
    report = health.report(state.health, cleared=state.cleared)
    return [*(Send(name, note) for name in TOLD_THE_MODE), *(Send(name, report) for name in TOLD_ALL)]


def _answers(state: HealthState) -> list[Send]:
    asked, state.asked = state.asked, []
    note = health.note(state.health, cleared=state.cleared)
    return [Send(DOOR, cmd.Reply(request, note)) for request in asked]
