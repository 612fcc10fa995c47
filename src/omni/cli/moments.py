"""`omni replay at` and `omni replay diff`: the state at one moment, and what differs between two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK
from omni.cli.output import Output, counted, local_time, one_line, table
from omni.cli.show import SHORT, task_table
from omni.cli.status import spent

if TYPE_CHECKING:
    from omni.replay.history import History
    from omni.replay.state import StateAt

HASH_SHOWN = 16
VALUE_CHARS = 200
_NOTHING = "–"
_TASK = re.compile(r"^tasks\[([0-9a-f-]{36})\]")


def at(context: Context, point: str) -> int:
    """Show the state at a position or a time. Raises NoSuchMoment, NotFound, EventLogError."""
    with context.history() as history:
        state = _state(context, history, point)
        context.out.redraw("")
        view = state.view()
        context.out.show("state", {"state": view}, state_lines(context.out, view))
    return OK


def diff(context: Context, before: str, after: str) -> int:
    """Show what differs between two moments. Raises NoSuchMoment, NotFound, EventLogError."""
    from omni.replay.diff import between

    with context.history() as history:
        one, other = _state(context, history, before), _state(context, history, after)
        found = between(one, other)
        context.out.redraw("")
        body = {"before": _moment(one), "after": _moment(other), "differences": msgspec.to_builtins(found)}
        context.out.show("diff", body, diff_lines(context.out, body))
    return OK


def state_lines(out: Output, view: dict[str, Any]) -> list[str]:
    """One moment for people; everything in it stands in the JSON document."""
    if not view["position"]:
        return ["before the first event there is nothing"]
    head = f"position {view['position']:,}, {local_time(view['at'], exact=True)}, state {view['hash'][:HASH_SHOWN]}"
    facts = [f"{name:<9}{value}" for name, value in _facts(out, view) if value]
    tasks = view["tasks"]
    shown = [*tasks["open"], *tasks["ended"]]
    more = [f"and {tasks['open_left_out']} more that were open: --json"] if tasks["open_left_out"] else []
    return [head, *facts, *_executors(view), *_spaced(task_table(out, shown)), *more]


def diff_lines(out: Output, body: dict[str, Any]) -> list[str]:
    """Each difference on a line: where, what stood there, what stands there."""
    one, other = body["before"], body["after"]
    span = f"from position {one['position']:,} ({_at(one)}) to {other['position']:,} ({_at(other)})"
    found = body["differences"]
    if not found:
        return [f"{span}: nothing differs"]
    rows = [(_path(each["path"]), f"{_value(each['before'])} → {_value(each['after'])}") for each in found]
    return [
        f"{span}: {counted(len(found), 'difference')}",
        *table(("WHERE", "BEFORE → AFTER"), rows),
    ]


def _path(path: str) -> str:
    """Where it is, with ids as short as they may be typed."""
    return one_line(_TASK.sub(lambda task: f"tasks[{task[1][:SHORT]}]", path))


def _state(context: Context, history: History, point: str) -> StateAt:
    from omni.replay.state import state_at
    from omni.replay.when import position_of
    from omni.runtime.ports import SystemClock

    position = position_of(history.reader, point, SystemClock().wall_ms())
    return state_at(history, position, context.counting("folding the log"))


def _moment(state: StateAt) -> dict[str, Any]:
    from omni.domain.view import timestamp

    return {"position": state.position, "at": timestamp(state.at_ms), "hash": state.hash}


def _at(moment: dict[str, Any]) -> str:
    return local_time(moment["at"]) if moment["position"] else "before the first event"


def _facts(out: Output, view: dict[str, Any]) -> list[tuple[str, str]]:
    mode, system = view["health"]["mode"], view["system"]
    why = f": {one_line(mode['reason'])}" if mode["reason"] else ""
    counts = ", ".join(f"{count} {state}" for state, count in view["tasks"]["counts"].items())
    return [
        ("mode", f"{out.state(mode['mode'])}{why}" + (f", since {local_time(mode['since'])}" if mode["since"] else "")),
        ("daemon", _daemon(system)),
        ("dispatch", _dispatch(view["router"]["dispatch"])),
        ("config", _configuration(system["configuration"])),
        ("health", ", ".join(_ailing(view["health"])) or "nothing is known to be down"),
        ("tasks", counts or "none yet"),
        ("spent", spent(view["spend"]).replace("today", "that day", 1)),
        ("repair", f"by task {system['repair']['task_id']}" if system["repair"]["task_id"] else ""),
        ("owed", counted(len(system["outbox"]), "notice") if system["outbox"] else ""),
    ]


def _daemon(system: dict[str, Any]) -> str:
    daemon = system["daemon"]
    if daemon is None:
        return ""
    was = "running" if system["running"] else "stopped"
    return f"omni {daemon['version']}, pid {daemon['pid']}, {was}, started {local_time(daemon['started_at'])}"


def _dispatch(known: dict[str, Any]) -> str:
    """Why nothing was begun, where that was so."""
    if known["state"] != "paused":
        return "nothing is begun: a stop was asked for" if known["state"] == "stopping" else ""
    since, until = local_time(known["since"]), local_time(known["until"])
    return f"paused in a crash loop, since {since}, until {until} at most"


def _configuration(known: dict[str, Any] | None) -> str:
    return f"{known['digest'][:HASH_SHOWN]}, in force since position {known['position']:,}" if known else ""


def _ailing(health: dict[str, Any]) -> list[str]:
    """Every component that was not well."""
    named = [{"name": "proxy", **health["proxy"]}, *health["clouds"], *health["keys"], *health["breakers"]]
    return [f"{one_line(each['name'])} {each['state']}" for each in named if each["state"] in _UNWELL]


_UNWELL = frozenset({"down", "invalid", "cooldown", "open"})


def _executors(view: dict[str, Any]) -> list[str]:
    rows = [
        (one_line(e["name"]), e["noted"]["state"], *(str(e[n]) for n in ("running", "queued", "waiting")), _why(e))
        for e in view["router"]["executors"]
    ]
    return _spaced(table(("EXECUTOR", "HEALTH", "RUNNING", "QUEUED", "WAITING", "WHY"), rows))


def _why(executor: dict[str, Any]) -> str:
    return one_line(executor["unavailable"] or executor["noted"]["reason"] or "")


def _spaced(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []


def _value(value: Any) -> str:
    if value is None:
        return _NOTHING
    said = one_line(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return said if len(said) <= VALUE_CHARS else said[: VALUE_CHARS - 1] + "…"
