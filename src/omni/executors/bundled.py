"""The adapters that come with Omni: how each is started, and which tool takes tasks."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

import omni
from omni.config import ExecutorConfig, RunbookCommand
from omni.config.adapters import OPTIONS_VARIABLE, STATE_VARIABLE

DEFAULT_ARGUMENTS = {"description": "{description}"}
MODEL_ARGUMENTS = {
    each: f"{{{each}}}" for each in ("description", "base_url", "api_key", "model", "tier", "task_id", "attempt")
}
# What an adapter that keeps a record of its attempts is told; the fields of `omni.adapters.service.Work`.
WORK_ARGUMENTS = MODEL_ARGUMENTS | {
    each: f"{{{each}}}" for each in ("key", "handle", "earlier", "resume", "repair", "workdir", "timeout_s")
}
RUNBOOK_VARIABLE = "OMNI_RUNBOOK"
RESUMING_ADAPTERS = frozenset({"claude_code", "openclaw", "moltworker"})  # their sessions go by the handles we made


class _Kind(NamedTuple):
    module: str
    tool: str
    arguments: Mapping[str, str]


_ADAPTERS = {
    "runbook": _Kind("omni.adapters.runbook", "run", DEFAULT_ARGUMENTS),
    "model": _Kind("omni.adapters.model_task", "answer", MODEL_ARGUMENTS),
    "claude_code": _Kind("omni.adapters.claude_code", "run_task", WORK_ARGUMENTS),
    "openclaw": _Kind("omni.adapters.openclaw", "run_task", WORK_ARGUMENTS),
    "moltworker": _Kind("omni.adapters.openclaw", "run_task", WORK_ARGUMENTS),
}


def adapter_state(data_dir: Path, name: str) -> Path:
    """The directory in which an adapter keeps what it must know after a crash."""
    return data_dir / "adapters" / re.sub(r"[^A-Za-z0-9_.-]", "_", name)


class Options(msgspec.Struct, frozen=True):
    """What an adapter's process finds in `OMNI_OPTIONS`: its entry, as far as it is the adapter's to read.

    `env` is for programs that it starts; `options` are those of `omni.config.adapters`. `models_reachable`: whether
    there are models behind the port whose address each attempt is told.
    """

    name: str
    adapter: str
    url: str = ""
    headers: dict[str, str] = {}
    env: dict[str, str] = {}
    options: dict[str, object] = {}
    models_reachable: bool = False


def completed(
    config: ExecutorConfig, runbook: Mapping[str, RunbookCommand], data_dir: Path, *, models_reachable: bool = False
) -> ExecutorConfig:
    """The executor with command, tool and arguments filled in where the adapter knows them.

    An entry that brings its own command, tool or arguments keeps them.
    """
    kind = _ADAPTERS.get(config.adapter)
    if kind is not None:
        config = _ours(config, kind, _environment(config, runbook, data_dir, models_reachable))
    if config.arguments is None:
        config = msgspec.structs.replace(config, arguments=DEFAULT_ARGUMENTS)
    return config


def _ours(config: ExecutorConfig, kind: _Kind, env: Mapping[str, str]) -> ExecutorConfig:
    own = config.transport == "bundled"
    return msgspec.structs.replace(
        config,
        transport="stdio" if own else config.transport,
        command=sys.executable if own else config.command,
        args=("-m", kind.module) if own else config.args,
        env=env,
        tool=config.tool or kind.tool,
        arguments=kind.arguments if config.arguments is None else config.arguments,
    )


def _environment(
    config: ExecutorConfig,
    runbook: Mapping[str, RunbookCommand],
    data_dir: Path,
    models_reachable: bool,  # noqa: FBT001 - passed on
) -> dict[str, str]:
    told = Options(
        config.name, config.adapter, config.url, config.headers, config.env, config.options, models_reachable
    )
    commands = dict(runbook) if config.adapter == "runbook" else _for_repairs(config, runbook)
    return {
        "PYTHONPATH": str(Path(omni.__file__).parents[1]),
        **config.env,
        RUNBOOK_VARIABLE: msgspec.json.encode(commands).decode(),
        OPTIONS_VARIABLE: msgspec.json.encode(told).decode(),
        STATE_VARIABLE: str(adapter_state(data_dir, config.name)),
    }


def _for_repairs(config: ExecutorConfig, runbook: Mapping[str, RunbookCommand]) -> dict[str, RunbookCommand]:
    """The commands that a repair may run; none that the configuration does not name there."""
    repair = config.options.get("repair")
    named = repair.get("commands", ()) if isinstance(repair, Mapping) else ()
    return {name: runbook[name] for name in named if name in runbook}
