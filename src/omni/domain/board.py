"""All tasks together: who may go next, who waits for what, which key stands for which task.

Theory of operation. The board is the Router's state: the fold of the streams `router` and `calls` and of every
`task-*` stream. Each task stands in exactly one *place*, which follows from its state alone; the index of places is
what makes every question cheap:

    ("queue", executor, 9 - priority)   idle, may go when the executor has a free slot; first come, first served
    ("delayed",)                        idle, not before `retry_at`
    ("running", executor)               dispatching or executing: takes a slot
    ("waiting", executor, 9 - priority) suspended for the cloud, nothing runs
    ("suspended", executor)             suspended, and its attempt still runs: takes a slot
    ("stranded",)                       held because no executor can take it; goes on when one comes
    ("capped",)                         held because a day's budget is used up; goes on with the next day
    ("held",)                           waits for a person

Beside the places stand two indexes by what was asked for: idempotency key → task, and (client, payload) → the tasks
that were made of it without a key, for clients that repeat themselves.

Ended tasks beyond KEEP_ENDED leave memory, oldest first; the log keeps them, and so does everything that reads the log.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from omni.domain import events as ev
from omni.domain import ledger as ledgers
from omni.domain import task as tasks
from omni.domain.ledger import CALL_EVENTS, Ledger, LedgerSnapshot
from omni.domain.task import Task
from omni.domain.values import ENDED, RUNNING, ExecutorHealth, ExecutorSpec, Millis, Mode, RoutingSettings, TaskState

KEEP_ENDED = 10_000
TOP = 9  # the highest priority; queues sort by `TOP - priority`

Place: TypeAlias = tuple[str | int, ...]
Fact: TypeAlias = tuple[int, str, Millis, Any]  # position, stream, time, event
_NOBODY: OrderedDict[str, None] = OrderedDict()
_ID_STARTS = len(ev.TASK_PREFIX)
OWN_STREAMS = frozenset({ev.ROUTER_STREAM, ev.CALLS_STREAM})
STREAMS = (ev.TASK_PREFIX, ev.ROUTER_STREAM, ev.CALLS_STREAM)  # what a board is folded from
# Python 3.11 makes a call of each look at a member of an enum: what every event needs is looked up once.
_IDLE, _WAITING, _HELD = TaskState.IDLE, TaskState.WAITING, TaskState.HELD


class BoardSnapshot(msgspec.Struct, frozen=True):
    """Everything that the index of places does not already follow from. Tasks stand in the order they were created."""

    tasks: tuple[Task, ...]
    ended: tuple[str, ...]
    settings: RoutingSettings
    health: dict[str, ExecutorHealth]
    version: int
    boot: str
    booted: int
    mode: Mode = "NORMAL"
    cleared: bool = False
    ramp: int = 0
    ramp_until: Millis = 0
    ramped: tuple[str, ...] = ()
    ledger: LedgerSnapshot = LedgerSnapshot()
    starts: tuple[Millis, ...] = ()
    pause: ev.DispatchPaused | None = None
    stopping: bool = False


class Board:
    """Mutable, owned by one actor, rebuilt from the log; tasks in it are frozen and may be shared."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.keys: dict[str, str] = {}
        self.asked: dict[tuple[str, str], dict[str, None]] = {}  # (client, digest) → ids, oldest first
        self.places: dict[Place, OrderedDict[str, None]] = {}
        self.waiting: dict[str, int] = {}  # executor → how many stand in its queue
        self.ended: deque[str] = deque()
        self.forgotten: deque[str] = deque(maxlen=KEEP_ENDED)  # left memory since they were last asked for
        self.settings = RoutingSettings()
        self.executors: dict[str, ExecutorSpec] = {}
        self.health: dict[str, ExecutorHealth] = {}
        self.version = 0
        self.boot = ""
        self.booted = 0  # where in the log this boot began
        self.mode: Mode = "NORMAL"
        self.cleared = False  # this boot's first round of probes is in
        self.ramp = 0  # after a suspension: how many restored tasks may run at once; 0: as many as there are slots
        self.ramp_until: Millis = 0  # and none is restored before
        self.ramped: dict[str, None] = {}  # those that were restored in this ramp and run
        self.ledger = Ledger()
        self.starts: tuple[Millis, ...] = ()  # the recent ones that ended without a word, and this one
        self.pause: ev.DispatchPaused | None = None  # of dispatch, in a crash loop
        self.stopping = False

    def at(self, *spot: str | int) -> OrderedDict[str, None]:
        """The ids that stand in one place, in order."""
        return self.places.get(spot, _NOBODY)

    def newest_asked(self, client: str, digest: str) -> Task | None:
        """The newest task that a client made of this payload without a key of its own."""
        ids = self.asked.get((client, digest))
        return self.tasks[next(reversed(ids))] if ids else None

    def newest_retry(self, task: Task) -> Task:
        """The newest task that was made to try this one again, directly or in turn; itself if there is none."""
        family = {task.id: task}
        for each in self.tasks.values():  # in the order in which they were created: no retry before what it repeats
            if each.spec.retry_of in family:
                family[each.id] = each
        return self.tasks[next(reversed(family))]

    def free_slots(self, executor: str) -> int:
        """How many more attempts an executor may be given."""
        spec = self.executors.get(executor)
        if spec is None:
            return 0
        places = self.places
        taken = len(places.get(("running", executor), _NOBODY)) + len(places.get(("suspended", executor), _NOBODY))
        return spec.max_concurrency - taken

    @property
    def cloud_slots(self) -> int:
        """How many attempts at once may need the cloud."""
        able = (e for e in self.executors.values() if e.needs_cloud and not e.unavailable)
        return sum(e.max_concurrency for e in able)

    @property
    def holds_back(self) -> bool:
        """Whether what needs the cloud waits: there is none, or it has just come back."""
        return self.mode == "BRAINSTEM" or self.ramp > 0

    def needs_cloud(self, executor: str) -> bool:
        """Whether an executor can do nothing without the cloud; of one that is no longer configured, who knows."""
        spec = self.executors.get(executor)
        return spec is None or spec.needs_cloud

    def next_in_queue(self, executor: str) -> Task:
        """The task that goes next: highest priority, then longest in the queue."""
        return self.tasks[next(self.queued(executor))]

    def queued(self, executor: str) -> Iterator[str]:
        """The ids in an executor's queue, in the order in which they go."""
        places = self.places
        for rank in range(TOP + 1):
            if ids := places.get(("queue", executor, rank)):
                yield from ids

    def waiting_for(self, executor: str) -> Iterator[str]:
        """The ids that are suspended on an executor and do not run, in the order in which they come back."""
        for rank in range(TOP + 1):
            yield from self.at("waiting", executor, rank)

    def spots(self, kind: str) -> list[str]:
        """The executors on which somebody stands in a place of this kind."""
        return list(dict.fromkeys(str(spot[1]) for spot, ids in self.places.items() if spot[0] == kind and ids))

    @property
    def open_tasks(self) -> int:
        """How many tasks have not ended."""
        return len(self.tasks) - len(self.ended)

    def take_forgotten(self) -> list[str]:
        """The ids that left memory since the last call."""
        gone = list(self.forgotten)
        self.forgotten.clear()
        return gone

    def snapshot(self) -> BoardSnapshot:
        """What has to be saved so that `restore` gives an equal board."""
        return BoardSnapshot(
            tuple(self.tasks.values()),
            tuple(self.ended),
            self.settings,
            dict(self.health),
            self.version,
            self.boot,
            self.booted,
            self.mode,
            self.cleared,
            self.ramp,
            self.ramp_until,
            tuple(self.ramped),
            self.ledger.snapshot(),
            self.starts,
            self.pause,
            self.stopping,
        )


