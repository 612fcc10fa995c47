"""No secret of 200 leaves by any door: not by the log, the files, the environments of executors, nor by an answer.

Half of them stand in the configuration, half in the environment of the daemon. They are used in every mode, and the
clouds say some of them back in their errors.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.failover.conftest import MakeScene
from tests.failover.scene import Scene
from tests.fakes.processes import FakeProxyProcess

COUNT = 200
CANARY = re.compile(rb"canary-[0-9]{3}-[0-9a-f]{24}")
ROLES = ("primary", "backup")


class Canaries:
    """Hands out secrets, each once; every other one through a variable."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.variables: dict[str, str] = {}

    def __call__(self) -> str:
        """What to write into the configuration for one more secret."""
        number = len(self.given)
        secret = f"canary-{number:03d}-{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 16**24:024x}"
        self.given.append(secret)
        if number % 2:
            return secret
        self.variables[f"CANARY_{number:03d}"] = secret
        return f"${{CANARY_{number:03d}}}"


def secretive(give: Canaries) -> dict[str, Any]:
    """A configuration in which every place for a secret holds one, up to COUNT of them."""
    config: dict[str, Any] = {
        "api_keys": {role: {name: give() for name in ("anthropic", "openrouter")} for role in ROLES},
        "lite_llm_key": give(),
        "github_key": give(),
        "mcp_servers": {
            "model": {"adapter": "model"},
            "remote": {"url": "http://127.0.0.1:9/mcp", "tool": "act", "types": ["never"], "headers": {}},
            "child": {"command": "sleep", "args": ["60"], "tool": "act", "types": ["never"], "env": {}},
        },
        "model_list": [],
    }
    for number in range(40):
        config["mcp_servers"]["remote"]["headers"][f"X-Token-{number}"] = give()
        config["mcp_servers"]["child"]["env"][f"TOKEN_{number}"] = give()
    for number in range(COUNT - len(give.given)):
        params = {"model": "openai/x", "api_key": give()}
        config["model_list"].append({"model_name": f"m{number}", "litellm_params": params})
    return config


def leaked(files: Path) -> Iterator[tuple[str, bytes]]:
    """Every canary in any file below a folder."""
    for path in sorted(files.rglob("*")):
        if path.is_file():
            for found in CANARY.findall(path.read_bytes()):
                yield str(path.relative_to(files)), found


def all_the_daemon_started(scene: Scene[FakeProxyProcess]) -> list[psutil.Process]:
    return psutil.Process(scene.daemon.pid).children(recursive=True)


@pytest.mark.slow
def test_none_of_200_secrets_is_found_in_any_file_process_or_answer_after_every_mode(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    give = Canaries()
    config = secretive(give)
    assert len(set(give.given)) == COUNT
    for name, secret in give.variables.items():
        monkeypatch.setenv(name, secret)
    scene = make_scene(**config)
    told: list[str] = []

    def ask_all(text: str) -> None:
        for dialect, stream in itertools.product(("chat", "messages", "responses"), (False, True)):
            told.append(scene.ask(text, dialect, stream=stream).text)

    ask_all("hello")
    ask_all("fault:401-echo")
    ask_all("fault:400-echo")
    ask_all("fault:errstream")
    models = scene.submit("mark:told say hello", executor="model")
    scene.until_state("completed", *models)
    processes = [(each.environ(), each.cmdline()) for each in all_the_daemon_started(scene)]
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    ask_all("hello")
    # The right keys were used: what is searched for below was really there.
    used = {key for keys in scene.keys_seen().values() for key in keys}
    assert used == set(give.given[2:4])
    ask_all("fault:400-echo")
    scene.south.kill()  # from here on the library translates for the other cloud
    ask_all("fault:400-echo")
    ask_all("fault:401-echo")
    processes += [(each.environ(), each.cmdline()) for each in all_the_daemon_started(scene)]
    scene.north.kill()
    scene.until_mode("BRAINSTEM")
    ask_all("hello")
    waiting = scene.submit("say hello", executor="model")
    scene.until_state("waiting", *waiting)
    told += [
        str(scene.status()),
        scene.daemon.run("status", "--json").stdout,
        scene.daemon.run("config", "show").stdout,
    ]
    assert scene.daemon.terminate() == 0
    verified = scene.daemon.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    assert any("model_task" in " ".join(command) for _, command in processes)
    assert list(leaked(scene.daemon.data_dir)) == []
    assert CANARY.findall(b"".join(msgspec.json.encode(each.event) for each in scene.log())) == []
    assert CANARY.findall("\n".join(told).encode()) == []
    assert CANARY.findall(scene.daemon.said.encode()) == []
    meant = in_child(config, give)
    for environ, command in processes:
        seen = {found.decode() for found in CANARY.findall(f"{environ} {command}".encode())}
        assert seen <= (meant if "TOKEN_0" in environ else set())


def in_child(config: dict[str, Any], give: Canaries) -> set[str]:
    """The secrets that the configuration itself puts into the environment of a child."""
    env = config["mcp_servers"]["child"]["env"].values()
    return {give.variables.get(value[2:-1], value) for value in env}
