"""All of Omni in one thread: real behaviours, kernels, shells and event log; clock, post and outside are the test's.

Nothing happens by itself. A step delivers some messages, or lets one actor take a turn, or moves an executor or a
clock; whoever drives the world draws the order. Per sender and receiver order is kept, as the real post does; any other
order is possible. A crash drops everything but the files: between turns, around an append, or between two sends.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from tests.sim.model import Judge
from tests.sim.outside import Call, Client, Hands, Ledger, VirtualClock
from tests.sim.overseer import Overseer
from tests.sim.sky import SETTINGS, TELLING, Sky

from omni.actors.brainstem import Brainstem
from omni.actors.executor_pool import ExecutorPool
from omni.actors.gateway import Gateway
from omni.actors.health_monitor import HealthMonitor
from omni.actors.router import Router
from omni.domain import board as boards
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain import executor_watch
from omni.domain.board import Board, Fact
from omni.domain.errors import LogUnavailable
from omni.domain.task import Task
from omni.domain.template import compile_template
from omni.domain.values import (
    ExecutorSpec,
    HealthSettings,
    Mode,
    RepairSettings,
    RoutingSettings,
    StartGuard,
    TaskSpec,
    Telling,
)
from omni.eventlog.codec import Codec
from omni.eventlog.snapshots import Snapshots
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry, EventStore, Head, OutcomeUnknown, Recorded, Row
from omni.eventlog.upcasters import UPCASTERS
from omni.replay import evidence
from omni.replay.divergence import Redecided
from omni.replay.verify import judge
from omni.runtime.archive import fold
from omni.runtime.kernel import Behaviour, Kernel
from omni.runtime.post import Post
from omni.runtime.shell import STORAGE, Mailbox, Shell

EXECUTORS = (
    ExecutorSpec("asker", types=("general",), max_concurrency=2, on_crash="ask"),
    ExecutorSpec("retrier", types=("coding",), max_concurrency=1, on_crash="retry"),
    ExecutorSpec("failer", types=("gpu",), max_concurrency=2, on_crash="fail"),
    ExecutorSpec("resumer", types=("research",), max_concurrency=1, on_crash="resume"),
    ExecutorSpec("dry", types=("dry",), max_concurrency=1, on_crash="retry", needs_cloud=False),
)
NO_GUARD = StartGuard(0)
KINDS = ("general", "coding", "gpu", "research", "dry")
SIZES = (256, 1, 2, 5)
CALM_ROUNDS = 2_000
MOVES_ON = (STORAGE, executor_watch.PAUSE_TIMER)  # timers of health that end in a calm world
CODEC = Codec(ev.AnyEvent, UPCASTERS)
ALARMS = {"message.rejected", "message.dropped"}  # log lines that no healthy run may write


class Due(NamedTuple):
    """When a timer rings, by which clock."""

    clock: str
    at: int


class Crash(BaseException):
    """The process ends here. Not an Exception: nothing inside may catch it."""


class Failpoints:
    """Counts the moments at which a crash or a disk error can strike, and strikes at the one that was chosen."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self._armed: dict[str, int] = {}

    def arm(self, kind: str, after: int = 0) -> None:
        self._armed[kind] = self.passed[kind] + after

    def disarm(self) -> None:
        self._armed.clear()

    def pending(self, kind: str) -> bool:
        return kind in self._armed

    def struck(self, kind: str) -> bool:
        """Whether this moment is the chosen one; each strikes once."""
        self.passed[kind] += 1
        if self._armed.get(kind) != self.passed[kind] - 1:
            return False
        del self._armed[kind]
        return True

    def crash(self, kind: str) -> None:
        if self.struck(kind):
            raise Crash(kind)


