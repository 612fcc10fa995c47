"""The pages of the dashboard by path. A page's module, and Jinja with it, is loaded when it is first asked for.

A page is `async def page(request, room) -> str` in a module of this package. What it raises becomes a page too:
NotFound a 404, any other OmniError a 409, with its message and the next command.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

from starlette.requests import Request

from omni.web.room import Page, Pages, Room


def _late(name: str) -> Page:
    module_name = f"{__name__}.{name}"

    async def page(request: Request, room: Room) -> str:
        if module_name not in sys.modules:
            await asyncio.to_thread(importlib.import_module, module_name)
        shown: str = await sys.modules[module_name].page(request, room)
        return shown

    return page


PAGES: Pages = {
    "/": _late("now"),
    "/timeline": _late("timeline"),
    "/tasks": _late("tasks"),
    "/tasks/{task_id}": _late("task"),
    "/costs": _late("costs"),
    "/levels": _late("levels"),
}
