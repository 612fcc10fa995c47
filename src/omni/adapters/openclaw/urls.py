"""One place under two schemes: a gateway's WebSocket and the pages beside it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

_PAGES = {"ws": "http", "wss": "https"}
_SOCKETS = {"http": "ws", "https": "wss"}


def as_socket(url: str) -> str:
    """The WebSocket's address, also where people wrote the page's."""
    return _with_scheme(url, _SOCKETS)


def page(url: str, path: str) -> str:
    """A page of the server behind a WebSocket's address."""
    parts = urlsplit(_with_scheme(url, _PAGES))
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; a WebSocket's are those of its pages."""
    parts = urlsplit(_with_scheme(url, _PAGES))
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _with_scheme(url: str, table: dict[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=table.get(parts.scheme, parts.scheme)))
