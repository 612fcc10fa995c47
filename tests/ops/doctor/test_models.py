"""Faults on the ways to models: servers that answer wrongly, keys that are refused, models that are not there."""

from email.utils import formatdate

import pytest
from tests.cli.conftest import free_port
from tests.ops.doctor.conftest import Answer, Home, Upstream

GOOD, WRONG = "made-up-good-key", "made-up-wrong-key"
MODELS = {"data": [{"id": "light"}, {"id": "heavy"}]}
OLLAMA = {"models": [{"name": "qwen2.5:7b"}]}


def takes(key: str, body: object, refusal: int = 401) -> object:
    """What answers this key alone."""

    def answer(shown: str) -> Answer:
        return (200, body) if shown == key else (refusal, {"error": {"message": "no"}})

    return answer


@pytest.fixture
def models(home: Home, upstream: Upstream) -> Home:
    """A proxy, a provider with two keys and a local model, all of them well."""
    upstream.answers = {
        "/proxy/health/liveliness": (200, "I'm alive!"),
        "/proxy/v1/models": takes(GOOD, MODELS),  # type: ignore[dict-item]
        "/anthropic/v1/models": takes(GOOD, MODELS),  # type: ignore[dict-item]
        "/ollama/api/tags": (200, OLLAMA),
    }
    home.config |= {
        "lite_llm_url": f"{upstream.url}/proxy",
        "lite_llm_key": GOOD,
        "router": {"lightweight_model": "light", "heavyweight_model": "heavy"},
        "providers": {"anthropic": {"api_base": f"{upstream.url}/anthropic", "default_model": "claude"}},
        "api_keys": {"primary": {"anthropic": GOOD}, "backup": {"anthropic": GOOD}},
        "brainstem": {"api_base": f"{upstream.url}/ollama", "model": "qwen2.5:7b"},
    }
    return home


def test_ways_that_are_well_give_no_trouble(models: Home) -> None:
    found = models.findings()
    assert [each for each in found if each.is_trouble] == []
    well = {each.name for each in found if each.level == "ok"}
    assert {"proxy", "provider.anthropic.primary", "provider.anthropic.backup", "ollama"} <= well


def test_a_proxy_that_is_down_is_found(models: Home) -> None:
    models.config["lite_llm_url"] = f"http://127.0.0.1:{free_port()}"
    found = models.finding("proxy.unreachable")
    assert "refused" in found.says
    assert "litellm --config" in found.mend


def test_a_proxy_that_does_not_take_the_key_is_found(models: Home) -> None:
    models.config["lite_llm_key"] = WRONG
    found = models.finding("proxy.key_refused")
    assert "lite_llm_key" in found.mend
    assert WRONG not in found.says + found.mend


def test_a_model_that_the_proxy_does_not_have_is_found(models: Home) -> None:
    models.config["router"]["heavyweight_model"] = "opus"
    found = models.finding("proxy.model_unknown")
    assert "'opus'" in found.says
    assert "light, heavy" in found.says
    assert "model_list" in found.mend


def test_a_name_that_the_proxy_takes_by_a_pattern_is_well(models: Home, upstream: Upstream) -> None:
    models.config["router"]["heavyweight_model"] = "anthropic/claude-opus"
    upstream.answers["/proxy/v1/models"] = (200, {"data": [{"id": "light"}, {"id": "anthropic/*"}]})
    assert "proxy.model_unknown" not in {each.name for each in models.findings()}


def test_a_proxy_without_a_list_is_told(models: Home, upstream: Upstream) -> None:
    upstream.answers["/proxy/v1/models"] = (404, {})
    assert models.finding("proxy.not_checked").level == "note"


@pytest.mark.parametrize("role", ["primary", "backup"])
def test_a_wrong_key_is_found_with_its_role_and_never_shown(models: Home, upstream: Upstream, role: str) -> None:
    models.config["api_keys"][role]["anthropic"] = WRONG
    models.write()
    found = models.finding("provider.key_refused")
    assert f"the {role} key of anthropic" in found.says
    assert f"api_keys.{role}.anthropic" in found.mend
    assert WRONG in upstream.keys
    said = models.omni("doctor", environ={"OMNI_PORT": str(models.port)})
    assert WRONG not in said.stdout + said.stderr
    assert said.returncode == 2


@pytest.mark.parametrize(
    ("status", "name"), [(402, "provider.no_credit"), (429, "provider.limited"), (500, "provider.unreachable")]
)
def test_what_a_provider_answers_is_told(models: Home, upstream: Upstream, status: int, name: str) -> None:
    del models.config["api_keys"]["backup"]
    upstream.answers["/anthropic/v1/models"] = (status, {"error": {"message": "no"}})
    assert models.finding(name).mend


def test_a_provider_that_is_away_is_found(models: Home) -> None:
    where = f"http://127.0.0.1:{free_port()}"
    models.config["providers"]["anthropic"]["api_base"] = where
    assert models.finding("provider.unreachable").mend == f"curl -sI {where}"


def test_an_absent_secret_is_found(models: Home) -> None:
    models.config["api_keys"]["backup"]["anthropic"] = "${BACKUP_KEY_OF_NOBODY}"
    models.config["providers"]["anthropic"]["api_base"] = "https://cloud.invalid"  # elsewhere, so that a key is wanted
    names = {each.name for each in models.findings()}
    assert {"config.secret_absent", "provider.no_backup_key"} <= names
    assert "export BACKUP_KEY_OF_NOBODY=" in models.finding("config.secret_absent").mend


def test_an_absent_ollama_is_found(models: Home) -> None:
    models.config["brainstem"]["api_base"] = f"http://127.0.0.1:{free_port()}"
    assert models.finding("ollama.unreachable").mend == "ollama serve"


def test_an_absent_local_model_is_found(models: Home) -> None:
    models.config["brainstem"]["model"] = "qwen3:8b"
    assert models.finding("ollama.model_absent").mend == "ollama pull qwen3:8b"


def test_a_clock_off_from_a_cloud_is_found(models: Home, upstream: Upstream) -> None:
    del models.config["api_keys"]["backup"]
    upstream.date = formatdate(0, usegmt=True)
    assert "ahead of that of anthropic" in models.finding("clock.skewed").says
