"""Holds a log that a storm has written against what clients were told, what upstreams were asked, and the rules.

Theory of operation. The log is folded once into the stories of tasks, calls, modes, notices and repairs; then each rule
is a generator of findings. The rules are those of docs that people read, written down here once more: a story that
breaks one is a finding with the task or call it is about.

    legitimate ends   completed · cancelled on request · failed by a person's word · failed by the executor after a
                      stream that broke (counted) · held with a reason and something to decide
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.fakes.upstream import MARK, Entry
from tests.torture.crowd import Crowd
from tests.torture.weather import CLOUDS, Faults

from omni.domain import events as ev
from omni.domain.values import Telling
from omni.domain.verdict import MEANING, Verdict
from omni.eventlog.store import Recorded

SERVED = {"ok", "slow", "drip"}  # the faults that are none: what they end with 200 was an answer
LOADED_AFTER_S = 30.0  # a new daemon has loaded its ways to models, on a busy machine too
WELL_AFTER_S = 6.0  # a cloud that was broken is known to be well again
SETTLING_S = 3.0  # between the edge of a mode and what calls under way know of it
CHANNEL = {"proxy": "proxy", **CLOUDS}  # by fake


class Asked(NamedTuple):
    """One call in a fake's journal."""

    fake: str
    entry: Entry

    @property
    def served(self) -> bool:
        return self.entry.ended == "200" and self.entry.fault in SERVED


class Story:
    """One task, as its stream tells it."""

    def __init__(self) -> None:
        self.mark = ""
        self.labels: tuple[str, ...] = ()
        self.executor = ""
        self.ends: list[str] = []
        self.last = ""
        self.held: Any = None
        self.error: Any = None
        self.decisions: list[str] = []
        self.attempts: dict[int, str] = {}
        self.calls: list[tuple[ev.CallReserved, str]] = []  # with the verdict, once settled

    @property
    def end(self) -> str:
        return self.ends[0] if self.ends else "held" if self.held else self.last

    @property
    def interrupted(self) -> bool:
        return "interrupted" in self.attempts.values() or bool(self.decisions)

    def take(self, event: Any) -> None:
        tag = str(event.__struct_config__.tag)
        room, _, word = tag.partition(".")
        if room == "attempt" and word != "late_outcome":
            self.attempts[event.n] = word
        if room == "task":
            self.last, self.held = word, event.held if isinstance(event, ev.TaskHeld) else None
        match event:
            case ev.TaskCreated(spec):
                found = MARK.search(spec.description.encode())
                self.mark, self.labels = found[1].decode() if found else "", spec.labels
            case ev.AttemptPlanned():
                self.executor = event.route.executor
            case ev.TaskResolved(decision):
                self.decisions.append(decision)
            case ev.TaskFailed(error):
                self.error = error
        if word in {"completed", "failed", "cancelled"} and room == "task":
            self.ends.append(word)


