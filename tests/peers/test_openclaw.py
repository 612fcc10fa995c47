"""The real OpenClaw on both sides of a real daemon: as hands, as the way to people, and as the one who asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fakes.processes import MessagesProcess, ProviderProcess, TelegramProcess, running
from tests.peers.openclaw import TOKEN, OpenClawHouse
from tests.peers.programs import CLAUDE, OPENCLAW, missing
from tests.peers.work import Works, call
from tests.torture.daemon_process import until

from omni.domain import events as ev

ANSWERED_WITHIN_S = 180.0
TELEGRAM = {"executor": "openclaw", "channel": "telegram", "target": "42"}


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory, messages: MessagesProcess) -> Iterator[tuple[Works, OpenClawHouse]]:
    """A daemon with Claude Code and OpenClaw, at which OpenClaw is registered by the command for that."""
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE") or missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("openclaw")
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    house = OpenClawHouse(home / "home", provider, telegram)
    entry = {"url": house.ws, "options": {"token": TOKEN}}
    works = Works(house.home, messages, openclaw=entry, notify=TELEGRAM)
    works.daemon.environ = {"PATH": house.environ["PATH"]}  # where `openclaw` is found
    try:
        with running(provider, telegram, house):
            provider.up()
            telegram.up()
            works.up()
            done = works.daemon.run("init", "--openclaw", "--apply", within_s=300)
            assert done.returncode == 0, done.stderr
            house.up()
            until(lambda: _connected(works), ANSWERED_WITHIN_S, "the daemon reaches the gateway")
            yield works, house
    finally:
        works.close()


@pytest.fixture
def fresh(omni: tuple[Works, OpenClawHouse]) -> tuple[Works, OpenClawHouse]:
    """The same, and nobody remembers what was before."""
    works, house = omni
    for each in (works.api, house.provider, house.telegram):
        each.anew()
    return omni


def test_openclaw_does_a_task_in_a_session_of_its_own(fresh: tuple[Works, OpenClawHouse]) -> None:
    works, house = fresh
    (task_id,) = works.submit("[[text:done over there]]", executor="openclaw")
    task = works.ended(task_id, ANSWERED_WITHIN_S)
    assert (task["state"], task["result"]["content"]) == ("completed", "done over there"), task
    assert len(house.provider.asked()) == 1


def test_a_cancelled_task_is_stopped_at_openclaw(fresh: tuple[Works, OpenClawHouse]) -> None:
    works, house = fresh
    (task_id,) = works.submit("[[slow:300]]", executor="openclaw")
    until(house.provider.asked, 120, "the model is asked")
    works.cancel(task_id)
    assert works.ended(task_id, ANSWERED_WITHIN_S)["state"] == "cancelled"
    until(lambda: house.provider.asked()[-1].ended == "left", 30, "OpenClaw has let go of the model")


def test_a_message_in_telegram_is_done_by_claude_code_and_answered_there_once(
    fresh: tuple[Works, OpenClawHouse],
) -> None:
    works, house = fresh
    before = len(works.events(ev.TaskCreated))
    work = call("Bash", command="expr 6 '*' 7")
    asked = {"description": f"How much is it? {work}", "type": "coding", "reply_to": "telegram:42"}
    house.telegram.inject(call("create_task", **asked).replace("[[tool:", "[[twice:", 1))
    until(lambda: _answers(house), ANSWERED_WITHIN_S, "the answer is in the chat")
    assert len(works.events(ev.TaskCreated)) == before + 1  # the model asked twice
    assert works.events(ev.TaskCreated)[-1].spec.reply_to == "telegram:42"
    assert len(_answers(house)) == 1


def test_a_killed_daemon_takes_over_what_openclaw_went_on_with(fresh: tuple[Works, OpenClawHouse]) -> None:
    works, house = fresh
    (task_id,) = works.submit("[[slow:15]]", executor="openclaw")
    until(house.provider.asked, 120, "the model is asked")
    works.daemon.kill()
    works.up()
    task = works.ended(task_id, ANSWERED_WITHIN_S)
    assert task["state"] == "completed", task
    assert "slow done" in task["result"]["content"]
    runs = [each for each in house.provider.asked() if each.mark == "slow:15"]  # the chat goes on beside
    assert len(runs) == 1


def _answers(house: OpenClawHouse) -> list[str]:
    """What Claude Code said, as it came to the chat; OpenClaw's own words about the tool are another thing."""
    return [each.text for each in house.telegram.sent() if "TOOL SAID: 42" in each.text]


def _connected(works: Works) -> bool:
    found = [each for each in works.status()["executors"] if each["name"] == "openclaw"]
    return bool(found) and found[0]["health"]["state"] == "ready"
