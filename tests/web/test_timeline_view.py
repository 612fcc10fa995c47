"""Which rows *Timeline* finds, from a log that was lived."""

from collections.abc import Iterator

import pytest
from tests.replay.lived import eventful

from omni.config import log_path
from omni.replay.history import History
from omni.replay.timeline import Wanted, timeline
from omni.web.pages import timeline as page
from omni.web.render import Words

WORDS = Words("en")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    directory = tmp_path_factory.mktemp("lived")
    world = eventful(directory)
    world.store.close()
    database = next(each for each in directory.rglob("*") if each.name == log_path(directory).name)
    with History.at(database) as opened:
        yield opened


def positions(found: page.Found) -> list[int]:
    return [row.position for row in found.rows]


def test_pages_of_rows_follow_each_other_without_a_gap(history: History) -> None:
    head = history.reader.head.position
    seen, until = [], head
    while True:
        found = page.newest(history, Wanted(until=until), WORDS, limit=7)
        seen += positions(found)
        if found.older is None:
            break
        until = found.older
    assert seen == list(range(head, 0, -1))


@pytest.mark.parametrize("first_look", [3, 10_000])
@pytest.mark.parametrize("events", [("task.",), ("health.mode_changed",), ("attempt.",)])
def test_filtered_pages_hold_all_that_fits_however_far_a_look_goes(
    history: History, events: tuple[str, ...], first_look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "FIRST_LOOK", first_look)
    head = history.reader.head.position
    wanted = [row.position for row in timeline(history, Wanted(events=events))]
    seen: list[int] = []
    until: int | None = head
    while until is not None:
        found = page.newest(history, Wanted(until=until, events=events), WORDS, limit=4)
        seen += positions(found)
        until = found.older
    assert seen == wanted[::-1]
    assert wanted


def test_a_look_back_ends_somewhere_and_says_where_to_go_on(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FIRST_LOOK", 5)
    monkeypatch.setattr(page, "MOST_LOOKED", 10)
    head = history.reader.head.position
    found = page.newest(history, Wanted(until=head, executor="nobody"), WORDS)
    assert found.rows == ()
    assert found.older is not None
    assert 0 < found.older < head


def test_the_state_at_a_position_is_that_of_the_log_up_to_it(history: History) -> None:
    head = history.reader.head.position
    looked = page.look(history, page.asked({"at": str(head // 2), "event": "task."}), "en", 0)
    assert looked.at == head // 2
    assert looked.state is not None
    assert looked.state["position"] == head // 2
    assert all(row.position <= head // 2 and row.type.startswith("task.") for row in looked.found.rows)
    shown = page.view(page.asked({"at": str(head // 2)}), looked, ["x"])
    assert shown["scrub"] == {"at": head // 2, "head": head, "before": head // 2 - 1, "after": head // 2 + 1}
    assert not shown["live"]


def test_an_address_that_makes_no_sense_asks_for_nothing() -> None:
    assert page.asked({"until": "-5", "executor": "  x "}) == page.Asked(executor="x")
    assert page.asked({"until": "７"}).until is None  # digits of other scripts
    assert page.asked({"task": "y" * 999}).task == "y" * 200