class Reckoning:
    """All that is wrong after a storm; empty when nothing is."""

    def __init__(self, log: Iterable[Recorded], crowd: Crowd, faults: Faults, home: Path) -> None:
        self.crowd = crowd
        self.faults = faults
        self.home = home
        self.stories: dict[str, Story] = defaultdict(Story)
        self.reserved: dict[str, tuple[float, ev.CallReserved]] = {}
        self.settled: dict[str, ev.CallSettled] = {}
        self.owners: dict[str, str] = {}
        self.modes: list[tuple[float, str]] = [(0.0, "NORMAL")]
        self.system: list[tuple[float, Any]] = []
        self.keys: list[tuple[float, ev.KeyChanged]] = []
        self.wrong: list[str] = []
        self.events = self.suspensions = 0
        for row in log:
            self._take(row)
        self.asked = [Asked(fake, entry) for fake in CHANNEL for entry in _journal(home / f"{fake}.journal")]

    def _take(self, row: Recorded) -> None:
        self.events += 1
        event: Any = row.event
        if row.stream.startswith(ev.TASK_PREFIX):
            self.stories[row.stream].take(event)
        if isinstance(event, ev.CallReserved):
            self.reserved[event.call] = row.mono_ms / 1000, event
            self.owners[event.call] = row.stream
        elif isinstance(event, ev.CallSettled):
            if event.call in self.settled:
                self.wrong.append(f"{event.call} was settled twice")
            self.settled[event.call] = event
        elif isinstance(event, ev.TaskSuspended):
            self.suspensions += 1
        elif isinstance(event, ev.KeyChanged):
            self.keys.append((row.mono_ms / 1000, event))
        elif isinstance(event, ev.ModeChanged):
            self.modes.append((row.mono_ms / 1000, event.after))
        elif row.stream == ev.SYSTEM_STREAM:
            self.system.append((row.mono_ms / 1000, event))

    def findings(self) -> list[str]:
        """Everything that is wrong."""
        for call, (_, event) in self.reserved.items():
            verdict = self.settled[call].verdict if call in self.settled else ""
            self.stories[self.owners[call]].calls.append((event, verdict))
        self.stories.pop(ev.CALLS_STREAM, None)
        rules = (
            self._told, self._ends, self._failures, self._single_answers, self._no_asking_beside_the_books, self._begun,
            self._calls, self._keys, self._modes_of_calls, self._answers, self._notices, self._repairs,
        )  # fmt: skip
        return [*self.wrong, *(each for rule in rules for each in rule())]

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _told(self) -> Iterator[str]:
        """What was acknowledged is in the log, once."""
        for key, ids in self.crowd.acknowledged.items():
            if len(ids) > 1:
                yield f"{key} was answered with {len(ids)} tasks"
            yield from (f"{key} ({i}) is lost" for i in ids if ev.TASK_PREFIX + i not in self.stories)
        made = Counter(story.mark for story in self.stories.values() if story.mark)
        yield from (f"{mark} made {count} tasks" for mark, count in made.items() if count > 1)

    def _ends(self) -> Iterator[str]:
        for stream, story in self.stories.items():
            if len(story.ends) > 1:
                yield f"{stream} ({story.mark}) ended as {story.ends}"
            elif not story.ends and story.held is None:
                yield f"{stream} ({story.mark}) stops at {story.last}, attempts {story.attempts}"
            elif story.held is not None and not (story.held.reason and story.held.options):
                yield f"{stream} ({story.mark}) is held without a question: {story.held}"

    def _failures(self) -> Iterator[str]:
        for stream, story in self.stories.items():
            if story.end == "failed" and not self.why_failed(story):
                yield f"{stream} ({story.mark}) failed by the weather: {story.error}; calls {_brief(story)}"

    def why_failed(self, story: Story) -> str:
        """What makes a failure legitimate; empty when nothing does."""
        if "fail" in story.decisions:
            return "by a person's word"
        if "repair" in story.labels:
            return "a repair that its executor gave up"
        return ""

    # --- what upstreams were asked --------------------------------------------------------------------------------

    def _single_answers(self) -> Iterator[str]:
        """A task that was never interrupted was answered upstream once for its one success."""
        served = Counter(asked.entry.mark for asked in self.asked if asked.served)
        for story in self.stories.values():
            if story.executor != "model" or story.end != "completed" or story.interrupted:
                continue
            good = [e for e, verdict in story.calls if verdict == Verdict.OK]
            lost = sum(1 for _, verdict in story.calls if verdict not in {Verdict.OK, ""})
            if len(good) != 1:
                yield f"{story.mark} has {len(good)} good calls for one success: {_brief(story)}"
            if not 1 <= served[story.mark] <= 1 + lost:
                yield f"{story.mark} was answered {served[story.mark]} times upstream: {_brief(story)}"

    def _no_asking_beside_the_books(self) -> Iterator[str]:
        """No fake was asked more often than calls were reserved for it: for any task, and at any time."""
        by_task = Counter((s.mark, e.channel) for s in self.stories.values() for e, _ in s.calls)
        asked = Counter((a.entry.mark, CHANNEL[a.fake]) for a in self.asked if not a.entry.mark.startswith("call-"))
        for (mark, channel), count in asked.items():
            if count > by_task[mark, channel]:
                yield f"{channel} was asked {count} times for {mark}, with {by_task[mark, channel]} reservations"
        for fake, channel in CHANNEL.items():
            times = sorted(at for at, event in self.reserved.values() if event.channel == channel)
            seen = sorted(a.entry.at_s for a in self.asked if a.fake == fake)
            early = [n for n, at in enumerate(seen) if n >= len(times) or times[n] > at + 0.05]
            if early:
                yield f"{fake} was asked before a reservation, first for its call {early[0]} of {len(seen)}"

    def _begun(self) -> Iterator[str]:
        """An executor began no attempt twice, and after `ask` another one only when a person said so."""
        begun = Counter((e["begin"], e["attempt"]) for path in self.home.glob("*.ledger") for e in _begun_in(path))
        yield from (f"{task} attempt {n} began {times} times" for (task, n), times in begun.items() if times > 1)
        for task, count in Counter(task for task, _ in begun).items():
            story = self.stories.get(ev.TASK_PREFIX + task)
            if story is None:
                yield f"{task} began, and the log does not know it"
            elif story.executor == "careful" and count > 1 + story.decisions.count("retry"):
                yield f"{story.mark} began {count} times under `ask` after {story.decisions}"

    # --- calls ----------------------------------------------------------------------------------------------------

    def _calls(self) -> Iterator[str]:
        open_calls = [call for call in self.reserved if call not in self.settled]
        if open_calls:
            yield f"{len(open_calls)} reserved calls were never settled: {open_calls[:5]}"

    def _keys(self) -> Iterator[str]:
        """Model calls came to clouds with backup keys only: in NORMAL it is the proxy that calls them."""
        for fake in CLOUDS:
            keys = {a.entry.key for a in self.asked if a.fake == fake}
            yield from (f"{fake} was called with {key}" for key in keys if not key.endswith("backup"))

    def _modes_of_calls(self) -> Iterator[str]:
        """A cloud is called directly in DEGRADED, or after the proxy failed inside the same call."""
        for call, (at, event) in self.reserved.items():
            if event.mode not in self._modes_about(at):
                yield f"{call} was reserved in {event.mode}, while the mode was {self._modes_about(at)}"
            if event.mode == "BRAINSTEM" and event.channel != "brainstem":
                yield f"{call} went to {event.channel} in BRAINSTEM"
            if event.mode == "DEGRADED" and event.channel == "proxy":
                yield f"{call} went to the proxy in DEGRADED"
            if event.mode == "NORMAL" and event.channel in CLOUDS.values() and not self._lost_the_proxy(call):
                yield f"{call} went to {event.channel} in NORMAL, and the proxy had not failed inside it"

    def _modes_about(self, at: float) -> set[str]:
        """The modes at a time and shortly before it; a daemon that stood still may know the older one."""
        stood = self.faults.during(at - 10, at, "daemon")
        since = min([at, *(f.began for f in stood)]) - SETTLING_S
        before = [mode for began, mode in self.modes if began <= since]
        return {before[-1] if before else "NORMAL", *(mode for began, mode in self.modes if since < began <= at + 0.5)}

    def _lost_the_proxy(self, call: str) -> bool:
        journey, _, leg = call.rpartition("/")
        earlier = (f"{journey}/{n}" for n in range(1, int(leg)))
        lost = (self.settled[each] for each in earlier if each in self.settled)
        return any(MEANING[Verdict(each.verdict)].alive is False for each in lost)

    def _answers(self) -> Iterator[str]:
        """A proxy that dies or falls silent costs nobody an answer while a cloud is well, but for streams under way."""
        for call in self.crowd.calls:
            if call.outcome not in {"good", "broken", "lost"} and self.only_the_proxy_died(call.began, call.ended):
                yield f"{call.mark} ({call.dialect}) ended with {call.outcome} while a cloud was well"

    def only_the_proxy_died(self, began: float, ended: float) -> bool:
        """Whether, of all that a call needs, the proxy alone was gone for a part of the time that it took."""
        proxy = self.faults.during(began - SETTLING_S, ended, "proxy")
        if not proxy or not {each.what for each in proxy} <= {"killed", "frozen", "frozen, then killed"}:
            return False
        broken = {each.part for each in self.faults.during(began - WELL_AFTER_S, ended, *CLOUDS)}
        usable = [fake for fake in CLOUDS if fake not in broken and self._has_a_good_key(fake, began, ended)]
        return bool(usable) and not self.faults.during(began - LOADED_AFTER_S, ended, "daemon")

    def _has_a_good_key(self, fake: str, began: float, ended: float) -> bool:
        own = [(at, e.state) for at, e in self.keys if e.cloud == CLOUDS[fake] and e.key == "backup"]
        before = [state for at, state in own if at < began - SETTLING_S]
        within = {state for at, state in own if began - SETTLING_S <= at <= ended}
        return {before[-1] if before else "ok", *within} == {"ok"}

    # --- what the user was told, and repairs ----------------------------------------------------------------------

    def _notices(self) -> Iterator[str]:
        """Each sink of the daemon was told everything, once and in order."""
        queued = [event.key for _, event in self.system if isinstance(event, ev.NoticeQueued)]
        lives = [event.telling for _, event in self.system if isinstance(event, ev.DaemonStarted)]
        for sink in (lives[-1] if lives else Telling()).sinks:
            gone = [event for _, event in self.system if isinstance(event, ev.NoticeDelivered)]
            yield from _told(sink.name, [event.key for event in gone if event.sink == sink.name], queued)

    def _repairs(self) -> Iterator[str]:
        """At most one is open, and begun only while the proxy is down and a cloud can be called."""
        running, mode = "", "NORMAL"
        for _, event in self.system:
            match event:
                case ev.ModeFollowed():
                    mode = event.mode
                case ev.RepairStarted():
                    if running or mode != "DEGRADED":
                        yield f"a repair began in {mode} while {running or 'none'} was open"
                    running = event.task_id
                case ev.RepairEnded() if event.task_id == running:
                    running = ""


def _journal(path: Path) -> list[Entry]:
    """What a fake was asked of models, over all its lives; the last line about a request counts."""
    found: dict[tuple[int, int], Entry] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        raw = json.loads(line)
        found[raw.pop("life"), raw["n"]] = msgspec.convert(raw, Entry)
    return [e for e in found.values() if e.path.endswith(("completions", "messages", "responses"))]


def _begun_in(ledger: Path) -> Iterator[dict[str, Any]]:
    lines = (json.loads(line) for line in ledger.read_text("ascii").splitlines())
    return (line for line in lines if "begin" in line)


def _brief(story: Story) -> str:
    return ", ".join(f"{e.call[-6:]} n={e.n} {e.channel} {verdict or 'open'}" for e, verdict in story.calls)


def _told(sink: str, delivered: list[str], queued: list[str]) -> Iterator[str]:
    if len(set(delivered)) < len(delivered):
        yield f"a notice was delivered twice at {sink!r} in the log"
    if delivered != queued[: len(delivered)]:
        yield f"notices were delivered out of order at {sink!r}: {delivered} of {queued}"
    if len(delivered) < len(queued):
        yield f"{len(queued) - len(delivered)} notices were never delivered at {sink!r}"
