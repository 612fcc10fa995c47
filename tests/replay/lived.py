"""Logs that were lived in the simulated world, and copies of them with one mistake in a sound chain."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from tests.replay.logs import codec
from tests.sim.world import EXECUTORS, World

from omni import __version__
from omni.config import log_path
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import PROXY, Budget, ExecutorSpec, RoutingSettings, Tier
from omni.eventlog.sqlite import SqliteEventStore
from omni.eventlog.store import Entry, Recorded, Row
from omni.replay.verify import Report, verify

PAID = (Tier("P1", "small", "large", paid=True),)
SETTINGS = RoutingSettings(
    (*EXECUTORS, ExecutorSpec("second", types=("coding",), max_concurrency=1, on_crash="retry")),
    tiers=PAID,
    budget=Budget(daily_usd=1.0),
    watched=True,
)
Edit = Callable[[list[Recorded]], list[Recorded]]


def stored(row: Recorded) -> Row:
    """The row as the log holds it."""
    said = None if row.input is None else row.input.decode()
    where = (row.at_ms, row.mono_ms, row.boot, row.actor, row.cause)
    name, schema, body = codec().encode(row.event)
    return (row.position, row.stream, row.version, name, schema, *where, body, said)


def goes_on(world: World, rounds: int) -> None:
    """The everyday course above: timers ring, everybody answers as things are."""
    for _ in range(rounds):
        world.clock.run(max(0, min((world._wait_ms(t) for t in world.timers), default=1_000)))
        world.fire()
        world.settle()
        while world.sky.answer(0):
            world.settle()


def eventful(directory: Path) -> World:
    """A day with work, a failure, a repetition, a dead proxy, a cloud that goes and comes, and a budget used up."""
    world = World(directory, SETTINGS, watched=True)
    world.everyone_ready()
    world.settle()
    goes_on(world, 4)
    first, second = world.submit("coding"), world.submit("general")
    world.settle()
    world.does(first, "unavailable")
    for step in ("begin", "started", "succeed"):
        world.does(second, step)
    world.sky.moods[PROXY] = "dead"
    goes_on(world, 8)
    world.sky.network = False
    world.submit("gpu")
    world.settle()
    goes_on(world, 12)
    world.submit("gpu")
    world.settle()
    world.sky.heal()
    goes_on(world, 60)
    asked = cmd.ReserveCall("c", "c", "cloud", "large", "NORMAL", "", 0, "client", paid=True, estimate_usd=1.0)
    world._from_above("router", "port", asked)
    world._from_above("router", "port", cmd.SettleCall("c", "ok", billed_usd=1.0))
    world.settle()
    world.submit("general")
    world.settle()
    world.submit("dry")
    world.settle()
    return world


def copied(world: World, data_dir: Path, edit: Edit = list) -> Path:
    """Write the rows again, edited, as one boot of this version; the database."""
    data_dir.mkdir(exist_ok=True)
    with closing(SqliteEventStore.open(log_path(data_dir), codec())) as store:
        store.append(entries(world, edit))
    return log_path(data_dir)


def entries(world: World, edit: Edit = list) -> list[Entry]:
    """The rows of a world, edited, as they are to be appended to another log."""
    versions: Counter[str] = Counter()
    found = []
    for row in edit([_ours(row) for row in world.store.read()]):
        versions[row.stream] += 1
        found.append(
            Entry(row.stream, versions[row.stream], row.event, row.at_ms, row.mono_ms, row.actor, row.cause, row.input)
        )
    return found


def check(world: World, data_dir: Path, edit: Edit = list) -> Report:
    """What `verify` says of the edited copy."""
    return verify(copied(world, data_dir, edit))


def where(rows: list[Recorded], of: type[Any], holds: Callable[[Any], bool] = lambda _: True) -> int:
    """The index of the first event of a type that is as wanted."""
    return next(i for i, row in enumerate(rows) if isinstance(row.event, of) and holds(row.event))


def edited(of: type[Any], change: Callable[[Any], Any], holds: Callable[[Any], bool] = lambda _: True) -> Edit:
    """Change the first event of a type."""

    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, of, holds)
        return [*rows[:at], replace(rows[at], event=change(rows[at].event)), *rows[at + 1 :]]

    return edit


def without(of: type[Any], holds: Callable[[Any], bool] = lambda _: True) -> Edit:
    """Leave the first event of a type out."""

    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, of, holds)
        return [*rows[:at], *rows[at + 1 :]]

    return edit


def after(of: type[Any], event: Any, stream: str = "") -> Edit:
    """Put an event behind the first of a type, as if the same message had led to it."""

    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = where(rows, of)
        added = replace(rows[at], event=event, input=None, stream=stream or rows[at].stream)
        return [*rows[: at + 1], added, *rows[at + 1 :]]

    return edit


def inputs(change: Callable[[Recorded], bytes | None]) -> Edit:
    """Change the inputs."""

    def edit(rows: list[Recorded]) -> list[Recorded]:
        return [replace(row, input=change(row)) for row in rows]

    return edit


def groups(rows: list[Recorded]) -> Iterator[tuple[str, str]]:
    """The actor and cause of each message, in order."""
    before = ("", "")
    for row in rows:
        if (row.actor, row.cause) != before:
            before = (row.actor, row.cause)
            yield before


def _ours(row: Recorded) -> Recorded:
    if not isinstance(row.event, ev.DaemonStarted):
        return row
    read = msgspec.json.decode(row.input or b"{}")
    read["message"]["version"] = __version__
    return replace(row, event=replace(row.event, version=__version__), input=msgspec.json.encode(read))
