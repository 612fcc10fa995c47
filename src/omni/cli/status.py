"""`omni status`: how the daemon is. Quick enough to ask all day, so it goes past everything that is slow to load.

One GET over a plain socket; neither the option parser nor the WebSocket library is imported on this way.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import msgspec

from omni.cli.context import Context, bracketed
from omni.cli.exits import ELSEWHERE, OK, OTHER_PORT, UNREACHABLE, Nobody
from omni.cli.output import local_time, one_line, table
from omni.domain.errors import DaemonUnreachable, NotAuthorised
from omni.domain.visible import usd

ANSWER_S = 5.0
MAX_ANSWER = 16 * 1024 * 1024
_MODES = {
    "NORMAL": "work goes on as usual",
    "DEGRADED": "the model gateway is down; providers are called directly",
    "BRAINSTEM": "what needs the cloud waits; local work goes on",
}


class NotReady(DaemonUnreachable):
    """The daemon is there and cannot do its work yet, or no more."""


def run(context: Context) -> int:
    """Print how the system is; with the daemon dead, how the log left it (exit code 3)."""
    context.forgiving = True  # it is the daemon that knows what is in force
    body, error = look(context)
    if error and context.file_trouble:
        raise error
    context.out.show("status", body, lines(context, body))
    if error is not None:
        context.out.note(f"{error.message}\n  next: {error.hint}")
    return UNREACHABLE if error else OK


def look(context: Context) -> tuple[dict[str, Any], DaemonUnreachable | None]:
    """The status document, and why the daemon did not give it, if so. Raises NotAuthorised."""
    host, port = context.address
    daemon = {"running": True, "url": f"ws://{bracketed(host)}:{port}", "data_dir": str(context.data_dir)}
    try:
        report = fetch(host, port, context.token, "/api/status")
        error = None
    except DaemonUnreachable as unreachable:
        error = context.explained(unreachable)
        report, daemon["running"] = _from_log(context), False
    counts = report.pop("tasks", None) or report.pop("counts", {})
    mode = {name: report.pop(name, None) for name in ("mode", "cause", "reason", "since")}
    return {**mode, "daemon": daemon, "executors": report.pop("executors", []), "counts": counts, **report}, error


def watch(context: Context, every_s: float = 1.0) -> int:
    """Show the status again and again, until Ctrl-C. On a terminal it is drawn in place."""
    while True:
        body, error = look(context)
        if context.out.live and not context.out.as_json:
            context.out.text("\x1b[H\x1b[2J" + "\n".join(lines(context, body)))
        else:
            context.out.show("status", body, lines(context, body))
        if error is not None:
            context.out.note(f"{error.message}; looking again (next: {error.hint})")
        time.sleep(every_s)


def lines(context: Context, body: dict[str, Any]) -> list[str]:
    """The status for people."""
    out, daemon = context.out, body["daemon"]
    if daemon["running"]:
        head = f"{out.state(str(body['mode']))}  {_MODES.get(str(body['mode']), '')}{_but(body)}".rstrip()
    else:
        head = f"{out.style('NO ANSWER', 'bad')}  from a daemon at {daemon['url']}; this is what the log says"
    where = [f"daemon   {daemon['url']}", f"data     {daemon['data_dir']}"]
    counts = ", ".join(f"{count} {state}" for state, count in body["counts"].items() if count)
    halt = _halted(body.get("dispatch"))
    why = [f"because  {one_line(body['reason'])}, since {local_time(body['since'])}"] if body.get("reason") else []
    tasks = f"tasks    {counts or 'none yet: omni submit TEXT'}"
    components = _components(context, body.get("components", []))
    return [
        head,
        *why,
        *halt,
        *where,
        *_config(body.get("config")),
        tasks,
        *_spent(body.get("spend")),
        *components,
        *_executors(context, body["executors"]),
    ]


def _halted(dispatch: dict[str, Any] | None) -> list[str]:
    """Why no task is begun, where that is so."""
    if not dispatch or dispatch["state"] == "open":
        return []
    until = f"; by itself at {local_time(dispatch['until'])}" if dispatch["until"] else ""
    return [f"PAUSED   no task is begun: {one_line(dispatch['reason'])}{until}"]


def _config(report: dict[str, Any] | None) -> list[str]:
    """What a person should know about the file; nothing where it is what is in force."""
    if not report:
        return []
    refused, name = report["refused"], (report["path"] or "config.yaml").rpartition("/")[2]
    said = [f"{name} was refused: {one_line(' '.join(refused['errors']))}; omni config check"] if refused else []
    said += [f"{name} changed on disk: omni config reload"] if report["changed_on_disk"] and not refused else []
    waiting = ", ".join(report["needs_restart"])
    said += [f"{waiting}: as in {name} from the next start on"] if waiting else []
    return [f"config   {each}" for each in said]


def _spent(report: dict[str, Any] | None) -> list[str]:
    said = spent(report)
    return [f"spent    {said}"] if said else []


def spent(spend: dict[str, Any] | None) -> str:
    """A day's money in a few words; empty where none is spent and none is capped."""
    if not spend:
        return ""
    cap, amount = spend["caps"]["daily_usd"], spend["billed_usd"] + spend["kept_usd"]
    unknown, reserved = spend["unknown_calls"], spend["reserved_usd"]
    if cap is None and not (amount or reserved or unknown or spend["imputed_usd"]):
        return ""
    parts = [f"today {usd(amount)}" + (f" of {usd(cap)}" if cap is not None else "")]
    parts += [f"{usd(reserved)} reserved"] if reserved else []
    parts += [f"{unknown} {'call' if unknown == 1 else 'calls'} without a known bill"] if unknown else []
    parts += [f"free calls worth {usd(spend['imputed_usd'])}"] if spend["imputed_usd"] else []
    return ", ".join(parts)


