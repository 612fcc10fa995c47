from __future__ import annotations

import json

import pytest
from tests.config.conftest import Configure

from omni.config import Config, config_hash, redacted, restore
from omni.config.variables import is_secret_name


def test_a_variable_is_filled_in_and_remembered_as_a_secret(configure: Configure) -> None:
    loaded = configure(
        "lite_llm_url: http://${PROXY}:4000\nlite_llm_key: ${KEY:-unused}",
        {"PROXY": "proxy-host", "KEY": "k-123456"},
    )

    assert loaded.config.lite_llm_url == "http://proxy-host:4000"
    assert loaded.config.lite_llm_key == "k-123456"
    assert loaded.secrets >= {"proxy-host", "k-123456"}


def test_the_default_stands_in_for_an_unset_or_empty_variable(configure: Configure) -> None:
    text = "log_level: ${LEVEL:-warning}\nport: ${PORT:-1234}\nlite_llm_url: ${URL:-http://h:1/a-b}"

    assert configure(text).config.log_level == "warning"
    assert configure(text, {"LEVEL": ""}).config.log_level == "warning"
    assert configure(text, {"LEVEL": "debug"}).config.log_level == "debug"
    assert configure(text).config.port == 1234
    assert configure(text).config.lite_llm_url == "http://h:1/a-b"


def test_two_dollars_keep_a_variable_as_it_is_written(configure: Configure) -> None:
    config = configure("router: {lightweight_model: 'a$${B}c$'}").config

    assert config.router.lightweight_model == "a${B}c$"


def test_a_variable_is_not_expanded_twice(configure: Configure) -> None:
    config = configure("lite_llm_key: ${A}", {"A": "${B}", "B": "inner"}).config

    assert config.lite_llm_key == "${B}"


@pytest.mark.parametrize(
    "text",
    [
        "lite_llm_key: ${X}",
        "github_key: ${X}",
        "api_keys: {primary: {anthropic: '${X}'}}",
        "model_list: [{model_name: m, litellm_params: {model: m, api_key: os.environ/X}}]",
        "mcp_servers: {a: {url: 'http://h', headers: {Authorization: 'Bearer ${X}'}}}",
        "mcp_servers: {a: {command: c, env: {MEMO_TOKEN: '${X}'}}}",
        "mcp_servers: {a: {command: c, env: {WHATEVER: '${MEMO_API_KEY}'}}}",
        "litellm_settings: {redis_password: '${X}'}",
    ],
)
def test_a_secret_whose_variable_is_not_set_counts_as_absent_and_is_reported(configure: Configure, text: str) -> None:
    loaded = configure(text)

    reports = [each for each in loaded.warnings if "is not set, so this secret is absent" in each]
    assert len(reports) == 1
    assert "config.yaml line 1: " in reports[0]
    assert "${" not in json.dumps(redacted(loaded.config))
    assert "os.environ" not in json.dumps(redacted(loaded.config))


@pytest.mark.parametrize(
    "text", ["host: ${X}", "mcp_servers: {a: {command: '${X}'}}", "runbook: {r: {argv: ['${X}']}}"]
)
def test_anything_else_whose_variable_is_not_set_is_an_error(configure: Configure, text: str) -> None:
    from omni.domain.errors import ConfigError

    with pytest.raises(ConfigError, match="the variable X is not set"):
        configure(text)


def test_a_secret_named_key_is_a_secret_without_any_variable(configure: Configure) -> None:
    loaded = configure("""
        lite_llm_key: plain-lite-key
        api_keys: {backup: {anthropic: 1234567890}}
        mcp_servers:
          a: {url: http://h, headers: {X-API-Key: plain-header, Authorization: Bearer plain-bearer}}
        """)

    assert loaded.secrets >= {"plain-lite-key", "1234567890", "plain-header", "plain-bearer"}


