"""Wrote `logs/old-version.jsonl`: the same world, driven with the code of commit 0f0b2e3, of 21 November 2026.

That version knew no modes, no model calls and no notices. It is not run again: README.md says how it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.sim.world import World

from omni.config import config_hash, load, redacted
from omni.domain import commands as cmd
from omni.domain.values import ExecutorSpec, Result, RoutingSettings, Tier, Usage

BEGINS = 1_789_344_000_000  # 2026-09-14 08:00:00 by the owner's clock (UTC+8)
SECOND, MINUTE = 1_000, 60_000
SETTINGS = RoutingSettings(
    (
        ExecutorSpec("claude_code", types=("coding",), local=True, max_concurrency=1),
        ExecutorSpec("openclaw", types=("general",), on_crash="ask"),
        ExecutorSpec("moltworker", types=("gpu",), gpu=True, on_crash="retry"),
        ExecutorSpec("clock", types=("time",), local=True, needs_cloud=False, unavailable="disabled"),
    ),
    (Tier("P1", "fast", "fast"), Tier("P2", "heavy", "heavy", paid=True)),
)


class First(World):
    """The old world, with ids and boots that are always the same."""

    def new_name(self, prefix: str) -> str:
        self._count += 1
        stamp = f"{self.clock.wall:012x}"
        return (
            f"{stamp[:8]}-{stamp[8:]}-7{self._count:03x}-8000-{self._count:012x}"
            if prefix == "t"
            else f"r{self._count}"
        )

    def _boot(self) -> None:
        with pytest.MonkeyPatch.context() as chance:
            chance.setattr("secrets.token_hex", lambda _bytes: f"{self.lives + 1:08x}")
            chance.setattr("os.getpid", lambda: 4_200 + self.lives)
            super()._boot()

    def _register(self) -> None:
        if not self.lives:
            self.clock.wall = BEGINS
        super()._register()

    def _announce(self) -> None:
        file = Path(__file__).with_name("first.yaml")
        config = load(file, environ={"HOME": "/home/owner", "LITE_LLM_KEY": "a-secret-of-nobody"}).config
        up = cmd.DaemonUp("0.1.0", 4_200 + self.lives, self.store.boot, config_hash(config), redacted(config))
        self.post.send("brainstem", "daemon", (up,))
        for name in ("gateway", "router", "pool"):
            self.post.send(name, "daemon", (cmd.Boot(self.store.boot, self.settings),))

    def passes(self, ms: int) -> None:
        """Time goes by; timers ring as they come due."""
        end = self.clock.wall + ms
        while due := [at for at in self.timers.values() if at <= end]:  # type: ignore[operator]
            self.clock.run(max(0, min(due) - self.clock.wall))  # type: ignore[operator]
            self.fire()
            self.settle()
        self.clock.run(end - self.clock.wall)

    def steps(self, task_id: str, *steps: tuple[int, str]) -> None:
        """The executor takes steps, each after some time."""
        for ms, step in steps:
            self.passes(ms)
            self.does(task_id, step)

    def done(self, task_id: str, text: str, cost_usd: float | None, tokens: tuple[int, int]) -> None:
        """It ends well, and says what it cost."""
        call = [c for c in self.hands.calls if c.task_id == task_id][-1]
        call.state = "over"
        self.ledger.work[task_id, call.n].state = "finished"
        self.report(cmd.ReportSucceeded(task_id, call.n, Result(text), "", Usage(*tokens), cost_usd))
        self.settle()

    def hand_in(self, kind: str, text: str, **spec: Any) -> str:
        """A client hands in a task."""
        task_id = self.submit(kind, text, **spec)
        self.settle()
        return task_id


def play(world: First) -> None:
    """Nine tasks: four done, one accepted by a person, one failed, one cancelled, one held, one at work."""
    world.passes(2 * SECOND)
    world.everyone_ready()
    world.settle()
    world.passes(10 * MINUTE)
    hello = world.hand_in("general", "Say good morning")
    world.steps(hello, (300, "begin"), (50, "started"), (6 * SECOND, "progress"))
    world.done(hello, "Good morning.", 0.0021, (900, 120))
    world.passes(5 * MINUTE)
    fix = world.hand_in("coding", "Fix the login form", idempotency_key="fix-1", labels=("site",))
    queued = world.hand_in("coding", "Write a changelog", priority=7)
    world.hand_in("coding", "Fix the login form", idempotency_key="fix-1", labels=("site",))  # once more: no new task
    world.steps(fix, (600, "begin"), (80, "started"))
    world.passes(7 * MINUTE)
    world.done(fix, "Fixed, with a test.", 0.3140, (21_000, 2_600))
    world.steps(queued, (500, "rate_limited"))
    world.passes(5 * SECOND)
    world.steps(queued, (400, "begin"), (70, "started"), (50 * SECOND, "fail"))
    world.hand_in("time", "What time is it?", executor="clock")  # disabled: held
    unwanted = world.hand_in("general", "Book a table")
    world.steps(unwanted, (300, "begin"), (40, "started"))
    world.passes(20 * SECOND)
    world.ask(cmd.CancelTask(world.new_name("r"), unwanted, "owner"))
    world.settle()
    world.steps(unwanted, (200, "stopped"))
    world.passes(30 * MINUTE)
    gpu = world.hand_in("gpu", "Upscale the photos")
    letter = world.hand_in("general", "Send the letter")
    world.steps(gpu, (900, "begin"), (100, "started"))
    world.steps(letter, (300, "begin"), (40, "started"))
    world.passes(MINUTE)
    world.crash()
    world.passes(2 * SECOND)
    world.everyone_ready()
    world.settle()
    world.steps(gpu, (200, "interrupted"))
    world.steps(letter, (10, "interrupted"))
    world.passes(3 * SECOND)
    world.steps(gpu, (900, "begin"), (100, "started"))
    world.passes(4 * MINUTE)
    world.done(gpu, "24 photos.", None, (0, 0))
    world.passes(10 * MINUTE)
    world.ask(cmd.ResolveTask(world.new_name("r"), letter, "accept", "owner"))
    world.settle()
    world.passes(20 * MINUTE)
    late = world.hand_in("general", "Plan the week")
    world.steps(late, (300, "begin"), (60, "started"))
    world.passes(8 * SECOND)
    world.done(late, "Planned.", 0.0040, (1_500, 400))
    last = world.hand_in("coding", "Sort the imports")
    world.steps(last, (500, "begin"), (60, "started"))


if __name__ == "__main__":
    world = First(Path(sys.argv[1]), SETTINGS)
    play(world)
    world.check_log()
    world.close()
