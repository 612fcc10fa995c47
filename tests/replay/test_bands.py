"""Bands, bars and gaps: exact on small histories, and honest about what nobody saw."""

from pathlib import Path
from typing import Any

import pytest
from tests.replay.logs import (
    AT_MS,
    beginning,
    completed_life,
    created,
    life,
    planned,
    routed,
    succeeded,
    task_id,
    write,
)

from omni.domain import events as ev
from omni.domain.values import Result, TaskError
from omni.replay.bands import Band, Bar, Gap, Lane, Picture, picture
from omni.replay.history import History


def at(position: int) -> int:
    return AT_MS + position - 1


def drawn(data_dir: Path, **stretch: Any) -> Picture:
    with History.open(data_dir) as history:
        return picture(history, **stretch)


def mode(before: Any, after: Any, reason: str) -> tuple[str, Any]:
    return ev.HEALTH_STREAM, ev.ModeChanged(before, after, "proxy", reason)


def started(boot: str) -> tuple[str, Any]:
    return ev.SYSTEM_STREAM, ev.DaemonStarted("0.1.0", 1, boot)


def bar(n: int, state: Any, begins: int, ends: int | None, **more: Any) -> Bar:
    until = at(ends) if ends else None
    more = {"started_ms": at(begins + 1), **more}
    return Bar(task_id(n), more.pop("attempt", 1), "echo", state, at(begins), until, begins, ends, **more)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A daemon that dies under one task, and another that finds it; a mode that comes and goes."""
    data_dir = tmp_path / "data"
    write(
        data_dir,
        *beginning(),  # 1 to 3
        *completed_life(1),  # 4 to 9
        mode("NORMAL", "DEGRADED", "the proxy is down"),  # 10
        *life(2, created(), routed(), planned(2), ev.AttemptStarted(1)),  # 11 to 14
    )
    return write(
        data_dir,
        (ev.ROUTER_STREAM, ev.RouterStarted("boot-2")),  # 15
        started("boot-2"),  # 16
        *life(2, ev.AttemptInterrupted(1, "the daemon ended", 9), planned(2, 2), ev.AttemptStarted(2)),  # 17 to 19
        mode("DEGRADED", "NORMAL", "the proxy is back"),  # 20
        *life(2, ev.LateOutcomeArrived(1, "succeeded", "", Result("late"))),  # 21
        *life(3, created(), routed(), planned(3), ev.AttemptStarted(1)),  # 22 to 25
        *life(
            3, ev.AttemptFailed(1, TaskError("failed", "it said no")), ev.TaskFailed(TaskError("failed", "no"))
        ),  # 27
        (ev.SYSTEM_STREAM, ev.DaemonStopped("asked to")),  # 28
    )


BANDS = (
    Band("NORMAL", at(1), at(10), 0, 10),
    Band("DEGRADED", at(10), at(20), 10, 20, "proxy", "the proxy is down"),
    Band("NORMAL", at(20), None, 20, None, "proxy", "the proxy is back"),
)
CRASH = Gap(at(14), at(16), 14, 16, crashed=True)
STOPPED = Gap(at(28), None, 28, None, crashed=False)
DONE = bar(1, "succeeded", 6, 8)
CUT_OFF = bar(2, "interrupted", 13, 17, sure_until_ms=at(14), reason="the daemon ended")
OPEN = bar(2, "started", 18, None, attempt=2)
FAILED = bar(3, "failed", 24, 26, reason="it said no")


def test_the_whole_picture_is_exact(crashed: Path) -> None:
    cut_off = bar(2, "interrupted", 13, 17, sure_until_ms=at(14), reason="the daemon ended", late="succeeded")
    lane = Lane("echo", (DONE, cut_off, OPEN, FAILED))
    assert drawn(crashed) == Picture(0, 28, at(1), at(28), BANDS, (lane,), (CRASH, STOPPED))


def test_a_stretch_knows_what_had_begun_before_it(crashed: Path) -> None:
    lane = Lane("echo", (CUT_OFF, OPEN))
    found = drawn(crashed, after=15, until=19)
    degraded = Band("DEGRADED", at(10), None, 10, None, "proxy", "the proxy is down")
    assert found == Picture(15, 19, at(16), at(19), (degraded,), (lane,), (CRASH,))


def test_what_has_not_ended_by_the_end_of_the_stretch_has_no_end(crashed: Path) -> None:
    found = drawn(crashed, until=15)
    assert found.lanes[0].bars[-1] == bar(2, "started", 13, None)
    assert found.bands[-1].until_ms is None
    assert found.gaps == ()


@pytest.mark.parametrize("after", range(28))
def test_from_anywhere_the_rest_looks_as_in_the_whole(crashed: Path, after: int) -> None:
    whole, rest = drawn(crashed), drawn(crashed, after=after)
    theirs = [each for each in whole.lanes[0].bars if each.until_position is None or each.until_position > after]
    ours = rest.lanes[0].bars if rest.lanes else ()
    assert [(b.task_id, b.n, b.state, b.from_ms, b.until_ms, b.sure_until_ms) for b in ours] == [
        (b.task_id, b.n, b.state, b.from_ms, b.until_ms, b.sure_until_ms) for b in theirs
    ]
    assert rest.bands == tuple(b for b in whole.bands if b.until_position is None or b.until_position > after)


def test_a_success_after_a_cut_counts_also_where_the_cut_lies_before_the_stretch(tmp_path: Path) -> None:
    story = life(1, created(), routed(), planned(1), ev.AttemptInterrupted(1, "no word"), succeeded())
    data_dir = write(tmp_path / "data", *story, *life(1, ev.TaskCompleted(1)))
    expected = (Lane("echo", (bar(1, "succeeded", 3, 5, started_ms=None),)),)
    assert drawn(data_dir).lanes == expected
    assert drawn(data_dir, after=4).lanes == expected
    assert drawn(data_dir, after=4, until=4).lanes == ()


def test_a_daemon_that_stopped_in_order_leaves_a_gap_that_is_no_crash(tmp_path: Path) -> None:
    data_dir = write(tmp_path / "data", *beginning(), (ev.SYSTEM_STREAM, ev.DaemonStopped("asked to")))
    assert drawn(data_dir).gaps == (Gap(at(4), None, 4, None, crashed=False),)
    write(data_dir, started("boot-2"))
    assert drawn(data_dir).gaps == (Gap(at(4), at(5), 4, 5, crashed=False),)


def test_what_began_after_a_crash_is_not_cut_by_it(tmp_path: Path) -> None:
    data_dir = write(tmp_path / "data", *beginning())
    cut = life(1, created(), routed(), planned(1), ev.AttemptInterrupted(1, "the connection is gone"))
    (lane,) = drawn(write(data_dir, started("boot-2"), *cut)).lanes
    assert (lane.bars[0].until_ms, lane.bars[0].sure_until_ms) == (at(8), None)


def test_a_stop_that_nobody_confirmed_says_so(tmp_path: Path) -> None:
    story = life(1, created(), routed(), planned(1), ev.AttemptCancelled(1, confirmed=False), ev.TaskCancelled("me"))
    (lane,) = drawn(write(tmp_path / "data", *story)).lanes
    assert (lane.bars[0].state, lane.bars[0].reason) == ("cancelled", "the executor never confirmed the stop")


def test_too_many_bars_are_counted(crashed: Path) -> None:
    found = drawn(crashed, most=2)
    assert [b.from_position for b in found.lanes[0].bars] == [6, 13]
    assert found.left_out == 2


def test_an_empty_log_has_an_empty_picture(tmp_path: Path) -> None:
    assert drawn(write(tmp_path / "data")) == Picture(0, 0, 0, 0, (), (), ())
