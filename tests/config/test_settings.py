"""What a configuration means: to health, routing, repairs and budgets, and to the calls of models."""

from __future__ import annotations

import pytest
from tests.config.conftest import Configure
from tests.config.test_loading import FIRST_USERS_FILE

from omni.config import PLACEHOLDERS, Config
from omni.config.channels import channel_reports
from omni.config.settings import (
    budget_settings,
    call_paths,
    health_settings,
    own_url,
    repair_settings,
    routing_settings,
)
from omni.domain import hops
from omni.domain.intent import classify
from omni.domain.routing import choose
from omni.domain.template import PLACEHOLDERS as KNOWN_PLACEHOLDERS
from omni.domain.values import Budget, HealthSettings, RepairSettings, TaskSpec, Thresholds

OLLAMA = 'tiers: [{name: P1, light: "qwen2.5:7b", channel: brainstem}]'
ONE_KEY = "api_keys: {primary: {anthropic: sk-ant-canary}}"
PROXY = "lite_llm_url: http://127.0.0.1:4000"
ONE_SERVER = 'mcp_servers: {dry: {url: "null:"}}'


# --- providers


def test_the_first_users_clouds_are_those_they_have_keys_for(configure: Configure) -> None:
    config = configure(FIRST_USERS_FILE, {"ANTHROPIC_API_KEY": "a-canary"}).config

    assert {name: (each.kind, each.api_base, each.default_model) for name, each in config.providers.items()} == {
        "anthropic": ("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5"),
        "openrouter": ("openrouter", "https://openrouter.ai/api/v1", "openrouter/auto"),
    }
    assert health_settings(config) == HealthSettings(
        proxy=True,
        clouds=("anthropic", "openrouter"),
        primary_keys=("anthropic", "openrouter"),
        backup_keys=("anthropic",),
    )


def test_a_file_that_names_its_providers_has_no_others(configure: Configure) -> None:
    loaded = configure("api_keys: {primary: {anthropic: k-1, openai: k-2}}\nproviders: {anthropic: {models: {a: b}}}")

    assert list(loaded.config.providers) == ["anthropic"]
    assert loaded.config.providers["anthropic"].default_model == ""  # its models have been named
    assert any("key for openai is not used" in each for each in loaded.warnings)


def test_a_server_of_this_network_wants_no_key_and_has_no_known_model(configure: Configure) -> None:
    loaded = configure("""
        providers:
          vllm: {kind: openai, api_base: "http://192.168.1.7:8000/v1", default_model: qwen}
          other: {kind: openai, api_base: "http://localhost:8001/v1"}
        """)

    assert health_settings(loaded.config).backup_keys == ("vllm", "other")
    assert [each for each in loaded.warnings if "providers" in each] == [
        "providers.other: nobody says what its models are called; set its default_model"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("providers: {anthropic: {}}", "set api_keys.primary.anthropic and api_keys.backup.anthropic"),
        ("api_keys: {backup: {deepseek: k-123456}}", "add providers.deepseek"),
        (PROXY, "set api_keys.backup.anthropic"),
        (f"{PROXY}\napi_keys: {{primary: {{openrouter: k-123456}}}}", "set api_keys.backup.openrouter"),
        ("tiers: [{name: P1}]", "neither a proxy nor a provider with a key"),
        (
            "api_keys: {backup: {openai: k-123456}}\ntiers: [{name: P1, channel: openai}]",
            "set api_keys.primary.openai",
        ),
    ],
)
def test_what_cannot_be_called_is_warned_of_with_what_to_do(configure: Configure, text: str, words: str) -> None:
    assert any(words in each for each in configure(text).warnings)


def test_a_cap_for_a_name_that_nothing_has_is_warned_of_and_the_names_there_are_go_without(
    configure: Configure,
) -> None:
    warnings = configure("budget: {channel_usd: {P1: 1, litellm: 2, brainstem: 1, P9: 3}}").warnings
    about = [each for each in warnings if "channel_usd" in each]
    assert len(about) == 1
    assert about[0].startswith("budget.channel_usd.P9: no tier and no channel has this name")


@pytest.mark.parametrize("text", [OLLAMA, ONE_KEY, f"{PROXY}\napi_keys: {{backup: {{openai: k-123456}}}}"])
def test_what_can_be_called_is_not_warned_of(configure: Configure, text: str) -> None:
    assert configure(text).warnings == []


