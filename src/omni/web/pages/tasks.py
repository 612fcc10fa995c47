"""*Tasks*: all of them, newest first, page by page; those that have left memory come from the log."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from omni.domain.values import TaskState
from omni.domain.view import task_view
from omni.web.pages.frame import show
from omni.web.pages.now import task
from omni.web.room import Room

PAGE = 50
_ID_CHARS = 100


async def page(request: Request, room: Room) -> str:
    """One page of the list. From memory while it lasts, which has all open tasks; then from the log."""
    asked = request.query_params
    state = asked.get("state", "") if asked.get("state", "") in set(TaskState) else ""
    before, from_log = asked.get("before", "")[:_ID_CHARS], asked.get("log") == "1"
    position = (await room.desk.status()).position
    if from_log:
        found = await room.read(lambda history: history.tasks(state or None, PAGE, before or None))
    else:
        listed = await room.desk.list(state, PAGE, before)
        found = {"tasks": [task_view(each) for each in listed.tasks], "next": listed.next or None}
    return show("tasks.html", room, "tasks", position, **view(found, state, before, from_log=from_log))


def view(found: dict[str, Any], state: str, before: str, *, from_log: bool) -> dict[str, Any]:
    """The rows, and where the older ones are: in memory, else in the log, else nowhere."""
    rows = [task(each) for each in found["tasks"]]
    archive = from_log or found["next"] is None
    after = found["next"] or (rows[-1]["id"] if rows and not from_log and len(rows) >= PAGE else None)
    query = {"state": state, "before": after or "", "log": "1" if archive else ""}
    return {
        "rows": rows,
        "state": state,
        "states": [str(each) for each in TaskState],
        "before": before,
        "archive": archive,
        "older": urlencode({name: value for name, value in query.items() if value}) if after else "",
    }
