"""What another configuration changes, and whether the file on disk is still the one that was read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.config.conftest import Configure

from omni.config import Config, config_hash, load, load_again
from omni.config.changes import AT_A_START, LIMITS_AT_A_START, Change, changes, in_force, needs_restart
from omni.config.files import Watched
from omni.config.whereabouts import whereabouts
from omni.domain.errors import ConfigError
from omni.redact import Redactor

PLAIN = Redactor()


def test_each_key_that_differs_is_named_and_nothing_else(configure: Configure) -> None:
    old = configure("budget: {daily_usd: 1, channel_usd: {P2: 3}}\nlanguage: en\n").config
    new = configure("budget: {daily_usd: 2, channel_usd: {P2: 3, P1: 1}}\nport: 1\n").config
    assert changes(old, new, PLAIN) == [
        Change("port", 18765, 1, restart=True),
        Change("budget.daily_usd", 1.0, 2.0),
        Change("budget.channel_usd.P1", "(not set)", 1.0),
    ]


def test_an_entry_that_comes_or_goes_is_one_change_without_what_it_leaves_out(configure: Configure) -> None:
    one = configure("mcp_servers: {a: {command: x, tool: t}}").config
    both = configure(
        "mcp_servers: {a: {command: x, tool: t}, b: {command: y, tool: t, env: {K: sk-0123456789}}}"
    ).config
    (came,) = changes(one, both, PLAIN)
    assert (came.key, came.old) == ("mcp_servers.b", "(not set)")
    assert came.new["command"] == "y"
    assert "gpu" not in came.new
    (went,) = changes(both, one, PLAIN)
    assert (went.key, went.new) == ("mcp_servers.b", "(not set)")
    assert "sk-0123456789" not in repr((came, went))


def test_a_secret_shows_only_that_it_differs(configure: Configure) -> None:
    text = "api_keys: {primary: {anthropic: '${K}'}}\nlite_llm_url: 'http://127.0.0.1:${PORT}'\n"
    old = configure(text, {"K": "canary-old-1", "PORT": "1"})
    new = configure(text, {"K": "canary-new-2", "PORT": "2"})
    found = changes(old.config, new.config, Redactor(old.secrets | new.secrets))
    assert found == [Change("lite_llm_url", "***", "***"), Change("api_keys.primary.anthropic", "***", "***")]


def test_what_needs_a_restart_stays_as_it_is_in_force(configure: Configure) -> None:
    old = configure("port: 1\nlimits: {nesting: 10, open_tasks: 5}\n").config
    new = configure("port: 2\nhost: localhost\nlimits: {nesting: 11, open_tasks: 6}\nlanguage: zh\n").config
    held = in_force(old, new)
    assert (held.port, held.host, held.limits.nesting) == (1, "127.0.0.1", 10)
    assert (held.limits.open_tasks, held.language) == (6, "zh")
    assert not [each for each in changes(old, held, PLAIN) if each.restart]
    assert config_hash(in_force(old, old)) == config_hash(old)


@pytest.mark.parametrize("key", sorted({*AT_A_START, *(f"limits.{each}" for each in LIMITS_AT_A_START)}))
def test_the_table_names_keys_that_there_are(key: str) -> None:
    holder, _, name = key.rpartition(".")
    assert hasattr(Config().limits if holder else Config(), name or key)
    assert needs_restart(key)
    assert not needs_restart(f"mcp_servers.{key}")


def test_a_file_that_is_only_touched_is_the_same_and_one_that_says_else_is_not(tmp_path: Path) -> None:
    file, other = tmp_path / "config.yaml", tmp_path / ".mcp.json"
    other.write_text('{"mcpServers": {}}')
    file.write_text("include_mcp_servers: [.mcp.json]\n")
    loaded = load(file, environ={"HOME": str(tmp_path)})
    watched = Watched(loaded.files)
    assert watched.changed() == []
    os.utime(file, ns=(1, 1))
    assert watched.changed() == []
    other.write_text('{"mcpServers": {"a": {}}}')
    assert watched.changed() == [str(other)]
    other.write_text('{"mcpServers": {}}')
    assert watched.changed() == []
    file.unlink()
    assert watched.changed() == [str(file)]


def test_a_file_that_changed_between_reading_and_watching_counts_as_changed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("language: zh\n")
    loaded = load(file, environ={"HOME": str(tmp_path)})
    file.write_text("language: en\n# and more\n")
    assert Watched(loaded.files).changed() == [str(file)]


def test_loading_again_reads_the_same_file_with_the_same_flags_and_no_default(tmp_path: Path) -> None:
    file, environ = tmp_path / "config.yaml", {"HOME": str(tmp_path)}
    file.write_text("port: 5\nlanguage: zh\n")
    loaded = load(file, overrides={"port": 7}, environ=environ)
    file.write_text("port: 6\nlanguage: en\n")
    again = load_again(loaded, environ)
    assert (again.config.port, again.config.language) == (7, "en")
    file.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        load_again(loaded, environ)


@pytest.mark.parametrize(
    ("text", "environ", "flags", "found"),
    [
        ("port: 5\nhost: '::1' # here\nnonsense: [", {}, {}, ("::1", 5)),
        ("port: 5\n", {"OMNI_PORT": "6"}, {}, ("127.0.0.1", 6)),
        ("port: 5\n", {"OMNI_PORT": "6"}, {"port": 7}, ("127.0.0.1", 7)),
        ("port: ${P}\nlimits:\n  port: 9\n", {}, {}, ("127.0.0.1", 18765)),
    ],
)
def test_a_broken_file_still_says_where_the_daemon_is(
    tmp_path: Path, text: str, environ: dict[str, str], flags: dict[str, int], found: tuple[str, int]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text + "\ndata_dir: here\n")
    said = whereabouts(file, flags, {"HOME": str(tmp_path), **environ})
    assert (said.host, said.port) == found
    assert said.data_dir == str(tmp_path / "here")
