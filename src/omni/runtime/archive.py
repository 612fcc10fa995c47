"""Tasks that have left memory, read back from the log by their own stream."""

from __future__ import annotations

from omni.domain import events as ev
from omni.domain import task as tasks
from omni.domain.task import Task
from omni.eventlog.store import EventReader, Recorded


class LogArchive:
    """Read-only; its methods block, so the loop calls them on a thread."""

    def __init__(self, log: EventReader) -> None:
        self._log = log

    def task(self, task_id: str) -> Task | None:
        """The task as its stream tells it; None when no stream has that id."""
        return fold(task_id, self.events(task_id))

    def events(self, task_id: str) -> list[Recorded]:
        """Everything that was recorded about one task, oldest first."""
        return self._log.stream(ev.TASK_PREFIX + task_id)


def fold(task_id: str, recorded: list[Recorded]) -> Task | None:
    """Rebuild one task from its stream."""
    task: Task | None = None
    for row in recorded:
        if isinstance(row.event, ev.TaskCreated):
            task = tasks.created(task_id, row.event, row.at_ms, row.position)
        elif task is not None:
            task = tasks.evolve(task, row.event, row.at_ms, row.position)  # type: ignore[arg-type]
    return task
