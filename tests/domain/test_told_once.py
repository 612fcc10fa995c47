"""Exactly once: whatever dies between a notice and its answer, the messenger sends each notice once, and in order.

The messenger remembers what it sent, by key. Everything else may be lost, late or doubled: what is on its way to it,
its answers, timers, Brainstem itself at any point, the whole daemon.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.stem import HOUR, Stem, replayed

from omni.domain import brainstem as rules
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.effects import Send
from omni.domain.values import Mode, NoticeSink, QuietHours, RepairSettings, Telling

Step: TypeAlias = tuple[str, Any]
CALM_STEPS = 2_000
NIGHT = QuietHours(22 * 60, 7 * 60, ("cloud_offline", "cloud_restored"))
FATES = ("sent", "lost before", "lost after", "uncertain", "twice")
SINKS = (NoticeSink("log"), NoticeSink("chat", people=True, addressed=True), NoticeSink("hook", people=True))


class Town:
    """Brainstem, three ways to people that remember keys, and what is between them."""

    def __init__(self, quiet: QuietHours | None) -> None:
        self.stem = Stem(RepairSettings(attempts=0), Telling(SINKS, quiet))
        self.sent: dict[str, list[str]] = {sink.name: [] for sink in SINKS}  # who sent what: keys in order
        self.answers: list[cmd.Delivered] = []
        self.pending: list[Send] = []
        self.offline = self.restored = 0
        self.put(cmd.TimerFired("outbox"))

    def put(self, message: Any) -> None:
        self.stem.put(message)
        self.pending += self.stem.sends
        self.check()

    def check(self) -> None:
        """Nothing counts as delivered that its sink has not sent."""
        for event in self.stem.events:
            if isinstance(event, ev.NoticeDelivered):
                assert event.key in self.sent[event.sink], "delivered to nobody"

    def step(self, step: Step) -> None:
        name, value = step
        getattr(self, f"on_{name}")(value)

    def on_carry(self, how: tuple[int, str]) -> None:
        which, fate = how
        if not self.pending:
            return
        message = self.pending.pop(which % len(self.pending)).message
        if isinstance(message, cmd.WakeIn):
            self.stem.at += message.delay_ms
            self.put(cmd.TimerFired(message.key))
        elif isinstance(message, cmd.Deliver):
            self.deliver(message, fate)

    def deliver(self, message: cmd.Deliver, fate: str) -> None:
        memory = self.sent[message.sink]
        if fate != "lost before" and message.key not in memory:
            memory.append(message.key)
        if fate.startswith("lost"):  # its end is seen by whoever waits for the answer
            self.answer(message, ok=False)
        else:
            for _ in range(2 if fate == "twice" else 1):
                self.answer(message, ok=fate != "uncertain")

    def answer(self, message: cmd.Deliver, *, ok: bool) -> None:
        answer = cmd.Delivered(message.key, ok, sink=message.sink)
        self.answers.append(answer)
        self.put(answer)

    def on_again(self, which: int) -> None:
        """An answer comes a second time, long after it was given."""
        if self.answers:
            self.put(self.answers[which % len(self.answers)])

    def on_turn(self, mode: Mode) -> None:
        before = self.stem.state.mode
        self.offline += (before, mode) in {("NORMAL", "BRAINSTEM"), ("DEGRADED", "BRAINSTEM")}
        self.restored += before == "BRAINSTEM" and mode != "BRAINSTEM"
        self.put(cmd.NoteMode(mode, reason=mode.lower(), cleared=True))

    def on_clock(self, by_ms: int) -> None:
        self.stem.at += by_ms

    def on_restart(self, how: str) -> None:
        if how == "actor":
            self.stem.state = replayed(self.stem.log)
            self.pending += rules.owed(self.stem.state)
            return
        self.stem.start(RepairSettings(attempts=0))
        self.pending = list(self.stem.sends)
        self.check()

    def calm(self) -> None:
        """From now on everything arrives and is answered."""
        self.step(("turn", "NORMAL"))
        self.stem.at += 36 * HOUR - self.stem.at % (24 * HOUR)  # noon
        self.on_restart("daemon")
        for _ in range(CALM_STEPS):
            if not self.pending:
                break
            self.step(("carry", (0, "sent")))
        assert not self.pending, "it does not come to rest"
        self.judge()

    def judge(self) -> None:
        log = [event for event, _ in self.stem.log]
        queued = [event.key for event in log if isinstance(event, ev.NoticeQueued)]
        dropped = {event.key for event in log if isinstance(event, ev.NoticeDropped)}
        kinds = Counter(event.kind for event in log if isinstance(event, ev.NoticeQueued))
        assert (kinds["cloud_offline"], kinds["cloud_restored"]) == (self.offline, self.restored)
        assert not self.stem.state.outbox
        for name, sent in self.sent.items():
            assert Counter(sent).keys() <= set(queued), "sent under a key that nobody made"
            assert set(queued) - dropped <= set(sent), f"{name} never told it"
        assert [k for k in self.sent["log"] if k not in dropped] == [k for k in queued if k not in dropped]
        if self.stem.telling.quiet is None:
            for sent in self.sent.values():
                assert [k for k in sent if k not in dropped] == [k for k in queued if k not in dropped]


STEP: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("carry"), st.tuples(st.integers(0, 5), st.sampled_from(FATES))),
    st.tuples(st.just("carry"), st.tuples(st.integers(0, 5), st.sampled_from(FATES))),
    st.tuples(st.just("turn"), st.sampled_from(["NORMAL", "BRAINSTEM", "DEGRADED"])),
    st.tuples(st.just("again"), st.integers(0, 9)),
    st.tuples(st.just("clock"), st.sampled_from([-5 * HOUR, 1_000, HOUR, 5 * HOUR])),
    st.tuples(st.just("restart"), st.sampled_from(["daemon", "actor"])),
)


@settings(max_examples=300)
@given(st.integers(0, 80).flatmap(lambda n: st.lists(STEP, min_size=n, max_size=n)), st.sampled_from([None, NIGHT]))
def test_whatever_is_lost_late_or_doubled_each_notice_is_sent_once_and_in_order(
    steps: list[Step], quiet: QuietHours | None
) -> None:
    town = Town(quiet)
    for step in steps:
        town.step(step)
    town.calm()


@pytest.mark.parametrize("seed", range(10))
def test_over_fifty_outages_both_words_arrive_once_each(seed: int) -> None:
    chance, town = random.Random(seed), Town(None)
    for _ in range(50):
        for mode in ("BRAINSTEM", "NORMAL"):
            town.step(("turn", mode))
            for _ in range(chance.randrange(8)):
                town.step(("carry", (chance.randrange(6), chance.choice(FATES))))
            if chance.random() < 0.3:
                town.step(("restart", chance.choice(["daemon", "actor"])))
    town.stem.at -= town.stem.at - 1_700_000_000_000  # nothing is dropped for its age
    town.calm()
    told = Counter(key.partition(":")[0] for key in town.sent["chat"])
    assert (told["cloud_offline"], told["cloud_restored"]) == (50, 50)
