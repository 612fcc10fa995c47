"""Other programs' configurations as keys of ours: nothing is lost without a word, and no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from omni.config import Config, Provider, load
from omni.config.addition import kept, missing, spelt_out
from omni.config.imports import Plan, read
from omni.config.insert import dumped
from omni.domain.errors import ConfigError


def taken(tmp_path: Path, document: Any, name: str = ".mcp.json", known: dict[str, Provider] | None = None) -> Plan:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read(file, Config(providers=known or {}))


def left(plan: Plan) -> dict[str, str]:
    return {each.what: each.why for each in plan.left_out}


def servers(tmp_path: Path, **entries: Any) -> Plan:
    return taken(tmp_path, {"mcpServers": entries})


# --- servers --------------------------------------------------------------------------------------------------------

BLOCKS = {
    "claude code": {"mcpServers": {"a": {"command": "x"}}},
    "vs code": {"servers": {"a": {"type": "stdio", "command": "x"}}, "inputs": []},
    "vs code settings": {"mcp": {"servers": {"a": {"command": "x"}}}},
    "claude code's own file": {"projects": {"/work": {"mcpServers": {"a": {"command": "x"}}}}},
}


@pytest.mark.parametrize("document", BLOCKS.values(), ids=BLOCKS)
def test_every_block_of_servers_is_found(tmp_path: Path, document: Any) -> None:
    assert taken(tmp_path, document).add == {"mcp_servers": {"a": {"command": "x"}}}


def test_json_is_read_as_editors_write_it(tmp_path: Path) -> None:
    env = '{"URL": "http://x//y", "S": "\\ud83d\\ude00"}'
    text = f'{{\n\t// mine: {{\n\t"mcpServers": {{/* one */ "a": {{"command": "x", "env": {env},}},}},\n}}'
    assert taken(tmp_path, text).add["mcp_servers"]["a"]["env"] == {"URL": "http://x//y", "S": "😀"}


def test_an_entry_keeps_all_that_counts_here_and_names_what_does_not(tmp_path: Path) -> None:
    entry = {"type": "stdio", "command": "npx", "args": ["-y", "thing", 3], "env": {"PORT": 1, "OLD": None, "ON": True},
             "cwd": "/srv", "disabled": True, "autoApprove": ["a"], "timeout": 60}  # fmt: skip
    plan = servers(tmp_path, thing=entry)

    assert plan.add["mcp_servers"]["thing"] == {
        "command": "npx", "args": ["-y", "thing", "3"], "cwd": "/srv", "env": {"PORT": "1", "ON": "true"},
        "enabled": False,
    }  # fmt: skip
    assert set(left(plan)) == {f"mcpServers.thing.{key}" for key in ("autoApprove", "timeout", "env.OLD")}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"type": "sse", "url": "http://x/sse"}, "SSE"),
        ({"type": "carrier-pigeon", "url": "http://x"}, "carrier-pigeon"),
        ({"command": ["npx", "x"]}, "not text"),
        ({"env": {}}, "neither a url nor a command"),
        ("npx", "not a mapping"),
        ({"command": "/opt/omni", "args": ["mcp"]}, "Omni itself"),
        ({"command": "python", "args": ["-m", "omni.cli.main", "mcp"]}, "Omni itself"),
        ({"command": "x", "args": ["${command:pick}"]}, "${command:pick}"),
    ],
)
def test_what_cannot_be_taken_is_named_with_the_reason(tmp_path: Path, entry: Any, why: str) -> None:
    plan = servers(tmp_path, bad=entry, good={"command": "x"})
    assert plan.add == {"mcp_servers": {"good": {"command": "x"}}}
    assert why in left(plan)["mcpServers.bad"]


def test_an_entry_called_omni_that_leads_here_is_ourselves(tmp_path: Path) -> None:
    plan = servers(tmp_path, omni={"url": "http://127.0.0.1:18765/mcp"})
    assert plan.add == {}
    assert "Omni itself" in left(plan)["mcpServers.omni"]


def test_a_name_that_stands_for_an_adapter_is_given_another(tmp_path: Path) -> None:
    plan = servers(tmp_path, openclaw={"command": "openclaw", "args": ["mcp", "serve"]}, memos={"command": "m"})
    assert set(plan.add["mcp_servers"]) == {"openclaw_mcp", "memos"}
    assert any("openclaw_mcp" in note for note in plan.notes)


def test_the_words_of_other_programs_become_ours(tmp_path: Path) -> None:
    entry = {"command": "${workspaceFolder}/run", "args": ["${userHome}/x", "${HOME}", "${A:-b}"],
             "env": {"ONE_TOKEN": "${env:ONE}", "TWO_TOKEN": "${input:two-key}"}}  # fmt: skip
    plan = taken(tmp_path, {"servers": {"vs": entry}}, ".vscode/mcp.json")

    assert plan.add["mcp_servers"]["vs"] == {
        "command": f"{tmp_path}/run", "args": ["${HOME}/x", "${HOME}", "${A:-b}"],
        "env": {"ONE_TOKEN": "${ONE}", "TWO_TOKEN": "${VS_TWO_KEY}"},
    }  # fmt: skip
    assert plan.variables({"HOME": "/h"}) == ["ONE", "VS_TWO_KEY"]


def test_a_relative_command_starts_where_its_file_is(tmp_path: Path) -> None:
    found = servers(
        tmp_path, a={"command": "./run.sh"}, b={"command": "node", "args": ["../x.js"]}, c={"command": "npx"}
    )
    assert [each.get("cwd") for each in found.add["mcp_servers"].values()] == [str(tmp_path), str(tmp_path), None]


CANARY = "c4n4ryc4n4ryc4n4ryc4n4ry"
PLACES = {
    "a variable by its name": {"command": "x", "env": {"GITHUB_TOKEN": "canary-short"}},
    "a variable by its looks": {"command": "x", "env": {"LOGIN": "ghp_canary12345678"}},
    "a variable like a drawn word": {"command": "x", "env": {"ID": CANARY}},
    "a header": {"url": "https://x.example/mcp", "headers": {"Authorization": "Bearer canary-bearer"}},
    "another header": {"url": "https://x.example/mcp", "headers": {"X-Api-Key": "canary-key"}},
    "an option": {"command": "x", "args": ["--api-key", "canary-option"]},
    "an option and its value": {"command": "x", "args": ["--token=canary-joined"]},
    "a variable for a container": {"command": "docker", "args": ["run", "-e", "API_TOKEN=canary-docker"]},
    "a word among the arguments": {"command": "x", "args": ["sk-canary-12345678"]},
    "a parameter": {"url": "https://x.example/mcp?api_key=canary-query&x=1"},
    "a quoted parameter": {"url": "https://x.example/mcp?token=canary%2Fquoted"},
    "a login": {"url": "https://me:canary@x.example/mcp"},
    "a part of the path": {"url": f"https://x.example/s/{CANARY}/mcp"},
}


@pytest.mark.parametrize("entry", PLACES.values(), ids=PLACES)
def test_a_secret_that_is_written_out_becomes_a_variable_and_is_shown_nowhere(tmp_path: Path, entry: Any) -> None:
    plan = servers(tmp_path, one=entry)
    shown = dumped(plan.add) + repr((plan.left_out, plan.secrets, plan.notes, plan.variables({})))
    for canary in ("canary", CANARY):
        assert canary not in shown
    assert len(plan.secrets) == 1
    secret = plan.secrets[0]
    assert secret.where.startswith("mcpServers.one.")
    assert plan.variables({}) == [secret.variable]

    file = tmp_path / "config.yaml"
    file.write_text(dumped(plan.add))
    value = next(iter(plan.values.values()))
    back = load(file, environ={"HOME": str(tmp_path), secret.variable: value}).config.mcp_servers["one"]
    whole = [*back.args, *back.env.values(), *back.headers.values(), back.url]
    said = [
        *entry.get("args", []),
        *entry.get("env", {}).values(),
        *entry.get("headers", {}).values(),
        entry.get("url"),
    ]
    assert [each for each in said if each] == [each for each in whole if each] or "%2F" in str(entry)


@pytest.mark.parametrize(
    "word", ["@scope/server-everything@2026.8.31", "mcp-server-filesystem", "/home/me/notes", "--debug=1"]
)
def test_an_ordinary_word_stays(tmp_path: Path, word: str) -> None:
    plan = servers(tmp_path, one={"command": "npx", "args": [word]})
    assert (plan.add["mcp_servers"]["one"]["args"], plan.secrets) == ([word], [])


def test_two_values_of_one_name_are_two_variables_and_one_value_is_one(tmp_path: Path) -> None:
    plan = servers(
        tmp_path,
        a={"command": "x", "env": {"API_KEY": "canary-1"}},
        b={"command": "x", "env": {"API_KEY": "canary-2"}},
        c={"command": "x", "env": {"API_KEY": "canary-1"}},
    )
    found = [each["env"]["API_KEY"] for each in plan.add["mcp_servers"].values()]
    assert found == ["${API_KEY}", "${API_KEY_2}", "${API_KEY}"]


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "claude_code", "omni", "é x"]),
        st.dictionaries(
            st.sampled_from(["command", "args", "url", "env", "headers", "type", "cwd", "disabled", "other"]),
            st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.lists(st.text(max_size=4), max_size=3)
            | st.dictionaries(st.text(max_size=4), st.none() | st.text(max_size=5), max_size=2),
            max_size=6,
        ) | st.text(max_size=3),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_whatever_a_file_says_each_entry_is_taken_or_named(entries: dict[str, Any]) -> None:
    from omni.config.imports import servers as room

    plan = Plan()
    room.take(plan, {"mcpServers": entries}, Path("/x/.mcp.json"))
    came = {name.removesuffix("_mcp") for name in plan.add.get("mcp_servers", {})}
    named = {name for name in entries if f"mcpServers.{name}" in left(plan)}
    assert came | named == set(entries)
    assert came & named == set()


# --- a proxy's models -----------------------------------------------------------------------------------------------

PROXY = """
model_list:
  - model_name: light
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-canary-openai-1, rpm: 10}
  - model_name: strong
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/CLAUDE_KEY}
  - {model_name: cloud, litellm_params: {model: bedrock/anthropic.claude-v2}}
  - {model_name: near, litellm_params: {model: ollama_chat/qwen2.5}}
  - nonsense
