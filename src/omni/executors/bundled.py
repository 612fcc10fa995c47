"""The adapters that come with Omni: how each is started, and which tool takes tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

import omni
from omni.config import ExecutorConfig, RunbookCommand

DEFAULT_ARGUMENTS = {"description": "{description}"}
RUNBOOK_VARIABLE = "OMNI_RUNBOOK"


def completed(config: ExecutorConfig, runbook: Mapping[str, RunbookCommand]) -> ExecutorConfig:
    """The executor with command, tool and arguments filled in where the adapter knows them."""
    if config.adapter == "runbook":
        config = _runbook(config, runbook)
    if config.arguments is None:
        config = msgspec.structs.replace(config, arguments=DEFAULT_ARGUMENTS)
    return config


def _runbook(config: ExecutorConfig, runbook: Mapping[str, RunbookCommand]) -> ExecutorConfig:
    commands = msgspec.json.encode(dict(runbook)).decode()
    env = {"PYTHONPATH": str(Path(omni.__file__).parents[1]), **config.env, RUNBOOK_VARIABLE: commands}
    own = config.transport == "bundled"
    return msgspec.structs.replace(
        config,
        transport="stdio" if own else config.transport,
        command=sys.executable if own else config.command,
        args=("-m", "omni.executors.runbook") if own else config.args,
        env=env if own else config.env,
        tool=config.tool or "run",
    )