def place(task: Task) -> Place:
    """Where a task stands; a function of its state, route and queue position alone."""
    state = task.state
    if state is _IDLE and task.route is not None:
        if task.retry_at is not None:
            return ("delayed",)
        return ("queue", task.route.executor, TOP - task.spec.priority)
    if state in RUNNING:
        return ("running", task.attempts[-1].route.executor)
    if state is _WAITING:
        running = task.open_attempt
        if running is not None:
            return ("suspended", running.route.executor)
        return ("waiting", task.route.executor if task.route else "", TOP - task.spec.priority)
    if state is _HELD and task.held is not None and task.held.kind == "no_executor":
        return ("stranded",)
    if state is _HELD and task.capped is not None and task.capped.alone:
        return ("capped",)
    return (state.value,)


def evolve(board: Board, stream: str, event: ev.TaskEvent | ev.RouterEvent, at: Millis, position: int) -> None:
    """Apply one recorded event of the Router's streams."""
    if stream == ev.ROUTER_STREAM:
        _EVOLVE_ROUTER[type(event)](board, event, position)
        board.version += 1
        return
    if type(event) in CALL_EVENTS:
        board.ledger.evolve(stream, event, at, board.settings.budget.utc_offset_ms)  # type: ignore[arg-type]
        if stream == ev.CALLS_STREAM:
            return
    task_id = stream[_ID_STARTS:]
    before = board.tasks.get(task_id)
    if before is not None:
        _move(board, before, tasks.evolve(before, event, at, position))  # type: ignore[arg-type]
    elif type(event) is ev.TaskCreated:
        _enter(board, tasks.created(task_id, event, at, position))
    # else: a late outcome for a task that has left memory; the log has it, and nothing here changes


