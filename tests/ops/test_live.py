"""Drills in a daemon that runs, asked for on the command line and over the API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.cli.conftest import make_omni

from omni.domain import events as ev
from omni.eventlog.reader import open_reader
from omni.eventlog.upcasters import log_codec
from omni.ops.load import Load
from omni.ops.stage import Stage
from omni.ops.throwaway import Pace, ThrowAway, throw_away

QUICK = Pace(dwell_s=2.0, check_interval_s=1.0)


class Served(NamedTuple):
    daemon: ThrowAway
    load: Load

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "omni.cli.main", *words, *self.daemon.options,
            env=self.daemon.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def omni(self, *words: str) -> tuple[int | None, str, str]:
        process = await self.begin(*words)
        out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    async def drills(self) -> list[str]:
        """The drills that the status shows."""
        return [each["name"] for each in (await self.load.status())["components"] if each["kind"] == "drill"]

    async def shows(self, *wanted: str) -> None:
        async with asyncio.timeout(15):
            while await self.drills() != list(wanted):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.05)

    async def normal(self) -> None:
        async with asyncio.timeout(30):
            while not ((await self.load.call()).ok and (await self.load.status())["mode"] == "NORMAL"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """A daemon at work, that stands for the user's."""
    async with Stage().open() as stage, throw_away(stage, QUICK) as daemon:
        load = Load(daemon.url, daemon.token, daemon.model_key)
        try:
            here = Served(daemon, load)
            await here.normal()
            yield here
        finally:
            await load.aclose()


@pytest.mark.slow
async def test_a_live_drill_is_shown_while_it_lasts_measured_and_written_down() -> None:
    async with served() as here:
        process = await here.begin("drill", "proxy-down", "--live", "--yes", "--seconds", "4", "--with-calls", "--json")
        await here.shows("proxy-down")
        _, shown, _ = await here.omni("status")
        out, errors = await process.communicate()
        assert process.returncode == 0, (out, errors)
        report = json.loads(out)
        assert (report["schema"], report["fault"], report["live"], report["ok"]) == (
            "omni.drill/1", "proxy-down", True, True
        )  # fmt: skip
        assert [figure["name"] for figure in report["figures"]] == [
            "first call answered on the direct channel",
            "mode event DEGRADED",
            "NORMAL again after the fault",
            "tasks failed meanwhile",
        ]
        assert "made on purpose by omni drill" in shown
        assert await here.drills() == []
        reader = open_reader(here.daemon.log, log_codec())
        begun = [each.event for each in reader.read() if isinstance(each.event, ev.DrillBegun)]
        reader.close()
        assert [each.fault for each in begun] == ["proxy-down"]


@pytest.mark.slow
async def test_whoever_stops_a_live_drill_ends_its_fault() -> None:
    async with served() as here:
        process = await here.begin("drill", "quota", "--live", "--yes", "--seconds", "200")
        await here.shows("quota")
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert process.returncode == 130
        assert b"stopped; the fault is over" in said
        assert await here.drills() == []
        process = await here.begin("drill", "rate-limit", "--live", "--yes", "--seconds", "200")
        await here.shows("rate-limit")
        process.kill()
        await process.communicate()
        assert await here.drills() == ["rate-limit"]
        code, out, _ = await here.omni("drill", "none", "--live")
        assert (code, out) == (0, "no drill is under way\n")
        assert await here.drills() == []


@pytest.mark.slow
async def test_a_drill_is_turned_down_when_it_could_measure_nothing_or_nobody_may_ask() -> None:
    async with served() as here, httpx.AsyncClient(trust_env=False) as anybody:
        wish: dict[str, Any] = {"fault": "quota", "seconds": 200}
        url = here.daemon.url + "/api/drill"
        assert (await anybody.post(url, json=wish)).status_code == 401
        login = {"authorization": f"Bearer {here.daemon.token}"}
        for wrong in ({"fault": "flood"}, {**wish, "seconds": 0}, {**wish, "seconds": 301}, {}):
            assert (await anybody.post(url, json=wrong, headers=login)).status_code == 400
        assert (await anybody.post(url, json=wish, headers=login)).status_code == 200
        code, _, errors = await here.omni("drill", "rate-limit", "--live", "--yes")
        assert code != 0
        assert "a drill is under way: quota" in errors
        assert "omni drill none --live" in errors
        await here.omni("drill", "none", "--live")
        await here.omni("mode", "brainstem")
        code, _, errors = await here.omni("drill", "quota", "--live", "--yes")
        assert code != 0
        assert "BRAINSTEM" in errors
        assert await here.drills() == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("kill", "--live", "--yes"), 2, "omni drill kill, with a daemon of its own"),
        (("proxy-down", "--live"), 2, "--yes"),
        (("proxy-down", "--with-calls"), 2, "omni drill proxy-down --live"),
        (("none",), 2, "omni drill none --live"),
        (("proxy-down", "--seconds", "0"), 2, "omni drill --help"),
        (("flood",), 2, "omni drill --help"),
        (("quota", "--live", "--yes"), 4, "omni serve"),
    ],
)
def test_a_wrong_wish_is_answered_with_the_next_command(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = make_omni(tmp_path / "home")("drill", *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert done.stdout == ""
