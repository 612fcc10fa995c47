"""Changes by hand: a question with one button, then the change, then on to the task; a refusal is shown as it is.

Each question carries a word of its own, so that a button pressed twice makes one change: a retry would make two tasks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from html import escape
from typing import Final, TypeAlias, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from omni.domain.errors import OmniError
from omni.domain.task import Task
from omni.domain.values import Decision
from omni.domain.visible import one_line
from omni.notify.texts import Language
from omni.server.auth import CALLER
from omni.server.desk import Desk
from omni.server.refusals import TurnedDown
from omni.web.answers import form, html, moved, small, trouble
from omni.web.forms import BadForm, fields_of
from omni.web.login import Login
from omni.web.texts import say

BY: Final = "dashboard"
SHOWN_CHARS: Final = 200
REMEMBERED: Final = 256  # answered questions
_PATH: Final = "/actions/tasks/{task_id}/{what}"
_DECISIONS: Final = get_args(Decision)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Change: TypeAlias = Callable[[str, str], Awaitable[Task]]


class Actions:
    """`/actions/tasks/{id}/cancel`, `retry` and `resolve?decision=…`: GET asks, POST does."""

    def __init__(self, desk: Desk, login: Login, language: Language) -> None:
        self._desk = desk
        self._login = login
        self.language = language
        self._answered: dict[str, asyncio.Future[Task]] = {}
        self._changes: dict[str, Change] = {
            "cancel": lambda task_id, _: desk.cancel(task_id, BY),
            "retry": lambda task_id, _: desk.retry(task_id, BY),
            "resolve": lambda task_id, decision: desk.resolve(task_id, cast(Decision, decision), BY),
        }
        self.table: list[tuple[str, str, Handler]] = [(_PATH, "GET", self._ask), (_PATH, "POST", self._do)]

    async def _ask(self, request: Request) -> Response:
        what, decision = self._asked(request, request.query_params.get("decision", ""))
        task = await self._desk.get(request.path_params["task_id"])
        key = f"act.{what}.{decision}" if decision else f"act.{what}"
        fields = {
            "csrf": self._login.csrf(request.scope[CALLER]),
            "decision": decision,
            "once": secrets.token_urlsafe(16),
        }
        parts = [
            f"<p><bdi>{escape(one_line(task.spec.description)[:SHOWN_CHARS])}</bdi></p>",
            f"<p><code>{escape(task.id)}</code></p>",
            f"<p>{escape(self._say(f'{key}.why'))}</p>",
            form(request.url.path, self._say(f"{key}.do"), fields),
            f'<p><a href="/tasks/{escape(task.id)}">{escape(self._say("act.back"))}</a></p>',
        ]
        return html(small(self.language, self._say(key), parts))

    async def _do(self, request: Request) -> Response:
        try:
            fields = await fields_of(request)
        except BadForm as error:
            return html(trouble(self.language, str(error)), 400)
        if not self._login.allows(request.scope[CALLER], fields.get("csrf", "")):
            return html(trouble(self.language, self._say("door.stale")), 403)
        what, decision = self._asked(request, fields.get("decision", ""))
        once = f"{request.url.path} {fields.get('once') or secrets.token_urlsafe(16)}"
        task = await self._change(once, self._changes[what], request.path_params["task_id"], decision)
        return moved(f"/tasks/{task.id}")

    async def _change(self, once: str, change: Change, task_id: str, decision: str) -> Task:
        """Make the change that a question was about, or give the outcome when it has been made."""
        if once not in self._answered:
            while len(self._answered) >= REMEMBERED:
                del self._answered[next(iter(self._answered))]
            self._answered[once] = asyncio.ensure_future(change(task_id, decision))
        return await asyncio.shield(self._answered[once])

    def _asked(self, request: Request, decision: str) -> tuple[str, str]:
        """What to do, and the decision where one belongs to it. Raises OmniError for anything else."""
        what = request.path_params["what"]
        if what not in self._changes:
            raise OmniError(f"nothing here is called {what}", hint="omni task --help")
        if what != "resolve":
            return what, ""
        if decision not in _DECISIONS:
            raise TurnedDown(
                "invalid", "a decision is one of " + ", ".join(_DECISIONS), hint="omni task resolve --help"
            )
        return what, decision

    def _say(self, key: str) -> str:
        return say(self.language, key, {})