# --- the model executor


@pytest.mark.parametrize(
    ("text", "executors"),
    [
        ("", ["runbook"]),
        (OLLAMA, ["model", "runbook"]),
        (ONE_KEY, ["model", "runbook"]),
        (PROXY, ["model", "runbook"]),
        ("api_keys: {primary: {deepseek: k-123456}}", ["runbook"]),
        ("tiers: [{name: P1}, {name: P3, channel: brainstem, runs_tasks: false}]", ["runbook"]),
        (f"{PROXY}\n{ONE_SERVER}", ["dry"]),
        ("mcp_servers: {helper: {adapter: model}}", ["helper"]),
    ],
)
def test_a_model_that_can_be_reached_takes_tasks_where_nobody_else_does(
    configure: Configure, text: str, executors: list[str]
) -> None:
    assert list(configure(text).config.executors) == executors


@pytest.mark.parametrize(
    ("text", "needs_cloud"),
    [
        (OLLAMA, False),
        (PROXY, True),
        ("tiers: [{name: P1, channel: brainstem}, {name: P2}]", True),
        (f"{OLLAMA}\nmcp_servers: {{m: {{adapter: model, needs_cloud: true}}}}", True),
    ],
)
def test_the_model_executor_needs_the_cloud_unless_its_models_are_all_here(
    configure: Configure, text: str, needs_cloud: bool
) -> None:
    executor = next(iter(configure(text).config.executors.values()))
    assert (executor.adapter, executor.types) == ("model", ("general",))
    assert (executor.needs_cloud, executor.on_crash) == (needs_cloud, "retry")


def test_what_an_entry_says_of_a_crash_wins_over_its_adapter(configure: Configure) -> None:
    text = 'mcp_servers: {m: {adapter: model, on_crash: ask}, d: {url: "null:"}}'
    executors = configure(text).config.executors
    assert (executors["m"].on_crash, executors["d"].on_crash) == ("ask", "resume")


@pytest.mark.parametrize("mode", ["NORMAL", "BRAINSTEM"])
def test_with_nothing_but_ollama_a_task_is_routed_to_its_model_in_every_mode(configure: Configure, mode: str) -> None:
    settings = routing_settings(configure(OLLAMA).config)
    spec = TaskSpec("Tell me why the sky is blue")
    choice = choose(spec, classify(spec.description), settings, {}, mode)  # type: ignore[arg-type]

    assert choice.route is not None
    assert (choice.route.executor, choice.route.tier, choice.route.model) == ("model", "P1", "qwen2.5:7b")
    assert not settings.watched
    plan = hops.plan(hops.Asked("chat", choice.route.model), call_paths(configure(OLLAMA).config))
    assert plan.hops == (hops.Hop("brainstem", "qwen2.5:7b", None, "P1"),)


def test_with_nothing_but_a_key_a_call_goes_to_its_provider(configure: Configure) -> None:
    config = configure(ONE_KEY).config

    plan = hops.plan(hops.Asked("chat", "auto"), call_paths(config))
    assert plan.hops == (hops.Hop("anthropic", "claude-sonnet-4-5", "primary", "P1", paid=True),)
    assert routing_settings(config).watched


def test_a_report_on_this_machine_still_goes_to_the_runbook(configure: Configure) -> None:
    settings = routing_settings(configure(ONE_KEY).config)
    said = "Show a system report of this machine"

    choice = choose(TaskSpec(said), classify(said), settings, {})
    assert choice.route is not None
    assert choice.route.executor == "runbook"


# --- the other settings


def test_thresholds_are_the_owners_figures_in_milliseconds(configure: Configure) -> None:
    assert health_settings(Config()).thresholds == Thresholds()
    text = """
        fault_handler: {
          lite_llm_timeout: 1.1, consecutive_failures: 3, cloud_failure_threshold: 4, cloud_check_timeout: 5.5,
          check_interval: 31, proxy_check_interval_s: 2.5, proxy_confirm_delay_s: 0.25, proxy_recovery_successes: 5,
          proxy_recent_success_s: 11, failure_rate_percent: 60, failure_rate_window: 12, failure_rate_minimum: 6,
          dwell_s: 16, dwell_cap_s: 601, cloud_failure_span_s: 0, cloud_recovery_successes: 7, cloud_recovery_cap: 8,
          clock_jump_s: 9, clock_grace_s: 21}
        """
    assert health_settings(configure(text).config).thresholds == Thresholds(
        proxy_every_ms=2_500, proxy_timeout_ms=1_100, proxy_confirm_ms=250, proxy_failures=3, proxy_successes=5,
        proxy_recent_ms=11_000, rate_percent=60, rate_window=12, rate_minimum=6, dwell_ms=16_000, dwell_cap_ms=601_000,
        cloud_every_ms=31_000, cloud_timeout_ms=5_500, cloud_failures=4, cloud_span_ms=0, cloud_successes=7,
        cloud_successes_cap=8, jump_ms=9_000, grace_ms=21_000,
    )  # fmt: skip


