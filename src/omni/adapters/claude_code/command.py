"""What is run for an attempt: the command line, the environment and the settings file of Claude Code.

No key ever stands on the command line, which every user of the machine can read.

| | its own login | the model port |
|---|---|---|
| endpoint and key | none of ours | environment, and a settings file that outranks the user's settings |
| `--model` | `model` of the options | the attempt's model, else its tier |
| repeats a failed call | twice | once: the port fails over by itself, but for an answer that broke off in the middle |

A repair has no shell, no settings of anybody, the runbook's named commands and the log files named for it.

A task's text is data to the CLI, too. By itself it would carry out a prompt that begins with a slash (`/config` writes
the user's settings), and attach the file after an `@` without asking for the permission that reading it takes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from omni.adapters.service import Work
from omni.config.adapters import ClaudeCodeOptions
from omni.executors.bundled import RUNBOOK_VARIABLE, Options

RUN_VARIABLE = "OMNI_RUN"  # marks everything that one run starts
ANY_MODEL = "auto"
OWN_RETRIES = 2
PORT_RETRIES = 1
RUNBOOK = "runbook"
MAX_TEXT_BYTES = 120 * 1024  # Linux takes 128 KiB for one word of a command line
_BASE = ("-p", "--output-format", "stream-json", "--verbose", "--strict-mcp-config")
_QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
}
# The notes that the CLI keeps lie in the user's home, where the user's own sessions in the same repository take them
# for true. The variable alone stops the reading only; an entry may set it to have them read.
_NO_MEMORY = {"CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1"}
_NOT_TO_WRITE = "Edit(~/.claude/**)"
_ADDRESS = "ANTHROPIC_BASE_URL"
_SMALL_MODELS = (
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
# Any of these would lead past the port, or be sent in place of the attempt's key.
_ELSEWHERE = (
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
_UNATTENDED = "You work unattended: nobody can answer questions or grant permissions. Finish with a short report."
_MEMORY = " If the working directory has a CLAUDE.md or an AGENTS.md, read it first and keep to it."
_BEGIN = "The task:\n\n{}"  # no text of a task stands at the beginning, where a slash would be a command
_GO_ON = (
    "You were interrupted. Go on with the task from where you stopped; look at what is there already before you "
    "repeat anything. The task was:\n\n{}"
)


class Turn(msgspec.Struct, frozen=True):
    """Which conversation a run belongs to: `session` begun, gone on with (`again`), or branched off from `earlier`."""

    session: str
    again: bool = False
    earlier: str = ""


def uses_port(work: Work, options: ClaudeCodeOptions, told: Options) -> bool:
    """Whether the attempt's model calls go through Omni's model port."""
    if not (work.base_url and work.api_key):
        return False
    return options.models == "port" or (options.models == "auto" and told.models_reachable)


def argv(work: Work, options: ClaudeCodeOptions, turn: Turn, *, port: bool, settings: Path) -> list[str]:
    """The command line. `settings` is the file that `settings_of` is written to."""
    model = model_of(work, options, port=port)
    return [
        str(Path(options.binary).expanduser()) if "/" in options.binary else options.binary,
        *_BASE,
        *_conversation(turn),
        *(("--model", model) if model else ()),
        *(("--settings", str(settings)) if port else ()),
        *(_for_repair(options, settings) if work.repair else _for_task(options)),
        *(("--max-turns", str(options.max_turns)) if options.max_turns else ()),
        "--append-system-prompt",
        _UNATTENDED if work.repair else _UNATTENDED + ("" if "project" in options.settings else _MEMORY),
        "--",
        _prompt(work, turn),
    ]


def too_long(work: Work) -> str:
    """Why a task cannot be told to Claude Code; empty when it can."""
    size = len(work.description.encode())
    if size <= MAX_TEXT_BYTES:
        return ""
    return (
        f"the task's text has {size // 1024} KB, and Claude Code can be told {MAX_TEXT_BYTES // 1024} KB: put the long "
        "part into a file in the working directory, and name the file"
    )


def _prompt(work: Work, turn: Turn) -> str:
    """The text without the one character that no command line takes."""
    return (_GO_ON if turn.again else _BEGIN).format(work.description.replace("\0", "\ufffd"))


def model_of(work: Work, options: ClaudeCodeOptions, *, port: bool) -> str:
    """The model by the name that goes with the endpoint: Omni's names mean nothing to an own login."""
    return (work.model or work.tier or ANY_MODEL) if port else options.model


