"""Takes up another configuration while the daemon runs: the file on disk, as a whole or not at all (ADR-0056).

Theory of operation. One reload goes at a time. The file is read and checked as at a start; what is wrong with it is
told and changes nothing. Then, in this order:

    1  prepared       executors' templates, sinks: whatever may fail fails here
    2  written down   system.config_loaded, by Brainstem; until then nothing has changed
    3  taken up       models, notifier, door, dashboard, log: on the loop, in one go
    4  decided by     HealthMonitor, Gateway; the Router, which writes down its settings and answers
    5  staffed        pool and hands, behind everything that the Router sent by its old settings

A crash after 2 changes nothing: the next start reads the file anyway, and writes down what it finds.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from omni import logs
from omni.config import Config, Loaded, config_hash, load_again, redacted
from omni.config.changes import Change, changes, in_force
from omni.config.files import Watched
from omni.config.settings import call_paths, health_settings, repair_settings, routing_settings
from omni.domain import commands as cmd
from omni.domain.errors import ConfigError, OmniError
from omni.domain.template import compile_template
from omni.domain.values import Telling
from omni.domain.view import timestamp
from omni.executors.hands import Hands
from omni.executors.roster import Staff
from omni.llm.faults import Faults
from omni.notify.notifier import Notifier
from omni.notify.plan import make_sinks, telling
from omni.notify.sinks import Sink
from omni.redact import Redactor
from omni.runtime.ports import Clock, utc_offset_ms
from omni.runtime.post import Post
from omni.server.refusals import TurnedDown, as_error

if TYPE_CHECKING:
    from omni.llm.models import Models

log = structlog.get_logger()

NAME = "reload"
DAEMON = "daemon"
ANSWER_S = 30.0


def dry_runs(config: Config) -> dict[str, Any]:
    """The executors that only say what they would have been called with, and their arguments."""
    dry = {name: each for name, each in config.executors.items() if each.transport == "null" and each.enabled}
    return {name: each.arguments or {"description": "{description}"} for name, each in dry.items()}


@dataclass
class Parts:
    """What goes by the configuration. `models` are there once they are loaded; `others` take what is theirs alone."""

    post: Post
    boot: str
    clock: Clock
    data_dir: Path
    hands: Hands
    notifier: Notifier
    faults: Faults
    journal: logs.Journal
    redactor: Redactor
    models: Callable[[], Models | None]
    others: tuple[Callable[[Config], None], ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A checked configuration with all that is made of it before anything changes."""

    config: Config
    staff: Staff
    dry_runs: dict[str, Any]
    sinks: Sequence[Sink]


