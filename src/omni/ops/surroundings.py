"""What is on this machine for Omni to work with: programs on the PATH, servers on loopback, keys in the environment.

All looks go side by side, and each has a bound. None costs anything, changes anything, or reads a secret: a server is
asked what it answers to anybody, and of a key only the variable's name is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from omni.executors.children import close_pipes, signal_group
from omni.llm.fresh import explain
from omni.ops.asking import Answer, whole

MAX_SAID_BYTES = 64 * 1024
MAX_NAME = 200
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")
_PACKAGE_LEVELS = 4  # from a program's real file up to the package.json of its package

# Variables that hold a key, and the provider that takes it. A file that names no variable is filled from these.
PRIMARY_KEYS: dict[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "openai": "OPENAI_API_KEY",
}
BACKUP_KEYS: dict[str, str] = {
    "anthropic": "ANTHROPIC_BACKUP_KEY",
    "openrouter": "OPENROUTER_BACKUP_KEY",
    "openai": "OPENAI_BACKUP_KEY",
}
PROXY_KEYS = ("LITE_LLM_KEY", "LITELLM_API_KEY", "LITELLM_MASTER_KEY")
CLIPROXY_KEYS = ("CLIPROXY_API_KEY", "CLIPROXYAPI_KEY")
OTHER_KEYS = (
    "GITHUB_LITELLM_KEY", "OPENCLAW_GATEWAY_TOKEN", "MOLTBOT_GATEWAY_TOKEN", "CF_ACCESS_CLIENT_ID",
    "CF_ACCESS_CLIENT_SECRET", "MEMOS_API_KEY",
)  # fmt: skip
KNOWN_KEYS = (*PRIMARY_KEYS.values(), *BACKUP_KEYS.values(), *PROXY_KEYS, *CLIPROXY_KEYS, *OTHER_KEYS)

_REACHED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what a server says that it binds
_PLACES: dict[str, tuple[str, ...]] = {
    "claude": ("~/.local/bin/claude", "~/.claude/local/claude", "/opt/homebrew/bin/claude"),
    "tailscale": ("/Applications/Tailscale.app/Contents/MacOS/Tailscale", "/opt/homebrew/bin/tailscale"),
}


class Targets(Struct, frozen=True, kw_only=True):
    """Where to look. `places`: where a program may be besides the PATH, by its name."""

    litellm: str = "http://127.0.0.1:4000"
    cliproxyapi: str = "http://127.0.0.1:8317"
    ollama: str = "http://127.0.0.1:11434"
    openclaw: str = "http://127.0.0.1:18789"
    within_s: float = 2.0
    places: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: dict(_PLACES))

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Targets:
        """The usual places, or those that the environment names: ours, Ollama's and OpenClaw's own variables."""
        usual = cls()
        return cls(
            litellm=environ.get("LITELLM_URL") or usual.litellm,
            ollama=_address(environ.get("OLLAMA_HOST", ""), 11434) or usual.ollama,
            openclaw=_address(environ.get("OPENCLAW_GATEWAY_PORT", ""), 18789) or usual.openclaw,
        )


def _address(said: str, port: int) -> str:
    """The URL that somebody means who says a port, a host, both, or all of it; empty for what is none of these."""
    host, colon, number = said.removeprefix("http://").rstrip("/").rpartition(":")
    if not colon:
        host, number = ("", number) if number.isdigit() else (number, str(port))
    if not said or not number.isdigit() or "/" in host:
        return said.rstrip("/") if said.startswith("https://") else ""
    return f"http://{_REACHED.get(host, host)}:{number}"


class Program(Struct, frozen=True):
    """A program: its full path (empty where it is not installed) and version (empty where it did not tell in time).

    `on_path`: whether its bare name starts it. `problem`: why there is no version.
    """

    name: str
    path: str = ""
    version: str = ""
    on_path: bool = False
    problem: str = ""

    @property
    def found(self) -> bool:
        """Whether it is installed."""
        return bool(self.path)


class Server(Struct, frozen=True):
    """A server at its usual place. `found`: it answered as what it is taken for; else `problem` says what there was.

    `models` are those that it names without being paid for it; empty also where it wants a key first (`locked`).
    """

    name: str
    url: str
    found: bool = False
    models: tuple[str, ...] = ()
    locked: bool = False
    version: str = ""
    problem: str = ""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What was found. `keys`: the names of variables that are set, never what they hold."""

    claude_code: Program
    openclaw: Program
    tailscale: Program
    litellm: Server
    cliproxyapi: Server
    ollama: Server
    openclaw_gateway: Server
    keys: tuple[str, ...] = ()
    language: str = "en"

    @property
    def programs(self) -> tuple[Program, ...]:
        """All programs that were looked for."""
        return (self.claude_code, self.openclaw, self.tailscale)

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers that were asked."""
        return (self.litellm, self.cliproxyapi, self.ollama, self.openclaw_gateway)


def look(targets: Targets | None = None, environ: Mapping[str, str] = os.environ) -> Surroundings:
    """Look at everything; takes about as long as the slowest look, at most a little more than `within_s`.

    `targets` None: the usual places, or those that the environment names.
    """
    return asyncio.run(look_around(targets, environ))


async def look_around(targets: Targets | None = None, environ: Mapping[str, str] = os.environ) -> Surroundings:
    """The same, for a caller with a loop of its own."""
    targets = targets or Targets.of(environ)
    looks: dict[str, Awaitable[Any]] = {
        "claude_code": find("claude", environ, targets),
        "openclaw": find("openclaw", environ, targets),
        "tailscale": find("tailscale", environ, targets),
        "litellm": _server("litellm", targets.litellm, _litellm, environ, targets.within_s),
        "cliproxyapi": _server("cliproxyapi", targets.cliproxyapi, _cliproxyapi, environ, targets.within_s),
        "ollama": _server("ollama", targets.ollama, _ollama, environ, targets.within_s),
        "openclaw_gateway": _server("openclaw", targets.openclaw, _openclaw, environ, targets.within_s),
    }
    found = dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))
    return Surroundings(**found, keys=keys_in(environ), language=language_in(environ))


def keys_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the known variables that hold something."""
    return tuple(name for name in KNOWN_KEYS if environ.get(name, "").strip())


