"""Looks at many things side by side. No look can hold up the others, or the answer, for longer than its limit.

Each look has a thread of its own that nobody has to wait for: a file system that hangs cannot be interrupted, only
left behind. What a look had found before its limit counts.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from omni.ops.doctor.catalogue import found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene
from omni.redact import Redactor

Look = Callable[[Scene], Iterable[Finding]]
Progress = Callable[[int, int, list[str]], None]  # how many are done, of how many, and which are still looked at


class Check(NamedTuple):
    """One look. `live`: it asks what the configuration points to, and so belongs to `omni config check --live`."""

    room: str  # the heading that its findings stand under
    what: str
    look: Look
    within_s: float = 10.0
    live: bool = False


class Seen(NamedTuple):
    """A check with what it found."""

    check: Check
    findings: list[Finding]
    finished: bool = True


class _Under:
    """One check on its way."""

    def __init__(self, check: Check, scene: Scene, done: queue.SimpleQueue[_Under]) -> None:
        self.check = check
        self.findings: list[Finding] = []
        self.until = time.monotonic() + check.within_s
        self._scene = scene
        self._done = done
        threading.Thread(target=self._run, name=f"doctor {check.what}", daemon=True).start()

    def _run(self) -> None:
        try:
            for each in self.check.look(self._scene):
                self.findings.append(each)
        except Exception as error:  # one broken look must not hide what the others see
            self.findings.append(_failed(self.check, error))
        self._done.put(self)

    def seen(self, redact: Redactor, *, finished: bool) -> Seen:
        found_ = [*self.findings] if finished else [*self.findings, _too_slow(self.check)]
        return Seen(self.check, [_masked(each, redact) for each in found_], finished)


def look(checks: Sequence[Check], scene: Scene, progress: Progress = lambda *_: None) -> list[Seen]:
    """What all checks find, in their order. Takes as long as the slowest of them, and no longer than its limit."""
    done: queue.SimpleQueue[_Under] = queue.SimpleQueue()
    under = [_Under(each, scene, done) for each in checks]
    finished = _await(under, done, progress)
    redact = Redactor(scene.secrets)
    return [each.seen(redact, finished=each in finished) for each in under]


def _await(under: list[_Under], done: queue.SimpleQueue[_Under], progress: Progress) -> set[_Under]:
    open_, finished = set(under), set[_Under]()
    while open_:
        progress(len(under) - len(open_), len(under), sorted(each.check.what for each in open_))
        try:
            ended = done.get(timeout=max(0.0, min(each.until for each in open_) - time.monotonic()))
        except queue.Empty:
            now = time.monotonic()
            open_ = {each for each in open_ if each.until > now}
            continue
        open_.discard(ended)
        finished.add(ended)
    return finished


def _too_slow(check: Check) -> Finding:
    return found(
        "doctor.too_slow", f"{check.what}: no answer within {check.within_s:g} s", "omni doctor, when it is less busy"
    )


def _failed(check: Check, error: Exception) -> Finding:
    said = f"{check.what}: this look went wrong: {type(error).__name__}: {error}"
    return found("doctor.failed", said, "omni version, and report both")


def _masked(each: Finding, redact: Redactor) -> Finding:
    return Finding(each.name, each.level, redact.text(each.says), redact.text(each.mend), each.fix)
