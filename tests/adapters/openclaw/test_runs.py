"""The adapter as the daemon runs it, against a gateway that speaks recorded frames."""

import os
import signal
from pathlib import Path
from typing import Any

from tests.executors.bench import Bench, workbench
from tests.fakes.gateway import LOST, TOKEN, FakeGateway, answer, fake_gateway

from omni.adapters.records import Record, Records
from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.domain.values import Route
from omni.runtime.ports import SystemClock


def claw(gateway: FakeGateway, **options: Any) -> ExecutorConfig:
    return ExecutorConfig(
        name="claw", adapter="openclaw", transport="bundled", url=gateway.url, options={"token": TOKEN, **options}
    )


async def begun(bench: Bench, description: str, task_id: str = "t", **other: Any) -> None:
    """Start a task and return when something of its run was seen."""
    await bench.connected("claw")
    bench.start("claw", description, task_id, **other)
    await bench.until(cmd.ProgressMade, lambda m: m.task_id == task_id)


async def test_a_task_is_done_in_a_session_of_its_own_under_the_attempts_key(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await bench.connected("claw")
        done = await bench.run("claw", "[[slow:1.5]] sweep", "t7")
        assert isinstance(done, cmd.ReportSucceeded)
        assert done.result.content == "done: slow 1.5"
        assert done.session == "agent:main:omni-t7"
        assert done.usage is not None
        assert (done.usage.input_tokens, done.usage.output_tokens) == (10, 5)
        assert done.cost_usd is None  # the gateway says 0 for a model that has no price
        assert gateway.ran == [("agent:main:omni-t7", "t7:1")]
        await bench.until(cmd.ProgressMade, lambda m: "." in m.message)


async def test_a_follow_up_goes_on_in_the_session_that_it_names(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        done = await bench.run("claw", "and now?", "t8", session="agent:main:omni-t7")
        assert done.session == "agent:main:omni-t7"
        assert gateway.ran == [("agent:main:omni-t7", "t8:1")]


async def test_a_tool_that_the_agent_uses_is_told(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await bench.run("claw", "[[tool:exec]]")
        await bench.until(cmd.ProgressMade, lambda m: m.message.startswith("exec: "))


async def test_a_cancelled_task_is_stopped_at_the_gateway_and_that_is_certain(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[hang]]")
        bench.cancel("claw")
        assert await bench.outcome("t") == cmd.ReportCancelled("t", 1, confirmed=True)
        assert gateway.calls("sessions.abort") == [{"key": "agent:main:omni-t", "runId": "t:1"}]
        assert not gateway._memory.active
        assert (await bench.run("claw", "next", "t2")).result.content == "Hello from the gateway."


async def test_a_paused_task_stops_and_goes_on_in_its_session_when_it_is_resumed(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:20]]")
        bench.send(cmd.PauseAttempt("t", 1, "claw"))
        paused = await bench.outcome("t")
        assert isinstance(paused, cmd.ReportInterrupted)
        assert (paused.resumable, paused.orderly, paused.retry_after_ms) == (True, True, 0)
        assert not gateway._memory.active
        bench.heard.clear()
        bench.send(resumed("t", 2, "[[text:finished]]"))
        assert (await bench.outcome("t")).result.content == "finished"
        assert gateway.ran == [("agent:main:omni-t", "t:1"), ("agent:main:omni-t", "t:2")]
        assert "cut off" in gateway.calls("agent")[-1]["message"]


async def test_work_that_was_stopped_goes_on_under_a_key_of_its_own_as_the_gateway_answers_an_old_one_from_memory(
    tmp_path: Path,
) -> None:
    """A repetition has the key of the attempt that it repeats."""
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:20]]")
        bench.send(cmd.PauseAttempt("t", 1, "claw"))
        assert isinstance(await bench.outcome("t"), cmd.ReportInterrupted)
        for n in (2, 3):
            bench.heard.clear()
            bench.send(resumed("t", n, "[[slow:20]]" if n == 2 else "[[text:finished]]", key="t:1"))
            if n == 2:
                await bench.until(cmd.ProgressMade)
                bench.send(cmd.PauseAttempt("t", 2, "claw"))
                assert isinstance(await bench.outcome("t"), cmd.ReportInterrupted)
        assert (await bench.outcome("t")).result.content == "finished"
        assert gateway.ran == [("agent:main:omni-t", run) for run in ("t:1", "t:1#2", "t:1#3")]


