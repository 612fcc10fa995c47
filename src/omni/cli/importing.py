"""`omni config import`: what other programs have configured, as keys of ours; printed, or added to our file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from omni.cli.context import Context
from omni.cli.exits import OK, BadUsage
from omni.cli.output import one_line
from omni.config.imports import Plan, read
from omni.domain.errors import ConfigError, OmniError


def run(context: Context, file: str, *, apply: bool) -> int:
    """Print what a file brings along, or add it. Raises ConfigError, BadUsage, OmniError."""
    from omni.config.addition import kept, missing, spelt_out
    from omni.config.document import parse_document
    from omni.config.insert import dumped

    loaded = context.loaded
    plan = read(Path(file).expanduser().resolve(), loaded.config)
    said = parse_document(_text(loaded.path), str(loaded.path))[0] if loaded.path else {}
    add = spelt_out(missing(plan.add, said), said, loaded.config)
    changed = apply and bool(add)
    if changed:
        _apply(loaded.path, add)
    body = {
        "file": file, "path": str(loaded.path) if loaded.path else None, "applied": changed, "add": add,
        "yaml": dumped(add), "kept": kept(plan.add, said), "left_out": msgspec.to_builtins(plan.left_out),
        "secrets": msgspec.to_builtins(plan.secrets), "unset": plan.variables(os.environ), "notes": plan.notes,
    }  # fmt: skip
    if context.out.as_json or (add and not changed):
        context.out.show("config_import", body, [dumped(add)])
    if not context.out.as_json:
        context.out.note("\n".join(_told(plan, body, file)))
    return OK


def _apply(path: Path | None, add: Mapping[str, Any]) -> None:
    """Add keys to the file, whole or not at all. Raises ConfigError where the result could not be used."""
    from omni.config.insert import insert

    if path is None:
        raise BadUsage("there is no configuration file to add to", hint="omni init --yes")
    path = path.resolve()
    new = insert(_text(path), add, str(path))
    try:
        _replace(path, new)
    except OSError as error:
        raise OmniError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from None


def _replace(path: Path, new: str) -> None:
    """The new text in the file's place, with the file's own mode, once the loader has taken it."""
    from omni.drafts import draft

    with draft(path, new) as fresh:
        _check(fresh, path)
        fresh.chmod(path.stat().st_mode & 0o777)
        fresh.replace(path)


def _check(file: Path, path: Path) -> None:
    from omni.config import load

    try:
        load(file)
    except ConfigError as error:
        why = error.message.replace(str(file), str(path))
        raise ConfigError(
            f"with these keys {path} could not be used, so it stays as it is\n{why}",
            hint="set the variables that are named, or take the printed keys by hand: omni config import FILE",
        ) from None


def _text(path: Path | None) -> str:
    return path.read_text(encoding="utf-8-sig") if path else ""


def _told(plan: Plan, body: Mapping[str, Any], file: str) -> list[str]:
    """What happened, for people."""
    where = body["path"] or "config.yaml"
    done = f"added to {where}" if body["applied"] else f"nothing is written; add this to {where}"
    return [
        done if body["add"] else f"{where} says all of it already, or there was nothing to add",
        *_list("stays as the file says it", body["kept"]),
        *_list(f"stays behind in {file}", [f"{each.what}: {each.why}" for each in plan.left_out]),
        *_list(
            "was written out as a secret, and is a variable now", [f"{s.variable}: {s.where}" for s in plan.secrets]
        ),
        *_list("is not set in this environment", body["unset"]),
        *_list("to know", plan.notes),
        f"next: {_next(body, file)}",
    ]


def _list(head: str, rows: Sequence[str]) -> list[str]:
    return [f"{head}:", *(f"  {one_line(row)}" for row in rows)] if rows else []


def _next(body: Mapping[str, Any], file: str) -> str:
    if body["add"] and not body["applied"]:
        return f"omni config import {file} --apply, or paste it; then omni config check"
    return (
        "omni config check; then, with a daemon that runs: omni config reload" if body["add"] else "omni config check"
    )
