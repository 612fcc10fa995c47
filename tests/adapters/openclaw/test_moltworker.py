"""A Moltworker: the adapter through a relay that guards its gateway as Cloudflare Access does."""

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.executors.bench import Bench, workbench
from tests.fakes.access_relay import CLIENT_SECRET, HEADERS, AccessRelay, access_relay, certificate
from tests.fakes.gateway import TOKEN, FakeGateway, fake_gateway

from omni.adapters.openclaw import moltworker
from omni.adapters.openclaw.frames import Away
from omni.adapters.openclaw.moltworker import Patience, asked, diagnosed, read_status
from omni.adapters.openclaw.settings import Settings, settings_of
from omni.config import ExecutorConfig
from omni.domain import commands as cmd
from omni.executors.bundled import Options
from omni.runtime.ports import SystemClock


def molt(relay: AccessRelay, headers: dict[str, str] = HEADERS, **options: Any) -> ExecutorConfig:
    return ExecutorConfig(
        name="molt", adapter="moltworker", transport="bundled", url=relay.url, headers=headers,
        options={"token": TOKEN, **options},
    )  # fmt: skip


@contextlib.asynccontextmanager
async def cloud(protocol: int = 4) -> AsyncIterator[tuple[FakeGateway, AccessRelay]]:
    """A gateway that pairs its devices, behind a relay."""
    async with fake_gateway() as gateway, access_relay(gateway.url) as relay:
        gateway.pairing, gateway.protocol = True, protocol
        yield gateway, relay


async def paired(bench: Bench, gateway: FakeGateway) -> None:
    """Approve the device as soon as it has asked."""
    await bench.lost("molt")
    (request,) = gateway.asked_to_pair
    gateway.approve(request)
    await bench.connected("molt")


# --- the way in


@pytest.mark.parametrize("protocol", [3, 4])
async def test_a_task_goes_through_access_and_pairing_with_older_gateways_and_newer(
    tmp_path: Path, protocol: int
) -> None:
    async with cloud(protocol) as (gateway, relay), workbench(tmp_path, molt(relay)) as bench:
        lost = await bench.lost("molt")
        (request,) = gateway.asked_to_pair
        assert f"needs pairing: OpenClaw's gateway at ws://127.0.0.1:{relay.port}" in lost.detail
        assert f"approve request {request} on {relay.url}/_admin/" in lost.detail
        gateway.approve(request)
        await bench.connected("molt")
        assert (await bench.run("molt", "[[text:from afar]]")).result.content == "from afar"
        state = tmp_path / "adapters" / "molt" / "device"
        assert (state / "device.token").read_text().startswith("device-token-of-")
        assert {each.stat().st_mode & 0o777 for each in state.iterdir()} == {0o600}
        assert all(each.headers["CF-Access-Client-Secret"] == CLIENT_SECRET for each in relay.seen)


@pytest.mark.parametrize("protocol", [3, 4])
async def test_the_kept_token_opens_the_gateway_alone_until_the_device_is_removed(
    tmp_path: Path, protocol: int
) -> None:
    async with cloud(protocol) as (gateway, relay):
        async with workbench(tmp_path, molt(relay)) as bench:
            await paired(bench, gateway)
        async with workbench(tmp_path, molt(relay, token="")) as bench:
            assert (await bench.run("molt", "[[text:again]]")).result.content == "again"
            assert not gateway.asked_to_pair
        gateway.forget_devices()
        async with workbench(tmp_path, molt(relay)) as bench:
            assert "needs pairing: " in (await bench.lost("molt")).detail
            await paired(bench, gateway)
            assert (await bench.run("molt", "[[text:back]]", "t2")).result.content == "back"


async def test_a_device_that_is_removed_while_it_is_connected_is_said_at_once(tmp_path: Path) -> None:
    async with cloud() as (gateway, relay), workbench(tmp_path, molt(relay)) as bench:
        await paired(bench, gateway)
        bench.heard.clear()
        gateway.forget_devices()
        assert "needs pairing: " in (await bench.lost("molt")).detail


async def test_a_run_of_an_older_gateway_is_found_again_after_a_dropped_socket(tmp_path: Path) -> None:
    async with cloud(3) as (gateway, relay), workbench(tmp_path, molt(relay)) as bench:
        await paired(bench, gateway)
        bench.start("molt", "[[slow:3]]")
        await bench.until(cmd.ProgressMade)
        gateway.drop()
        assert (await bench.outcome("t")).result.content == "done: slow 3"
        assert gateway.ran == [("agent:main:omni-t", "t:1")]


