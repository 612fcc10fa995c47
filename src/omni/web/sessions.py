"""Who has logged in with a browser, and the links by which they may.

A session is known by a *name*: a code that only the present token makes from the secret in the browser's cookie. So a
new token voids every session and link by itself, and the file that carries sessions over a restart lets nobody in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from pathlib import Path

import msgspec
import structlog

from omni.domain.values import Millis
from omni.drafts import replace_private
from omni.runtime.ports import Clock
from omni.server.tokens import TokenFile

log = structlog.get_logger()

SECRET_BYTES = 32
LINK_S = 60
OPEN_LINKS = 8
SESSION_S = 7 * 86_400
MOST_SESSIONS = 16  # the one that began first makes room


class _Kept(msgspec.Struct):
    """The file: sessions by name, with the wall-clock time when each ends; `mark` is the token's."""

    mark: str
    ends_ms: dict[str, Millis]


class Links:
    """One-time codes, each good for one login within a minute."""

    def __init__(self, tokens: TokenFile, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._until_ms: dict[str, Millis] = {}

    def make(self) -> str:
        """A new code; the oldest of too many is void."""
        code = secrets.token_urlsafe(SECRET_BYTES)
        while len(self._until_ms) >= OPEN_LINKS:
            del self._until_ms[next(iter(self._until_ms))]
        self._until_ms[self._name(code)] = self._clock.mono_ms() + LINK_S * 1000
        return code

    def use(self, code: str) -> bool:
        """Whether the code is good; it never is again."""
        until = self._until_ms.pop(self._name(code), None)
        return until is not None and self._clock.mono_ms() < until

    def _name(self, code: str) -> str:
        return self._tokens.seal(f"link {code}") or secrets.token_hex()  # without a token no code is any good


class Sessions:
    """Sessions of browsers, a bounded number, in memory and in a file. All methods run on the loop."""

    def __init__(self, tokens: TokenFile, clock: Clock, file: Path) -> None:
        self._tokens = tokens
        self._clock = clock
        self._file = file
        self._writing = asyncio.Lock()
        self._mark = tokens.seal("sessions")
        self._ends_ms = self._read()

    async def begin(self) -> str:
        """A new session; the secret that its cookie carries."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._drop_void()
        while len(self._ends_ms) >= MOST_SESSIONS:
            del self._ends_ms[next(iter(self._ends_ms))]
        self._ends_ms[self._sealed(secret)] = self._clock.wall_ms() + SESSION_S * 1000
        await self._keep()
        return secret

    async def end(self, name: str) -> None:
        """Void a session for good."""
        if self._ends_ms.pop(name, None) is not None:
            await self._keep()

    def named(self, secret: str) -> str:
        """The name of the session that a cookie's secret stands for; empty when there is none, or no more."""
        name = self._sealed(secret)
        return name if self.holds(name) else ""

    def holds(self, name: str) -> bool:
        """Whether a session of that name is under way, by the token of now."""
        return self._tokens.seal("sessions") == self._mark != "" and self._clock.wall_ms() < self._ends_ms.get(name, 0)

    def csrf(self, name: str) -> str:
        """What the forms of a session must carry; the same after a restart, so that open pages go on working."""
        return self._tokens.seal(f"csrf {name}") if name else ""

    def _sealed(self, secret: str) -> str:
        return self._tokens.seal(f"session {secret}")

    def _drop_void(self) -> None:
        mark, now = self._tokens.seal("sessions"), self._clock.wall_ms()
        kept = self._ends_ms if hmac.compare_digest(mark, self._mark) else {}
        self._mark = mark
        self._ends_ms = {name: ends for name, ends in kept.items() if now < ends}

    def _read(self) -> dict[str, Millis]:
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except (OSError, ValueError, RecursionError, msgspec.DecodeError):  # none yet, or damaged: people log in again
            return {}
        return kept.ends_ms if kept.mark and kept.mark == self._mark else {}

    async def _keep(self) -> None:
        async with self._writing:
            content = msgspec.json.encode(_Kept(self._mark, self._ends_ms)).decode()
            try:
                await asyncio.to_thread(replace_private, self._file, content)
            except OSError as error:  # a full disk must not lock the owner out; only a restart forgets the sessions
                log.warning("sessions.not_kept", file=str(self._file), error=str(error))
                with contextlib.suppress(OSError):  # what it holds may be void since
                    self._file.unlink(missing_ok=True)
