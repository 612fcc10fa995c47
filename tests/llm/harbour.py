"""The real model port, channels and Router over a log in memory. Upstreams, health and the actors' other ends are the
test's: `seen` holds what HealthMonitor would have heard.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from tests.server.house import Room

from omni.actors.router import Router
from omni.config import Config, Provider
from omni.config.model import ApiKeys, BrainstemConfig, Tier
from omni.config.settings import call_paths
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import Budget, ExecutorSpec, Mode, RoutingSettings
from omni.eventlog.store import Recorded
from omni.llm.answer import Dialect
from omni.llm.channels import make_channels
from omni.llm.faults import Faults
from omni.llm.keys import Holder, ModelKeys
from omni.llm.passage import Limits
from omni.llm.port import ModelPort, PortSettings
from omni.llm.prices import Prices
from omni.llm.reply import PortAnswer
from omni.runtime.loop import LoopMailbox
from omni.runtime.ports import SystemClock, SystemIds
from omni.runtime.post import Post

CLIENT = Holder(client="tests")
TASK = "0192f0c1-2d3e-7abc-8def-001122334455"
TIERS = (
    Tier(name="P1", light="fast", heavy="fast", cost="free"),
    Tier(name="P2", light="smart", heavy="smart", cost="paid"),
    Tier(name="P3", light="tiny", heavy="tiny", channel="brainstem", runs_tasks=False),
)
KEYS = ApiKeys(
    primary={"anthropic": "canary-primary-a", "openrouter": "canary-primary-o"},
    backup={"anthropic": "canary-backup-a", "openrouter": "canary-backup-o"},
)
PROMPT = "canary prompt"


def config(
    proxy: str = "", anthropic: str = "", openrouter: str = "", ollama: str = "", tiers: tuple[Tier, ...] = TIERS
) -> Config:
    """A configuration with those upstreams that have an address."""
    clouds = {
        "anthropic": Provider(kind="anthropic", api_base=anthropic, models={"smart": "claude-s"}, default_model="c-d"),
        "openrouter": Provider(kind="openrouter", api_base=openrouter, default_model="o-d"),
    }
    return Config(
        lite_llm_url=proxy,
        lite_llm_key="canary-proxy",
        providers={name: each for name, each in clouds.items() if each.api_base},
        api_keys=KEYS,
        tiers=tiers,
        brainstem=BrainstemConfig(api_base=ollama or "http://127.0.0.1:9", model="tiny"),
    )


class Harbour:
    """Built on the running loop."""

    def __init__(self, config: Config, budget: Budget, settings: PortSettings) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = SystemClock()
        self.post = Post()
        self.log: list[Recorded] = []
        self.versions: Counter[str] = Counter()
        self.seen: list[cmd.Observed] = []
        self.keys = ModelKeys(b"s" * 32)
        self.channels = make_channels(config)
        self.faults = Faults(call_paths(config), self.clock)
        kinds = {name: each.kind or "" for name, each in config.providers.items()}
        self.port = ModelPort(
            replace(settings, paths=call_paths(config), proxy=config.lite_llm_url),
            self.channels,
            Prices(kinds),
            self.keys,
            post=self.post,
            clock=self.clock,
            ids=SystemIds(self.clock),
            faults=self.faults,
        )
        self.router = Room(self, Router())  # type: ignore[arg-type]  # what a room needs of a house is here
        self.post.register("port", LoopMailbox(self.loop, self.port.receive).deliver)
        self.post.register("health", lambda _, messages: self.seen.extend(messages))
        for deaf in ("gateway", "pool", "timers", "brainstem"):
            self.post.register(deaf, lambda *_: None)
        executors = (ExecutorSpec("worker", types=("general",), needs_cloud=False),)
        self.post.send("router", "daemon", (cmd.Boot("boot", RoutingSettings(executors, budget=budget)),))

    def record(self, stream: str, event: Any, at: int, actor: str) -> Recorded:
        self.versions[stream] += 1
        row = Recorded(len(self.log) + 1, stream, self.versions[stream], event, at, at, "boot", actor, "m", None)
        self.log.append(row)
        return row

    def events(self, *kinds: type[ev.Event]) -> list[Any]:
        return [row.event for row in self.log if isinstance(row.event, kinds)]

    @property
    def settled(self) -> list[Any]:
        """(channel, model, verdict) of every call in the books, in the order of their ends."""
        reserved = {each.call: each for each in self.events(ev.CallReserved)}
        ends = self.events(ev.CallSettled)
        return [(reserved[each.call].channel, reserved[each.call].model, each.verdict) for each in ends]

    @property
    def observed(self) -> list[tuple[str, str]]:
        return [(each.target, each.verdict) for each in self.seen]

    def report(self, mode: Mode, components: Sequence[cmd.ComponentReport] = (), reason: str = "") -> None:
        """HealthMonitor's word."""
        self.port.receive(cmd.HealthReported(cmd.NoteMode(mode, reason=reason), tuple(components)))

    async def begin(
        self, model: str = "auto", *, dialect: Dialect = "messages", stream: bool = True, holder: Holder = CLIENT
    ) -> PortAnswer:
        body = {"model": model, "stream": stream, "max_tokens": 64, "messages": [{"role": "user", "content": PROMPT}]}
        return await self.port.handle(dialect, body, {"anthropic-version": "2023-06-01"}, holder)

    async def call(self, model: str = "auto", **asked: Any) -> tuple[PortAnswer, bytes]:
        """One call to its end, as a client that reads all of it."""
        answer = await self.begin(model, **asked)
        try:
            return answer, b"".join([chunk async for chunk in answer.chunks()])
        finally:
            await answer.aclose()


@asynccontextmanager
async def harbour(config: Config, *, budget: Budget | None = None, **settings: Any) -> AsyncIterator[Harbour]:
    """A port with these upstreams behind it; everything of it ends with the block."""
    made = Harbour(config, budget or Budget(), PortSettings(call_paths(config), **settings))
    try:
        yield made
    finally:
        await made.port.stop()
        await made.channels.aclose()


def quick(**limits: float) -> Limits:
    """Limits that a test can wait for."""
    return replace(Limits(), **limits)


def told(body: bytes) -> str:
    """The message of an error answer, in whatever dialect."""
    return str(json.loads(body)["error"]["message"])
