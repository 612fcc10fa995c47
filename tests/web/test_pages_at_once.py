"""Pages that several ask for at once, or that a browser has given up before their turn came."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from tests.server.house import until
from tests.web.browsing import PAGE, Town, in_town

from omni.domain.errors import NotFound
from omni.web import pages
from omni.web.room import READERS, Left, Room


def test_a_page_that_nobody_waits_for_any_more_is_not_made(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        reading = town.site._room.reading
        for _ in range(READERS):
            await reading.acquire()
        gone = [await asked(town, cookie) for _ in range(5)]
        await until(lambda: len(reading._waiters or ()) == len(gone))
        for writer in gone:
            writer.close()
            await writer.wait_closed()
        await until(lambda: not reading._waiters)
        for _ in range(READERS):
            reading.release()
        assert (await town.ask("GET", "/tasks?log=1", {**PAGE, **cookie})).status == 200
        assert not reading.locked()

    in_town(tmp_path, test)


def test_whoever_waits_gets_the_page_when_it_is_their_turn(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        reading = town.site._room.reading
        for _ in range(READERS):
            await reading.acquire()
        waiting = asyncio.create_task(town.ask("GET", "/tasks?log=1", {**PAGE, **cookie}))
        await until(lambda: bool(reading._waiters))
        reading.release()
        assert (await waiting).status == 200
        reading.release()
        assert not reading.locked()

    in_town(tmp_path, test)


def test_a_reader_who_is_cancelled_keeps_no_place(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        room: Room = town.site._room
        for _ in range(READERS):
            await room.reading.acquire()
        waiting = asyncio.create_task(room.read(lambda _: None))
        await until(lambda: bool(room.reading._waiters))
        waiting.cancel()
        await asyncio.wait((waiting,))
        for _ in range(READERS):
            room.reading.release()
        await room.read(lambda _: None)
        assert room.reading._value == READERS

    in_town(tmp_path, test)


def test_one_page_at_a_time_folds_the_log_and_what_is_quick_does_not_wait_for_it(tmp_path: Path) -> None:
    running, most, go_on = 0, 0, threading.Event()

    def fold(_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert go_on.wait(10)
        running -= 1

    async def test(town: Town) -> None:
        room: Room = town.site._room
        folds = [asyncio.create_task(room.fold(fold)) for _ in range(3)]
        await until(lambda: running == 1)
        assert await asyncio.wait_for(room.read(lambda _: "quick"), 10) == "quick"
        gone = asyncio.create_task(replace(room, left=_at_once).fold(fold))
        with pytest.raises(Left):
            await gone
        go_on.set()
        await asyncio.gather(*folds)
        assert most == 1
        assert (room.folding._value, room.reading._value) == (1, READERS)

    in_town(tmp_path, test)


async def _at_once() -> None:
    """A browser that has gone."""


def test_no_full_collection_stops_everybody_while_pages_are_read(tmp_path: Path) -> None:
    full: list[str] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start" and about["generation"] == 2:
            full.append(threading.current_thread().name)

    def fold(_: Any) -> None:
        kept = [[[n]] for n in range(300_000)]
        assert kept

    def broken(_: Any) -> None:
        raise NotFound("nothing", hint="omni tasks")

    async def test(town: Town) -> None:
        room: Room = town.site._room
        usual = gc.get_threshold()
        gc.callbacks.append(note)
        try:
            await asyncio.to_thread(fold, None)  # without a room, so that the test can fail
            assert full
            full.clear()
            await asyncio.gather(*(room.read(fold) for _ in range(2 * READERS)))
            with pytest.raises(NotFound):
                await room.read(broken)
        finally:
            gc.callbacks.remove(note)
        assert full == []
        assert gc.get_threshold() == usual

    in_town(tmp_path, test)


def test_a_page_is_shown_to_those_too_who_ask_while_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, nothing = f"{pages.__name__}.held_up", cast(Any, None)
    (tmp_path / "held_up.py").write_text(
        "import asyncio, threading\nthreading.held_up.wait(10)\nasync def page(request, room): return 'shown'\n"
    )
    monkeypatch.setattr(pages, "__path__", [*pages.__path__, str(tmp_path)])
    monkeypatch.setattr(threading, "held_up", threading.Event(), raising=False)

    async def test() -> None:
        page = pages._late("held_up")
        first = asyncio.ensure_future(page(nothing, nothing))
        await until(lambda: name in sys.modules)
        second = asyncio.ensure_future(page(nothing, nothing))
        await asyncio.sleep(0)
        cast(Any, threading).held_up.set()
        assert [await first, await second] == ["shown", "shown"]

    try:
        asyncio.run(test())
    finally:
        sys.modules.pop(name, None)


async def asked(town: Town, cookie: dict[str, str]) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", town.house.door.port)
    headers = {"Host": f"127.0.0.1:{town.house.door.port}", **PAGE, **cookie}
    lines = ["GET /tasks?log=1 HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return writer
