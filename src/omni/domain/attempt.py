"""How an attempt ends, and what follows: the honest crash protocol.

Theory of operation. *Accepted once, finished at most once in the record. Side effects are at-least-once under
`retry`, at-most-once under `ask` and `fail`; never "exactly once".* An attempt is durable before anything is started.
Then one of:

    outcome reported            follows
    succeeded                   the task completes
    failed, and never sent      another attempt after a backoff (UNSENT): nothing ran, so nothing can run twice
    failed                      the task fails: the executor said so, or was too slow and was stopped
    failed for want of money    the task is held: a cap can be raised
    interrupted                 nobody knows what ran: the executor's `on_crash` policy decides (POLICY)
    interrupted in order        its executor stopped it and will go on: resumed when it can, no attempt is used up
    cancelled                   the task is cancelled

While the task is suspended for the cloud, a failure is an interruption: the cloud may be all that was wrong.

A success of the last attempt counts even when it had been given up as interrupted, as long as the task has not ended:
what really finished wins. Anything else is late: kept, and without effect.
"""

from __future__ import annotations

import hashlib
import uuid

from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.task import Task
from omni.domain.values import (
    MAX_ATTEMPTS,
    OPEN_ATTEMPT,
    Attempt,
    AttemptState,
    Held,
    Millis,
    OnCrash,
    TaskError,
    TaskState,
)

UNSENT = frozenset({"unavailable", "rate_limited"})  # the executor never began: safe to try again under any policy
OVER_BUDGET = "over_budget"  # the model port said so
MAX_UNSENT = 8  # then the task is held: an executor that is up and never takes it is a matter for a person
ASK_AFTER_MS = 3_600_000  # work that was interrupted longer ago is not repeated unasked: the world has moved on
MAX_PAUSES = 20  # of one task, by its executor; then the policy decides as after any interruption
PAUSE_CAP_MS = 691_200_000  # eight days: limits by the week are the longest that are known
BACKOFF_MS = 1_000
BACKOFF_CAP_MS = 60_000
RETRY_AFTER_CAP_MS = 600_000  # however long a server asks for: some say weeks
# The name space of attempt handles; another one would orphan every executor session that is to be resumed.
_HANDLES = uuid.UUID("5f0c9d0e-5a1b-5c86-9f0e-3d8a1c7b2e4f").bytes
# Python 3.11 makes a call of each look at a member of an enum: what every event needs is looked up once.
_STARTED, _INTERRUPTED, _WAITING = AttemptState.STARTED, AttemptState.INTERRUPTED, TaskState.WAITING


def key(task_id: str, n: int) -> str:
    """The idempotency key that the executor gets."""
    return f"{task_id}:{n}"


