"""The one Pykka shell: a thread that gives its kernel what waits in the mailbox. Meaning lives elsewhere.

Theory of operation. Messages wait in a deque of our own and Pykka's inbox carries only wake-ups: emptying Pykka's
queue one by one is slower and reads its internals. The mailbox outlives the actor: when a turn fails, its messages go
back to the front, the supervisor starts a new shell on the same mailbox, and that shell takes them one at a time. So
a message that cannot be processed is found out and dropped with an answer, while its neighbours go through.

    turn fails because        then
    the disk takes no more    memory is read again; requests are refused, reports wait for space (`storage`)
    the commit's outcome is   memory is read again, which tells; what was in hand is decided again, and who heard it
      unknown                 before ignores it
    anything else             the actor dies, the supervisor starts it anew
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pykka
import structlog

from omni.domain.commands import Refusal, TimerFired, WakeAt
from omni.domain.effects import Send
from omni.domain.errors import EventLogError, LogUnavailable, VersionConflict
from omni.eventlog.store import BadEvent, OutcomeUnknown
from omni.runtime.kernel import Kernel
from omni.runtime.post import Post

log = structlog.get_logger()

DRAIN = 256  # messages a turn: more gains nothing and makes the first one wait
STORAGE_RETRY_MS = 1_000
LAST_TURNS = 64  # at the end; what is left then is owed at the next start
STORAGE = "storage"  # the key of the timer that tries the disk again
_WAKE = object()


class Mailbox:
    """What waits for one actor. Written by any thread, emptied by one."""

    def __init__(self) -> None:
        self.queue: deque[tuple[str, Any]] = deque()
        self.doubtful: list[tuple[str, Any]] = []  # decided in a turn whose commit nobody knows: they go first
        self.suspects = 0  # so many messages at the front were in a turn that failed: take them one at a time
        self.ref: pykka.ActorRef[Any] | None = None
        self._awake = False

    def deliver(self, sender: str, messages: Sequence[Any]) -> None:
        """Add messages and see that the actor looks. Append first, test second: no wake-up is lost."""
        self.queue.extend((sender, m) for m in messages)
        if not self._awake:
            self.wake()

    def wake(self) -> None:
        """Make the actor take a turn soon."""
        self._awake = True
        if self.ref is not None:
            with suppress(pykka.ActorDeadError):  # between death and restart: the successor looks by itself
                self.ref.tell(_WAKE)

    def take(self) -> list[tuple[str, Any]]:
        """The messages of the next turn."""
        if self.doubtful:
            batch, self.doubtful = self.doubtful, []
            return batch
        limit = 1 if self.suspects else DRAIN
        return [self.queue.popleft() for _ in range(min(len(self.queue), limit))]

    def put_back(self, batch: Sequence[tuple[str, Any]]) -> None:
        """Return the messages of a failed turn to the front, in order, to be taken one at a time."""
        self.queue.extendleft(reversed(batch))
        self.suspects = max(self.suspects, len(batch))

    def rest(self) -> bool:
        """Declare the actor idle; true when something came in meanwhile and it must look again."""
        self._awake = False
        return bool(self.queue or self.doubtful)


class Shell(pykka.ThreadingActor):
    """Runs a kernel's turns in a thread of its own and posts what they lead to."""

    use_daemon_thread = True

    def __init__(
        self, kernel: Kernel[Any], mailbox: Mailbox, post: Post, on_death: Callable[[str, BaseException], None]
    ) -> None:
        super().__init__()
        self._kernel = kernel
        self._mailbox = mailbox
        self._post = post
        self._on_death = on_death
        self._name = kernel.behaviour.name
        self._batch: list[tuple[str, Any]] = []
        self._storage_failed_at = -STORAGE_RETRY_MS
        self._refusal = Refusal("storage_unavailable", "")

    def on_start(self) -> None:
        """Adopt the mailbox and whatever waits in it."""
        threading.current_thread().name = f"omni-{self._name}"
        self._mailbox.ref = self.actor_ref
        if self._mailbox.rest():
            self._mailbox.wake()

    def on_receive(self, message: Any) -> None:
        """Take one turn; look again when more has come, unless the disk takes nothing."""
        go_on = self._hold_back() if self._storage_failed_lately() else self._turn()
        if self._mailbox.rest() and go_on:
            self._mailbox.wake()

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        """Give the batch back and ask the supervisor for a successor."""
        batch, self._batch = self._batch, []
        if self._mailbox.suspects and len(batch) == 1 and not _is_the_logs_fault(exception_value):
            self._drop(batch[0], exception_value)
        else:
            self._mailbox.put_back(batch)
        self._on_death(self._name, exception_value)

    def on_stop(self) -> None:
        """Take what waits, for it may be how work ended; then leave a snapshot, so that the next start is quick."""
        for _ in range(LAST_TURNS):
            if not self._mailbox.rest() or not self._turn():
                break
        self._kernel.save_snapshot()

    def _turn(self) -> bool:
        """Process the next batch; false when the disk does not take it and there is no point in going on at once."""
        self._batch = self._mailbox.take()
        if not self._batch:
            return True
        try:
            sends = self._kernel.turn(self._batch)
        except (LogUnavailable, OutcomeUnknown) as error:
            return self._storage_failed(error)
        self._mailbox.suspects = max(0, self._mailbox.suspects - len(self._batch))
        self._batch = []  # durable: from here on it must not be processed again
        self._send(sends)
        if self._kernel.snapshot_due():
            self._kernel.save_snapshot()
        return True

    def _storage_failed_lately(self) -> bool:
        return self._kernel.clock.mono_ms() - self._storage_failed_at < STORAGE_RETRY_MS

    def _storage_failed(self, error: EventLogError) -> bool:
        """Memory ran ahead of the log, so read it again; then wait a second before the next try."""
        log.error("storage.failed", actor=self._name, error=error.message, hint=error.hint)
        self._kernel.refold()
        self._storage_failed_at = self._kernel.clock.mono_ms()
        self._refusal = Refusal("storage_unavailable", error.message, error.hint)
        batch, self._batch = self._batch, []
        if isinstance(error, OutcomeUnknown):
            self._mailbox.doubtful = batch  # it may be in the log: neither refuse it nor leave it unsaid
            self._send(self._kernel.owed())
        else:
            self._mailbox.queue.extendleft(reversed(batch))
        return self._hold_back()

    def _hold_back(self) -> bool:
        """Refuse all requests that wait, so that nothing is acknowledged; keep reports, so that nothing is lost."""
        self._wake_later()
        queue = self._mailbox.queue
        kept = []
        for sender, message in [queue.popleft() for _ in range(len(queue))]:
            if answer := self._kernel.behaviour.refuse(message, self._refusal):
                self._send(answer)
            elif not isinstance(message, TimerFired) or message.key != STORAGE:
                kept.append((sender, message))
        queue.extendleft(reversed(kept))
        return False

    def _wake_later(self) -> None:
        """Ask for a wake-up after the wait, each time: timers go by the wall clock, so one may have rung too early."""
        waited_ms = self._kernel.clock.mono_ms() - self._storage_failed_at
        at = self._kernel.clock.wall_ms() + STORAGE_RETRY_MS - waited_ms + 50
        self._post.send("timers", self._name, (WakeAt(self._name, at, STORAGE),))

    def _drop(self, suspect: tuple[str, Any], error: BaseException) -> None:
        """Answer a message that fails even alone, and go on without it."""
        log.error("message.dropped", actor=self._name, message=type(suspect[1]).__name__, error=repr(error))
        self._mailbox.suspects = max(0, self._mailbox.suspects - 1)
        refusal = Refusal("internal", f"Omni failed on this request: {error!r}", "omni logs --level error")
        self._send(self._kernel.behaviour.refuse(suspect[1], refusal))

    def _send(self, sends: Sequence[Send]) -> None:
        """Post in order; neighbours for the same receiver go together."""
        i = 0
        while i < len(sends):
            to, j = sends[i].to, i
            while j < len(sends) and sends[j].to == to:
                j += 1
            self._post.send(to, self._name, [s.message for s in sends[i:j]])
            i = j


def _is_the_logs_fault(error: BaseException) -> bool:
    """Whether the log failed and not the message, which is then never dropped."""
    return isinstance(error, EventLogError) and not isinstance(error, BadEvent | VersionConflict)
