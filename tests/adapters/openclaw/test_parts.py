"""The parts without IO, or with files only: what frames mean, the device, the settings."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.fakes.gateway import RECORDED, TOKEN, FakeGateway, fake_gateway

from omni.adapters.openclaw import runs
from omni.adapters.openclaw.device import Device
from omni.adapters.openclaw.frames import Away, Fault, Lost, Refused, read_frame, read_hello, read_step, read_tasks
from omni.adapters.openclaw.gateway import Gateway
from omni.adapters.openclaw.outcome import (
    UNKNOWN,
    Ending,
    of_final,
    of_history,
    of_refusal,
    of_tasks,
    of_wait,
    structured,
)
from omni.adapters.openclaw.runs import session_key
from omni.adapters.openclaw.settings import Settings, read_config, settings_of
from omni.adapters.records import Records
from omni.adapters.service import Stop, Work
from omni.domain.errors import ConfigError
from omni.executors.bundled import Options
from omni.runtime.ports import SystemClock


def test_recorded_ends_of_a_run_mean_what_happened() -> None:
    done = of_final(RECORDED["final"]["payload"])
    assert (done.kind, done.words, done.run_id, done.model) == ("done", ". . . . . slow done", "RUN", "fake-1")
    assert done.tokens == {"input_tokens": 10, "output_tokens": 5}
    assert of_final(RECORDED["final.aborted"]["payload"]).kind == "aborted"
    refusal = Refused("agent", Fault("UNAVAILABLE", "words"), RECORDED["final.failed"]["payload"])
    assert of_refusal(refusal) == Ending("failed", "words", "RUN")
    assert of_refusal(Refused("agent", Fault("INVALID_REQUEST", "no such agent"))) is None


def test_wait_tells_a_run_that_it_knows_from_one_that_may_still_go_on() -> None:
    assert of_wait(RECORDED["wait.ok"]) == Ending("done", ". . . . . slow done", "RUN")
    assert of_wait(RECORDED["wait.timeout"]) == UNKNOWN
    assert of_wait(RECORDED["wait.aborted"]).kind == "aborted"
    assert of_wait({"status": "error", "error": "failed", "terminalReply": {"text": "too long"}}).words == "too long"


def test_an_answer_of_errors_only_is_a_failure() -> None:
    payload = {"runId": "r", "status": "ok", "result": {"payloads": [{"text": "too large", "isError": True}]}}
    assert of_final(payload) == Ending("failed", "too large", "r")
    assert of_final({**payload, "status": "error"}) == Ending("failed", "too large", "r")


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ({"status": "running"}, "unknown"),
        ({"status": "completed"}, "done"),
        ({"status": "cancelled", "error": "Task execution process exited before restart."}, "unknown"),
        ({"status": "cancelled", "error": "aborted"}, "aborted"),
        ({"status": "lost"}, "unknown"),
        ({"status": "failed", "error": "no model"}, "failed"),
    ],
)
def test_the_newest_run_of_a_session_decides(task: dict[str, Any], kind: str) -> None:
    older = {"status": "failed", "createdAt": 1}
    tasks = read_tasks({"tasks": [older, {**task, "createdAt": 2}, {"createdAt": "no number", "status": 7}]})
    assert of_tasks(tasks[:1]).kind == kind
    assert of_tasks([]) == UNKNOWN


def test_history_gives_the_answer_to_our_own_message_only() -> None:
    user, said = RECORDED["chat.history"]["messages"]
    told = of_history({"messages": [user, said]}, "RUN")
    assert (told.arrived, told.answer) == (True, ". . . . . slow done")
    assert of_history({"messages": [user, said]}, "another").arrived is False
    assert of_history({"messages": [user]}, "RUN").answer == ""
    recovered = {"role": "user", "content": "[System]", "provenance": {"sourceTool": "main_session_restart_recovery"}}
    assert of_history({"messages": [user, recovered, said]}, "RUN").answer
    stranger = {"role": "user", "content": "and another thing"}
    assert not of_history({"messages": [user, stranger, said]}, "RUN").answer


def test_a_failure_after_tools_were_used_does_not_pass_for_one_that_began_nothing() -> None:
    ending = Ending("failed", "HTTP 429, retry in 30 seconds")
    assert structured(ending, "s", touched=False)["error"] == {
        "kind": "rate_limited", "message": ending.words, "retry_after_s": 30.0,
    }  # fmt: skip
    assert structured(ending, "s", touched=True)["error"]["kind"] == "failed"


def test_frames_of_a_newer_gateway_are_read_as_far_as_they_are_known() -> None:
    assert read_frame("no json") is None
    assert read_frame('{"type": "event", "event": "new", "more": 1}') is not None
    hello = read_hello({**RECORDED["hello"]["payload"], "auth": "not an object"})
    assert (hello.protocol, hello.auth.scopes) == (4, ())
    assert hello.server.boot_id


def test_events_are_signs_of_life() -> None:
    text = read_step("agent", RECORDED["event.text"]["payload"])
    assert text is not None
    assert (text.kind, text.words) == ("text", ".")
    tool = read_step("agent", RECORDED["event.tool"]["payload"])
    assert tool is not None
    assert (tool.kind, tool.words) == ("tool", "exec: Exec print text")
    assert read_step("chat", RECORDED["event.chat"]["payload"]) is None


def test_a_device_keeps_its_key_and_signs_what_the_gateway_asked(tmp_path: Path) -> None:
    device = Device(tmp_path / "d")
    said = device.sign(client="c", mode="m", role="r", scopes=("a", "b"), token="t", nonce="n", ts=7, platform="linux")
    payload = f"v3|{device.id}|c|m|r|a,b|7|t|n|linux|"
    raw = base64.urlsafe_b64decode(device.public_key + "=")
    signature = base64.urlsafe_b64decode(str(said["signature"]) + "==")
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, payload.encode())
    assert Device(tmp_path / "d").id == device.id
    assert (tmp_path / "d" / "device.pem").stat().st_mode & 0o777 == 0o600


def test_a_key_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "device.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match="remove it"):
        Device(tmp_path)


def test_the_token_is_found_in_openclaws_own_configuration(tmp_path: Path) -> None:
    path = tmp_path / ".openclaw" / "openclaw.json"
    path.parent.mkdir()
    path.write_text(
        '// written by hand\n{gateway: {auth: {mode: "token", token: "s//cret",}, /* port */ port: 1},}', "utf-8"
    )
    told = Options("claw", "openclaw")
    assert settings_of(told, {"HOME": str(tmp_path)}).token == "s//cret"
    assert settings_of(told, {"OPENCLAW_CONFIG_PATH": str(path)}).token == "s//cret"
    far = settings_of(Options("claw", "openclaw", url="wss://claw.example.org"), {"HOME": str(tmp_path)})
    assert (far.token, far.signs) == ("", True)  # a token of this machine is nobody else's
    assert read_config(tmp_path / "none") is None


def test_a_moltworker_is_a_gateway_elsewhere(tmp_path: Path) -> None:
    found = settings_of(Options("m", "moltworker", url="wss://m.example.org", options={"connect_s": 60}), {})
    assert (found.signs, found.protocols, found.connect_s) == (True, (3, 4), 60)
    with pytest.raises(ConfigError, match="ws://"):
        settings_of(Options("m", "openclaw", url="http://m.example.org"), {})


def test_a_session_belongs_to_its_task() -> None:
    work = Work("do", "h", "t:1", task_id="t")
    assert session_key("main", work) == "agent:main:omni-t"
    assert session_key("main", Work("do", "h", "u:1", earlier="agent:main:omni-t")) == "agent:main:omni-t"
    assert session_key("main", Work("do", "h", "u:1", earlier="a-session-of-claude")) == "agent:main:omni-h"


@pytest.mark.parametrize(
    "session",
    [
        "agent:main:main",
        "agent:main:telegram:direct:42",
        "agent:main:omni-notices",
        "agent:other:omni-t",
        "agent:main:omni-t:x",
    ],
)
def test_no_task_gets_at_a_conversation_that_is_no_tasks(session: str) -> None:
    assert session_key("main", Work("do", "h", "u:1", task_id="u", earlier=session)) == "agent:main:omni-u"


async def test_a_request_is_away_before_it_is_sent_and_lost_after() -> None:
    async with fake_gateway() as fake:
        gateway = Gateway(Settings(url=fake.url, token=TOKEN), None)
        keeping = asyncio.create_task(gateway.keep())
        await gateway.first()
        link = await gateway.link(5)
        fake.wait_before_answer_s = 30
        asking = asyncio.create_task(link.ask("tasks.list", {"sessionKey": "s"}))
        await fake.until_asked("tasks.list")
        fake.drop()
        with pytest.raises(Lost):
            await asking
        with pytest.raises(Away):
            await link.ask("tasks.list", {"sessionKey": "s"})
        assert (await gateway.link(10)).boot_id == fake.boot_id
        keeping.cancel()


async def test_a_gateway_is_given_up_only_after_it_was_away_without_a_break() -> None:
    async with fake_gateway() as fake:
        gateway = Gateway(Settings(url=fake.url, token=TOKEN), None)
        keeping = asyncio.create_task(gateway.keep())
        await gateway.first()
        giving_up = asyncio.create_task(gateway.given_up(5.0))
        await fake.restart()
        await gateway.link(10)
        assert not giving_up.done()
        await fake.kill()
        before = asyncio.get_running_loop().time()
        await giving_up
        assert asyncio.get_running_loop().time() - before > 4
        assert "openclaw gateway run" in gateway.why_away.message
        keeping.cancel()
        await fake.up()


async def test_an_attempt_is_answered_before_the_gateway_is_given_up_however_late_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "AWAY_S", 1.0)
    gateway = Gateway(Settings(url=FakeGateway().url, token=TOKEN), None)
    keeping = asyncio.create_task(gateway.keep())
    with pytest.raises(Away):
        await gateway.first()
    records, work = Records(tmp_path, SystemClock()), Work("a task", "h-t", "t:1")
    async with asyncio.timeout(runs.ASK_S / 2):
        told = await runs.Run(gateway, records, work, None, Stop(), silence).carry()
    assert told["error"]["kind"] == "unavailable", "nothing was begun, so nobody is to wonder about it"
    keeping.cancel()


async def silence(progress: float, total: float | None, text: str) -> None:
    """Nobody listens."""
