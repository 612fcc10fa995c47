"""What callers may ask for: typed arguments, their bounds, and the one way from arguments to a task.

Every dialect decodes into these records, so a bound stands in one place and shows in the MCP schemas too. What is
wrong is said as a sentence that names the argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from omni.domain.values import DEFAULT_PRIORITY, Decision, TaskSpec, TaskState
from omni.server.intake import REPLY_TO, Intake
from omni.server.refusals import BadArgument, did_you_mean

MAX_DESCRIPTION_CHARS = 100_000
MCP_WAIT_S = 45
PLAIN_WAIT_S = 3600
PLAIN_DEFAULT_WAIT_S = 30.0

Name = Annotated[str, Meta(min_length=1, max_length=200)]
TaskId = Annotated[str, Meta(min_length=1, max_length=100, description="The id of a task, as create_task gave it.")]
ShortWait = Annotated[
    float, Meta(ge=0, le=MCP_WAIT_S, description="Seconds to wait for the task's end; 0 answers at once.")
]
LongWait = Annotated[float, Meta(ge=0, le=PLAIN_WAIT_S)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Root of all arguments."""


class NewTask(Arguments, frozen=True):
    """What a task is made of."""

    description: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_DESCRIPTION_CHARS, description="What shall be done, in plain words."),
    ]
    type: Annotated[
        Name | None, Meta(description="coding, general, always_on, gpu, or a type that an executor is configured for.")
    ] = None
    executor: Annotated[Name | None, Meta(description="Who shall do it; left out: the router chooses.")] = None
    tier: Annotated[Name | None, Meta(description="The model tier; left out: the router chooses.")] = None
    model: Annotated[Name | None, Meta(description="The model; left out: the tier's.")] = None
    priority: Annotated[int, Meta(ge=0, le=9, description="9 goes first.")] = DEFAULT_PRIORITY
    budget_usd: Annotated[Usd | None, Meta(description="The most it may cost.")] = None
    workdir: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4096)] | None,
        Meta(description="An absolute directory inside the allowed ones."),
    ] = None
    session: Annotated[Name | None, Meta(description="The executor session of an earlier task, to go on from.")] = None
    timeout_s: Annotated[Seconds | None, Meta(description="The longest one attempt may take.")] = None
    idempotency_key: Annotated[
        Name | None, Meta(description="The same key with the same payload gives the same task, sent however often.")
    ] = None
    labels: Annotated[tuple[Name, ...], Meta(max_length=16, description="Words to find the task by.")] = ()
    reply_to: Annotated[
        Annotated[str, Meta(pattern=REPLY_TO)] | None,
        Meta(
            description="channel:target, as telegram:42: the chat that hears how the task ends. Give it when somebody "
            "in a chat asked for the work, with that chat's channel and id. The call then answers at once, whatever "
            "wait_s says."
        ),
    ] = None


class CreateTask(NewTask, frozen=True):
    wait_s: ShortWait = 0


class PlainCreateTask(NewTask, frozen=True):
    wait_s: LongWait = PLAIN_DEFAULT_WAIT_S


class OneTask(Arguments, frozen=True):
    task_id: TaskId


class WaitTask(Arguments, frozen=True):
    task_id: TaskId
    wait_s: ShortWait = 30


class ListTasks(Arguments, frozen=True):
    state: Annotated[TaskState | None, Meta(description="Only tasks in this state.")] = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Annotated[
        Annotated[str, Meta(max_length=100)] | None, Meta(description="`next` of the page before this one.")
    ] = None


class ResolveTask(Arguments, frozen=True):
    """A decision about a held task."""

    task_id: TaskId
    decision: Annotated[
        Decision,
        Meta(description="retry: try again; accept: count it as done; fail: give it up. `held` lists the choices."),
    ]


class TaskEvents(Arguments, frozen=True):
    task_id: TaskId
    after: Annotated[int, Meta(ge=0, description="Only events after this log position.")] = 0


class Nothing(Arguments, frozen=True):
    pass


A = TypeVar("A", bound=Arguments)


