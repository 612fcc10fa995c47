"""`omni config` and its commands, as Typer reads them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from omni.cli.typed import context_of


def add_to(app: typer.Typer, options: dict[str, Any]) -> None:
    """Add the group with its commands."""
    group = typer.Typer(help="The configuration: check it, show it, describe it.", no_args_is_help=True, **options)
    for command in (check, show, reload, diff, schema):
        group.command()(command)
    group.command("import")(import_)
    app.add_typer(group, name="config")


def check(
    ctx: typer.Context,
    live: Annotated[
        bool, typer.Option("--live", help="Ask what it points to: models, keys, MCP servers, programs.")
    ] = False,
) -> int:
    """Check the configuration and say what it means."""
    from omni.cli import admin

    return admin.config_check(context_of(ctx), live=live)


def show(ctx: typer.Context) -> int:
    """Print the configuration in force, secrets masked."""
    from omni.cli import admin

    return admin.config_show(context_of(ctx))


def reload(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would change, and change nothing.")] = False,
) -> int:
    """Let the daemon read its configuration again. It is taken up as a whole or not at all."""
    from omni.cli import reload as room

    return room.run(context_of(ctx), dry_run=dry_run)


def diff(ctx: typer.Context) -> int:
    """Show what a reload would change, secrets masked. The same as reload --dry-run."""
    from omni.cli import reload as room

    return room.run(context_of(ctx), dry_run=True)


def schema(ctx: typer.Context) -> int:
    """Print the JSON Schema of config.yaml, for editors."""
    from omni.cli import admin

    return admin.config_schema(context_of(ctx))


def import_(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help=".mcp.json, claude_desktop_config.json, mcp.json, or LiteLLM's.")
    ],
    apply: Annotated[
        bool, typer.Option("--apply", "--write", help="Add it to the configuration file; without this it is printed.")
    ] = False,
) -> int:
    """Take servers or models from another program's file. MCP servers, and the models of LiteLLM."""
    from omni.cli import importing

    return importing.run(context_of(ctx), file, apply=apply)
