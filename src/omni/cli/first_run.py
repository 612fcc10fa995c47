"""The first minutes with Omni, shown: start a daemon, give it one real task, tell what happened and what to try next.

`python -m omni.cli.first_run` keeps the daemon until Ctrl-C; `--once` stops it after the task. Everything goes the way
that it goes later: the daemon is `omni serve`, the task goes in through the WebSocket door. A daemon that already
listens on the port is used, and left running.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omni.cli import status
from omni.cli.arguments import split
from omni.cli.context import Context
from omni.cli.exits import INTERRUPTED, OK, TASK_FAILED, BadUsage, Nobody
from omni.cli.show import SHORT, event_line, task_lines
from omni.cli.waiting import wait_for
from omni.domain.errors import DaemonUnreachable, OmniError

TASK = "Show a system report of this machine"
READY_S = 20.0
TASK_S = 60.0
STOP_S = 15.0
LOOK_S = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tour; gives the exit code."""
    options, rest = split(sys.argv[1:] if argv is None else argv)
    context = Context(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else our daemon would outlive us
    try:
        if set(rest) - {"--once"}:
            wrong = (set(rest) - {"--once"}).pop()
            raise BadUsage(f"there is no option {wrong}", hint="python -m omni.cli.first_run [--once]")
        return _tour(context, once="--once" in rest)
    except OmniError as error:
        context.out.redraw("")
        return context.out.error(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _tour(context: Context, *, once: bool) -> int:
    if _is_up(context):
        host, port = context.address
        context.out.text(f"A daemon already listens on {host}:{port}: using it.")
        return _first_task(context)
    code = INTERRUPTED
    try:
        with _daemon(context) as daemon:
            code = _first_task(context)
            if not once:
                context.out.text("\nThe daemon goes on until you press Ctrl-C.")
                code = _ended(context, daemon.wait())
    except KeyboardInterrupt:
        return code
    return code


def _ended(context: Context, code: int) -> int:
    """The exit code as a shell gives it; a daemon that somebody killed is no riddle."""
    if code >= 0:
        return code
    killed = f"the daemon was ended by {signal.Signals(-code).name}; its log brings everything back"
    context.out.note(f"omni: {killed}\n  next: make run, or omni serve")
    return 128 - code


@contextmanager
def _daemon(context: Context) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon of our own, ready for tasks; stopped in good order on the way out."""
    command = [sys.executable, "-m", "omni.cli.main", *_same_options(context), "serve"]
    # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
    daemon = subprocess.Popen(command, start_new_session=True)  # noqa: S603 — our own program, no words from outside
    try:
        _wait_ready(context, daemon)
        yield daemon
    except KeyboardInterrupt:
        context.out.note("\nstopping the daemon")
        raise
    finally:
        _stop(daemon)


def _wait_ready(context: Context, daemon: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_S
    while not _is_up(context):
        if daemon.poll() is not None:
            raise DaemonUnreachable(
                f"the daemon ended with exit code {daemon.returncode}", hint="omni serve, omni logs"
            )
        if time.monotonic() > until:
            raise DaemonUnreachable(f"the daemon was not ready within {READY_S:g} s", hint="omni doctor")
        time.sleep(LOOK_S)


def _is_up(context: Context) -> bool:
    """Whether an Omni daemon is ready on our port. Raises DaemonUnreachable when something else is there."""
    try:
        answer = status.fetch(*context.address, "", "/readyz")
    except status.NotReady:
        return False
    except Nobody:
        return False
    return answer.get("status") == "ready"


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _first_task(context: Context) -> int:
    from omni.cli.client import task_in

    out, client = context.out, context.client()
    out.text(f"\nA first task: {TASK!r}")
    task = task_in(client.call("create_task", {"description": TASK, "executor": _runbook(client)}))
    task = wait_for(client, task, TASK_S, out)
    events = client.call("task_events", {"task_id": task["id"]})["events"]
    client.close()
    out.text("\n".join(task_lines(out, task)))
    out.text("\nWhat happened, each step written to the event log before it took effect:\n")
    out.text("\n".join(f"  {event_line(each, events[0]['at'])}" for each in events))
    out.text(_what_next(context, task))
    return OK if task["state"] == "completed" else TASK_FAILED


def _runbook(client: Any) -> str | None:
    """The executor that can make the report without any cloud, where it is configured; else the router chooses."""
    executors = client.call("list_executors", {})["executors"]
    return next((e["name"] for e in executors if e["name"] == "runbook"), None)


def _what_next(context: Context, task: dict[str, Any]) -> str:
    omni = " ".join(["omni", *_same_options(context)])
    todo = (
        (f"{omni} why {task['id'][:SHORT]}", "why it went there"),
        (f"{omni} submit 'what shall be done' --wait", "a task of your own"),
        (f"{omni} tasks", "all tasks"),
        (f"{omni} status", "mode, executors, counts"),
        (f"{omni} dashboard", "the same in a browser"),
        (f"{omni} replay", "all that happened"),
        (f"{omni} verify", "check the whole event log"),
        (f"{omni} config check", "what your configuration means")
        if context.loaded.path
        else ("$EDITOR config.yaml", "your executors and models: README.md shows how, config.example.yaml all keys"),
    )
    width = max(len(command) for command, _ in todo)
    return "\nTry next:\n" + "\n".join(f"  {command:{width}}  # {what}" for command, what in todo)


def _same_options(context: Context) -> list[str]:
    options = context.options
    given = (("data-dir", options.data_dir), ("config", options.config), ("host", options.host), ("port", options.port))
    return [f"--{name}={value}" for name, value in given if value is not None]


if __name__ == "__main__":
    sys.exit(main())
