"""Commands around the daemon: serve, token, config, mcp, verify, backup, version, completion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omni.cli.context import Context
from omni.cli.exits import OK


def serve(context: Context, *, accept_loss: bool) -> int:
    """Run the daemon until it is told to stop."""
    loaded = context.loaded
    for warning in loaded.warnings:
        context.out.note(f"warning: {warning}")
    from omni.daemon import run

    return run(loaded, context.data_dir, accept_loss=accept_loss)


def version(context: Context) -> int:
    """Print versions."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    import apsw

    from omni import __version__

    def known(name: str) -> str:
        try:
            return of(name)
        except PackageNotFoundError:
            return "missing"

    parts: dict[str, Any] = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
    parts |= {name: known(name) for name in ("mcp", "pykka", "msgspec", "websockets")}
    told = ", ".join(f"{name} {number}" for name, number in parts.items())
    context.out.show("version", {"version": __version__, "parts": parts}, [f"omni {__version__}", told])
    return OK