async def test_a_run_that_a_restart_has_lost_is_begun_again_under_a_key_of_its_own(tmp_path: Path) -> None:
    """The gateway refuses the old one: it stands in the session already."""
    async with fake_gateway() as gateway:
        gateway.recovers_after_s = None
        gateway.history["agent:main:omni-t"] = [{"role": "user", "content": "work", "idempotencyKey": "t:1:user"}]
        cut_off = {"runId": "t:1", "status": "cancelled", "error": LOST}
        gateway.tasks["agent:main:omni-t"] = [answer("tasks.list")["tasks"][0] | cut_off]
        notes = {"session": "agent:main:omni-t", "run": "t:1", "key": "t:1", "asked": "t:1", "begins": 1, "sent": True}
        Records(tmp_path / "adapters" / "claw" / "attempts", SystemClock()).write(
            Record("h-t", "t:1", "t", "running", notes={**notes, "boot": gateway.boot_id})
        )
        async with workbench(tmp_path, claw(gateway)) as bench:
            await bench.connected("claw")
            bench.send(resumed("t", 2, "[[text:finished]]", key="t:1"))
            assert (await bench.outcome("t")).result.content == "finished"
        assert gateway.ran == [("agent:main:omni-t", "t:1#2")]


async def test_a_stop_that_nobody_heard_of_is_no_failure_of_the_work_that_goes_on(tmp_path: Path) -> None:
    """The gateway was told to stop the run, and went away before it said that it has."""
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:20]]")
        gateway.busy = {"agent.wait", "tasks.list"}
        bench.send(cmd.PauseAttempt("t", 1, "claw"))
        lost = await bench.outcome("t", 30)
        assert isinstance(lost, cmd.ReportInterrupted)
        assert (lost.resumable, lost.orderly) == (True, False)
        gateway.busy = set()
        bench.heard.clear()
        bench.send(resumed("t", 2, "[[text:finished]]", key="t:1"))
        assert (await bench.outcome("t")).result.content == "finished"


async def test_a_dropped_socket_does_not_run_the_work_twice(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:3]]")
        gateway.drop()
        assert (await bench.outcome("t")).result.content == "done: slow 3"
        assert gateway.ran == [("agent:main:omni-t", "t:1")]
        assert len(gateway.calls("agent")) == 1


