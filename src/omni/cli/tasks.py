"""Commands that make and change tasks: submit, cancel, retry, resolve."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omni.cli.arguments import FOREVER
from omni.cli.context import Context
from omni.cli.exits import HELD, INTERRUPTED, OK, BadUsage, code_of_task
from omni.cli.ids import full_id
from omni.cli.output import one_line
from omni.cli.show import task_lines
from omni.cli.waiting import PATIENCE_S, at_rest, wait_for
from omni.domain.errors import OmniError

if TYPE_CHECKING:
    from omni.cli.client import Client

MAX_TEXT_CHARS = 100_000  # what the daemon takes
MAX_TEXT_BYTES = 4 * MAX_TEXT_CHARS
_STOPPED = {
    "cancelled": "is cancelled",
    "completed": "was completed before; nothing was stopped",
    "failed": "had failed before; nothing was stopped",
}


def submit(context: Context, source: str, wait: str | None, options: dict[str, Any]) -> int:
    """Send a task, once however often the connection is lost; with `wait` follow it to its end."""
    wait_s = _wait_s(wait)
    client = context.client()  # a broken configuration shows before anybody types the text
    text = read_text(source)
    key = options.pop("idempotency_key", None) or f"cli-{uuid.uuid4().hex}"
    workdir = options.pop("workdir", None)
    arguments = {
        "description": text, "idempotency_key": key,
        "workdir": os.path.abspath(os.path.expanduser(workdir)) if workdir else None,  # noqa: PTH100, PTH111 — keeps links
        **options,
    }  # fmt: skip
    try:
        task = _send(context, client, arguments)
    except OmniError as error:
        raise _kept(context, error, source, text, key) from None
    return _report(context, client, task, wait is not None, wait_s)


def cancel(context: Context, prefix: str) -> int:
    """Ask for a task to be stopped."""
    task = _change(context, "cancel_task", prefix)
    said = _STOPPED.get(task["state"], f"is asked to stop (now {task['state']})")
    context.out.show("task", {"task": task}, [f"{task['id']} {said}"])
    return OK


def resolve(context: Context, prefix: str, decision: str) -> int:
    """Decide about a held task."""
    task = _change(context, "resolve_task", prefix, decision=decision)
    again = f" again: {one_line(task['held']['reason'])}" if task.get("held") else ""
    context.out.show("task", {"task": task}, [f"{task['id']} is now {task['state']}{again}"])
    return OK


def retry(context: Context, prefix: str, wait: str | None) -> int:
    """Try a task again; an ended one becomes a new task."""
    from omni.cli.client import task_in

    wait_s = _wait_s(wait)
    client = context.client()
    task = task_in(client.call("retry_task", {"task_id": full_id(context, prefix)}))
    return _report(context, client, task, wait is not None, wait_s)


def read_text(source: str) -> str:
    """The text of a task: as given, from stdin (`-`) or from a file (`@file`). Raises BadUsage."""
    if source == "-":
        if sys.stdin.isatty():
            sys.stderr.write("type the task, end with Ctrl-D\n")
        raw = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    elif source.startswith("@"):
        raw = _file(Path(source[1:]).expanduser())
    else:
        raw = source.encode("utf-8", "surrogateescape")
    return _checked(raw)


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise BadUsage(
            f"{path} cannot be read: {error.strerror}",
            hint="omni submit @FILE, or omni submit -- '@text' for a text like that",
        ) from None


def _checked(raw: bytes) -> str:
    try:
        text = raw[:MAX_TEXT_BYTES].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadUsage(
            f"the text is not UTF-8 (byte {error.start})",
            hint="name its encoding: iconv -f GB18030 -t UTF-8 FILE | omni submit -",
        ) from None
    if len(raw) > MAX_TEXT_BYTES or len(text) > MAX_TEXT_CHARS:
        raise BadUsage(
            f"the text is longer than {MAX_TEXT_CHARS:,} characters",
            hint="omni submit 'do what stands in FILE', with the text in that file",
        )
    if not text.strip():
        raise BadUsage("the task has no text", hint="omni submit 'what shall be done'")
    return text.rstrip("\n")


def _send(context: Context, client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    from omni.cli.client import task_in

    def say(error: OmniError) -> None:
        context.out.redraw(f"{error.message}; sending again")

    answer = client.persist("create_task", arguments, patience_s=PATIENCE_S, on_lost=say)
    context.out.redraw("")
    return task_in(answer)


def _kept(context: Context, error: OmniError, source: str, text: str, key: str) -> OmniError:
    """Keep a text that was typed or piped in, and say how to send it again without making two tasks."""
    from omni.cli.client import ConnectionLost

    if source == "-":
        name = f"omni-unsent-{key[-8:]}.txt"
        path = Path(name).absolute()
        try:
            path.write_text(text, encoding="utf-8")
        except OSError:
            return error
        error.hint = f"{error.hint + ', then ' if error.hint else ''}omni submit @{path} --key {key}"
    elif isinstance(error, ConnectionLost):
        error.hint = f"omni submit … --key {key} (the same key never makes two tasks)"
    return error


def _report(context: Context, client: Client, task: dict[str, Any], wait: bool, wait_s: float | None) -> int:
    if not wait:
        context.out.show("task", {"task": task}, [str(task["id"])])
        if not context.out.as_json:
            context.out.note(_next_step(task))
        return OK
    try:
        task = wait_for(client, task, wait_s, context.out)
    except KeyboardInterrupt:
        context.out.redraw("")
        context.out.note(
            f"\n{task['id']} goes on\n  next: omni task tail {task['id']}, or omni task cancel {task['id']}"
        )
        return INTERRUPTED
    context.out.show("task", {"task": task}, task_lines(context.out, task))
    if not at_rest(task):
        context.out.note(f"not finished after {wait_s:g} s; it goes on\n  next: omni task tail {task['id']}")
    return code_of_task(task)


def _next_step(task: dict[str, Any]) -> str:
    if code_of_task(task) == HELD:
        return f"held: {task['held']['reason']}\n  next: omni why {task['id']}"
    return f"{task['state']}\n  next: omni task tail {task['id']}"


def _change(context: Context, tool: str, prefix: str, **more: Any) -> dict[str, Any]:
    from omni.cli.client import task_in

    return task_in(context.client().call(tool, {"task_id": full_id(context, prefix), **more}))


def _wait_s(wait: str | None) -> float | None:
    if wait is None or wait == FOREVER:
        return None
    try:
        seconds = float(wait)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise BadUsage(f"--wait takes seconds, not {wait!r}", hint="omni submit TEXT --wait, or --wait 60")
    return seconds
