"""`omni init`: a first configuration that fits this machine, and the lines that make Omni known to its clients."""

from __future__ import annotations

from omni.cli.context import Context
from omni.cli.exits import BadUsage


def run(context: Context, *, yes: bool, openclaw: bool, stdio: bool, apply: bool, force: bool) -> int:
    """Look around and write the first configuration, or register with OpenClaw. Raises OmniError."""
    if openclaw:
        from omni.cli.init import openclaw as register

        return register.run(context, stdio=stdio, apply=apply, force=force)
    if stdio or apply or force:
        raise BadUsage("that needs a program to register with", hint="omni init --openclaw")
    from omni.cli.init import first

    return first.run(context, yes=yes)
