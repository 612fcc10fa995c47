"""What all modules share that say commands as Typer reads them."""

from __future__ import annotations

from typing import cast

import typer

from omni.cli.context import Context


def context_of(ctx: typer.Context) -> Context:
    """The context that `app.run` was given."""
    return cast(Context, ctx.obj)
