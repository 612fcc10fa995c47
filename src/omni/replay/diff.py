"""What differs between two moments, field by field: a path, what stood there before, and what stood there after.

    tasks[0190….].state                  executing → completed
    router.executors[echo].noted.state   ready → failed
    health.clouds[east].state            up → down

A thing in a list is known by its id, key or name and not by its place, so one that comes or goes moves no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from omni.domain.task import Task
from omni.domain.view import task_view
from omni.replay.state import StateAt, View

NAMES = ("id", "key", "name", "call", "n")  # what tells one thing in a list from another, best first
_PLAIN = re.compile(r"[\w-]+")
_NOT_COMPARED = frozenset({"position", "at", "hash", "tasks"})


class Difference(msgspec.Struct, frozen=True):
    """One place that differs; None where there was nothing, or where there is nothing any more."""

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any) -> list[Difference]:
    """Everything that differs between two JSON values; what is absent counts as null."""
    return list(_compare("", before, after))


def between(before: StateAt, after: StateAt) -> list[Difference]:
    """Everything that changed from one moment to another; a task is one thing, whatever became of it."""
    one, other = _rest(before), _rest(after)
    one["tasks"], other["tasks"] = _changed_tasks(before, after)
    return differences(one, other)


def _rest(state: StateAt) -> View:
    view = {name: value for name, value in state.view(0, 0).items() if name not in _NOT_COMPARED}
    return {"counts": state.counts, **view}


def _changed_tasks(before: StateAt, after: StateAt) -> tuple[list[View], list[View]]:
    """Both sides of all tasks that are not the same; one that has left memory since is read from its stream."""
    ids = dict.fromkeys((*before.board.tasks, *after.board.tasks))
    pairs = ((before.board.tasks.get(i), after.board.tasks.get(i), i) for i in ids)
    changed = [(before.task(i) if one is None else one, after.task(i) if other is None else other)
               for one, other, i in pairs if not _is_same(one, other)]  # fmt: skip
    return _views(one for one, _ in changed), _views(other for _, other in changed)


def _is_same(one: Task | None, other: Task | None) -> bool:
    """Whether nothing happened to a task. One that had ended may have left memory: nothing happens to it any more."""
    if one is None or other is None:
        there = one or other
        return there is None or (one is not None and there.ended)
    return one.position == other.position


def _views(tasks: Iterable[Task | None]) -> list[View]:
    return [task_view(task) for task in tasks if task is not None]


def _compare(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _compare(_member(path, str(key)), before.get(key), after.get(key))
    elif (pair := _by_name(before, after)) is not None:
        one, other = pair
        for name in dict.fromkeys((*one, *other)):
            yield from _compare(f"{path}[{name}]", one.get(name), other.get(name))
    elif not _equal(before, after):
        yield Difference(path, before, after)


def _by_name(before: Any, after: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Two lists of things as dictionaries of things by name; None unless every one has a name of its own."""
    if not (isinstance(before, list) and isinstance(after, list)) or not (before or after):
        return None
    for name in NAMES:
        one, other = (_named(things, name) for things in (before, after))
        if one is not None and other is not None:
            return one, other
    return None


def _named(things: list[Any], name: str) -> dict[str, Any] | None:
    if not all(isinstance(thing, dict) and isinstance(thing.get(name), str | int) for thing in things):
        return None
    found = {str(thing[name]): thing for thing in things}
    return found if len(found) == len(things) else None


def _equal(before: Any, after: Any) -> bool:
    """As JSON: true is no number, and the order of a list matters."""
    return before is after or json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def _member(path: str, key: str) -> str:
    if not _PLAIN.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key