class Adoption:
    """Brings a checked configuration to all parts. Loop only; `receive` belongs behind a LoopMailbox named "reload"."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._open: dict[str, asyncio.Future[Any]] = {}
        self._count = itertools.count(1)

    def receive(self, message: cmd.Reply) -> None:
        """An actor has written down what it was told, or cannot."""
        waiting = self._open.get(message.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(message.payload)

    def prepare(self, config: Config) -> Prepared:
        """Make what can fail. Raises ConfigError, and nothing has changed."""
        parts, dry = self._parts, dry_runs(config)
        for each in dry.values():
            compile_template(each)
        sinks = make_sinks(config, parts.hands.use_tool, parts.clock)
        return Prepared(config, Staff.of(config, parts.data_dir), dry, sinks)

    async def take_up(self, before: Config, prepared: Prepared, secrets: frozenset[str]) -> None:
        """Write it down, and let it hold. Raises what an actor answers, or TurnedDown."""
        parts, config, sinks = self._parts, prepared.config, prepared.sinks
        parts.redactor.learn(secrets)
        parts.notifier.expect(sinks)
        await self._write_down(config, telling(config.notify, sinks, utc_offset_ms()))
        parts.notifier.go_by(config.notify, config.language, sinks)
        self._let_hold(config)
        new_dry = (name for name in prepared.dry_runs if name not in dry_runs(before))
        await self._decide_by(config, (*parts.hands.anew(prepared.staff), *new_dry))
        await self._staff(prepared)

    async def _write_down(self, config: Config, told: Telling) -> None:
        digest, body, repair = config_hash(config), redacted(config), repair_settings(config)
        await self._ask("brainstem", lambda request: cmd.ConfigChanged(request, digest, body, repair, told))

    def _let_hold(self, config: Config) -> None:
        parts = self._parts
        parts.faults.go_by(call_paths(config))
        if (models := parts.models()) is not None:
            models.change(config)
        for take in parts.others:
            take(config)
        parts.journal.speak_from(config.log_level)

    async def _decide_by(self, config: Config, anew: tuple[str, ...]) -> None:
        send, boot = self._parts.post.send, self._parts.boot
        send("gateway", DAEMON, (cmd.Admit(config.limits.open_tasks),))
        send("health", DAEMON, (cmd.StartWatch(boot, health_settings(config), anew),))
        settings = routing_settings(config, utc_offset_ms())
        await self._ask("router", lambda request: cmd.Reconfigure(request, settings, anew))

    async def _staff(self, prepared: Prepared) -> None:
        changed = self._parts.hands.expect(prepared.staff)
        self._parts.post.send("pool", DAEMON, (cmd.StaffChanged(prepared.dry_runs),))
        await _within(changed.wait(), "the executors did not change")

    async def _ask(self, actor: str, make: Callable[[str], cmd.Message]) -> None:
        request = f"reload-{next(self._count)}"
        waiting = self._open[request] = asyncio.get_running_loop().create_future()
        self._parts.post.send(actor, DAEMON, (make(request),))
        try:
            payload = await _within(waiting, f"the {actor} gave no answer")
        finally:
            del self._open[request]
        if isinstance(payload, cmd.Refusal):
            raise as_error(payload)


class Reloader:
    """The configuration in force, and the way to another one. Loop only."""

    def __init__(self, loaded: Loaded, adoption: Adoption, clock: Clock) -> None:
        self.config = loaded.config
        self._loaded = loaded  # what the file said when it was last read with success
        self._adoption = adoption
        self._clock = clock
        self._watched = Watched(loaded.files)
        self._one_at_a_time = asyncio.Lock()
        self._started = asyncio.Event()
        self._unsure = False  # whether the log names another configuration than the one in force
        self._refused: dict[str, Any] | None = None
        self._since = clock.wall_ms()
        self._by_signals: set[asyncio.Task[None]] = set()

    def started(self) -> None:
        """The daemon is complete: from now on there is something to change."""
        self._started.set()

    async def reload(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Read the file again and take it up, or say what that would change. Never raises for what the file says.

        Raises TurnedDown where the daemon cannot. It goes on where whoever asked does not wait for the answer.
        """
        await _within(self._started.wait(), "the daemon did not complete its start")
        work = asyncio.create_task(self._one_reload(dry_run=dry_run), name="reload")
        return await asyncio.shield(work)

    async def _one_reload(self, *, dry_run: bool) -> dict[str, Any]:
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(load_again, self._loaded)
                after = in_force(self.config, loaded.config)
                prepared = self._adoption.prepare(after)
            except ConfigError as error:
                return self._refuse(error, dry_run=dry_run)
            return await self._reload(loaded, prepared, dry_run=dry_run)

    def reload_soon(self) -> None:
        """Reload because of a signal: nobody waits for the answer, and the log and the status have it."""
        task = asyncio.create_task(self._by_signal(), name="reload by signal")
        self._by_signals.add(task)
        task.add_done_callback(self._by_signals.discard)

    async def _by_signal(self) -> None:
        try:
            await self.reload()
        except OmniError as error:
            log.error("config.not_reloaded", error=error.message, hint=error.hint)  # noqa: TRY400 - no bug of ours

    async def view(self) -> dict[str, Any]:
        """What is in force, since when, and what a person should know about the file."""
        changed = await asyncio.to_thread(self._watched.changed)
        refused = self._refused if changed else None  # what was wrong is not there any more
        return {
            "path": self._path,
            "digest": config_hash(self.config),
            "since": timestamp(self._since),
            "changed_on_disk": bool(changed),
            "needs_restart": [each.key for each in self._waiting()],
            "refused": refused,
        }

    @property
    def _path(self) -> str | None:
        return str(self._loaded.path.absolute()) if self._loaded.path else None

    async def _reload(self, loaded: Loaded, prepared: Prepared, *, dry_run: bool) -> dict[str, Any]:
        before, after = self.config, prepared.config
        found = changes(before, loaded.config, Redactor(self._loaded.secrets | loaded.secrets))
        same = config_hash(after) == config_hash(before) and not self._unsure
        if dry_run:
            return self._answer("unchanged" if same else "would_apply", found, loaded.warnings)
        if not same:
            await self._take_up(before, prepared, loaded.secrets)
        self._loaded, self._watched, self._refused = loaded, Watched(loaded.files), None
        outcome = "unchanged" if same else "applied"
        log.info("config.read_again", outcome=outcome, path=self._path, keys=[each.key for each in found])
        return self._answer(outcome, found, loaded.warnings)

    async def _take_up(self, before: Config, prepared: Prepared, secrets: frozenset[str]) -> None:
        self._unsure = True
        try:
            await self._adoption.take_up(before, prepared, secrets)
        except Exception as error:  # whoever asked is told; the next reload brings it all once more
            log.exception("config.not_applied", path=self._path, error=repr(error))
            raise
        self._unsure, self.config, self._since = False, prepared.config, self._clock.wall_ms()

    def _refuse(self, error: ConfigError, *, dry_run: bool) -> dict[str, Any]:
        errors = [line.strip() for line in error.message.splitlines()]
        if not dry_run:
            self._refused = {"at": timestamp(self._clock.wall_ms()), "errors": errors}
            log.error("config.refused", path=self._path, errors=errors, hint=error.hint)
        return {**self._answer("refused", [], []), "errors": errors, "hint": error.hint}

    def _answer(self, outcome: str, found: list[Change], warnings: list[str]) -> dict[str, Any]:
        waiting = self._waiting() if outcome == "refused" else [each for each in found if each.restart]
        return {
            "outcome": outcome,
            "path": self._path,
            "digest": config_hash(self.config),
            "changes": msgspec.to_builtins(found),
            "needs_restart": [each.key for each in waiting],
            "warnings": warnings,
            "errors": [],
            "hint": "",
        }

    def _waiting(self) -> list[Change]:
        """What the file said when it was last read, and holds from the next start on only."""
        return changes(self.config, self._loaded.config, Redactor(self._loaded.secrets))


async def _within(work: Awaitable[Any], otherwise: str) -> Any:
    try:
        return await asyncio.wait_for(work, ANSWER_S)
    except TimeoutError:
        text = f"{otherwise} within {ANSWER_S:g} s"
        raise TurnedDown("storage_unavailable", text, hint="omni status, then omni config reload again") from None
