"""Waiting for a task: through slow answers, restarts of the daemon and Ctrl-C."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from omni.cli.output import Output, one_line
from omni.cli.show import WAITING

if TYPE_CHECKING:
    from omni.cli.client import Client

PATIENCE_S = 30.0  # how long a daemon that went away may take to come back
LOOK_S = 2.0  # one call waits this long, so that a person sees each state
_BETWEEN = frozenset({"idle"})  # with an attempt behind it: the next one comes later
_AT_REST = frozenset({"completed", "failed", "cancelled", "held"})


def at_rest(task: dict[str, Any]) -> bool:
    """Whether nothing more happens to a task by itself."""
    return task["state"] in _AT_REST


class Heard:
    """What an executor says of its work: on a live terminal as it comes, elsewhere one line for each look at most."""

    def __init__(self, out: Output, task_id: str) -> None:
        self._out = out
        self._own = f"Task {task_id}"  # begins what Omni says of the task itself, which is shown otherwise
        self._task_id = task_id
        self._noted = ""
        self.last = ""

    def __call__(self, text: str) -> None:
        if text and not text.startswith(self._own):
            self.last = one_line(text)
            self._out.redraw(f"{self._task_id[:18]}  {self.last}")

    def note(self) -> None:
        """Write down where no terminal shows it."""
        if not self._out.live and self.last != self._noted:
            self._out.note(f"{self._task_id}: {self.last}")
        self._noted = self.last


def wait_for(client: Client, task: dict[str, Any], wait_s: float | None, out: Output) -> dict[str, Any]:
    """Follow a task to its end, to a decision that a person has to make, or to the end of the time; None: no bound."""
    from omni.cli.client import task_in

    began = time.monotonic()
    shown, heard = "", Heard(out, task["id"])
    while not at_rest(task):
        shown = _show(out, task, shown, time.monotonic() - began, heard.last)
        left = LOOK_S if wait_s is None else wait_s - (time.monotonic() - began)
        if left <= 0:
            break
        question = {"task_id": task["id"], "wait_s": min(LOOK_S, left)}
        looked = client.persist("wait_task", question, patience_s=PATIENCE_S, on_lost=_says(out), on_progress=heard)
        task = task_in(looked)
        heard.note()
    out.redraw("")
    return task


def _show(out: Output, task: dict[str, Any], shown: str, elapsed_s: float, heard: str = "") -> str:
    who = f" by {one_line(task['executor'])}" if task.get("executor") else ""
    now = f"{task['state']}{who}, attempt {task['attempt']}" if task.get("attempt") else f"{task['state']}{who}"
    why = _why(task)
    if out.live and why and now != shown:  # a line that stays: the one that is drawn anew must fit the terminal
        out.redraw("")
        out.note(f"{task['id']}: {now}{why}")
    if out.live:
        out.redraw(f"{task['id'][:18]}  {now}  {elapsed_s:.0f} s  {heard}".rstrip())
    elif now != shown:
        out.note(f"{task['id']}: {now}{why}")
    return now


def _why(task: dict[str, Any]) -> str:
    """What keeps a task that does not run; empty when nothing is known to."""
    if task["state"] == "waiting":
        return f" {WAITING}"
    attempts = task.get("attempts") or ()
    error = attempts[-1].get("error") if attempts and task["state"] in _BETWEEN else None
    return f", which failed: {one_line(error['message'])}" if error else ""


def _says(out: Output) -> Any:
    said: set[str] = set()

    def say(error: Exception) -> None:
        text = getattr(error, "message", str(error))
        if not said:
            out.redraw("")
            out.note(f"{text}; waiting up to {PATIENCE_S:g} s for it to come back")
        said.add(text)

    return say
