"""`model_list` in the configuration, by the calls that arrive: a real daemon and a cloud on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Omni
from tests.cli.test_model_alone import serving
from tests.fakes.processes import CloudProcess, running

KEY = "sk-canary-listed-0001"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A cloud that takes one key."""
    made = CloudProcess(tmp_path_factory.mktemp("listed"), "north", [KEY])
    with running(made):
        yield made.up()


def listed(cloud: CloudProcess) -> str:
    entry = {
        "model_name": "quick",
        "litellm_params": {
            "model": "openai/fake-light",
            "api_base": f"{cloud.url}/v1",
            "api_key": "os.environ/LISTED_KEY",
        },
    }
    return f"model_list: [{json.dumps(entry)}]\nrouter: {{lightweight_model: quick, heavyweight_model: quick}}\n"


def answered(omni: Omni, cloud: CloudProcess, config: str) -> None:
    """A task is answered by the model that the name stands for, with its key, and the key is kept nowhere."""
    cloud.forget()
    with serving(omni, config):
        task = omni.json("submit", "Tell me why the sky is blue", "--wait", "50")["task"]
    assert (task["state"], task["executor"]) == ("completed", "model")
    assert [(each.key, each.model) for each in cloud.calls()] == [(KEY, "fake-light")]
    kept = b"".join(each.read_bytes() for each in omni.data_dir.rglob("*") if each.is_file())
    assert b"sky" in kept
    assert KEY.encode() not in kept


def test_a_listed_name_is_called_at_its_address_by_its_own_name_and_with_its_key(
    omni: Omni, cloud: CloudProcess
) -> None:
    omni.environ["LISTED_KEY"] = KEY
    answered(omni, cloud, listed(cloud))


def test_an_imported_list_makes_the_same_call(omni: Omni, cloud: CloudProcess, tmp_path: Path) -> None:
    omni.environ["LISTED_KEY"] = KEY
    theirs = tmp_path / "proxy.yaml"
    theirs.write_text(listed(cloud).splitlines()[0])
    (omni.home / "config.yaml").write_text("# mine\n")
    assert omni("config", "import", str(theirs), "--apply").returncode == 0
    answered(omni, cloud, (omni.home / "config.yaml").read_text())
