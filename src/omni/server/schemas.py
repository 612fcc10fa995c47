"""The shapes of answers as records, for the output schemas of the MCP tools; `omni.server.views` fills them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from omni.domain.values import AtCap, AttemptState, Decision, HealthState, Mode, TaskState

Time = Annotated[str, Meta(description="RFC 3339, UTC.")]


class Shape(msgspec.Struct, frozen=True):
    """Root of all shapes. They are open on the wire: more fields may come, and old clients go on working."""


class ErrorShape(Shape, frozen=True):
    kind: str
    message: str
    hint: str


class ResultShape(Shape, frozen=True):
    content: str
    structured: Any


class UsageShape(Shape, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0


class HeldShape(Shape, frozen=True):
    kind: str
    reason: str
    options: list[Decision]


class RouteShape(Shape, frozen=True):
    tier: str | None
    model: str | None
    mode: Mode


class AttemptShape(Shape, frozen=True):
    n: int
    executor: str
    route: RouteShape
    state: AttemptState
    started_at: Time | None
    ended_at: Time | None
    error: ErrorShape | None
    handle: str


class TaskShape(Shape, frozen=True):
    """A task."""

    id: str
    description: str
    type: str | None
    state: TaskState
    executor: str | None
    tier: str | None
    model: str | None
    priority: int
    complexity: int
    labels: list[str]
    attempt: int
    attempts: list[AttemptShape]
    result: ResultShape | None
    error: ErrorShape | None
    cost_usd: float | None
    usage: UsageShape | None
    held: HeldShape | None
    cancel_requested: bool
    retry_of: str | None
    session: str | None
    created_at: Time | None
    updated_at: Time | None
    ended_at: Time | None
    retry_at: Time | None
    position: int
    reply_to: str | None


class CreatedShape(TaskShape, frozen=True):
    """A task, as create_task answers."""

    repeated: Annotated[bool, Meta(description="True: an earlier call has made it; nothing was started anew.")] = False


class TaskListShape(Shape, frozen=True):
    tasks: list[TaskShape]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null at the end.")]


class HealthShape(Shape, frozen=True):
    state: HealthState
    reason: str | None
    until: Time | None


class ExecutorShape(Shape, frozen=True):
    name: str
    types: list[str]
    keywords: list[str]
    local: bool
    gpu: bool
    always_on: bool
    needs_cloud: bool
    max_concurrency: int
    health: HealthShape
    since: Time | None
    tools: list[str]
    running: int
    queued: int


class ExecutorListShape(Shape, frozen=True):
    executors: list[ExecutorShape]


class EvidenceShape(Shape, frozen=True):
    at: Time
    source: str
    verdict: str
    detail: str | None


class ComponentShape(Shape, frozen=True):
    kind: Annotated[str, Meta(description="proxy, cloud, key or breaker.")]
    name: str
    state: str
    since: Time | None
    until: Time | None
    reason: str | None
    evidence: list[EvidenceShape]


class CapsShape(Shape, frozen=True):
    daily_usd: float | None
    task_usd: float | None
    channel_usd: dict[str, float]
    at_cap: AtCap


class SpendShape(Shape, frozen=True):
    day_ends: Time | None
    billed_usd: float
    imputed_usd: Annotated[float, Meta(description="What free calls would have cost.")]
    reserved_usd: Annotated[float, Meta(description="What calls that are under way may yet cost.")]
    kept_usd: Annotated[float, Meta(description="Estimates that stand for bills nobody knows.")]
    unknown_calls: Annotated[int, Meta(description="Calls that may have been billed, nobody knows how much.")]
    caps: CapsShape


class DispatchShape(Shape, frozen=True):
    state: Annotated[
        Literal["open", "paused", "stopping"],
        Meta(description="Whether tasks are begun: paused after too many starts in a short time."),
    ]
    reason: str | None
    since: Time | None
    until: Time | None


class SystemShape(Shape, frozen=True):
    """The system."""

    mode: Mode
    cause: Annotated[str | None, Meta(description="proxy, network, cloud, no_path or operator; null in NORMAL.")]
    reason: str | None
    since: Time | None
    components: list[ComponentShape]
    executors: list[ExecutorShape]
    tasks: Annotated[dict[str, int], Meta(description="How many tasks are in each state.")]
    spend: SpendShape | None
    dispatch: DispatchShape
    position: int


class EventShape(Shape, frozen=True):
    position: int
    at: Time
    type: str
    actor: str
    body: dict[str, Any]


class EventListShape(Shape, frozen=True):
    task_id: str
    events: list[EventShape]


class CandidateShape(Shape, frozen=True):
    executor: str
    score: int
    reasons: list[str]
    rejected: str | None


class DecisionShape(Shape, frozen=True):
    position: int
    at: Time
    executor: Annotated[str | None, Meta(description="Null: nobody can take the task as things are.")]
    tier: str | None
    model: str | None
    mode: Mode
    type: str
    complexity: int
    reason: str
    signals: list[str]
    candidates: list[CandidateShape]


class ExplanationShape(Shape, frozen=True):
    task_id: str
    state: TaskState
    decision: DecisionShape | None
    earlier: list[DecisionShape]
    held: HeldShape | None
    attempts: list[AttemptShape]
    retry_at: Annotated[Time | None, Meta(description="When its next attempt begins, if it waits for that.")]


def schema_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a record, an object at its root, with what it refers to under `$defs`."""
    (_,), parts = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    root = {key: value for key, value in parts.pop(shape.__name__).items() if key != "title"}
    return {**root, "$defs": parts} if parts else root
