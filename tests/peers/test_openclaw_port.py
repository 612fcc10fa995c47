"""The real OpenClaw as hands whose models are found at Omni's port."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.processes import MessagesProcess
from tests.peers.hands import ASKED_WITHIN_S, BACKUP, around
from tests.peers.programs import OPENCLAW, missing
from tests.torture.daemon_process import until

ENDED_WITHIN_S = 480.0


@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(missing(OPENCLAW, "OMNI_TEST_OPENCLAW")), reason=missing(OPENCLAW, "OMNI_TEST_OPENCLAW"))
def test_a_proxy_that_is_killed_in_the_middle_of_an_answer_does_not_cost_openclaws_task(
    tmp_path: Path, messages: MessagesProcess
) -> None:
    with around(tmp_path, messages) as hands:
        hands.through_the_port()
        hands.house.up()
        hands.proxy.set(fault="hangstream")
        hands.cloud.set(text="answered by the cloud itself")
        task_id = hands.give("say something")
        until(hands.proxy.calls, ASKED_WITHIN_S, "the proxy is asked")
        hands.proxy.kill()
        task = hands.ended(task_id, ENDED_WITHIN_S)
        assert (task["state"], task["result"]["content"]) == ("completed", "answered by the cloud itself"), task
        assert len(task["attempts"]) == 1
        assert {each.key for each in hands.cloud.calls()} == {BACKUP}
        assert hands.house.provider.asked() == []