def test_public_variables_and_templates_are_not_secrets(configure: Configure) -> None:
    loaded = configure("""
        data_dir: ${HOME}/omni
        mcp_servers: {a: {url: "null:", arguments: {idempotency_key: "{key}", token: "{task_id}"}}}
        """)

    assert loaded.secrets == frozenset()
    assert redacted(loaded.config)["mcp_servers"]["a"]["arguments"]["idempotency_key"] == "{key}"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("apiKey", True),
        ("X-API-Key", True),
        ("accessToken", True),
        ("DBPASSWORD", True),
        ("Authorization", True),
        ("OPENAI_API_KEY_2", True),
        ("X-Token-10", True),
        ("password1", True),
        ("keywords", False),
        ("keywords2", False),
        ("MONKEY", False),
        ("hotkey", False),
        ("tokenizer", False),
        ("HOST", False),
    ],
)
def test_a_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


CANARIES = [f"canary-{n:03d}-{n * 7919:08x}" for n in range(40)]


def test_no_canary_in_any_field_survives_redaction(configure: Configure) -> None:
    names = [f"V{n}" for n in range(len(CANARIES))]
    environ = dict(zip(names, CANARIES, strict=True))
    fields = iter(f"${{{name}}}" for name in names)
    document = {
        "lite_llm_key": next(fields),
        "github_key": next(fields),
        "lite_llm_url": f"http://{next(fields)}.example:4000/{next(fields)}",
        "api_keys": {"primary": {"a": next(fields)}, "backup": {"a": next(fields)}},
        "model_list": [{"model_name": next(fields), "litellm_params": {"model": "m", "api_key": next(fields)}}],
        "litellm_settings": {"deep": [{"er": {"still": next(fields)}}]},
        "providers": {"openai": {"models": {"m": next(fields)}}},
        "mcp_servers": {
            f"s{n}": {
                "command": "c",
                "args": ["--x", f"pre{next(fields)}post"],
                "env": {"PLAIN": next(fields), "A_TOKEN": next(fields)},
                "headers": {"Authorization": f"Bearer {next(fields)}"},
                "tool": "t",
                "arguments": {"nested": [next(fields)]},
            }
            for n in range(4)
        },
        "notify": {"target": next(fields)},
    }
    loaded = configure(json.dumps(document), environ)

    used = [each for each in CANARIES if each in str(loaded.config)]
    assert len(used) > 25
    body = json.dumps(redacted(loaded.config))
    assert [each for each in CANARIES if each in body] == []
    assert set(used) <= loaded.secrets


def test_the_redacted_body_reads_back_as_the_same_configuration_without_its_secrets(
    configure: Configure,
) -> None:
    config = configure("lite_llm_key: secret-1\nmcp_servers: {a: {url: 'null:', types: [x]}}\nport: 99").config
    again = restore(json.loads(json.dumps(redacted(config))))

    assert isinstance(again, Config)
    assert again.lite_llm_key == "***"
    assert again.executors == config.executors
    assert redacted(again) == redacted(config)


def test_a_word_from_a_closed_list_is_no_secret_and_reads_back(configure: Configure) -> None:
    text = "log_level: ${LEVEL}\nport: ${PORT}\nlite_llm_url: ${URL}"
    loaded = configure(text, {"LEVEL": "warning", "PORT": "54321", "URL": "http://a-host"})
    again = restore(redacted(loaded.config))

    assert (again.log_level, again.port, again.lite_llm_url) == ("warning", 54321, "***")
    assert loaded.secrets == {"54321", "http://a-host"}


def test_a_secret_given_as_a_flag_is_a_secret(configure: Configure) -> None:
    assert "flag-canary" in configure("", None, lite_llm_key="flag-canary").secrets


def test_the_hash_changes_with_every_key_and_with_secrets_and_with_nothing_else(configure: Configure) -> None:
    def hashed(text: str, **environ: str) -> str:
        return config_hash(configure(text, environ).config)

    base = hashed("lite_llm_key: ${K}\nport: 1", K="secret-a")
    assert base == hashed("# a comment\nport: 1\nlite_llm_key: ${K}", K="secret-a")
    assert base != hashed("lite_llm_key: ${K}\nport: 1", K="secret-b")
    assert base != hashed("lite_llm_key: ${K}\nport: 2", K="secret-a")