async def test_a_run_that_an_older_gateway_cannot_stop_is_not_called_cancelled(tmp_path: Path) -> None:
    async with cloud(3) as (gateway, relay), workbench(tmp_path, molt(relay)) as bench:
        await paired(bench, gateway)
        bench.start("molt", "[[hang]]")
        await bench.until(cmd.ProgressMade)
        bench.cancel("molt")
        ended = await bench.outcome("t")
        assert gateway.calls("chat.abort") == [{"sessionKey": "agent:main:omni-t", "runId": "t:1"}]
        assert not (isinstance(ended, cmd.ReportCancelled) and ended.confirmed)


async def test_another_protocol_than_three_or_four_is_refused_in_clear_words(tmp_path: Path) -> None:
    async with cloud(5) as (_, relay), workbench(tmp_path, molt(relay)) as bench:
        assert "speaks another protocol than 3 to 4: protocol mismatch" in (await bench.lost("molt")).detail


# --- the states


async def test_a_wrong_service_token_is_unauthorised_however_access_says_so(tmp_path: Path) -> None:
    wrong = {**HEADERS, "CF-Access-Client-Secret": "another-secret-than-theirs"}
    async with cloud() as (gateway, relay):
        for way in ("redirect", "forbid", "page"):
            relay.turns_away = way
            async with workbench(tmp_path / way, molt(relay, wrong)) as bench:
                detail = (await bench.lost("molt")).detail
                assert "unauthorised: Cloudflare Access before ws://127.0.0.1" in detail
                assert "check the service token" in detail
                assert "another-secret" not in detail
                assert "kid=" not in detail  # of the way to the login page its host is enough
        assert not gateway.requests


async def test_headers_that_are_missing_are_named(tmp_path: Path) -> None:
    async with cloud() as (_, relay), workbench(tmp_path, molt(relay, {"cf-access-client-id": "x"})) as bench:
        detail = (await bench.lost("molt")).detail
        assert "the entry has no header cf-access-client-secret; give it a service token" in detail


async def test_a_redirect_does_not_take_the_headers_elsewhere(tmp_path: Path) -> None:
    wrong = {**HEADERS, "CF-Access-Client-Id": "nobody"}
    async with cloud() as (gateway, relay), access_relay(gateway.url) as stranger:
        relay.login = f"ws://127.0.0.1:{stranger.port}/login"
        relay.closed_pages = True
        async with workbench(tmp_path, molt(relay, wrong)) as bench:
            assert "unauthorised: " in (await bench.lost("molt")).detail
        assert relay.seen
        assert not stranger.seen


async def test_the_headers_go_to_a_status_page_of_the_same_origin_only() -> None:
    async with cloud() as (gateway, relay), access_relay(gateway.url) as stranger:
        url = relay.url.replace("http:", "ws:")
        for page in (f"{relay.url}/api/status", f"{stranger.url}/api/status"):
            assert (await asked(Settings(url=url, headers=HEADERS, status_url=page))).kind == "running"
        assert relay.seen[0].headers.get("CF-Access-Client-Secret") == CLIENT_SECRET
        assert "CF-Access-Client-Secret" not in stranger.seen[0].headers


async def test_a_wrong_gateway_token_is_unauthorised(tmp_path: Path) -> None:
    async with cloud() as (_, relay), workbench(tmp_path, molt(relay, token="not-the-token")) as bench:
        detail = (await bench.lost("molt")).detail
        assert "unauthorised: " in detail
        assert "set `options.token` to its MOLTBOT_GATEWAY_TOKEN" in detail


async def test_a_moltworker_that_is_not_there_is_offline(tmp_path: Path) -> None:
    async with cloud() as (_, relay):
        await relay.down()
        async with workbench(tmp_path, molt(relay)) as bench:
            assert "offline: " in (await bench.lost("molt")).detail


async def test_a_server_error_is_offline_unless_the_status_says_that_it_starts(tmp_path: Path) -> None:
    async with cloud() as (_, relay):
        relay.broken, relay.status = 503, {"ok": False, "status": "start_failed", "error": "no such image"}
        async with workbench(tmp_path / "a", molt(relay)) as bench:
            detail = (await bench.lost("molt")).detail
            assert "offline: " in detail
            assert "HTTP 503; its status says start_failed: no such image" in detail
        relay.status = {"ok": False, "status": "not_responding"}
        async with workbench(tmp_path / "b", molt(relay)) as bench:
            assert "cold-starting: " in (await bench.lost("molt")).detail


async def test_a_container_that_starts_is_waited_for(tmp_path: Path) -> None:
    async with cloud() as (gateway, relay):
        async with workbench(tmp_path, molt(relay)) as bench:
            await paired(bench, gateway)
        relay.sleep()
        async with workbench(tmp_path, molt(relay)) as bench:
            lost = await bench.lost("molt")
            assert "cold-starting: the container of ws://127.0.0.1" in lost.detail
            bench.start("molt", "[[text:awake]]")
            failed = await bench.outcome("t")
            assert isinstance(failed, cmd.ReportFailed)
            assert failed.error.kind == "unavailable"
            relay.wake()
            await bench.connected("molt")
            assert (await bench.run("molt", "[[text:awake]]", "t2")).result.content == "awake"
            assert not (tmp_path / "adapters" / "molt" / "starting").exists()


