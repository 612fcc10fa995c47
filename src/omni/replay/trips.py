"""Model calls on their way over several hops: which of them had to leave the proxy, and how long that took.

    reserved on the proxy ──▶ the proxy is not there ──▶ reserved elsewhere ──▶ … ──▶ ok: moved
                                                                              └──▶ nothing more: unanswered

A hop is named by its call and a number. Other reasons to go on to another hop (a limit, an error of the model's) are
no failover; what a drill made up is none either.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from omni.domain import events as ev
from omni.domain.drill import MARK
from omni.domain.values import PROXY, Millis
from omni.domain.verdict import MEANING, Meaning, Verdict

REMEMBERED = 1_000  # calls that have failed so far and not gone on; older ones will not


class _Trip(msgspec.Struct):
    """One call: when it first was reserved, where it is, and whether it has lost the proxy on its way."""

    began: Millis
    hop: str
    reserved: Millis
    channel: str
    lost: bool = False
    open: bool = True


class Trips:
    """All calls that have not ended. `unanswered` counts those since a moment that nobody answered in the end."""

    def __init__(self, since: Millis) -> None:
        self._since = since
        self._trips: OrderedDict[str, _Trip] = OrderedDict()
        self._unanswered = 0

    def reserved(self, event: ev.CallReserved, at: Millis) -> None:
        """A call begins, or goes on to its next hop."""
        name = _name(event.call)
        known = self._trips.get(name)
        if known is None:
            self._trips[name] = _Trip(at, event.call, at, event.channel)
        else:
            known.hop, known.reserved, known.channel, known.open = event.call, at, event.channel, True

    def settled(self, event: ev.CallSettled) -> int | None:
        """A hop is over; how long the call took to be answered elsewhere than by the proxy it lost, if that was it."""
        name = _name(event.call)
        trip = self._trips.get(name)
        if trip is None or trip.hop != event.call:
            return None
        trip.open = False
        meaning = _MEANING.get(event.verdict)
        if meaning is None or not meaning.elsewhere:
            del self._trips[name]
            return _moved_ms(trip, event)
        gone = trip.channel == PROXY and meaning.alive is False
        trip.lost = trip.lost or (gone and not event.detail.startswith(MARK))
        self._trips.move_to_end(name)
        if len(self._trips) > REMEMBERED:
            self._unanswered += self._is_lost(self._trips.popitem(last=False)[1])
        return None

    @property
    def unanswered(self) -> int:
        """Calls that lost the proxy and were tried nowhere else, or nowhere with success."""
        return self._unanswered + sum(self._is_lost(trip) for trip in self._trips.values())

    def _is_lost(self, trip: _Trip) -> bool:
        return trip.lost and not trip.open and trip.began >= self._since


_MEANING: dict[str, Meaning] = {str(verdict): meaning for verdict, meaning in MEANING.items()}  # an old log has others


def _name(call: str) -> str:
    """The call that a hop belongs to."""
    return call.rpartition("/")[0] or call


def _moved_ms(trip: _Trip, event: ev.CallSettled) -> int | None:
    if not trip.lost or event.verdict != Verdict.OK:
        return None
    answer_ms = event.duration_ms if event.first_byte_ms is None else event.first_byte_ms
    return trip.reserved - trip.began + answer_ms
