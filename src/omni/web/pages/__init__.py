"""The pages of the dashboard by path. A page's module, and Jinja with it, is loaded when it is first asked for.

A page is `async def page(request, room) -> str` in a module of this package. What it raises becomes a page too:
NotFound a 404, any other OmniError a 409, with its message and the next command.
"""

from __future__ import annotations

import asyncio
import importlib

from starlette.requests import Request

from omni.web.room import Page, Pages, Room


def _late(name: str) -> Page:
    loaded: list[Page] = []  # not `sys.modules`: a module stands there before it is whole

    async def page(request: Request, room: Room) -> str:
        if not loaded:
            module = await asyncio.to_thread(importlib.import_module, f"{__name__}.{name}")
            loaded.append(module.page)
        return await loaded[0](request, room)

    return page


PAGES: Pages = {
    "/": _late("now"),
    "/timeline": _late("timeline"),
    "/tasks": _late("tasks"),
    "/tasks/{task_id}": _late("task"),
    "/costs": _late("costs"),
    "/levels": _late("levels"),
}
