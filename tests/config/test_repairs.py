"""`repair`: who mends the proxy, and what that task may do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.conftest import Configure

from omni.config.settings import repair_settings
from omni.domain.errors import ConfigError
from omni.domain.values import RepairCommand

BASE = """
    lite_llm_url: http://127.0.0.1:4000
    runbook: {restart_proxy: {argv: [systemctl, restart, litellm], description: Restart it.}, df: {argv: [df]}}
    """
CLAUDE = "mcp_servers: {claude_code: {}, b: {command: b, tool: t, types: [coding]}}"


def test_what_a_repair_may_do_reaches_the_executor_and_the_log_in_the_same_words(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(
        f"{BASE}\n    {CLAUDE}\n    repair: {{commands: [restart_proxy], logs: [~/l.log, here.log]}}"
    ).config
    settings = repair_settings(config)
    assert (settings.executor, settings.kept) == ("claude_code", True)
    assert settings.commands == (RepairCommand("restart_proxy", "Restart it."),)
    assert all(Path(each).is_absolute() and "~" not in each for each in settings.logs)
    told = config.executors["claude_code"].options["repair"]
    assert told == {"commands": ["restart_proxy"], "logs": list(settings.logs)}
    assert "repair" not in config.executors["b"].options


def test_without_a_word_a_repair_may_only_ask_how_the_machine_does(configure: Configure) -> None:
    settings = repair_settings(configure(f"{BASE}\n    {CLAUDE}").config)
    assert [each.name for each in settings.commands] == ["system_report"]
    assert settings.logs == ()


def test_the_named_executor_repairs_and_one_that_nobody_keeps_is_told_nothing_of_limits(configure: Configure) -> None:
    loaded = configure(f"{BASE}\n    {CLAUDE}\n    repair: {{executor: b, commands: [df]}}")
    settings = repair_settings(loaded.config)
    assert (settings.executor, settings.kept, settings.commands, settings.logs) == ("b", False, (), ())
    assert any("nobody keeps it" in each for each in loaded.warnings)


def test_limits_without_anybody_who_repairs_are_mentioned(configure: Configure) -> None:
    off = "mcp_servers: {claude_code: {enabled: false}}"
    loaded = configure(f"{BASE}\n    {off}\n    repair: {{executor: claude_code}}")
    assert repair_settings(loaded.config).executor == ""
    assert any("nobody takes repairs" in each for each in loaded.warnings)


@pytest.mark.parametrize(
    ("wrong", "where", "hint"),
    [
        ("repair: {commands: [restart_prxy]}", "repair.commands", "restart_proxy"),
        ("repair: {executor: claude_cod}", "repair.executor", "claude_code"),
        ("repair: {command: [df]}", "repair", "commands"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_was_probably_meant(
    configure: Configure, wrong: str, where: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        configure(f"{BASE}\n    {CLAUDE}\n    {wrong}")
    assert where in str(refused.value)
    assert hint in str(refused.value)


def test_what_a_repair_may_do_is_said_in_one_place_only(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="one place"):
        configure(f"{BASE}\n    mcp_servers: {{claude_code: {{options: {{repair: {{logs: [/x]}}}}}}}}")
