"""Which transport leads to an executor. Importing this imports the SDK and everything that needs it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from omni.config import ExecutorConfig
from omni.executors import call, inquiry
from omni.executors.children import Book, Child, spawn
from omni.executors.connection import Connection, Observe
from omni.executors.logfile import LogFile
from omni.executors.memory import Memory
from omni.executors.stdio import open_stdio
from omni.executors.streamable import open_streamable
from omni.executors.websocket import open_websocket
from omni.executors.wire import Wire
from omni.redact import Redactor

__all__ = ["Memory", "Plug", "call", "inquiry"]


class Plug:
    """Makes the connections of one daemon; its children share a book and an owner."""

    def __init__(self, data_dir: Path, owner: str, redactor: Redactor) -> None:
        self._data_dir = data_dir
        self._owner = owner
        self._book = Book(data_dir)
        self._redactor = redactor

    def connection(self, config: ExecutorConfig, observe: Observe) -> Connection:
        """A connection that has not begun yet."""
        return Connection(config, lambda: self.wire(config), observe)

    def wire(self, config: ExecutorConfig) -> AbstractAsyncContextManager[Wire]:
        """The transport to an executor, not open yet."""
        if config.transport == "ws":
            return open_websocket(config.url, config.headers)
        if config.transport == "http":
            return open_streamable(config.url, config.headers)
        return open_stdio(lambda: self._spawn(config), LogFile(self._data_dir, config.name, self._redactor))

    async def _spawn(self, config: ExecutorConfig) -> Child:
        return await spawn(
            [config.command, *config.args],
            env=config.env,
            cwd=config.cwd,
            owner=self._owner,
            name=config.name,
            book=self._book,
        )
