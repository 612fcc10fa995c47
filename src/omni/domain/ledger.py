"""What model calls cost, and may yet cost: the fold of all call events, whatever stream they stand in.

Theory of operation. A call is reserved before it is made and settled after; between the two its estimate counts as if
it were spent.

    reserved ──settled──► booked under tier, channel and model, on the day of the reservation

Three kinds of money are kept apart: *billed* is what somebody charges, *imputed* what a free call would have cost, and
*kept* are estimates that stand for a bill which nobody knows. Billed and kept count against the caps. A paid call whose
bill is not known is counted as unknown; a price is never invented. Days beyond KEEP_DAYS leave memory, not the log.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from omni.domain import events as ev
from omni.domain.values import Millis
from omni.domain.verdict import Verdict

KEEP_DAYS = 62
DAY_MS = 86_400_000
CALL_EVENTS = frozenset({ev.CallReserved, ev.CallSettled, ev.CallRefused})
# Turned away before any model was asked, so that nothing can have been charged, whether or not the answer says so.
NOT_BILLED = frozenset(
    {
        Verdict.REFUSED,
        Verdict.NO_ROUTE,
        Verdict.SERVER_ERROR,
        Verdict.RATE_LIMITED,
        Verdict.OUT_OF_CREDIT,
        Verdict.KEY_REJECTED,
        Verdict.CALLER_ERROR,
        Verdict.MISCONFIGURED,
    }
)

Where: TypeAlias = tuple[str, str, str]  # tier, channel, model


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One call that has not been settled; `day` counts days since the epoch, by the owner's midnight."""

    call: str
    day: int
    tier: str
    channel: str
    model: str
    task_id: str = ""
    n: int = 0
    paid: bool = False
    estimate_usd: float | None = None

    @property
    def charge_usd(self) -> float:
        """What counts against the caps while the bill is not known."""
        return (self.estimate_usd or 0.0) if self.paid else 0.0


