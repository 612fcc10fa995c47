"""The configuration, who is told, which programs know Omni, and the command itself."""

import json
import os
import threading
import time
from collections.abc import Iterator

import pytest
from tests.cli.conftest import free_port
from tests.ops.doctor.conftest import Home

from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.looking import Check, look
from omni.ops.doctor.scene import Scene


def test_a_configuration_that_cannot_be_used_is_found_and_the_rest_is_looked_at(home: Home) -> None:
    file = home.write()
    file.write_text("prot: 18765\n")
    told = home.omni.json("doctor", code=2)
    named = {each["name"]: each for each in told["findings"]}
    assert "did you mean 'port'" in named["config.invalid"]["says"]
    assert "omni config check" in named["config.invalid"]["mend"]
    assert {"install", "disk", "limits"} <= named.keys()
    assert str(home.port) in named["port"]["says"]
    assert str(home.data) in named["daemon.none"]["says"]


def test_no_configuration_is_told_with_the_way_to_one(home: Home) -> None:
    told = {each["name"]: each for each in home.omni.json("doctor")["findings"]}
    assert told["config.none"]["level"] == "note"
    assert told["config.none"]["mend"].startswith("omni init")


def test_what_is_probably_not_meant_is_found(home: Home) -> None:
    home.config["api_keys"] = {"primary": {"somebody": "made-up-key"}}
    assert "the key for somebody is not used" in home.finding("config.warning").says


def test_that_nobody_is_told_is_told(home: Home) -> None:
    assert "notify.target" in home.finding("notify.nobody").mend
    home.config["notify"] = {"webhook": {"url": "http://127.0.0.1:9/hook", "secret": "made-up-secret"}}
    assert "notify.nobody" not in {each.name for each in home.findings()}


def _openclaw(home: Home, servers: dict[str, object]) -> None:
    file = home.path / ".openclaw" / "openclaw.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"// written by hand\n{json.dumps({'mcp': {'servers': servers}})}")


def test_an_openclaw_that_does_not_know_omni_is_told(home: Home) -> None:
    _openclaw(home, {})
    assert home.finding("openclaw.not_registered").mend == "omni init --openclaw --apply"


def test_an_openclaw_that_knows_another_daemon_is_found(home: Home) -> None:
    _openclaw(home, {"omni": {"url": f"http://127.0.0.1:{free_port()}/mcp"}})
    assert "--apply --force" in home.finding("openclaw.elsewhere").mend
    _openclaw(home, {"omni": {"url": f"http://localhost:{home.port}/mcp"}})
    assert "openclaw.elsewhere" not in {each.name for each in home.findings()}


NAME = "mac.tail1234.ts.net"


def _tailscale(home: Home, *, funnel: bool = False, leads: bool = True) -> None:
    status = {"BackendState": "Running", "Self": {"DNSName": f"{NAME}."}}
    web = {f"{NAME}:443": {"Handlers": {"/": {"Proxy": f"http://127.0.0.1:{home.port}"}}}}
    served = {"TCP": {"443": {"HTTPS": True}}, "Web": web, "AllowFunnel": {f"{NAME}:443": funnel}} if leads else {}
    home.program(
        "tailscale",
        f"""case "$1" in
status) echo '{json.dumps(status)}';;
serve) echo '{json.dumps(served)}';;
*) echo 1.80.0;;
esac""",
    )


def test_a_tailnet_that_leads_to_a_refused_name_is_found(home: Home) -> None:
    _tailscale(home)
    found = home.finding("tailscale.trouble")
    assert NAME in found.says
    assert f"allowed_hosts: [{NAME}]" in found.mend
    home.config["allowed_hosts"] = [NAME]
    assert any(each.name == "tailscale" and each.level == "ok" for each in home.findings())


def test_a_funnel_is_found(home: Home) -> None:
    home.config["allowed_hosts"] = [NAME]
    _tailscale(home, funnel=True)
    assert home.finding("tailscale.trouble").mend == "tailscale funnel --https=443 off"


