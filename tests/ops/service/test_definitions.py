"""What is written for launchd and systemd: absolute, private, complete, and understood."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.fakes.services.launchd_keys import wrong
from tests.fakes.services.systemd import _parse, _words

from omni.config import Config, Limits, load
from omni.domain.errors import ConfigError
from omni.ops.service import Launchd, Plan, Systemd, make_plan, manager_here
from omni.ops.service import launchd as rooms
from omni.ops.service.manager import ServiceError
from omni.ops.service.plan import STOP_S, search_path, stop_within_s
from omni.ops.service.samples import samples

DEPLOY = Path(__file__).parents[3] / "deploy"
SECRET = "sk-ant-not-for-a-plist"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "config.yaml"
    file.write_text("api_keys: {primary: {anthropic: '${ANTHROPIC_API_KEY}'}}\n")
    environ = {"ANTHROPIC_API_KEY": SECRET, "PATH": "/usr/bin", "HOME": str(tmp_path)}
    loaded = load(file, environ=environ, overrides={"data_dir": str(tmp_path / "my data")})
    return make_plan(loaded.config, loaded.path, environ)


def body(plan: Plan, home: Path) -> dict[str, Any]:
    written: dict[str, Any] = plistlib.loads(Launchd(plan, home=home).definition())
    return written


def complaints(file: Path, manager: str) -> list[str]:
    """What systemd's own check says of a unit file."""
    line = ["systemd-analyze", f"--{manager}", "--man=no", "verify", str(file)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(file.parent), "XDG_RUNTIME_DIR": str(file.parent)}
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert "Failed to initialize" not in done.stderr
    return [said for said in done.stderr.splitlines() if file.name in said]


def test_the_property_list_reads_back_as_it_was_meant(plan: Plan, tmp_path: Path) -> None:
    assert body(plan, tmp_path) == rooms.definition(plan)


def test_the_property_list_holds_known_keys_of_the_right_types(plan: Plan, tmp_path: Path) -> None:
    assert wrong(body(plan, tmp_path)) == []
    assert wrong(rooms.definition(replace(plan, user="omni"))) == []


def test_the_table_of_keys_objects_to_what_launchd_would_not_take() -> None:
    good = {"Label": "x", "ProgramArguments": ["/bin/true"]}
    assert wrong(good) == []
    assert wrong({**good, "KeepAlives": True}) == ["KeepAlives is no key"]
    assert wrong({**good, "ExitTimeOut": "30"}) == ["ExitTimeOut is a str"]
    assert wrong({**good, "RunAtLoad": 1}) == ["RunAtLoad is a int"]
    assert len(wrong({"ProgramArguments": ["omni"], "SoftResourceLimits": {"Files": 1}})) == 3


def test_the_property_list_keeps_the_promises(plan: Plan, tmp_path: Path) -> None:
    written = body(plan, tmp_path)
    assert written["KeepAlive"] == {"SuccessfulExit": False}
    assert written["Umask"] == 0o077
    assert written["ThrottleInterval"] == 10
    assert written["SoftResourceLimits"] == written["HardResourceLimits"] == {"NumberOfFiles": 8192}
    assert written["ExitTimeOut"] >= Limits().drain_s + STOP_S


def test_no_secret_is_in_what_is_written_and_every_path_is_absolute(plan: Plan, tmp_path: Path) -> None:
    for manager in (Launchd(plan, home=tmp_path), Systemd(plan, home=tmp_path, environ={})):
        assert SECRET.encode() not in manager.definition()
    assert Path(plan.program[0]).is_absolute()
    assert all(each.is_absolute() for each in (plan.data_dir, plan.env_file, plan.said, *map(Path, plan.path)))
    options: dict[str, str] = dict(zip(plan.program[4::2], plan.program[5::2], strict=True))
    assert all(Path(options[name]).is_absolute() for name in ("--data-dir", "--config"))


def test_a_longer_drain_gives_the_stop_more_time() -> None:
    assert stop_within_s(Config(limits=Limits(drain_s=100))) == 95 + stop_within_s(Config())