class Booking(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One day's settled calls of one tier, channel and model."""

    day: int
    tier: str
    channel: str
    model: str
    calls: int = 0
    billed_usd: float = 0.0
    imputed_usd: float = 0.0
    kept_usd: float = 0.0
    unknown: int = 0

    @property
    def spent_usd(self) -> float:
        """What counts against the caps."""
        return self.billed_usd + self.kept_usd


class LedgerSnapshot(msgspec.Struct, frozen=True):
    """Everything a ledger holds; `version` counts the events of the stream `calls`."""

    open: tuple[Reservation, ...] = ()
    booked: tuple[Booking, ...] = ()
    newest: int = 0
    version: int = 0
    refused: tuple[tuple[str, str, int], ...] = ()


class Ledger:
    """Mutable, part of the board."""

    def __init__(self) -> None:
        self.open: dict[str, Reservation] = {}
        self.days: dict[int, dict[Where, Booking]] = {}
        self.newest = 0  # the day on which a call was reserved last
        self.version = 0
        self.refused: dict[tuple[str, str], int] = {}  # client and cap → the last day on which that was written down
        self._news = True  # something changed since it was last asked

    def take_news(self) -> bool:
        """Whether anything changed since the last call."""
        news, self._news = self._news, False
        return news

    def evolve(self, stream: str, event: ev.CallEvent, at: Millis, utc_offset_ms: int) -> None:
        """Apply one call event; `stream` says whose call it is. Of refusals those of clients are kept."""
        if isinstance(event, ev.CallReserved):
            self._reserve(stream, event, day_of(at, utc_offset_ms))
        elif isinstance(event, ev.CallSettled):
            self._settle(event)
        elif stream == ev.CALLS_STREAM and event.capped is not None:
            self.refused[event.client, event.cap] = event.capped.day
        self._news = True
        if stream == ev.CALLS_STREAM:
            self.version += 1

    def spent(self, day: int, name: str = "", *, instead_of: str = "", reserved: bool = True) -> float:
        """What a day's calls count against the caps: all of them, or those of one tier or channel.

        `instead_of` leaves one open call out; without `reserved` only what has been settled counts.
        """
        booked = (b.spent_usd for b in self.days.get(day, {}).values() if not name or name in (b.tier, b.channel))
        if not reserved:
            return sum(booked)
        waiting = (r for r in self.open.values() if r.day == day and r.call != instead_of)
        return sum(booked) + sum(r.charge_usd for r in waiting if not name or name in (r.tier, r.channel))

    def reserved_for(self, task_id: str, *, instead_of: str = "") -> float:
        """What the open calls of one task may yet cost."""
        return sum(r.charge_usd for r in self.open.values() if r.task_id == task_id and r.call != instead_of)

    def total(self, day: int) -> Booking:
        """All bookings of one day together."""
        total = Booking(day, "", "", "")
        for booking in self.days.get(day, {}).values():
            total = _plus(total, booking)
        return total

    def snapshot(self) -> LedgerSnapshot:
        """What has to be saved so that `restore` gives an equal ledger."""
        booked = tuple(booking for day in self.days.values() for booking in day.values())
        refused = tuple((client, cap, day) for (client, cap), day in self.refused.items())
        return LedgerSnapshot(tuple(self.open.values()), booked, self.newest, self.version, refused)

    def _reserve(self, stream: str, event: ev.CallReserved, day: int) -> None:
        task_id = "" if stream == ev.CALLS_STREAM else stream.removeprefix(ev.TASK_PREFIX)
        tier, channel, model = event.tier, event.channel, event.model
        self.open[event.call] = Reservation(
            event.call, day, tier, channel, model, task_id, event.n, event.paid, event.estimate_usd
        )
        self.newest = day  # also where it is behind the last one: then the clock was set back
        for old in [d for d in self.days if d <= self.newest - KEEP_DAYS]:
            del self.days[old]

    def _settle(self, event: ev.CallSettled) -> None:
        call = self.open.pop(event.call, None)
        if call is None or call.day <= self.newest - KEEP_DAYS:
            return
        where = (call.tier, call.channel, event.model or call.model)
        day = self.days.setdefault(call.day, {})
        day[where] = _plus(day.get(where) or Booking(call.day, *where), booking(call, event))


def restore(snapshot: LedgerSnapshot) -> Ledger:
    """Build the ledger that `snapshot` was taken of."""
    ledger = Ledger()
    ledger.open = {each.call: each for each in snapshot.open}
    for each in snapshot.booked:
        ledger.days.setdefault(each.day, {})[each.tier, each.channel, each.model] = each
    ledger.newest, ledger.version = snapshot.newest, snapshot.version
    ledger.refused = {(client, cap): day for client, cap, day in snapshot.refused}
    return ledger


def booking(call: Reservation, settled: ev.CallSettled) -> Booking:
    """What one settled call comes to."""
    return Booking(
        call.day,
        call.tier,
        call.channel,
        settled.model or call.model,
        1,
        settled.billed_usd or 0.0,
        settled.imputed_usd or 0.0,
        settled.kept_usd,
        int(is_unknown(call, settled)),
    )


def is_unknown(call: Reservation, settled: ev.CallSettled) -> bool:
    """Whether the call may have been charged, and nobody can say how much."""
    return call.paid and settled.billed_usd is None and settled.verdict not in NOT_BILLED


def day_of(at: Millis, utc_offset_ms: int) -> int:
    """The day since the epoch that a moment belongs to, by the owner's midnight."""
    return (at + utc_offset_ms) // DAY_MS


def day_ends(day: int, utc_offset_ms: int) -> Millis:
    """When the next day begins."""
    return (day + 1) * DAY_MS - utc_offset_ms


def _plus(one: Booking, other: Booking) -> Booking:
    return replace(
        one,
        calls=one.calls + other.calls,
        billed_usd=one.billed_usd + other.billed_usd,
        imputed_usd=one.imputed_usd + other.imputed_usd,
        kept_usd=one.kept_usd + other.kept_usd,
        unknown=one.unknown + other.unknown,
    )
