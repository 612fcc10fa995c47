"""One attempt as a run of OpenClaw's agent: begun once, watched to its end, and found again after any crash.

    never sent ──record, then `agent`──▶ watched ──final frame──────────────────────────▶ ended
                                            │ the socket went                               ▲
                                            ▼                                               │ it has an end
                                        reconcile: agent.wait ─▶ tasks.list ─▶ chat.history ┤
                                            ▲      │ it runs, maybe under a new run id      │
                                            └──────┘                                        └─ lost: nothing runs,
                                                                                                nothing was answered
Nothing is begun a second time before the gateway has been asked, and a run that it has lost is begun anew only when
Omni says `resume`: the gateway takes up interrupted runs by itself, some ten seconds after its start, and a second
request beside that one would have the work done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from omni.adapters.openclaw.frames import Away, Json, Late, Lost, Refused, RunTask, Step, read_step, read_tasks
from omni.adapters.openclaw.gateway import Gateway, Link
from omni.adapters.openclaw.outcome import (
    UNKNOWN,
    Ending,
    Told,
    latest_answer,
    of_final,
    of_history,
    of_refusal,
    of_tasks,
    of_wait,
    structured,
)
from omni.adapters.records import Record, Records
from omni.adapters.service import Stop, Structured, Tell, Work, failed

AWAY_S = 120.0  # a gateway that restarts is back in 15 s, on a busy machine in a minute
RECOVERY_S = 45.0  # how long after its start a gateway may still take up a run that a crash has cut off
STOP_WITHIN_S = 7.0  # less than the caller waits for a cancelled call
WAIT_S = 2.0
KNOWN_MS = 500
ASK_S = 10.0
ASK_EVERY_S = 1.0
TELL_EVERY_S = 0.5
HISTORY_MESSAGES = 50
LOST = "OpenClaw's gateway lost the run in a restart"
_TASKS = re.compile(r"omni-(?!notices$)[0-9A-Za-z_.-]+")
T = TypeVar("T")

_AGAIN = (
    "Your earlier work on the task below was cut off. Look first at what is done already, do not do it again, "
    "and finish the task.\n\n"
)


class Noted(msgspec.Struct, frozen=True):
    """What the record keeps of a run, under these names in its notes."""

    session: str = ""
    run: str = ""
    boot: str = ""
    key: str = ""  # of the attempt that began it
    asked: str = ""  # the key of our request, as the session's history names it
    begins: int = 0  # how often it was begun under the attempt's key
    sent: bool = False
    stopping: bool = False  # whether it was we who wished it stopped
    tools: bool = False


def session_key(agent: str, work: Work) -> str:
    """The session of a task; a follow-up goes on in the one that it names, if that is a task's of this agent.

    Whoever hands a task in names it, and must get at no other agent, and at no conversation of the owner's.
    """
    ours, _, name = work.earlier.rpartition(":")
    follows = ours == f"agent:{agent}" and _TASKS.fullmatch(name) is not None
    return work.earlier if follows else f"agent:{agent}:omni-{work.task_id or work.handle}"


def noted(record: Record | None) -> Noted:
    """The notes of a record; empty ones where there are none."""
    try:
        return msgspec.convert(record.notes if record else {}, Noted)
    except msgspec.ValidationError:
        return Noted()


class Unbegun(Exception):
    """The gateway refused the request itself: nothing ran."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Stopped(Exception):
    """The wish to stop came while something was waited for."""


