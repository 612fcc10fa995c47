"""`omni replay` and its commands, as Typer reads them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from omni.cli.typed import context_of

POINT = "A log position, or a time: 90s, 30m, 12h, 7d ago, a date, or a date and time."
Point = Annotated[str, typer.Argument(metavar="P|T", help=POINT)]


class Lang(StrEnum):
    """The languages that words for events come in."""

    en = "en"
    zh = "zh"


def add_to(app: typer.Typer, options: dict[str, Any]) -> None:
    """Make `replay` a command of this program."""
    group = typer.Typer(help="Look back: what happened, when, and in whose hands.", **options)
    group.callback(invoke_without_command=True)(replay)
    group.command("at")(at)
    group.command("diff")(diff)
    group.command("import")(import_)
    app.add_typer(group, name="replay")


def replay(
    ctx: typer.Context,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="P|T", help="Begin at a position or a time (7d, 12h, a date, …).")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="P|T", help="End there, that event included.")] = None,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Only this task.")] = None,
    executor: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this executor did.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help="Only such events: task.held, attempt, health.; may be given several times."),
    ] = None,
    lang: Annotated[Lang | None, typer.Option(help="The language of words; left out: that of config.yaml.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the whole log, as omni verify does.")] = False,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write an incident report; - is stdout.")] = None,
    perfetto: Annotated[str | None, typer.Option(metavar="FILE", help="Write a trace for ui.perfetto.dev.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="With --task: print a sequence diagram.")] = False,
    jsonl: Annotated[str | None, typer.Option(metavar="FILE", help="Write the log as JSON lines; - is stdout.")] = None,
) -> int | None:
    """Look back: what happened, when, in which mode, and in whose hands."""
    from omni.cli import replay as room

    asked = room.Asked(
        begin=from_, end=to, task=task, executor=executor, events=tuple(event or ()), language=lang and str(lang),
        verify=verify, html=html, perfetto=perfetto, mermaid=mermaid, jsonl=jsonl,
    )  # fmt: skip
    if ctx.invoked_subcommand is not None:
        room.require_nothing(asked, ctx.invoked_subcommand)
        return None
    return room.run(context_of(ctx), asked)


def at(ctx: typer.Context, point: Point) -> int:
    """Show the whole state as it was after a position, or at a time."""
    from omni.cli import moments

    return moments.at(context_of(ctx), point)


def diff(ctx: typer.Context, before: Point, after: Point) -> int:
    """Show what differs between two moments, field by field."""
    from omni.cli import moments

    return moments.diff(context_of(ctx), before, after)


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What --jsonl wrote; - is stdin.")],
) -> int:
    """Make a log of exported JSON lines. It wants a data directory that has none."""
    from omni.cli import replay as room

    return room.take_in(context_of(ctx), file)
