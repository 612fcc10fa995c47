"""Commands around the daemon: serve, token, config, mcp, verify, backup, version, completion."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from omni import __version__
from omni.cli.context import COMPLETE_VARIABLE, Context, bracketed
from omni.cli.exits import LOG_DAMAGED, MISMATCH, OK, BadUsage
from omni.domain.errors import NotFound

if TYPE_CHECKING:
    from omni.config.channels import ChannelReport
    from omni.replay.verify import Report

DEFAULT_PORT = 18765


def serve(context: Context, *, accept_loss: bool) -> int:
    """Run the daemon until it is told to stop."""
    from omni.runtime.process import hold_hang_ups

    hold_hang_ups()  # from before the file is read: a reload that is asked for now finds what it would have found
    loaded = context.loaded
    for warning in loaded.warnings:
        context.out.note(f"warning: {warning}")
    from omni.daemon import run

    code = run(
        loaded, context.data_dir, accept_loss=accept_loss, on_ready=lambda _: context.out.note(_welcome(context))
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # all is closed; taking the interpreter apart, with all of its libraries, takes seconds


def token_show(context: Context) -> int:
    """Print the token."""
    from omni.config import token_path
    from omni.server.tokens import read_token

    token = read_token(token_path(context.data_dir))
    context.out.show("token", {"token": token}, [token])
    return OK


def token_rotate(context: Context) -> int:
    """Replace the token; a running daemon takes the new one at once, and clients with the old one are out."""
    from omni.config import token_path
    from omni.server.tokens import rotate_token

    path = token_path(context.data_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = rotate_token(path)
    context.out.show("token", {"token": token}, [token])
    context.out.note("the old token no longer opens anything; give clients the new one")
    return OK


def token_model(context: Context, name: str) -> int:
    """Print the model port's address and the key that a client of this name shows there; always the same."""
    from omni.config.settings import own_url
    from omni.llm.keys import ModelKeys

    context.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ModelKeys.of(context.data_dir).client_key(name)
    base_url = own_url(context.loaded.config.host, context.address[1])
    context.out.show("model_key", {"name": name, "key": key, "base_url": base_url}, [key])
    context.out.note(f"it opens {base_url}/v1 and nothing else; its calls count against the daily budget")
    return OK


def token_new(context: Context, name: str, scope: str) -> int:
    """Print a client's key for less than the token opens; it ends with the token (`omni token rotate`)."""
    from omni.config import token_path
    from omni.server.rights import Rights
    from omni.server.tokens import TokenFile

    key = TokenFile(token_path(context.data_dir)).scoped_key(name, Rights[scope.upper()])
    context.out.show("scoped_key", {"name": name, "scope": scope, "key": key}, [key])
    can = "look, and hand in tasks" if scope == "submit" else "look"
    context.out.note(f"{name} can {can}, and change nothing; send it as the token is sent. omni token rotate voids it")
    return OK


def token_metrics(context: Context) -> int:
    """Print the key that opens /metrics alone; it ends with the token, when `omni token rotate` makes a new one."""
    from omni.config import token_path
    from omni.config.settings import own_url
    from omni.server.tokens import TokenFile

    key = TokenFile(token_path(context.data_dir)).scrape_key()
    url = f"{own_url(context.loaded.config.host, context.address[1])}/metrics"
    context.out.show("metrics_key", {"key": key, "url": url}, [key])
    context.out.note(f"it opens {url} and nothing else, until the token is changed")
    return OK


def config_check(context: Context, *, live: bool = False) -> int:
    """Check the configuration and say what it means; `live` asks what it points to as well."""
    from omni.config.channels import channel_reports

    loaded = context.loaded
    config = loaded.config
    executors = [
        {
            "name": e.name,
            "transport": e.transport,
            "available": e.enabled,
            "reason": "" if e.enabled else "disabled in the configuration",
        }
        for e in config.executors.values()
    ]
    where = str(loaded.path) if loaded.path else None
    channels = channel_reports(config)
    body = {
        "path": where, "warnings": loaded.warnings, "executors": executors, "channels": msgspec.to_builtins(channels),
        "ok": True,
    }  # fmt: skip
    names = ", ".join(f"{e['name']}{'' if e['available'] else ' (off)'}" for e in executors)
    lines = [
        f"{where or 'no file: embedded defaults'}: ok",
        f"listens   {config.host}:{config.port}, auth {config.auth}",
        f"data      {config.data_dir}",
        f"executors {names or 'none'}",
    ]
    off = [f"off       {e['name']}: {e['reason']}" for e in executors if not e["available"] and e["reason"]]
    ways = [_channel_line(each) for each in channels]
    said = [*lines, *off, *ways, *(f"warning   {w}" for w in loaded.warnings)]
    if live:
        from omni.cli.doctor import config_live

        return config_live(context, body, said)
    context.out.show("config_check", body, said)
    return OK