class Run:
    """One call of `run_task`."""

    def __init__(self, gateway: Gateway, records: Records, work: Work, before: Record | None, stop: Stop, tell: Tell):
        self._gateway = gateway
        self._records = records
        self._work = work
        self._stop = stop
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + work.timeout_s
        self._notes = noted(before)
        self._steps = 0
        self._over = False  # whether an earlier attempt's run has ended for certain
        if not self._notes.session:
            self._notes = Noted(session=session_key(gateway.settings.agent, work))

    async def carry(self) -> Structured:
        """Do the attempt to its end, or say honestly how far it is known."""
        with self._gateway.listening(self._notes.session) as events:
            telling = asyncio.create_task(self._pump(events))
            try:
                return await self._carried()
            except Stopped:
                return await self._stopped()
            except Unbegun as error:
                return _refused(error.refusal)
            except Away as away:
                return self._unreached(away)
            except (Late, TimeoutError):
                return await self._overdue()
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _carried(self) -> Structured:
        ending = self._worth_keeping(await self._reconciled()) if self._notes.sent else None
        if ending is None and self._notes.sent and not self._work.resume and not self._over:
            return self._cut_off(LOST)
        while ending is None:
            ending = await self._begun()
            if ending is None and self._notes.sent:
                ending = await self._reconciled()
                if ending is None and self._notes.sent:
                    return self._cut_off(LOST)
        return structured(ending, self._notes.session, touched=self._notes.tools)

    def _worth_keeping(self, ending: Ending | None) -> Ending | None:
        """What an earlier attempt's run came to, unless that is why there is another attempt."""
        if ending is None or ending.kind == "done":
            return ending
        if self._notes.key != self._work.key or (ending.kind == "aborted" and self._notes.stopping):
            self._over = True
            return None
        return ending

    # --- begin

    async def _begun(self) -> Ending | None:
        """Send the request once and wait for its end; None when the connection went meanwhile."""
        link = await self._there()
        again = self._notes.sent or self._work.resume
        key = self._fresh_key()
        self._note(run=key, asked=key, boot=link.boot_id, key=self._work.key, sent=True, stopping=False)
        params: Json = {
            "message": (_AGAIN if again else "") + self._work.description,
            "agentId": _agent_of(self._notes.session, self._gateway.settings.agent),
            "sessionKey": self._notes.session,
            "idempotencyKey": key,
        }
        try:
            return of_final(await self._unless_stopped(link.ask("agent", params, self._left_s, self._accepted)))
        except Lost:
            return None
        except Away:
            self._unsent()  # the request was never written to the socket
            return None
        except Refused as refusal:
            return self._refused(refusal)

    def _accepted(self, payload: Json) -> None:
        run_id = payload.get("runId")
        if isinstance(run_id, str) and run_id != self._notes.run:
            self._note(run=run_id)

    def _fresh_key(self) -> str:
        """A key that the gateway has not begun anything under: it answers an old one with what came of it, or, after a
        restart, with an error. A repetition has the key of the attempt that it repeats.
        """
        begins = self._notes.begins + 1 if self._notes.key == self._work.key else 1
        self._notes = msgspec.structs.replace(self._notes, begins=begins)
        return self._work.key if begins == 1 else f"{self._work.key}#{begins}"

    def _unsent(self) -> None:
        """Nothing was begun under the last key."""
        self._note(sent=False, begins=self._notes.begins - 1)

    def _refused(self, refusal: Refused) -> Ending:
        ending = of_refusal(refusal)
        if ending is None:
            self._unsent()
            raise Unbegun(refusal) from refusal
        return ending

    # --- find again

    async def _reconciled(self) -> Ending | None:
        """How a run that was begun before ended; None when it is lost, or never arrived."""
        since: tuple[Link, float] | None = None
        while True:
            link = await self._there()
            if since is None or since[0] is not link:
                since = (link, self._loop.time())
            try:
                found = await self._unless_stopped(self._found(link, self._loop.time() - since[1]))
            except (Lost, Away, Late):
                found = UNKNOWN
            if found is None or found.kind != "unknown":
                return found
            await self._unless_stopped(asyncio.sleep(ASK_EVERY_S))

    async def _found(self, link: Link, there_s: float) -> Ending | None:
        """One look: its end, unknown while it may still go on, None when it does not."""
        session, run = self._notes.session, self._notes.run
        ending = await _known(link, run)
        if ending.kind == "done" and ending.words:
            return ending
        tasks = await _tasks(link, session, run)
        if tasks is None:
            return await _of_aged(link, session, ending)
        if tasks and tasks[0].runs:
            if tasks[0].run_id != run:
                self._note(run=tasks[0].run_id, boot=link.boot_id)
            return UNKNOWN
        told = await _history(link, session, self._notes.asked)
        if told.answer:
            return Ending("done", told.answer, run)
        ending = ending if ending.kind != "unknown" else of_tasks(tasks)
        return self._judged(ending, link.boot_id, there_s, began=bool(tasks) or told.arrived)

    def _judged(self, ending: Ending, boot_id: str, there_s: float, *, began: bool) -> Ending | None:
        """What it means that nothing runs and nothing was answered."""
        restarted = boot_id != self._notes.boot
        if restarted and ending.kind == "aborted" and there_s < RECOVERY_S:
            return UNKNOWN  # a gateway that goes down in order calls its runs cancelled, and takes them up again
        if ending.kind != "unknown":
            return ending
        patience_s = (RECOVERY_S if began else 0.0) if restarted else WAIT_S
        if there_s < patience_s:
            return UNKNOWN
        if not began:
            self._unsent()  # it never arrived, so it may be sent as if for the first time
        return None

    # --- end

    async def _stopped(self) -> Structured:
        """The wish to stop. A daemon that ends leaves the run alone: it is found again afterwards."""
        if not self._notes.sent:
            return self._halted()
        if self._stop.reason == "ending":
            return self._cut_off("Omni ended while OpenClaw worked; the run goes on there")
        ending = await self._aborted()
        if ending.kind == "done":
            return structured(ending, self._notes.session, touched=True)
        if ending.kind == "unknown":
            return self._cut_off("OpenClaw was told to stop the run and did not say that it has")
        return self._halted()

    async def _overdue(self) -> Structured:
        if not self._notes.sent:
            return failed("unavailable", f"OpenClaw took nothing within {self._work.timeout_s:g} s")
        ending = await self._aborted()
        if ending.kind == "done":
            return structured(ending, self._notes.session, touched=True)
        sure = "it was stopped" if ending.kind != "unknown" else "it was told to stop and did not say that it has"
        return failed("timeout", f"OpenClaw's run did not end within {self._work.timeout_s:g} s; {sure}")

    async def _aborted(self) -> Ending:
        """Have the run stopped, and what it came to; a result that arrives meanwhile counts."""
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                link = await self._gateway.link(STOP_WITHIN_S)
                self._note(stopping=True)
                await _tell_to_stop(link, self._notes.session, self._notes.run)
                while True:
                    ending = await _known(link, self._notes.run)
                    if ending.kind == "unknown":
                        ending = of_tasks(await _tasks(link, self._notes.session, self._notes.run) or [])
                    if ending.kind != "unknown":
                        return ending
                    await asyncio.sleep(0.2)
        except (TimeoutError, Away, Lost, Late, Refused):
            return UNKNOWN

    def _halted(self) -> Structured:
        if self._stop.reason == "cancelled":
            return failed("cancelled", "OpenClaw's run was stopped")
        if self._notes.sent:
            self._note(sent=False)  # it has stopped for certain, so the next call begins anew in the same session
        told = failed("interrupted", "OpenClaw's run was paused", retry_after_s=0)
        return told | {"resumable": True, "session": self._notes.session}

    def _unreached(self, away: Away) -> Structured:
        if not self._notes.sent:
            return failed("unavailable", away.message, retry_after_s=ASK_S)
        told = f"{away.message}; what became of the run is not known yet"
        return failed("interrupted", told, retry_after_s=ASK_S) | {"resumable": True, "session": self._notes.session}

    def _cut_off(self, why: str) -> Structured:
        return failed("interrupted", why) | {"resumable": True, "session": self._notes.session}

    # --- helpers

    async def _there(self) -> Link:
        """The connection, as soon as there is one. Raises Away when it takes too long.

        That is before the process gives the gateway up, so that whoever asks is answered: one that began late, too.
        """
        patience_s = min(AWAY_S if self._notes.sent else ASK_S, max(0.0, AWAY_S - self._gateway.away_s))
        return await self._unless_stopped(self._gateway.link(min(patience_s, self._left_s)))

    @property
    def _left_s(self) -> float:
        left_s = self._ends_at - self._loop.time()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    async def _unless_stopped(self, wait: Awaitable[T]) -> T:
        """The awaited, unless the wish to stop or the deadline comes first."""
        work = asyncio.ensure_future(wait)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            async with asyncio.timeout_at(self._ends_at):
                await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Stopped
            return work.result()
        finally:
            for each in (work, stop):
                each.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)

    def _note(self, **change: Any) -> None:
        """Change the notes and make them durable."""
        self._notes = msgspec.structs.replace(self._notes, **change)
        work, notes = self._work, msgspec.to_builtins(self._notes)
        self._records.write(Record(work.handle, work.key, work.task_id, "running", notes=notes))

    async def _pump(self, events: asyncio.Queue[Any]) -> None:
        """Tell what moves, at a pace that people can read; silence of a gateway that is away is told as well."""
        told_at, said = float("-inf"), ""
        while True:
            frame = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_S):  # not wait_for, which may swallow a cancellation in Python 3.11
                    frame = await events.get()
            step = read_step(frame.event, frame.payload) if frame else self._absence()
            if step is None:
                continue
            said = step.words or said
            if step.kind == "tool" and not self._notes.tools:
                self._note(tools=True)
            now = self._loop.time()
            if now - told_at >= TELL_EVERY_S or step.kind == "tool":
                told_at, self._steps = now, self._steps + 1
                await self._tell(float(self._steps), None, said)

    def _absence(self) -> Step | None:
        if not self._gateway.away_s:
            return None
        return Step(self._notes.run, "other", f"waiting for OpenClaw's gateway ({self._gateway.away_s:.0f} s)")


