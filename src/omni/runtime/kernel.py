"""One turn of an actor: decide, evolve, append, and only then let anything out.

Theory of operation. A turn takes the messages that wait in the mailbox. Each is decided and its events are applied to
the state at once, so that the next message sees them. All events of the turn go to the log in one transaction, which
is one fsync: group commit under load, low latency without. Messages to others leave after the commit.

    for each message:  events, sends = handle(state, envelope);  evolve(state, events);  then settle, until it is quiet
    append all events                       fails: the state is thrown away and read again; nothing has left
    send: announce(touched), then sends

While it decides, a turn holds the log's writer, so that positions are known before the append. Behaviours without a
stream (Gateway, ExecutorPool) keep only what can be rebuilt, and take no part in the log.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from omni.domain.board import Fact
from omni.domain.commands import Envelope, Refusal
from omni.domain.effects import Outcome, Send
from omni.domain.values import Millis
from omni.eventlog.snapshots import Snapshots, fingerprint
from omni.eventlog.store import Entry, EventStore
from omni.runtime.ports import Clock

log = structlog.get_logger()
S = TypeVar("S")

SNAPSHOT_EVERY = 20_000  # events; a cold fold of as many takes some 20 ms
SETTLE_LIMIT = 100_000  # steps that one message may lead to; more is a rule that never comes to rest
_encode = msgspec.json.Encoder().encode


class Behaviour(Protocol[S]):
    """What an actor means. `handle` and `settle` change nothing in a durable state; `evolve` alone does."""

    name: str
    prefixes: tuple[str, ...]
    shape: type[msgspec.Struct] | None  # of its snapshots; None where replay is cheap enough

    def initial(self) -> S:
        """The state before any event."""

    def handle(self, state: S, envelope: Envelope) -> Outcome:
        """Choose what one message leads to."""

    def settle(self, state: S, envelope: Envelope) -> Outcome:
        """Take the next step that follows from the state alone; nothing when it is at rest."""

    def evolve(self, state: S, stream: str, event: Any, at: Millis, position: int) -> None:
        """Apply one recorded event."""

    def fold(self, state: S, facts: Iterable[Fact]) -> None:
        """Apply many recorded events; what `evolve` does one by one."""

    def version(self, state: S, stream: str) -> int:
        """How many events of `stream` the state has seen."""

    def announce(self, state: S, touched: Sequence[str]) -> Sequence[Send]:
        """Tell others what changed in this turn; `touched` streams in order."""

    def owed(self, state: S, boot: str) -> Sequence[Send]:
        """What must be said again after the state was read from the log in the running process `boot`."""

    def refuse(self, message: Any, refusal: Refusal) -> Sequence[Send]:
        """Answer a request that could not be processed; nothing for a message that nobody waits on."""

    def dump(self, state: S) -> Any:
        """A snapshot of the state, of type `shape`."""

    def load(self, snapshot: Any) -> S:
        """The state that `dump` was given."""


class Kernel(Generic[S]):
    """Runs one behaviour over one store, in whatever thread calls it; never two at a time."""

    def __init__(
        self, behaviour: Behaviour[S], store: EventStore | None, clock: Clock, snapshots: Snapshots | None = None
    ) -> None:
        self.behaviour = behaviour
        self.store = store if behaviour.prefixes else None
        self.clock = clock
        self.snapshots = snapshots if behaviour.shape else None
        self._fingerprint = fingerprint(behaviour.shape)
        self.state = behaviour.initial()
        self.position = 0  # of the last event of ours that the state has seen
        self._saved_at = 0
        self._ids = itertools.count(1)

    def refold(self) -> None:
        """Throw the state away and read it from the log: snapshot first, then what came after it."""
        self.state = self.behaviour.initial()
        self.position = self._saved_at = 0
        if self.store is None:
            return
        self._load_snapshot()
        self.behaviour.fold(self.state, self._recorded())

    def turn(self, batch: Sequence[tuple[str, Any]]) -> list[Send]:
        """Process (sender, message) pairs; return what to send, in order, now that it is durable."""
        turn = _Turn(self)
        with self.store.exclusive() if self.store else nullcontext():
            turn.run(batch)
            if turn.entries and self.store:
                self.store.append(turn.entries)
        return turn.sends()

    def owed(self) -> list[Send]:
        """What to say again after `refold`."""
        return list(self.behaviour.owed(self.state, self.store.boot if self.store else ""))

    def snapshot_due(self) -> bool:
        """Whether enough has happened since the last snapshot."""
        return self.snapshots is not None and self.position - self._saved_at >= SNAPSHOT_EVERY

    def save_snapshot(self) -> None:
        """Write the state down as a cache for the next start; a failure costs only time."""
        if self.snapshots is None or self.store is None or not self.position:
            return
        self._saved_at = self.position  # also when it fails: the next try comes after as many events again
        try:
            head = self.store.head
            payload = msgspec.msgpack.encode(self.behaviour.dump(self.state))
            self.snapshots.save(self.behaviour.name, head.position, head.hash, self._fingerprint, payload)
        except Exception as error:  # it is a cache: whatever fails, costs only time
            log.warning("snapshot.failed", actor=self.behaviour.name, error=repr(error))

    def next_id(self) -> str:
        """Name a message; with the boot id of its row it is unique for good."""
        return f"{self.behaviour.name}:{next(self._ids)}"

    def _recorded(self) -> Iterator[Fact]:
        assert self.store is not None
        for fact in self.store.facts(self.position, self.behaviour.prefixes):
            self.position = fact[0]
            yield fact

    def _load_snapshot(self) -> None:
        if self.snapshots is None or self.store is None:
            return
        snapshot = self.snapshots.load(self.behaviour.name, self._fingerprint)
        if snapshot is None or self.store.hash_at(snapshot.position) != snapshot.hash:
            return
        self.state = self.behaviour.load(msgspec.msgpack.decode(snapshot.payload, type=self.behaviour.shape))
        self.position = self._saved_at = snapshot.position


class _Turn:
    """The books of one turn."""

    def __init__(self, kernel: Kernel[Any]) -> None:
        self.kernel = kernel
        self.behaviour = kernel.behaviour
        self.at, self.mono = kernel.clock.wall_ms(), kernel.clock.mono_ms()
        self.entries: list[Entry] = []
        self.touched: dict[str, None] = {}
        self.outbox: list[Send] = []

    def run(self, batch: Sequence[tuple[str, Any]]) -> None:
        if self.kernel.store:
            self.kernel.position = max(self.kernel.position, self.kernel.store.head.position)
        for sender, message in batch:
            self._one(Envelope(self.kernel.next_id(), self.at, self.mono, sender, message))

    def sends(self) -> list[Send]:
        if self.touched:
            return [*self.behaviour.announce(self.kernel.state, list(self.touched)), *self.outbox]
        return self.outbox

    def _one(self, envelope: Envelope) -> None:
        try:
            outcome = self.behaviour.handle(self.kernel.state, envelope)
        except Exception as error:
            # `handle` changes nothing, so one message that cannot be decided costs only itself.
            log.exception("message.rejected", actor=self.behaviour.name, message=type(envelope.message).__name__)
            refusal = Refusal("internal", f"Omni failed on this request: {error!r}", "omni logs --level error")
            self.outbox += self.behaviour.refuse(envelope.message, refusal)
            return
        self._apply(outcome, envelope, _input(envelope) if outcome.events else None)
        for _ in range(SETTLE_LIMIT):
            step = self.behaviour.settle(self.kernel.state, envelope)
            if not step.events and not step.sends:
                return
            self._apply(step, envelope, None)
        raise AssertionError(f"{self.behaviour.name} does not come to rest after {type(envelope.message).__name__}")

    def _apply(self, outcome: Outcome, envelope: Envelope, cause: bytes | None) -> None:
        kernel, behaviour = self.kernel, self.behaviour
        for stream, event in outcome.events:
            version = behaviour.version(kernel.state, stream) + 1
            kernel.position += 1
            behaviour.evolve(kernel.state, stream, event, self.at, kernel.position)
            self.entries.append(Entry(stream, version, event, self.at, self.mono, behaviour.name, envelope.id, cause))
            self.touched[stream] = None
            cause = None  # the input stands on the first event of its decision only
        self.outbox += outcome.sends


def _input(envelope: Envelope) -> bytes:
    return _encode({"from": envelope.sender, "message": envelope.message})