def language_in(environ: Mapping[str, str]) -> str:
    """The language of messages that the locale asks for: zh or en."""
    said = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if said.lower().startswith("zh") else "en"


# --- programs -------------------------------------------------------------------------------------------------------


async def find(name: str, environ: Mapping[str, str], targets: Targets | None = None) -> Program:
    """One program by its name, and its version: from its package where it has one, else by `--version`."""
    targets = targets or Targets.of(environ)
    path, on_path = _located(name, environ, targets)
    if not path:
        return Program(name)
    version = await asyncio.to_thread(_packaged_version, path)
    problem = ""
    if not version:
        version, problem = await _told_version(path, environ, targets.within_s)
    return Program(name, path, version, on_path, problem)


def _located(name: str, environ: Mapping[str, str], targets: Targets) -> tuple[str, bool]:
    """The full path of a program, empty where there is none, and whether the PATH leads to it."""
    found = shutil.which(name, path=environ.get("PATH", ""))
    path = found or _elsewhere(targets.places.get(name, ()), environ)
    return (str(Path(path).absolute()), bool(found)) if path else ("", False)


def _elsewhere(places: Sequence[str], environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "")
    full = (home + place[1:] if place.startswith("~") else place for place in places)
    return next((each for each in full if os.access(each, os.X_OK) and Path(each).is_file()), "")


def _packaged_version(path: str) -> str:
    """What the package.json of a program says: one that runs on Node may take many seconds to say it itself."""
    directory = Path(path).resolve().parent
    for each in (directory, *directory.parents[: _PACKAGE_LEVELS - 1]):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            package = msgspec.json.decode((each / "package.json").read_bytes())
            if isinstance(package, dict) and isinstance(package.get("version"), str) and "bin" in package:
                return str(package["version"])
    return ""


async def _told_version(path: str, environ: Mapping[str, str], within_s: float) -> tuple[str, str]:
    """What `--version` says, and why it says nothing. What it started is ended with it."""
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", env=dict(environ), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return "", f"cannot be started: {error.strerror}"
    try:
        async with asyncio.timeout(within_s):
            assert process.stdout
            said = await process.stdout.read(MAX_SAID_BYTES)
            code = await process.wait()
    except TimeoutError:
        return "", f"did not tell its version within {within_s:g} s"
    finally:
        signal_group(process.pid, signal.SIGKILL)
        close_pipes(process)
        await process.wait()
    number = _VERSION.search(said.decode("utf-8", "replace"))
    return (number[0], "") if number else ("", f"told no version (exit code {code})")


# --- servers --------------------------------------------------------------------------------------------------------

Look = Callable[[Server, Mapping[str, str]], Awaitable[Server]]


async def _server(name: str, url: str, look: Look, environ: Mapping[str, str], within_s: float) -> Server:
    server = Server(name, url.rstrip("/"))
    try:
        async with asyncio.timeout(within_s):
            return await look(server, environ)
    except TimeoutError:
        return _not(server, f"something listens there and does not answer within {within_s:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _not(server, explain(error).detail)


async def _litellm(server: Server, environ: Mapping[str, str]) -> Server:
    answer = await whole(f"{server.url}/health/liveliness")
    if answer.status != 200 or b"alive" not in answer.body[:100].lower():
        return _not(server, "something else answers there")
    return await _with_models(server, next((environ[name] for name in PROXY_KEYS if environ.get(name)), ""))


async def _cliproxyapi(server: Server, environ: Mapping[str, str]) -> Server:
    answer = await whole(f"{server.url}/healthz")
    if answer.status != 200 or answer.member("status") != "ok":
        return _not(server, "something else answers there")
    return await _with_models(server, next((environ[name] for name in CLIPROXY_KEYS if environ.get(name)), ""))


async def _ollama(server: Server, environ: Mapping[str, str]) -> Server:
    del environ
    answer = await whole(f"{server.url}/api/tags")
    if answer.status != 200 or not isinstance(answer.member("models"), list):
        return _not(server, "something else answers there")
    return msgspec.structs.replace(server, found=True, models=_names(answer, "models", "name"))


async def _openclaw(server: Server, environ: Mapping[str, str]) -> Server:
    del environ
    answer = await whole(f"{server.url}/healthz")
    if answer.status != 200 or answer.member("ok") is not True:
        return _not(server, "something else answers there")
    return msgspec.structs.replace(server, found=True)


async def _with_models(server: Server, key: str) -> Server:
    """The server with the models that it lists, which costs nothing; with the key that a configuration would use."""
    answer = await whole(f"{server.url}/v1/models", {"Authorization": f"Bearer {key}"} if key else {})
    locked = answer.status in (400, 401, 403)
    return msgspec.structs.replace(server, found=True, models=_names(answer, "data", "id"), locked=locked)


def _not(server: Server, problem: str) -> Server:
    return msgspec.structs.replace(server, problem=problem)


def _names(answer: Answer, member: str, key: str) -> tuple[str, ...]:
    listed = answer.member(member)
    entries = (each for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
    return tuple(each[key] for each in entries if _is_name(each.get(key)))


def _is_name(said: Any) -> bool:
    """Whether a word of a server may be shown and written: a line end in it could say anything in a file."""
    return isinstance(said, str) and 0 < len(said) <= MAX_NAME and said.isprintable()
