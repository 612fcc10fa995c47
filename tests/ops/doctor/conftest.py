"""A home in which faults are planted, a daemon that really runs there, and servers that really answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Daemon, Omni, make_omni

from omni.config import load
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.looking import look
from omni.ops.doctor.scene import Machine, Scene
from omni.ops.doctor.table import checks_of

TOOLS = Path(__file__).with_name("tools.py")
SCHEMA = {"type": "object", "properties": {"description": {"type": "string"}}, "required": ["description"]}


class Home:
    """One installation. `config` is its configuration; what a test leaves out is as it should be."""

    def __init__(self, omni: Omni, once: Path) -> None:
        self.omni = omni
        self._once = once
        self.daemon = Daemon(omni)
        self.config: dict[str, Any] = {"mcp_servers": {"echo": {"url": "null:", "types": ["general"]}}}
        self.machine = Machine()
        self.environ: dict[str, str] = {}

    @property
    def path(self) -> Path:
        return self.omni.home

    @property
    def data(self) -> Path:
        return self.omni.data_dir

    @property
    def log(self) -> Path:
        return self.data / "omni.db"

    @property
    def port(self) -> int:
        return self.omni.port

    def write(self, mode: int = 0o600) -> Path:
        file = self.path / "config.yaml"
        file.write_text(yaml.safe_dump(self.config))
        file.chmod(mode)
        return file

    def live(self) -> None:
        """Let a daemon run here, and end in order."""
        self.write()
        self.daemon.start()
        self.daemon.stop()

    def lived(self) -> Home:
        """A daemon has run here, and has ended in order."""
        self.write()
        shutil.copytree(self._once, self.data)
        return self

    def program(self, name: str, script: str) -> None:
        """A program on the PATH of this home."""
        path = self.path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def scene(self, **machine: Any) -> Scene:
        file = self.path / "config.yaml"
        self.write(mode=file.stat().st_mode & 0o777 if file.exists() else 0o600)
        path = f"{self.path / 'bin'}:{os.environ['PATH']}"
        environ = {**self.omni.environ, "PATH": path, **self.environ}
        loaded = load(self.path / "config.yaml", environ=environ)
        return Scene(loaded, environ=environ, machine=replace(self.machine, **machine))

    def findings(self, **machine: Any) -> list[Finding]:
        scene = self.scene(**machine)
        return [each for one in look(checks_of(scene), scene) for each in one.findings]

    def finding(self, name: str, **machine: Any) -> Finding:
        """The one finding of this name."""
        seen = self.findings(**machine)
        named = [each for each in seen if each.name == name]
        assert len(named) == 1, [(each.name, each.says) for each in seen if each.level != "ok"]
        return named[0]

    def server(self, tools: Mapping[str, Any], **entry: Any) -> None:
        """An executor that is a real MCP server with these tools."""
        file = self.path / "tools.json"
        file.write_text(json.dumps(tools))
        known = {"command": sys.executable, "args": [str(TOOLS), str(file)], "tool": "act"}
        self.config["mcp_servers"]["peer"] = {**known, **entry}


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which a daemon has run once."""
    place = Home(make_omni(tmp_path_factory.mktemp("once") / "home"), Path())
    place.live()
    return place.data


@pytest.fixture
def home(tmp_path: Path, once: Path) -> Iterator[Home]:
    place = Home(make_omni(tmp_path / "home"), once)
    yield place
    process = place.daemon.process
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()


Answer = tuple[int, Any]


class Upstream(ThreadingHTTPServer):
    """Answers GET by path: a status and a JSON body, or a function of the key that was shown."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answers: dict[str, Answer | Callable[[str], Answer]] = {}
        self.keys: list[str] = []
        self.date = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        key = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        self.server.keys.append(key)
        known = self.server.answers.get(self.path.partition("?")[0], (404, {"error": "no such page"}))
        status, body = known(key) if callable(known) else known
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.date or super().date_time_string(None)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    yield from _serving(Upstream())


@pytest.fixture
def impostor(home: Home) -> Iterator[Upstream]:
    """What answers on the home's port as a test says."""
    yield from _serving(Upstream(home.port))


def _serving(server: Upstream) -> Iterator[Upstream]:
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def taken(home: Home) -> Iterator[socket.socket]:
    """Somebody else listens on the home's port."""
    with socket.create_server(("127.0.0.1", home.port)) as stranger:
        yield stranger
