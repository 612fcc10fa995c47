"""Holds the log of a storm over real hands against what the programs really did.

Two witnesses: the ledger of the stub of Claude Code (each conversation that was begun or gone on with, each that acted,
each whose work was done), and the journal of the fake gateway (each run, whoever began it, and how it ended). What a
person has decided about a held task excuses what follows from it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture.crowd import Crowd
from tests.torture.hands import CLAUDE, CLAW
from tests.torture.reckoning import Reckoning, Story
from tests.torture.weather import Faults

from omni.domain import events as ev
from omni.domain.values import TaskSpec
from omni.eventlog.store import Recorded

Json = dict[str, Any]
KEY = re.compile(r"omni-a-(?P<task>.+)-(?P<n>\d+)-[0-9a-f]{32}$")
UNSENT = 8  # so often a task is refused before a person is asked
DEAF_S = 8.0  # around a fault of the adapter or the daemon, in which an end may be missed


class Word(NamedTuple):
    """What the log says became of one attempt."""

    word: str
    at: float
    detail: str


class Worked(NamedTuple):
    """One time that Claude Code was run for an attempt."""

    task: str
    n: int
    session: str
    resumed: str
    at: float


class HandsReckoning(Reckoning):
    """All that is wrong; `count` has the figures."""

    def __init__(self, log: Iterable[Recorded], crowd: Crowd, faults: Faults, home: Path) -> None:
        self.specs: dict[str, TaskSpec] = {}
        self.planned: dict[str, dict[int, ev.AttemptPlanned]] = defaultdict(dict)
        self.words: dict[str, dict[int, Word]] = defaultdict(dict)
        self.results: dict[str, Any] = {}
        self.count: Counter[str] = Counter()
        super().__init__(log, crowd, faults, home)

    def _take(self, row: Recorded) -> None:
        super()._take(row)
        task, event, at = row.stream.removeprefix(ev.TASK_PREFIX), row.event, row.mono_ms / 1000
        match event:
            case ev.TaskCreated():
                self.specs[task] = event.spec
            case ev.AttemptPlanned():
                self.planned[task][event.n] = event
            case ev.AttemptSucceeded():
                self.words[task][event.n] = Word("succeeded", at, event.session)
                self.results[task] = event.result.structured
            case ev.AttemptFailed():
                self.words[task][event.n] = Word("failed", at, event.error.message)
            case ev.AttemptInterrupted():
                self.words[task][event.n] = Word("interrupted", at, event.evidence)

    def reckon(self, ledger: list[Json], journal: list[Json], made: dict[str, str]) -> list[str]:
        """Everything that is wrong. `made`: what was written on each branch."""
        rules = (
            self._told(), self._ends(), self._failed(), self._calls(), self._notices(), self._held(), self._broke(),
            self._claude(ledger), self._branches(made), self._claw(journal),
        )  # fmt: skip
        return [*self.wrong, *(each for rule in rules for each in rule)]

    def story(self, task: str) -> Story:
        return self.stories[ev.TASK_PREFIX + task]

    def on(self, executor: str) -> Iterator[tuple[str, Story]]:
        """The tasks of one executor, by id."""
        for stream, story in self.stories.items():
            if story.executor == executor:
                yield stream.removeprefix(ev.TASK_PREFIX), story

    def going_on(self) -> list[str]:
        """The tasks that go on by themselves: held for want of an executor, too, as long as it may come back."""
        waits = {"budget", "interrupted"}
        return [
            f"{task} ({story.mark}) is {story.end}: {story.held}; {self._tale(task)}"
            for task in self.specs
            if not (story := self.story(task)).ends
            and not (story.held and (story.held.kind in waits or self._given_up(task)))
        ]

    def _given_up(self, task: str) -> bool:
        return sum(word.word == "failed" for word in self.words[task].values()) >= UNSENT

    # --- the log alone --------------------------------------------------------------------------------------------

    def _told(self) -> Iterator[str]:
        """What was acknowledged is in the log, once; a task that was tried again is another one."""
        for key, ids in self.crowd.acknowledged.items():
            if len(ids) > 1:
                yield f"{key} was answered with {len(ids)} tasks"
            yield from (f"{key} ({i}) is lost" for i in ids if i not in self.specs)
        made = Counter(each.idempotency_key for each in self.specs.values() if each.idempotency_key)
        yield from (f"{key} made {count} tasks" for key, count in made.items() if count > 1)

    def _failed(self) -> Iterator[str]:
        for task, spec in self.specs.items():
            story = self.story(task)
            meant = "[[refused]]" in spec.description or "fail" in story.decisions or "repair" in story.labels
            if story.end == "failed" and not meant:
                yield f"{task} ({story.mark}) failed by the weather: {story.error}; {self._tale(task)}"

    def _held(self) -> Iterator[str]:
        """What is held has the reason that it says."""
        for task in self.specs:
            held, words = self.story(task).held, self.words[task]
            last = words[max(words)].word if words else "nothing"
            self.count.update([f"held: {held.kind}"] if held else [])
            if held and held.kind == "interrupted" and last != "interrupted":
                yield f"{task} is held as interrupted, and its last attempt {last}"
            if held and held.kind not in {"interrupted", "no_executor"}:
                yield f"{task} is held: {held}"
            if held and held.kind == "no_executor" and not self._given_up(task):
                yield f"{task} is held for want of an executor after {self._tale(task)}"

    def _broke(self) -> Iterator[str]:
        for task, words in self.words.items():
            for n, word in words.items():
                if "the adapter broke" in word.detail or "Omni failed" in word.detail:
                    yield f"{task}:{n}: {word.detail}"

    def _tale(self, task: str) -> str:
        return "; ".join(f"{n} {word.word}: {word.detail[:120]}" for n, word in sorted(self.words[task].items()))

    # --- Claude Code ----------------------------------------------------------------------------------------------

    def _claude(self, ledger: list[Json]) -> Iterator[str]:
        begun = [found for line in ledger if "begin" in line and (found := _worked(line))]
        acted = {(w.task, w.n) for line in ledger if "act" in line and (w := _worked(line))}
        done = {(w.task, w.n): w.at for line in ledger if "end" in line and (w := _worked(line))}
        self.count["claude runs"], self.count["claude resumed"] = len(begun), sum(1 for w in begun if w.resumed)
        yield from (f"two at once in {line['session']}" for line in ledger if "clash" in line)
        times = Counter((w.task, w.n) for w in begun)
        yield from (f"{task} attempt {n} was run {count} times" for (task, n), count in times.items() if count > 1)
        for each in begun:
            yield from self._right_session(each, acted)
            yield from self._repeated(each, done)
        for task, _ in self.on(CLAUDE):
            for n, word in self.words[task].items():
                if word.word == "succeeded" and (task, n) not in done:
                    yield f"{task} attempt {n} succeeded, and its work was never done"

    def _right_session(self, run: Worked, acted: set[tuple[str, int]]) -> Iterator[str]:
        """A run is in the session of its task, goes on where one acted before, and branches off from what was named."""
        planned = self.planned.get(run.task, {}).get(run.n)
        if planned is None:
            yield f"{run.task} attempt {run.n} was run and never planned"
            return
        if run.session != planned.handle:
            yield f"{run.task} attempt {run.n} was run in {run.session}, not in its own {planned.handle}"
        before = [n for n in self.planned[run.task] if n < run.n and (run.task, n) in acted]
        if run.resumed == run.session and not any(self.planned[run.task][n].handle == run.session for n in before):
            self.count["resumed without having acted"] += 1
        if run.resumed not in {"", run.session, self.specs[run.task].session}:
            yield f"{run.task} attempt {run.n} went on from {run.resumed}"
        if before and run.resumed != run.session and "retry" not in self.story(run.task).decisions:
            yield f"{run.task} attempt {run.n} began anew, and {before[-1]} had acted; {self._tale(run.task)}"

    def _repeated(self, run: Worked, done: dict[tuple[str, int], float]) -> Iterator[str]:
        """No run after one that was done, unless nobody could hear of that."""
        for n in range(1, run.n):
            at = done.get((run.task, n))
            if at is None or "retry" in self.story(run.task).decisions:
                continue
            word = self.words[run.task].get(n, Word("nothing", 0, ""))
            deaf = self.faults.during(at - DEAF_S, at + DEAF_S, "daemon", "claude")
            self.count["done, and nobody could hear it"] += 1
            if word.word != "interrupted" or not deaf:
                yield f"{run.task} was done in attempt {n} ({word.word}: {word.detail}) and run again in {run.n}"

    def _branches(self, made: dict[str, str]) -> Iterator[str]:
        """The work of each task that succeeded in the repository is on the branch that was told."""
        for task, story in self.on(CLAUDE):
            if not self.specs[task].workdir or task not in self.results:
                continue
            self.count["tasks done in the repository"] += 1
            branch = str(((self.results[task] or {}).get("workspace") or {}).get("branch"))
            if f"mark:{story.mark}" not in made.get(branch, ""):
                yield f"{task} ({story.mark}) succeeded, and its work is not on {branch}, one of {sorted(made)}"

    # --- OpenClaw -------------------------------------------------------------------------------------------------

    def _claw(self, journal: list[Json]) -> Iterator[str]:
        ends = {line["end"]: line["how"] for line in journal if "end" in line}
        owner, by_task, seen = dict[str, str](), defaultdict[str, list[str]](list), Counter[str]()
        for line in (line for line in journal if "begin" in line):
            run, session = line["begin"], line["session"]
            ours = ":" in run
            task = run.split(":")[0] if ours else owner.get(session, "")
            self.count["gateway runs of ours" if ours else "gateway runs of its own"] += 1
            seen[run] += 1
            if ours:
                owner[session] = task
                yield from self._fresh(line, task, by_task[task], ends)
            if any(other in by_task[task] for other in line["beside"]):
                yield f"{task} was worked on by {run} beside {line['beside']}"
            by_task[task].append(run)
        yield from (f"run {run} was begun {count} times under one key" for run, count in seen.items() if count > 1)
        yield from self._done(by_task, ends)

    def _fresh(self, line: Json, task: str, before: list[str], ends: dict[str, str]) -> Iterator[str]:
        """A run that we began: of a task that is known, in its session, and only when nothing had come of the rest."""
        run, spec = line["begin"], self.specs.get(task)
        if spec is None:
            yield f"{run} was begun for a task that nobody knows"
            return
        own = f"agent:main:omni-{task}"
        if line["session"] != (spec.session or own):
            yield f"{run} was begun in {line['session']}, not in {spec.session or own}"
        if "retry" in self.story(task).decisions:
            return
        if before and not line["again"]:
            yield f"{run} began {task} anew although {before} had worked on it"
        done = [each for each in before if ends.get(each) == "completed"]
        if done:
            yield f"{task} was done by {done} and begun again as {run}; {self._tale(task)}"

    def _done(self, by_task: dict[str, list[str]], ends: dict[str, str]) -> Iterator[str]:
        for task, story in self.on(CLAW):
            done = [run for run in by_task[task] if ends.get(run) == "completed"]
            if len(done) > 1 and "retry" not in story.decisions:
                yield f"{task} was done {len(done)} times, by {done}; {self._tale(task)}"
            if story.end == "completed" and not done and "accept" not in story.decisions:
                yield f"{task} is completed, and no run of it was; {by_task[task]}"


def _worked(line: Json) -> Worked | None:
    """Which attempt a line is about, by the key that it was given."""
    found = KEY.match(line["key"])
    if found is None:
        return None
    return Worked(found["task"], int(found["n"]), line["session"], line.get("resume", ""), line["at"])
