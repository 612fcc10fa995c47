"""Bounds on what clients may do to the door: how many and how often."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

MINUTE_S = 60.0
MAX_ADDRESSES = 10_000  # remembered at a time; beyond that the oldest are forgotten


def normalised(host: str) -> str:
    """One name for one address: an IPv4 address that is written as IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower()
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class PerMinute:
    """Counts events by name in windows of a minute."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self.limit = limit
        self._now = now
        self._counts: dict[str, tuple[float, int]] = {}
        self.total = 0  # since the process began
        self.beyond = 0  # turned away because the limit was reached, in the same time

    def count(self, name: str) -> int:
        """How many there were in this name's window."""
        began, count = self._counts.get(name, (0.0, 0))
        return count if count and self._now() - began < MINUTE_S else 0

    def add(self, name: str) -> None:
        """One more."""
        self.total += 1
        count = self.count(name)
        began = self._counts[name][0] if count else self._now()
        if name not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            del self._counts[next(iter(self._counts))]
        self._counts[name] = (began, count + 1)

    def exceeded(self, name: str) -> bool:
        """Whether the limit is reached."""
        return self.count(name) >= self.limit


class RequestRate:
    """One client's requests a minute, shared by its connections."""

    __slots__ = ("_began", "_count", "_limit", "_now")

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._began = now()
        self._count = 0

    def go_by(self, limit: int) -> None:
        """Another limit, for this minute already."""
        self._limit = limit

    def allows(self) -> bool:
        """Count one request; whether it is within the limit."""
        self._count += 1
        if self._count <= self._limit:
            return True
        if self._now() - self._began < MINUTE_S:
            return False
        self._began, self._count = self._now(), 1
        return True


class RequestRates:
    """The rate of each client address."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._rates: dict[str, RequestRate] = {}

    def go_by(self, limit: int) -> None:
        """Another limit for all, for this minute already; connections hold their rates."""
        self._limit = limit
        for rate in self._rates.values():
            rate.go_by(limit)

    def of(self, address: str) -> RequestRate:
        """The rate that all connections of this address share."""
        rate = self._rates.pop(address, None) or RequestRate(self._limit, self._now)
        self._rates[address] = rate
        if len(self._rates) > MAX_ADDRESSES:
            del self._rates[next(iter(self._rates))]
        return rate
