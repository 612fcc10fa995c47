"""Who mends the LiteLLM proxy, and what that task may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from omni.config.executors import REPAIRERS, SYSTEM_REPORT
from omni.domain.values import RepairCommand

if TYPE_CHECKING:
    from omni.config.model import Config


class RepairConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who mends the proxy, and what that task may do: run these commands of the runbook, read these files.

    Without `executor` it is the first `claude_code`, else the first executor that takes coding.
    """

    executor: str = ""
    commands: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()


def repairer(config: Config) -> str:
    """The executor for repairs: the named one, the first `claude_code`, the first that takes coding, or nobody.

    Never a dry run, nor one that is switched off.
    """
    able = [each for each in config.executors.values() if each.enabled and each.transport != "null"]
    if wanted := config.repair.executor:
        return next((each.name for each in able if each.name == wanted), "")
    named = [each.name for each in able if each.adapter == "claude_code"]
    return next(iter([*named, *(each.name for each in able if "coding" in each.types)]), "")


def is_kept(config: Config) -> bool:
    """Whether the executor for repairs is kept to what a repair may do."""
    name = repairer(config)
    return bool(name) and config.executors[name].adapter in REPAIRERS


def commands(config: Config) -> tuple[RepairCommand, ...]:
    """The commands that a repair may run; where none is named it may still ask how this machine does."""
    known = config.runbook_commands
    named = {name: known[name] for name in config.repair.commands if name in known}
    allowed = named or {"system_report": SYSTEM_REPORT}
    return tuple(RepairCommand(name, each.description) for name, each in allowed.items())
