"""Server-sent events by log position: nothing missing, nothing twice, and an end when there should be one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.server.house import until
from tests.web.browsing import Town, in_town

from omni.config import log_path
from omni.domain.events import DaemonStopped
from omni.eventlog.store import Entry
from omni.server.tokens import rotate_token
from omni.web import live


@pytest.fixture(autouse=True)
def nothing_but_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream also looks when it has been quiet for a while, which would hide a wake-up that was lost."""
    monkeypatch.setattr(live, "QUIET_S", 3600)


class Listener:
    """A browser's end of a stream."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.head = b""

    async def begin(self) -> int:
        self.head = await self._reader.readuntil(b"\r\n\r\n")
        return int(self.head.split()[1])

    async def heard(self) -> dict[str, Any]:
        """The next thing said: its fields; comments under `comment`. Empty at the end."""
        said: dict[str, Any] = {}
        while line := await self._line():
            name, _, value = line.partition(": ")
            said[name or "comment"] = msgspec.json.decode(value) if name == "data" else value
        return said

    async def positions(self, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            said = await self.heard()
            assert said, "the stream has ended"
            if "id" in said and "event" not in said:
                assert int(said["id"]) == said["data"]["position"]
                found.append(int(said["id"]))
        return found

    async def ended(self) -> bool:
        while await self.heard():
            pass
        return True

    async def _line(self) -> str:
        """A line of the body; the sizes of its chunks are left out."""
        while True:
            line = (await self._reader.readline()).decode()
            if not line:
                return ""
            if line.endswith("\r\n"):  # a chunk's size, or its end
                if line == "0\r\n":
                    return ""
                continue
            return line.rstrip("\n")


@asynccontextmanager
async def listening(
    town: Town, path: str = "/api/events", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Listener]:
    reader, writer = await asyncio.open_connection("127.0.0.1", town.house.door.port, limit=2**20)
    given = {"Host": f"127.0.0.1:{town.house.door.port}", **(headers or town.house.headers)}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        yield Listener(reader)
    finally:
        writer.close()


def append(town: Town, count: int = 1) -> None:
    at = town.store.head.position
    rows = [Entry("system", at + n, DaemonStopped(f"row {at + n}"), 1, 1, "test", "c") for n in range(1, count + 1)]
    town.store.append(rows)


def streams(town: Town) -> int:
    return len(town.site._live._tail.streams)


def csrf_of(town: Town, secret: str) -> str:
    known = town.site._login.sessions
    assert known is not None
    return known.csrf(known.named(secret))


# --- what is heard ----------------------------------------------------------------------------------------------------


def test_everything_after_a_position_comes_in_order_and_then_what_is_new(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town, 3 * live.BATCH + 7)
        async with listening(town, "/api/events?after=5") as browser:
            assert await browser.begin() == 200
            assert b"text/event-stream" in browser.head
            hello = await browser.heard()
            assert hello["event"] == "hello"
            assert hello["data"]["position"] == 3 * live.BATCH + 7
            assert await browser.positions(3 * live.BATCH + 2) == list(range(6, 3 * live.BATCH + 8))
            for _ in range(20):
                await asyncio.to_thread(append, town)
            assert await browser.positions(20) == list(range(3 * live.BATCH + 8, 3 * live.BATCH + 28))

    in_town(tmp_path, test)


def test_without_a_position_only_what_is_new_comes(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town, 10)
        async with listening(town) as browser:
            await browser.begin()
            await browser.heard()
            append(town, 2)
            assert await browser.positions(2) == [11, 12]

    in_town(tmp_path, test)


def test_many_writers_and_readers_miss_nothing(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        async def hear() -> list[int]:
            async with listening(town, "/api/events?after=0") as browser:
                await browser.begin()
                return await browser.positions(1000)

        hearing = [asyncio.create_task(hear()) for _ in range(4)]
        for _ in range(250):
            await asyncio.to_thread(append, town, 4)
        for each in hearing:
            assert await each == list(range(1, 1001))

    in_town(tmp_path, test)


def test_a_browser_that_comes_back_goes_on_after_the_last_it_has_seen(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town, 10)
        async with listening(town, "/api/events?after=0") as browser:
            await browser.begin()
            assert await browser.positions(10) == list(range(1, 11))
        append(town, 3)
        await town.house.restart_door()
        append(town, 3)
        again = {**town.house.headers, "Last-Event-ID": "10"}
        async with listening(town, "/api/events?after=0", again) as browser:  # it asks by the address of the first time
            await browser.begin()
            assert await browser.positions(6) == list(range(11, 17))

    in_town(tmp_path, test)


def test_a_position_beyond_the_end_means_load_the_page_again(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town, 4)
        async with listening(town, "/api/events?after=9") as browser:
            await browser.begin()
            await browser.heard()
            assert await browser.heard() == {"event": "reload", "id": "4", "data": {"position": 4}}
            append(town)
            assert await browser.positions(1) == [5]

    in_town(tmp_path, test)


def test_a_history_has_a_name_that_a_lost_tail_changes(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town)

        async def name() -> str:
            async with listening(town) as browser:
                await browser.begin()
                log: str = (await browser.heard())["data"]["log"]
                return log

        first = await name()
        append(town)
        assert await name() == first != ""
        town.store.accepted_loss = 2
        assert await name() != first

    in_town(tmp_path, test)


def test_a_log_that_cannot_be_read_is_said_so_with_the_next_command(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        append(town, 5)
        with closing(apsw.Connection(str(log_path(tmp_path)))) as damage:
            damage.execute("DROP TRIGGER events_no_delete")
            damage.execute("DELETE FROM events WHERE position = 3")
        async with listening(town, "/api/events?after=0") as browser:
            await browser.begin()
            await browser.heard()
            said = await browser.heard()
            assert (said["event"], said["retry"], said["data"]["hint"]) == ("trouble", "15000", "omni verify")
            assert await browser.ended()

    in_town(tmp_path, test)


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "%C2%B2", "9" * 40, ""])
def test_a_position_that_is_none_is_refused(after: str, tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        assert (await town.ask("GET", f"/api/events?after={after}", town.house.headers)).status == 400

    in_town(tmp_path, test)


def test_silence_is_broken_by_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUIET_S", 0.05)

    async def test(town: Town) -> None:
        async with listening(town) as browser:
            await browser.begin()
            await browser.heard()
            assert await browser.heard() == {"comment": "quiet"}

    in_town(tmp_path, test)


# --- when it ends -----------------------------------------------------------------------------------------------------


def test_the_door_closes_at_once_while_browsers_listen(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        async with listening(town) as browser:
            await browser.begin()
            await browser.heard()
            began = asyncio.get_running_loop().time()
            await town.house.door.stop()
            assert asyncio.get_running_loop().time() - began < 2  # uvicorn would wait three seconds and then cut off
            assert await browser.ended()

    in_town(tmp_path, test)


def test_a_new_token_ends_streams_by_token_and_by_cookie(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        async with listening(town) as one, listening(town, headers=cookie) as other:
            for each in (one, other):
                await each.begin()
                await each.heard()
            rotate_token(tmp_path / "token")
            assert await one.ended()
            assert await other.ended()

    in_town(tmp_path, test)


def test_leaving_ends_the_streams_of_that_session_alone(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        leaver, stayer = await town.log_in(), await town.log_in()
        async with listening(town, headers=leaver) as one, listening(town, headers=stayer) as other:
            for each in (one, other):
                await each.begin()
                await each.heard()
            csrf = csrf_of(town, leaver["Cookie"].partition("=")[2])
            assert (await town.post("/logout", {"csrf": csrf}, {**town.own, **leaver})).status == 303
            assert await one.ended()
            append(town)
            assert await other.positions(1) == [1]

    in_town(tmp_path, test)


def test_a_browser_that_has_gone_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        async with listening(town) as browser:
            await browser.begin()
            assert streams(town) == 1
        await until(lambda: streams(town) == 0)

    in_town(tmp_path, test)


def test_a_browser_that_never_reads_is_given_up_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "TAKEN_WITHIN_S", 0.3)

    async def test(town: Town) -> None:
        append(town, 60_000)
        _, writer = await asyncio.open_connection("127.0.0.1", town.house.door.port, limit=1)
        headers = "".join(f"{name}: {value}\r\n" for name, value in town.house.headers.items())
        host = f"Host: 127.0.0.1:{town.house.door.port}\r\n"
        writer.write(f"GET /api/events?after=0 HTTP/1.1\r\n{host}{headers}\r\n".encode())
        await until(lambda: streams(town) == 1)
        async with listening(town, "/api/events?after=59990") as good:
            await good.begin()
            assert await good.positions(10) == list(range(59991, 60001))
        await until(lambda: streams(town) == 0, within_s=20)
        writer.transport.abort()

    in_town(tmp_path, test)


def test_only_so_many_listen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 2)

    async def test(town: Town) -> None:
        async with listening(town) as one, listening(town) as two, listening(town) as three:
            assert (await one.begin(), await two.begin(), await three.begin()) == (200, 200, 503)
        await until(lambda: streams(town) == 0)
        async with listening(town) as again:
            assert await again.begin() == 200

    in_town(tmp_path, test)


def test_a_writer_is_not_kept_waiting_while_nobody_or_everybody_listens(tmp_path: Path) -> None:
    """The hook is one flag and at most one call a wake-up; it never waits for the loop."""

    async def test(town: Town) -> None:
        async with listening(town, "/api/events?after=0") as browser:
            await browser.begin()
            append(town, 5)  # on the loop's own thread: it would deadlock if the hook waited for the loop
            append(town, 5)
            assert await browser.positions(10) == list(range(1, 11))

    in_town(tmp_path, test)