router_settings: {model_group_alias: {gpt-4: strong}, num_retries: 2}
litellm_settings: {max_budget: 20, budget_duration: 1d, drop_params: true}
general_settings: {master_key: sk-canary-master}
environment_variables: {SOME_KEY: canary-environment}
include: [more.yaml]
"""


def test_a_proxys_models_keys_tiers_and_cap_come_along(tmp_path: Path) -> None:
    plan = taken(tmp_path, PROXY, "proxy.yaml")
    assert plan.add["api_keys"] == {"primary": {"openai": "${OPENAI_API_KEY}", "anthropic": "${CLAUDE_KEY}"}}
    assert plan.add["providers"] == {
        "openai": {"models": {"light": "gpt-4o-mini"}},
        "anthropic": {"models": {"strong": "claude-sonnet-4-5", "gpt-4": "claude-sonnet-4-5"}},
    }
    assert plan.add["tiers"] == [
        {"name": "P1", "light": "light", "heavy": "light", "cost": "paid"},
        {"name": "P2", "light": "strong", "heavy": "strong", "cost": "paid"},
    ]
    assert plan.add["brainstem"] == {"model": "qwen2.5"}
    assert plan.add["budget"] == {"daily_usd": 20}


def test_nothing_of_a_proxy_is_lost_without_a_word(tmp_path: Path) -> None:
    plan = taken(tmp_path, PROXY, "proxy.yaml")
    assert set(left(plan)) == {
        "model_list[0] (light).litellm_params.rpm", "model_list[2] (cloud)", "model_list[4]",
        "router_settings.num_retries", "litellm_settings.drop_params", "general_settings.master_key",
        "environment_variables.SOME_KEY", "include",
    }  # fmt: skip
    assert "canary" not in dumped(plan.add) + repr((plan.left_out, plan.secrets, plan.notes))


def test_what_was_imported_goes_the_same_ways(tmp_path: Path) -> None:
    """What a call for a name reaches is the same by the imported keys and by `model_list` itself."""
    plan = taken(tmp_path, PROXY, "proxy.yaml")
    listed = yaml.safe_load(PROXY)["model_list"][:2]
    environ = {"HOME": str(tmp_path), "OPENAI_API_KEY": "sk-canary-openai-1", "CLAUDE_KEY": "k"}
    ours, theirs = tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    ours.write_text(dumped(plan.add))
    theirs.write_text(dumped({"model_list": listed}))
    one, other = load(ours, environ=environ).config, load(theirs, environ=environ).config
    assert one.api_keys == other.api_keys
    for name, models in {"openai": {"light"}, "anthropic": {"strong"}}.items():
        for model in models:
            assert one.providers[name].models[model] == other.providers[name].models[model]
        assert one.providers[name].api_base == other.providers[name].api_base


def test_a_key_is_not_given_to_a_provider_of_the_same_name_elsewhere(tmp_path: Path) -> None:
    known = {"openai": Provider(kind="openai", api_base="https://gateway.example.com/v1")}
    plan = taken(tmp_path, PROXY, "proxy.yaml", known)
    assert "openai" not in plan.add["api_keys"]["primary"]
    assert plan.add["providers"]["openai_api_openai_com"]["api_base"] == "https://api.openai.com/v1"


def test_a_provider_that_is_known_by_its_address_keeps_its_name(tmp_path: Path) -> None:
    known = {"mine": Provider(kind="openai", api_base="https://api.openai.com/v1/")}
    plan = taken(tmp_path, PROXY, "proxy.yaml", known)
    assert plan.add["providers"]["mine"] == {"models": {"light": "gpt-4o-mini"}}
    assert plan.add["api_keys"]["primary"]["mine"] == "${MINE_API_KEY}"


def test_a_second_key_for_one_provider_is_named(tmp_path: Path) -> None:
    text = "model_list:\n" + "".join(
        f"  - {{model_name: m{n}, litellm_params: {{model: groq/llama, api_key: sk-canary-{n}-12345678}}}}\n"
        for n in (1, 2)
    )
    plan = taken(tmp_path, text, "proxy.yaml")
    assert list(left(plan)) == ["model_list[1] (m2).litellm_params.api_key"]
    assert [each.variable for each in plan.secrets] == ["GROQ_API_KEY"]


def test_where_prices_are_not_known_a_person_chooses(tmp_path: Path) -> None:
    entries = [{"model_name": n, "litellm_params": {"model": f"groq/{n}-unheard-of"}} for n in ("a", "b")]
    plan = taken(tmp_path, {"model_list": entries}, "proxy.json")
    assert "tiers" not in plan.add
    assert any("under router, of a, b" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "has none of what"),
        ("mcpServers: {}", "has none of what"),
        ("[1]", "not a mapping"),
        ("{{", "not valid YAML"),
    ],
)
def test_a_file_with_nothing_to_import_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        taken(tmp_path, text, "x.yaml")


# --- beside what is there -------------------------------------------------------------------------------------------


def test_only_what_is_missing_is_added_and_what_differs_stays() -> None:
    add = {
        "mcp_servers": {"a": {"command": "x", "cwd": "/"}, "b": {"command": "y"}},
        "router": {"lightweight_model": "m"},
    }
    said = {"mcp_servers": {"a": {"command": "other"}}, "router": None}
    assert missing(add, said) == {"mcp_servers": {"b": {"command": "y"}}, "router": {"lightweight_model": "m"}}
    assert kept(add, said) == ["mcp_servers.a"]


def test_tiers_do_not_silence_the_models_of_the_router() -> None:
    add = {"tiers": [{"name": "P1"}]}
    said = {"router": {"lightweight_model": "mine"}}
    assert (missing(add, said), kept(add, said)) == ({}, ["router"])
    assert missing(add, {"router": {"complexity_threshold": 40}}) == add


def test_a_proxy_that_is_named_already_is_not_proposed(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(PROXY)
    proposed = [any("lite_llm_url" in note for note in read(file, each).notes) for each in (
        Config(), Config(lite_llm_url="http://127.0.0.1:4000"))]  # fmt: skip
    assert proposed == [True, False]


def test_providers_that_were_there_by_their_keys_alone_are_named_with_the_first(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("api_keys: {primary: {anthropic: sk-ant-1}}")
    config = load(file, environ={"HOME": str(tmp_path)}).config
    add = spelt_out({"providers": {"groq": {}}}, yaml.safe_load(file.read_text()), config)
    assert add["providers"] == {"anthropic": {}, "groq": {}}


def test_the_plan_goes_out_as_plain_data(tmp_path: Path) -> None:
    plan = servers(tmp_path, a={"type": "sse", "url": "http://x"})
    assert msgspec.to_builtins(plan.left_out)[0].keys() == {"what", "why"}
