"""What is on this machine, found by looks at real servers and programs of the test's own."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from omni.ops.surroundings import Server, Surroundings, Targets, keys_in, language_in, look

WITHIN_S = 1.0
SPARE_S = 4.0  # a loaded machine
ALIVE = '"I\'m alive!"'


class House:
    """A server that answers each path with its text, and notes who showed which key."""

    def __init__(self, answers: dict[str, str], key: str = "") -> None:
        self.shown: list[str] = []
        house = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
                house.shown.append(shown)
                refused = bool(key) and self.path.startswith("/v1") and shown != key
                body = b"no key" if refused else answers.get(self.path, "").encode()
                self.send_response(401 if refused else 200 if self.path in answers else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(house: House) -> Iterator[House]:
    thread = threading.Thread(target=house.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield house
    finally:
        house.server.shutdown()
        house.server.server_close()


@contextmanager
def deaf() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens, and nobody can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def targets(nowhere: str, **said: str) -> Targets:
    return Targets(**{**_servers(nowhere), **said}, within_s=WITHIN_S, places={})


def found(nowhere: str, environ: dict[str, str] | None = None, **said: str) -> Surroundings:
    return look(targets(nowhere, **said), {"PATH": "", **(environ or {})})


def program(directory: Path, name: str, text: str) -> Path:
    file = directory / name
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)
    return file


def test_nothing_is_found_where_nothing_is(nowhere: str) -> None:
    surroundings = found(nowhere)
    assert not [each for each in surroundings.programs if each.found]
    assert not [each for each in surroundings.servers if each.found]
    assert {each.problem for each in surroundings.servers} == {"connection refused"}
    assert surroundings.keys == ()


def test_each_server_is_known_by_its_answer_and_names_its_models(nowhere: str, stack: ExitStack) -> None:
    models = '{"data": [{"id": "fast"}, {"id": "heavy"}, {"other": 1}]}'
    proxy = stack.enter_context(serving(House({"/health/liveliness": ALIVE, "/v1/models": models})))
    direct = stack.enter_context(serving(House({"/healthz": '{"status": "ok"}', "/v1/models": models})))
    ollama = stack.enter_context(serving(House({"/api/tags": '{"models": [{"name": "qwen2.5:7b"}]}'})))
    claw = stack.enter_context(serving(House({"/healthz": '{"ok": true, "status": "live"}'})))
    surroundings = found(nowhere, litellm=proxy.url, cliproxyapi=direct.url, ollama=ollama.url, openclaw=claw.url)

    assert surroundings.litellm == Server("litellm", proxy.url, found=True, models=("fast", "heavy"))
    assert surroundings.cliproxyapi == Server("cliproxyapi", direct.url, found=True, models=("fast", "heavy"))
    assert surroundings.ollama == Server("ollama", ollama.url, found=True, models=("qwen2.5:7b",))
    assert surroundings.openclaw_gateway == Server("openclaw", claw.url, found=True)


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '{"status": 1}', "[" * 5000, ""])
def test_whatever_else_answers_there_is_not_taken_for_it(nowhere: str, stack: ExitStack, body: str) -> None:
    answers = dict.fromkeys(("/health/liveliness", "/healthz", "/api/tags", "/v1/models"), body)
    url = stack.enter_context(serving(House(answers))).url
    servers = found(nowhere, litellm=url, cliproxyapi=url, ollama=url, openclaw=url).servers

    assert [(each.found, each.problem) for each in servers] == [(False, "something else answers there")] * 4


@pytest.mark.parametrize("name", ["fast\\nport: 1", "\\u001b[2J", "", "x" * 201, "a\\u2028b"])
def test_a_name_that_is_more_than_a_word_is_not_taken(nowhere: str, stack: ExitStack, name: str) -> None:
    models = f'{{"data": [{{"id": "{name}"}}, {{"id": "good one"}}]}}'
    house = stack.enter_context(serving(House({"/health/liveliness": ALIVE, "/v1/models": models})))
    assert found(nowhere, litellm=house.url).litellm.models == ("good one",)


def test_a_proxy_that_wants_a_key_is_shown_the_one_of_the_environment(nowhere: str, stack: ExitStack) -> None:
    answers = {"/health/liveliness": ALIVE, "/v1/models": '{"data": [{"id": "fast"}]}'}
    house = stack.enter_context(serving(House(answers, key="sk-canary")))

    without = found(nowhere, litellm=house.url)
    assert (without.litellm.found, without.litellm.locked, without.litellm.models) == (True, True, ())

    given = found(nowhere, {"LITE_LLM_KEY": "sk-canary"}, litellm=house.url)
    assert (given.litellm.locked, given.litellm.models) == (False, ("fast",))
    assert given.keys == ("LITE_LLM_KEY",)
    assert "sk-canary" not in str(given)
    assert house.shown == ["", "", "", "sk-canary"]  # the question whether it lives shows none


def test_no_key_is_shown_to_what_is_something_else(nowhere: str, stack: ExitStack) -> None:
    house = stack.enter_context(serving(House({"/health/liveliness": "hello", "/healthz": "hello"})))
    found(nowhere, {"LITE_LLM_KEY": "sk-canary", "CLIPROXY_API_KEY": "sk-x"}, litellm=house.url, cliproxyapi=house.url)
    assert set(house.shown) == {""}


def test_all_looks_together_take_no_longer_than_the_longest(nowhere: str, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(deaf())
    for name in ("claude", "openclaw", "tailscale"):
        program(tmp_path, name, "import time\ntime.sleep(60)\n")
    began = time.monotonic()
    surroundings = found(nowhere, {"PATH": str(tmp_path)}, litellm=url, cliproxyapi=url, ollama=url, openclaw=url)
    took = time.monotonic() - began

    assert took < WITHIN_S + SPARE_S < 7 * WITHIN_S
    assert {each.problem for each in surroundings.programs} == {"did not tell its version within 1 s"}
    assert {each.problem for each in surroundings.servers} == {"something listens there and does not answer within 1 s"}


def test_a_program_on_the_path_tells_its_version(nowhere: str, tmp_path: Path) -> None:
    program(tmp_path, "tailscale", "print('1.90.2\\n  tailscale commit: 0a1b')\n")
    program(tmp_path, "claude", "print('no number')\n")
    surroundings = found(nowhere, {"PATH": str(tmp_path)})

    assert (surroundings.tailscale.version, surroundings.tailscale.on_path) == ("1.90.2", True)
    assert surroundings.tailscale.path == str(tmp_path / "tailscale")
    assert (surroundings.claude_code.found, surroundings.claude_code.version) == (True, "")
    assert surroundings.claude_code.problem == "told no version (exit code 0)"
    assert not surroundings.openclaw.found


def test_a_package_tells_the_version_without_the_program_being_started(nowhere: str, tmp_path: Path) -> None:
    package = tmp_path / "lib" / "openclaw"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "openclaw", "version": "2026.9.6", "bin": {"openclaw": "x"}}')
    started = tmp_path / "started"
    program(package / "bin", "cli", f"open({str(started)!r}, 'w')\n")
    (tmp_path / "openclaw").symlink_to(package / "bin" / "cli")

    assert found(nowhere, {"PATH": str(tmp_path)}).openclaw.version == "2026.9.6"
    assert not started.exists()


def test_what_a_program_started_is_ended_with_it(nowhere: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    text = f"""\
import subprocess, time
child = subprocess.Popen(["sleep", "60"])
open({str(note)!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    program(tmp_path, "claude", text)
    found(nowhere, {"PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"})

    pid, until = int(note.read_text()), time.monotonic() + SPARE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "the child lives on"
        time.sleep(0.02)


def test_a_program_beside_the_path_is_found_where_it_usually_is(nowhere: str, tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    place = program(tmp_path / ".local", "claude", "print('2.1.329 (Claude Code)')\n")
    where = Targets(**_servers(nowhere), within_s=WITHIN_S + SPARE_S, places={"claude": ("~/.local/claude",)})
    claude = look(where, {"PATH": "", "HOME": str(tmp_path)}).claude_code

    assert (claude.path, claude.version, claude.on_path) == (str(place), "2.1.329", False)


def test_only_the_names_of_keys_are_kept() -> None:
    environ = {"ANTHROPIC_API_KEY": "canary", "OPENAI_API_KEY": " ", "SOMETHING_KEY": "canary"}
    assert keys_in(environ) == ("ANTHROPIC_API_KEY",)


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"), ({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LANG": "zh_TW"}, "zh"), ({"LANG": "C"}, "en"),
        ({"LANG": "zh_CN", "LC_ALL": "en_US.UTF-8"}, "en"), ({"LC_MESSAGES": "zh_CN", "LANG": "de"}, "zh"),
    ],
)  # fmt: skip
def test_the_locale_says_the_language(environ: dict[str, str], language: str) -> None:
    assert language_in(environ) == language


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("", "http://127.0.0.1:11434"), ("localhost", "http://localhost:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104 - Ollama is told to bind so; nobody binds it here
        ("127.0.0.1:5000", "http://127.0.0.1:5000"), (":5000", "http://127.0.0.1:5000"), ("5000", "http://127.0.0.1:5000"),
        ("http://box:1/", "http://box:1"), ("https://box/ollama/", "https://box/ollama"), ("[::]:5", "http://[::1]:5"),
        ("what is/this", "http://127.0.0.1:11434"),
    ],
)  # fmt: skip
def test_ollamas_own_variable_says_where_it_is(said: str, url: str) -> None:
    assert Targets.of({"OLLAMA_HOST": said}).ollama == url


def test_the_other_variables_say_where_the_others_are() -> None:
    told = Targets.of({"LITELLM_URL": "http://127.0.0.1:4400", "OPENCLAW_GATEWAY_PORT": "19001"})
    assert (told.litellm, told.openclaw) == ("http://127.0.0.1:4400", "http://127.0.0.1:19001")


def _servers(nowhere: str) -> dict[str, str]:
    return dict.fromkeys(("litellm", "cliproxyapi", "ollama", "openclaw"), nowhere)
