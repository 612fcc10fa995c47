"""What fakes of model APIs have in common: a control that tests set, and a ledger of what was asked that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.fakes.script import Asked

C = TypeVar("C", bound=msgspec.Struct)
G = TypeVar("G", bound=Hashable)


class Steered(Generic[C, G]):
    """An API that is steered by `POST /__control` and remembered by `/__ledger`. `_given`: how often each mark was."""

    def __init__(self, control: C) -> None:
        self.control = control
        self.ledger: list[Asked] = []
        self._given: Counter[G] = Counter()
        self.steering = [
            Route("/__control", self._set, methods=["POST"]),
            Route("/__ledger", self._show, methods=["GET", "DELETE"]),
        ]

    async def _set(self, request: Request) -> Response:
        known = msgspec.to_builtins(self.control)
        self.control = msgspec.convert({**known, **await request.json()}, type(self.control))
        return JSONResponse(msgspec.to_builtins(self.control))

    async def _show(self, request: Request) -> Response:
        shown = {"entries": msgspec.to_builtins(self.ledger)}
        if request.method == "DELETE":
            self.ledger.clear()
            self._given.clear()
        return JSONResponse(shown)
