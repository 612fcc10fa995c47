"""Commands that look at tasks: through the daemon when it answers, straight from the log when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omni.cli.card import card_lines
from omni.cli.context import Context
from omni.cli.exits import OK, UNREACHABLE, code_of_task
from omni.cli.ids import FULL, checked, full_id
from omni.cli.show import decide, event_line, task_lines, task_table
from omni.cli.waiting import PATIENCE_S, Heard, at_rest
from omni.domain.errors import DaemonUnreachable, NotFound

if TYPE_CHECKING:
    from omni.cli.client import Client

FOLLOW_S = 1.0


def tasks(context: Context, state: str | None, limit: int, cursor: str | None) -> int:
    """List tasks, newest first."""
    cursor = checked(cursor) if cursor else None
    arguments = {"state": state, "limit": limit, "cursor": cursor}
    try:
        page = context.client().call("list_tasks", arguments)
    except DaemonUnreachable as error:
        with context.history_instead(error) as history:
            page = history.tasks(state, limit, cursor, context.counting("reading the log"))
    found, following = page["tasks"], page.get("next")
    nothing = [] if found else [f"no tasks{f' are {state}' if state else ' yet'}"]
    context.out.show("tasks", {"tasks": found, "next": following}, nothing or task_table(context.out, found))
    if not context.out.as_json:
        if not found and not state:
            context.out.note("next: omni submit 'what shall be done'")
        if following:
            more = f" --state {state}" if state else ""
            context.out.note(f"there are more\n  next: omni tasks{more} --cursor {following}")
    return OK


def show(context: Context, prefix: str) -> int:
    """Show one task."""
    task = _task(context, prefix)
    context.out.show("task", {"task": task}, task_lines(context.out, task))
    return OK


def why(context: Context, prefix: str, at: str | None = None) -> int:
    """Say why a task went where it went, and what would have led elsewhere; `at` is a position or a time."""
    typed = checked(prefix)
    answer = _card(context, typed, at)
    context.out.show("why", answer, card_lines(context.out, answer))
    return OK


def _card(context: Context, typed: str, at: str | None) -> dict[str, Any]:
    """From the log here; a daemon whose log lies elsewhere knows the decision alone."""
    try:
        return _card_of_log(context, typed, at)
    except NotFound:
        known = _explained(context, typed) if at is None else None
        if known is None:
            raise
        return known


def _card_of_log(context: Context, typed: str, at: str | None) -> dict[str, Any]:
    from omni.replay.when import position_of
    from omni.replay.why import card
    from omni.runtime.ports import SystemClock

    with context.history() as history:
        position = position_of(history.reader, at, SystemClock().wall_ms()) if at else None
        found = card(history, typed, position, context.counting("reading the log"))
    context.out.redraw("")
    return found.view()


def _explained(context: Context, typed: str) -> dict[str, Any] | None:
    """What the daemon knows; None when there is none either."""
    if len(typed) != FULL:
        return None
    try:
        return context.client().call("explain_task", {"task_id": typed})
    except DaemonUnreachable:
        return None


def tail(context: Context, prefix: str) -> int:
    """Show what happens to a task until it has ended or waits for a person."""
    task_id = full_id(context, prefix)
    shown: list[dict[str, Any]] = []
    try:
        task = _follow(context, context.client(), task_id, shown)
    except DaemonUnreachable as error:
        with context.history_instead(error) as history:
            _print(context, history.events(task_id), shown)
            task = history.task(task_id)
        if not at_rest(task):
            context.out.note(f"{task_id} is {task['state']} and the daemon is not running\n  next: omni serve")
    if context.out.as_json:
        context.out.document("events", {"task": task, "events": shown})
    elif (held := task.get("held")) and (todo := decide(task_id, held)):
        context.out.note(f"next: {todo}")
    if at_rest(task):
        return code_of_task(task)
    return UNREACHABLE


def _task(context: Context, prefix: str) -> dict[str, Any]:
    from omni.cli.client import task_in

    task_id = full_id(context, prefix)
    try:
        return task_in(context.client().call("get_task_status", {"task_id": task_id}))
    except DaemonUnreachable as error:
        with context.history_instead(error) as history:
            return history.task(task_id)


def _follow(context: Context, client: Client, task_id: str, shown: list[dict[str, Any]]) -> dict[str, Any]:
    from omni.cli.client import task_in

    after, heard = 0, Heard(context.out, task_id)
    while True:
        # The task first: what is at rest now has all its events behind it, so the last look misses none.
        task = task_in(client.persist("get_task_status", {"task_id": task_id}, patience_s=PATIENCE_S))
        news = client.persist("task_events", {"task_id": task_id, "after": after}, patience_s=PATIENCE_S)["events"]
        _print(context, news, shown)
        after = max([after, *(event["position"] for event in news)])
        if at_rest(task):
            return task
        question = {"task_id": task_id, "wait_s": FOLLOW_S}
        client.persist("wait_task", question, patience_s=PATIENCE_S, on_progress=heard)
        heard.note()
        context.out.redraw("")


def _print(context: Context, events: list[dict[str, Any]], shown: list[dict[str, Any]]) -> None:
    known = {event["position"] for event in shown}
    for event in events:
        if event["position"] not in known:
            shown.append(event)
            if not context.out.as_json:
                context.out.text(event_line(event))
