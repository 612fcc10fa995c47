"""`omni replay`: the timeline for people and programs, and everything that is written from it. Reads only."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.output import counted

if TYPE_CHECKING:
    from omni.replay.history import Count, History
    from omni.replay.timeline import Wanted

HELP = "omni replay --help"
STDOUT = "-"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `omni replay`, as it was typed."""

    begin: str | None = None
    end: str | None = None
    task: str | None = None
    executor: str | None = None
    events: tuple[str, ...] = ()
    language: str | None = None
    verify: bool = False
    html: str | None = None
    perfetto: str | None = None
    mermaid: bool = False
    jsonl: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The options that were given."""
        return tuple(option for name, option in _OPTIONS.items() if getattr(self, name))

    @property
    def narrowed(self) -> str:
        """What the timeline was narrowed by, as it was typed."""
        given = ((option, getattr(self, name)) for name, option in _OPTIONS.items())
        return " ".join(
            f"{option} {value if isinstance(value, str) else ' '.join(value)}" for option, value in given if value
        )


_OPTIONS = {
    "begin": "--from", "end": "--to", "task": "--task", "executor": "--executor", "events": "--event",
    "language": "--lang", "verify": "--verify", "html": "--html", "perfetto": "--perfetto", "mermaid": "--mermaid",
    "jsonl": "--jsonl",
}  # fmt: skip
# What each kind of result can be narrowed by; the timeline, which is none of them, by everything.
_TAKES = {
    "--verify": set[str](),
    "--html": {"--from", "--to", "--lang"},
    "--perfetto": {"--from", "--to"},
    "--mermaid": {"--task", "--to", "--lang"},
    "--jsonl": {"--from", "--to"},
}


def run(context: Context, asked: Asked) -> int:
    """Do what the options say. Raises BadUsage, NotFound, Ambiguous, EventLogError."""
    results = [option for option in asked.named if option in _TAKES]
    if len(results) > 1:
        raise BadUsage(f"{' and '.join(results)} are two different results: one at a time", hint=HELP)
    result = results[0] if results else ""
    if more := [option for option in asked.named if results and option not in {result, *_TAKES[result]}]:
        raise BadUsage(f"{result} takes no {' or '.join(more)}", hint=HELP)
    return _RESULTS[result](context, asked)


def require_nothing(asked: Asked, command: str) -> None:
    """Raise BadUsage where options of the timeline stand before a command that has none."""
    if asked.named:
        raise BadUsage(f"omni replay {command} takes no {asked.named[0]}", hint=f"omni replay {command} --help")


def take_in(context: Context, file: str) -> int:
    """Make a log of an export, in a data directory that has none."""
    from omni.config import log_path
    from omni.eventlog.transfer import import_jsonl

    database = log_path(context.data_dir)
    if database.exists():
        what = f"{database} is a log already, and an import overwrites nothing"
        raise BadUsage(what, hint=f"omni replay import {file} --data-dir DIR, with a directory that has no log")
    with _source(file) as source:
        head = import_jsonl(source, database, context.counting("importing"))
    context.out.redraw("")
    body = {"path": str(database), "position": head.position, "hash": head.hash.hex()}
    said = f"{database}: {head.position:,} events, the same hashes as where they came from"
    context.out.show("import", body, [said])
    if not context.out.as_json:
        context.out.note(f"next: omni verify{_elsewhere(context)}")
    return OK


def _show(context: Context, asked: Asked) -> int:
    from omni.cli import rows
    from omni.replay.timeline import timeline

    with context.history() as history:
        wanted = _wanted(history, asked)
        count = context.counting("reading the log")
        found = timeline(history, wanted, count, _language(context, asked), rows.local)
        if context.out.as_json:
            rows.write_json(context, wanted, found)
        else:
            rows.write(context, wanted, found, asked.narrowed)
    return OK


def _wanted(history: History, asked: Asked) -> Wanted:
    from omni.replay.timeline import EVENT_TYPES, Wanted

    events = tuple(name.removesuffix("*") for name in asked.events)  # the dashboard writes groups with a star
    for name in events:
        if not any(each.startswith(name) for each in EVENT_TYPES):
            near = difflib.get_close_matches(name, EVENT_TYPES, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(_families(EVENT_TYPES))}"
            raise BadUsage(f"no event's name begins with {name!r}; {known}", hint=HELP)
    after, until = _stretch(history, asked)
    task = history.resolve(_checked(asked.task)) if asked.task else ""
    executor = asked.executor or ""
    return Wanted(task=task, after=after, until=until, executor=executor, events=events)


def _families(types: tuple[str, ...]) -> list[str]:
    return sorted({name.partition(".")[0] + "." for name in types})


def _checked(task: str) -> str:
    from omni.cli.ids import checked

    return checked(task)


def _stretch(history: History, asked: Asked) -> tuple[int, int]:
    """The positions that --from and --to stand for, as `after < position <= until`."""
    from omni.replay.when import position_before, position_of
    from omni.runtime.ports import SystemClock

    now = SystemClock().wall_ms()
    after = position_before(history.reader, asked.begin, now) if asked.begin else 0
    until = position_of(history.reader, asked.end, now) if asked.end else history.reader.head.position
    if asked.begin and asked.end and after > until:
        what = f"--from {asked.begin} (position {after + 1}) comes after --to {asked.end} (position {until})"
        raise BadUsage(what, hint=f"omni replay --from {asked.end} --to {asked.begin}")
    return after, until


def _language(context: Context, asked: Asked) -> str:
    return asked.language or str(context.loaded.config.language)


# --- what is written from it ----------------------------------------------------------------------------------------


def _verify(context: Context, asked: Asked) -> int:
    from omni.cli import admin

    return admin.verify(context)


def _mermaid(context: Context, asked: Asked) -> int:
    from omni.replay.mermaid import sequence

    if not asked.task:
        hint = "omni tasks, then omni replay --mermaid --task ID"
        raise BadUsage("--mermaid draws one task: --task says which", hint=hint)
    with context.history() as history:
        task_id = history.resolve(_checked(asked.task))
        until = _stretch(history, asked)[1]
        diagram = sequence(history, task_id, until, _language(context, asked), context.counting("reading the log"))
    context.out.redraw("")
    context.out.show("replay", {"task_id": task_id, "until": until, "mermaid": diagram}, [diagram.rstrip("\n")])
    return OK


def _html(context: Context, asked: Asked) -> int:
    def write(history: History, out: BinaryIO, after: int, until: int, count: Count) -> int:
        from omni.redact import Redactor
        from omni.web.report import report_html

        language: Literal["en", "zh"] = "zh" if _language(context, asked) == "zh" else "en"
        redactor = Redactor(context.loaded.secrets)
        out.write(report_html(history, after, until, language, count, redactor=redactor).encode())
        return until - after

    return _written(context, asked, str(asked.html), "html", write)


def _perfetto(context: Context, asked: Asked) -> int:
    def write(history: History, out: BinaryIO, after: int, until: int, count: Count) -> int:
        from omni.replay.perfetto import write_trace

        write_trace(history, out, after, until, count)
        return until - after

    return _written(context, asked, str(asked.perfetto), "perfetto", write)


def _jsonl(context: Context, asked: Asked) -> int:
    def write(history: History, out: BinaryIO, after: int, until: int, count: Count) -> int:
        from omni.eventlog.transfer import export_jsonl

        return export_jsonl(history.database, out, after, until if asked.end else None, count)

    return _written(context, asked, str(asked.jsonl), "jsonl", write)


def _written(
    context: Context,
    asked: Asked,
    file: str,
    kind: str,
    write: Callable[[History, BinaryIO, int, int, Count], int],
) -> int:
    """Write a file that must not exist yet, or stdout, and say what it holds; on a fault nothing half-done stays."""
    if file == STDOUT and context.out.as_json:
        raise BadUsage(f"--json and --{kind} - both want stdout", hint=f"omni replay --json --{kind} FILE")
    with context.history() as history:
        after, until = _stretch(history, asked)
        with _target(file) as out:
            events = write(history, out, after, until, context.counting(f"writing {kind}"))
    context.out.redraw("")
    if file == STDOUT:
        return OK
    target = Path(file).expanduser().absolute()
    size = target.stat().st_size
    body = {"kind": kind, "path": str(target), "bytes": size, "after": after, "until": until, "events": events}
    context.out.show(
        "replay", body, [f"{target}: {size:,} bytes, {counted(events, 'event')}, after position {after:,}"]
    )
    return OK


@contextlib.contextmanager
def _target(file: str) -> Iterator[BinaryIO]:
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file).expanduser().absolute()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        hint = "another name, or - for stdout"
        raise BadUsage(f"{path} exists already, and nothing is overwritten; {hint}", hint=f"ls -l {path}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise BadUsage(f"{path.parent} is no directory", hint=f"mkdir -p {path.parent}") from None
    try:
        with os.fdopen(fd, "wb") as out:
            yield out
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _source(file: str) -> Iterator[BinaryIO]:
    if file == STDOUT:
        yield sys.stdin.buffer
        return
    with Path(file).expanduser().open("rb") as source:
        yield source


def _elsewhere(context: Context) -> str:
    given = context.options.data_dir
    return f" --data-dir {given}" if given else ""


_RESULTS: dict[str, Callable[[Context, Asked], int]] = {
    "": _show,
    "--verify": _verify,
    "--html": _html,
    "--perfetto": _perfetto,
    "--mermaid": _mermaid,
    "--jsonl": _jsonl,
}
