"""Doing what is safe: modes, directories, the ballast, snapshots. Never the log, nor what a person wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from omni.ops.doctor.finding import Finding
from omni.ops.doctor.looking import Progress, Seen, look
from omni.ops.doctor.scene import Scene


class Mended(NamedTuple):
    """What was done about one finding; `error` where that did not work."""

    finding: Finding
    did: str = ""
    error: str = ""


def mend(seen: Sequence[Seen]) -> list[Mended]:
    """Do what can be done about each finding that has a safe remedy."""
    return [_mended(each) for one in seen for each in one.findings if each.fix is not None]


def look_again(scene: Scene, seen: Sequence[Seen], progress: Progress = lambda *_: None) -> list[Seen]:
    """The same, with a second look wherever something was mended."""
    again = iter(look([each.check for each in seen if _was_mended(each)], scene, progress))
    return [next(again) if _was_mended(each) else each for each in seen]


def _was_mended(seen: Seen) -> bool:
    return any(each.fix is not None for each in seen.findings)


def _mended(finding: Finding) -> Mended:
    assert finding.fix is not None
    try:
        return Mended(finding, did=finding.fix())
    except OSError as error:
        return Mended(finding, error=f"{error.strerror or error}")