class FailingStore:
    """The real store, with a chance to die before and after each append, or to find the disk full."""

    def __init__(self, real: EventStore, failpoints: Failpoints) -> None:
        self._real = real
        self._failpoints = failpoints
        self.boot = real.boot
        self.uncertain: set[str] = set()  # requests whose turn may or may not have been written

    @property
    def head(self) -> Head:
        return self._real.head

    def read(
        self, after: int = 0, *, prefixes: Sequence[str] = (), until: int | None = None, check: bool = False
    ) -> Iterator[Recorded]:
        return self._real.read(after, prefixes=prefixes, until=until, check=check)

    def rows(self, after: int, until: int) -> Iterator[Row]:
        return self._real.rows(after, until)

    def recorded(self, row: Row) -> Recorded:
        return self._real.recorded(row)

    def facts(
        self, after: int, prefixes: Sequence[str], *, until: int | None = None, types: Sequence[str] = ()
    ) -> Iterator[Fact]:
        return self._real.facts(after, prefixes, until=until, types=types)

    def last(self, stream: str, type_name: str, until: int) -> Recorded | None:
        return self._real.last(stream, type_name, until)

    def at_ms(self, position: int) -> int | None:
        return self._real.at_ms(position)

    def erased(self) -> list[bytes]:
        return self._real.erased()

    def stream(self, stream: str) -> list[Recorded]:
        return self._real.stream(stream)

    def find_streams(self, prefix: str, limit: int) -> list[str]:
        return self._real.find_streams(prefix, limit)

    def hash_at(self, position: int) -> bytes | None:
        return self._real.hash_at(position)

    def close(self) -> None:
        self._real.close()

    def exclusive(self) -> AbstractContextManager[Head]:
        return self._real.exclusive()

    def append(self, entries: Sequence[Entry], *, from_reserve: bool = False) -> int:
        self._failpoints.crash("before append")
        if self._failpoints.struck("disk full"):
            raise LogUnavailable("the disk is full", hint="make room")
        if self._failpoints.struck("lost commit"):
            raise self._unknown(entries)
        position = self._real.append(entries, from_reserve=from_reserve)
        if self._failpoints.struck("kept commit"):
            raise self._unknown(entries)
        self._failpoints.crash("after append")
        return position

    def _unknown(self, entries: Sequence[Entry]) -> OutcomeUnknown:
        self.uncertain |= {r for e in entries if (r := request_of(e.input))}
        return OutcomeUnknown("the commit failed half way")


class SlowPost(Post):
    """Keeps what is sent until the world delivers it."""

    def __init__(self, failpoints: Failpoints) -> None:
        super().__init__()
        self._failpoints = failpoints
        self.lanes: dict[tuple[str, str], deque[Any]] = {}

    def send(self, to: str, sender: str, messages: Sequence[Any]) -> None:
        assert to in self._receivers, f"{sender} writes to {to}, whom nobody knows"
        self._failpoints.crash("before send")
        self.lanes.setdefault((sender, to), deque()).extend(messages)
        self._failpoints.crash("after send")

    def waiting(self) -> list[tuple[str, str]]:
        return [lane for lane, queue in self.lanes.items() if queue]

    def deliver(self, lane: tuple[str, str], size: int) -> None:
        queue = self.lanes[lane]
        sender, to = lane
        self._receivers[to](sender, [queue.popleft() for _ in range(min(size, len(queue)))])