async def test_a_handshake_that_hangs_is_a_cold_start_where_the_status_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cloud() as (_, relay):
        settings = Settings(url=relay.url.replace("http:", "ws:"), status_url=f"{relay.url}/api/status")
        relay.status = 500
        assert (await diagnosed(settings, TimeoutError())).kind == "offline"
        relay.status = {"ok": True, "status": "running"}
        assert (await diagnosed(settings, TimeoutError())).kind == "cold_starting"
    monkeypatch.setattr(moltworker, "STATUS_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes connections, and nobody answers
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = Settings(url=f"ws://{where}", status_url=f"http://{where}/api/status")
        assert (await diagnosed(settings, TimeoutError())).kind == "cold_starting"


async def test_a_start_that_takes_too_long_is_offline_and_its_time_outlives_the_process(tmp_path: Path) -> None:
    class Hands(SystemClock):
        at = 1_000_000_000

        def wall_ms(self) -> int:
            return self.at

    clock = Hands()
    async with access_relay("ws://127.0.0.1:1") as relay:
        relay.sleep()
        settings = Settings(url=f"ws://127.0.0.1:{relay.port}", status_url=f"{relay.url}/api/status", connect_s=180.0)

        async def state() -> Away:
            return await diagnosed(settings, TimeoutError(), Patience(tmp_path / "starting", 180.0, clock))

        for _ in range(4):
            assert (await state()).kind == "cold_starting"
            clock.at += 60_000
        late = await state()
        assert (late.kind, "more than 180 s" in late.message) == ("offline", True)
        clock.at += 3_600_000  # nobody has looked for an hour: what starts now is another start
        assert (await state()).kind == "cold_starting"
        relay.wake()
        assert (
            await diagnosed(settings, OSError("cut"), Patience(tmp_path / "starting", 180.0, clock))
        ).kind == "offline"
        assert not (tmp_path / "starting").exists()


@pytest.mark.parametrize(
    ("code", "kind", "body", "state"),
    [
        (200, "application/json", b'{"ok": true, "status": "running"}', "running"),
        (200, "application/json", b'{"ok": false, "status": "starting"}', "cold_starting"),
        (200, "application/json", b'{"ok": false, "status": "not_running"}', "cold_starting"),
        (200, "application/json", b'{"ok": false, "status": "error", "error": "boom"}', "offline"),
        (200, "application/json", b"[1, 2", "offline"),
        (200, "text/html; charset=utf-8", b"<html>", "unauthorised"),
        (302, "", b"", "unauthorised"),
        (403, "application/json", b"{}", "unauthorised"),
        (530, "text/html", b"", "offline"),
    ],
)
def test_what_the_status_says(code: int, kind: str, body: bytes, state: str) -> None:
    assert read_status(code, kind, body).kind == state


def test_an_address_of_pages_becomes_that_of_the_socket() -> None:
    told = Options("m", "moltworker", url="https://claw.example.org/gate?a=1", headers=HEADERS)
    found = settings_of(told, {"OPENCLAW_GATEWAY_TOKEN": "of-this-machine"})
    assert found.url == "wss://claw.example.org/gate?a=1"
    assert found.status_url == "https://claw.example.org/api/status"
    assert found.admin_url == "https://claw.example.org/_admin/"
    assert (found.token, found.signs, found.aged) == ("", True, True)


# --- what nobody may see


async def test_tls_is_verified_and_an_authority_of_ones_own_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, tls = certificate(tmp_path)
    async with fake_gateway() as gateway, access_relay(gateway.url, tls) as relay:
        gateway.pairing = True
        async with workbench(tmp_path / "a", molt(relay)) as bench:
            detail = (await bench.lost("molt")).detail
            assert "offline: " in detail
            assert "its certificate is not trusted" in detail
        assert not relay.seen
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        async with workbench(tmp_path / "b", molt(relay)) as bench:
            await paired(bench, gateway)
            assert (await bench.run("molt", "[[text:sealed]]")).result.content == "sealed"


async def test_no_argument_of_a_process_holds_a_header(tmp_path: Path) -> None:
    async with cloud() as (gateway, relay), workbench(tmp_path, molt(relay)) as bench:
        await paired(bench, gateway)
        lines = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
        assert any("omni.adapters.openclaw" in each for each in lines)
        assert not any(CLIENT_SECRET in each or TOKEN in each for each in lines)