def restore(snapshot: BoardSnapshot) -> Board:
    """Build the board that `snapshot` was taken of, places included."""
    board = Board()
    board.settings, board.health = snapshot.settings, dict(snapshot.health)
    board.version, board.boot, board.booted = snapshot.version, snapshot.boot, snapshot.booted
    board.mode, board.cleared = snapshot.mode, snapshot.cleared
    board.ramp, board.ramp_until, board.ramped = snapshot.ramp, snapshot.ramp_until, dict.fromkeys(snapshot.ramped)
    board.ledger = ledgers.restore(snapshot.ledger)
    board.starts, board.pause, board.stopping = snapshot.starts, snapshot.pause, snapshot.stopping
    board.executors = {e.name: e for e in snapshot.settings.executors}
    board.tasks = {t.id: t for t in snapshot.tasks}
    board.ended = deque(snapshot.ended)
    index(board)
    return board


def index(board: Board) -> None:
    """Build keys and places anew from the tasks, which stand in the order they were created."""
    board.keys, board.asked, board.places, board.waiting = {}, {}, {}, {}
    for task in board.tasks.values():
        _name(board, task)
    for task in sorted(board.tasks.values(), key=lambda t: t.queued):
        _stand(board, task)


def _enter(board: Board, task: Task) -> None:
    board.tasks[task.id] = task
    _name(board, task)
    _stand(board, task)


def _name(board: Board, task: Task) -> None:
    if task.spec.idempotency_key:
        board.keys[task.spec.idempotency_key] = task.id
    if task.digest and not task.spec.own_key:
        board.asked.setdefault((task.client, task.digest), {})[task.id] = None


def _stand(board: Board, task: Task) -> None:
    if not task.ended:
        _join(board, place(task), task.id)


def _move(board: Board, before: Task, after: Task) -> None:
    board.tasks[after.id] = after
    if board.ramp:
        count_ramped(board, before, after)
    if after.state is before.state and after.queued == before.queued and not _has_stopped(before, after):
        return  # the place follows from these, so it is the same
    if before.state in ENDED:
        return
    left = place(before)
    if after.state in ENDED:
        _leave(board, left, after.id)
        board.ended.append(after.id)
        forget_oldest(board)
    elif (joined := place(after)) == left:
        board.places[left].move_to_end(after.id)
    else:
        _leave(board, left, after.id)
        _join(board, joined, after.id)