class World:
    """One daemon, everything around it, and the judge. `directory` holds the files that outlive a crash."""

    def __init__(
        self,
        directory: Path,
        settings: RoutingSettings | None = None,
        *,
        compare: bool = True,
        armed: tuple[str, int] | None = None,
        watched: bool = False,
        telling: Telling = TELLING,
        guard: StartGuard = NO_GUARD,
    ) -> None:
        self.directory = directory
        self.compare = compare  # memory with the log after every step; with very many tasks, at the end only
        self.watched = watched  # the mode is HealthMonitor's, from what the sky shows; else it is the test's
        self.settings = settings or RoutingSettings(EXECUTORS, watched=watched)
        self.watch = SETTINGS  # what HealthMonitor looks at, where it does
        self.reloads = 0
        self.sky = Sky(self._from_above)
        self.telling = telling
        self.over = Overseer(telling)
        self.clock = VirtualClock()
        self.failpoints = Failpoints()
        if armed:
            self.failpoints.arm(*armed)
        self.ledger = Ledger()
        self.client = Client()
        self.judge = Judge()
        self.guard = self.judge.guard = guard
        self.mirror = Board()  # what the log alone says; read row by row as it grows
        self.streams: Counter[str] = Counter()
        self.requests: set[str] = set()  # that changed something, by the inputs in the log
        self.uncertain: set[str] = set()
        self.lives = self._count = 0
        self._logs = structlog.testing.capture_logs()
        self.alarms = self._logs.__enter__()
        self._try(self._boot)

    # --- life and death -------------------------------------------------------------------------------------------

    def crash(self, survivors: int = 0, settings: RoutingSettings | None = None) -> None:
        """Drop everything but the files as they are now, and start a new daemon on them."""
        self.settings = settings or self.settings
        self.failpoints.disarm()
        self._die(survivors)
        self._try(self._boot)

    def stop_in_order(self, pick: int) -> None:
        """Somebody asks the daemon to stop, and it does after what it is told meanwhile; a new one starts."""
        self._try(self.post.send, "router", "daemon", (cmd.DaemonDown("SIGTERM"),))
        self.settle(pick)
        self.crash()

    def go_on(self) -> None:
        """A person lets attempts begin again."""
        self._try(self.post.send, "router", "gateway", (cmd.ResumeDispatch("owner"),))

    def close(self) -> None:
        self.store.close()
        self._logs.__exit__(None, None, None)

    def _try(self, step: Any, *arguments: Any) -> None:
        """Take a step that may end in a crash; then the world goes on with a new daemon."""
        try:
            step(*arguments)
        except Crash:
            self._die(survivors=0b10101010)
            self._try(self._boot)
        self.look()

    def _die(self, survivors: int) -> None:
        self.ledger.crash(survivors)
        self.sky.crash()
        self.client.hung_up()
        self.uncertain |= self.store.uncertain
        # The files as a killed process leaves them: the write-ahead log is still there, nothing was tidied up.
        home = self._home()
        self.lives += 1
        shutil.copytree(home, self._home(), ignore=shutil.ignore_patterns("ballast*", "*.lock", "*-shm"))
        self.store.close()
        shutil.rmtree(home)

    def _home(self) -> Path:
        return self.directory / f"life-{self.lives}"

    def _boot(self) -> None:
        self._home().mkdir(exist_ok=True)
        self.store = FailingStore(SqliteEventStore.open(self._home() / "omni.db", CODEC), self.failpoints)
        self.post = SlowPost(self.failpoints)
        self.reloading = False
        self.timers: dict[tuple[str, str], Due] = {}
        self.hands = Hands(self.ledger, lambda report: self.post.send("pool", "hands", (report,)))
        self._register()
        self.shells: dict[str, Shell] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.kernels = {b.name: self._kernel(b) for b in self._behaviours()}
        for name, kernel in self.kernels.items():
            kernel.refold()
            self.mailboxes[name] = Mailbox()
            self.post.register(name, self.mailboxes[name].deliver)
            self._start(name)
        self._announce()

    def _behaviours(self) -> list[Behaviour[Any]]:
        dry_runs = {"dry": compile_template({"description": "{description}"})}
        return [Brainstem(), HealthMonitor(), Router(), ExecutorPool(dry_runs), Gateway(open_limit=200)]

    def _kernel(self, behaviour: Behaviour[Any]) -> Kernel[Any]:
        return Kernel(behaviour, self.store, self.clock, Snapshots(self._home() / "snapshots"))

    def _register(self) -> None:
        adapters: dict[str, Callable[[Any], None]] = {
            "hands": self.hands.receive,
            "timers": self._set_timer,
            "door": self._to_client,
            **dict.fromkeys(("probes", "local", "notifier"), self.sky.receive),
            "port": lambda _message: None,
            "reload": self._reload_on,
        }
        for name, receive in adapters.items():
            self.post.register(name, partial(each, receive))
        self.post.register("journal", lambda _sender, _tasks: None)

    # --- another configuration within a boot ----------------------------------------------------------------------

    def reload(self, settings: RoutingSettings, watch: HealthSettings | None = None, anew: Sequence[str] = ()) -> None:
        """The file on disk is another one, and the daemon is told to take it up; as `omni.reloading` does it."""
        if self.reloading:
            return  # one at a time
        self.reloading = True
        known = {each.name for each in self.settings.executors}
        names = tuple(each.name for each in settings.executors if each.name not in known or each.name in anew)
        self.reloads += 1
        self._before, self._anew = self.settings, names
        self.settings, self.watch = settings, watch or self.watch
        changed = cmd.ConfigChanged("config", f"digest-{self.reloads}", {}, self._repair, self.telling)
        self._try(self.post.send, "brainstem", "daemon", (changed,))

    def _reload_on(self, reply: cmd.Reply) -> None:
        """Each step once the one before it is written down; where that cannot be, all stays as it was."""
        if reply.request == "config" and reply.payload is not None:
            self.settings, self.reloading = self._before, False
        elif reply.request == "config":
            if self.watched:
                self.post.send("health", "daemon", (cmd.StartWatch(self.store.boot, self.watch, self._anew),))
            self.post.send("router", "daemon", (cmd.Reconfigure("settings", self.settings, self._anew),))
        else:
            dry = {"dry": {"description": "{description}"}} if "dry" in self.names else {}
            self.post.send("pool", "daemon", (cmd.StaffChanged(dry),))
            self.reloading = False

    @property
    def _repair(self) -> RepairSettings:
        return RepairSettings("retrier" if self.watched else "", backoff_ms=1_000, backoff_cap_ms=8_000)

    def _announce(self) -> None:
        digest = f"digest-{self.reloads}"
        up = cmd.DaemonUp("0", 1, self.store.boot, digest, {}, repair=self._repair, telling=self.telling)
        if self.watched:
            self.post.send("health", "daemon", (cmd.StartWatch(self.store.boot, self.watch),))
        self.post.send("brainstem", "daemon", (up,))
        for name in ("gateway", "router", "pool"):
            self.post.send(name, "daemon", (cmd.Boot(self.store.boot, self.settings, self.guard),))

    def _start(self, name: str) -> None:
        """Make the actor as its thread would; the turns are ours to give."""
        self.shells[name] = Shell(self.kernels[name], self.mailboxes[name], self.post, self._on_death)
        thread = threading.current_thread()
        own_name = thread.name
        self.shells[name].on_start()
        thread.name = own_name

    def _on_death(self, name: str, error: BaseException) -> None:
        """What the supervisor does, in its order."""
        self.kernels[name].refold()
        self._start(name)
        for send in self.kernels[name].owed():
            self.post.send(send.to, name, (send.message,))

    # --- steps ----------------------------------------------------------------------------------------------------

    def step(self, pick: int) -> bool:
        """Deliver some messages or give one actor a turn, as `pick` says; false when there is nothing to do."""
        options: list[Any] = [*self.post.waiting(), *self.awake()]
        if not options:
            return False
        chosen = options[pick % len(options)]
        if isinstance(chosen, tuple):
            self._try(self.post.deliver, chosen, SIZES[pick // 64 % len(SIZES)])
        else:
            self._try(self._turn, chosen)
        return True

    def settle(self, pick: int = 0) -> None:
        """Deliver everything, until all mailboxes are empty."""
        for _ in range(CALM_ROUNDS):
            if not self.step(pick):
                return
        raise AssertionError("the actors never come to rest")

    def awake(self) -> list[str]:
        return [name for name, shell in self.shells.items() if not shell.actor_inbox.empty()]

    def _turn(self, name: str) -> None:
        shell = self.shells[name]
        wake_up = shell.actor_inbox.get()
        try:
            shell.on_receive(wake_up.message)
        except Exception as error:
            if not isinstance(error, OutcomeUnknown):
                raise
            shell.on_failure(type(error), error, error.__traceback__)

    def act(self, pick: int, what: int) -> None:
        self._try(self.hands.act, pick, what)

    def does(self, task_id: str, step: str) -> None:
        """The executor of a task's newest attempt takes a step, and everybody hears of it."""
        call = [c for c in self.hands.calls if c.task_id == task_id][-1]
        self.take(call, step)
        self.settle()

    def take(self, call: Call, step: str) -> None:
        self._try(self.hands.take, call, step)

    def report(self, message: Any) -> None:
        """Something comes from the executors that nobody waits for."""
        self._try(self.post.send, "pool", "hands", (message,))

    @property
    def names(self) -> set[str]:
        """The executors that are configured now."""
        return {e.name for e in self.settings.executors}

    def observe(self, executor: str, *, ok: bool) -> None:
        detail = "" if ok else "connection refused"
        self._try(self.post.send, "pool", "hands", (cmd.ExecutorObserved(executor, ok=ok, detail=detail),))

    def rests(self, executor: str, for_ms: int) -> None:
        """An executor says that it can take nothing for a while."""
        self._try(self.post.send, "pool", "hands", (cmd.ExecutorPaused(executor, for_ms, "its account's limit"),))

    def turns(self, mode: Mode) -> None:
        """HealthMonitor has come to another view of the world. For worlds that nobody watches."""
        assert not self.watched, "the mode is derived"
        self._try(self.post.send, "router", "health", (cmd.NoteMode(mode, reason="as observed", cleared=True),))

    def everyone_ready(self) -> None:
        for executor in self.settings.executors:
            self.observe(executor.name, ok=True)

    def fire(self) -> None:
        """Ring the timers whose time has come, each by its own clock."""
        for actor, key in [t for t in self.timers if self._wait_ms(t) <= 0]:
            if self.timers.pop((actor, key), None) is None:
                continue  # a crash on the way has emptied the list
            self._try(self.post.send, actor, "timers", (cmd.TimerFired(key),))

    def new_name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}-{self._count:04}"

    def submit(
        self,
        kind: str = "general",
        description: str = "say hello",
        *,
        wait: bool = False,
        within_ms: int = 0,
        **spec: Any,
    ) -> str:
        """A client hands in a task; its id, if it is accepted as a new one. `within_ms`: the client repeats itself."""
        task_id = self.new_name("t")
        self.client.seen.append(task_id)
        task = TaskSpec(description, type=kind, **spec)
        self.ask(cmd.Submit(self.new_name("r"), task_id, task, "client", wait, within_ms))
        return task_id

    def ask(self, message: Any) -> str:
        """A client's request goes to the Gateway; its name."""
        self._try(self.post.send, "gateway", "door", (self.client.ask(message),))
        return str(message.request)

    def _set_timer(self, wake: cmd.WakeAt | cmd.WakeIn) -> None:
        due = Due("wall", wake.at) if isinstance(wake, cmd.WakeAt) else Due("mono", self.clock.mono + wake.delay_ms)
        self.timers[wake.actor, wake.key] = due

    def _wait_ms(self, timer: tuple[str, str]) -> int:
        due = self.timers[timer]
        return due.at - (self.clock.wall if due.clock == "wall" else self.clock.mono)

    def _from_above(self, to: str, sender: str, message: Any) -> None:
        self._try(self.post.send, to, sender, (message,))

    def calls(self, target: str, pick: int) -> None:
        """Somebody calls a model, and the port tells what came of it."""
        to, _, seen = self.sky.seen(target, "call", pick)
        self._from_above(to, "port", seen)

    # --- the calm after the storm ---------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let all executors answer, all timers ring and all messages arrive, until nothing is left to happen."""
        self.failpoints.disarm()
        self.settle()
        self.sky.heal()
        if self.watched:
            self.ask(cmd.ForceMode(self.new_name("r"), brainstem=False, by="owner"))
        else:
            self.turns("NORMAL")
        self.everyone_ready()
        for _ in range(CALM_ROUNDS):
            self.settle()
            self.told_to_stop()
            if self.hands.finish() or self.sky.answer(0):
                continue
            looking = self.watched and (self.judge.mode != "NORMAL" or not self.judge.cleared)
            ringing = [
                self._wait_ms(t) for t in self.timers if looking or t[0] != "health" or t[1].startswith(MOVES_ON)
            ]
            if not ringing:
                break
            self.clock.run(max(0, min(ringing)))
            self.fire()
        else:
            raise AssertionError("the world does not calm down")
        self.check_end()

    # --- checks ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What must hold after every step: the log is legal, and memory is what the log says."""
        for row in self.store.read(self.judge.position):
            self.judge.see(row)
            self.streams[row.stream] += 1
            request = request_of(row.input)
            if request:
                self.requests.add(request)
            if row.stream.startswith(Router.prefixes):
                replay(self.mirror, row)
            self.over.see(row)
        self.judge.at_rest()
        self.over.at_rest(self.kernels["health"].state, self.clock.wall)
        if self.compare:
            assert_equal(self.kernels["router"].state, self.mirror)
        assert self.kernels["health"].state.version == self.streams[ev.HEALTH_STREAM]
        assert self.kernels["brainstem"].state.version == self.streams[ev.SYSTEM_STREAM]
        alarms = [a for a in self.alarms if a["event"] in ALARMS]
        assert not alarms, alarms

    def told_to_stop(self) -> None:
        """When all messages have arrived, every executor that works on a cancelled task has been told."""
        for call in self.hands.calls:
            life = self.judge.lives.get(call.task_id)
            if life is not None and life.cancel and call.live:
                assert call.stop, f"nobody told the executor to stop {call.task_id}"

    def check_log(self) -> None:
        """What takes a while: acknowledged tasks are there, refused requests are not, a full replay agrees."""
        lost = set(self.client.acknowledged) - set(self.judge.lives)
        assert not lost, f"acknowledged and lost: {lost}"
        refused = {r for r, kind in self.client.refused.items()} & self.requests
        sure = refused - self.uncertain - self.store.uncertain
        assert not sure, f"refused, and done all the same: {[self.client.asked[r] for r in sure]}"
        replayed = Board()
        for row in self.store.read(prefixes=Router.prefixes, check=True):
            replay(replayed, row)
        assert_equal(self.kernels["router"].state, replayed)
        assert_equal(self.kernels["router"].state, boards.restore(replayed.snapshot()))

    def check_end(self) -> None:
        """When nothing is left to happen: no task is stuck, no question is open, everybody knows the same."""
        self.check_log()
        report = judge(self.store._real, self.store.head)
        assert report.ok, report.findings
        self.check_decisions(report.redecided)
        assert self.judge.mode == "NORMAL", f"all is well, and the mode is {self.judge.mode}"
        if self.watched:
            self.over.at_end(self.sky)
        for life in self.judge.lives.values():
            assert life.state in {"ended", "held"}, f"{life.id} is stuck: {life.state}"
            if life.cancel or life.id in self.client.cancelled:
                assert life.terminal in {"task.cancelled", "task.completed"}, f"{life.id} forgot its cancel"
            if life.state == "held" and life.held == "no_executor":
                given_up = sum(t.outcome == "unsent" for t in life.tries) >= 8
                able = {e.name for e in self.settings.executors if {life.spec.type, "general"} & {*e.types}}
                assert given_up or life.spec.executor not in {None, *self.names} or not able, f"{life.id} is stranded"
        self.over.all_answered(self.judge.lives.values(), self.sky)
        for which, work in self.ledger.work.items():
            life = self.judge.lives[work.task_id]
            assert which[1] <= len(life.tries), f"{which} was begun, and the log knows nothing of it"
        unanswered = [q for q in self.client.open.values() if not isinstance(q, cmd.Follow | cmd.Forget)]
        assert not unanswered, f"never answered: {unanswered}"
        gateway = self.kernels["gateway"].state
        assert gateway.tasks == self.kernels["router"].state.tasks, "the Gateway knows other tasks than the Router"
        counts = Counter(t.state for t in gateway.tasks.values())
        assert +gateway.counts == counts, f"{gateway.counts} counted, {counts} there"

    def check_decisions(self, redecided: Redecided) -> None:
        """The rules give every event again; what cannot be known is what an actor that died had seen."""
        assert redecided.first is None, msgspec.json.format(msgspec.json.encode(redecided.first)).decode()
        assert set(redecided.undecided) <= {evidence.CLOCK_MOVED, evidence.FORGOTTEN}, redecided.undecided
        assert redecided.commands or not self.judge.lives

    def _to_client(self, message: Any) -> None:
        """Nothing is said to a client that the log does not say."""
        payload = getattr(message, "payload", None)
        if isinstance(payload, Task):
            rows = [r for r in self.store.stream(payload.stream) if r.position <= payload.position]
            assert fold(payload.id, rows) == payload, f"{payload.id} was told before it was written"
        self.client.receive(message)


def each(receive: Callable[[Any], None], _sender: str, messages: Sequence[Any]) -> None:
    for message in messages:
        receive(message)


def assert_equal(left: Board, right: Board) -> None:
    """Both boards are the same, and would go on in the same way."""
    assert left.snapshot() == right.snapshot()
    assert left.keys == right.keys
    assert left.executors == right.executors
    assert {n: c for n, c in left.waiting.items() if c} == {n: c for n, c in right.waiting.items() if c}
    assert places(left) == places(right)


def replay(board: Board, row: Recorded) -> None:
    boards.evolve(board, row.stream, row.event, row.at_ms, row.position)  # type: ignore[arg-type]


def places(board: Board) -> dict[Any, Any]:
    """Who stands where; only a queue has an order that matters."""
    return {p: frozenset(q) if p[0] == "running" else list(q) for p, q in board.places.items() if q}


def request_of(raw: bytes | None) -> str:
    """The request that an input in the log carries; empty for reports."""
    if raw is None:
        return ""
    return str(msgspec.json.decode(raw)["message"].get("request", ""))
