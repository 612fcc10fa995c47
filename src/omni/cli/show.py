"""Tasks, events and decisions in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from omni.cli.output import Output, clean, local_time, one_line, table
from omni.domain.view import timestamp

WAITING = "for the cloud; it goes on by itself when the cloud is back (omni status)"
_MARGIN = " " * 12
SHORT = 18  # the millisecond of creation and its counter: enough to be unique in practice


def task_lines(out: Output, task: dict[str, Any]) -> list[str]:
    """One task with its attempts and what came of it."""
    head = f"{task['id']}  {out.state(str(task['state']))}"
    facts = [f"  {name:<10}{value}" for name, value in _facts(task) if value]
    return [head, *facts, *_attempts(out, task), *_outcome(out, task)]


def task_table(out: Output, tasks: list[dict[str, Any]]) -> list[str]:
    """Tasks, one a line."""
    rows = [
        (t["id"][:SHORT], str(t["state"]), one_line(t["executor"] or "-"), local_time(t["created_at"]), _title(t))
        for t in tasks
    ]
    return _coloured(out, table(("ID", "STATE", "EXECUTOR", "CREATED", "TASK"), rows), [r[1] for r in rows])


def event_line(event: dict[str, Any], began: str | None = None) -> str:
    """One event: when, what, and what matters about it. `began` makes the time relative to the first event."""
    from omni.replay.words import sentence

    when = f"{_since(began, event['at']):>9}" if began else local_time(event["at"], exact=True)
    said = sentence(event["type"], event.get("body") or {}, "en", lambda at: local_time(timestamp(at)))
    return f"{when}  {event['type']:<22}{said}".rstrip()


def why_lines(out: Output, answer: dict[str, Any]) -> list[str]:
    """A routing decision: the choice, the reason, everybody who was looked at, and how it went."""
    decision = answer.get("decision")
    if not decision:
        return [f"{answer['task_id']} is {answer['state']}; no executor has been chosen yet", *_held(answer)]
    chosen = f"{answer['task_id']} went to {out.style(one_line(decision['executor'] or 'nobody'), 'bold')}"
    rows = [(one_line(c["executor"]), str(c["score"]), _verdict(c)) for c in decision["candidates"]]
    facts = (
        ("because", decision["reason"]),
        ("type", f"{decision['type']}, complexity {decision['complexity']}"),
        ("signals", ", ".join(decision["signals"])),
        ("tier", decision["tier"]),
        ("model", decision["model"]),
        ("mode", decision["mode"]),
    )
    told = [f"  {name:<9}{one_line(str(value))}" for name, value in facts if value]
    return [chosen, *told, *_indented(table(("CANDIDATE", "SCORE", "WHY"), rows)), *_went(answer), *_held(answer)]


def decide(task_id: str, held: dict[str, Any]) -> str:
    """The command by which a person decides about a held task; empty when there is nothing to choose."""
    options = "|".join(held.get("options") or ())
    return f"omni task resolve {task_id} {options}" if options else ""


def _by_itself(held: dict[str, Any]) -> str:
    return "; it goes on by itself once one can" if held.get("kind") == "no_executor" else ""


def _title(task: dict[str, Any]) -> str:
    return one_line(task["description"])


def _verdict(candidate: dict[str, Any]) -> str:
    rejected = candidate["rejected"]
    return one_line(f"rejected: {rejected}" if rejected else ", ".join(candidate["reasons"]))


def _facts(task: dict[str, Any]) -> list[tuple[str, str]]:
    cost = f"{task['cost_usd']:.4f} USD" if task.get("cost_usd") is not None else ""
    return [
        ("task", one_line(task["description"])),
        ("type", f"{task['type']}, complexity {task['complexity']}" if task.get("type") else ""),
        ("executor", one_line(task.get("executor") or "")),
        ("tier", one_line(task.get("tier") or "")),
        ("model", one_line(task.get("model") or "")),
        ("created", local_time(task["created_at"])),
        ("ended", local_time(task["ended_at"]) if task.get("ended_at") else ""),
        ("next try", local_time(task["retry_at"]) if task.get("retry_at") and task["state"] != "waiting" else ""),
        ("retry of", task.get("retry_of") or ""),
        ("labels", one_line(", ".join(task.get("labels") or ()))),
        ("cost", cost),
    ]


def _attempts(out: Output, task: dict[str, Any]) -> list[str]:
    return [
        f"  attempt {a['n']} {out.state(str(a['state']))} by {one_line(a['executor'])}, {_took(a)}"
        + (f": {_because(a['error'], task.get('error'))}" if a.get("error") else "")
        for a in task.get("attempts") or ()
    ]


def _because(error: dict[str, Any], final: dict[str, Any] | None) -> str:
    """Why an attempt ended; only the first line where the task's own error says the whole below."""
    words: str = error["message"]
    return one_line(words.strip().partition("\n")[0] if final and final["message"] == words else words)


def _lines(words: str) -> str:
    """Each line as one, the further ones below the first."""
    return f"\n{_MARGIN}".join(one_line(each) for each in words.splitlines() if each.strip())


def _took(attempt: dict[str, Any]) -> str:
    began, ended = attempt["started_at"], attempt.get("ended_at")
    return f"{_since(began, ended).lstrip('+')}" if ended else f"since {local_time(began)}"


def _outcome(out: Output, task: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if held := task.get("held"):
        lines.append(f"  {out.state('held')}      {one_line(held['reason'])}{_by_itself(held)}")
        lines += [f"  next      {todo}"] if (todo := decide(task["id"], held)) else []
    elif task["state"] == "waiting":
        lines.append(f"  {out.state('waiting')}   {WAITING}")
    elif task["state"] == "completed" and all(a["state"] != "succeeded" for a in task.get("attempts") or ()):
        lines.append("  accepted  by hand")
    if error := task.get("error"):
        lines.append(f"  {out.style('error', 'bad')}     {_lines(error['message'])}")
        lines += [f"  next      {one_line(error['hint'])}"] if error.get("hint") else []
    if result := task.get("result"):
        lines += ["", clean(result["content"])] if result.get("content") else []
    return lines


def _held(answer: dict[str, Any]) -> list[str]:
    held = answer.get("held")
    if answer["state"] == "waiting":
        return [f"  waiting  {WAITING}"]
    if not held:
        return []
    todo = decide(answer["task_id"], held)
    return [f"  held     {one_line(held['reason'])}{_by_itself(held)}", *([f"  next: {todo}"] if todo else [])]


def _went(answer: dict[str, Any]) -> list[str]:
    attempts = [
        f"  attempt {a['n']}: {a['state']} by {one_line(a['executor'])}, {_took(a)}"
        + (f": {one_line(a['error']['message'])}" if a.get("error") else "")
        for a in answer.get("attempts") or ()
    ]
    waits = answer.get("retry_at") and answer["state"] != "waiting"
    return [*attempts, *([f"  next try {local_time(answer['retry_at'])}"] if waits else [])]


def _indented(lines: list[str]) -> list[str]:
    return ["", *(f"  {line}" for line in lines), ""] if lines else []


def _coloured(out: Output, lines: list[str], states: list[str]) -> list[str]:
    return lines[:1] + [line.replace(state, out.state(state), 1) for line, state in zip(lines[1:], states, strict=True)]


def _since(began: str, now: str) -> str:
    seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(began)).total_seconds()
    return f"+{seconds:.3f} s" if seconds < 60 else f"+{seconds:.0f} s"
