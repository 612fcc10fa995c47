"""The token file: one secret of 256 bits that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from omni.domain.errors import ConfigError
from omni.drafts import replace_private
from omni.server.rights import Client, Rights, claim, client_of

TOKEN_BYTES = 32
SCRAPE_KEYS = "omni-scrape-"  # how the keys of scrapers begin


class TokenFile:
    """The token as the file has it now; a new token counts from the next look, an unreadable file lets nobody in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._token = b""
        self.generation = 0  # goes up with every change of the token
        make_token(path)
        self._read(path.stat())

    def matches(self, candidate: str) -> bool:
        """Whether this is the token; takes the same time however much of it is right."""
        self.refresh()
        given = candidate.encode("utf-8", "surrogatepass")
        return bool(self._token) and hmac.compare_digest(given, self._token)

    def seal(self, message: str) -> str:
        """A code over the message that only this token makes: a new token voids it. Empty while there is no token."""
        self.refresh()
        return hmac.digest(self._token, message.encode(), "sha256").hex() if self._token else ""

    def opens_metrics(self, candidate: str) -> bool:
        """Whether this is the key of a scraper: it opens /metrics and nothing else, and ends with the token."""
        given = candidate.encode("utf-8", "surrogatepass")
        return bool(key := self.scrape_key()) and hmac.compare_digest(given, key.encode())

    def scrape_key(self) -> str:
        """The key of a scraper; always the same for the same token, empty while there is none."""
        seal = self.seal("scrape")
        return f"{SCRAPE_KEYS}{seal}" if seal else ""

    def scoped_key(self, name: str, given: Rights) -> str:
        """A client's key, for less than the token opens; always the same for one token. Raises ConfigError."""
        said = claim(name, given)
        return f"{said}-{seal}" if (seal := self.seal(said)) else ""

    def client(self, candidate: str) -> Client | None:
        """Whom a key of ours is for; None for any other."""
        found = client_of(candidate)
        if found is None or not (key := self.scoped_key(found.name, found.rights)):
            return None
        return found if hmac.compare_digest(candidate.encode(), key.encode()) else None

    def refresh(self) -> None:
        """Look at the file again."""
        before = self._token
        try:
            status = self.path.stat()
            if _marks(status) != self._seen:
                self._read(status)
        except (OSError, ConfigError):
            self._seen, self._token = None, b""
        self.generation += before != self._token

    def _read(self, status: os.stat_result) -> None:
        self._token = _checked(self.path, status)
        self._seen = _marks(status)


def _marks(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode


def read_token(path: Path) -> str:
    """The token in a file. Raises ConfigError when it is missing, empty, or open to others."""
    try:
        return _checked(path, path.stat()).decode()
    except FileNotFoundError:
        hint = "start the daemon once with `omni serve`: it makes the token"
        raise ConfigError(f"there is no token file at {path}", hint=hint) from None


def make_token(path: Path) -> None:
    """Write a new token unless there is one; a process that dies over it leaves none, never half of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        rotate_token(path)


def rotate_token(path: Path) -> str:
    """Replace the token in one step; a running daemon takes the new one at once."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    replace_private(path, token + "\n")
    return token


def _checked(path: Path, status: os.stat_result) -> bytes:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(
            f"the token file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}, then `omni token rotate`",
        )
    token = path.read_bytes().strip()
    if len(token) < TOKEN_BYTES:
        raise ConfigError(f"the token file {path} holds no usable token", hint="omni token rotate")
    return token
