"""The bookkeeping around an adapter: one run for each key, stops with a reason, records that outlive the process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from omni.adapters.records import KEPT, Record, Records
from omni.adapters.service import Service, Stop, Structured, Tell, Work, failed
from omni.executors.contract import Lookup
from omni.runtime.ports import SystemClock

HANDLE = "5f0c9d0e-5a1b-5c86-9f0e-3d8a1c7b2e4f"


class Weaver:
    """An adapter whose work ends when it is told to, with what it is told."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.began: list[tuple[Work, Record | None]] = []
        self.answers: asyncio.Queue[Structured] = asyncio.Queue()
        self.stops: list[str | None] = []

    async def run(self, work: Work, before: Record | None, stop: Stop, tell: Tell) -> Structured:
        self.began.append((work, before))
        self._records.write(Record(work.handle, work.key, work.task_id, "running", notes={"thread": "spun"}))
        answer = asyncio.create_task(self.answers.get())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({answer, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if answer.done():
            return self._given(answer.result())
        self.stops.append(stop.reason)
        return await answer  # it takes its time to stop

    def break_with(self, error: Exception) -> None:
        self.answers.put_nowait({"break": error})

    def _given(self, answer: Structured) -> Structured:
        if "break" in answer:
            raise answer["break"]
        return answer

    async def look_up(self, record: Record | None, handle: str, key: str) -> Lookup:
        return Lookup("unknown", resumable=record is not None)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.records = Records(directory, SystemClock())
        self.weaver = Weaver(self.records)
        self.service = Service(self.weaver, self.records)

    def run(self, key: str = "t:1", handle: str = HANDLE, **more: Any) -> asyncio.Task[Structured]:
        return asyncio.create_task(self.service.run(Work("weave", handle, key, "t", **more), _nobody))

    async def begun(self, times: int = 1) -> None:
        async with asyncio.timeout(5):
            while len(self.weaver.began) < times:  # noqa: ASYNC110 - nothing to wait on but the fact
                await asyncio.sleep(0.001)

    async def stopped(self) -> None:
        async with asyncio.timeout(5):
            while not self.weaver.stops:  # noqa: ASYNC110 - nothing to wait on but the fact
                await asyncio.sleep(0.001)


async def _nobody(progress: float, total: float | None, text: str) -> None:
    pass


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "attempts")


async def test_what_has_finished_is_answered_from_its_record_and_not_done_again(bench: Bench, tmp_path: Path) -> None:
    running = bench.run()
    bench.weaver.answers.put_nowait({"text": "woven"})
    assert await running == {"text": "woven"}
    later = Bench(tmp_path / "attempts")
    assert await later.run() == {"text": "woven"}
    assert not later.weaver.began
    assert await later.service.look_up(HANDLE, "t:1") == Lookup("finished", {"text": "woven"})


async def test_the_same_call_again_waits_for_the_work_that_runs(bench: Bench) -> None:
    first, second = bench.run(), bench.run()
    await bench.begun()
    bench.weaver.answers.put_nowait({"text": "woven"})
    assert await first == await second == {"text": "woven"}
    assert len(bench.weaver.began) == 1


async def test_another_attempt_of_a_session_that_still_ends_is_told_to_come_back(bench: Bench) -> None:
    first = bench.run("t:1")
    await bench.begun()
    second = await bench.run("t:2")
    assert second["error"]["kind"] == "unavailable"
    assert second["error"]["retry_after_s"] > 0
    bench.weaver.answers.put_nowait({"text": "woven"})
    await first


async def test_a_cancelled_call_stops_the_work_which_is_running_until_it_has_really_ended(bench: Bench) -> None:
    running = bench.run()
    await bench.begun()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await bench.service.look_up(HANDLE, "t:1")).state == "running"
    await bench.stopped()
    assert bench.weaver.stops == ["cancelled"]
    bench.weaver.answers.put_nowait(failed("cancelled", "stopped"))
    async with asyncio.timeout(5):
        while (found := await bench.service.look_up(HANDLE, "t:1")).state == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert found.result == failed("cancelled", "stopped")


