"""compose.yaml against the rules that it is written by, and against the image's own steps and variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.dockerfile import ROOT, by_name, environment, stages

from omni.config import load

FILE = ROOT / "compose.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = DOCUMENT["services"]
EXAMPLE = ROOT / ".env.example"
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)|os\.environ/([A-Z][A-Z0-9_]*)")


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)s", text)
    assert match, text
    return int(match[1])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little_more_than_its_work(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert [each.partition(":")[0] for each in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert 0 < service["pids_limit"] <= 4096
    assert not {"network_mode", "pid", "ipc", "devices", "user"} & set(service)


def test_ports_are_published_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    for port in ports:
        assert port.startswith("127.0.0.1:"), port


def test_the_port_inside_is_the_one_outside_so_that_localhost_is_a_name_of_ours() -> None:
    """The door takes `localhost` with its own port only."""
    port = "${OMNI_PORT:-18765}"
    assert SERVICES["omni"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert SERVICES["omni"]["environment"]["OMNI_PORT"] == port


def test_the_log_lies_on_a_named_volume_and_no_other_mount_can_be_written() -> None:
    data = [each for service in SERVICES.values() for each in service["volumes"] if not each.get("read_only")]
    assert data == [{"type": "volume", "source": "data", "target": "/data"}]
    assert "data" in DOCUMENT["volumes"]
    for service in SERVICES.values():
        for each in service["volumes"]:
            assert "docker.sock" not in each["source"]
            if each["type"] == "bind":
                assert (ROOT / each["source"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_checked_as_its_image_says(name: str) -> None:
    check, step = SERVICES[name]["healthcheck"], by_name(stages())[name].last("HEALTHCHECK")
    assert check["test"][0] == "CMD"
    assert step.rest.startswith("CMD ")
    assert yaml.safe_load(step.rest.removeprefix("CMD ")) == check["test"][1:]
    assert check["interval"] == step.flags["interval"]
    assert seconds(check["start_period"]) >= seconds(step.flags["start-period"])
    assert SERVICES[name]["build"] == {"context": ".", "target": name}


def test_the_daemon_waits_for_a_healthy_proxy_and_has_time_to_stop() -> None:
    from omni.server.door import STOP_WITHIN_S

    assert SERVICES["omni"]["depends_on"] == {"litellm": {"condition": "service_healthy"}}
    assert seconds(SERVICES["omni"]["stop_grace_period"]) >= 2 * STOP_WITHIN_S


# --- the environment ------------------------------------------------------------------------------------------------


def used() -> set[str]:
    """Variables that compose.yaml and the files that it mounts take from the environment."""
    texts = [FILE.read_text(encoding="utf-8")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "deploy/docker").glob("*.yaml")]
    return {one or two for text in texts for one, two in VARIABLE.findall(text)}


def offered() -> dict[str, str]:
    lines = (line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_the_example_names_every_variable_that_is_used_and_no_other() -> None:
    assert set(offered()) == used()


def test_the_example_holds_no_secret() -> None:
    assert {key: value for key, value in offered().items() if value} == {"OMNI_PORT": "18765"}


def test_what_would_move_the_daemon_out_of_its_container_is_overruled() -> None:
    """A .env may be shared with a daemon outside of containers, where these mean something else."""
    inside = environment(by_name(stages()), "omni")
    said = SERVICES["omni"]["environment"]
    for name in ("OMNI_HOST", "OMNI_DATA_DIR", "OMNI_CONFIG"):
        assert said[name] == inside[name]
    assert said["LITELLM_URL"] == "http://litellm:4000"


def test_the_configuration_beside_it_is_sound_with_every_variable_set(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), **{name: f"sk-{name.lower()}" for name in used() if name != "OMNI_PORT"}}
    environ |= {k: v for k, v in SERVICES["omni"]["environment"].items() if k not in {"OMNI_PORT", "OMNI_CONFIG"}}
    loaded = load(ROOT / "deploy/docker/config.yaml", environ=environ)

    assert loaded.warnings == []
    assert loaded.config.host == "0.0.0.0"  # noqa: S104
    assert loaded.config.auth == "token"
    assert SERVICES["omni"]["hostname"] in loaded.config.allowed_hosts
    assert not loaded.config.trust_file_system


def test_the_daemon_asks_the_proxy_for_models_that_it_has() -> None:
    proxy = yaml.safe_load((ROOT / "deploy/docker/litellm.yaml").read_text(encoding="utf-8"))
    has = {each["model_name"] for each in proxy["model_list"]}
    router = yaml.safe_load((ROOT / "deploy/docker/config.yaml").read_text(encoding="utf-8"))["router"]
    assert {router["lightweight_model"], router["heavyweight_model"]} <= has
