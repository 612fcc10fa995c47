"""One example for each command, and the document that it gives with `--json`; `docs/cli.md` and the help show them.

`ID` stands for the beginning of a task's id, `DIR` for a directory, `other.yaml` for a configuration file. A schema
that is empty means: what it prints is made for another program (a shell, an editor, an MCP client), with `--json` too.
"""

from __future__ import annotations

from msgspec import Struct


class Example(Struct, frozen=True):
    """A command line that works, what it does, and the schema of its `--json` document (`omni.SCHEMA/1`)."""

    line: str
    does: str
    schema: str = ""


EXAMPLES: dict[str, Example] = {
    "serve": Example("omni serve --port 18766", "a daemon on another port, in the foreground; Ctrl-C stops it"),
    "submit": Example("omni submit 'show a system report' --wait 60", "hand it in and follow it for a minute", "task"),
    "tasks": Example("omni tasks --state held", "what waits for a person", "tasks"),
    "why": Example("omni why ID --at 2h", "the decision as it was known two hours ago", "why"),
    "status": Example("omni status --watch", "mode, parts, executors and counts, again every second", "status"),
    "mode": Example("omni mode brainstem", "let all that needs the cloud wait, until `omni mode auto`", "mode"),
    "dashboard": Example("omni dashboard --open", "log a browser of this machine in", "dashboard"),
    "costs": Example("omni costs --by day --since 7d", "what each day of the last week cost", "costs"),
    "what-if": Example(
        "omni what-if --config other.yaml --since 30d", "what other rules would have done to a month", "what-if"
    ),
    "logs": Example("omni logs -f --level warning", "follow what the daemon warns of", "logs"),
    "init": Example("omni init", "what is on this machine, and the configuration that would be written", "init"),
    "doctor": Example("omni doctor", "every part looked at; each finding with the command that mends it", "doctor"),
    "mcp": Example("omni mcp", "what a client that speaks stdio only starts by itself"),
    "verify": Example("omni verify", "exit code 0 when nothing is wrong with the record", "verify"),
    "backup": Example("omni backup omni-backup.db", "a verified copy, while the daemon runs", "backup"),
    "drill": Example("omni drill proxy-down", "the proxy dies under load, in a daemon that is thrown away", "drill"),
    "completion": Example('eval "$(omni completion bash)"', "completion in this shell", "completion"),
    "version": Example("omni version", "what to name when something is reported", "version"),
    "service install": Example(
        "omni service install --env ANTHROPIC_API_KEY", "at every login, and with that variable", "service"
    ),
    "service uninstall": Example("omni service uninstall", "the data stays", "service"),
    "service start": Example("omni service start", "after a stop", "service"),
    "service stop": Example("omni service stop", "until it is started, or the next login", "service"),
    "service restart": Example("omni service restart", "with what is written in the configuration now", "service"),
    "service status": Example("omni service status", "exit code 3 where it does not run", "service"),
    "replay": Example("omni replay --from 12h", "what happened last night", "replay"),
    "replay at": Example("omni replay at 2h", "the whole state, two hours ago", "state"),
    "replay diff": Example("omni replay diff 2h 1h", "what one hour changed", "diff"),
    "replay import": Example(
        "omni replay import log.jsonl --data-dir DIR",
        "look at somebody else's log, in a directory of its own",
        "import",
    ),
    "task show": Example("omni task show ID", "its attempts and its result", "task"),
    "task tail": Example("omni task tail ID", "each step as it happens, to the end", "events"),
    "task cancel": Example("omni task cancel ID", "stop it; what runs is told to end", "task"),
    "task retry": Example("omni task retry ID --wait", "once more, and follow it", "task"),
    "task resolve": Example("omni task resolve ID fail", "a held task is given up", "task"),
    "token show": Example("omni token show", "for a client's `Authorization: Bearer` header", "token"),
    "token rotate": Example("omni token rotate", "all clients need the new one", "token"),
    "token model": Example("omni token model cursor", "a key for a program called cursor", "model_key"),
    "token new": Example("omni token new phone --scope read", "for a client that shall only look", "scoped_key"),
    "token metrics": Example("omni token metrics", "what Prometheus needs, and nothing more", "metrics_key"),
    "config check": Example("omni config check", "before the daemon says it", "config_check"),
    "config show": Example("omni config show --config other.yaml", "a file as Omni understands it", "config"),
    "config reload": Example("omni config reload", "the whole file is taken up, or nothing of it", "config_reload"),
    "config diff": Example("omni config diff", "what a reload would change", "config_reload"),
    "config import": Example("omni config import .mcp.json", "what would be added to your file", "config_import"),
    "config schema": Example("omni config schema", "save it, and name it in your editor"),
}


def help_of(path: str) -> str | None:
    """What the help of a command ends with; a line that begins with a backspace mark is not wrapped."""
    example = EXAMPLES.get(path)
    return f"Example: {example.does}.\n\n\b\n  {example.line}" if example else None
