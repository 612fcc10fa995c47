"""Keys put into a YAML file that a person wrote."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from omni.config.insert import insert, merged
from omni.domain.errors import ConfigError

FILE = """\
# mine
port: 18765   # the port

mcp_servers:
    # the first
    clock:
        command: uvx   # a runner
    other: {url: "null:"}
api_keys: {primary: {openai: "${OPENAI_API_KEY}"}}
providers: # of mine
router:
  lightweight_model: fast
# the end
"""
ADD = {
    "mcp_servers": {"git": {"command": "uvx", "args": ["mcp-server-git"]}, "clock": {"cwd": "/"}},
    "api_keys": {"primary": {"groq": "${GROQ_API_KEY}"}},
    "providers": {"groq": {"kind": "openai"}},
    "tiers": [{"name": "P1"}],
}


def test_every_line_that_was_there_stays() -> None:
    text = insert(FILE, ADD)

    kept = [
        line for line in FILE.splitlines() if line not in {"", 'api_keys: {primary: {openai: "${OPENAI_API_KEY}"}}'}
    ]
    assert [line for line in text.splitlines() if line in kept] == kept
    assert yaml.safe_load(text) == {
        "port": 18765,
        "mcp_servers": {
            "clock": {"command": "uvx", "cwd": "/"},
            "other": {"url": "null:"},
            "git": {"command": "uvx", "args": ["mcp-server-git"]},
        },
        "api_keys": {"primary": {"openai": "${OPENAI_API_KEY}", "groq": "${GROQ_API_KEY}"}},
        "providers": {"groq": {"kind": "openai"}},
        "router": {"lightweight_model": "fast"},
        "tiers": [{"name": "P1"}],
    }


def test_what_the_file_says_is_never_changed() -> None:
    assert insert(FILE, {"port": 1, "router": {"lightweight_model": "slow"}}) == FILE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "router: ~ # none\n",
        "router: null",
        "router:\n\nport: 1\n",
        "# nothing yet\n",
        "{}",
        "{port: 1, }",
        "port: 1",
    ],
)
def test_it_fits_into_any_file(text: str) -> None:
    assert yaml.safe_load(insert(text, {"router": {"a": 1}}))["router"] == {"a": 1}


def test_a_shared_part_is_left_alone() -> None:
    text = "a: &both {x: 1}\nb: *both\n"
    with pytest.raises(ConfigError, match="no safe place"):
        insert(text, {"b": {"y": 2}})


NAMES = st.sampled_from(["a", "b", "c d", "e:", "é", "#f"])
TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8).filter(str.isprintable) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    old=st.dictionaries(NAMES, TREES, max_size=4),
    add=st.dictionaries(NAMES, TREES, max_size=4),
    flow=st.sampled_from([True, False, None]),
)
def test_the_result_says_what_was_said_and_what_is_new_or_it_is_refused(
    old: dict[str, Any], add: dict[str, Any], flow: bool | None
) -> None:
    text = yaml.safe_dump(old, default_flow_style=flow, allow_unicode=True)
    try:
        result = insert(text, add)
    except ConfigError as error:
        return _is_refusal(error)
    assert yaml.safe_load(result) == merged(old, add)
    return None


def _is_refusal(error: ConfigError) -> None:
    assert "no safe place" in error.message
