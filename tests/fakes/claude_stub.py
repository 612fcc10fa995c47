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

Marks that hang answer when their session is gone on with. Sessions and calls are kept in `$STUB_STATE`.
"""

from __future__ import annotations

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
MARK = (re.findall(r"\[\[(\w+)\]\]", PROMPT) or ["answer"])[0]


def events(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDINGS / f"{name}.jsonl").read_text("utf-8").splitlines()]


def say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event).replace("SESSION", SESSION) + "\n")
    sys.stdout.flush()


def replay(name: str) -> int:
    """The recording with today's times and this session's cost, and the exit code that goes with its end."""
    for event in events(name):
        if event["type"] == "rate_limit_event":
            event["rate_limit_info"]["resetsAt"] = int(time.time()) + 3600  # noqa: TID251 - a program of its own
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
    return None


def hang() -> None:
    def interrupted(number: int, frame: Any) -> None:
        for event in events("interrupted")[2:]:
            say(event)
        os._exit(0)

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