async def _known(link: Link, run: str) -> Ending:
    """What `agent.wait` says of a run."""
    try:
        return of_wait(await link.ask("agent.wait", {"runId": run, "timeoutMs": KNOWN_MS}, ASK_S))
    except Refused:
        return UNKNOWN


async def _of_aged(link: Link, session: str, ending: Ending) -> Ending:
    """The ending where the gateway has no list of tasks (protocol 3): its `agent.wait` tells no text."""
    if ending.kind != "done":
        return ending
    try:
        said = await link.ask("chat.history", {"sessionKey": session, "limit": HISTORY_MESSAGES}, ASK_S)
    except Refused:
        return ending
    return msgspec.structs.replace(ending, words=latest_answer(said))


async def _tell_to_stop(link: Link, session: str, run: str) -> None:
    try:
        await link.ask("sessions.abort", {"key": session, "runId": run}, STOP_WITHIN_S)
    except Refused as refusal:
        if not refusal.message.startswith("unknown method"):
            raise
        await link.ask("chat.abort", {"sessionKey": session, "runId": run}, STOP_WITHIN_S)  # all that protocol 3 has


async def _tasks(link: Link, session: str, run: str) -> list[RunTask] | None:
    """This run and what came after it in its session, newest first; None where the gateway cannot be asked."""
    try:
        found = read_tasks(await link.ask("tasks.list", {"sessionKey": session}, ASK_S))
    except Refused:
        return None
    own = [n for n, task in enumerate(found) if task.run_id == run]
    return found[: own[0] + 1] if own else []


