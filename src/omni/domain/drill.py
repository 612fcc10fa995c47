"""What a drill is: a fault that is made on purpose, at the adapters' seam, for a limited time."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from omni.domain.values import Millis

Fault: TypeAlias = Literal["proxy-down", "proxy-hang", "cloud-down", "rate-limit", "quota"]

SHORTEST_S, LONGEST_S = 1, 300
MARK = "drill: "  # begins the detail of every observation that a drill has made up

WORDS: dict[Fault, str] = {
    "proxy-down": "calls and probes of the LiteLLM proxy are refused",
    "proxy-hang": "calls and probes of the LiteLLM proxy get no answer",
    "cloud-down": "no cloud can be reached, neither directly nor behind the proxy",
    "rate-limit": "the first tier's model answers 429, with Retry-After 5",
    "quota": "paid models answer 402",
}


class Drill(msgspec.Struct, frozen=True):
    """One fault under way; it ends by itself at `until`."""

    fault: Fault
    since: Millis
    until: Millis