def test_the_caps_go_by_the_names_that_calls_have(configure: Configure) -> None:
    text = "budget: {daily_usd: 20, task_usd: 5, channel_usd: {litellm: 3, P2: 4}, at_cap: degrade}"
    wanted = Budget(20.0, 5.0, "degrade", 7_200_000, {"proxy": 3.0, "P2": 4.0})
    config = configure(text).config
    assert budget_settings(config, 7_200_000) == wanted
    assert routing_settings(config, 7_200_000).budget == wanted


@pytest.mark.parametrize(
    ("servers", "executor"),
    [
        ("", ""),
        ("b: {url: 'http://127.0.0.1:1', tool: t, types: [coding]}", "b"),
        ("a: {url: 'http://127.0.0.1:1', tool: t, types: [general]}", ""),
        ("dry: {url: 'null:', types: [coding]}", ""),
        (
            "off: {command: a, tool: t, types: [coding], enabled: false}, b: {command: b, tool: t, types: [coding]}",
            "b",
        ),
    ],
)
def test_the_proxy_is_repaired_by_somebody_who_can_write_code(
    configure: Configure, servers: str, executor: str
) -> None:
    text = f"""
        budget: {{task_usd: 5}}
        fault_handler: {{repair_attempts: 4, repair_backoff_s: 61, repair_backoff_cap_s: 62}}
        mcp_servers: {{{servers}}}
        lite_llm_url: http://me:my-password@127.0.0.1:4000/base
        """
    where = "http://127.0.0.1:4000/base"
    assert repair_settings(configure(text).config) == RepairSettings(executor, where, 4, 61_000, 62_000, 5.0)


def test_each_provider_is_called_in_the_dialects_that_it_speaks(configure: Configure) -> None:
    text = f"""
        {PROXY}
        providers: {{mine: {{kind: openai, api_base: "http://10.0.0.1/v1", models: {{fast: f-1}}, default_model: d}}}}
        router: {{lightweight_model: fast, heavyweight_model: slow}}
        """
    paths = call_paths(configure(text).config)
    assert paths.proxy
    assert paths.providers == (hops.Provider("mine", ("chat", "responses"), {"fast": "f-1"}, "d", True, True),)
    assert [(t.name, t.light, t.paid, t.channel, t.runs_tasks) for t in paths.tiers] == [
        ("P1", "fast", False, "litellm", True),
        ("P2", "slow", True, "litellm", True),
        ("P3", "qwen2.5:7b", False, "brainstem", False),
    ]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:7"),
        ("localhost", "http://localhost:7"),
        ("0.0.0.0", "http://127.0.0.1:7"),  # noqa: S104 - a text
        ("::", "http://[::1]:7"),
        ("::1", "http://[::1]:7"),
        ("[::1]", "http://[::1]:7"),
        ("100.64.0.9", "http://100.64.0.9:7"),
    ],
)
def test_the_own_address_is_one_that_programs_here_can_reach(host: str, url: str) -> None:
    assert own_url(host, 7) == url


def test_channels_say_which_keys_are_absent(configure: Configure) -> None:
    text = f"{PROXY}\napi_keys: {{primary: {{anthropic: sk-ant-canary}}}}"
    found = {each.name: each for each in channel_reports(configure(text).config)}

    assert {name: (each.usable, each.absent_keys) for name, each in found.items()} == {
        "litellm": (True, ("lite_llm_key",)),
        "anthropic": (True, ("api_keys.backup.anthropic",)),
        "brainstem": (False, ()),
    }


def test_templates_and_their_check_know_the_same_placeholders() -> None:
    assert PLACEHOLDERS == KNOWN_PLACEHOLDERS
