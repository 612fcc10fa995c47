"""One attempt while it is carried: its record, its story so far, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec.structs import replace

from omni.adapters.claude_code.command import Turn
from omni.adapters.claude_code.run import Ended
from omni.adapters.claude_code.stream import Story, brief, event_of, hear
from omni.adapters.claude_code.verdict import has_begun, knows_not, total_of
from omni.adapters.records import Record, Records
from omni.adapters.service import Stop, Tell, Work
from omni.adapters.workspaces import Place
from omni.executors import children

TELL_EVERY_S = 0.3  # hands pass on fewer than ten a second, and drop the rest
REPEAT_S = 2.0  # the last of many matters most, and a busy machine may have bunched it with one before
_SESSIONS = uuid.UUID("0f6d1c52-7d4e-5b0e-9a55-9d2f3a3f6c11")  # for handles that are no UUID


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the record of an attempt keeps for us. `total_usd`: its session's cost so far; `base_usd`: before it began.

    `process` and `marker` are there from the spawn until nothing of the run is left.
    """

    session: str = ""
    begun: bool = False
    workdir: str = ""
    place: Place | None = None
    process: children.Record | None = None
    marker: str = ""
    total_usd: float | None = None
    base_usd: float | None = 0.0


def notes_of(record: Record | None) -> Notes:
    """What we noted; nothing where that cannot be read."""
    try:
        return msgspec.convert(record.notes if record else {}, Notes)
    except msgspec.ValidationError:
        return Notes()


def plain(notes: Notes) -> dict[str, Any]:
    """The notes as a record keeps them."""
    found: dict[str, Any] = msgspec.to_builtins(notes)
    return found


def session_of(handle: str) -> str:
    """The session of an attempt: its handle, where that is the UUID which the CLI asks for."""
    try:
        return str(uuid.UUID(handle))
    except ValueError:
        return str(uuid.uuid5(_SESSIONS, handle))


def is_session(text: str) -> bool:
    """Whether a text can name a conversation. Whoever hands a task in chooses it, and another could be an option."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def turns_of(work: Work, notes: Notes) -> list[Turn]:
    """The conversations to try, best first: our own, if it was begun; a branch of the earlier one; a new one."""
    again = [Turn(notes.session, again=True)] if work.resume or notes.begun else []
    branch = [Turn(notes.session, earlier=work.earlier)] if is_session(work.earlier) else []
    return [*again, *branch, Turn(notes.session)]


def next_turn(turns: list[Turn], tried: list[Turn], story: Story, ended: Ended) -> Turn | None:
    """What to try after a run that did nothing because its conversation was not as we knew it; None after any other."""
    if has_begun(story, ended):
        other = [Turn(tried[-1].session, again=True)]
    else:
        other = turns if knows_not(story, ended) else []
    return next((turn for turn in other if turn not in tried), None)


def life_sign(story: Story, silent_s: float) -> str:
    """What goes on while nothing is heard: a tool may run for long, and a model may think."""
    since = f"{silent_s / 60:.0f} min" if silent_s >= 100 else f"{silent_s:.0f} s"
    return (
        f"still running: {'; '.join(story.open.values())} ({since})"
        if story.open
        else f"waiting for the model ({since})"
    )


class Attempt:
    """One attempt that is carried here."""

    def __init__(self, work: Work, notes: Notes, stop: Stop, tell: Tell, records: Records) -> None:
        self.work = work
        self.notes = notes
        self.stop = stop
        self.story = Story()
        self._tell = tell
        self._records = records
        self._told = 0
        self._untold: list[str] = []
        self._news = asyncio.Event()
        self._heard_at = asyncio.get_running_loop().time()

    def note(self, **known: Any) -> None:
        """Make durable what a later process must know; raises OSError."""
        self.notes = replace(self.notes, **known)
        self._records.write(
            Record(self.work.handle, self.work.key, self.work.task_id, "running", notes=plain(self.notes))
        )

    def remember(self, **known: Any) -> None:
        """Note what is of use and not needed: the marker on record finds a run without it."""
        with contextlib.suppress(OSError):
            self.note(**known)

    def anew(self) -> None:
        """Forget the story of a run before."""
        self.story = Story()
        self._heard_at = asyncio.get_running_loop().time()

    async def hear(self, line: bytes) -> bool:
        """Take one line of the run; whether the run is complete with it."""
        self._heard_at = asyncio.get_running_loop().time()
        if event := event_of(line):
            self.story, words = hear(self.story, event)
            if self.story.begun and not self.notes.begun:
                self.remember(begun=True)
            if words:
                self._say(words)
        return self.story.result is not None

    def over(self) -> None:
        """Note that nothing of a run is left, and what its session has cost."""
        total = total_of(self.story)
        self.remember(process=None, marker="", total_usd=self.notes.total_usd if total is None else total)

    @contextlib.asynccontextmanager
    async def telling(self, life_sign_s: float) -> AsyncIterator[None]:
        """Tell what is heard, and from time to time that it goes on: the daemon ends what says nothing."""
        telling = asyncio.create_task(self._tell_on(life_sign_s))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_on(self, life_sign_s: float) -> None:
        words: list[str] = []
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(REPEAT_S, life_sign_s) if words else life_sign_s)
            self._news.clear()
            words, self._untold = self._untold, []
            silent_s = asyncio.get_running_loop().time() - self._heard_at
            self._told += 1
            await self._tell(float(self._told), None, brief("; ".join(words)) or life_sign(self.story, silent_s))
            await asyncio.sleep(TELL_EVERY_S)

    def _say(self, words: str) -> None:
        self._untold.append(words)
        self._news.set()
