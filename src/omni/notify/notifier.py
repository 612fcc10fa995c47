"""The notifier: takes notices from Brainstem's outbox and tells every sink, each of them once.

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
from omni.notify.sinks import ConsoleSink, LogSink, Sink, Told
from omni.notify.texts import Language, group, render
from omni.redact import Redactor
from omni.runtime.post import Post

log = structlog.get_logger()

NAME = "notifier"
BRAINSTEM = "brainstem"
SINK_S = 30.0
REMEMBERED = 1_000


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
        self._sinks: Sequence[Sink] = (LogSink(), ConsoleSink()) if sinks is None else sinks
        self._sink_s = sink_s
        self._took: OrderedDict[str, set[str]] = OrderedDict()  # key → sinks that have it
        self._running: dict[str, asyncio.Task[None]] = {}

    def receive(self, message: cmd.Deliver) -> None:
        """Take one notice; one that is on its way is not started again. Runs on the loop and returns at once."""
        if message.key in self._running:
            return
        self._running[message.key] = asyncio.create_task(self._answer(message), name=f"notice {message.key}")

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
            log.exception("notice.crashed", key=message.key)
            answer = cmd.Delivered(message.key, ok=False, detail=f"Omni could not tell it: {type(error).__name__}")
        # Forgotten first: who hears the answer may send the same notice again at once, and waits for an answer to that.
        self._running.pop(message.key, None)
        self._post.send(BRAINSTEM, NAME, (answer,))

    async def _result(self, message: cmd.Deliver) -> cmd.Delivered:
        if not self.wants(message.kind):
            return cmd.Delivered(message.key, ok=True, detail="not asked for")
        text = self._redact(render(message.kind, message.facts, self._language))
        failures = await self._tell(Told(message.key, message.kind, text, message.at))
        return cmd.Delivered(message.key, not failures, self._redact("; ".join(failures)))

    async def _tell(self, notice: Told) -> list[str]:
        took = self._remember(notice.key)
        failures = []
        for sink in self._sinks:
            if sink.name in took:
                continue
            try:
                async with asyncio.timeout(self._sink_s):
                    await sink.deliver(notice)
                took.add(sink.name)
            except Exception as error:  # whatever a sink raises concerns this sink and this try only
                failures.append(f"{sink.name}: {_words(error, self._sink_s)}")
                log.warning("notice.failed", key=notice.key, sink=sink.name, error=repr(error))
        return failures

    def _remember(self, key: str) -> set[str]:
        took = self._took.setdefault(key, set())
        if len(self._took) > REMEMBERED:
            self._took.popitem(last=False)
        return took


def _words(error: Exception, limit_s: float) -> str:
    return f"no answer within {limit_s:g} s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
