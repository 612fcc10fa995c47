#!/usr/bin/env python3
"""A stub of the Claude Code CLI: it replays recorded events, and misbehaves as its prompt says.

| mark in the prompt | what it does |
|---|---|
| `[[NAME]]` | replays `tests/data/claude_code/NAME.jsonl` and exits as the CLI does |
| `[[hang]]` | runs a tool without end; INT ends it with a result, TERM without |
| `[[deaf]]`, `[[stubborn]]` | the same, deaf to INT; deaf to INT and TERM |
| `[[offspring]]` | hangs, with a child in a session of its own that is deaf to both, and its pid in `offspring` |
| `[[write]]` | writes `made.txt` where it stands, and answers |
| `[[lingers]]` | answers, and never exits |
| `[[breaks]]` | begins, and exits with code 3 and no result |
| `[[refuses]]` | exits with code 1 and words on stderr before anything else |
| `[[noise]]` | answers, with lines between that are no events |
| `[[takes:MS]]` | runs a tool for so long, asks its model once, adds a line to `made.txt`, and answers; INT ends it |
| `[[litters:MS]]` | the same, and leaves a child in a session of its own that is deaf to INT and TERM |

Marks that hang answer when their session is gone on with. Sessions and calls are kept in `$STUB_STATE`; `ledger` there
has a line for each conversation that was begun, each that acted, each whose work is done, and each of two at once.
While `trouble.json` there says `{"limited_until": EPOCH_S}` or `{"says": NAME}`, `takes` and `litters` end with that.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[1] / "data" / "claude_code"
STATE = Path(os.environ["STUB_STATE"])
HANGING = {"hang", "deaf", "stubborn", "offspring"}
DEAF = [sys.executable, "-S", "-c", "import signal,time\nfor n in (2,15): signal.signal(n, 1)\ntime.sleep(300)"]


def value(flag: str) -> str:
    return sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else ""


SESSION = value("--session-id") or value("--resume")
PROMPT = sys.argv[-1]
MARK, _MS = (re.findall(r"\[\[(\w+)(?::(\d+))?\]\]", PROMPT) or [("answer", "")])[0]


def events(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDINGS / f"{name}.jsonl").read_text("utf-8").splitlines()]


def say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event).replace("SESSION", SESSION) + "\n")
    sys.stdout.flush()


def note(**line: Any) -> None:
    """Add a line to the ledger, on disk before anybody hears of it."""
    whole = {**line, "session": SESSION, "key": os.environ.get("ANTHROPIC_AUTH_TOKEN", ""), "at": time.monotonic()}
    ledger = os.open(STATE / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, (json.dumps(whole) + "\n").encode())
    os.close(ledger)


def replay(name: str, resets_in_s: float = 3600) -> int:
    """The recording with today's times and this session's cost, and the exit code that goes with its end."""
    for event in events(name):
        if event["type"] == "rate_limit_event":
            event["rate_limit_info"]["resetsAt"] = int(time.time() + resets_in_s)  # noqa: TID251 - a program of its own
        if event["type"] == "result" and event["total_cost_usd"]:
            event["total_cost_usd"] = spend(event["total_cost_usd"])
        say(event)
    return 1 if event.get("is_error") else 0


def spend(cost: float) -> float:
    """What the conversation has cost with this: totals add up over all that is gone on with."""
    before = STATE / "sessions" / (value("--resume") or SESSION)
    total = float(before.read_text() or 0) + cost
    (STATE / "sessions" / SESSION).write_text(str(total))
    return total


def note_call() -> None:
    """What it was started with, for the test to read."""
    files = {flag: json.loads(Path(value(flag)).read_text()) for flag in ("--settings", "--mcp-config") if value(flag)}
    modes = {flag: oct(Path(value(flag)).stat().st_mode & 0o777) for flag in files}
    call = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": str(Path.cwd()), "files": files, "modes": modes}
    draft = STATE / f".{os.getpid()}"
    draft.write_text(json.dumps({**call, "pid": os.getpid()}))
    draft.rename(STATE / f"call-{time.monotonic_ns()}.json")


def enter() -> int | None:
    """Begin the session or go on with one, as the CLI does; the exit code where that cannot be."""
    known = {path.name for path in (STATE / "sessions").iterdir()}
    if value("--resume") and value("--resume") not in known:
        sys.stderr.write(f"No conversation found with session ID: {value('--resume')}\n")
        return replay("unknown_session")
    if value("--session-id") in known:
        sys.stderr.write(f"Error: Session ID {SESSION} is already in use.\n")
        return 1
    (STATE / "sessions" / SESSION).touch()
    _claim_session()
    note(begin=os.getpid(), resume=value("--resume"), cwd=str(Path.cwd()))
    return None


def _claim_session() -> None:
    """Tell when another process works in this conversation."""
    global _held  # noqa: PLW0603 - open as long as the process lives
    _held = os.open(STATE / "sessions" / SESSION, os.O_RDWR)
    try:
        fcntl.flock(_held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(clash=os.getpid())


_held = -1


def trouble() -> int | None:
    """End as the account or its API wants it just now; None when all is well."""
    path = STATE / "trouble.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    left_s = told.get("limited_until", 0) - time.time()  # noqa: TID251 - a program of its own
    if left_s > 0:
        return replay("limit", left_s)
    return replay(told["says"]) if "says" in told else None


def ask_model() -> bool:
    """One call of the model, where there is an endpoint; whether it was answered."""
    if "ANTHROPIC_BASE_URL" not in os.environ:
        return True
    import urllib.request  # takes longer than all the rest of this program

    url, key = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", os.environ["ANTHROPIC_AUTH_TOKEN"]
    body = {"model": value("--model"), "max_tokens": 64, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - http on loopback
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=20) as answered:
            return bool(json.loads(answered.read()).get("content"))
    except (OSError, ValueError):
        return False


def take() -> int:
    """Work as long as the mark says."""
    if (code := trouble()) is not None:
        return code
    signal.signal(signal.SIGINT, interrupted)
    note(act=os.getpid())
    for event in events("answer")[:3]:
        say(event)
    if MARK == "litters":
        subprocess.Popen(DEAF, start_new_session=True, stdin=subprocess.DEVNULL)
    time.sleep(int(_MS or 0) / 1000)
    if not ask_model():
        return replay("overloaded")
    with Path("made.txt").open("a") as made:
        made.write(f"{SESSION} {PROMPT.rpartition(chr(10))[2]}\n")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is done, and will say so
    note(end=os.getpid())
    return replay("answer")


def interrupted(number: int, frame: Any) -> None:
    for event in events("interrupted")[2:]:
        say(event)
    os._exit(0)


def hang() -> None:
    signal.signal(signal.SIGINT, interrupted if MARK in {"hang", "offspring"} else signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if MARK == "stubborn" else signal.SIG_DFL)
    if MARK == "offspring":
        child = subprocess.Popen(DEAF, start_new_session=True, stdin=subprocess.DEVNULL)
        (STATE / "offspring").write_text(f"{child.pid}\n")
    for event in events("answer")[:3]:
        say(event)
    time.sleep(300)


def act() -> int:
    if MARK in HANGING and not (value("--resume") and "--fork-session" not in sys.argv):
        hang()
    if MARK in {"takes", "litters"}:
        return take()
    if MARK == "breaks":
        for event in events("answer")[:3]:
            say(event)
        sys.stderr.write("out of memory\n")
        return 3
    if MARK == "write":
        Path("made.txt").write_text("made\n")
    if MARK == "noise":
        sys.stdout.write("[debug] not an event\n{half\n\n[1]\n")
    code = replay(MARK if (RECORDINGS / f"{MARK}.jsonl").exists() else "answer")
    if MARK == "lingers":
        time.sleep(300)
    return code


def main() -> int:
    (STATE / "sessions").mkdir(parents=True, exist_ok=True)
    note_call()
    if MARK == "refuses":
        sys.stderr.write("error: unknown option '--strict-mcp-config'\n")
        return 1
    code = enter()
    return act() if code is None else code


if __name__ == "__main__":
    sys.exit(main())
