"""The JSON that the command line and the dashboard read, and the two health checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni import __version__
from omni.domain.commands import DispatchReport
from omni.domain.drill import LONGEST_S, SHORTEST_S, Drill, Fault
from omni.domain.errors import OmniError
from omni.domain.view import dispatch_view, task_view, timestamp
from omni.server.desk import Desk
from omni.server.refusals import BadArgument, error_view, kind_of
from omni.server.requests import ListTasks, Reader, TaskEvents
from omni.server.views import mode_view, page_view, system_view

Handler: TypeAlias = Callable[[Request], Awaitable[Any]]


class ModeWish(msgspec.Struct, frozen=True):
    """Body of `POST /api/mode`: BRAINSTEM by a person's word, or the mode that follows from health again."""

    mode: Literal["auto", "brainstem"]
    by: Annotated[str, msgspec.Meta(max_length=200)] = ""


class DrillWish(msgspec.Struct, frozen=True):
    """Body of `POST /api/drill`: a fault for so many seconds, or none any more."""

    fault: Fault | Literal["none"]
    seconds: Annotated[float, msgspec.Meta(ge=SHORTEST_S, le=LONGEST_S)] = 20


class ReloadWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /api/config/reload`. The daemon reads its own file: no configuration comes over the wire."""

    dry_run: bool = False


Readiness: TypeAlias = Callable[[], str]  # why the daemon is not ready; empty when it is

_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}  # browsers log in by cookie here too
_STATUS = {"not_found": 404, "invalid": 400, "overloaded": 503, "storage_unavailable": 503, "internal": 500}
_page = Reader(ListTasks).values
_events = Reader(TaskEvents).values
_WELCOME = {
    "name": "omni",
    "version": __version__,
    "what": "A task dispatcher for AI work.",
    "mcp": ["ws: / and /ws, subprotocol mcp", "http: /mcp"],
    "api": ["/api/status", "/api/tasks", "/api/tasks/{id}", "/api/tasks/{id}/events"],
    "health": ["/healthz", "/readyz"],
    "help": "omni --help",
}


def routes(desk: Desk, readiness: Readiness) -> list[Route]:
    """All routes of the JSON API."""

    async def status(request: Request) -> Any:
        return await _status(desk)

    async def reload(request: Request) -> Any:
        asked = _wish(await request.body(), ReloadWish)
        return await desk.reload(dry_run=asked.dry_run)

    async def tasks(request: Request) -> Any:
        asked = _page(_numbers(dict(request.query_params), "limit"))
        page = await desk.list(str(asked.state or ""), asked.limit, asked.cursor or "")
        return page_view(page)

    async def task(request: Request) -> Any:
        return task_view(await desk.get(request.path_params["task_id"]))

    async def events(request: Request) -> Any:
        asked = _events(_numbers({**request.query_params, **request.path_params}, "after"))
        return {"task_id": asked.task_id, "events": await desk.events(asked.task_id, asked.after)}

    async def mode(request: Request) -> Any:
        asked = _wish(await request.body(), ModeWish)
        return mode_view(await desk.force_mode(brainstem=asked.mode == "brainstem", by=asked.by))

    async def drill(request: Request) -> Any:
        asked = _wish(await request.body(), DrillWish)
        return _drill_view(desk.drill(None if asked.fault == "none" else asked.fault, asked.seconds))

    async def alive(request: Request) -> Response:
        return _json({"status": "alive"})

    async def ready(request: Request) -> Response:
        return _ready(readiness(), desk.dispatch)

    table: dict[str, Handler] = {
        "/": _welcome,
        "/api/status": status,
        "/api/tasks": tasks,
        "/api/tasks/{task_id}": task,
        "/api/tasks/{task_id}/events": events,
        "/healthz": alive,
        "/readyz": ready,
    }
    changes: dict[str, Handler] = {"/api/mode": mode, "/api/drill": drill, "/api/config/reload": reload}
    return [
        *(Route(path, _answering(handler), methods=["GET"]) for path, handler in table.items()),
        *(Route(path, _answering(handler), methods=["POST"]) for path, handler in changes.items()),
    ]


async def _welcome(request: Request) -> Any:
    return _WELCOME


async def _status(desk: Desk) -> dict[str, Any]:
    told = {"config": await desk.reloads.view()} if desk.reloads else {}
    return {**system_view(await desk.status()), **told}


def _ready(reason: str, dispatch: DispatchReport) -> Response:
    """Whoever can take tasks is ready, also where a crash loop has paused them: they are kept."""
    if reason := reason or ("it is being stopped" if dispatch.state == "stopping" else ""):
        return _json({"status": "not ready", "reason": reason}, 503)
    paused = {"dispatch": dispatch_view(dispatch)} if dispatch.state == "paused" else {}
    return _json({"status": "ready", **paused})


def _drill_view(drill: Drill | None) -> dict[str, Any]:
    """The fault that is made on purpose, its bounds also in wall-clock milliseconds; null when there is none."""
    if drill is None:
        return {"drill": None}
    shown = {"since": timestamp(drill.since), "until": timestamp(drill.until)}
    return {"drill": {"fault": drill.fault, **shown, "since_ms": drill.since, "until_ms": drill.until}}


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            body = await handler(request)
        except OmniError as error:
            return _json({"error": error_view(error)}, _STATUS.get(kind_of(error), 409))
        return body if isinstance(body, Response) else _json(body)

    return answer


Wish = TypeVar("Wish", ModeWish, DrillWish, ReloadWish)


def _wish(body: bytes, kind: type[Wish]) -> Wish:
    name = kind.__struct_fields__[0]
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise BadArgument(f"this says no {name}: {error}", argument=name) from None


def _numbers(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    if name in arguments:
        try:
            arguments[name] = int(arguments[name])
        except ValueError:
            raise BadArgument(f"{name} must be a whole number", argument=name) from None
    return arguments


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, _HEADERS, "application/json")