async def test_an_end_of_the_server_is_no_wish_of_the_caller_to_give_up(bench: Bench) -> None:
    running = bench.run()
    await bench.begun()
    bench.service.close()
    running.cancel()  # as the server does with all that is open
    await bench.stopped()
    bench.weaver.answers.put_nowait(failed("interrupted", "ended"))
    await bench.service.end()
    assert bench.weaver.stops == ["ending"]
    found = await bench.service.look_up(HANDLE, "t:1")
    assert (found.state, found.resumable) == ("unknown", True)


async def test_an_adapter_that_breaks_leaves_a_question_and_no_answer_to_keep(bench: Bench) -> None:
    running = bench.run()
    await bench.begun()
    bench.weaver.break_with(RuntimeError("a thread snapped"))
    outcome = await running
    assert outcome["error"]["kind"] == "interrupted"
    assert "a thread snapped" in outcome["error"]["message"]
    assert (await bench.service.look_up(HANDLE, "t:1")).state == "unknown"


async def test_without_a_record_nothing_is_begun(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "attempts").rmdir()
    assert (await bench.run())["error"]["kind"] == "unavailable"
    assert not bench.weaver.began


async def test_nothing_is_begun_while_the_server_ends(bench: Bench) -> None:
    bench.service.close()
    assert (await bench.run())["error"]["kind"] == "unavailable"
    assert not bench.weaver.began


@pytest.mark.parametrize("kind", ["interrupted", "unavailable", "rate_limited"])
async def test_what_was_only_cut_off_goes_on_when_it_is_called_again(bench: Bench, kind: str) -> None:
    bench.weaver.answers.put_nowait(failed(kind, "not now"))
    assert (await bench.run())["error"]["kind"] == kind
    bench.weaver.answers.put_nowait({"text": "woven"})
    assert await bench.run("t:1", resume=True) == {"text": "woven"}
    _, before = bench.weaver.began[1]
    assert before is not None
    assert before.state == "running"


async def test_the_next_attempt_of_a_handle_sees_the_notes_of_the_one_before(bench: Bench) -> None:
    running = bench.run("t:1")
    await bench.begun()
    bench.records.write(Record(HANDLE, "t:1", "t", "running", notes={"place": "here"}))
    bench.weaver.answers.put_nowait({"text": "woven"})
    await running
    bench.weaver.answers.put_nowait({"text": "again"})
    await bench.run("t:2")
    _, before = bench.weaver.began[1]
    assert before is not None
    assert (before.key, before.notes) == ("t:1", {"place": "here"})


def test_a_record_is_whole_or_absent(tmp_path: Path) -> None:
    records = Records(tmp_path, SystemClock())
    written = records.write(Record("h-1", "t:1", outcome={"text": "x"}))
    assert records.find("h-1") == written
    (tmp_path / "h-1.json").write_bytes(b'{"handle": "h-1", "ke')
    assert records.find("h-1") is None
    assert records.all() == []


@pytest.mark.parametrize("handle", ["../../etc/passwd", "a/b", "", ".", "x" * 101])
def test_a_handle_is_no_path(tmp_path: Path, handle: str) -> None:
    records = Records(tmp_path, SystemClock())
    assert records.find(handle) is None
    with pytest.raises(ValueError, match="cannot be the handle"):
        records.write(Record(handle, "k"))


def test_finished_attempts_are_forgotten_beyond_a_number_and_open_ones_never(tmp_path: Path) -> None:
    records = Records(tmp_path, SystemClock())
    records.write(Record("open", "k", state="running"))
    for n in range(KEPT + 3):
        records.write(Record(f"h-{n}", "k", state="finished"))
    assert len(records.prune()) == 3
    assert records.find("open")
    assert len(records.all()) == KEPT + 1


async def test_what_is_not_on_record_had_not_begun_and_may_be_handed_over_again(bench: Bench) -> None:
    for _ in range(2):
        found = await bench.service.look_up(HANDLE, "t:1")
        assert found.state == "finished"
        assert found.result["error"]["kind"] == "unavailable"
        bench.records.write(Record(HANDLE, "t:1", "t", "planned"))
    bench.records.write(Record(HANDLE, "t:1", "t", "running", notes={"place": "here"}))
    assert (await bench.service.look_up(HANDLE, "t:1")).state == "unknown"
