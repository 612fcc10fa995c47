"""A daemon for one drill: `omni serve` as a process of its own, on data, keys and a configuration that are made up.

Nothing of the user's goes in: the environment is built from nothing but the search path, the directory is new, the port
is free, and every address in its configuration is the stage's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import msgspec

import omni
from omni.config import log_path, token_path
from omni.domain.errors import DaemonUnreachable
from omni.llm.keys import ModelKeys
from omni.ops.stage import Stage

LIGHT, HEAVY, LOCAL = "drill-light", "drill-heavy", "drill-local"
PROXY_KEY = "made-up-proxy-key"
KEYS = {
    "primary": {"anthropic": "made-up-primary-a", "openrouter": "made-up-primary-o"},
    "backup": {"anthropic": "made-up-backup-a", "openrouter": "made-up-backup-o"},
}
CLIENT = "drill"
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0
LOOK_S = 0.02
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class Pace(msgspec.Struct, frozen=True):
    """How quickly a drill goes. `dwell_s` and `check_interval_s` are the daemon's own settings of these names."""

    dwell_s: float = 15.0
    check_interval_s: float = 3.0
    steady_s: float = 3.0
    tasks_per_s: float = 3.0
    calls_per_s: float = 2.0
    drain_s: float = 90.0


Amend: TypeAlias = Callable[[Path, dict[str, Any]], dict[str, Any]]


class ThrowAway:
    """One data directory and one port; the daemon on them comes and goes.

    `amend` makes its configuration from the usual one and the directory.
    """

    def __init__(self, home: Path, stage: Stage, pace: Pace, amend: Amend = lambda _, usual: usual) -> None:
        self.data_dir = home / "data"
        self.port = _free_port()
        self._home = home
        self._said = home / "said.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._leash = _leash(home, self.environment)
        home.joinpath("config.yaml").write_bytes(msgspec.json.encode(amend(home, configuration(stage.url, pace))))

    @property
    def url(self) -> str:
        """Its address, for the API and for models."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        """The directory that is removed at the end."""
        return self._home

    @property
    def pid(self) -> int:
        """Its process, the newest one; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """How its process ended; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def log(self) -> Path:
        """Its event log."""
        return log_path(self.data_dir)

    @property
    def token(self) -> str:
        """Its login token; there once it is ready."""
        return token_path(self.data_dir).read_text("ascii").strip()

    @property
    def model_key(self) -> str:
        """A key of the model port, for a client called "drill"."""
        return ModelKeys.of(self.data_dir).client_key(CLIENT)

    async def start(self) -> None:
        """Start it and return when it says that it is ready. Raises DaemonUnreachable with its last words."""
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; it begins at once
                self._command("serve"),
                cwd=self._home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order
            )
        assert self._leash.stdin is not None
        self._leash.stdin.write(f"{self._process.pid}\n".encode())
        self._leash.stdin.flush()
        await self._ready(self._process)

    async def verify(self) -> int:
        """How much `omni verify` finds wrong with its log: broken rules, decisions that do not follow, and damage."""
        process = await asyncio.create_subprocess_exec(
            *self._command("verify", "--json"),
            cwd=self._home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        said, _ = await process.communicate()
        verdict = msgspec.json.decode(said)
        wrong = verdict["violations"] + len(verdict["damage"]) + verdict["redecided"]["divergences"]
        return 0 if verdict["ok"] else max(1, wrong)

    def kill(self) -> None:
        """SIGKILL, to this one process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """End it in order; by force when it takes too long."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):  # a drill measures the fault, and not its own end
                await asyncio.to_thread(process.wait, STOP_WITHIN_S)
        finally:  # cancelled, or too slow
            if process.poll() is None:
                self.kill()

    async def let_go(self) -> None:
        """Nothing is left that would have to be cleaned up, should we die."""
        assert self._leash.stdin is not None
        self._leash.stdin.close()
        await asyncio.to_thread(self._leash.wait)

    async def _ready(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_WITHIN_S
        async with httpx.AsyncClient(trust_env=False) as client:
            while not await _answers(client, f"{self.url}/readyz"):
                if process.poll() is not None or loop.time() > until:
                    raise DaemonUnreachable(
                        f"the daemon of the drill did not start: {self._last_words}", hint="omni version, and report it"
                    )
                await asyncio.sleep(LOOK_S)

    @property
    def _last_words(self) -> str:
        return self._said.read_text("utf-8", "replace")[-500:].strip() or "it said nothing"

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "omni.cli.main", *words, *self.options]

    @property
    def options(self) -> list[str]:
        """What a command line needs to find it."""
        where = {"--data-dir": self.data_dir, "--port": self.port, "--config": self._home / "config.yaml"}
        return [word for name, value in where.items() for word in (name, str(value))]

    @property
    def environment(self) -> dict[str, str]:
        """What its process knows: nothing of the user's."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, "HOME": str(self._home), "PYTHONPATH": str(Path(omni.__file__).parents[1]), "NO_COLOR": "1"}


@contextlib.asynccontextmanager
async def throw_away(stage: Stage, pace: Pace, amend: Amend = lambda _, usual: usual) -> AsyncIterator[ThrowAway]:
    """A daemon that is ready; stopped, and its directory removed, at the end of the block."""
    home = Path(tempfile.mkdtemp(prefix="omni-drill-"))
    daemon = ThrowAway(home, stage, pace, amend)
    try:
        await daemon.start()
        yield daemon
    finally:
        try:
            await daemon.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)
            await daemon.let_go()


def configuration(stage: str, pace: Pace) -> dict[str, Any]:
    """The configuration of the daemon, as its file says it; thresholds that are not named are the usual ones."""
    return {
        "lite_llm_url": f"{stage}/proxy",
        "lite_llm_key": PROXY_KEY,
        "api_keys": KEYS,
        "providers": {
            "anthropic": {"kind": "anthropic", "api_base": f"{stage}/anthropic", "default_model": "drill-claude"},
            "openrouter": {"kind": "openrouter", "api_base": f"{stage}/openrouter/api/v1", "default_model": "drill-or"},
        },
        "tiers": [
            {"name": "P1", "light": LIGHT, "heavy": LIGHT, "cost": "free"},
            {"name": "P2", "light": HEAVY, "heavy": HEAVY, "cost": "paid"},
        ],
        "brainstem": {"api_base": f"{stage}/ollama", "model": LOCAL},
        "fault_handler": {"dwell_s": pace.dwell_s, "check_interval": pace.check_interval_s},
        "limits": {"crash_loop_starts": 0, "drain_s": 0.2},  # it is killed on purpose, and its end is not the drill
        "mcp_servers": {"worker": {"adapter": "model", "types": ["general"], "max_concurrency": 8}},
    }


def _leash(home: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "omni.ops.leash", str(home)],
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # what ends us must not end it
    )


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url, timeout=2)).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
