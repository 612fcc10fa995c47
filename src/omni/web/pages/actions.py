"""What a person can do about a task, by its state; the page that asks once more, and the dialog made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omni.domain.values import ENDED


def actions(task: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a person can do about a task as it is: `do` is the action, `decision` what a resolving one decides."""
    held = task["held"] or {}
    chosen = [{"do": "resolve", "decision": each} for each in held.get("options", ())]
    if task["state"] in ENDED:
        return [{"do": "retry", "decision": ""}]
    return [*chosen, *([] if task["cancel_requested"] else [{"do": "cancel", "decision": ""}])]
