"""A client that repeats itself makes one task, and a conversation hears once how its task ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.domain.given import Desk, names, worker

from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import news
from omni.domain.dispatch import digest
from omni.domain.folding import fold
from omni.domain.values import BRIDGE_KEY, ExecutorHealth, TaskSpec, TaskState

WINDOW_MS = 600_000
CLIENT = "mcp:openclaw-bundle-mcp"
CHAT = "telegram:42"


def ask(desk: Desk, task_id: str, *, client: str = CLIENT, within_ms: int = WINDOW_MS, **spec: Any) -> str:
    """Create a task as a client that repeats itself would; the id that it was answered with."""
    wanted = TaskSpec(spec.pop("description", "write a poem"), **spec)
    desk.put(cmd.CreateTask(f"r-{task_id}", task_id, wanted, client, within_ms))
    (answer,) = [s.message for s in desk.sends if isinstance(s.message, cmd.Answered)]
    assert answer.refusal is None, answer.refusal
    return str(answer.task_id)


def answers(desk: Desk) -> list[cmd.Tell]:
    """What went to conversations after the last message, as the Router announces it."""
    told = [task for task in desk.board.tasks.values() if task.state in news._TOLD]
    sends = [send.message for send in news.of(told, failures=False)]
    return [each for each in sends if each.kind == "task_answer"]


# --- a repeated call ------------------------------------------------------------------------------------------------


def test_the_same_call_within_the_window_is_the_same_task_whether_it_has_ended_or_not() -> None:
    desk = Desk(worker())
    assert ask(desk, "a") == "a"
    assert names(desk.events)[0] == "task.created"
    desk.at += WINDOW_MS // 2
    assert (ask(desk, "b"), desk.events) == ("a", [])
    desk.succeed("a")
    desk.at += WINDOW_MS // 2
    assert (ask(desk, "c"), desk.events) == ("a", [])
    assert list(desk.board.tasks) == ["a"]


def test_after_the_window_it_is_a_new_task_and_a_window_of_its_own_begins() -> None:
    desk = Desk(worker())
    ask(desk, "a")
    desk.at += WINDOW_MS + 1
    assert ask(desk, "b") == "b"
    desk.at += WINDOW_MS
    assert ask(desk, "c") == "b"


def test_a_clock_that_is_set_back_makes_no_second_task() -> None:
    desk = Desk(worker())
    desk.at += WINDOW_MS
    ask(desk, "a")
    desk.at -= WINDOW_MS // 2
    assert ask(desk, "b") == "a"


@pytest.mark.parametrize(
    "other",
    [
        {"description": "write two poems"},
        {"client": "mcp:openclaw-two"},
        {"reply_to": CHAT},
        {"within_ms": 0},
        {"idempotency_key": "once more, please"},
    ],
    ids=str,
)
def test_what_is_not_the_same_call_is_another_task(other: dict[str, Any]) -> None:
    desk = Desk(worker())
    ask(desk, "a")
    assert ask(desk, "b", **other) == "b"


def test_a_key_that_the_bridge_made_does_not_hide_a_repetition() -> None:
    desk = Desk(worker())
    assert ask(desk, "a", idempotency_key=f"{BRIDGE_KEY}1") == "a"
    assert ask(desk, "b", idempotency_key=f"{BRIDGE_KEY}2") == "a"
    assert ask(desk, "c") == "a"


def test_a_task_with_a_key_of_the_clients_own_is_never_given_for_a_call_without_one() -> None:
    desk = Desk(worker())
    ask(desk, "a", idempotency_key="mine")
    assert ask(desk, "b") == "b"


def fail(desk: Desk, task_id: str) -> None:
    desk.fail(task_id)


def cancel(desk: Desk, task_id: str) -> None:
    desk.put(cmd.CancelTask("q", task_id, "cli"))
    desk.put(cmd.ReportCancelled(task_id, 1))


def stop(desk: Desk, task_id: str) -> None:
    """Ask it to end; its executor has yet to answer."""
    desk.put(cmd.CancelTask("q", task_id, "cli"))


@pytest.mark.parametrize("in_vain", [fail, cancel, stop])
def test_what_was_done_in_vain_is_no_answer_to_another_call(in_vain: Callable[[Desk, str], None]) -> None:
    desk = Desk(worker())
    ask(desk, "a")
    in_vain(desk, "a")
    assert ask(desk, "b") == "b"
    assert ask(desk, "c") == "b"
    in_vain(desk, "b")
    assert ask(desk, "d") == "d"


def test_a_question_that_is_open_is_the_answer_to_the_same_call() -> None:
    """Its attempt may have done the work: only a person may have it done again."""
    desk = Desk(worker(on_crash="ask"))
    ask(desk, "a")
    desk.interrupt("a")
    assert desk.task("a").state is TaskState.HELD
    assert (ask(desk, "b"), desk.events) == ("a", [])


def test_what_finished_before_its_cancel_arrived_counts() -> None:
    desk = Desk(worker())
    ask(desk, "a")
    stop(desk, "a")
    desk.succeed("a")
    assert ask(desk, "b") == "a"


def test_a_task_that_is_tried_again_by_name_stands_for_the_one_that_failed() -> None:
    desk = Desk(worker())
    ask(desk, "a")
    desk.fail("a")
    desk.put(cmd.RetryTask("q", "a", "b", "cli"))
    assert desk.task("b").spec.retry_of == "a"
    desk.at += WINDOW_MS
    assert ask(desk, "c") == "b"
    desk.fail("b")
    desk.put(cmd.RetryTask("q", "b", "d", "cli"))
    desk.at += WINDOW_MS
    assert ask(desk, "e") == "d"
    desk.fail("d")
    assert ask(desk, "f") == "f"


def test_the_index_is_the_same_from_the_log_from_a_snapshot_and_from_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "KEEP_ENDED", 2)
    desk = Desk(worker())
    for n in range(4):  # the same payload four times, and the newest ends first
        ask(desk, f"t{n}")
        desk.at += WINDOW_MS + 1
    ask(desk, "other", description="another")
    for task_id in ("t3", "t0", "other", "t1"):
        desk.succeed(task_id)
        built = boards.Board()
        fold(built, [(position, stream, at, event) for stream, event, at, position in desk.log])
        for board in (desk.replayed(), boards.restore(desk.board.snapshot()), built):
            assert {k: list(v) for k, v in board.asked.items()} == {k: list(v) for k, v in desk.board.asked.items()}
    assert "t3" not in desk.board.tasks
    newest = desk.board.newest_asked(CLIENT, desk.task("t2").digest)
    assert newest is not None
    assert newest.id == "t2"


def test_the_index_forgets_with_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "KEEP_ENDED", 3)
    desk = Desk(worker())
    for n in range(20):
        ask(desk, f"t{n}", description=f"poem {n}")
        desk.succeed(f"t{n}")
    assert len(desk.board.asked) == 3


# --- the answer -----------------------------------------------------------------------------------------------------


def test_a_conversation_hears_how_its_task_ended() -> None:
    desk = Desk(worker())
    ask(desk, "a", reply_to=CHAT)
    assert answers(desk) == []
    desk.succeed("a", text="roses are red")
    facts = {"task": "a", "state": "completed", "text": "roses are red"}
    assert names(desk.events)[-1] == "task.completed"
    assert answers(desk) == [cmd.Tell("task_answer", facts, "answer:a:completed", CHAT, len(desk.log))]


def test_without_a_conversation_nobody_is_answered() -> None:
    desk = Desk(worker())
    ask(desk, "a")
    desk.succeed("a")
    assert answers(desk) == []


def test_a_failure_and_a_question_are_answers_too() -> None:
    desk = Desk(worker(on_crash="ask"))
    ask(desk, "a", reply_to=CHAT)
    desk.interrupt("a")
    (question,) = answers(desk)
    assert question.facts["state"] == "held"
    assert question.facts["text"]
    desk.put(cmd.ResolveTask("q", "a", "retry"))
    desk.interrupt("a", n=2)
    (again,) = answers(desk)
    assert again.dedup != question.dedup  # another question
    desk.put(cmd.ResolveTask("q", "a", "fail", "me"))
    (end,) = answers(desk)
    assert (end.dedup, end.facts["state"]) == ("answer:a:failed", "failed")
    assert "given up by me" in end.facts["text"]


@pytest.mark.parametrize(("by", "told"), [(CLIENT, 0), ("cli", 1)])
@pytest.mark.parametrize("running", [True, False])
def test_cancelling_is_news_to_a_conversation_when_another_did_it(by: str, told: int, *, running: bool) -> None:
    desk = Desk(worker(), ready=running)
    ask(desk, "a", reply_to=CHAT)
    desk.put(cmd.CancelTask("q", "a", by))
    if running:
        desk.put(cmd.ReportCancelled("a", 1))
    assert desk.task("a").state is TaskState.CANCELLED
    assert [each.facts["state"] for each in answers(desk)] == ["cancelled"] * told


def test_who_waits_for_an_executor_is_told_so_once_however_often_it_is_tried() -> None:
    desk = Desk(worker())
    desk.note("worker", ExecutorHealth("failed", "it broke"))
    ask(desk, "a", reply_to=CHAT)
    (first,) = answers(desk)
    desk.put(cmd.ResolveTask("q", "a", "retry"))
    assert names(desk.events)[-1] == "task.held"
    assert first.facts["state"] == "held"
    assert [each.dedup for each in answers(desk)] == [first.dedup]


def test_after_a_start_the_newest_answers_are_said_again_under_the_same_names() -> None:
    desk = Desk(worker(max_concurrency=600))
    for n in range(news.ANSWERS_OWED + 20):
        ask(desk, f"t{n}", description=f"poem {n}", reply_to=CHAT)
        desk.succeed(f"t{n}")
    first = answers(desk)
    desk.put(cmd.Boot("boot-2", desk.settings))
    again = [send.message for send in desk.sends if send.to == "brainstem"]
    assert again == first[-news.ANSWERS_OWED :]


def test_a_long_answer_is_cut() -> None:
    desk = Desk(worker())
    ask(desk, "a", reply_to=CHAT)
    desk.succeed("a", text="x" * 10_000)
    (answer,) = answers(desk)
    assert len(answer.facts["text"]) == news.ANSWER_CHARS
    assert answer.facts["text"].endswith("…")


def test_the_conversation_is_part_of_the_payload_and_changes_no_older_one() -> None:
    assert digest(TaskSpec("x")) != digest(TaskSpec("x", reply_to=CHAT))
    assert b"reply_to" not in msgspec.json.encode(ev.TaskCreated(TaskSpec("x"), "", ""))
