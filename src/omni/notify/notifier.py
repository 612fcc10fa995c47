"""The notifier: takes notices from Brainstem's outbox, each for one sink, and answers for each.

Nothing here is durable. A notice whose delivery the log does not know yet comes again, under the same key; what this
process has already told, and to which sink, is remembered so that no sink hears it twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import structlog

from omni.config import NotifyConfig
from omni.domain import commands as cmd
from omni.notify.sinks import ConsoleSink, Gone, LogSink, Sink, Told
from omni.notify.texts import Language, group, render
from omni.redact import Redactor
from omni.runtime.post import Post

log = structlog.get_logger()

NAME = "notifier"
BRAINSTEM = "brainstem"
SINK_S = 30.0
REMEMBERED = 4_000


class Notifier:
    """Adapter between the post and the sinks; `receive` belongs behind a LoopMailbox named "notifier"."""

    def __init__(
        self,
        config: NotifyConfig,
        post: Post,
        *,
        language: Language = "en",
        redactor: Redactor | None = None,
        sinks: Sequence[Sink] | None = None,
        sink_s: float = SINK_S,
    ) -> None:
        self._config = config
        self._post = post
        self._language = language
        self._redact = (redactor or Redactor()).text
        given: Sequence[Sink] = (LogSink(), ConsoleSink()) if sinks is None else sinks
        self._sinks = {sink.spec.name: sink for sink in given}
        self._sink_s = sink_s
        self._took: OrderedDict[tuple[str, str], None] = OrderedDict()  # what a sink has: its name, and the key
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    def expect(self, sinks: Sequence[Sink]) -> None:
        """Know sinks that are new: what is told by another configuration may come before `go_by`."""
        self._sinks = {**{sink.spec.name: sink for sink in sinks}, **self._sinks}

    def go_by(self, config: NotifyConfig, language: Language, sinks: Sequence[Sink]) -> None:
        """Tell by another configuration from now on; what is on its way goes on."""
        self._config, self._language = config, language
        self._sinks = {sink.spec.name: sink for sink in sinks}

    def receive(self, message: cmd.Deliver) -> None:
        """Take one notice; one that is on its way is not started again. Runs on the loop and returns at once."""
        one = (message.sink, message.key)
        if one not in self._running:
            self._running[one] = asyncio.create_task(self._answer(message), name=f"notice {message.key}")

    async def stop(self) -> None:
        """Give up what is on its way; the outbox still has it."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wants(self, kind: str) -> bool:
        """Whether the configuration asks for this kind of notice."""
        covered = group(kind)
        return self._config.enabled and (covered is None or covered in self._config.events)

    async def _answer(self, message: cmd.Deliver) -> None:
        try:
            answer = await self._result(message)
        except Exception as error:  # without an answer the outbox would wait for ever
            log.exception("notice.crashed", key=message.key, sink=message.sink)
            answer = _no(message, f"Omni could not tell it: {type(error).__name__}")
        # Forgotten first: who hears the answer may send the same notice again at once, and waits for an answer to that.
        self._running.pop((message.sink, message.key), None)
        self._post.send(BRAINSTEM, NAME, (answer,))

    async def _result(self, message: cmd.Deliver) -> cmd.Delivered:
        sink = self._sinks.get(message.sink)
        if sink is None:
            return _no(message, f"there is no sink {message.sink!r}", gone=True)
        if not message.to and not self.wants(message.kind):  # an answer is for whoever asked for it
            return cmd.Delivered(message.key, ok=True, detail="not asked for", sink=message.sink)
        if (message.sink, message.key) not in self._took:
            try:
                await self._tell(sink, message)
            except Exception as error:  # whatever a sink raises concerns this sink and this try only
                log.warning("notice.failed", key=message.key, sink=message.sink, error=self._redact(repr(error)))
                return _no(message, self._redact(_words(error, self._sink_s)), gone=isinstance(error, Gone))
        return cmd.Delivered(message.key, ok=True, sink=message.sink)

    async def _tell(self, sink: Sink, message: cmd.Deliver) -> None:
        text = self._redact(render(message.kind, message.facts, self._language))
        facts = {name: self._redact(value) for name, value in message.facts.items()}
        async with asyncio.timeout(self._sink_s):
            await sink.deliver(Told(message.key, message.kind, text, message.at, facts, message.to))
        self._took[message.sink, message.key] = None
        if len(self._took) > REMEMBERED:
            self._took.popitem(last=False)


def _no(message: cmd.Deliver, why: str, *, gone: bool = False) -> cmd.Delivered:
    return cmd.Delivered(message.key, ok=False, detail=why, sink=message.sink, gone=gone)


def _words(error: Exception, limit_s: float) -> str:
    return f"no answer within {limit_s:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
