"""The real Claude Code with its model calls through the model port of a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.failover.scene import HASTE
from tests.fakes.processes import MASTER_KEY, MessagesProcess, running
from tests.peers.programs import CLAUDE, missing
from tests.peers.work import Works, call, claude_entry
from tests.torture.daemon_process import free_port, until

KEYS = {"primary": {"anthropic": "sk-ant-primary"}, "backup": {"anthropic": "sk-ant-backup"}}
MODELS = {"fast": "claude-fake-light", "heavy": "claude-fake-heavy"}


class Cloud:
    """A proxy before a cloud, and the same cloud without it."""

    def __init__(self, home: Path) -> None:
        self.proxy = MessagesProcess(home, "proxy")
        self.direct = MessagesProcess(home, "direct")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path)
    with running(cloud.proxy, cloud.direct):
        cloud.proxy.up()
        cloud.direct.up()
        yield cloud


@pytest.fixture
def works(tmp_path: Path, cloud: Cloud) -> Iterator[Works]:
    """Claude Code through the port; its user's own settings would lead it to nowhere."""
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE"):
        pytest.skip(reason)
    settings = tmp_path / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{free_port()}"}}), "utf-8")
    provider = {"api_base": cloud.direct.url, "models": MODELS, "default_model": MODELS["fast"]}
    entry = claude_entry(cloud.proxy, models="port")
    entry["env"] = {}  # no login of its own
    works = Works(
        tmp_path,
        cloud.proxy,
        entry,
        api_keys=KEYS,
        providers={"anthropic": provider},
        router={"lightweight_model": "fast", "heavyweight_model": "heavy"},
        fault_handler=HASTE,
        lite_llm_url=cloud.proxy.url,
        lite_llm_key=MASTER_KEY,
        notify={"enabled": False},
    )
    yield works
    works.close()


def test_the_calls_of_a_task_go_through_the_port_with_a_key_of_its_own(works: Works, cloud: Cloud) -> None:
    task = works.up().do("[[text:through the port]]")
    assert (task["state"], task["result"]["content"].splitlines()[0]) == ("completed", "through the port"), task
    assert [each.key for each in cloud.proxy.asked()] == [MASTER_KEY]
    assert cloud.direct.asked() == []


def test_a_task_goes_on_when_the_proxy_is_killed_under_it(works: Works, cloud: Cloud, tmp_path: Path) -> None:
    gone = tmp_path / "proxy-is-gone"
    waits = f"until [ -e {gone} ]; do python3 -c 'import time; time.sleep(0.1)'; done; echo waited"
    task_id = works.up().hand_in(call("Bash", command=waits))
    until(cloud.proxy.asked, 60, "the proxy is asked")
    cloud.proxy.kill()
    gone.touch()
    task = works.ended(task_id, 120)
    assert (task["state"], task["result"]["content"].splitlines()[0]) == ("completed", "TOOL SAID: waited"), task
    (after,) = cloud.direct.asked()
    assert after.key == KEYS["backup"]["anthropic"]
    assert len(task["attempts"]) == 1
