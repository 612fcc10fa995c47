"""`omni logs`: the daemon's log file, filtered, and followed over its rotations."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK
from omni.cli.output import local_time, one_line
from omni.domain.errors import NotFound

LEVELS = ("debug", "info", "warning", "error")
LOOK_S = 0.2
_STYLES = {"warning": "warn", "error": "bad", "debug": "dim"}


def run(context: Context, *, follow: bool, count: int, level: str, task: str | None) -> int:
    """Print the last lines that fit, and with `follow` those that come."""
    path = context.data_dir / "logs" / "omni.log"
    if not path.exists() and not follow:
        raise NotFound(f"there is no log file at {path}", hint="omni serve makes it; --data-dir names another place")
    kept = deque((e for e in _written(path) if fits(e, level, task)), maxlen=count)
    if context.out.as_json and not follow:
        context.out.document("logs", {"lines": list(kept)})
        return OK
    for entry in kept:
        _print(context, entry)
    if count and not kept and not follow:
        context.out.note(_nothing(path, level, task))
    if follow:
        for entry in _coming(path):
            if fits(entry, level, task):
                _print(context, entry)
    return OK


def fits(entry: dict[str, Any], level: str, task: str | None) -> bool:
    """Whether a line is of that level or above, and about that task (a beginning of its id is enough)."""
    rank = LEVELS.index(entry["level"]) if entry.get("level") in LEVELS else len(LEVELS)
    return rank >= LEVELS.index(level) and (task is None or str(entry.get("task", "")).startswith(task))


def _nothing(path: Path, level: str, task: str | None) -> str:
    about = f" about task {one_line(task)}" if task else ""
    further = "omni logs" if task or level != LEVELS[0] else "omni status"
    return f"{path} has no line of level {level} or above{about}\n  next: {further}"


def _written(path: Path) -> Iterator[dict[str, Any]]:
    for file in (path.with_name(f"{path.name}.1"), path):  # the line before the last rotation still counts as recent
        if file.exists():
            with file.open("rb") as opened:
                yield from map(_parsed, opened)


def _coming(path: Path) -> Iterator[dict[str, Any]]:
    """Lines as they are written; when the file has been moved away, the rest of it and then its successor."""
    file = _opened(path)
    file.seek(0, 2)
    rest = b""
    while True:
        rest += file.read()
        *lines, rest = rest.split(b"\n")
        yield from map(_parsed, lines)
        if not lines and _moved(file, path):
            file.close()
            file = _opened(path)
        elif not lines:
            time.sleep(LOOK_S)


def _opened(path: Path) -> BufferedReader:
    while not path.exists():
        time.sleep(LOOK_S)
    return path.open("rb")


def _moved(file: BufferedReader, path: Path) -> bool:
    try:
        return path.stat().st_ino != _inode(file)
    except FileNotFoundError:
        return False


def _inode(file: BufferedReader) -> int:
    import os

    return os.fstat(file.fileno()).st_ino


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        entry = None
    return entry if isinstance(entry, dict) else {"event": line.decode("utf-8", "replace").rstrip("\n")}


def _print(context: Context, entry: dict[str, Any]) -> None:
    out = context.out
    if out.as_json:
        out.text(msgspec.json.encode(entry).decode())
        return
    known = dict(entry)
    when, level, event = known.pop("at", None), str(known.pop("level", "")), str(known.pop("event", ""))
    fields = " ".join(f"{name}={one_line(str(value))}" for name, value in known.items())
    shown = out.style(f"{level:<7}", _STYLES[level]) if level in _STYLES else f"{level:<7}"
    out.text(f"{local_time(when) if when else '-':<19}  {shown}  {one_line(event)}  {fields}".rstrip())
