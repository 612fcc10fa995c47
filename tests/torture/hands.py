"""A daemon with real hands in bad weather: Claude Code (a stub) and OpenClaw (a fake gateway), and their clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from tests.adapters.claude_code.yard import STUB
from tests.failover.scene import HASTE, Scene, Scripted
from tests.fakes.gateway import TOKEN
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.processes import FakeProxyProcess
from tests.torture.crowd import Crowd
from tests.torture.daemon_process import MARK, Someone, is_alive
from tests.torture.weather import Planned, Weather

from omni.adapters.workspaces.claims import Claim, Claims
from omni.runtime.ports import SystemClock

Json = dict[str, Any]
CLAUDE, CLAW = "claude", "claw"
GONE_S = 4.0  # a cloud is given up after two failed rounds of checks; so long it has to be gone to be missed
LIMITED_S = 2.0
KEEP = 4  # finished worktrees
TARGET_WITHIN_S, LOOK_S = 8.0, 0.1
# Part of the scene → its faults and how often each is chosen.
FAULTS = {
    "daemon": {"killed": 3, "ended": 2},
    "claude": {"adapter killed": 3, "adapter frozen": 2},
    "claw": {"adapter killed": 3, "adapter frozen": 2},
    "cli": {"program killed": 1},
    "gateway": {"gateway killed": 3, "gateway frozen": 2},
    "account": {"limited": 2, "overloaded": 2},
    "proxy": {"killed": 1},
    "sky": {"gone": 1},
}
PARTS = {"daemon": 2, "claude": 3, "claw": 3, "cli": 3, "gateway": 4, "account": 2, "proxy": 2, "sky": 2}
MODULES = {"claude": "omni.adapters.claude_code", "claw": "omni.adapters.openclaw"}
MIX = {"in the repository": 5, "anywhere": 2, "again": 2, "gateway": 6, "gateway again": 2, "model": 2, "refused": 1}
RULES = {**HASTE, "dwell_cap_s": 2.0, "repair_attempts": 0}


def stop_within_s() -> float:
    """How long an orderly stop may take; longer where many wait for a processor."""
    return 6.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2)


class HandsScene(Scene[FakeProxyProcess]):
    """The daemon, both executors, the user's repository, and what they talk to."""

    def __init__(self, home: Path, around: Scripted) -> None:
        self.state = home / "stub"
        self.state.mkdir()
        self.repository = _repository(home / "repository")
        self.gateway = GatewayProcess(home)
        notify = {"enabled": True, "events": ["mode", "held", "failed"]}
        servers = {CLAUDE: self._claude(home), CLAW: self._claw(home), "model": _marked(home, adapter="model")}
        super().__init__(
            home, around, mcp_servers=servers, fault_handler=RULES, notify=notify, allowed_workdirs=[str(home)]
        )
        self.before = self.shape()

    def close(self) -> None:
        self.gateway.end()
        for someone in self.daemon.marked():
            with suppress(ProcessLookupError):
                os.kill(someone.pid, signal.SIGCONT)
        super().close()

    def has_hands(self) -> bool:
        return all(each["health"]["state"] == "ready" for each in self.status()["executors"])

    # --- what is left ---------------------------------------------------------------------------------------------

    def ledger(self) -> list[Json]:
        """What the stub really did."""
        path = self.state / "ledger"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def claims(self) -> list[Claim]:
        return Claims(self.adapter_state / "workspaces", SystemClock()).all()

    @property
    def adapter_state(self) -> Path:
        return self.daemon.data_dir.resolve() / "adapters" / CLAUDE

    def keys_on_disk(self) -> list[Path]:
        return [path for path in (self.adapter_state / "runs").glob("*") if path.is_file()]

    def worktrees(self) -> set[str]:
        """The worktrees that the repository knows, without the user's own."""
        told = self.git("worktree", "list", "--porcelain").splitlines()
        found = {line.removeprefix("worktree ") for line in told if line.startswith("worktree ")}
        return found - {str(self.repository.resolve())}

    def made(self) -> dict[str, str]:
        """What was written on each of Omni's branches."""
        branches = self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/omni/").split()
        return {branch: self.git("show", f"{branch}:made.txt") for branch in branches if self._has_made(branch)}

    def _has_made(self, branch: str) -> bool:
        return "made.txt" in self.git("ls-tree", "--name-only", branch).splitlines()

    def strays(self) -> list[str]:
        """Worktrees and directories that nobody answers for, and claims that are half done."""
        claims = self.claims()
        roots = {str(self.adapter_state / "workspaces" / "trees" / each.id): each for each in claims}
        there = {str(each) for each in (self.adapter_state / "workspaces" / "trees").glob("*")}
        wrong = [f"{each} belongs to nobody" for each in (there | self.worktrees()) - roots.keys()]
        wrong += [f"{each.id} is still {each.state}" for each in claims if each.state in {"making", "going"}]
        states = Counter(str(each.state) for each in claims)
        return wrong + [
            f"{states[s]} worktrees are {s}" for s, most in (("ready", 1), ("kept", KEEP)) if states[s] > most
        ]

    def shape(self) -> Json:
        """All of the user's repository but what Omni may write there: objects, its branches and its worktrees."""
        ours = ("objects/", "refs/heads/omni", "logs/refs/heads/omni", "worktrees")
        files = {str(p.relative_to(self.repository)): p for p in self.repository.rglob("*") if p.is_file()}
        kept = {name: path for name, path in files.items() if not name.removeprefix(".git/").startswith(ours)}
        refs = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        shown = {"refs": [each for each in refs if not each.startswith("refs/heads/omni/")]}
        return shown | {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in kept.items()}

    def git(self, *words: str) -> str:
        line = ["git", "--no-optional-locks", "-C", str(self.repository), *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    # --- within ---------------------------------------------------------------------------------------------------

    def _claude(self, home: Path) -> Json:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        options = {"binary": str(STUB), "models": "port", "workspaces": {"keep": KEEP}}
        found = _marked(home, adapter="claude_code", options=options, max_concurrency=4, timeout_s=120)
        found["env"] |= {"STUB_STATE": str(self.state), "PATH": path}
        return found

    def _claw(self, home: Path) -> Json:
        options = {"token": TOKEN, "connect_s": 5}
        return _marked(home, adapter="openclaw", url=self.gateway.ws, options=options, timeout_s=240)


def _marked(home: Path, **entry: Any) -> Json:
    return {"env": {MARK: str(home)}, **entry}


def _repository(path: Path) -> Path:
    """A repository with a commit, and with work of the user that is not committed."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    (path / "kept.txt").write_text("kept\n")
    who = ["git", "-C", str(path), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*who, "add", "."], check=True)
    subprocess.run([*who, "commit", "-q", "-m", "Begin"], check=True)
    (path / "kept.txt").write_text("changed\n")
    (path / "new.txt").write_text("new\n")
    return path


class HandsWeather(Weather):
    """Breaks that scene. `stops` are the seconds that each orderly stop took; `struck` counts what was really hit."""

    scene: HandsScene

    def __init__(self, scene: HandsScene) -> None:
        super().__init__(scene)
        self._locks |= {part: asyncio.Lock() for part in ("claude", "claw", "cli", "gateway", "account")}
        self.stops: list[float] = []
        self.codes: list[int] = []
        self.struck: Counter[str] = Counter()
        self.chance = random.Random(0)

    def _rule(self, what: str) -> Callable[[Any, str, Planned], Awaitable[None]]:
        return _RULES.get(what) or super()._rule(what)

    async def ended(self, part: str, fault: Planned) -> None:
        """An orderly stop, and a start."""
        await asyncio.to_thread(self.stop)
        self.lives += 1
        await asyncio.to_thread(lambda: self.scene.daemon.start().ready())

    def stop(self) -> None:
        """Stop the daemon in order, and note how long it took and what it left."""
        began = time.monotonic()
        self.codes.append(self.scene.daemon.terminate(60))
        self.stops.append(time.monotonic() - began)

    async def adapter_killed(self, part: str, fault: Planned) -> None:
        for someone in await self._targets(MODULES[part]):
            self._strike(someone, signal.SIGKILL, f"{part} adapter killed")

    async def adapter_frozen(self, part: str, fault: Planned) -> None:
        them = await self._targets(MODULES[part])
        for someone in them:
            self._strike(someone, signal.SIGSTOP, f"{part} adapter frozen")
        await asyncio.sleep(min(fault.lasts_s, 6.0))
        for someone in them:
            self._strike(someone, signal.SIGCONT, "")

    async def program_killed(self, part: str, fault: Planned) -> None:
        them = sorted(await self._targets(STUB.name))
        if them:
            self._strike(them[int(fault.lasts_s * 1e6) % len(them)], signal.SIGKILL, "program killed")

    async def gateway_killed(self, part: str, fault: Planned) -> None:
        await asyncio.to_thread(self.scene.gateway.kill)
        self.struck["gateway killed"] += 1
        await asyncio.sleep(fault.lasts_s / 4)
        await asyncio.to_thread(self.scene.gateway.up)

    async def gateway_frozen(self, part: str, fault: Planned) -> None:
        self.scene.gateway.freeze()
        self.struck["gateway frozen"] += 1
        await asyncio.sleep(fault.lasts_s)
        self.scene.gateway.thaw()

    async def limited(self, part: str, fault: Planned) -> None:
        """The account has reached its limit, and knows until when."""
        await self._troubled(LIMITED_S, limited_until=int(time.time()) + LIMITED_S)  # noqa: TID251 - as the API says it

    async def overloaded(self, part: str, fault: Planned) -> None:
        await self._troubled(fault.lasts_s, says="overloaded")

    async def gone(self, part: str, fault: Planned) -> None:
        """No way to a model for long enough that the cloud is given up."""
        await self._killed(part, fault._replace(lasts_s=max(GONE_S, fault.lasts_s)))

    async def _troubled(self, for_s: float, **told: Any) -> None:
        trouble, draft = self.scene.state / "trouble.json", self.scene.state / "trouble.new"
        draft.write_text(json.dumps(told))
        draft.rename(trouble)
        await asyncio.sleep(for_s)
        trouble.unlink()

    async def _targets(self, words: str) -> list[Someone]:
        """The processes to strike; on a busy machine they may still be starting."""
        for _ in range(int(TARGET_WITHIN_S / LOOK_S)):
            if found := await asyncio.to_thread(self._processes, words):
                return found
            await asyncio.sleep(LOOK_S)
        return []

    def _processes(self, words: str) -> list[Someone]:
        found = []
        for someone in self.scene.daemon.marked():
            with suppress(psutil.Error):
                line = psutil.Process(someone.pid).cmdline()
                if any(words in word for word in line[:4]):
                    found.append(someone)
        return found

    def _strike(self, someone: Someone, number: signal.Signals, what: str) -> None:
        if is_alive(someone):
            with suppress(ProcessLookupError):
                os.kill(someone.pid, number)
                self.struck.update([what] if what else [])


_RULES: dict[str, Callable[[Any, str, Planned], Awaitable[None]]] = {
    "ended": HandsWeather.ended,
    "adapter killed": HandsWeather.adapter_killed,
    "adapter frozen": HandsWeather.adapter_frozen,
    "program killed": HandsWeather.program_killed,
    "gateway killed": HandsWeather.gateway_killed,
    "gateway frozen": HandsWeather.gateway_frozen,
    "limited": HandsWeather.limited,
    "overloaded": HandsWeather.overloaded,
    "gone": HandsWeather.gone,
}


class HandsCrowd(Crowd):
    """Clients that give both executors work, go on with earlier sessions, cancel, decide, and try ended tasks again."""

    def __init__(self, scene: HandsScene, model_key: str, seed: int, most: int, longest_ms: int) -> None:
        super().__init__(scene.daemon, model_key, seed)
        self._scene = scene
        self._left, self._longest_ms = most, longest_ms
        self._sessions: dict[str, deque[tuple[str, str]]] = {CLAUDE: deque(maxlen=6), CLAW: deque(maxlen=6)}

    def _next_task(self) -> Json:
        kind = self.chance.choices(list(MIX), list(MIX.values()))[0]
        key = f"{kind.replace(' ', '-')}-{next(self._numbers)}"
        found = {"idempotency_key": key, "wait_s": 0, **self._work(kind)}
        return found | {"description": f"{found['description']} mark:{key}"}

    async def _hand_in(self, door: Any, params: Json) -> None:
        while self._left <= 0 and not self._stopped.is_set():
            await self._rest(1, 1)
        if not self._stopped.is_set():
            await super()._hand_in(door, params)
            self._left -= 1

    def _work(self, kind: str) -> Json:
        takes_ms = self.chance.randint(100, self._longest_ms)
        mark = self.chance.choice(("takes", "takes", "litters"))
        here = {"workdir": str(self._scene.repository)}
        coding = {"executor": CLAUDE, "description": f"[[{mark}:{takes_ms}]]"}
        gateway = {"executor": CLAW, "description": f"[[slow:{takes_ms / 1000}]]"}
        match kind:
            case "in the repository":
                return coding | here
            case "again":
                session, workdir = self._earlier(CLAUDE)
                return coding | ({"session": session} if session else {}) | ({"workdir": workdir} if workdir else {})
            case "gateway":
                return gateway
            case "gateway again":
                session, _ = self._earlier(CLAW)
                return gateway | ({"session": session} if session else {})
            case "refused":
                return {"executor": CLAUDE, "description": "[[refused]]"}
            case "model":
                return {"executor": "model", "description": "say"}
        return coding

    def _earlier(self, executor: str) -> tuple[str, str]:
        known = self._sessions[executor]
        return self.chance.choice(known) if known else ("", "")

    async def _meddle_once(self, call: Any) -> None:
        """Cancel, decide about what is held, try again what was cancelled, learn what could be gone on with."""
        await super()._meddle_once(call)
        if self.chance.random() < 0.3:
            await self._again(call)
        for task in (await call("list_tasks", {"state": "completed", "limit": 5})).get("tasks", ()):
            if task.get("session") and task["executor"] in self._sessions:
                self._sessions[task["executor"]].append((task["session"], self._workdir_of(task["description"])))

    async def _again(self, call: Any) -> None:
        ended = (await call("list_tasks", {"state": "cancelled", "limit": 3})).get("tasks", ())
        if ended:
            told = await call("retry_task", {"task_id": self.chance.choice(ended)["id"]})
            self.meddling["again: " + str(told.get("state", "refused"))] += 1

    def _workdir_of(self, description: str) -> str:
        return str(self._scene.repository) if "mark:in-the-repository" in description else ""


@contextmanager
def hands_scene(home: Path, around: Scripted) -> Iterator[HandsScene]:
    """The scene with its gateway; nothing of it is left afterwards."""
    scene = HandsScene(home, around)
    try:
        scene.gateway.up()
        yield scene
    finally:
        scene.close()
