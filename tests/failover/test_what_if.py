"""What-if over the log of a real daemon that lost its proxy, then its clouds, and was started again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.failover.conftest import MakeScene
from tests.failover.scene import Scene
from tests.failover.test_tasks import find_them_again, lose_the_clouds
from tests.fakes.processes import FakeProxyProcess


def live_through(scene: Scene[FakeProxyProcess]) -> None:
    """Tasks in every mode, calls by every way, and a second boot."""
    scene.until_state("completed", *scene.submit("say hello", "say good night", executor="model"))
    scene.ask("a call of nobody's task")
    scene.proxy.set(fault="500")
    scene.proxy.kill()
    scene.until_mode("DEGRADED")
    scene.until_state("completed", *scene.submit("say it again", executor="model"))
    scene.proxy.up()
    scene.proxy.set(fault="ok")
    scene.until_mode("NORMAL", within_s=40)
    lose_the_clouds(scene)
    waiting = scene.submit("say it without a cloud", executor="model")
    scene.until_state("waiting", *waiting)
    find_them_again(scene)
    scene.until_state("completed", *waiting, within_s=40)
    assert scene.daemon.terminate() == 0
    scene.daemon.start().ready()
    scene.until_state("completed", *scene.submit("say it once more", executor="model"), within_s=40)
    assert scene.daemon.terminate() == 0


def asked(scene: Scene[FakeProxyProcess], *words: str) -> dict[str, Any]:
    done = scene.daemon.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_configuration_of_a_real_log_changes_nothing_and_another_one_says_what_it_would(
    make_scene: MakeScene,
) -> None:
    scene = make_scene()
    live_through(scene)
    same = asked(scene, "what-if")
    assert (same["changes"], same["unknown"]) == ([], []), same
    total = asked(scene, "costs")["total"]
    billed = (total["billed_usd"] or 0.0) + (total["reported_usd"] or 0.0)
    assert abs(same["cost"]["recorded_usd"] - billed) < 1e-9
    assert same["cost"]["recorded_unknown"] == total["unknown"]
    assert same["latency"]["recorded"] == 5
    assert same["tasks"] >= 5

    changed = yaml.safe_load(scene.daemon.config.read_text())
    changed["router"] |= {"complexity_threshold": 0}
    scene.daemon.config.write_text(yaml.safe_dump(changed))
    answer = asked(scene, "what-if")
    assert {change["fate"] for change in answer["changes"]} == {"other_model"}
    assert all(change["policy"]["model"] == "heavy" for change in answer["changes"])
    assert (answer["latency"]["unknown"], answer["latency"]["whole"]) == (5, False)
