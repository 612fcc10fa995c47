"""The workflow runs what anyone runs at home, on both systems, and nobody's word becomes a command in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.deploy.dockerfile import ROOT, by_name, stages

FILE = ROOT / ".github/workflows/ci.yml"
DOCUMENT: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
JOBS: dict[str, Any] = DOCUMENT["jobs"]
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(job: str) -> Iterator[str]:
    return (step["run"] for step in JOBS[job]["steps"] if "run" in step)


def test_one_job_is_the_gate_itself() -> None:
    assert list(commands("gate")) == [".ci/run"]


def test_both_systems_and_the_oldest_python_are_tried() -> None:
    tried = JOBS["test"]["strategy"]["matrix"]["include"]
    assert {each["os"] for each in tried} == {"ubuntu-latest", "macos-latest"}
    assert ("macos-latest", "3.11") in {(each["os"], each["python"]) for each in tried}
    assert "make test" in commands("test")
    assert "make run ONCE=1" in commands("test")


@pytest.mark.parametrize("job", JOBS)
def test_every_make_target_and_script_of_a_job_exists(job: str) -> None:
    for command in commands(job):
        for target in re.findall(r"\bmake ([a-z-]+)", command):
            assert target in TARGETS, target
        for script in re.findall(r"(?:^|\s)(\.ci/\S+|scripts/\S+)", command):
            assert (ROOT / script).is_file(), script
        for target in re.findall(r"for target in ([a-z ]+);", command):
            assert set(target.split()) <= set(by_name(stages()))


@pytest.mark.parametrize("job", JOBS)
def test_a_job_may_do_nothing_that_it_does_not_need(job: str) -> None:
    assert DOCUMENT["permissions"] == {"contents": "read"}
    assert set(JOBS[job].get("permissions", {})) <= {"contents", "packages"}
    if JOBS[job].get("permissions", {}).get("packages") == "write":
        assert job == "release" or "refs/tags/v" in JOBS[job]["if"]
    assert JOBS[job]["timeout-minutes"] <= 60
    for step in JOBS[job]["steps"]:
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), "others' actions see what the job sees"


@pytest.mark.parametrize("job", JOBS)
def test_what_others_write_reaches_a_shell_by_the_environment_only(job: str) -> None:
    """A branch may be named `$(…)`."""
    for command in commands(job):
        assert "${{" not in command


def test_what_is_published_has_passed_everything() -> None:
    needed = set(JOBS["publish"]["needs"])
    assert needed == set(JOBS) - {"publish", "release", "peers"}
    assert JOBS["release"]["needs"] == "publish"
