"""The gate before everything else: who may come in, from which page, to which host name, and how often they may fail.

    Host      twice → 400; not one of ours (parsed, exact, with our port; or in `allowed_hosts`) → 403
    Origin    present and not our own → 403: a web page is not the owner
    token     wrong → 401, and 429 from the sixth wrong one in a minute
              none → 401 for HTTP, while a WebSocket may stay for `ping`
    cookie    of a session of the site (`Site`): opens what the site says, with GET; a change needs more (ADR-0051)
    number    more connections than allowed, or than allowed before login → 503

At `/metrics` a scraper's key (`omni token metrics`) opens too, and it opens nothing else. A client's key
(`omni token new`) opens WebSocket, `/mcp` and what can be read under `/api/`, as far as its rights go.

Under `/v1` the door is the model port's: there a model key opens (`Authorization: Bearer` or `x-api-key`), and the
token does too; everywhere else a model key opens nothing. Refusals there are in the dialect of the path.

The right token always opens: somebody else's wrong ones from the same address must not lock the owner out, and nobody
guesses 256 bits (ADR-0021).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
from starlette.routing import BaseRoute

from omni.config import Limits, is_loopback
from omni.domain.dialects import dialect_of, error_body
from omni.domain.errors import ConfigError
from omni.server.limits import PerMinute, normalised
from omni.server.names import Names, visitor, visitor_of
from omni.server.readings import AtTheGate
from omni.server.rights import HINT as RIGHTS_HINT
from omni.server.rights import Rights, rights
from omni.server.tokens import TokenFile

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
MODEL_PATHS = "/v1/"
METRICS_PATH = "/metrics"
OWN_KEYS = "omni-"  # how model keys begin
MODEL_CALLS = 256  # at a time; beside the connections of people and programs, which a busy evening must not lock out
MODEL_CALLS_EACH = 128  # of one key: whoever opens calls and leaves them must not take the port from all others
CALLER = "omni.caller"


class Caller(msgspec.Struct, frozen=True):
    """Who sends: the normalised address, whether they are logged in, whom their model key is for, their session.

    `client`: the name on a key that opens less than the token. `visitor`: what a proxy on this machine says of whoever
    showed the token; a label, which opens nothing.
    """

    address: str
    rights: Rights = Rights.NONE
    holder: Any = None
    session: str = ""
    client: str = ""
    visitor: str = ""

    @property
    def logged_in(self) -> bool:
        """Whether they may do anything beside asking whether we live."""
        return self.rights > Rights.NONE

    @property
    def counted_as(self) -> str:
        """Whose requests are counted together."""
        return f"key {self.client}" if self.client else self.address


class ModelKeys(Protocol):
    """Whom a model key is for, None for one that is not ours; `owner` holds the token. Nobody gets in until `ready`."""

    @property
    def ready(self) -> bool: ...

    @property
    def owner(self) -> Any: ...

    def holder(self, key: str) -> Any: ...


class Refusal(msgspec.Struct, frozen=True):
    status: int
    message: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Site(Protocol):
    """What browsers see, made above this room: its routes, and how they come in."""

    @property
    def routes(self) -> Sequence[BaseRoute]: ...

    def is_open(self, scope: Scope) -> bool:
        """Whether this needs no login at all."""
        ...

    def admit(self, scope: Scope) -> str | Refusal:
        """The session that a request without token belongs to; empty when there is none."""
        ...

    async def refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """Tell a person in a browser."""
        ...

    def log_out(self) -> None:
        """The token has changed: what is open by the old one ends."""
        ...

    def close(self) -> None:
        """The door closes: what would stay open for ever ends."""
        ...


class Gate:
    """ASGI middleware in front of everything; passes on with a `Caller` in the scope."""

    def __init__(
        self,
        app: App,
        *,
        host: str,
        tokens: TokenFile | None,
        limits: Limits,
        now: Callable[[], float],
        models: ModelKeys | None = None,
        failed: PerMinute | None = None,
        site: Site | None = None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        if tokens is None and not is_loopback(host):
            raise ConfigError(
                f"auth: none is allowed on a loopback address only, not on {host}",
                hint="remove `auth: none`, or set `host: 127.0.0.1`; then omni config check",
            )
        self._app = app
        self.names = Names(host, allowed_hosts)
        self._tokens = tokens
        self._limits = limits
        self._failed = failed or PerMinute(limits.failed_logins_per_minute, now)
        self._site = site
        self._models = models
        self._inside = 0
        self._before_login = 0
        self._model_calls: Counter[Any] = Counter()
        self._refused: Counter[int] = Counter()

    def go_by(self, limits: Limits, allowed_hosts: Sequence[str]) -> None:
        """Other bounds and host names from now on; who is inside stays."""
        self._limits = limits
        self._failed.limit = limits.failed_logins_per_minute
        self.names.allow(allowed_hosts)

    def seen(self) -> AtTheGate:
        """Who is inside now, and what was refused since the process began."""
        inside = {"inside": self._inside, "before_login": self._before_login, "model_calls": self._model_calls.total()}
        logins = {"wrong": self._failed.total, "too_many": self._failed.beyond}
        return AtTheGate(inside, logins, dict(self._refused))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        verdict = self._judge(scope)
        if isinstance(verdict, Refusal):
            await self._refuse(scope, receive, send, verdict)
            return
        scope[CALLER] = verdict
        visitor.set(verdict.visitor)
        rights.set(verdict.rights)
        await self._pass(verdict, scope, receive, send)

    async def _pass(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in OPEN_PATHS:  # whether we live must stay visible when we are full
            await self._app(scope, receive, send)
            return
        if caller.holder is not None:
            await self._pass_call(caller.holder, scope, receive, send)
            return
        before_login = 0 if caller.logged_in else 1
        if self._inside >= self._limits.connections or (
            before_login and self._before_login >= self._limits.connections_before_login
        ):
            full = Refusal(503, "too many connections", "raise limits.connections")
            await self._refuse(scope, receive, send, full)
            return
        self._inside += 1
        self._before_login += before_login
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
            self._before_login -= before_login

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        self._refused[refusal.status] += 1
        if self._site and wants_page(scope):
            await self._site.refuse(scope, receive, send, refusal)
        else:
            await refuse(scope, receive, send, refusal)

    async def _pass_call(self, holder: Any, scope: Scope, receive: Receive, send: Send) -> None:
        calls = self._model_calls
        if calls.total() >= MODEL_CALLS or calls[holder] >= MODEL_CALLS_EACH:
            most = MODEL_CALLS if calls.total() >= MODEL_CALLS else MODEL_CALLS_EACH
            busy = Refusal(503, f"more than {most} model calls at once", headers=((b"retry-after", b"5"),))
            await self._refuse(scope, receive, send, busy)
            return
        calls[holder] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            calls[holder] -= 1
            if not calls[holder]:
                del calls[holder]

    def _judge(self, scope: Scope) -> Caller | Refusal:
        headers = scope["headers"]
        return self._foreign(headers) or self._login(scope, headers)

    def _foreign(self, headers: list[tuple[bytes, bytes]]) -> Refusal | None:
        hosts = values(headers, b"host")
        if len(hosts) != 1:
            return Refusal(400, "exactly one Host header is wanted")
        if not self.names.knows_host(hosts[0]):
            return Refusal(403, "this host name is not ours", _NAME_HINT)
        if any(not self.names.knows_origin(each, hosts[0]) for each in values(headers, b"origin")):
            return Refusal(403, "requests from web pages are not taken")
        return None

    def _login(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> Caller | Refusal:
        address = normalised(scope["client"][0]) if scope.get("client") else ""
        if self._models is not None and is_model_call(scope):
            return self._model_login(self._models, headers, address)
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] == "/":
            return Caller(address)  # clients of models ask so whether anybody is here
        if self._tokens is None:
            return Caller(address, Rights.ADMIN)
        given = values(headers, b"authorization")
        if not given:
            return self._without_token(scope, address)
        scheme, _, token = given[0].partition(" ")
        if len(given) == 1 and scheme.lower() == "bearer" and self._tokens.matches(token.strip()):
            return Caller(address, Rights.ADMIN, visitor=self._visitor_name(headers, address))
        if self._tokens.opens_metrics(token.strip()):
            return Caller(address, Rights.READ) if scope["path"] == METRICS_PATH else _ONLY_METRICS
        if client := self._tokens.client(token.strip()):
            told = self._visitor_name(headers, address)
            known = Caller(address, client.rights, client=client.name, visitor=told)
            return known if _is_for_clients(scope) else _NOT_FOR_CLIENTS
        if self._models is not None and self._models.holder(token.strip()) is not None:
            return Refusal(403, "this key opens the model port (/v1/…) and nothing else")
        return self._wrong_token(address)

    def _visitor_name(self, headers: list[tuple[bytes, bytes]], address: str) -> str:
        """Whom `tailscale serve` names; it speaks from this machine, under a name that the owner has allowed."""
        proxied = is_loopback(address) and self.names.is_allowed(values(headers, b"host")[0])
        return visitor_of(values(headers, b"tailscale-user-login")) if proxied else ""

    def _model_login(self, models: ModelKeys, headers: list[tuple[bytes, bytes]], address: str) -> Caller | Refusal:
        if not models.ready:
            return Refusal(503, "models are still being loaded", "try again", ((b"retry-after", b"1"),))
        given = _model_keys(headers)
        for key in given:
            holder = models.holder(key)
            if holder is None and self._tokens is not None and self._tokens.matches(key):
                holder = models.owner
            if holder is not None:
                return Caller(address, holder=holder)
        if self._tokens is None and not any(key.startswith(OWN_KEYS) for key in given):
            return Caller(address, holder=models.owner)
        return self._wrong_token(address, "model key") if given else _unauthorised("this needs a model key", _KEY_HINT)

    def _without_token(self, scope: Scope, address: str) -> Caller | Refusal:
        if scope["type"] == "websocket" or scope["path"] in OPEN_PATHS:
            return Caller(address)
        if self._site is None:
            return _unauthorised("this needs the token")
        return self._visitor(self._site, scope, address)

    def _visitor(self, site: Site, scope: Scope, address: str) -> Caller | Refusal:
        """Somebody with a browser, perhaps: never over a WebSocket, which any page may open."""
        if site.is_open(scope):
            return Caller(address)
        session = site.admit(scope)
        if isinstance(session, Refusal):
            return session
        return Caller(address, Rights.ADMIN, session=session) if session else _unauthorised("this needs the token")

    def _wrong_token(self, address: str, what: str = "token") -> Refusal:
        if self._failed.exceeded(address):
            self._failed.beyond += 1
            return Refusal(429, "too many failed logins", "wait a minute", ((b"retry-after", b"60"),))
        self._failed.add(address)
        return _unauthorised("this is not the token") if what == "token" else _unauthorised(_NO_KEY, _KEY_HINT)


_NAME_HINT = "use http://127.0.0.1:PORT, or add the name to `allowed_hosts` in config.yaml; then omni config reload"
_NOT_FOR_CLIENTS = Refusal(403, "this key opens WebSocket, /mcp, and what can be read under /api/", RIGHTS_HINT)
_ONLY_METRICS = Refusal(403, "this key opens /metrics and nothing else")
_NO_KEY = "this is no model key of ours"
_KEY_HINT = "send `Authorization: Bearer KEY`, or `x-api-key: KEY`; `omni token model NAME` prints one"
_HINT = "send `Authorization: Bearer TOKEN`; `omni token show` prints it"


def _unauthorised(message: str, hint: str = _HINT) -> Refusal:
    return Refusal(401, message, hint, ((b"www-authenticate", b"Bearer"),))


async def refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    """Answer with a status and a JSON error, before a WebSocket is open too."""
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = _told(scope, refusal)
    headers = [(b"content-type", b"application/json"), *refusal.headers]
    if scope["type"] == "websocket":
        await receive()
    else:
        headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _is_for_clients(scope: Scope) -> bool:
    reads = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and scope["path"].startswith("/api/")
    return scope["type"] == "websocket" or scope["path"] == "/mcp" or reads


def wants_page(scope: Scope) -> bool:
    """Whether a browser shows the answer to a person; programs that take anything get JSON."""
    return scope["type"] == "http" and any("text/html" in each for each in values(scope["headers"], b"accept"))


def is_model_call(scope: Scope) -> bool:
    """Whether a request is for the model port."""
    return scope["type"] == "http" and str(scope["path"]).startswith(MODEL_PATHS)


def _told(scope: Scope, refusal: Refusal) -> bytes:
    if is_model_call(scope):
        text = f"{refusal.message}. Next: {refusal.hint}" if refusal.hint else refusal.message
        return error_body(dialect_of(scope["path"]), refusal.status, text)
    return msgspec.json.encode({"error": {"message": refusal.message, "hint": refusal.hint}})


def _model_keys(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """What a caller shows as a key, in either way; clients may send both."""
    bearers = (value.partition(" ") for value in values(headers, b"authorization"))
    keys = [token.strip() for scheme, _, token in bearers if scheme.lower() == "bearer"]
    return [key for key in [*values(headers, b"x-api-key"), *keys] if key]


def values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """All values of a header, in order."""
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]