def handle(task_id: str, n: int) -> str:
    """The session id of an attempt, a UUIDv5: ours, made before the spawn, the same whenever it is derived again."""
    digest = hashlib.sha1(_HANDLES + key(task_id, n).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def backoff_ms(task_id: str, n: int) -> int:
    """Milliseconds before attempt n+1: doubling, capped, ± 25 % by a hash so that a herd spreads and replay agrees."""
    base = min(BACKOFF_CAP_MS, BACKOFF_MS << min(n - 1, 16))
    spread = int.from_bytes(hashlib.sha256(key(task_id, n).encode()).digest()[:2]) / 65_535
    return int(base * (0.75 + 0.5 * spread))


def started(task: Task, report: cmd.ReportStarted) -> list[ev.TaskEvent]:
    """Note that the executor has it; a second or late word changes nothing."""
    last = task.open_attempt
    if last is None or last.n != report.n or last.state is _STARTED:
        return []
    return [ev.AttemptStarted(report.n, report.pid, report.pid_started_ms, report.session, report.notes)]


def succeeded(task: Task, report: cmd.ReportSucceeded) -> list[ev.TaskEvent]:
    """Complete the task, unless the attempt is out of date."""
    if not _decides(task, report.n):
        return _late(task, report.n, "succeeded", report.session, report)
    done = ev.AttemptSucceeded(report.n, report.result, report.session, report.usage, report.cost_usd)
    return [done, ev.TaskCompleted(report.n)]


def failed(task: Task, report: cmd.ReportFailed, at: Millis) -> list[ev.TaskEvent]:
    """Retry what was never sent; else the task fails with the executor's own words."""
    attempt = task.open_attempt
    if attempt is None or attempt.n != report.n:
        return _late(task, report.n, "failed", report.error.message)
    if task.cancel_requested:
        return [ev.AttemptCancelled(report.n), ev.TaskCancelled("")]
    if report.error.kind == OVER_BUDGET:  # no free model would do instead: a person may raise the cap, or wait for one
        return [ev.AttemptFailed(report.n, report.error), ev.TaskHeld(_for_want_of_money(report.error))]
    if report.error.kind not in UNSENT and task.state is _WAITING:
        return _cut_off(task, attempt, f"it failed while the cloud was gone: {report.error.message}", at)
    if report.error.kind not in UNSENT:
        return [ev.AttemptFailed(report.n, report.error), ev.TaskFailed(report.error)]
    if _unsent(task) + 1 >= MAX_UNSENT:
        held = Held(
            "no_executor", f"{attempt.route.executor} cannot be used: {report.error.message}", ("retry", "fail")
        )
        return [ev.AttemptFailed(report.n, report.error), ev.TaskHeld(held)]
    wait_ms = max(backoff_ms(task.id, report.n), min(report.retry_after_ms, RETRY_AFTER_CAP_MS))
    return [ev.AttemptFailed(report.n, report.error, at + wait_ms)]


def interrupted(task: Task, report: cmd.ReportInterrupted, at: Millis) -> list[ev.TaskEvent]:
    """Let the policy decide about an attempt whose outcome cannot be known."""
    attempt = task.open_attempt
    if attempt is None or attempt.n != report.n:
        return []
    if task.cancel_requested:
        return [ev.AttemptCancelled(report.n, confirmed=False), ev.TaskCancelled("")]
    if report.orderly and report.resumable and attempt.policy == "resume" and _pauses(task) < MAX_PAUSES:
        wait_ms = max(BACKOFF_MS, min(report.retry_after_ms, PAUSE_CAP_MS))
        return [ev.AttemptInterrupted(attempt.n, report.evidence, at + wait_ms, orderly=True)]
    return _cut_off(task, attempt, report.evidence, at, resumable=report.resumable)


def _cut_off(task: Task, attempt: Attempt, evidence: str, at: Millis, *, resumable: bool = False) -> list[ev.TaskEvent]:
    policy = _effective(task, attempt, at, resumable=resumable)
    if policy in {"retry", "resume"}:
        return [ev.AttemptInterrupted(attempt.n, evidence, at + backoff_ms(task.id, attempt.n))]
    lost = ev.AttemptInterrupted(attempt.n, evidence)
    if policy == "fail" and task.state is not _WAITING:
        hint = f"omni task retry {task.id}"
        return [lost, ev.TaskFailed(TaskError("interrupted", f"outcome unknown: {evidence}", hint))]
    return [lost, ev.TaskHeld(question(attempt, evidence))]


def cancelled(task: Task, report: cmd.ReportCancelled) -> list[ev.TaskEvent]:
    """End a task whose attempt was stopped."""
    attempt = task.open_attempt
    if attempt is None or attempt.n != report.n:
        return _late(task, report.n, "cancelled", "")
    return [ev.AttemptCancelled(report.n, report.confirmed), ev.TaskCancelled("")]


def _decides(task: Task, n: int) -> bool:
    last = task.last
    if last is None or last.n != n or task.ended:
        return False
    return last.state in OPEN_ATTEMPT or last.state is _INTERRUPTED


def _late(
    task: Task, n: int, outcome: str, detail: str, report: cmd.ReportSucceeded | None = None
) -> list[ev.TaskEvent]:
    """Keep an outcome that came too late; the same outcome told twice is no news."""
    known = {
        "succeeded": AttemptState.SUCCEEDED,
        "failed": AttemptState.FAILED,
        "cancelled": AttemptState.CANCELLED,
    }[outcome]
    told = [a for a in task.attempts if a.n == n]
    if not told or told[0].state is known:
        return []
    return [ev.LateOutcomeArrived(n, outcome, detail, report.result if report else None)]


def _effective(task: Task, attempt: Attempt, at: Millis, *, resumable: bool) -> OnCrash:
    """The policy after its limits: attempts used up, too old, or nothing to resume all end in a question."""
    spent = len(task.attempts) - _unsent(task) - _pauses(task) >= MAX_ATTEMPTS
    if attempt.policy in {"retry", "resume"} and (spent or at - attempt.planned_at > ASK_AFTER_MS):
        return "ask"
    if attempt.policy == "resume" and not resumable:
        return "ask"
    return attempt.policy


def _for_want_of_money(error: TaskError) -> Held:
    return Held("budget", error.message, ("retry", "fail"))


def uncertain(task: Task) -> bool:
    """Whether the task waits for another attempt although the last one may have done its work."""
    return task.retry_at is not None and task.last is not None and task.last.state is _INTERRUPTED


def too_old(task: Task, at: Millis) -> bool:
    """Whether the last attempt began so long ago that its work is not repeated unasked.

    One that its executor stopped in order goes on from where it was: it may wait for a cloud that is gone, or for a
    further limit of an account, as long beyond its time as any pause lasts.
    """
    last = task.last
    if last is None:
        return False
    if last.orderly:
        return at - max(last.planned_at, task.retry_at or 0) > PAUSE_CAP_MS
    return at - last.planned_at > ASK_AFTER_MS


def question(attempt: Attempt, evidence: str) -> Held:
    """What a person is asked about an attempt whose outcome nobody knows."""
    reason = f"attempt {attempt.n} on {attempt.route.executor} was interrupted ({evidence}); it may have done its work"
    return Held("interrupted", reason, ("retry", "accept", "fail"))


def _pauses(task: Task) -> int:
    return sum(1 for a in task.attempts if a.orderly)


def _unsent(task: Task) -> int:
    return sum(1 for a in task.attempts if a.error is not None and a.error.kind in UNSENT)
