"""One patient client of the plain dialect, for histories that are told step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.torture.daemon_process import DaemonProcess
from tests.torture.load import Book, Params
from websockets.sync.client import ClientConnection, connect


class Caller:
    """Submits one task after another and writes every answer down."""

    def __init__(self, door: ClientConnection, book: Book) -> None:
        self._door = door
        self.book = book

    def submit(self, description: str, **more: Any) -> dict[str, Any]:
        """The daemon's whole answer."""
        params: Params = {"description": description, "executor": "dry", "wait_s": 5, **more}
        self._door.send(json.dumps({"method": "create_task", "params": params}))
        answer: dict[str, Any] = json.loads(self._door.recv(timeout=40))
        self.book.note(params, answer)
        return answer


@contextmanager
def calling(daemon: DaemonProcess, book: Book | None = None) -> Iterator[Caller]:
    """A connection to the daemon; answers go into `book`."""
    with connect(daemon.url, additional_headers=daemon.headers, compression=None, proxy=None) as door:
        yield Caller(door, book or Book(0))
