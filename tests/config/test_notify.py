"""What a configuration may say of notices, what it is told when it says half of it, and what enters the log."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.conftest import Configure

from omni.config import redacted, restore
from omni.domain.errors import ConfigError
from omni.notify.plan import make_sinks, telling
from omni.runtime.ports import SystemClock

CHAT = """
mcp_servers:
  openclaw: {command: chat-server, tool: agent}
"""
FULL = CHAT + "notify: {channel: telegram, target: '42'}"
HOOK = "notify: {webhook: {url: 'https://example.org/hook', secret: s3cret-word}}"


async def use_tool(*call: Any) -> Any:
    raise AssertionError("nobody asks for a message here")


def in_force(loaded: Any) -> dict[str, tuple[bool, bool, bool]]:
    """The sinks by name: whether people hear them, whether the owner is told, whether they reach an address."""
    told = telling(loaded.config.notify, make_sinks(loaded.config, use_tool, SystemClock()))
    return {sink.name: (sink.people, sink.owner, sink.addressed) for sink in told.sinks}


def test_without_a_word_notices_go_to_the_log_and_the_terminal(configure: Configure) -> None:
    assert in_force(configure("")) == {"log": (False, True, False), "console": (False, True, False)}


def test_the_messenger_tells_the_owner_where_a_channel_and_a_target_are_set(configure: Configure) -> None:
    assert in_force(configure(FULL))["messenger"] == (True, True, True)
    assert in_force(configure(CHAT))["messenger"] == (True, False, True)  # answers only


def test_the_webhook_is_in_force_with_a_secret_only(configure: Configure) -> None:
    assert in_force(configure(HOOK))["webhook"] == (True, True, False)
    without = configure(HOOK.replace(", secret: s3cret-word", ""))
    assert "webhook" not in in_force(without)
    assert any("notify.webhook.secret" in each for each in without.warnings)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (CHAT + "notify: {channel: telegram}", "notify.target: is not set"),
        (CHAT + "notify: {target: '42'}", "notify.channel: is not set"),
        ("notify: {channel: telegram, target: '42'}", "no executor 'openclaw'"),
        (FULL.replace("notify: {", "notify: {executor: pigeon, "), "no executor 'pigeon'"),
        (FULL.replace("tool: agent", "tool: agent, enabled: false"), "no executor 'openclaw'"),
    ],
)
def test_what_is_missing_is_said(configure: Configure, text: str, word: str) -> None:
    loaded = configure(text)
    assert any(word in each for each in loaded.warnings), loaded.warnings
    assert not in_force(loaded).get("messenger", (True, False, True))[1]


def test_what_is_whole_needs_no_word(configure: Configure) -> None:
    assert [each for each in configure(FULL).warnings if "notify" in each] == []
    assert [each for each in configure(HOOK).warnings if "notify" in each] == []


@pytest.mark.parametrize("written", ["from: '22:00', to: '07:30'", "from: 22:00, to: 7:30"])
def test_quiet_hours_are_minutes_of_the_local_day(configure: Configure, written: str) -> None:
    config = configure(f"notify: {{quiet_hours: {{{written}, except: [mode, held]}}}}").config.notify
    quiet = telling(config, [], utc_offset_ms=3_600_000).quiet
    assert quiet is not None
    assert (quiet.from_min, quiet.to_min, quiet.utc_offset_ms) == (22 * 60, 7 * 60 + 30, 3_600_000)
    assert {"cloud_offline", "cloud_restored", "task_held"} <= set(quiet.kinds)
    assert "budget_reached" not in quiet.kinds


def test_without_times_there_are_no_quiet_hours(configure: Configure) -> None:
    assert telling(configure("notify: {quiet_hours: {except: [held]}}").config.notify, []).quiet is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("quiet_hours: {from: '22:00'}", "need a 'from' and a 'to'"),
        ("quiet_hours: {to: '7:00'}", "need a 'from' and a 'to'"),
        ("quiet_hours: {from: '24:00', to: '7:00'}", "24:00"),
        ("quiet_hours: {from: '22.00', to: '7:00'}", "22.00"),
        ("quiet_hours: {from: '7:00', to: '7:00'}", "at the same time"),
        ("quiet_hours: {except: [night]}", "expected one of"),
        ("webhook: {url: 'ftp://example.org', secret: s}", "not a URL"),
        ("webhook: {url: 'http://169.254.169.254/', secret: s}", "metadata"),
        ("webhook: {url: 'https://x', secret: s, headers: {X-Omni-Key: a}}", "set by Omni"),
        ("webhook: {url: 'https://x', secret: s, headers: {Content-Type: a}}", "set by Omni"),
        ("webhook: {url: 'https://x', secret: s, headers: {'A b': a}}", "no header"),
        ('webhook: {url: "https://x", secret: s, headers: {A: "a\\nb"}}', "no header"),
    ],
)
def test_what_cannot_be_meant_is_refused(configure: Configure, text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        configure(f"notify: {{{text}}}")


def test_the_secret_is_shown_to_nobody_and_the_rest_reads_back(configure: Configure) -> None:
    hours = ", quiet_hours: {from: '22:00', to: '7:00'}}"
    config = configure(HOOK[:-1] + hours).config
    body = redacted(config)
    assert body["notify"]["webhook"]["secret"] == "***"
    assert body["notify"]["quiet_hours"] == {"from": "22:00", "to": "7:00", "except": ["mode"]}
    assert restore(body).notify.quiet_hours == config.notify.quiet_hours