def test_the_unit_keeps_the_promises(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "omni.service"
    file.write_bytes(Systemd(plan, home=tmp_path, environ={}).definition())
    unit = {name: values[-1] for name, values in _parse(file).items()}
    kept = {"Restart": "on-failure", "KillMode": "mixed", "UMask": "0077", "LimitNOFILE": "8192"}
    assert {name: unit[name] for name in kept} == kept
    assert int(unit["TimeoutStopSec"]) == plan.stop_within_s
    assert _words(unit["ExecStart"]) == list(plan.program)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd's own check is not installed here")
@pytest.mark.parametrize("manager", ["user", "system"])
def test_systemd_itself_finds_nothing_wrong_with_the_unit(plan: Plan, tmp_path: Path, manager: str) -> None:
    plan.said.parent.mkdir(parents=True)
    awkward = replace(plan, program=(*plan.program, "--x", 'a b%n$HOME"q"'), user="root" if manager == "system" else "")
    file = tmp_path / "omni.service"
    file.write_bytes(Systemd(awkward, home=tmp_path, environ={}).definition())
    assert complaints(file, manager) == []
    file.write_text(file.read_text() + "TimeoutStopSecs=3\n")
    assert complaints(file, manager) != []


@pytest.mark.parametrize("name", samples())
def test_what_is_in_the_repository_is_what_this_code_writes(name: str) -> None:
    assert (DEPLOY / name).read_bytes() == samples()[name], "run: python -m omni.ops.service.samples"


@pytest.mark.parametrize("name", [each for each in samples() if each.endswith(".plist")])
def test_the_property_lists_in_the_repository_can_be_read(name: str) -> None:
    assert wrong(plistlib.loads((DEPLOY / name).read_bytes())) == []


def test_the_path_of_the_service_is_what_matters_of_the_installers(tmp_path: Path) -> None:
    tools, empty, open_to_all = (tmp_path / name for name in ("tools", "empty", "open"))
    for folder in (tools, empty, open_to_all):
        folder.mkdir()
    for folder in (tools, open_to_all):
        program = folder / "claude"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    open_to_all.chmod(0o777)
    given = f"{tools}:{empty}:{open_to_all}:relative/bin::/nowhere:{tools}"
    found = search_path({"PATH": given})
    assert str(tools) in found
    assert {str(empty), str(open_to_all), "relative/bin", "", "/nowhere"}.isdisjoint(found)
    assert len(set(found)) == len(found)
    assert {"/usr/bin", "/bin"} <= set(found)


def test_an_executor_that_is_started_by_its_name_is_found(tmp_path: Path) -> None:
    program = tmp_path / "my-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IRWXU)
    assert str(tmp_path) not in search_path({"PATH": str(tmp_path)})
    assert str(tmp_path) in search_path({"PATH": str(tmp_path)}, ["my-server"])


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "über", "../x"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        make_plan(Config(data_dir="/x"), None, {}, name=name)


@pytest.mark.parametrize("evil", ["a\nExecStartPre=/bin/evil", "a\r", "a\x00b", "a\u2028b", "a\\"])
def test_a_word_that_would_be_a_directive_of_its_own_is_refused(evil: str) -> None:
    for where, file, options in (("/x", Path("/c") / evil, []), (f"/{evil}", None, []), ("/x", None, ["--host", evil])):
        with pytest.raises(ConfigError, match="no service can be told"):
            make_plan(Config(data_dir=where), file, {}, options=options)


def test_a_folder_that_would_be_a_directive_of_its_own_is_not_searched(tmp_path: Path) -> None:
    folder = tmp_path / "a\nExecStartPre=evil"
    folder.mkdir()
    (folder / "claude").write_text("#!/bin/sh\n")
    (folder / "claude").chmod(stat.S_IRWXU)
    assert not any("\n" in each for each in search_path({"PATH": f"{folder}:/usr/bin"}))


def test_a_platform_without_a_manager_that_we_know_says_so(plan: Plan) -> None:
    assert isinstance(manager_here(plan, "darwin"), Launchd)
    assert isinstance(manager_here(plan, "linux"), Systemd)
    with pytest.raises(ServiceError, match="win32"):
        manager_here(plan, "win32")