def _has_stopped(before: Task, after: Task) -> bool:
    """Whether a suspended task's attempt has ended: it keeps state and rank, and frees its slot."""
    return after.state is _WAITING and before.open_attempt is not None and after.open_attempt is None


def _join(board: Board, spot: Place, task_id: str) -> None:
    ids = board.places.get(spot)
    if ids is None:
        board.places[spot] = ids = OrderedDict()
    ids[task_id] = None
    if spot[0] == "queue":
        board.waiting[str(spot[1])] = board.waiting.get(str(spot[1]), 0) + 1


def _leave(board: Board, spot: Place, task_id: str) -> None:
    del board.places[spot][task_id]
    if spot[0] == "queue":
        board.waiting[str(spot[1])] -= 1


def forget_oldest(board: Board) -> list[str]:
    """Let go of the tasks that ended first, beyond those that are kept; returns their ids."""
    left = []
    while len(board.ended) > KEEP_ENDED:
        gone = board.tasks.pop(board.ended.popleft())
        board.forgotten.append(gone.id)
        key = gone.spec.idempotency_key
        if key and board.keys.get(key) == gone.id:
            del board.keys[key]
        _forget_asked(board, gone)
        left.append(gone.id)
    return left


def _forget_asked(board: Board, gone: Task) -> None:
    ids = board.asked.get((gone.client, gone.digest), {})
    ids.pop(gone.id, None)
    if not ids:
        board.asked.pop((gone.client, gone.digest), None)


def count_ramped(board: Board, before: Task, after: Task) -> None:
    """Follow which tasks run since the cloud came back: they bound how many more may."""
    if after.open_attempt is None:
        board.ramped.pop(after.id, None)
    elif before.open_attempt is None and board.needs_cloud(after.open_attempt.route.executor):
        board.ramped[after.id] = None


def _started(board: Board, event: ev.RouterStarted, position: int) -> None:
    board.boot, board.booted = event.boot, position
    board.health = {}
    board.cleared = False
    board.starts, board.pause, board.stopping = event.starts, None, False


def _stopped(board: Board, event: ev.RouterStopped, position: int) -> None:
    board.starts, board.stopping = (), True


def _paused(board: Board, event: ev.DispatchPaused, position: int) -> None:
    board.pause = event


def _resumed(board: Board, event: ev.DispatchResumed, position: int) -> None:
    board.pause = None


def _configured(board: Board, event: ev.RoutingConfigured, position: int) -> None:
    board.settings = event.settings
    board.executors = {e.name: e for e in event.settings.executors}
    board.health = known_health(board.health, event.settings, event.anew)


def known_health(
    health: dict[str, ExecutorHealth], settings: RoutingSettings, anew: tuple[str, ...]
) -> dict[str, ExecutorHealth]:
    """What is known of the executors of these settings; nothing of those that are connected anew."""
    kept = {e.name for e in settings.executors}.difference(anew)
    return {name: each for name, each in health.items() if name in kept}


def _noted(board: Board, event: ev.ExecutorNoted, position: int) -> None:
    board.health[event.executor] = event.health


def _mode_noted(board: Board, event: ev.ModeNoted, position: int) -> None:
    board.mode, board.cleared = event.mode, event.cleared
    if event.mode == "BRAINSTEM":
        _end_ramp(board)


def _ramp_moved(board: Board, event: ev.RampMoved, position: int) -> None:
    board.ramp, board.ramp_until = event.window, event.until_ms or 0
    if not event.window:
        _end_ramp(board)


def _end_ramp(board: Board) -> None:
    board.ramp, board.ramp_until, board.ramped = 0, 0, {}


_EVOLVE_ROUTER: dict[type[Any], Callable[[Board, Any, int], None]] = {
    ev.RouterStarted: _started,
    ev.RouterStopped: _stopped,
    ev.DispatchPaused: _paused,
    ev.DispatchResumed: _resumed,
    ev.RoutingConfigured: _configured,
    ev.ExecutorNoted: _noted,
    ev.ModeNoted: _mode_noted,
    ev.RampMoved: _ramp_moved,
}
