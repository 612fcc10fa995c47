"""OpenClaw in Cloudflare's containers (Moltworker): why its gateway cannot be reached, told apart.

A Worker stands before the gateway. Cloudflare Access guards all of it but `/api/status`, and a container that sleeps
takes minutes to start. So a connection that failed says little; with the status it is one of

    cold-starting   the container starts: by its own word, or the handshake hangs; until `connect_s` have passed
    unauthorised    Access or the gateway does not take what we showed
    offline         no connection, no name, a server error, or it starts for longer than it may
    needs pairing   (said by the gateway itself, see `gateway.py`)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from omni.adapters.openclaw.frames import Away, mapping, text_of
from omni.adapters.openclaw.settings import Settings, is_near
from omni.adapters.openclaw.urls import origin
from omni.runtime.ports import Clock

STATUS_S = 8.0  # Moltworker itself looks for its gateway for up to 5 s before it answers
MAX_STATUS_BYTES = 64 * 1024
MAX_WORDS = 160
ANOTHER_START_S = 120.0  # between two looks at the same start lie at most the pauses of a process that comes again
STARTING = frozenset({"starting", "not_running", "not_responding"})
STATES = {
    "cold_starting": "cold-starting",
    "needs_pairing": "needs pairing",
    "unauthorised": "unauthorised",
    "offline": "offline",
}
ACCESS_HEADERS = ("cf-access-client-id", "cf-access-client-secret")

Kind: TypeAlias = Literal["running", "cold_starting", "unauthorised", "offline", "unknown"]


class Status(msgspec.Struct, frozen=True):
    """What `/api/status` amounts to. `unknown` is no answer that says anything."""

    kind: Kind
    words: str = ""


class Patience:
    """Since when it has been starting, kept in a file: a start outlives the process that waits for it."""

    def __init__(self, path: Path, limit_s: float, clock: Clock) -> None:
        self._path = path
        self._limit_s = limit_s
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def spent(self) -> bool:
        """Note that it starts, and say whether it has for too long."""
        now = self._clock.wall_ms() / 1000  # the wall's, because the next process reads it
        began, seen = self._noted()
        if not 0 <= now - seen <= ANOTHER_START_S:
            began = now
        with contextlib.suppress(OSError):  # a full disk must not hide the reason
            self._path.write_text(f"{began} {now}", "ascii")
        return now - began > self._limit_s

    def renew(self) -> None:
        """It is there, or fails in another way: the next start gets all the time again."""
        self._path.unlink(missing_ok=True)

    def _noted(self) -> tuple[float, float]:
        try:
            began, seen = map(float, self._path.read_text("ascii").split())
        except (OSError, ValueError):
            return 0.0, 0.0
        return began, seen


def titled(away: Away) -> str:
    """The words with the state before them, as people see them."""
    state = STATES.get(away.kind)
    return f"{state}: {away.message}" if state else away.message


async def diagnosed(settings: Settings, error: Exception, patience: Patience | None = None) -> Away:
    """Which state a failed connection means; asks the status where the failure itself does not say."""
    away = _turned_away(settings, error) or _judged(settings, error, await asked(settings))
    if patience is None:
        return away
    if away.kind != "cold_starting":
        patience.renew()
        return away
    if not patience.spent():
        return away
    told = f"the gateway at {settings.url} has been starting for more than {settings.connect_s:g} s"
    return Away(f"{told}; look at the Worker's logs (`wrangler tail`)")


async def asked(settings: Settings) -> Status:
    """What the status page says. Redirects are not followed: whoever asks for a login gets no headers of ours."""
    import httpx

    url = settings.status_url
    headers = settings.headers if origin(url) == origin(settings.url) else {}
    try:
        async with (
            asyncio.timeout(STATUS_S),
            httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=not is_near(url), follow_redirects=False
            ) as client,
            client.stream("GET", url, headers={**headers, "Accept": "application/json"}, timeout=STATUS_S) as answer,
        ):
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_STATUS_BYTES:
                    break
            return read_status(answer.status_code, answer.headers.get("content-type", ""), body)
    except (httpx.TimeoutException, TimeoutError):
        return Status("unknown", f"its status gave no answer within {STATUS_S:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Status("offline", reason(error))


def read_status(code: int, kind: str, body: bytes) -> Status:
    """What an answer of the status page means."""
    if code in {401, 403} or 300 <= code < 400 or (code == 200 and "html" in kind):
        return Status("unauthorised", f"its status is closed as well (HTTP {code})")
    if code != 200:
        return Status("offline", f"its status answered HTTP {code}")
    said = _json(body)
    word = text_of(said.get("status"))
    if word == "running" or said.get("ok") is True:
        return Status("running")
    if word in STARTING:
        return Status("cold_starting", word.replace("_", " "))
    words = text_of(said.get("error")) or text_of(said.get("restoreError"))
    return Status("offline", f"its status says {word or 'nothing'}" + (f": {words[:MAX_WORDS]}" if words else ""))


def _turned_away(settings: Settings, error: Exception) -> Away | None:
    """What Cloudflare Access says: 401, 403, or the way to a login page."""
    if not isinstance(error, InvalidStatus):
        return None
    answer = error.response
    login = _login(answer)
    if answer.status_code not in {401, 403} and not login:
        return None
    what = f"sent Omni to a login page{login}" if login else f"answered HTTP {answer.status_code}"
    return Away(f"Cloudflare Access before {settings.url} {what}: {_remedy(settings)}", "unauthorised")


def _login(answer: Response) -> str:
    """Where a login page is, as far as it may be shown; empty where the answer is none."""
    if 300 <= answer.status_code < 400:
        host = urlsplit(answer.headers.get("Location", "")).hostname
        return f" ({host})" if host else " "
    html = "html" in answer.headers.get("Content-Type", "")
    return " " if answer.status_code == HTTPStatus.OK and html else ""


def _remedy(settings: Settings) -> str:
    missing = [each for each in ACCESS_HEADERS if each not in {name.lower() for name in settings.headers}]
    if missing:
        return f"the entry has no header {' and no '.join(missing)}; give it a service token"
    return "check the service token in its headers, and that a policy `Service Auth` of the application lets it in"


def _judged(settings: Settings, error: Exception, status: Status) -> Away:
    url, failed = settings.url, reason(error)
    if status.kind == "unauthorised":
        return Away(f"Cloudflare Access before {url} lets nothing through: {_remedy(settings)}", "unauthorised")
    if status.kind == "cold_starting" or (isinstance(error, TimeoutError) and status.kind != "offline"):
        what = status.words or "the handshake has no answer yet"
        return Away(f"the container of {url} is starting ({what}), which takes minutes", "cold_starting")
    if status.kind == "running":
        return Away(f"{settings.status_url} says that it runs, but the connection to {url} failed: {failed}")
    return Away(f"the gateway at {url} cannot be reached: {failed}" + (f"; {status.words}" if status.words else ""))


def reason(error: BaseException) -> str:
    """What a failed connection says, in words for people."""
    causes = list(_causes(error))
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes):
        return "its certificate is not trusted (an authority of your own goes into SSL_CERT_FILE)"
    if any(isinstance(each, socket.gaierror) for each in causes):
        return "its name cannot be resolved"
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return "it refused the connection"
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error)[:MAX_WORDS] or type(error).__name__


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _json(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(msgspec.DecodeError):
        return mapping(msgspec.json.decode(body))
    return {}