class Reader(Generic[A]):
    """Reads one kind of arguments from JSON or from plain values; raises BadArgument."""

    _UNKNOWN: ClassVar = re.compile(r"unknown field `(.*)`", re.DOTALL)
    _MISSING: ClassVar = re.compile(r"missing required field `(.*)`")
    _AT: ClassVar = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)

    def __init__(self, kind: type[A]) -> None:
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def json(self, raw: msgspec.Raw | bytes | UnsetType) -> A:
        """Read from JSON text; nothing at all counts as no arguments."""
        try:
            return self._decode(b"{}" if raw is UNSET else raw)
        except msgspec.ValidationError as error:
            raise self._explain(str(error)) from None

    def values(self, arguments: dict[str, Any] | None) -> A:
        """Read from values that are decoded already."""
        try:
            return msgspec.convert(arguments or {}, self.kind)
        except msgspec.ValidationError as error:
            raise self._explain(str(error)) from None

    def _explain(self, text: str) -> BadArgument:
        fields = self.kind.__struct_fields__
        if found := self._UNKNOWN.search(text):
            name = found[1][:100]
            message = f"there is no argument {name!r}{did_you_mean(name, fields)}"
            return BadArgument(message, argument=name, hint=f"use: {', '.join(fields) or 'none'}")
        if found := self._MISSING.search(text):
            return BadArgument(f"{found[1]} is missing", argument=found[1], missing=True)
        return _out_of_bounds(text, self._AT)


# What a decoder says about a value, and what we say.
_SAYINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Expected `str` of length >= 1$"), "must not be empty"),
    (re.compile(r"Expected `str` of length <= (\d+)$"), "must be at most {0} characters long"),
    (re.compile(r"Expected `array` of length <= (\d+)$"), "may hold at most {0} entries"),
    (re.compile(r"Expected `(?:int|float)(?: \| null)?` (>=|<=|>|<) (\d+(?:\.\d*[1-9])?)"), "must be {0} {1}"),
    (re.compile(r"Expected `str` matching regex .*"), "must be CHANNEL:TARGET, as telegram:42"),
    (re.compile(r"Expected `(.+)`, got `(.+)`$"), "must be {0}, not {1}"),
    (re.compile(r"Invalid enum value (.+)$"), "cannot be {0}"),
)


def _out_of_bounds(text: str, where: re.Pattern[str]) -> BadArgument:
    found = where.search(text)
    argument = found[1] if found and found[1] else ""
    said = text[: found.start()] if found else text
    for pattern, saying in _SAYINGS:
        if match := pattern.match(said):
            said = saying.format(*match.groups())
            break
    empty = said == "must not be empty"
    return BadArgument(f"{argument or 'the arguments'} {said}", argument=argument, missing=empty)


class SpecMaker:
    """Turns arguments into a task; knows which directories tasks may work in, and which clients are models."""

    def __init__(self, allowed_workdirs: Iterable[str], intake: Intake | None = None) -> None:
        self.go_by(allowed_workdirs, intake or Intake())

    def go_by(self, allowed_workdirs: Iterable[str], intake: Intake) -> None:
        """Which directories and which clients, from the next task on."""
        self._roots = tuple(Path(each).expanduser().resolve() for each in allowed_workdirs)
        self.intake = intake

    def __call__(self, new: NewTask, client: str = "") -> TaskSpec:
        """The task that a client asked for. Raises BadArgument."""
        if new.description.isspace():
            raise BadArgument("description must not be empty", argument="description", missing=True)
        return TaskSpec(
            new.description,
            new.type,
            new.executor,
            new.tier,
            new.model,
            new.priority,
            new.budget_usd,
            self._workdir(new.workdir) if new.workdir is not None else None,
            new.session,
            new.timeout_s,
            new.idempotency_key,
            new.labels,
            reply_to=self.intake.reply_to(new.reply_to, client),
        )

    def _workdir(self, text: str) -> str:
        path = Path(text)
        if "\x00" in text or not path.is_absolute():
            raise BadArgument(f"workdir must be an absolute path, not {text[:200]!r}", argument="workdir")
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle; a name that no file system takes
            raise BadArgument(f"workdir {text[:200]!r} cannot be resolved", argument="workdir") from None
        if not any(real.is_relative_to(root) for root in self._roots):
            roots = ", ".join(str(root) for root in self._roots) or "none"
            raise BadArgument(
                f"workdir {text[:200]!r} is outside the allowed directories ({roots})",
                argument="workdir",
                hint="add its root to allowed_workdirs in config.yaml, then omni config reload",
            )
        return str(real)
