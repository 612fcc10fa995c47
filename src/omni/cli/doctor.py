"""`omni doctor`: what is wrong here, and the command that mends it. `omni config check --live` shows a part of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omni.cli.context import Context
from omni.cli.output import one_line
from omni.domain.errors import ConfigError

if TYPE_CHECKING:
    from omni.config import Config, Loaded
    from omni.ops.doctor.finding import Finding
    from omni.ops.doctor.looking import Seen
    from omni.ops.doctor.mending import Mended
    from omni.ops.doctor.scene import Scene

_MARKS = {"ok": ("ok", "good"), "note": ("note", "dim"), "warning": ("warning", "warn"), "error": ("ERROR", "bad")}
_WIDTH = 9


def run(context: Context, *, fix: bool) -> int:
    """Look at everything; the exit code is 0 without an error, else what the gravest error stands for."""
    from omni.ops.doctor.catalogue import exit_code
    from omni.ops.doctor.mending import look_again, mend

    scene = scene_of(context)
    seen = look_at(context, scene)
    mended = mend(seen) if fix else []
    if mended:
        scene = scene_of(context)
        seen = look_again(scene, seen)
    findings = [each for one in seen for each in one.findings]
    code = exit_code(findings)
    context.out.show("doctor", document(findings, mended, code), [*_mended(context, mended), *report(context, seen)])
    _leave(seen, code)
    return code


def scene_of(context: Context) -> Scene:
    """What is looked at; with a configuration that cannot be used, the rest all the same."""
    from omni.cli.service import options_of
    from omni.ops.doctor.scene import Scene, refused

    try:
        return Scene(as_the_service(context), options=tuple(options_of(context)))
    except ConfigError as error:
        return refused(error, _without_file(context))


def as_the_service(context: Context) -> Loaded:
    """The configuration with the variables that the service has, where there is one: its daemon has no others."""
    from omni.config import load
    from omni.config.environment import VARIABLE
    from omni.ops.service.plan import ENV_FILE

    file = context.data_dir / ENV_FILE
    if VARIABLE in os.environ or not file.exists():
        return context.loaded
    environ = {**os.environ, VARIABLE: str(file)}
    try:
        return load(context.loaded.path, overrides=context.loaded.overrides, environ=environ)
    except ConfigError:  # the file is unfit, which is a finding of its own
        return context.loaded


def _without_file(context: Context) -> Config:
    """Where the daemon is, as far as the command line, the environment and a broken file say it."""
    from omni.config import Config, data_dir

    context.forgiving = True
    try:
        return Config(host=context.address[0], port=context.address[1], data_dir=str(context.data_dir))
    except ConfigError:  # not even that
        return Config(data_dir=str(data_dir(context.options.data_dir or "", base=Path())))


def look_at(context: Context, scene: Scene, *, live_only: bool = False) -> list[Seen]:
    """Look, and say meanwhile on a terminal what is still looked at."""
    from omni.ops.doctor.looking import look
    from omni.ops.doctor.table import checks_of

    def progress(done: int, of: int, waiting: list[str]) -> None:
        context.out.redraw(f"looking: {done} of {of}; {', '.join(waiting)}")

    seen = look(checks_of(scene, live_only=live_only), scene, progress)
    context.out.redraw("")
    return seen


def config_live(context: Context, body: dict[str, Any], lines: Sequence[str]) -> int:
    """What the configuration points to, asked: below what `omni config check` says of it."""
    from omni.ops.doctor.catalogue import exit_code

    seen = look_at(context, scene_of(context), live_only=True)
    findings = [each for one in seen for each in one.findings]
    code = exit_code(findings)
    told = {**body, "ok": code == 0, "findings": [shown(each) for each in findings]}
    context.out.show("config_check", told, [*lines, "", *report(context, seen)])
    _leave(seen, code)
    return code


def document(findings: Sequence[Finding], mended: Sequence[Mended], code: int) -> dict[str, Any]:
    """The same for programs."""
    return {
        "ok": code == 0,
        "counts": _counts(findings),
        "findings": [shown(each) for each in findings],
        "mended": [{"name": each.finding.name, "did": each.did, "error": each.error} for each in mended],
    }


def shown(each: Finding) -> dict[str, Any]:
    """One finding for programs."""
    return {
        "name": each.name, "level": each.level, "says": each.says, "mend": each.mend, "fixable": each.fixable,
    }  # fmt: skip


def report(context: Context, seen: Sequence[Seen]) -> list[str]:
    """The findings under the headings of their rooms, and a line that sums them up."""
    findings = [each for one in seen for each in one.findings]
    rooms: dict[str, list[Finding]] = {}
    for one in seen:
        rooms.setdefault(one.check.room, []).extend(one.findings)
    body = [line for room, found in rooms.items() if found for line in _room(context, room, found)]
    return [*body, _summary(context, findings)]


def _room(context: Context, room: str, findings: Sequence[Finding]) -> Iterator[str]:
    yield context.out.style(room, "bold")
    for each in findings:
        mark, style = _MARKS[each.level]
        first, *more = each.says.splitlines() or [""]
        yield f"  {context.out.style(f'{mark:<{_WIDTH}}', style)}{one_line(first)}"
        yield from (f"  {'':{_WIDTH}}{one_line(line)}" for line in more)
        if each.mend:
            yield f"  {'':{_WIDTH}}→ {one_line(each.mend)}"
    yield ""


def _summary(context: Context, findings: Sequence[Finding]) -> str:
    counts = _counts(findings)
    said = [f"{counts[level]} {name}{'s' if counts[level] != 1 else ''}" for level, name in _TELLING if counts[level]]
    if not said:
        return f"{context.out.style('all is well', 'good')}: {counts['ok']} things were looked at"
    able = sum(each.fixable and each.level != "ok" for each in findings)
    more = f"; omni doctor --fix mends {able} of them" if able else ""
    style = "bad" if counts["error"] else "warn" if counts["warning"] else "good"
    return f"{context.out.style(', '.join(said), style)}, {counts['ok']} ok{more}"


_TELLING = (("error", "error"), ("warning", "warning"), ("note", "note"))


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {level: sum(each.level == level for each in findings) for level in _MARKS}


def _mended(context: Context, mended: Sequence[Mended]) -> list[str]:
    lines = [
        f"{context.out.style('mended', 'good')}   {each.did}" if each.did
        else f"{context.out.style('not done', 'bad')} {each.finding.says}: {each.error}"
        for each in mended
    ]  # fmt: skip
    return [*lines, ""] if lines else []


def _leave(seen: Sequence[Seen], code: int) -> None:
    """Where a look hangs, nobody waits for its thread, the interpreter's own end included."""
    if all(each.finished for each in seen):
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