async def _history(link: Link, session: str, key: str) -> Told:
    params = {"sessionKey": session, "limit": HISTORY_MESSAGES}
    try:
        return of_history(await link.ask("chat.history", params, ASK_S), key)
    except Refused:
        return Told()


async def looked_up(gateway: Gateway, record: Record, within_s: float) -> Ending:
    """What became of a run, in one quick look; unknown where it still goes on as well as where nobody can say."""
    notes = noted(record)
    if not notes.sent:
        return UNKNOWN
    try:
        async with asyncio.timeout(within_s):
            link = await gateway.link(within_s)
            ending = await _known(link, notes.run)
            if ending.kind == "done" and not ending.words:
                told = await _history(link, notes.session, notes.asked)
                ending = msgspec.structs.replace(ending, words=told.answer)
            return ending
    except (TimeoutError, Away, Lost, Late, Refused):
        return UNKNOWN


def _agent_of(session: str, default: str) -> str:
    """The agent that a session belongs to: `agent:NAME:…`."""
    parts = session.split(":", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "agent" else default


def _refused(refusal: Refused) -> Structured:
    """What a refused request means."""
    wait_ms = refusal.fault.retry_after_ms
    kind = "unavailable" if refusal.fault.code == "UNAVAILABLE" else "bad_request"
    more = {"retry_after_s": wait_ms / 1000} if wait_ms and kind == "unavailable" else {}
    return failed(kind, f"OpenClaw's gateway refused the task: {refusal.message}", **more)
