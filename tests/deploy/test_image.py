"""The images, made by the Dockerfile's own steps in a clean Debian tree, and run as compose.yaml would run them.

Not in the fast gate: it takes minutes, root, `debootstrap` and a package registry. `make test-image`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import stat
import time
from pathlib import Path

import pytest
import yaml
from tests.deploy.conftest import Volume
from tests.deploy.dockerfile import ROOT
from tests.deploy.tree import USER, Box, Running, Trees
from tests.torture.daemon_process import free_port

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

HEALTHY_WITHIN_S = 60
STAYS_S = 8  # it is asked every two seconds, and two failures make it down
MASTER_KEY = "sk-master-of-this-test"
BUILDERS = re.compile(r"(^|/)(gcc|cc|c\+\+|g\+\+|make|ld|as|pip3?|uv|git|curl|wget|apt-key|npm|node)(-[\d.]+)?$")


def healthy(box: Box, running: Running) -> None:
    """Wait until the image's own health check is content."""
    until = time.monotonic() + HEALTHY_WITHIN_S
    said = ""
    while time.monotonic() < until:
        check = box.run(*box.health_check)
        if check.returncode == 0:
            return
        assert running.process.poll() is None, running.text()
        said = check.stderr
        time.sleep(0.2)
    pytest.fail(f"not healthy: {said}\n{running.text()}")


def proxy_state(box: Box) -> str:
    parts = ask(box, "omni", "status")["components"]
    assert isinstance(parts, list)
    (state,) = [each["state"] for each in parts if each["kind"] == "proxy"]
    return str(state)


def ask(box: Box, *words: str) -> dict[str, object]:
    done = box.run(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# --- what is in it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["omni", "litellm"])
def test_nothing_that_builds_is_in_an_image(trees: Trees, name: str) -> None:
    root = trees.build(name)
    places = ("usr/bin", "usr/local/bin", "usr/sbin", f"opt/{name}/bin")
    programs = [str(each.relative_to(root)) for place in places for each in (root / place).iterdir()]

    assert len(programs) > 100
    assert [each for each in programs if BUILDERS.search(each)] == []
    assert not list((root / "usr/include").rglob("*.h"))
    packages = {
        each.name.partition("-")[0].lower() for each in root.glob("opt/*/lib/python3*/site-packages/*.dist-info")
    }
    assert "litellm" in packages
    assert not packages & {"pip", "setuptools", "wheel", "uv", "pytest", "ruff", "mypy"}


@pytest.mark.parametrize("name", ["omni", "litellm"])
def test_its_user_owns_nothing_in_an_image_but_the_data_and_nobody_can_become_another(trees: Trees, name: str) -> None:
    root = trees.build(name)
    for where, names, files in os.walk(root):
        for each in [*names, *files]:
            path = Path(where) / each
            about = path.lstat()
            if USER in {about.st_uid, about.st_gid}:
                assert path == root / "data"
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o700


def test_the_image_holds_no_word_of_where_it_was_built(trees: Trees) -> None:
    found = trees.build("omni").glob("opt/omni/lib/python3*/site-packages/omni_orchestrator-*.dist-info/*")
    texts = {each.name: each.read_text(encoding="utf-8") for each in found if each.is_file()}
    assert "METADATA" in texts
    assert not [name for name, text in texts.items() if str(ROOT) in text or str(trees.build("build-omni")) in text]


# --- how it runs ----------------------------------------------------------------------------------------------------


def test_it_runs_with_nothing_but_its_volume_to_write_to(trees: Trees, volume: Volume, tmp_path: Path) -> None:
    port = free_port()
    box = trees.box("omni", volume(), OMNI_PORT=str(port))
    assert box.run(*box.health_check).returncode == 1, "nobody is there yet"
    who = box.run("sh", "-c", "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; touch /x /opt/omni/x")
    assert who.stdout.split() == [str(USER), "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    assert who.stderr.count("Read-only file system") == 2

    with box.running(tmp_path / "said") as running:
        healthy(box, running)
        task = ask(box, "omni", "submit", "show a system report", "--wait", "30")["task"]
        assert isinstance(task, dict)
        assert (task["state"], task["executor"]) == ("completed", "runbook")
        assert stat.S_IMODE((tmp_path / "volume/token").stat().st_mode) == 0o600
        token = box.run("omni", "token", "show").stdout.strip()
        assert token not in running.text()
        bearer = {"Authorization": f"Bearer {token}"}
        assert get(port, "/api/status")[0] == 401
        assert get(port, "/api/status", **bearer)[0] == 200
        assert get(port, "/api/status", Host=f"omni:{port}", **bearer)[0] == 200
        assert get(port, "/api/status", Host=f"evil.example:{port}", **bearer)[0] == 403
        second = box.run("omni", "serve", "--port", str(free_port()))
        assert second.returncode == 8, second.stderr
        assert running.stop(signal.SIGTERM) == 0
    assert box.run("omni", "verify").returncode == 0


def test_what_was_accepted_is_there_after_a_kill_and_another_container(
    trees: Trees, volume: Volume, tmp_path: Path
) -> None:
    box = trees.box("omni", volume(), OMNI_PORT=str(free_port()))
    with box.running(tmp_path / "said") as running:
        healthy(box, running)
        task = ask(box, "omni", "submit", "show a system report", "--wait", "30")["task"]
        assert isinstance(task, dict)
    with box.running(tmp_path / "said") as running:
        healthy(box, running)
        again = ask(box, "omni", "task", "show", str(task["id"]))["task"]
        assert isinstance(again, dict)
        assert again["state"] == "completed"
        assert running.stop(signal.SIGTERM) == 0
    assert box.run("omni", "verify").returncode == 0


def test_the_proxy_runs_beside_it_and_wants_its_key(trees: Trees, volume: Volume, tmp_path: Path) -> None:
    port = free_port()
    keys = {"ANTHROPIC_API_KEY": "sk-none", "OPENROUTER_API_KEY": "sk-none", "LITELLM_MASTER_KEY": MASTER_KEY}
    proxy = trees.box("litellm", None, **keys)
    # The port 4000 of this machine may be another's: only the port differs from what the image says.
    main = [str(port) if word == "4000" else word for word in proxy.main]
    check = [str(port) if word == "4000" else word for word in proxy.health_check]
    url = f"http://127.0.0.1:{port}"
    daemon = trees.box("omni", volume(), OMNI_PORT=str(free_port()), LITELLM_URL=url, LITELLM_MASTER_KEY=MASTER_KEY)
    with proxy.running(tmp_path / "proxy", *main) as first:
        until = time.monotonic() + HEALTHY_WITHIN_S
        while proxy.run(*check).returncode != 0:
            assert time.monotonic() < until, first.text()
            assert first.process.poll() is None, first.text()
            time.sleep(0.5)
        assert get(port, "/v1/models")[0] in {400, 401}
        status, body = get(port, "/v1/models", Authorization=f"Bearer {MASTER_KEY}")
        has = {each["id"] for each in json.loads(body)["data"]}
        groups = yaml.safe_load((ROOT / "deploy/docker/litellm.yaml").read_text())["model_list"]
        assert (status, has) == (200, {each["model_name"] for each in groups})
        with daemon.running(tmp_path / "daemon") as second:
            healthy(daemon, second)
            until = time.monotonic() + STAYS_S
            while time.monotonic() < until:
                assert proxy_state(daemon) == "up", second.text()
            first.kill()
            until = time.monotonic() + HEALTHY_WITHIN_S
            while proxy_state(daemon) != "down":
                assert time.monotonic() < until, second.text()
            assert second.stop(signal.SIGTERM) == 0
