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
    """Tokens that an attempt used, as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0


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


class RoutingSettings(msgspec.Struct, frozen=True):
    """The part of the configuration that decisions depend on; it enters the log, so that replay decides alike."""

    executors: tuple[ExecutorSpec, ...] = ()
    tiers: tuple[Tier, ...] = ()
    complexity_threshold: int = 50


class ExecutorHealth(msgspec.Struct, frozen=True, gc=False):
    """What is known of an executor's health; `until_ms` is set while it is paused."""

    state: HealthState = "unknown"
    reason: str = ""
    until_ms: Millis | None = None
