"""`omni token` and its commands, as Typer reads them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from omni.cli.typed import context_of


class Scope(StrEnum):
    """What a client's key opens."""

    read = "read"
    submit = "submit"


def add_to(app: typer.Typer, options: dict[str, Any]) -> None:
    """Add the group with its commands."""
    group = typer.Typer(help="The login token of the daemon.", no_args_is_help=True, **options)
    for command in (show, rotate, model, new, metrics):
        group.command()(command)
    app.add_typer(group, name="token")


def show(ctx: typer.Context) -> int:
    """Print the token."""
    from omni.cli import admin

    return admin.token_show(context_of(ctx))


def rotate(ctx: typer.Context) -> int:
    """Make a new token; the old one is void at once."""
    from omni.cli import admin

    return admin.token_rotate(context_of(ctx))


def model(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose calls they are, in logs and costs.")],
) -> int:
    """Print a lasting key for the model port. It is for a client that can take none for each task."""
    from omni.cli import admin

    return admin.token_model(context_of(ctx), name)


def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[Scope, typer.Option(help="read: look; submit: look, and hand in tasks.")] = Scope.submit,
) -> int:
    """Print a key for a client that needs less than the token opens."""
    from omni.cli import admin

    return admin.token_new(context_of(ctx), name, str(scope))


def metrics(ctx: typer.Context) -> int:
    """Print a key for scrapers: it opens /metrics and nothing else."""
    from omni.cli import admin

    return admin.token_metrics(context_of(ctx))
