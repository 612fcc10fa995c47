"""Login by a one-time link: `omni dashboard` asks for one with the token, a browser turns it into a cookie.

    POST /api/login-links   with the token          → {url: http://…/login?code=…}, good once, for a minute
    GET  /login?code=…      anybody                 → a page with one button; looking at it uses nothing up
    POST /login             from that page          → a cookie, and on to /
    POST /logout            with the cookie         → the session is void

A cookie is not the token: it opens pages and `/api/…`, never `/mcp`, `/v1` or a WebSocket. It comes with every request
that a browser sends here, whoever made the browser send it, so a change also wants a sign that our own page asked for
it: an own `Origin` (or `Sec-Fetch-Site: same-origin`), and the session's `csrf` code. Browsers share cookies between
all ports of a host; the port in the cookie's name only keeps two daemons from logging each other out (ADR-0051).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from html import escape
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni.notify.texts import Language
from omni.server.auth import CALLER, Caller, Refusal, Scope, values
from omni.server.limits import PerMinute
from omni.server.rights import Rights
from omni.web.answers import NEVER_KEPT, form, html, moved, small, trouble
from omni.web.forms import BadForm, fields_of
from omni.web.sessions import LINK_S, SESSION_S, Links, Sessions
from omni.web.texts import say

READING: Final = frozenset({"GET", "HEAD"})
CSRF_HEADER: Final = b"x-omni-csrf"
COMMAND: Final = "omni dashboard"
_FOREIGN_SITES: Final = frozenset({"cross-site", "same-site"})  # another port of this host is the same site


def from_own_page(scope: Scope) -> bool:
    """Whether a browser says that our own page sent this; the gate has checked that any Origin is ours."""
    headers = scope["headers"]
    site = values(headers, b"sec-fetch-site")
    return site == ["same-origin"] or (not site and bool(values(headers, b"origin")))


class Login:
    """Cookies and links; `sessions` and `links` are None where `auth: none` lets everybody on the machine in."""

    def __init__(
        self,
        sessions: Sessions | None,
        links: Links | None,
        failed: PerMinute,
        language: Language,
        on_leave: Callable[[str], None],
    ) -> None:
        self.sessions = sessions
        self._links = links
        self._failed = failed
        self.language = language
        self._on_leave = on_leave
        self._nobodys_csrf = secrets.token_urlsafe()

    @property
    def routes(self) -> list[Route]:
        """Where people log in and out, and where the command line asks for a link."""
        return [
            Route("/login", self._ask, methods=["GET"]),
            Route("/login", self._enter, methods=["POST"]),
            Route("/logout", self._leave, methods=["POST"]),
            Route("/api/login-links", self._link, methods=["POST"]),
        ]

    # --- at the gate ----------------------------------------------------------------------------------------------

    def admit(self, scope: Scope) -> str | Refusal:
        """The session that a request's cookie stands for, or empty; a change that our page did not send is refused."""
        name = self._session(scope)
        if not name or (scope["method"] in READING and not _is_lured(scope)):
            return name
        if scope["method"] in READING:
            return ""  # as if it came without: the page then offers the way in
        if not from_own_page(scope):
            return Refusal(403, "a change must come from a page of ours", COMMAND)
        if scope["path"].startswith("/api/") and not self._shows_csrf(scope, name):
            return Refusal(403, "a change needs the header x-omni-csrf", "load the page again")
        return name

    def knows(self, scope: Scope) -> bool:
        """Whether a request carries the cookie of a session, whatever it may open."""
        return bool(self._session(scope)) and not _is_lured(scope)

    def csrf(self, caller: Caller) -> str:
        """What this caller's forms must carry; empty for those who show the token itself, which no browser sends."""
        if self.sessions is None:
            return self._nobodys_csrf
        return self.sessions.csrf(caller.session)

    def allows(self, caller: Caller, given: str) -> bool:
        """Whether a form carries what it must."""
        wanted = self.csrf(caller)
        return not wanted or hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())

    def _session(self, scope: Scope) -> str:
        given = _cookies(scope, _cookie_name(scope))
        # Two of one name: some other port or path has set one, and nobody can say which is ours.
        return self.sessions.named(given[0]) if self.sessions and len(given) == 1 else ""

    def _shows_csrf(self, scope: Scope, name: str) -> bool:
        given = values(scope["headers"], CSRF_HEADER)
        return len(given) == 1 and self.allows(Caller("", Rights.ADMIN, session=name), given[0])

    # --- pages ----------------------------------------------------------------------------------------------------

    async def _link(self, request: Request) -> Response:
        caller: Caller = request.scope[CALLER]
        if caller.session:  # a cookie must not beget others
            return _json({"error": {"message": "a link needs the token", "hint": COMMAND}}, 403)
        origin = f"http://{request.headers['host']}"
        if self._links is None:
            return _json({"url": f"{origin}/", "expires_in_s": None})
        return _json({"url": f"{origin}/login?code={self._links.make()}", "expires_in_s": LINK_S})

    async def _ask(self, request: Request) -> Response:
        code = request.query_params.get("code", "")
        if self._links is None:
            return moved("/")
        if not 0 < len(code) <= 128:
            return html(self.needed("/"), 401)
        parts = [f"<p>{escape(self._say('door.ready'))}</p>", form("/login", self._say("door.open"), {"code": code})]
        return html(small(self.language, self._say("door.title"), parts))

    async def _enter(self, request: Request) -> Response:
        if self._links is None or self.sessions is None:
            return moved("/")
        if not from_own_page(request.scope):
            return html(trouble(self.language, self._say("door.foreign"), command=COMMAND, home=False), 403)
        try:
            code = (await fields_of(request)).get("code", "")
        except BadForm as error:
            return html(trouble(self.language, str(error), command=COMMAND, home=False), 400)
        if not self._links.use(code):
            return self._void(request.scope[CALLER].address)
        await self.sessions.end(self._session(request.scope))  # one browser, one session
        return _with_cookie(moved("/"), request.scope, await self.sessions.begin(), SESSION_S)

    async def _leave(self, request: Request) -> Response:
        caller: Caller = request.scope[CALLER]
        try:
            given = (await fields_of(request)).get("csrf", "")
        except BadForm:
            given = ""
        if self.sessions is None or not caller.session or not self.allows(caller, given):
            return html(trouble(self.language, self._say("door.stale")), 403)
        await self.sessions.end(caller.session)
        self._on_leave(caller.session)
        return _with_cookie(moved("/login"), request.scope, "", 0)

    def _void(self, address: str) -> Response:
        """A wrong, old or used code counts as a failed login; the right one opens all the same (ADR-0021)."""
        spent = self._failed.exceeded(address)
        if spent:
            self._failed.beyond += 1
        else:
            self._failed.add(address)
        page = trouble(self.language, self._say("door.void"), self._say("door.void_why"), COMMAND, home=False)
        return html(page, 429 if spent else 401)

    def needed(self, path: str) -> str:
        """The page for those who are not logged in; by its link a browser sends the cookie that it held back."""
        parts = [
            f"<p>{escape(self._say('door.how'))}</p>",
            f"<pre><code>{COMMAND}</code></pre>",
            f'<p>{escape(self._say("door.again"))} <a href="{_own(path)}">{escape(self._say("door.go"))}</a></p>',
        ]
        return small(self.language, self._say("door.needed"), parts)

    def _say(self, key: str) -> str:
        return say(self.language, key, {})


def _own(path: str) -> str:
    """A path that was asked for, as an address of ours: one that begins with two slashes would name another host."""
    return "/" + quote(path.lstrip("/"))


def _is_lured(scope: Scope) -> bool:
    """Whether some other page made the browser ask."""
    return any(each in _FOREIGN_SITES for each in values(scope["headers"], b"sec-fetch-site"))


def _cookie_name(scope: Scope) -> str:
    return f"omni_session_{scope['server'][1]}"


def _cookies(scope: Scope, name: str) -> list[str]:
    pairs = (each.partition("=") for line in values(scope["headers"], b"cookie") for each in line.split(";"))
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def _with_cookie(response: Response, scope: Scope, secret: str, age_s: int) -> Response:
    # No `Secure`: the door speaks plain HTTP, and a browser would not send such a cookie back to all of our names.
    response.headers["set-cookie"] = (
        f"{_cookie_name(scope)}={secret}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict"
    )
    return response


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, NEVER_KEPT, "application/json")
