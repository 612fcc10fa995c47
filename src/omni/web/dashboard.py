"""The dashboard's side of the door: pages, static files, changes by hand, and who may see them.

The daemon hands it to the door as its site. Nothing here loads Jinja or reads the log before a page is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from pathlib import Path

import structlog
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from omni.config import Config, config_hash, log_path
from omni.domain.errors import NotFound, OmniError
from omni.server.auth import CALLER, Caller, Receive, Refusal, Scope, Send, wants_page
from omni.server.desk import Desk
from omni.server.limits import PerMinute
from omni.server.tokens import TokenFile
from omni.web.actions import Actions
from omni.web.answers import SAFE, html, trouble
from omni.web.live import Live, Log
from omni.web.login import Login
from omni.web.pages import PAGES
from omni.web.progress import Progress
from omni.web.room import Left, Page, Room
from omni.web.sessions import Links, Sessions
from omni.web.texts import say

log = structlog.get_logger()

STATIC = "/static/"
ICON = "/favicon.ico"  # browsers ask for it whatever a page says
SESSIONS_FILE = "sessions"
_FILES = Path(__file__).with_name("static")


class _PageRoute(Route):
    """A page for browsers alone; to programs, the same path is what it is without us."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["method"] == "GET" and wants_page(scope):
            return super().matches(scope)
        return Match.NONE, {}


class Dashboard:
    """The site behind the gate."""

    def __init__(
        self, desk: Desk, config: Config, store: Log, data_dir: Path, tokens: TokenFile | None, failed: PerMinute
    ) -> None:
        self._language = config.language
        sessions = Sessions(tokens, desk.clock, data_dir / SESSIONS_FILE) if tokens else None
        links = Links(tokens, desk.clock) if tokens else None
        self._login = Login(sessions, links, failed, config.language, self._left)
        self._live = Live(store, sessions.holds if sessions else lambda _: False)
        self._progress = Progress(desk)
        self._room = Room(
            desk=desk,
            progress=self._progress,
            clock=desk.clock,
            language=config.language,
            config_hash=config_hash(config),
            database=log_path(data_dir),
        )
        self._actions = Actions(desk, self._login, config.language)
        self.routes: Sequence[BaseRoute] = [
            *self._login.routes,
            Route("/api/events", self._live, methods=["GET"]),
            Route(STATIC + "{name}", self._static, methods=["GET"]),
            Route(ICON, self._icon, methods=["GET"]),
            *(Route(path, self._safely(handler), methods=[method]) for path, method, handler in self._actions.table),
            *(_PageRoute(path, self._safely(self._shown(page)), methods=["GET"]) for path, page in PAGES.items()),
        ]
        paths = (route.path for route in self.routes if isinstance(route, Route))
        self._rooms = frozenset({"api", *(path.split("/")[1] for path in paths)})

    def go_by(self, config: Config) -> None:
        """Speak its language, and name it, from the next page on."""
        self._language = self._login.language = self._actions.language = config.language
        self._room = replace(self._room, language=config.language, config_hash=config_hash(config))

    # --- what the gate asks ---------------------------------------------------------------------------------------

    def is_open(self, scope: Scope) -> bool:
        """The login itself, and the style of its page."""
        path, of_page = str(scope["path"]), str(scope["path"]).startswith(STATIC)
        if of_page and self._login.knows(scope):
            return False  # counts as theirs: strangers, of whom few are let in at a time, must not keep it from them
        return scope["type"] == "http" and (path in {"/login", ICON} or of_page)

    def admit(self, scope: Scope) -> str | Refusal:
        """The session of a browser, for our own paths alone."""
        return self._login.admit(scope) if scope["path"][1:].partition("/")[0] in self._rooms else ""

    async def refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """Say in a page what the gate has said."""
        status = refusal.status
        if status == 401 and self._login.knows(scope):
            text, status = trouble(self._language, say(self._language, "door.nothing", {}), scope["path"]), 404
        elif status == 401:
            text = self._login.needed(scope["path"])
        else:
            text = trouble(self._language, refusal.message, command=refusal.hint, home=False)
        response = html(text, status)
        response.raw_headers += [*refusal.headers, (b"connection", b"close")]
        await response(scope, receive, send)

    def log_out(self) -> None:
        """The token has changed: nobody listens by the old one."""
        self._live.end()

    def close(self) -> None:
        """The door closes."""
        self._live.close()
        self._progress.close()

    def _left(self, session: str) -> None:
        self._live.end(session)

    # --- pages ----------------------------------------------------------------------------------------------------

    def _shown(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            try:
                return html(await page(request, self._room_of(request)))
            except Left:
                return Response(b"", 503, SAFE)  # to nobody

        return show

    def _room_of(self, request: Request) -> Room:
        caller: Caller = request.scope[CALLER]
        csrf, by_cookie = self._login.csrf(caller), bool(caller.session)
        return replace(self._room, csrf=csrf, logged_in_by_cookie=by_cookie, left=partial(_left, request))

    def _safely(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """What goes wrong is a page too."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except OmniError as error:
                status = 404 if isinstance(error, NotFound) else 400 if _asked_wrongly(error) else 409
                return html(trouble(self._language, error.message, command=error.hint), status)
            except Exception:
                log.exception("page.failed", path=request.url.path)
                title, why = (say(self._language, key, {}) for key in ("door.failed", "door.failed_why"))
                return html(trouble(self._language, title, why, "omni logs"), 500)

        return answer

    async def _icon(self, request: Request) -> Response:
        return Response(b"", 204, {**SAFE, "cache-control": "max-age=86400"})

    async def _static(self, request: Request) -> Response:
        found = (await asyncio.to_thread(static_files)).get(request.path_params["name"])
        if found is None:
            return Response(b"", 404, SAFE)
        content, kind, tag = found
        headers = {**SAFE, "etag": tag, "cache-control": "no-cache"}  # asked for anew each time, sent when it changed
        if request.headers.get("if-none-match") == tag:
            return Response(b"", 304, headers)
        return Response(content, 200, headers, kind)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _asked_wrongly(error: OmniError) -> bool:
    """Whether the address itself is wrong: a moment that cannot be read, the beginning of more than one id."""
    return getattr(error, "kind", "") in {"usage", "ambiguous"}


@cache
def static_files() -> dict[str, tuple[bytes, str, str]]:
    """Our own files by name: content, media type, entity tag. A name that is not here leads nowhere."""
    return {each.name: _static_file(each) for each in _FILES.iterdir() if each.is_file()}


def _static_file(path: Path) -> tuple[bytes, str, str]:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
