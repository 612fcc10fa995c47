"""Another configuration while calls are open: what has begun ends where it began, the next call goes elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace
from tests.llm.harbour import Harbour, config, harbour
from tests.llm.test_port import ALIVE, GOOD, calls
from tests.llm.upstream import message_events, streams, upstream
from tests.server.house import until

from omni.config import Config
from omni.config.model import BrainstemConfig
from omni.config.settings import call_paths
from omni.domain.commands import Observed, Probe, WakeLocal
from omni.llm.channels import make_channels
from omni.llm.keys import ModelKeys
from omni.llm.models import Models
from omni.llm.port import PortSettings
from omni.runtime.ports import SystemClock, SystemIds
from omni.runtime.post import Post

EVENTS = message_events(["a", "b"])
FIRST, REST = b"".join(EVENTS[:3]), EVENTS[3:]


def change(port: Harbour, new: Config) -> asyncio.Task[None]:
    """Go by another configuration; the task ends when nothing goes by the old one any more."""
    kinds = {name: each.kind or "" for name, each in new.providers.items()}
    settings = PortSettings(call_paths(new), new.lite_llm_url)
    old, port.channels = port.channels, make_channels(new)
    over = port.port.change(settings, port.channels, kinds)

    async def then_close() -> None:
        await over
        await old.aclose()

    return asyncio.ensure_future(then_close())


async def test_a_stream_ends_over_its_proxy_and_the_next_call_goes_over_the_new_one_with_its_key() -> None:
    go_on = asyncio.Event()
    async with upstream(streams(FIRST, go_on, *REST)) as old, upstream(GOOD) as new:
        old.alive = new.alive = ALIVE
        async with harbour(config(old.url)) as port:
            answer = await port.begin()
            chunks = answer.chunks()
            body = [await anext(chunks)]
            over = change(port, replace(config(new.url), lite_llm_key="canary-other"))
            _, said = await port.call()
            assert b"good" in said
            assert [each.headers["authorization"] for each in calls(new)] == ["Bearer canary-other"]
            await asyncio.sleep(0)
            assert not over.done()
            go_on.set()
            body += [chunk async for chunk in chunks]
            await answer.aclose()
            assert b"".join(body) == b"".join(EVENTS)
            await asyncio.wait_for(over, 5)
            assert len(calls(old)) == 1
            await until(lambda: [each[2] for each in port.settled] == ["ok", "ok"])


async def test_without_open_calls_nothing_is_waited_for() -> None:
    async with upstream(GOOD) as old, upstream(GOOD) as new, harbour(config(old.url)) as port:
        await asyncio.wait_for(change(port, config(new.url)), 1)
        await port.call()
        assert (len(calls(old)), len(calls(new))) == (0, 1)


async def test_a_proxy_that_is_taken_out_is_asked_no_more_and_the_cloud_is() -> None:
    async with upstream(GOOD) as proxy, upstream(GOOD) as cloud, harbour(config(proxy.url, cloud.url)) as port:
        await change(port, config("", cloud.url))
        await port.call("smart")
        assert (len(calls(proxy)), len(calls(cloud))) == (0, 1)


class Desk:
    """Everything about models as the daemon has it, and what it says to the actors."""

    def __init__(self, config: Config) -> None:
        self.heard: list[Any] = []
        post, clock = Post(), SystemClock()
        for name in ("health", "brainstem", "router"):
            post.register(name, lambda _, messages: self.heard.extend(messages))
        self.models = Models(config, ModelKeys(b"s" * 32), post, clock, SystemIds(clock))

    async def seen(self, target: str) -> Observed:
        self.heard.clear()
        self.models.probes.receive(Probe(target, 2_000))
        await until(lambda: self.heard)
        found = self.heard[0]
        assert isinstance(found, Observed)
        return found


async def test_probes_and_the_local_model_go_by_the_new_configuration() -> None:
    async with upstream(GOOD) as alive, upstream(GOOD) as ollama:
        alive.alive = ALIVE
        desk = Desk(config("http://127.0.0.1:9"))
        try:
            assert (await desk.seen("proxy")).verdict == "refused"
            changed = replace(config(alive.url), brainstem=BrainstemConfig(api_base=ollama.url, model="other"))
            desk.models.change(changed)
            assert (await desk.seen("proxy")).verdict == "ok"
            assert (await desk.seen("anthropic")).verdict == "no_route"
            desk.models.local.receive(WakeLocal())
            await until(lambda: [each for each in ollama.seen if each.body.get("model") == "other"])
        finally:
            await desk.models.stop()


async def test_the_connections_that_nobody_needs_any_more_are_closed_and_those_that_serve_are_kept() -> None:
    async with upstream(GOOD) as old, upstream(GOOD) as new:
        desk = Desk(config(old.url))
        try:
            before = desk.models._channels
            desk.models.change(replace(config(old.url), language="zh"))
            assert desk.models._channels is before
            desk.models.change(config(new.url))
            assert desk.models._channels is not before
            await until(lambda: not desk.models._closing)
            clients = [getattr(each, "_client", None) for each in before._channels.values()]
            assert all(client.is_closed for client in clients if client is not None)
        finally:
            await desk.models.stop()