def environment(
    base: Mapping[str, str], work: Work, options: ClaudeCodeOptions, told: Options, *, port: bool, marker: str
) -> dict[str, str]:
    """The whole environment. `base` is what the adapter may pass on, with the daemon's markers."""
    env = {**base, **_NO_MEMORY, **told.env, **_QUIET, RUN_VARIABLE: marker}
    if port:
        env = {name: value for name, value in env.items() if name not in _ELSEWHERE}
        return {**env, **_endpoint(work, options), "CLAUDE_CODE_MAX_RETRIES": str(PORT_RETRIES)}
    env.setdefault("CLAUDE_CODE_MAX_RETRIES", str(OWN_RETRIES))
    if work.repair:
        env.pop(_ADDRESS, None)
    return env


def settings_of(work: Work, options: ClaudeCodeOptions, *, port: bool) -> dict[str, Any]:
    """What outranks the user's settings: an endpoint set there must not win over the attempt's."""
    if not port:
        return {}
    return {"env": {**dict.fromkeys(_ELSEWHERE, ""), **_endpoint(work, options)}, "apiKeyHelper": ""}


def runbook_server(environ: Mapping[str, str]) -> dict[str, Any]:
    """The MCP configuration of a repair: the runbook with the commands that the daemon allows it, and nothing else."""
    env = {name: environ[name] for name in (RUNBOOK_VARIABLE, "PYTHONPATH") if name in environ}
    env |= dict.fromkeys(("ANTHROPIC_AUTH_TOKEN", *_ELSEWHERE), "")  # which its commands would inherit
    server = {"type": "stdio", "command": sys.executable, "args": ["-m", "omni.adapters.runbook"], "env": env}
    return {"mcpServers": {RUNBOOK: server}}


def runbook_file(settings: Path) -> Path:
    """Where the MCP configuration of a repair lies, beside its settings."""
    return settings.with_suffix(".mcp.json")


def _endpoint(work: Work, options: ClaudeCodeOptions) -> dict[str, str]:
    pinned = dict.fromkeys(_SMALL_MODELS, model_of(work, options, port=True))
    return {_ADDRESS: work.base_url, "ANTHROPIC_AUTH_TOKEN": work.api_key, **pinned}


def _conversation(turn: Turn) -> Sequence[str]:
    if turn.again:
        return ("--resume", turn.session)
    if turn.earlier:
        return ("--resume", turn.earlier, "--fork-session", "--session-id", turn.session)
    return ("--session-id", turn.session)


def _for_task(options: ClaudeCodeOptions) -> list[str]:
    words = ["--setting-sources", ",".join(options.settings), "--permission-mode", options.permission_mode]
    if options.mcp_config:
        words += ["--mcp-config", str(Path(options.mcp_config).expanduser())]
    if options.allowed_tools:
        words += ["--allowedTools", *options.allowed_tools]
    return [*words, "--disallowedTools", _NOT_TO_WRITE, *options.disallowed_tools]


def _for_repair(options: ClaudeCodeOptions, settings: Path) -> list[str]:
    logs = [f"Read(/{Path(log).expanduser().absolute()})" for log in options.repair.logs]
    tools = ("--tools", "Read" if logs else "")
    allowed = ("--allowedTools", f"mcp__{RUNBOOK}__run", *logs)
    mcp = ("--mcp-config", str(runbook_file(settings)))
    return ["--setting-sources", "", "--permission-mode", "dontAsk", *tools, *allowed, *mcp]
