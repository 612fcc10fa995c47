"""Faults of the machine and of what is installed on it."""

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest
from tests.ops.doctor.conftest import Home

from omni.ops.doctor.machine import fits
from omni.ops.doctor.scene import Ran

PMSET = "Currently in use:\n standby              1\n sleep                {}\n disksleep            10\n"


def test_a_python_that_is_too_old_is_found(home: Home) -> None:
    assert "Python 3.11" in home.finding("install.python", python=(3, 9, 6)).mend


@pytest.mark.parametrize(
    ("version", "wanted", "is_fit"),
    [
        ("2.3.1", "<2.4,>=2.3", True), ("2.4.0", "<2.4,>=2.3", False), ("2.10", ">=2.9", True), ("1.9", ">=2", False),
        ("3.51.3.0", ">=3.51.3", True), ("17.0rc1", "<18,>=17", True), ("5", "", True),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(version: str, wanted: str, is_fit: bool) -> None:
    assert fits(version, wanted) is is_fit


def _metadata(place: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    """A package as the installer leaves it: what Python finds first on its path counts."""
    info = place / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n")


def _installed(home: Home, *requires: str) -> dict[str, dict[str, str]]:
    """What the command says where Omni requires these."""
    place = home.path / "site"
    _metadata(place, "omni-orchestrator", "0.2.0", requires)
    home.omni.environ["PYTHONPATH"] = f"{place}:{home.omni.environ['PYTHONPATH']}"
    told = json.loads(home.omni("doctor", "--json").stdout)
    return {each["name"]: each for each in told["findings"]}


def test_a_missing_package_is_found(home: Home) -> None:
    found = _installed(home, "no-such-package-here>=1", "also-not-there>=2; extra == 'otel'")
    assert "no-such-package-here" in found["install.missing"]["says"]
    assert "requirements.lock" in found["install.missing"]["mend"]
    assert "also-not-there" not in str(found)


def test_a_package_of_another_version_is_found(home: Home) -> None:
    found = _installed(home, "msgspec>=99")
    assert "msgspec" in found["install.version"]["says"]


def test_a_release_with_malware_is_found(home: Home) -> None:
    _metadata(home.path / "site", "litellm", "1.82.7")
    found = _installed(home, "litellm>=1.80")
    assert "1.82.7 carried malware" in found["install.tampered"]["says"]
    assert "pip uninstall litellm" in found["install.tampered"]["mend"]


def test_a_low_limit_of_open_files_is_found(home: Home) -> None:
    found = home.finding("limits.files", file_limit=lambda: 256)
    assert "256" in found.says
    assert "omni service install" in found.mend
    assert "launchctl limit" in home.finding("limits.files", file_limit=lambda: 256, platform="darwin").mend


@pytest.mark.parametrize(("hard", "is_found"), [(256, True), (4096, False)])
def test_a_low_limit_of_a_real_process_is_found(home: Home, hard: int, is_found: bool) -> None:
    """The daemon raises the soft limit by itself."""

    done = subprocess.run(
        home.omni.command("doctor", "--json"), env=home.omni.environ, cwd=home.path, capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )  # fmt: skip
    assert ("limits.files" in {each["name"] for each in json.loads(done.stdout)["findings"]}) is is_found


@pytest.mark.parametrize(("minutes", "found"), [(10, True), (0, False)])
def test_a_mac_that_sleeps_is_found(home: Home, minutes: int, found: bool) -> None:
    said = home.findings(platform="darwin", run=lambda *_: Ran(0, PMSET.format(minutes)))
    asleep = [each for each in said if each.name == "machine.sleeps"]
    assert bool(asleep) is found
    assert all(each.mend.startswith("sudo pmset -a sleep 0") for each in asleep)


def test_git_that_is_absent_is_found(home: Home, tmp_path: Path) -> None:
    home.config["mcp_servers"]["claude"] = {"adapter": "claude_code"}
    home.environ["PATH"] = str(tmp_path)
    scene = home.scene()
    assert scene.program("git") == ""
    found = {each.name: each for each in home.findings()}
    assert "apt-get install git" in found["git.absent"].mend or "xcode-select" in found["git.absent"].mend


def test_git_that_does_not_know_who_you_are_is_told(home: Home) -> None:
    if not os.access("/usr/bin/git", os.X_OK):
        pytest.skip("there is no git")
    home.config["mcp_servers"]["claude"] = {"adapter": "claude_code"}
    assert "git config --global user.name" in home.finding("git.no_user").mend
    (home.path / ".gitconfig").write_text("[user]\n\tname = Somebody\n\temail = somebody@example.org\n")
    assert "git.no_user" not in {each.name for each in home.findings()}
