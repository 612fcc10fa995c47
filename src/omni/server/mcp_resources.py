"""`omni://status` and `omni://tasks/{id}` as MCP resources, with notifications when they change.

Each resource that somebody subscribed to has one feed from the desk, shared by all subscribers. A notification says
only that it changed, so changes that come faster than MIN_GAP_S become one.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import mcp_types as types
import msgspec
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError

from omni.domain.commands import ProgressMade
from omni.domain.errors import OmniError
from omni.domain.view import task_view
from omni.server.desk import Desk
from omni.server.views import system_view

log = structlog.get_logger()
Context = ServerRequestContext[Any, Any]

STATUS_URI = "omni://status"
TASK_PREFIX = "omni://tasks/"
JSON = "application/json"
MIN_GAP_S = 0.2
MAX_PER_CONNECTION = 100
MAX_FEEDS = 2_000  # of all connections: each is a task of the loop and a follower at the Gateway
_encode = msgspec.json.Encoder().encode


class Resources:
    """Lists, reads and watches."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bus = InMemorySubscriptionBus()
        self._feeds = Feeds(desk, self._bus)
        self._listen = ListenHandler(self._bus)
        self._subscribers: dict[int, Subscriber] = {}

    def close(self) -> None:
        """End all feeds and streams."""
        self._listen.close()
        self._feeds.close()

    async def list(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        """The resources with a fixed name."""
        status = types.Resource(
            uri=STATUS_URI, name="status", title="The system", description="Mode, executors, tasks.", mime_type=JSON
        )
        return types.ListResourcesResult(resources=[status])

    async def templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        """The resources whose name holds an id."""
        task = types.ResourceTemplate(
            uri_template=TASK_PREFIX + "{id}", name="task", title="A task", description="One task.", mime_type=JSON
        )
        return types.ListResourceTemplatesResult(resource_templates=[task])

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """The resource as JSON."""
        uri = str(params.uri)
        text = _encode(await self._view(uri)).decode()
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=JSON, text=text)])

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """One stream of notifications, until the client leaves."""
        uris = [str(each) for each in params.notifications.resource_subscriptions or ()][:MAX_PER_CONNECTION]
        acquired: list[str] = []
        try:
            for uri in uris:
                self._feeds.acquire(uri)
                acquired.append(uri)
            return await self._listen(ctx, params)
        finally:
            for uri in acquired:
                self._feeds.release(uri)

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Notify this connection when the resource changes."""
        uri = str(params.uri)
        await self._view(uri)  # an unknown one is an error at once
        subscriber = self._subscriber(ctx)
        if len(subscriber.uris) >= MAX_PER_CONNECTION:
            raise MCPError(types.INVALID_REQUEST, f"at most {MAX_PER_CONNECTION} subscriptions a connection")
        subscriber.add(uri)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Notify no more."""
        self._subscriber(ctx).remove(str(params.uri))
        return types.EmptyResult()

    def _subscriber(self, ctx: Context) -> Subscriber:
        connection = ctx.session._connection  # noqa: SLF001 - the only way to what lives as long as the connection
        key = id(connection)
        if key not in self._subscribers:
            self._subscribers[key] = Subscriber(connection, self._feeds, self._bus)
            connection.exit_stack.callback(self._drop, key)
        return self._subscribers[key]

    def _drop(self, key: int) -> None:
        self._subscribers.pop(key).close()

    async def _view(self, uri: str) -> dict[str, Any]:
        try:
            if uri == STATUS_URI:
                return system_view(await self._desk.status())
            if uri.startswith(TASK_PREFIX):
                return task_view(await self._desk.get(uri.removeprefix(TASK_PREFIX)))
        except OmniError as error:
            raise MCPError(types.INVALID_PARAMS, error.message, {"uri": uri, "hint": error.hint}) from None
        raise MCPError(types.INVALID_PARAMS, f"there is no resource {uri[:200]!r}", {"uri": uri})


class Feeds:
    """One watcher a resource, for as long as somebody wants it."""

    def __init__(self, desk: Desk, bus: InMemorySubscriptionBus) -> None:
        self._desk = desk
        self._bus = bus
        self._wanted: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def acquire(self, uri: str) -> None:
        """One more wants it. Raises MCPError when too many different resources are watched."""
        if uri not in self._wanted and len(self._wanted) >= MAX_FEEDS:
            raise MCPError(types.INTERNAL_ERROR, f"{MAX_FEEDS} resources are being watched already; unsubscribe some")
        self._wanted[uri] = self._wanted.get(uri, 0) + 1
        if uri not in self._running and (uri == STATUS_URI or uri.startswith(TASK_PREFIX)):
            self._running[uri] = asyncio.create_task(self._feed(uri))

    def release(self, uri: str) -> None:
        """One fewer wants it."""
        count = self._wanted.get(uri, 0) - 1
        if count > 0:
            self._wanted[uri] = count
            return
        self._wanted.pop(uri, None)
        if running := self._running.pop(uri, None):
            running.cancel()

    def close(self) -> None:
        """End all."""
        for running in self._running.values():
            running.cancel()
        self._running.clear()

    async def _feed(self, uri: str) -> None:
        task_id = uri.removeprefix(TASK_PREFIX) if uri != STATUS_URI else ""
        seen = await self._position(task_id)  # following begins with the state as it is: that is no change
        async with aclosing(self._desk.follow(task_id)) as following:
            async for news in following:
                if isinstance(news, ProgressMade) or news.position == seen:
                    continue
                seen = news.position
                await self._bus.publish(ResourceUpdated(uri))
                await asyncio.sleep(MIN_GAP_S)

    async def _position(self, task_id: str) -> int:
        try:
            return (await self._desk.get(task_id)).position if task_id else -1
        except OmniError:
            return -1


class Subscriber:
    """One connection of the older protocol, and what it wants to hear of."""

    def __init__(self, connection: Any, feeds: Feeds, bus: InMemorySubscriptionBus) -> None:
        self.uris: set[str] = set()
        self._connection = connection
        self._feeds = feeds
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        self._leave = bus.subscribe(self._hear)
        self._sending = asyncio.create_task(self._send())

    def add(self, uri: str) -> None:
        """Hear of this resource; twice is once."""
        if uri not in self.uris:
            self._feeds.acquire(uri)
            self.uris.add(uri)

    def remove(self, uri: str) -> None:
        """Hear of it no more."""
        if uri in self.uris:
            self.uris.remove(uri)
            self._feeds.release(uri)

    def close(self) -> None:
        """The connection has ended."""
        self._leave()
        self._sending.cancel()
        for uri in list(self.uris):
            self.remove(uri)

    def _hear(self, event: Any) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in self.uris:
            self._changed.put_nowait(event.uri)

    async def _send(self) -> None:
        while True:
            uri = await self._changed.get()
            if self._changed.qsize() < MAX_PER_CONNECTION:  # far behind: a client that does not read; let it catch up
                await self._connection.send_resource_updated(uri)
