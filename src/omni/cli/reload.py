"""`omni config reload` and `omni config diff`: the daemon reads its own file again, of which nothing is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK, USAGE, DaemonRefused
from omni.cli.output import clip, columns, one_line
from omni.cli.status import fetch

_PATH = "/api/config/reload"
WITHIN_S = 90.0  # it may wait for a disk and for executors
SHOWN_CHARS = 160
_HEADS = {
    "applied": "taken up",
    "unchanged": "nothing to take up: what it says is in force",
    "would_apply": "would be taken up; omni config reload does it",
    "refused": "refused, and what was in force stays in force",
}


def run(context: Context, *, dry_run: bool) -> int:
    """Reload, or show what it would change; exit code 2 where the file is refused."""
    context.forgiving = True  # what is wrong with the file, the daemon says
    said = fetch(*context.address, context.token, _PATH, body={"dry_run": dry_run}, within_s=WITHIN_S)
    if refusal := said.get("error"):
        hint = str(refusal.get("hint") or "omni status")
        raise DaemonRefused(str(refusal["kind"]), str(refusal["message"]), hint=hint)
    context.out.show("config_reload", said, lines(said))
    if said["hint"]:
        context.out.note(f"next: {said['hint']}")
    return USAGE if said["outcome"] == "refused" else OK


def lines(said: dict[str, Any]) -> list[str]:
    """The answer for people: what became of the file, and what changes, key by key."""
    head = f"{said['path'] or 'embedded defaults'}: {_HEADS[said['outcome']]}"
    if not said["path"] and said["outcome"] == "unchanged":
        head = "no configuration file: the embedded defaults are in force; omni init writes a file"
    errors = [f"  {one_line(each)}" for each in said["errors"]]
    return [
        head,
        *errors,
        *map(_change, said["changes"]),
        *(f"warning   {one_line(each)}" for each in said["warnings"]),
    ]


def _change(change: dict[str, Any]) -> str:
    later = "  (from the next start on: omni serve)" if change["restart"] else ""
    return f"  {one_line(change['key'])}: {_value(change['old'])} → {_value(change['new'])}{later}"


def _value(value: Any) -> str:
    """A value on one line; of a long one its beginning, `--json` has it all."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return clip(one_line(text), min(SHOWN_CHARS, max(40, columns() // 2))) or '""'
