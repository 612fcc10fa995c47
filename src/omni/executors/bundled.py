"""The adapters that come with Omni: how each is started, and which tool takes tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

import omni
from omni.config import ExecutorConfig, RunbookCommand

DEFAULT_ARGUMENTS = {"description": "{description}"}
MODEL_ARGUMENTS = {
    each: f"{{{each}}}" for each in ("description", "base_url", "api_key", "model", "tier", "task_id", "attempt")
}
RUNBOOK_VARIABLE = "OMNI_RUNBOOK"


def completed(config: ExecutorConfig, runbook: Mapping[str, RunbookCommand]) -> ExecutorConfig:
    """The executor with command, tool and arguments filled in where the adapter knows them."""
    if config.adapter == "runbook":
        config = _ours(config, "omni.executors.runbook", "run", {RUNBOOK_VARIABLE: _listed(runbook)})
    if config.adapter == "model":
        config = _ours(config, "omni.executors.model_task", "answer", {}, MODEL_ARGUMENTS)
    if config.arguments is None:
        config = msgspec.structs.replace(config, arguments=DEFAULT_ARGUMENTS)
    return config


def _ours(
    config: ExecutorConfig, module: str, tool: str, env: Mapping[str, str], arguments: Mapping[str, str] | None = None
) -> ExecutorConfig:
    """An adapter that is a module of Omni; an entry that brings its own command, tool or arguments keeps them."""
    own = config.transport == "bundled"
    whole = {"PYTHONPATH": str(Path(omni.__file__).parents[1]), **config.env, **env}
    return msgspec.structs.replace(
        config,
        transport="stdio" if own else config.transport,
        command=sys.executable if own else config.command,
        args=("-m", module) if own else config.args,
        env=whole if own else config.env,
        tool=config.tool or tool,
        arguments=arguments if config.arguments is None else config.arguments,
    )


def _listed(runbook: Mapping[str, RunbookCommand]) -> str:
    return msgspec.json.encode(dict(runbook)).decode()