async def test_a_run_that_the_gateway_takes_up_after_its_restart_is_adopted(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        gateway.recovers_after_s = 2.5
        await begun(bench, "[[slow:2]]")
        await gateway.restart()
        assert (await bench.outcome("t")).result.content == "done: slow 2"
        assert len(gateway.calls("agent")) == 1  # ours is the first, the gateway's own is the second
        assert len(gateway.ran) == 2


async def test_a_request_that_never_arrived_is_sent_once_more(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await bench.connected("claw")
        gateway.wait_before_answer_s = 30  # the gateway reads it and is killed before it has begun anything
        bench.start("claw", "hello")
        await bench.until(cmd.ReportStarted)
        await gateway.until_asked("agent")
        gateway.wait_before_answer_s = 0
        await gateway.restart()
        assert (await bench.outcome("t")).result.content == "Hello from the gateway."
        assert gateway.ran == [("agent:main:omni-t", "t:1")]


async def test_a_run_is_found_again_after_the_adapter_was_killed(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:15]]")
        os.kill((await bench.until(cmd.ReportStarted)).pid or 0, signal.SIGKILL)
        lost = await bench.outcome("t")
        assert isinstance(lost, cmd.ReportInterrupted)
        assert lost.resumable
        bench.heard.clear()
        bench.send(resumed("t", 2, "[[slow:15]]"))
        assert (await bench.outcome("t", 40)).result.content == "done: slow 15"
        assert gateway.ran == [("agent:main:omni-t", "t:1")]


async def test_the_result_of_a_run_that_ended_unwatched_is_fetched(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        await begun(bench, "[[slow:0.5]]")
        os.kill((await bench.until(cmd.ReportStarted)).pid or 0, signal.SIGKILL)
        done = await bench.outcome("t")  # by the time that the adapter is back, the run is over
        assert isinstance(done, cmd.ReportSucceeded)
        assert done.result.content == "done: slow 0.5"
        assert gateway.ran == [("agent:main:omni-t", "t:1")]


async def test_what_has_finished_is_answered_from_its_record(tmp_path: Path) -> None:
    async with fake_gateway() as gateway:
        async with workbench(tmp_path, claw(gateway)) as bench:
            first = await bench.run("claw", "[[text:once]]")
        await gateway.restart()  # it has forgotten the key
        async with workbench(tmp_path, claw(gateway)) as bench:
            again = await bench.run("claw", "[[text:once]]")
        assert again.result == first.result
        assert len(gateway.ran) == 1


async def test_nonsense_on_the_socket_is_passed_over(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        gateway.garbage = True
        assert (await bench.run("claw", "[[text:clear]]")).result.content == "clear"


async def test_a_providers_failure_keeps_its_words(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        failure = await bench.run("claw", "[[fail:fake-1 request failed (HTTP 500)]]")
        assert failure.error.kind == "failed"
        assert failure.error.message == "fake-1 request failed (HTTP 500)"


async def test_a_provider_that_rests_pauses_the_executor(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway)) as bench:
        words = "key is temporarily disabled after a failure. Retry after about 2 minutes"
        failure = await bench.run("claw", f"[[fail:{words}]]")
        assert (failure.error.kind, failure.retry_after_ms) == ("rate_limited", 120_000)
        assert (await bench.until(cmd.ExecutorPaused)).for_ms == 120_000


async def test_an_agent_that_is_not_there_is_a_bad_request(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway, agent="nobody")) as bench:
        failure = await bench.run("claw", "hello")
        assert failure.error.kind == "bad_request"
        assert "unknown agent id" in failure.error.message


async def test_a_gateway_that_is_not_there_is_said_with_the_command_that_starts_it(tmp_path: Path) -> None:
    async with workbench(tmp_path, claw(FakeGateway())) as bench:
        lost = await bench.lost("claw")
        assert "refused the connection: start it with `openclaw gateway run`" in lost.detail


async def test_a_wrong_token_is_said(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway, token="wrong-token")) as bench:
        assert "does not accept the token" in (await bench.lost("claw")).detail


async def test_another_protocol_is_said(tmp_path: Path) -> None:
    async with fake_gateway() as gateway, workbench(tmp_path, claw(gateway, protocols=(2, 3))) as bench:
        assert "speaks another protocol than 2 to 3" in (await bench.lost("claw")).detail


async def test_a_device_waits_for_its_approval_and_keeps_the_token_that_it_gets(tmp_path: Path) -> None:
    async with fake_gateway() as gateway:
        gateway.pairing = True
        async with workbench(tmp_path, claw(gateway, device="always")) as bench:
            await _approved_in(bench, gateway, tmp_path / "adapters" / "claw" / "device")


async def _approved_in(bench: Bench, gateway: FakeGateway, state: Path) -> None:
    lost = await bench.lost("claw")
    (request,) = gateway.asked_to_pair
    assert f"`openclaw devices approve {request}`" in lost.detail
    gateway.approve(request)
    await bench.connected("claw")
    assert (state / "device.token").read_text().startswith("device-token-of-")
    assert {path.stat().st_mode & 0o777 for path in (state / "device.pem", state / "device.token")} == {0o600}
    assert (await bench.run("claw", "[[text:in]]")).result.content == "in"


def resumed(task_id: str, n: int, description: str, key: str = "") -> cmd.StartAttempt:
    return cmd.StartAttempt(
        task_id, n, Route("claw"), description, key=key or f"{task_id}:{n}", handle=f"h-{task_id}",
        timeout_ms=30_000, idle_timeout_ms=30_000, resume=True,
    )  # fmt: skip
