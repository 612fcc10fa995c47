"""The adapter: one attempt from its record over its runs to its answer.

    place ──▶ record: running, session ──▶ run ──▶ record: process ──▶ events ──▶ verdict ──▶ changes ──▶ answer
                                            ▲                                        │
                                            └── the conversation was not as known ───┘

The session id is in the record before anything is started. So after a crash the next adapter knows which process to
look for, ends it, and says honestly that the outcome is unknown and the session can go on. What a repair answers is
evidence only: whether the proxy works again is for the health checks to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from omni.adapters.claude_code import command
from omni.adapters.claude_code.attempt import Attempt, Notes, next_turn, notes_of, plain, session_of, turns_of
from omni.adapters.claude_code.command import Turn
from omni.adapters.claude_code.run import Bounds, Ended, end_run, start
from omni.adapters.claude_code.verdict import Circumstances, add_line, stopped, verdict
from omni.adapters.records import Record, Records, store
from omni.adapters.service import Stop, Structured, Tell, Work, failed
from omni.adapters.workspaces import Changes, Place, Workspaces
from omni.config.adapters import ClaudeCodeOptions
from omni.domain.errors import OmniError
from omni.executors import children
from omni.executors.bundled import Options
from omni.executors.contract import Lookup
from omni.runtime.ports import Clock

LIFE_SIGN_S = 20.0
SAME_SESSION_S = 5.0
GRACE_S = 1.0  # beyond the task's own time, which the daemon watches itself


class ClaudeCode:
    """Claude Code behind `omni.adapters.service`. `state` is the adapter's own directory."""

    def __init__(
        self, told: Options, state: Path, records: Records, clock: Clock, *, life_sign_s: float = LIFE_SIGN_S
    ) -> None:
        self._told = told
        self._options = msgspec.convert(told.options, ClaudeCodeOptions)
        self._records = records
        self._clock = clock
        self._life_sign_s = life_sign_s
        self._workspaces = Workspaces(state, self._options.workspaces, clock)
        self._files = state / "runs"
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._busy: set[str] = set()
        self._behind: set[asyncio.Task[None]] = set()

    async def run(self, work: Work, before: Record | None, stop: Stop, tell: Tell) -> Structured:
        """Do one attempt to its end."""
        session = session_of(work.handle)
        sessions = {session, work.earlier} - {""}
        if sessions & self._busy:
            return failed("unavailable", "another attempt uses this session now", retry_after_s=SAME_SESSION_S)
        self._busy |= sessions
        try:
            return await self._carry(
                Attempt(work, replace(notes_of(before), session=session), stop, tell, self._records)
            )
        finally:
            self._busy -= sessions
            self._in_background(self._tidy())

    async def look_up(self, record: Record | None, handle: str, key: str) -> Lookup:
        """Nothing runs that is not in this process, and nobody knows how it ended; but its session can go on.

        One that is not there was never begun: the CLI writes the prompt down before it asks a model. Then a new one is.
        """
        return Lookup("unknown", None, bool(notes_of(record).session))

    async def recover(self) -> int:
        """End what an earlier process left running; how many processes that were. Before anything is run."""
        left = [(record, notes) for record in self._records.all() if (notes := notes_of(record)).marker]
        runs = [(notes.process, notes.marker) for _, notes in left]
        ended = await asyncio.to_thread(end_run, runs) if runs else 0
        for record, notes in left:
            self._records.write(replace(record, notes=plain(replace(notes, process=None, marker=""))))
        for path in self._files.iterdir():
            path.unlink(missing_ok=True)
        self._in_background(self._tidy())
        return ended

    async def close(self) -> None:
        """Let go of what goes on in the background."""
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)

    # ---- one attempt

    async def _carry(self, attempt: Attempt) -> Structured:
        work = attempt.work
        earlier = notes_of(self._record_of(work.earlier)) if work.earlier else Notes()
        if why := command.too_long(work):
            return failed("bad_request", why)
        try:
            place = await self._place(attempt, earlier)
        except OmniError as error:
            return failed("bad_request", str(error))
        attempt.remember(place=place, workdir=work.workdir)
        return await self._settled(place, await self._in_turns(attempt, place, earlier))

    async def _place(self, attempt: Attempt, earlier: Notes) -> Place:
        """Where it works: where this attempt worked before, or the task whose session goes on, else a new place."""
        work = attempt.work
        same = earlier.place if earlier.workdir == work.workdir else None
        workdir = "" if work.repair else work.workdir
        return await self._workspaces.place(workdir, work.task_id or work.handle, attempt.notes.place or same)

    async def _in_turns(self, attempt: Attempt, place: Place, earlier: Notes) -> Structured:
        turns, tried = turns_of(attempt.work, attempt.notes), list[Turn]()
        turn = turns[0]
        while True:
            if attempt.stop.reason:
                return stopped(attempt.stop.reason)
            attempt.anew()
            attempt.remember(base_usd=_base_usd(turn, attempt.notes, earlier))
            try:
                ended = await self._one_run(attempt, place, turn)
            except (OmniError, OSError) as error:  # it was not started
                return _not_started(turn, str(error))
            tried.append(turn)
            following = next_turn(turns, tried, attempt.story, ended)
            if following is None:
                break
            turn = following
        outcome = verdict(attempt.story, ended, self._circumstances(attempt, turn))
        anew = turn == turns[-1] and (len(tried) > 1 or bool(attempt.work.earlier))
        return add_line(outcome, "[the earlier session was not found, so this is a new one]") if anew else outcome

    async def _one_run(self, attempt: Attempt, place: Place, turn: Turn) -> Ended:
        work, marker = attempt.work, uuid.uuid4().hex
        port = command.uses_port(work, self._options, self._told)
        bounds = Bounds(self._options.idle_s, work.timeout_s + GRACE_S)
        with self._written(work, port=port) as settings:
            argv = command.argv(work, self._options, turn, port=port, settings=settings)
            attempt.note(marker=marker)
            run = await start(
                argv, self._environment(work, marker, port=port), place.path, marker, bounds, attempt.hear
            )
            attempt.remember(process=run.record)
            async with attempt.telling(self._life_sign_s):
                ended = await run.follow(attempt.stop)
        attempt.over()
        return ended

    async def _settled(self, place: Place, outcome: Structured) -> Structured:
        """The answer with what changed. The place is kept where there is something to see, or to go on from."""
        kind = (outcome.get("error") or {}).get("kind")
        if kind == "interrupted":
            return outcome
        try:
            changes = await self._workspaces.changes(place)
            made = await asyncio.to_thread(_made, place)
            await self._workspaces.release(place, keep=kind is None and (changes is not None or bool(made)))
        except OmniError as error:
            return add_line(outcome, f"[the workspace {place.path} could not be read or cleared: {error.message}]")
        return _with_files(outcome, place, made) if made else _with_changes(outcome, place, changes)

    # ---- what it needs

    def _record_of(self, session: str) -> Record | None:
        found = self._records.find(session)
        return found or next((each for each in self._records.all() if notes_of(each).session == session), None)

    def _circumstances(self, attempt: Attempt, turn: Turn) -> Circumstances:
        return Circumstances(
            session=attempt.notes.session,
            port=command.uses_port(attempt.work, self._options, self._told),
            now=datetime.fromtimestamp(self._clock.wall_ms() / 1000).astimezone(),
            reason=attempt.stop.reason,
            repair=attempt.work.repair,
            resumed=turn.again,
            base_usd=attempt.notes.base_usd,
        )

    def _environment(self, work: Work, marker: str, *, port: bool) -> dict[str, str]:
        base = children.environment({}, os.environ.get(children.OWNER, ""), os.environ.get(children.CHILD, ""))
        return command.environment(base, work, self._options, self._told, port=port, marker=marker)

    @contextlib.contextmanager
    def _written(self, work: Work, *, port: bool) -> Iterator[Path]:
        """The files that the command line names. They hold a key, so they go with the run."""
        settings = self._files / f"{uuid.uuid4().hex}.json"
        written = {settings: command.settings_of(work, self._options, port=port)} if port else {}
        if work.repair:
            written[command.runbook_file(settings)] = command.runbook_server(os.environ)
        try:
            for path, content in written.items():
                store(path, msgspec.json.encode(content))
            yield settings
        finally:
            for path in written:
                path.unlink(missing_ok=True)

    async def _tidy(self) -> None:
        try:
            await self._workspaces.tidy()
            await self._workspaces.prepare()
        except OmniError as error:
            print(error, file=sys.stderr)  # noqa: T201 - where the daemon keeps what its executors say

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)


