"""The command `omni`: reads the options that come before everything, and loads only what the line asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from omni.cli.arguments import Globals, split, wants_json
from omni.cli.context import COMPLETE_VARIABLE, Context
from omni.cli.exits import INTERRUPTED, BadUsage, Broken
from omni.cli.output import Output
from omni.domain.errors import DaemonUnreachable, OmniError

# What people try first, coming from other programs.
_ALSO: dict[tuple[str, ...], list[str]] = {("--version",): ["version"], ("-V",): ["version"], ("help",): ["--help"]}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command line and leave with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _run(words: list[str]) -> int:
    out = Output(as_json=wants_json(words))
    try:
        options, rest = split(words)
        return _dispatch(options, rest)
    except OmniError as error:
        out.redraw("")
        return out.error(error)
    except OSError as error:
        out.redraw("")
        where = f"{error.filename}: " if error.filename else ""
        return out.error(BadUsage(f"{where}{error.strerror or error}", hint="omni config check shows the paths in use"))
    except Exception as error:
        import traceback  # late: it costs as much as a third of a quick command

        out.redraw("")
        out.note(traceback.format_exc())
        return out.error(Broken(f"this is a mistake in Omni: {error!r}", hint="omni version, and report both"))


def _dispatch(options: Globals, rest: list[str]) -> int:
    context = Context(options)
    try:
        return _command(context, rest)
    except DaemonUnreachable as error:
        raise context.file_trouble or context.explained(
            error
        ) from None  # what was guessed of a broken file led nowhere
    finally:
        context.close()


def _command(context: Context, rest: list[str]) -> int:
    rest = _ALSO.get(tuple(rest), rest)
    if rest == ["status"] and COMPLETE_VARIABLE not in os.environ:
        from omni.cli import status

        return status.run(context)
    from omni.cli.app import run

    return run(context, rest)


if __name__ == "__main__":
    main()
