"""`docs/cli.md`: every command, argument, option, default and exit code, written from the parser that reads them.

`python -m omni.cli.reference` prints it; `make docs` writes the file, and a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from omni.cli.app import command_tree
from omni.cli.examples import EXAMPLES, Example
from omni.cli.exits import MEANINGS
from omni.cli.usage import runs, walk

WIDTH = 100
_HEAD = """\
# Command line

Written from the code by `make docs`; edit `src/omni/cli/app.py` and `src/omni/cli/examples.py` instead of this file.

Results go to stdout; errors, progress and questions go to stderr. An error is one line that says what is wrong, and one
line, `next:`, with the command to run then. `ID` is the beginning of a task's id, six characters at least, as
`omni tasks` shows it. `P|T` is a position in the log, or a time: `90s`, `30m`, `12h`, `7d` ago, `19:31` (the last time
that the clock showed it), a date, or a date and time."""
_GLOBAL_HEAD = """\
## Options of every command

They may stand before or after the command: `omni --json tasks` and `omni tasks --json` are the same."""
_ENVIRONMENT: dict[str, str] = {
    "OMNI_DATA_DIR": "where the log, the token and files are; default: the platform's folder for user data",
    "OMNI_CONFIG": "the configuration file; default: `./config.yaml`, then the platform's folder for configuration",
    "OMNI_HOST": "the address that `omni serve` listens on and that commands call; default: `127.0.0.1`",
    "OMNI_PORT": "the port; default: `18765`",
    "LITELLM_URL": "replaces `lite_llm_url` of the configuration",
    "GITHUB_LITELLM_KEY": "stands in for `github_key` where the configuration has none",
    "OMNI_ENV_FILE": "a private file with `NAME=value` lines, read before the configuration; a service has one",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "with the extra `otel`: where traces go; see [traces](traces.md)",
    "NO_COLOR": "anything in it: no colours",
    "TERM": "`dumb`: no colours, and no line that is drawn over",
}
_ENVIRONMENT_HEAD = """\
## Environment

An option wins over a variable, a variable over the configuration file, and the file over the default. Any other
variable can be named in the configuration as `${NAME}` or `${NAME:-default}`."""
_JSON_HEAD = """\
## JSON

With `--json` a command prints one document on stdout, and nothing else: `{"schema": "omni.NAME/1", …}`; each command
below names its NAME. An error is `{"schema": "omni.error/1", "error": {"kind", "message", "hint"}}`, and the exit code
is the same as without. Fields may be added; what is there keeps its name and meaning within version 1."""


def main() -> int:
    """Print the page."""
    sys.stdout.write(page())
    return 0


def page() -> str:
    """The whole page, as the file holds it."""
    root = command_tree()
    return "\n\n".join([_HEAD, *_before(root), *_commands(root)]) + "\n"


def _before(root: Any) -> Iterator[str]:
    yield _GLOBAL_HEAD
    yield _records(root, "omni", "option")
    yield _ENVIRONMENT_HEAD
    yield "\n".join(f"- `{name}`: {what}" for name, what in _ENVIRONMENT.items())
    yield "## Exit codes"
    yield "\n".join(["| code | means |", "|---|---|", *(f"| {code} | {what} |" for code, what in MEANINGS.items())])
    yield _JSON_HEAD


def _commands(root: Any) -> Iterator[str]:
    yield "## Commands"
    yield "\n".join(f"- [`omni {path}`](#omni-{path.replace(' ', '-')}): {_first(found)}" for path, found in walk(root))
    for path, found in walk(root):
        yield from _command(path, found)


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"### omni {path}"
    yield str(command.help or "").strip()
    yield f"```text\n{_usage(path, command)}\n```"
    for kind, title in (("argument", "Arguments:"), ("option", "Options:")):
        if records := _records(command, f"omni {path}", kind):
            yield f"{title}\n\n{records}"
    if runs(command) and path in EXAMPLES:  # a test asks for the rest
        yield _example(EXAMPLES[path])


def _example(example: Example) -> str:
    said = f"With `--json`: `omni.{example.schema}/1`." if example.schema else "It has no document of its own."
    return f"Example: {example.does}.\n\n```sh\n{example.line}\n```\n\n{said}"


def _usage(path: str, command: Any) -> str:
    pieces = command.collect_usage_pieces(_context(command, f"omni {path}"))
    return " ".join(["omni", path, *pieces])


def _first(command: Any) -> str:
    return str(command.get_short_help_str(limit=200)).rstrip(".")


def _records(command: Any, path: str, kind: str) -> str:
    """Each parameter with what the help says of it, its default and its bounds included."""
    context = _context(command, path)
    found = [p for p in command.params if p.param_type_name == kind and not getattr(p, "hidden", False)]
    rows = [row for p in found if (row := p.get_help_record(context)) is not None]
    return "\n".join(f"- `{name}`: {' '.join(text.split())}" for name, text in rows)


def _context(command: Any, path: str) -> Any:
    return command.context_class(command, info_name=path, max_content_width=WIDTH)


if __name__ == "__main__":
    raise SystemExit(main())
