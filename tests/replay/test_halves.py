"""Two processes find what one finds."""

from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest
from msgspec.structs import replace
from tests.replay.lived import Edit, copied
from tests.sim.world import World

from omni.domain import events as ev
from omni.domain.board import BoardSnapshot
from omni.eventlog.reader import open_reader
from omni.eventlog.snapshots import Snapshots, fingerprint
from omni.eventlog.store import Recorded
from omni.eventlog.upcasters import log_codec
from omni.replay import halves
from omni.replay.rules import Finding
from omni.replay.verify import Report, early_part, last_part, told, verify


def in_two(database: Path, processes: int = 2) -> Report:
    report = halves.verify(database, lambda _: None, processes=processes)
    assert report is not None, "another process told nothing"
    return report


def notices(kind: str, which: slice) -> Edit:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        wrong = [row.position for row in rows if isinstance(row.event, ev.NoticeQueued)][which]
        return [replace(r, event=replace(r.event, kind=kind)) if r.position in wrong else r for r in rows]

    return edit


def test_two_processes_find_what_one_finds(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    alone = told([last_part(database, 0)])
    assert alone.ok
    assert in_two(database) == alone
    assert in_two(database, 3) == alone
    assert verify(database) == alone, "a short log is read by one"


@pytest.mark.parametrize("which", [slice(0, 1), slice(-1, None), slice(None)])
def test_a_divergence_is_found_in_either_half_and_the_first_of_both_is_shown(
    day: World, tmp_path: Path, which: slice
) -> None:
    database = copied(day, tmp_path, notices("wrong", which))
    alone = told([last_part(database, 0)])
    assert alone.redecided.divergences > 0
    assert in_two(database).redecided == alone.redecided
    assert in_two(database, 3).redecided == alone.redecided


def test_damage_is_damage_to_both(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    with closing(apsw.Connection(str(database))) as raw:
        for name in [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE events SET body = '{' WHERE position = 20")
    found = in_two(database)
    assert found == told([last_part(database, 0)])
    assert any("was changed" in each.what for each in found.damage)


def test_an_event_that_fits_nothing_leaves_it_to_one_process(day: World, tmp_path: Path) -> None:
    def edit(rows: list[Recorded]) -> list[Recorded]:
        at = next(i for i, row in enumerate(rows) if isinstance(row.event, ev.AttemptPlanned))
        return [*rows[:at], *rows[at + 1 :]]

    database = copied(day, tmp_path, edit)
    assert halves.verify(database, lambda _: None) is None
    assert "fold.failed" in {each.rule for each in told([last_part(database, 0)]).findings}


def test_a_snapshot_that_holds_another_state_is_found(day: World, tmp_path: Path) -> None:
    database = copied(day, tmp_path)
    board = day.kernels["router"].state
    with closing(open_reader(database, log_codec())) as reader:
        head = reader.head
    shape, cache = fingerprint(BoardSnapshot), Snapshots(database.with_name("snapshots"))

    def save(snapshot: BoardSnapshot) -> Report:
        cache.save("router", head.position, head.hash, shape, msgspec.msgpack.encode(snapshot))
        return in_two(database)

    sound = save(board.snapshot())
    assert (sound.ok, sound.snapshot) == (True, head.position)
    wrong = save(replace(board.snapshot(), mode="DEGRADED"))
    expected = Finding(head.position, "", "snapshot.differs", "the daemon's snapshot holds another state")
    assert (wrong.ok, wrong.findings) == (False, (expected,))


def test_the_halves_must_agree_where_they_meet(day: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = copied(day, tmp_path)
    monkeypatch.setattr(halves, "early_part", lambda *given: replace(early_part(*given), hash="another"))
    found = in_two(database)
    assert [each.rule for each in found.findings] == ["state.differs"]
    assert not found.ok