def _base_usd(turn: Turn, notes: Notes, earlier: Notes) -> float | None:
    """What the conversation of a turn had cost before this attempt: totals add up over all that is gone on with."""
    if turn.earlier:
        return earlier.total_usd
    return notes.base_usd if turn.again else 0.0


def _not_started(turn: Turn, why: str) -> Structured:
    """Nothing was begun; but a session that goes on must not be given up for a new one."""
    if not turn.again:
        return failed("unavailable", why)
    return {**failed("interrupted", why), "resumable": True}


def _made(place: Place) -> int:
    """How many files lie in a directory that was empty before, as far as paths can name them."""
    waiting, files = [place.path] if place.kind == "scratch" else [], 0
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for each in found:
                if each.is_dir(follow_symlinks=False):
                    waiting.append(each.path)
                else:
                    files += each.is_file()
    return files


def _with_files(outcome: Structured, place: Place, made: int) -> Structured:
    """The answer with where its files are, as long as they are kept: no `workdir` was named."""
    if "error" in outcome:
        return outcome
    told = add_line(outcome, f"[{made} file{'' if made == 1 else 's'} in {place.path}, kept for some days]")
    return {**told, "workspace": {"path": place.path, "files": made}}


def _with_changes(outcome: Structured, place: Place, changes: Changes | None) -> Structured:
    """The answer with the branch that holds the work, and what should be known of the place."""
    if changes is None:
        return add_line(outcome, f"[{place.note}]") if place.note and "error" not in outcome else outcome
    files = f"{changes.files} file{'' if changes.files == 1 else 's'}"
    line = f"[{files} changed (+{changes.insertions} −{changes.deletions}) on branch {changes.branch}]"
    told = add_line(outcome, f"{line}\n[{changes.note}]" if changes.note else line)
    return {**told, "workspace": {**msgspec.to_builtins(changes), "repository": place.repository}}
