"""Which host names and origins are ours, and what a proxy on this machine may say of a visitor.

`tailscale serve` adds headers that name the person at the other end. Any process on this machine can send the same
headers, so they are a label for the record: the token is wanted all the same, and no rule reads the label.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
_VISITOR = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9.-]{1,100}")
_SAID_BY: Final = " via tailscale:"

# Set at the gate for each request, for what lies behind a library that passes no request on.
visitor: ContextVar[str] = ContextVar("visitor", default="")


class Names:
    """The host names and origins that are ours, once we know our port."""

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        self._host = host.lower()
        self.allow(allowed)
        self._wildcard = host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound
        self._port = 0
        self._names = frozenset({*_LOCAL_NAMES, _bracketed(self._host), socket.gethostname().lower()})
        if not self._wildcard:
            self._names = frozenset({*_LOCAL_NAMES, _bracketed(self._host)})

    def allow(self, allowed: Iterable[str]) -> None:
        """The names that the owner allows, from now on."""
        self._allowed = frozenset(each.lower() for each in allowed)

    def listens_on(self, port: int) -> None:
        """Our port, known when the socket is bound."""
        self._port = port

    def knows_host(self, value: str) -> bool:
        """Whether a Host header means us."""
        match = _HOST.fullmatch(value.lower())
        if match is None:
            return False
        name, port = match[1], int(match[2] or 80)
        if self.is_allowed(value):
            return True
        if self._wildcard and _is_address(name):  # an address cannot be rebound; a mapped port may differ from ours
            return True
        return name in self._names and port == self._port

    def is_allowed(self, value: str) -> bool:
        """Whether the configuration names this Host, with this port or with none: proxies have ports of their own."""
        value = value.lower()
        return value in self._allowed or value.partition(":")[0] in self._allowed

    def knows_origin(self, value: str, own: str) -> bool:
        """Whether an Origin header means a page that we served ourselves; `own` is the request's Host.

        Behind a wildcard any address is ours as a Host, but a page from another address is another's. So it is with
        a name that leads here by a proxy, which may speak TLS for us.
        """
        scheme, separator, host = value.partition("://")
        by_proxy = self.is_allowed(own) or self.is_allowed(host)
        ours = scheme in (("http", "https") if by_proxy else ("http",)) and bool(separator) and self.knows_host(host)
        return ours and (not (self._wildcard or by_proxy) or host.lower() == own.lower())


def visitor_of(given: list[str]) -> str:
    """The login that a proxy names, when it is exactly one and looks like one; else empty."""
    return given[0] if len(given) == 1 and _VISITOR.fullmatch(given[0]) else ""


def labelled(client: str, name: str) -> str:
    """A client as the log names it: with the visitor that a proxy told of, and with none that it names itself."""
    client = client.replace(_SAID_BY, " via tailscale=")  # what is left of it makes no new one with what stands around
    return f"{client}{_SAID_BY}{name}" if name else client


def unlabelled(client: str) -> str:
    """A client without the visitor, for rules: a label decides nothing."""
    return client.partition(_SAID_BY)[0]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
