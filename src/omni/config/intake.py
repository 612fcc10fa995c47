"""The section `intake`: clients whose calls a model makes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class IntakeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What such clients may expect; `clients` are words of their names, which MCP's clientInfo brings."""

    repeat_window_s: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    clients: tuple[Annotated[str, Meta(min_length=1, max_length=80)], ...] = ("openclaw",)
    reply: Literal["ask", "always", "never"] = "ask"
