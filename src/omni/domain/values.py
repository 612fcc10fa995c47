"""The nouns: task, attempt, route, result. Money in US dollars, time in milliseconds since the epoch."""

from __future__ import annotations

import enum
from typing import Any, Literal, TypeAlias

import msgspec

Millis: TypeAlias = int
OnCrash: TypeAlias = Literal["resume", "retry", "ask", "fail"]
Decision: TypeAlias = Literal["retry", "accept", "fail"]
HealthState: TypeAlias = Literal["unknown", "ready", "failed", "paused"]
Mode: TypeAlias = Literal["NORMAL", "DEGRADED", "BRAINSTEM"]
Cause: TypeAlias = Literal["", "proxy", "network", "cloud", "no_path", "operator"]
ComponentState: TypeAlias = Literal["up", "down", "absent"]
KeyRole: TypeAlias = Literal["primary", "backup"]
KeyState: TypeAlias = Literal["ok", "invalid", "cooldown", "absent"]
BreakerState: TypeAlias = Literal["closed", "open"]
Source: TypeAlias = Literal["probe", "call", "ping"]
CostSource: TypeAlias = Literal["provider", "table", "unknown"]
AtCap: TypeAlias = Literal["hold", "degrade", "ask"]

PROXY = "proxy"  # the channel and the component; clouds go by the names of their providers
LOCAL_MODEL = "brainstem"  # the channel of the model on this machine
BRIDGE_KEY = "bridge-"  # begins the keys that the stdio bridge makes, so that it can send again
MOST_USD = 1_000_000.0  # no single call costs more; a larger amount is a mistake or a lie

DAY_CAP = "day"
TASK_CAP = "task"  # names of caps; any other is that of a tier or channel

MAX_ATTEMPTS = 3  # crashes count (failover.md: an attempt survives a crash honestly)
DEFAULT_PRIORITY = 5


class TaskState(enum.StrEnum):
    """Where a task is; the first six are the owner's, `held` waits for a person."""

    IDLE = "idle"
    DISPATCHING = "dispatching"
    EXECUTING = "executing"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"


ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})
RUNNING = frozenset({TaskState.DISPATCHING, TaskState.EXECUTING})


class AttemptState(enum.StrEnum):
    """Where one attempt is; `interrupted` means that its outcome is not known."""

    PLANNED = "planned"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


OPEN_ATTEMPT = frozenset({AttemptState.PLANNED, AttemptState.STARTED})


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a client asked for; the payload that an idempotency key stands for."""

    description: str
    type: str | None = None
    executor: str | None = None
    tier: str | None = None
    model: str | None = None
    priority: int = DEFAULT_PRIORITY
    budget_usd: float | None = None
    workdir: str | None = None
    session: str | None = None
    timeout_s: float | None = None
    idempotency_key: str | None = None
    labels: tuple[str, ...] = ()
    retry_of: str | None = None
    reply_to: str | None = None  # "channel:target": the conversation that hears how it ended

    @property
    def own_key(self) -> bool:
        """Whether the client itself named this request; a key that our bridge made names one sending of it."""
        return bool(self.idempotency_key) and not str(self.idempotency_key).startswith(BRIDGE_KEY)


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an executor gave back: text for people, `structured` for programs."""

    content: str = ""
    structured: Any = None


class TaskError(msgspec.Struct, frozen=True, gc=False):
    """Why a task or attempt failed; `kind` is stable, `hint` names the next command."""

    kind: str
    message: str
    hint: str = ""


class Held(msgspec.Struct, frozen=True, gc=False):
    """Why a task waits for a person, and what the person may decide."""

    kind: str
    reason: str
    options: tuple[Decision, ...] = ()


class Route(msgspec.Struct, frozen=True, gc=False):
    """Who does it and on which model channel; `tier` and `model` may be empty where the executor needs none."""

    executor: str
    tier: str = ""
    model: str = ""
    mode: Mode = "NORMAL"


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One executor in a routing decision; `rejected` says why it was out, empty when it was in the running."""

    executor: str
    score: int
    reasons: tuple[str, ...] = ()
    rejected: str = ""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens that were used, as the provider counted them. Input includes what was read from and written to a cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try at a task. `key` is the executor's idempotency key, `handle` the session id that we made for it."""

    n: int
    route: Route
    key: str
    handle: str
    state: AttemptState
    policy: OnCrash
    planned_at: Millis
    timeout_ms: int
    idle_timeout_ms: int
    position: int = 0  # of its plan in the log: tells a daemon its own attempts from those of the one before
    resume: bool = False
    started_at: Millis | None = None
    ended_at: Millis | None = None
    error: TaskError | None = None
    pid: int | None = None
    session: str = ""
    orderly: bool = False  # interrupted by its executor, at a point from which it can go on

    @property
    def open(self) -> bool:
        """Whether an outcome may still come."""
        return self.state in OPEN_ATTEMPT


class ExecutorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What routing and dispatch need to know of an executor; the connection details stay in the configuration."""

    name: str
    types: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    local: bool = False
    gpu: bool = False
    always_on: bool = False
    needs_cloud: bool = True
    max_concurrency: int = 4
    timeout_ms: int = 3_600_000
    idle_timeout_ms: int = 600_000
    on_crash: OnCrash = "resume"
    unavailable: str = ""  # a reason that no health report can change: disabled, or an adapter this version lacks


class Tier(msgspec.Struct, frozen=True, gc=False):
    """One rung of the model ladder, cheapest first."""

    name: str
    light_model: str = ""
    heavy_model: str = ""
    paid: bool = False


class Budget(msgspec.Struct, frozen=True):
    """Caps on spending, None for no cap; a day begins at midnight, `utc_offset_ms` away from UTC.

    `channel_usd` caps a day's spending on single tiers and channels, by name.
    """

    daily_usd: float | None = None
    task_usd: float | None = None
    at_cap: AtCap = "hold"
    utc_offset_ms: int = 0
    channel_usd: dict[str, float] = {}


class Capped(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Which cap a task ran into: "day", "task", or the name of a tier or channel; `day` counts days since the epoch.

    `estimate_usd`, `tier` and `channel` are those of the call that did not fit, so that the same question can be put
    again when there is more room; `alone`: then the task goes on without anybody's word.
    """

    cap: str
    day: int
    at_cap: AtCap
    reason: str
    estimate_usd: float | None = None
    tier: str = ""
    channel: str = ""
    alone: bool = False


class Meter(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the model calls of one task came to: what counts against its caps, and the newest attempt that made one.

    `lifted` names the caps that a person raised by one more of the same, once for each time.
    """

    spent_usd: float = 0.0
    n: int = 0
    lifted: tuple[str, ...] = ()


class RoutingSettings(msgspec.Struct, frozen=True):
    """The part of the configuration that decisions depend on; it enters the log, so that replay decides alike."""

    executors: tuple[ExecutorSpec, ...] = ()
    tiers: tuple[Tier, ...] = ()
    complexity_threshold: int = 50
    budget: Budget = Budget()
    tells_failures: bool = False  # the user wants to hear of every task that failed
    watched: bool = False  # HealthMonitor has something to look at: nothing that needs the cloud goes before it has


class StartGuard(msgspec.Struct, frozen=True, gc=False):
    """How many starts within which time are no crash loop yet; with `most` 0 none are counted."""

    most: int = 5
    within_ms: int = 600_000


class Thresholds(msgspec.Struct, frozen=True, gc=False):
    """When a component counts as down, and when as up again (`fault_handler` of the configuration)."""

    proxy_every_ms: int = 2_000
    proxy_timeout_ms: int = 1_000
    proxy_confirm_ms: int = 500
    proxy_failures: int = 2
    proxy_successes: int = 2
    proxy_recent_ms: int = 10_000
    rate_percent: int = 50
    rate_window: int = 10
    rate_minimum: int = 5
    dwell_ms: int = 15_000
    dwell_cap_ms: int = 600_000
    cloud_every_ms: int = 30_000
    cloud_timeout_ms: int = 10_000
    cloud_failures: int = 3
    cloud_span_ms: int = 5_000
    cloud_successes: int = 2
    cloud_successes_cap: int = 6
    jump_ms: int = 5_000
    grace_ms: int = 20_000


class HealthSettings(msgspec.Struct, frozen=True):
    """What HealthMonitor watches and by which thresholds; it enters the log. Keys by the clouds that have one."""

    proxy: bool = False
    clouds: tuple[str, ...] = ()
    primary_keys: tuple[str, ...] = ()
    backup_keys: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One observation as it is kept beside the edge that it led to; `verdict` is a word of `omni.domain.verdict`."""

    at: Millis
    source: Source
    verdict: str
    detail: str = ""


class RepairCommand(msgspec.Struct, frozen=True, gc=False):
    """One command of the runbook that a repair may run."""

    name: str
    description: str = ""


class RepairSettings(msgspec.Struct, frozen=True, gc=False):
    """How Brainstem has the proxy repaired; no executor means that nobody can. `where` is the proxy's address.

    `kept`: the executor lets a repair run these `commands` and read these `logs`, and nothing else.
    """

    executor: str = ""
    where: str = ""
    attempts: int = 5
    backoff_ms: int = 60_000
    backoff_cap_ms: int = 600_000
    budget_usd: float | None = None
    kept: bool = False
    commands: tuple[RepairCommand, ...] = ()
    logs: tuple[str, ...] = ()


class NoticeSink(msgspec.Struct, frozen=True, gc=False):
    """One way to people. The name "" stands for whatever there is, as one queue: logs from before sinks had names.

    `people`: it reaches somebody who may be asleep; `owner`: it is owed every notice; `addressed`: it can tell a notice
    to the one address that the notice names; `executor`: which executor carries what it tells, if one does.
    """

    name: str
    people: bool = False
    owner: bool = True
    addressed: bool = False
    executor: str = ""


class QuietHours(msgspec.Struct, frozen=True, gc=False):
    """From which minute of the local day to which people are told of nothing but `kinds`."""

    from_min: int
    to_min: int
    kinds: tuple[str, ...] = ()
    utc_offset_ms: int = 0


class Telling(msgspec.Struct, frozen=True, gc=False):
    """Whom notices are owed to, and when people are left in peace."""

    sinks: tuple[NoticeSink, ...] = (NoticeSink(""),)
    quiet: QuietHours | None = None


class ExecutorHealth(msgspec.Struct, frozen=True, gc=False):
    """What is known of an executor's health; `until_ms` is set while it is paused."""

    state: HealthState = "unknown"
    reason: str = ""
    until_ms: Millis | None = None
