"""The whole way: a message in Telegram, OpenClaw, Omni, Claude Code through the model port, and the answer back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.failover.scene import HASTE
from tests.fakes.processes import MessagesProcess, ProviderProcess, TelegramProcess, running
from tests.peers.openclaw import TOKEN, OpenClawHouse
from tests.peers.programs import CLAUDE, OPENCLAW, missing
from tests.peers.work import Works, call, claude_entry
from tests.torture.daemon_process import until

from omni.domain import events as ev

pytestmark = pytest.mark.timeout(900)
TURN_WITHIN_S = 240.0
TOLD_WITHIN_S = 400.0  # the third try comes after 2.5 minutes at most
QUIET_S = 40.0  # longer than the pause before a second try, in which a double would come
CLOUD_KEY = "sk-ant-of-a-test"
MODELS = {"fast": "claude-fake-light", "heavy": "claude-fake-heavy"}


class Chain(Works):
    """A daemon between the OpenClaw that it is registered at and a Claude Code that knows no cloud but Omni."""

    def __init__(self, house: OpenClawHouse, api: MessagesProcess) -> None:
        self.house = house
        entry = {**claude_entry(api, models="port"), "env": {}}  # no login of its own
        super().__init__(
            house.home,
            api,
            entry,
            openclaw={"url": house.ws, "options": {"token": TOKEN}},
            notify={"executor": "openclaw", "channel": "telegram", "target": "7"},
            api_keys={"primary": {"anthropic": CLOUD_KEY}},
            providers={"anthropic": {"api_base": api.url, "models": MODELS, "default_model": MODELS["fast"]}},
            router={"lightweight_model": "fast", "heavyweight_model": "heavy"},
            fault_handler=HASTE,
        )
        self.daemon.environ = {"PATH": house.environ["PATH"]}  # where `openclaw` is found

    def ask(self, description: str) -> str:
        """Somebody asks in the chat; the model calls twice for it. The task, as soon as there is one."""
        before = set(self.made())
        given = {"description": description, "type": "coding", "reply_to": "telegram:42"}
        self.house.telegram.inject(call("create_task", **given).replace("[[tool:", "[[twice:", 1))
        until(lambda: set(self.made()) - before, TURN_WITHIN_S, "the agent has made a task")
        (task_id,) = set(self.made()) - before
        return task_id

    def made(self) -> list[str]:
        """Every task that there ever was, oldest first."""
        created = [each for each in self.log() if isinstance(each.event, ev.TaskCreated)]
        return [each.stream.removeprefix("task-") for each in created]

    def until_answered(self, task_id: str) -> str:
        """The answer that came to the chat."""
        until(lambda: self.answers(task_id), TOLD_WITHIN_S, f"the chat is told of {task_id}: {self.task(task_id)}")
        return self.answers(task_id)[0]

    def answers(self, task_id: str) -> list[str]:
        """What the chat was told by Omni itself about the task's end."""
        sent = self.house.telegram.sent()
        return [each.text for each in sent if each.chat_id == "42" and each.text.startswith(f"Task {task_id}: ")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, messages: MessagesProcess) -> Iterator[Chain]:
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE") or missing(OPENCLAW, "OMNI_TEST_OPENCLAW"):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("chain")
    provider, telegram = ProviderProcess(home), TelegramProcess(home)
    house = OpenClawHouse(home / "home", provider, telegram)
    chain = Chain(house, messages)
    try:
        with running(provider, telegram, house):
            provider.up()
            telegram.up()
            chain.up()
            done = chain.daemon.run("init", "--openclaw", "--apply", within_s=300)
            assert done.returncode == 0, done.stderr
            house.up()
            yield chain
    finally:
        chain.close()


@pytest.fixture
def chain(whole: Chain) -> Chain:
    """The same, and nobody outside remembers what was before."""
    for each in (whole.api, whole.house.provider, whole.house.telegram):
        each.anew()
    return whole


def waiting(folder: Path) -> tuple[str, Path, Path]:
    """A command that goes on until it is let go: the call of it, the sign that it runs, and what lets it go."""
    there, gone = folder / "there", folder / "go"
    pause = "python3 -c 'import time; time.sleep(0.1)'"
    return call("Bash", command=f"touch {there}; until [ -e {gone} ]; do {pause}; done; echo waited"), there, gone


def settled_once(chain: Chain, task_id: str, words: str) -> None:
    """The chat is told once, now and after the time of a second try; one task was made, by however many calls."""
    assert words in chain.until_answered(task_id)
    told = [each for each in chain.events(ev.NoticeQueued) if each.facts.get("task") == task_id]
    assert [(each.kind, each.to) for each in told] == [("task_answer", "telegram:42")]
    until(lambda: told[0].key in {e.key for e in chain.events(ev.NoticeDelivered)}, TOLD_WITHIN_S, "Omni knows it")
    until_quiet(chain)
    assert len(chain.answers(task_id)) == 1
    assert chain.made()[-1] == task_id


def until_quiet(chain: Chain) -> None:
    """Return when nothing has come to the chat for a while."""
    while (sent := chain.house.telegram.sent()) and time.monotonic() - sent[-1].at_s < QUIET_S:
        time.sleep(0.5)


def test_a_message_in_the_chat_is_done_and_answered_there_once(chain: Chain) -> None:
    task_id = chain.ask("How much is it? " + call("Bash", command="expr 6 '*' 7"))
    settled_once(chain, task_id, "TOOL SAID: 42")
    task = chain.task(task_id)
    assert (task["state"], task["executor"], len(task["attempts"])) == ("completed", "claude_code", 1), task
    assert {each.key for each in chain.api.asked()} == {CLOUD_KEY}


def test_an_openclaw_that_is_killed_and_started_again_meanwhile_costs_nothing(chain: Chain, tmp_path: Path) -> None:
    work, there, go = waiting(tmp_path)
    task_id = chain.ask(f"Wait for it. {work}")
    until(there.exists, TURN_WITHIN_S, "Claude Code is at work")
    chain.house.kill_all()
    go.touch()
    assert chain.ended(task_id, 120)["state"] == "completed"
    chain.house.up()
    settled_once(chain, task_id, "TOOL SAID: waited")
    assert len(chain.task(task_id)["attempts"]) == 1


def test_a_daemon_that_is_killed_meanwhile_goes_on_in_the_same_session_and_answers_once(
    chain: Chain, tmp_path: Path
) -> None:
    work, there, _ = waiting(tmp_path)
    task_id = chain.ask(f"Wait for it. {work}")
    until(there.exists, TURN_WITHIN_S, "Claude Code is at work")
    them = chain.hands(str(CLAUDE))
    chain.daemon.kill()
    chain.api.set(instead="text:finished it after all")
    chain.up()
    assert chain.ended(task_id, 240)["state"] == "completed"
    settled_once(chain, task_id, "finished it after all")
    chain.until_gone(them)
    assert len({each.session for each in chain.api.asked()}) == 1
    assert "You were interrupted" in chain.api.asked()[-1].prompt
