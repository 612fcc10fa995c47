"""What `omni verify` says of a log whose chain is sound and whose decisions are not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.replay.lived import Edit, check, edited, eventful, inputs, without
from tests.sim.conftest import make_scratch
from tests.sim.world import World

from omni import __version__
from omni.cli import verdict
from omni.domain import events as ev


@pytest.fixture(scope="module")
def day() -> Iterator[World]:
    directory = make_scratch()
    world = eventful(directory)
    yield world
    world.close()
    shutil.rmtree(directory)


def said(day: World, data_dir: Path, edit: Edit = list) -> str:
    return "\n".join(verdict.lines(lambda text, _: text, check(day, data_dir, edit)))


def test_a_sound_log_says_what_was_checked_and_how_much_was_decided_again(day: World, tmp_path: Path) -> None:
    text = said(day, tmp_path)
    assert text.startswith("ok: ")
    assert "commands and" in text
    assert "the state, folded in two ways" in text
    assert "not decided again" not in text


def test_what_could_not_be_decided_again_is_said_with_its_reason(day: World, tmp_path: Path) -> None:
    text = said(day, tmp_path, inputs(lambda _: None))
    assert "decided again: 0 commands" in text
    assert "because no input was kept" in text


def test_the_first_divergence_shows_both_sides_field_by_field(day: World, tmp_path: Path) -> None:
    edit = edited(ev.TaskRouted, lambda e: replace(e, route=replace(e.route, executor="second")))
    report = check(day, tmp_path, edit)
    text = "\n".join(verdict.lines(lambda word, _: word, report))
    assert text.startswith("MISMATCH: ")
    assert "divergences; the first:" in text
    assert '    command   {"type":"CreateTask"' in text
    assert '      event.route.executor: recorded "second", decided "retrier"' in text
    assert f"recorded by omni {__version__}, decided by omni {__version__}" in text
    first = report.redecided.first
    assert first is not None
    assert verdict.next_step(report).startswith(f"omni replay at {first.position - 1},")


def test_a_step_that_is_missing_is_shown_beside_nothing(day: World, tmp_path: Path) -> None:
    text = said(day, tmp_path, without(ev.ModeChanged))
    assert "    recorded  nothing" in text
    assert '    decided   health: {"type":"health.mode_changed","before":"NORMAL","after":"DEGRADED"' in text