def fetch(
    host: str, port: int, token: str, path: str, *, body: Any = None, within_s: float = ANSWER_S
) -> dict[str, Any]:
    """GET a JSON object from the daemon, or POST `body`. Raises DaemonUnreachable, NotAuthorised."""
    where = f"{bracketed(host)}:{port}"
    login = f"Authorization: Bearer {token}\r\n" if token else ""
    sent = b"" if body is None else msgspec.json.encode(body)
    line, length = ("GET", "") if body is None else ("POST", f"Content-Length: {len(sent)}\r\n")
    # HTTP/1.0: the answer ends where the connection ends, and never comes in chunks.
    asked = f"{line} {path} HTTP/1.0\r\nHost: {where}\r\nAccept: application/json\r\n{length}{login}\r\n"
    try:
        raw = _exchange(host, port, asked.encode("latin-1", "replace") + sent, within_s)
    except OSError as error:
        detail = "" if isinstance(error, ConnectionRefusedError) else f" ({error.strerror or error})"
        raise Nobody(f"no daemon answers at {where}{detail}", hint="omni serve") from None
    return _body_of(raw, where)


def _exchange(host: str, port: int, asked: bytes, within_s: float) -> bytes:
    until = time.monotonic() + within_s
    parts: list[bytes] = []
    with socket.create_connection((host, port), timeout=within_s) as connection:
        connection.sendall(asked)
        while sum(map(len, parts)) < MAX_ANSWER:
            connection.settimeout(max(0.01, until - time.monotonic()))
            part = connection.recv(65536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def _body_of(raw: bytes, where: str) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"401"]:
        raise NotAuthorised(f"the daemon at {where} does not take this token", hint=ELSEWHERE)
    answer = _json(body)
    if status == [b"503"] and answer is not None:
        raise NotReady(f"the daemon at {where} is not ready: {answer.get('reason', 'busy')}", hint="omni doctor")
    if answer is None or status != [b"200"]:
        said = raw[:60].split(b"\r\n")[0].decode("ascii", "replace") or "nothing"
        raise DaemonUnreachable(
            f"something other than Omni answers at {where}: {one_line(said)}",
            hint=OTHER_PORT,
        )
    return answer


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _from_log(context: Context) -> dict[str, Any]:
    from omni.config import log_path
    from omni.runtime.ports import SystemClock

    if not log_path(context.data_dir).exists():
        return {"position": 0}
    with context.history() as history:
        return history.status(context.counting("reading the log"), SystemClock().wall_ms())


def _but(body: dict[str, Any]) -> str:
    """What NORMAL does not say: models that are left alone, and keys that are refused."""
    components = body.get("components", [])
    left = sum(c["kind"] == "breaker" and c["state"] == "open" for c in components)
    bad = sum(c["kind"] == "key" and c["state"] in {"invalid", "cooldown"} for c in components)
    said = [f"{left} model(s) left alone for now"] if left else []
    said += [f"{bad} key(s) refused or out of credit"] if bad else []
    return f"; {', '.join(said)} (below)" if said else ""


def _components(context: Context, components: list[dict[str, Any]]) -> list[str]:
    """One line for each component, with the last thing that was seen of it."""
    if not components:
        return []
    rows = [(c["kind"], one_line(c["name"]), c["state"], local_time(c["since"]), _seen(c)) for c in components]
    return ["", *table(("COMPONENT", "NAME", "STATE", "SINCE", "EVIDENCE"), rows)]


def _seen(component: dict[str, Any]) -> str:
    until = f"until {component['until']}" if component["until"] else ""
    said = [f"{e['verdict']} ({one_line(e['detail'])})" if e["detail"] else e["verdict"] for e in component["evidence"]]
    return "; ".join(filter(None, (until, one_line(component["reason"] or ""), *said[-2:])))


def _executors(context: Context, executors: list[dict[str, Any]]) -> list[str]:
    if not executors:
        return []
    rows = [
        (one_line(e["name"]), str(e["health"]["state"]), str(e.get("running", 0)), str(e.get("queued", 0)),
         one_line(e["health"].get("reason") or ", ".join(e.get("types") or e.get("keywords") or ())))
        for e in executors
    ]  # fmt: skip
    return ["", *table(("EXECUTOR", "HEALTH", "RUNNING", "QUEUED", "ABOUT"), rows)]
