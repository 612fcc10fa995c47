"""`model_list` in the configuration: providers, the names of their models, and primary keys."""

from __future__ import annotations

import json

import pytest
from tests.config.conftest import Configure

from omni.config import Config, redacted
from omni.config.settings import call_paths
from omni.domain.hops import Asked, Hop, plan


def hops(config: Config, model: str) -> list[tuple[str, str, str | None]]:
    """Where a call for a model would go, as the hop planner says it."""
    found: tuple[Hop, ...] = plan(Asked("chat", model), call_paths(config)).hops
    return [(each.channel, each.model, each.key) for each in found]


ONE = """
    model_list:
      - model_name: fast
        litellm_params: {model: openrouter/qwen/qwen-2.5-72b-instruct, api_key: os.environ/ROUTER_KEY}
"""


def test_a_name_goes_to_its_provider_under_the_providers_own_name_and_with_its_key(configure: Configure) -> None:
    loaded = configure(ONE, {"ROUTER_KEY": "sk-or-1"})

    assert loaded.config.api_keys.primary == {"openrouter": "sk-or-1"}
    assert hops(loaded.config, "fast") == [("openrouter", "qwen/qwen-2.5-72b-instruct", "primary")]
    assert loaded.warnings == []


def test_what_the_configuration_says_itself_wins(configure: Configure) -> None:
    said = """
        api_keys: {primary: {openrouter: sk-explicit}}
        providers: {openrouter: {models: {fast: mine/fast}}}
    """
    loaded = configure(said + ONE.replace("\n    ", "\n        "), {"ROUTER_KEY": "sk-or-1"})

    assert loaded.config.api_keys.primary == {"openrouter": "sk-explicit"}
    assert hops(loaded.config, "fast") == [("openrouter", "mine/fast", "primary")]
    assert loaded.warnings == ["model_list[0]: fast is not used: providers.openrouter calls it 'mine/fast' already"]


def test_in_degraded_mode_the_proxys_names_are_known_at_the_clouds(configure: Configure) -> None:
    config = configure("""
        lite_llm_url: http://127.0.0.1:4000
        api_keys: {backup: {anthropic: sk-backup}}
        model_list:
          - {model_name: heavy, litellm_params: {model: anthropic/claude-opus-4-1}}
    """).config

    lost = plan(Asked("messages", "heavy"), call_paths(config), proxy_lost=True).hops
    assert [(each.channel, each.model, each.key) for each in lost] == [("anthropic", "claude-opus-4-1", "backup")]


def test_a_key_goes_to_no_address_but_the_one_that_it_was_given_for(configure: Configure) -> None:
    """One provider is named openai here and lives elsewhere, one entry has an address of its own."""
    config = configure("""
        api_keys: {primary: {openai: sk-of-the-gateway}}
        providers: {openai: {api_base: "https://gateway.example.com/v1"}}
        model_list:
          - {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-public}}
          - {model_name: b, litellm_params: {model: openai/own, api_base: "http://127.0.0.1:83/v1/", api_key: sk-local}}
    """).config

    by_address = {each.api_base.rstrip("/"): config.api_keys.primary[name] for name, each in config.providers.items()}
    assert by_address == {
        "https://gateway.example.com/v1": "sk-of-the-gateway",
        "https://api.openai.com/v1": "sk-public",
        "http://127.0.0.1:83/v1": "sk-local",
    }
    assert config.providers["openai"].models == {}
    assert ("openai_127_0_0_1_83", "own", "primary") in hops(config, "b")


def test_a_provider_that_it_adds_keeps_a_model_for_names_that_nobody_lists(configure: Configure) -> None:
    config = configure("""
        api_keys: {primary: {anthropic: sk-ant}}
        model_list: [{model_name: heavy, litellm_params: {model: claude-opus-4-1}}]
    """).config

    assert config.providers["anthropic"].default_model == "claude-sonnet-4-5"
    assert config.providers["anthropic"].models == {"heavy": "claude-opus-4-1"}


def test_two_deployments_of_a_name_are_two_ways_to_it(configure: Configure) -> None:
    config = configure("""
        model_list:
          - {model_name: m, litellm_params: {model: deepseek/deepseek-chat, api_key: sk-deep}}
          - {model_name: m, litellm_params: {model: groq/llama-3.3-70b, api_key: sk-groq}}
    """).config

    assert hops(config, "m") == [("deepseek", "deepseek-chat", "primary"), ("groq", "llama-3.3-70b", "primary")]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ("{model: bedrock/anthropic.claude-v2}", "only a LiteLLM proxy reaches bedrock"),
        ("{model: ollama_chat/qwen2.5}", "channel: brainstem"),
        ("{model: openai/gpt-4o}", "there is no key for openai"),
        ("{model: 'anthropic/*', api_key: sk-a}", "it is a pattern"),
        ("{model: hosted_vllm/own, api_key: sk-a}", "it has no api_base"),
        ("{model: something, api_key: sk-a}", "only a LiteLLM proxy reaches something"),
    ],
)
def test_an_entry_that_no_call_goes_by_is_told_with_the_reason(configure: Configure, params: str, reason: str) -> None:
    entry = f"model_list: [{{model_name: m, litellm_params: {params}}}]"
    loaded = configure(entry)
    assert loaded.config.providers == {}
    assert [each for each in loaded.warnings if each.startswith("model_list[0]: m is not used") and reason in each]

    behind_a_proxy = configure(f"lite_llm_url: http://127.0.0.1:4000\n{entry}")
    assert [each for each in behind_a_proxy.warnings if "model_list" in each] == []


def test_what_came_from_a_variable_stays_masked_wherever_it_is_copied(configure: Configure) -> None:
    loaded = configure(
        """
        model_list:
          - model_name: m
            litellm_params: {model: "openai/${NAME}", api_base: "${WHERE}", api_key: os.environ/KEY}
        """,
        {"NAME": "canary-model", "WHERE": "http://canary-host:81/v1", "KEY": "canary-key"},
    )

    assert len(loaded.config.providers) == 1
    assert "canary-key" in loaded.config.api_keys.primary.values()
    shown = json.dumps(redacted(loaded.config))
    for canary in ("canary-model", "canary-host", "canary_host", "canary-key"):
        assert canary not in shown
