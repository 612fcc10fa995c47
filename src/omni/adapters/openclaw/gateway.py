"""The connection to a gateway: made, kept, and made again; requests and their answers, and the events in between.

away ──connect, challenge, hello-ok──▶ there ──the socket ends──▶ away ──0.25 s, doubled up to 5 s──▶ connect again

A request that was sent when the socket ended raises `Lost`: nobody knows. One that was not sent raises `Away`. Whoever
waits for a run compares `boot_id` before and after: another one means that the gateway has forgotten what ran in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

import omni
from omni.adapters.openclaw.absence import BARRED, GONE, spoils_token, turned_away, unreached
from omni.adapters.openclaw.device import Device
from omni.adapters.openclaw.frames import (
    MAX_FRAME_BYTES,
    MAX_WORDS,
    Away,
    Fault,
    Frame,
    Hello,
    Json,
    Late,
    Lost,
    Refused,
    is_accepted,
    mapping,
    read_frame,
    read_hello,
    request,
    text_of,
    whole_of,
)
from omni.adapters.openclaw.moltworker import Patience, diagnosed
from omni.adapters.openclaw.settings import Settings
from omni.executors.websocket import StraightConnect

CLIENT = "gateway-client"  # the gateway knows its clients by fixed names, and turns others away
MODE = "backend"
ROLE = "operator"
SCOPES = ("operator.read", "operator.write")
LEDGER_SCOPE = "operator.admin"  # for `conversations.send`; who holds the gateway's own token may ask for it
REQUEST_S = 15.0
CLOSE_S = 1.0
PING_S = 20.0
BACKOFF_S = 0.25
BACKOFF_CAP_S = 5.0
EVENTS_KEPT = 256

OnEvent: TypeAlias = Callable[[Frame], None]


class Link:
    """One connection, from `connect` to its end."""

    def __init__(self, socket: ClientConnection, on_event: OnEvent) -> None:
        self._socket = socket
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Queue[Frame | None]] = {}
        self.lost = asyncio.Event()
        self.hello = Hello()
        self.reason = ""

    @property
    def boot_id(self) -> str:
        return self.hello.server.boot_id

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.hello.auth.scopes

    async def read(self) -> None:
        """Hand on what comes until nothing more does."""
        try:
            async for data in self._socket:
                frame = read_frame(data)
                if frame is not None:
                    self._take(frame)
        except ConnectionClosed:
            pass
        finally:
            self._end()

    async def ask(
        self, method: str, params: Json, within_s: float = REQUEST_S, on_accepted: Callable[[Json], None] | None = None
    ) -> Any:
        """Send one request and return its payload; with `on_accepted` the first of two answers goes there.

        Raises Refused, Late, Lost (sent, and then the socket ended) or Away (not sent).
        """
        if self.lost.is_set():
            raise Away(self.reason)
        id_ = str(next(self._ids))
        answers = self._waiting[id_] = asyncio.Queue(4)
        try:
            async with asyncio.timeout(within_s):
                await self._socket.send(request(id_, method, params))
                return await self._answer(method, answers, on_accepted)
        except ConnectionClosed:
            raise Lost(f"the connection ended while {method} was sent") from None
        except TimeoutError:
            raise Late(f"the gateway did not answer {method} within {within_s:g} s") from None
        finally:
            del self._waiting[id_]

    async def _answer(
        self, method: str, answers: asyncio.Queue[Frame | None], on_accepted: Callable[[Json], None] | None
    ) -> Any:
        while True:
            frame = await answers.get()
            if frame is None:
                raise Lost(f"the connection ended before {method} was answered: {self.reason}")
            if on_accepted is not None and is_accepted(frame):
                on_accepted(mapping(frame.payload))
                continue
            if not frame.ok:
                raise Refused(method, frame.error or Fault(), frame.payload)
            return frame.payload

    def _take(self, frame: Frame) -> None:
        if frame.type == "event":
            self._on_event(frame)
            return
        answers = self._waiting.get(frame.id)
        if answers is not None and not answers.full():
            answers.put_nowait(frame)

    def _end(self) -> None:
        code, why = self._socket.close_code, self._socket.close_reason
        self.reason = self.reason or f"it closed the connection ({code}{' ' + why if why else ''})"
        self.lost.set()
        for answers in self._waiting.values():
            with contextlib.suppress(asyncio.QueueFull):
                answers.put_nowait(None)


class Gateway:
    """The gateway as the adapter sees it: `link` while it is there, `Away` while it is not.

    `ledger`: ask for the scope of the messages' ledger. It is the owner's, so runs that come over such a connection get
    the owner's tools: no connection for tasks has it.
    """

    def __init__(
        self, settings: Settings, device: Device | None, patience: Patience | None = None, *, ledger: bool = True
    ) -> None:
        self.settings = settings
        self._ledger = ledger and device is None
        self._patience = patience
        self._device = device
        self._link: Link | None = None
        self._there, self._absent = asyncio.Event(), asyncio.Event()
        self._absent.set()
        self._tried, self._barred = asyncio.Event(), asyncio.Event()
        self._away = Away(f"OpenClaw's gateway at {settings.url} was not tried yet")
        self._away_since = self._there_since = asyncio.get_running_loop().time()
        self._listeners: set[tuple[str, asyncio.Queue[Frame]]] = set()

    @property
    def away_s(self) -> float:
        """For how long there has been no connection; 0 while there is one."""
        return 0.0 if self._there.is_set() else asyncio.get_running_loop().time() - self._away_since

    @property
    def there_s(self) -> float:
        """For how long this connection has been there; 0 while there is none."""
        return asyncio.get_running_loop().time() - self._there_since if self._there.is_set() else 0.0

    @property
    def why_away(self) -> Away:
        return self._away

    async def keep(self) -> None:
        """Connect, and connect again, for ever."""
        failures = 0
        while True:
            try:
                async with self._open() as link:
                    failures = 0
                    self._arrived(link)
                    await link.lost.wait()
                    self._gone(Away(f"OpenClaw's gateway at {self.settings.url} went away: {link.reason}", GONE))
            except Away as away:
                self._gone(away)
            except Exception as error:  # whatever a gateway says, the next one may be another
                self._gone(
                    Away(f"OpenClaw's gateway at {self.settings.url} cannot be understood: {error!r}"[:MAX_WORDS])
                )
            await asyncio.sleep(min(BACKOFF_CAP_S, BACKOFF_S * 2**failures))
            failures = min(failures + 1, 10)

    async def link(self, within_s: float) -> Link:
        """The connection as soon as there is one. Raises Away with the newest reason."""
        try:
            async with asyncio.timeout(within_s):
                await self._there.wait()
        except TimeoutError:
            raise self._away from None
        assert self._link is not None
        return self._link

    async def first(self) -> None:
        """Return when the first try is over; raises Away when it failed."""
        await self._tried.wait()
        if not self._there.is_set():
            raise self._away

    async def given_up(self, after_s: float) -> None:
        """Return when there has been no connection for so long without a break, or when only a person can help."""
        while True:
            await self._absent.wait()
            try:
                async with asyncio.timeout(max(0.0, after_s - self.away_s)):
                    await _either(self._there, self._barred)
            except TimeoutError:
                return
            if self._barred.is_set():
                return

    @contextlib.contextmanager
    def listening(self, session_key: str) -> Iterator[asyncio.Queue[Frame]]:
        """The events that carry this session's key; when nobody fetches them, the oldest are dropped."""
        entry = (session_key, asyncio.Queue[Frame](EVENTS_KEPT))
        self._listeners.add(entry)
        try:
            yield entry[1]
        finally:
            self._listeners.discard(entry)

    def _hear(self, frame: Frame) -> None:
        payload = mapping(frame.payload)
        about = text_of(mapping(payload.get("task") if frame.event == "task" else payload).get("sessionKey"))
        for key, queue in self._listeners:
            if key == about:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(frame)

    def _arrived(self, link: Link) -> None:
        self._link = link
        if self._patience:
            self._patience.renew()
        self._there_since = asyncio.get_running_loop().time()
        self._there.set()
        self._absent.clear()
        self._barred.clear()
        self._tried.set()

    def _gone(self, why: Away) -> None:
        if self._there.is_set():
            self._away_since = asyncio.get_running_loop().time()
        self._link = None
        self._there.clear()
        self._absent.set()
        self._away = why
        if why.kind in BARRED:
            self._barred.set()
        self._tried.set()

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[Link]:
        """A connection that has been greeted. Raises Away, in words for people."""
        near = self.settings.near
        try:
            async with (
                asyncio.timeout(self.settings.connect_s) as limit,
                StraightConnect(
                    self.settings.url,
                    additional_headers=self.settings.headers,
                    max_size=MAX_FRAME_BYTES,
                    compression=None,
                    open_timeout=None,
                    close_timeout=CLOSE_S,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    proxy=None if near else True,
                ) as socket,
            ):
                challenge = await _challenge(socket)
                link = Link(socket, self._hear)
                reading = asyncio.create_task(link.read())
                try:
                    await self._greet(link, challenge)
                    limit.reschedule(None)
                    yield link
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
        except (OSError, WebSocketException, TimeoutError, Lost, Late) as error:
            raise await self.explained(error) from error

    async def _greet(self, link: Link, challenge: Json) -> None:
        device = self._device
        token = self.settings.token or (device.token if device else "")
        scopes = (*SCOPES, LEDGER_SCOPE) if self._ledger else SCOPES
        low, high = self.settings.protocols
        params: Json = {
            "minProtocol": low,
            "maxProtocol": high,
            "client": {"id": CLIENT, "version": omni.__version__, "platform": sys.platform, "mode": MODE},
            "role": ROLE,
            "scopes": list(scopes),
            "caps": [],
            "auth": _credentials(self.settings, device),
        }
        if device is not None:
            params["device"] = device.sign(
                client=CLIENT, mode=MODE, role=ROLE, scopes=scopes, token=token, platform=sys.platform,
                nonce=text_of(challenge.get("nonce")), ts=whole_of(challenge.get("ts")), aged=self.settings.aged,
            )  # fmt: skip
        try:
            link.hello = read_hello(await link.ask("connect", params, self.settings.connect_s))
        except Refused as refusal:
            if device is not None and spoils_token(refusal):
                device.forget_token()
            raise turned_away(self.settings, refusal) from refusal
        if device is not None:
            device.keep_token(link.hello.auth.device_token)

    async def explained(self, error: Exception) -> Away:
        """Why there is no connection, as far as anybody can say."""
        if self.settings.status_url:
            return await diagnosed(self.settings, error, self._patience)
        return unreached(self.settings, error)


def _credentials(settings: Settings, device: Device | None) -> dict[str, str]:
    """What opens the gateway. An aged one knows one field for both, and refuses a request that has another."""
    token, own = settings.token, device.token if device else ""
    if settings.aged:
        token, own = token or own, ""
    return {name: value for name, value in (("token", token), ("deviceToken", own)) if value}


async def _either(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


async def _challenge(socket: ClientConnection) -> Json:
    """What the gateway asks before anything else."""
    frame = read_frame(await socket.recv())
    if frame is None or frame.event != "connect.challenge":
        raise Lost("it did not begin with a challenge, so it is no OpenClaw gateway")
    return mapping(frame.payload)
