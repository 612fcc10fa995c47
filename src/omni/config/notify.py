"""Who tells the owner, where, and about what."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from msgspec import Struct

from omni.config.executors import Seconds

EventGroup: TypeAlias = Literal["mode", "held", "failed", "budget", "repair", "executor"]
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class QuietHoursConfig(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"start": "from", "exceptions": "except"}
):
    """When people are told of nothing but the exceptions; the times are those of this machine's clock on the wall."""

    start: str = ""
    to: str = ""
    exceptions: tuple[EventGroup, ...] = ("mode",)

    @property
    def minutes(self) -> tuple[int, int] | None:
        """From which minute of the day to which; None when they are off."""
        times = [_TIME.fullmatch(each) for each in (self.start, self.to)]
        begin, end = (int(each[1]) * 60 + int(each[2]) if each else -1 for each in times)
        return (begin, end) if begin >= 0 and end >= 0 and begin != end else None


class WebhookConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where notices are posted to, signed with the secret."""

    url: str = ""
    secret: str = ""
    timeout_s: Seconds = 10.0
    headers: dict[str, str] = {}


class NotifyConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who tells the owner, where, and about what. `channel` and `target` are as the executor names them."""

    enabled: bool = True
    executor: str = "openclaw"
    channel: str = ""
    target: str = ""
    events: tuple[EventGroup, ...] = ("mode", "held", "budget", "repair", "executor")
    quiet_hours: QuietHoursConfig = QuietHoursConfig()
    webhook: WebhookConfig = WebhookConfig()