def test_a_tailscale_that_leads_nowhere_is_told(home: Home) -> None:
    _tailscale(home, leads=False)
    assert home.finding("tailscale.state").mend == f"tailscale serve --bg {home.port}"


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_report_is_grouped_has_no_colour_off_a_terminal_and_ends_with_a_sum(home: Home) -> None:
    home.lived()
    (home.data / "token").chmod(0o640)
    said = home.omni("doctor").stdout
    assert "\x1b" not in said
    lines = said.splitlines()
    assert lines.index("data") < next(n for n, each in enumerate(lines) if "  ERROR" in each) < lines.index("log")
    assert lines[-1].startswith("1 error, ")
    assert lines[-1].endswith("omni doctor --fix mends 1 of them")


def test_every_trouble_names_its_mend(home: Home) -> None:
    home.config |= {"lite_llm_url": f"http://127.0.0.1:{free_port()}", "allowed_workdirs": ["/no/such/place"]}
    home.write(mode=0o644)
    told = home.omni.json("doctor", code=2)
    assert told["schema"] == "omni.doctor/1"
    assert told["counts"]["error"] == 1
    assert [each["name"] for each in told["findings"] if each["level"] != "ok" and not each["mend"]] == []


def test_a_look_that_hangs_does_not_hang_the_command(home: Home) -> None:
    """Reading a pipe that nobody writes to never ends, as with a file system that has gone away."""
    home.lived()
    token = home.data / "token"
    token.unlink()
    os.mkfifo(token, 0o600)
    began = time.monotonic()
    done = home.omni("doctor", "--json", timeout_s=40)
    assert time.monotonic() - began < 30
    named = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert "token" in named["doctor.too_slow"]["says"]
    assert "disk" in named


# --- the frame --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(home: Home) -> Scene:
    return home.scene()


def test_looks_go_side_by_side(scene: Scene) -> None:
    together = threading.Barrier(6)

    def meet(_: Scene) -> Iterator[Finding]:
        together.wait(5)
        yield fine("met", "all were there at once")

    seen = look([Check("data", f"look {n}", meet) for n in range(6)], scene)
    assert [each.name for one in seen for each in one.findings] == ["met"] * 6


def test_what_was_found_before_the_limit_counts_and_the_others_are_whole(scene: Scene) -> None:
    for_ever = threading.Event()

    def slow(_: Scene) -> Iterator[Finding]:
        yield fine("first", "seen")
        for_ever.wait()

    def quick(_: Scene) -> Iterator[Finding]:
        yield fine("other", "seen")

    waiting: list[list[str]] = []
    checks = [Check("data", "slow", slow, within_s=0.3), Check("data", "quick", quick)]
    held, whole = look(checks, scene, lambda _done, _of, names: waiting.append(names))
    for_ever.set()
    assert [each.name for each in held.findings] == ["first", "doctor.too_slow"]
    assert (held.finished, whole.finished) == (False, True)
    assert ["slow"] in waiting


def test_a_look_that_breaks_is_told_and_hides_nothing(scene: Scene) -> None:
    def broken(_: Scene) -> Iterator[Finding]:
        yield fine("first", "seen")
        raise ZeroDivisionError("no such number")

    [seen] = look([Check("data", "broken", broken)], scene)
    assert [each.name for each in seen.findings] == ["first", "doctor.failed"]
    assert "no such number" in seen.findings[1].says


def test_a_secret_is_masked_wherever_it_comes_from(home: Home) -> None:
    home.config["lite_llm_key"] = "made-up-and-secret"

    def tell(scene: Scene) -> Iterator[Finding]:
        yield found("data.foreign", f"they said {scene.config.lite_llm_key}", f"use {scene.config.lite_llm_key}")

    [seen] = look([Check("data", "telling", tell)], home.scene())
    assert (seen.findings[0].says, seen.findings[0].mend) == ("they said ***", "use ***")
