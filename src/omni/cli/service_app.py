"""The words of `omni service …`, as Typer reads them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from omni.cli.typed import context_of

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Tells several services on one machine apart.")]
_VERBS = {
    "uninstall": "Stop the service and remove its definition; the data stays.",
    "start": "Start the service.",
    "stop": "Stop the service in good order.",
    "restart": "Stop the service in good order and start it anew.",
}


def add_to(app: typer.Typer, options: dict[str, Any]) -> None:
    """Add the group with its commands."""
    group = typer.Typer(help="Omni as a service: launchd on macOS, systemd on Linux.", no_args_is_help=True, **options)
    group.command()(install)
    for verb, words in _VERBS.items():
        group.command(verb, help=words)(_changing(verb))
    group.command()(status)
    app.add_typer(group, name="service")


def install(
    ctx: typer.Context,
    name: Name = "omni",
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIABLE", help="Copy this variable into the service's private file; may be repeated."),
    ] = None,
    shown: Annotated[bool, typer.Option("--print", help="Only print the definition.")] = False,
) -> int:
    """Let the daemon start at login and after a crash. Again: takes over what has changed."""
    from omni.cli import service

    return service.install(context_of(ctx), name, env or [], shown=shown)


def status(ctx: typer.Context, name: Name = "omni") -> int:
    """Show the service as its manager sees it."""
    from omni.cli import service

    return service.status(context_of(ctx), name)


def _changing(verb: str) -> Any:
    def run(ctx: typer.Context, name: Name = "omni") -> int:
        from omni.cli import service

        return service.change(context_of(ctx), name, verb)

    return run
