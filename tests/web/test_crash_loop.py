"""What a browser sees while a crash loop has paused dispatch."""

from __future__ import annotations

from pathlib import Path

from tests.web.browsing import PAGE, Town, in_town

from omni.domain.commands import DispatchReport


def test_now_says_that_no_task_is_begun_and_how_to_go_on(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        cookie = await town.log_in()
        before = (await town.ask("GET", "/", {**PAGE, **cookie})).body
        town.house.desk.receive(DispatchReport("paused", 1_790_000_000_000, 1_790_000_600_000, 6))
        after = (await town.ask("GET", "/", {**PAGE, **cookie})).body
        assert "No task is begun" not in before
        assert "No task is begun" in after
        assert "omni mode auto" in after

    in_town(tmp_path, test)


def test_readiness_says_that_it_is_paused_and_that_it_is_being_stopped(tmp_path: Path) -> None:
    async def test(town: Town) -> None:
        assert (await town.ask("GET", "/readyz")).body == '{"status":"ready"}'
        town.house.desk.receive(DispatchReport("paused", 1_790_000_000_000, 1_790_000_600_000, 6))
        paused = await town.ask("GET", "/readyz")
        assert (paused.status, '"state":"paused"' in paused.body) == (200, True)
        town.house.desk.receive(DispatchReport("stopping"))
        assert (await town.ask("GET", "/readyz")).status == 503
        assert (await town.ask("GET", "/healthz")).status == 200

    in_town(tmp_path, test)
