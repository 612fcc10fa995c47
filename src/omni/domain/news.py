"""What Brainstem hears of tasks: how repairs ended, what a person should be told, and what goes back to who asked."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from omni.domain import commands as cmd
from omni.domain.effects import Send
from omni.domain.task import Task
from omni.domain.values import ENDED, Millis, TaskState

BRAINSTEM = "brainstem"
HOUR_MS: Millis = 3_600_000
ANSWER_CHARS = 3_000  # chats take some 4,000; the whole of it is in the task
TITLE_CHARS = 80
ANSWERS_OWED = 500  # no crash loses more
_TOLD = ENDED | {TaskState.HELD}


def of(tasks: Iterable[Task], *, failures: bool) -> list[Send]:
    """What the new states of these tasks mean to Brainstem, which ignores what it has heard before.

    `failures`: the user wants to hear of every task that failed, too.
    """
    told = (task for task in tasks if task.state in _TOLD)
    return [Send(BRAINSTEM, each) for task in told for each in (*_of(task, failures=failures), *_answer(task))]


def owed(tasks: Iterable[Task]) -> list[Send]:
    """How repairs went, what waits for a person, and the newest answers, for a Brainstem that may have missed them.

    In the order in which they were said at first, as Brainstem wants it (`Tell.about`).
    """
    known = sorted((task for task in tasks if task.state in _TOLD), key=lambda task: task.queued)
    answers = {task.id for task in [task for task in known if task.spec.reply_to][-ANSWERS_OWED:]}
    news: list[cmd.RepairReported | cmd.Tell] = []
    for task in known:
        news += _of(task, failures=False) if task.client == BRAINSTEM or _asks(task) else []
        news += _answer(task) if task.id in answers else []
    return [Send(BRAINSTEM, each) for each in news]


def of_refusal(task_id: str, client: str, refusal: cmd.Refusal) -> list[Send]:
    """That there is no such repair, for a Brainstem that asked for it or called it off."""
    if client != BRAINSTEM:
        return []
    return [Send(BRAINSTEM, cmd.RepairReported(task_id, "refused", refusal.message))]


def _of(task: Task, *, failures: bool) -> list[cmd.RepairReported | cmd.Tell]:
    if task.state is TaskState.HELD:
        return [_held(task)]
    said = task.error.message if task.error else ""
    if task.client == BRAINSTEM:
        return [cmd.RepairReported(task.id, str(task.state), said)]
    if failures and task.state is TaskState.FAILED:
        return [cmd.Tell("task_failed", {"task": task.id, "reason": said}, f"failed:{task.id}", about=task.queued)]
    return []


def _answer(task: Task) -> list[cmd.Tell]:
    """How it ended, or what it waits for, to the conversation that asked; its own cancelling is no news to it."""
    if not task.spec.reply_to or (task.client and task.cancelled_by == task.client):
        return []
    facts = {"task": task.id, "state": str(task.state), "text": _text(task)}
    return [cmd.Tell("task_answer", facts, f"answer:{task.id}:{_mark(task)}", task.spec.reply_to, task.queued)]


def _mark(task: Task) -> str:
    """What makes an answer another one: each end once, and each new question; waiting for somebody is no question."""
    if task.held is None:
        return str(task.state)
    return f"held:{task.queued}" if _asks(task) else f"held:{task.held.kind}"


def _text(task: Task) -> str:
    text = ""
    if task.held is not None:
        text = task.held.reason
    elif task.state is TaskState.COMPLETED and task.result is not None:
        plain = task.result.structured
        text = task.result.content or ("" if plain is None else msgspec.json.encode(plain).decode())
    elif task.state is TaskState.FAILED and task.error is not None:
        text = task.error.message
    return text if len(text) <= ANSWER_CHARS else text[: ANSWER_CHARS - 1] + "…"


def _asks(task: Task) -> bool:
    """Whether only a person can move it on; who waits for an executor is looked at anew after each start."""
    return task.held is not None and task.held.kind != "no_executor"


def _title(task: Task) -> str:
    """How its text begins, on one line."""
    words = " ".join(task.spec.description[: 4 * TITLE_CHARS].split())
    return words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1] + "…"


def _held(task: Task) -> cmd.Tell:
    """One notice for a question; one for all who wait for the same executor, and one an hour for a budget."""
    assert task.held is not None
    facts = {"task": task.id, "reason": task.held.reason, "title": _title(task), "options": " ".join(task.held.options)}
    if task.held.kind == "budget":
        return cmd.Tell(
            "budget_reached",
            {**facts, "cap": task.capped.cap if task.capped else "budget"},
            f"budget:{task.held_at // HOUR_MS}",
            about=task.queued,
        )
    if task.held.kind == "no_executor":
        return cmd.Tell("task_stranded", facts, f"nobody:{task.held.reason}", about=task.queued)
    return cmd.Tell("task_held", facts, f"held:{task.id}:{task.queued}", about=task.queued)
