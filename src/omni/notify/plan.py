"""Which sinks a configuration asks for, and what Brainstem is to know of them."""

from __future__ import annotations

from collections.abc import Sequence

from omni.config import Config, NotifyConfig
from omni.domain.values import QuietHours, Telling
from omni.notify.messenger import MessengerSink, UseTool
from omni.notify.sinks import ConsoleSink, LogSink, Sink
from omni.notify.texts import kinds_of
from omni.notify.webhook import WebhookSink
from omni.runtime.ports import Clock


def make_sinks(config: Config, use_tool: UseTool, clock: Clock) -> tuple[Sink, ...]:
    """The sinks in force: the log and the terminal, and the ways to people that are configured in full."""
    notify = config.notify
    sinks: list[Sink] = [LogSink(), ConsoleSink()]
    if config.messenger:  # also without an address of the owner's: who asked for an answer brings one along
        owner = {"channel": notify.channel, "target": notify.target}
        sinks.append(MessengerSink(config.messenger, use_tool, **owner))
    if notify.webhook.url and notify.webhook.secret:
        sinks.append(WebhookSink(notify.webhook, clock))
    return tuple(sinks)


def telling(config: NotifyConfig, sinks: Sequence[Sink], utc_offset_ms: int = 0) -> Telling:
    """What enters the log at a boot: whom notices are owed to, and when people are left in peace."""
    return Telling(tuple(sink.spec for sink in sinks), _quiet(config, utc_offset_ms))


def _quiet(config: NotifyConfig, utc_offset_ms: int) -> QuietHours | None:
    minutes = config.quiet_hours.minutes
    return QuietHours(*minutes, kinds_of(config.quiet_hours.exceptions), utc_offset_ms) if minutes else None
