"""Puts a fake behind command line programs of its name: small scripts that ask this process over a socket."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.fakes.services.launchd import Answer

Program = Callable[[Sequence[str]], Answer]

_SCRIPT = """#!{python} -IS
import json, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
asked.sendall(json.dumps([{name!r}, sys.argv[1:]]).encode() + b"\\n")
code, out, err = json.loads(asked.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class Served:
    """Programs in a folder that may stand in a PATH; `asked` keeps what they were asked."""

    def __init__(self, folder: Path, programs: Mapping[str, Program]) -> None:
        self.folder = folder
        self.asked: list[list[str]] = []
        self._programs = programs
        folder.mkdir(parents=True)
        address = str(folder / "socket")
        self._server = socketserver.ThreadingUnixStreamServer(address, self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        for name in programs:
            script = folder / name
            script.write_text(_SCRIPT.format(python=os.path.realpath(sys.executable), address=address, name=name))
            script.chmod(0o755)

    @property
    def environ(self) -> dict[str, str]:
        """An environment in which these programs are found first."""
        return {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        served = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                name, argv = json.loads(self.rfile.readline())
                served.asked.append([name, *argv])
                self.wfile.write(json.dumps(served._programs[name](argv)).encode())
                self.request.shutdown(socket.SHUT_WR)

        return Handler
