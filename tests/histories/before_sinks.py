"""Wrote `logs/before-sinks.jsonl`: `litellm_killed`, played with the code of commit 69e91bb, of 21 November 2026.

That version had one outbox for all, whose notices named no sink, repairs without rules, and executors that could not
pause. It is not run again: README.md says how it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omni.config import config_hash, redacted
from omni.config.settings import health_settings, repair_settings
from omni.domain import commands as cmd
from omni.domain import executor_watch, hops, values


def unknown(*_: Any, **__: Any) -> None:
    """Stands for what nobody had thought of yet."""


for room, name, stand_in in (
    (values, "NoticeSink", unknown),
    (values, "Telling", unknown),
    (executor_watch, "PAUSE_TIMER", "pause:"),
    (hops, "Asked", lambda dialect, model, _asked=hops.Asked, **_: _asked(dialect, model)),
):
    setattr(room, name, stand_in)

from tests.histories import play, stories  # noqa: E402
from tests.sim.world import World  # noqa: E402


def begin(self: Any, *args: Any, _begin: Any = World.__init__, **more: Any) -> None:
    """Begin a world that tells everybody the same."""
    more.pop("telling")
    _begin(self, *args, **more)


setattr(World, "__init__", begin)  # noqa: B010 - what it replaces takes one argument less
setattr(play, "HOUSE", Path(__file__).with_name("before_sinks.yaml"))  # noqa: B010


class Before(play.Play):
    """The same world, with the messages of its time."""

    def _announce(self) -> None:
        config, boot = self.loaded.config, self.store.boot
        settings = repair_settings(config)
        up = cmd.DaemonUp("0.1.0", play.PID, boot, config_hash(config), redacted(config), 0, settings)
        self.post.send("brainstem", "daemon", (up,))
        self.post.send("health", "daemon", (cmd.StartWatch(boot, health_settings(config)),))
        for name in ("gateway", "router", "pool"):
            self.post.send(name, "daemon", (cmd.Boot(boot, self.settings),))
        for executor in self.settings.executors:
            seen = cmd.ExecutorObserved(executor.name, ok=True, detail="connected", tools=("run_task",))
            self.after(play.CONNECT_MS[executor.name], lambda seen=seen: self.report(seen))  # type: ignore[misc]

    def _notifier(self, notice: Any) -> None:
        told = cmd.Delivered(notice.key, ok=True)
        self.after(play.TELL_MS["messenger"], lambda: self._from_above("brainstem", "notifier", told))


if __name__ == "__main__":
    stories.litellm_killed(Path(sys.argv[1]), Before).close()
