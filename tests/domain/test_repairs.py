"""What the executor of a repair is told."""

from __future__ import annotations

from msgspec.structs import replace

from omni.domain import repairs
from omni.domain.values import RepairCommand, RepairSettings

COMMANDS = (RepairCommand("restart_proxy", "Restart the LiteLLM proxy."), RepairCommand("proxy_status"))
KEPT = RepairSettings(
    "claude_code", "http://127.0.0.1:4000", kept=True, commands=COMMANDS, logs=("/var/log/litellm.log",)
)


def told(settings: RepairSettings, reason: str = "connection refused", last: str = "") -> str:
    return repairs.task(settings, "0192f0c1-2d3e-7abc-8def-001122334455", reason, last, "brainstem").spec.description


def test_a_repair_is_told_each_command_and_each_file_that_it_may_use_and_that_there_is_nothing_else() -> None:
    lines = told(KEPT).splitlines()
    assert "- restart_proxy: Restart the LiteLLM proxy." in lines
    assert "- proxy_status" in lines
    assert "- /var/log/litellm.log" in lines
    assert "refused" in told(KEPT)
    assert "- none" in told(replace(KEPT, logs=())).splitlines()


def test_a_repairer_that_nobody_keeps_to_anything_is_not_told_of_commands_that_it_does_not_have() -> None:
    free = told(replace(KEPT, kept=False))
    assert "restart_proxy" not in free
    assert "smallest change" in free
    assert "smallest change" not in told(KEPT)


def test_every_repair_is_told_what_was_seen_and_that_its_own_word_is_evidence_only() -> None:
    for settings in (KEPT, RepairSettings("other")):
        text = told(settings, "connection refused", "succeeded: restarted it")
        assert "connection refused" in text
        assert "ended so: succeeded: restarted it" in text
        assert "evidence only" in text
        assert "/health/liveliness" in text
