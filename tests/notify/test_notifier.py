"""Who is told, how often, and what Brainstem hears of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import pytest
import structlog
from tests.llm.desk import Answers

from omni.config import NotifyConfig
from omni.domain.commands import Deliver, Delivered
from omni.domain.values import NoticeSink
from omni.notify.notifier import Notifier
from omni.notify.sinks import ConsoleSink, Gone, LogSink, Sink, Told
from omni.redact import Redactor

FACTS = {"reason": "connection refused"}


class Ear:
    """A sink that listens; it fails as often as `deaf` says, and hangs on `slow`."""

    def __init__(self, name: str = "ear", deaf: int = 0) -> None:
        self.name = name
        self.spec = NoticeSink(name)
        self.deaf = deaf
        self.slow: asyncio.Event | None = None
        self.error: Exception | None = None
        self.heard: list[Told] = []
        self.called = asyncio.Event()

    async def deliver(self, notice: Told) -> None:
        self.called.set()
        if self.slow is not None:
            await self.slow.wait()
        if self.error:
            raise self.error
        if self.deaf:
            self.deaf -= 1
            raise OSError(f"{self.name} is deaf, my-secret-1 or not")
        self.heard.append(notice)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def notifier(
    answers: Answers, sinks: Sequence[Sink], config: NotifyConfig | None = None, sink_s: float = 30.0
) -> Notifier:
    masked = Redactor(["my-secret-1"])
    return Notifier(config or NotifyConfig(), answers.post, redactor=masked, sinks=sinks, sink_s=sink_s)


def notice(key: str = "degraded:1:1", kind: str = "degraded", sink: str = "ear") -> Deliver:
    return Deliver(key, kind, FACTS, 1_700_000_000_000, sink)


async def test_the_sink_that_is_named_is_told_and_brainstem_hears_that_it_was() -> None:
    answers, ears = Answers("brainstem"), [Ear("left"), Ear("right")]
    notifier(answers, ears).receive(notice(sink="right"))
    assert await answers.next() == Delivered("degraded:1:1", ok=True, sink="right")
    (told,) = ears[1].heard
    assert (told.key, told.kind, told.at) == ("degraded:1:1", "degraded", 1_700_000_000_000)
    assert "connection refused" in told.text
    assert ears[0].heard == []


async def test_a_sink_that_hangs_holds_up_no_other() -> None:
    answers, ears = Answers("brainstem"), [Ear("left"), Ear("right")]
    ears[0].slow = asyncio.Event()
    adapter = notifier(answers, ears)
    adapter.receive(notice(sink="left"))
    await ears[0].called.wait()
    adapter.receive(notice(sink="right"))
    assert (await answers.next()).sink == "right"
    ears[0].slow.set()
    assert (await answers.next()).sink == "left"


async def test_a_sink_that_never_wants_it_says_so_and_one_that_does_not_exist_too() -> None:
    answers, ear = Answers("brainstem"), Ear()
    ear.error = Gone("not here")
    adapter = notifier(answers, [ear])
    adapter.receive(notice())
    assert await answers.next() == Delivered("degraded:1:1", ok=False, detail="not here", sink="ear", gone=True)
    adapter.receive(notice(sink="nose"))
    answer = await answers.next()
    assert (answer.ok, answer.gone, answer.sink) == (False, True, "nose")


async def test_an_answer_is_told_to_whoever_asked_whatever_the_owner_wants_to_hear() -> None:
    answers, ear = Answers("brainstem"), Ear()
    adapter = notifier(answers, [ear], NotifyConfig(enabled=False))
    adapter.receive(Deliver("k", "task_answer", {"text": "42"}, 1, "ear", "telegram:7"))
    assert (await answers.next()).ok
    assert ear.heard[0].to == "telegram:7"
    assert "42" in ear.heard[0].text


async def test_a_key_that_was_told_is_answered_at_once_and_not_told_again() -> None:
    answers, ear = Answers("brainstem"), Ear()
    adapter = notifier(answers, [ear])
    for _ in range(2):
        adapter.receive(notice())
        assert (await answers.next()).ok
    assert len(ear.heard) == 1


async def test_a_sink_that_fails_is_asked_again_with_the_same_key() -> None:
    answers, bad = Answers("brainstem"), Ear("bad", deaf=1)
    adapter = notifier(answers, [bad])
    adapter.receive(notice(sink="bad"))
    failed = await answers.next()
    assert (failed.ok, failed.gone) == (False, False)
    assert failed.detail == "bad is deaf, *** or not"
    adapter.receive(notice(sink="bad"))
    assert (await answers.next()).ok
    assert [told.key for told in bad.heard] == ["degraded:1:1"]


async def test_a_sink_that_hangs_is_given_up_in_time() -> None:
    answers, ear = Answers("brainstem"), Ear()
    ear.slow = asyncio.Event()
    notifier(answers, [ear], sink_s=0.1).receive(notice())
    assert await answers.next() == Delivered("degraded:1:1", ok=False, detail="no answer within 0.1 s", sink="ear")


async def test_a_notice_that_is_on_its_way_is_not_started_again() -> None:
    answers, ear = Answers("brainstem"), Ear()
    ear.slow = asyncio.Event()
    adapter = notifier(answers, [ear])
    adapter.receive(notice())
    await ear.called.wait()
    adapter.receive(notice())
    ear.slow.set()
    assert (await answers.next()).ok
    await asyncio.sleep(0)
    assert len(ear.heard) == 1
    assert answers.silent


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (NotifyConfig(events=("repair",)), "degraded"),
        (NotifyConfig(), "task_failed"),
        (NotifyConfig(enabled=False), "degraded"),
        (NotifyConfig(enabled=False), "new_thing"),
    ],
    ids=["another group", "not by default", "switched off", "switched off, unknown kind"],
)
async def test_what_nobody_asked_for_is_told_to_nobody_and_counts_as_delivered(config: NotifyConfig, kind: str) -> None:
    answers, ear = Answers("brainstem"), Ear()
    notifier(answers, [ear], config).receive(notice(kind=kind))
    assert await answers.next() == Delivered("degraded:1:1", ok=True, detail="not asked for", sink="ear")
    assert ear.heard == []


async def test_a_kind_that_no_switch_covers_is_told() -> None:
    answers, ear = Answers("brainstem"), Ear()
    notifier(answers, [ear], NotifyConfig(events=())).receive(notice(kind="new_thing"))
    assert (await answers.next()).detail == ""
    assert len(ear.heard) == 1


async def test_a_secret_in_a_fact_reaches_no_sink() -> None:
    answers, ear = Answers("brainstem"), Ear()
    notifier(answers, [ear]).receive(Deliver("k", "degraded", {"reason": "key my-secret-1 refused"}, 1, "ear"))
    await answers.next()
    assert ": key *** refused." in ear.heard[0].text
    assert ear.heard[0].facts == {"reason": "key *** refused"}


async def test_a_stop_gives_up_what_is_on_its_way_without_an_answer() -> None:
    answers, ear = Answers("brainstem"), Ear()
    ear.slow = asyncio.Event()
    adapter = notifier(answers, [ear])
    adapter.receive(notice())
    await ear.called.wait()
    await adapter.stop()
    assert answers.silent


async def test_the_log_gets_one_line_and_it_is_a_warning() -> None:
    with structlog.testing.capture_logs() as lines:
        await LogSink().deliver(Told("k", "degraded", "words", 1))
    assert lines == [{"event": "notice.told", "log_level": "warning", "key": "k", "kind": "degraded", "text": "words"}]


async def test_a_terminal_gets_one_line_that_cannot_control_it() -> None:
    terminal = Terminal()
    await ConsoleSink(terminal).deliver(Told("k", "degraded", "red \x1b[31m and\na new line", 1))
    assert terminal.getvalue() == "omni: red  [31m and a new line\n"


async def test_where_no_person_sits_or_the_terminal_is_gone_nothing_is_said_and_nothing_fails() -> None:
    nobody, gone = io.StringIO(), Terminal()
    gone.close()
    for stream in (nobody, gone):
        await ConsoleSink(stream).deliver(Told("k", "degraded", "words", 1))
    assert nobody.getvalue() == ""