def _channel_line(channel: ChannelReport) -> str:
    absent = f"no {', no '.join(channel.absent_keys)}" if channel.absent_keys else ""
    notes = "; ".join(each for each in (channel.note, absent) if each)
    off = "" if channel.usable or channel.note else " (off)"  # a note says what it is there for
    return f"channel   {channel.name}{off}: {channel.address}{f'; {notes}' if notes else ''}"


def config_show(context: Context) -> int:
    """Print the configuration in force, secrets masked."""
    from omni.config import redacted

    loaded = context.loaded
    body = redacted(loaded.config)
    if context.out.as_json:
        context.out.document("config", {"path": str(loaded.path) if loaded.path else None, "config": body})
        return OK
    import yaml

    context.out.text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip())
    return OK


def config_schema(context: Context) -> int:
    """Print the JSON Schema of the configuration file; it is a document of its own kind, with --json and without."""
    from omni.config import json_schema

    context.out.text(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
    return OK


def mcp(context: Context) -> int:
    """Stand between a client that speaks stdio and the daemon."""
    from omni.config import token_path
    from omni.server.bridge import run_bridge

    host, port = context.address
    run_bridge(f"ws://{bracketed(host)}:{port}/ws", token_path(context.data_dir), sys.stdin.buffer, sys.stdout.buffer)
    return OK


def verify(context: Context, *, everything: bool = False) -> int:
    """Check the whole log; exit code 7 when it is not what the rules say, 8 when it is damaged.

    Decisions that an earlier check has made again are made once more only where `everything` is wanted.
    """
    from omni.cli import verdict
    from omni.replay.verify import verify as check
    from omni.replay.vouched import vouch, vouched

    log = _log_of(context)
    report = check(log, context.counting("verifying"), None if everything else vouched(log))
    vouch(log, report)
    context.out.redraw("")
    body = {"ok": report.ok, **msgspec.to_builtins(report)}
    context.out.show("verify", body, verdict.lines(context.out.style, report))
    if then := verdict.next_step(report):
        context.out.note(f"next: {then}")
    return _code_of(report)


def backup(context: Context, file: str) -> int:
    """Copy the log while the daemon runs, and verify the copy; a copy with findings is kept all the same."""
    from omni.cli import verdict
    from omni.eventlog.backup import backup as copy
    from omni.eventlog.upcasters import log_codec
    from omni.replay.verify import verify as check

    target = Path(file).expanduser().absolute()
    if target.exists():
        raise BadUsage(f"{target} exists already", hint="omni backup, with a name that is free")
    if not target.parent.is_dir():
        raise BadUsage(f"there is no directory {target.parent}", hint=f"mkdir -p {target.parent}")
    count = context.counting("verifying the copy")
    copy(_log_of(context), target, log_codec(), count)
    report = check(target, count)
    context.out.redraw("")
    size = target.stat().st_size
    body = {"path": str(target), "bytes": size, "ok": report.ok, "head": report.head, "head_hash": report.head_hash}
    said = f"{target}: {size:,} bytes, {report.events:,} events, {report.tasks:,} tasks, verified"
    context.out.show("backup", body, [said] if report.ok else verdict.lines(context.out.style, report))
    return _code_of(report)


def _log_of(context: Context) -> Path:
    from omni.config import log_path

    path = log_path(context.data_dir)
    if not path.exists():
        raise NotFound(
            f"there is no event log in {context.data_dir}", hint="omni serve makes one; --data-dir names another"
        )
    return path


def _code_of(report: Report) -> int:
    if report.damage:
        return LOG_DAMAGED
    return OK if report.ok else MISMATCH


def completion(context: Context, shell: str) -> int:
    """Print the script that teaches a shell our commands."""
    from omni.cli.app import run

    os.environ[COMPLETE_VARIABLE] = f"source_{shell}"  # the parser answers it instead of a command, and leaves
    if not context.out.as_json:
        return run(context, [])
    with contextlib.redirect_stdout(io.StringIO()) as script, contextlib.suppress(SystemExit):
        run(context, [])
    context.out.document("completion", {"shell": shell, "script": script.getvalue()})
    return OK


def version(context: Context) -> int:
    """Print versions."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    import apsw

    def known(name: str) -> str:
        try:
            return of(name)
        except PackageNotFoundError:
            return "missing"

    parts = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
    parts |= {name: known(name) for name in ("mcp", "pykka", "msgspec", "websockets")}
    told = ", ".join(f"{name} {number}" for name, number in parts.items())
    context.out.show("version", {"version": __version__, "parts": parts}, [f"omni {__version__}", told])
    return OK


def _welcome(context: Context) -> str:
    config = context.loaded.config
    host, port = context.address
    same = f" --port {port}" if port != DEFAULT_PORT else ""
    return (
        f"omni {__version__} listens on ws://{config.host}:{port} and http://{host}:{port}/mcp; Ctrl-C stops it\n"
        f"  data: {context.data_dir}\n"
        f"  next: omni submit{same} 'what shall be done' --wait, omni status{same}, omni dashboard{same}"
    )
