"""Workspaces of coding tasks, with real git: made, resumed, read, given back, cleared; the user's tree stays as it is."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omni.adapters.workspaces import Place, WorkspaceError, Workspaces
from omni.config import adapters as config
from omni.runtime.ports import SystemClock

DAY_MS = 86_400_000
TASK = "01a2b3c4-d5e6-7000-8000-00000000000a"


class SetClock(SystemClock):
    """The machine's clock, put forward."""

    ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


def git(where: Path, *argv: str) -> str:
    done = subprocess.run(
        ("git", "-c", "user.name=U", "-c", "user.email=u@u.invalid", *argv),
        cwd=where, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def repository(path: Path, files: dict[str, str] | None = None) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    for name, text in (files or {"a.txt": "one\n", "sub/b.txt": "two\n", ".gitignore": "*.tmp\n"}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "first")
    return path


def workspaces(tmp_path: Path, clock: SystemClock | None = None, **options: object) -> Workspaces:
    return Workspaces(tmp_path / "state", config.Workspaces(**options), clock or SystemClock())  # type: ignore[arg-type]


def bytes_of(directory: Path) -> dict[str, bytes]:
    files = (each for each in sorted(directory.rglob("*")) if not each.is_dir() or each.is_symlink())
    return {str(each.relative_to(directory)): each.read_bytes() for each in files}


def is_allowed(name: str) -> bool:
    return name.startswith((".git/objects/", ".git/refs/heads/omni/", ".git/worktrees/"))


def strays(tmp_path: Path, *repositories: Path) -> set[str]:
    """Directories of ours and entries in repositories that no claim names."""
    home = tmp_path / "state/workspaces"
    claimed = {each.stem for each in (home / "claims").glob("*.json")}
    there = {each.name for each in (home / "trees").glob("*")}
    for each in repositories:
        there |= {known.name for known in (each / ".git/worktrees").glob("*")}
    return there - claimed


def everything(tmp_path: Path) -> list[Path]:
    home = tmp_path / "state/workspaces"
    return [*(home / "claims").glob("*"), *(home / "trees").glob("*")]


async def test_a_task_gets_a_worktree_on_a_branch_of_its_own(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "re po"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    assert (place.kind, place.branch, place.repository) == ("shadow", "omni/01a2b3c4-d5e6", str(repo))
    assert place.base == git(repo, "rev-parse", "HEAD")
    assert place.path == place.root
    assert Path(place.path).is_relative_to(tmp_path / "state/workspaces")
    assert (Path(place.path) / "sub/b.txt").read_text() == "two\n"
    assert git(Path(place.path), "status", "--porcelain", "--branch") == "## omni/01a2b3c4-d5e6"
    assert (place.dirty, place.note) == (False, "")


async def test_what_a_task_leaves_is_committed_and_described(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    tree = Path(place.path)
    (tree / "a.txt").write_text("one\nmore\n")
    git(tree, "commit", "--quiet", "-am", "by the agent")
    (tree / "new file.txt").write_text("x\ny\n")
    (tree / "junk.tmp").write_text("ignored")
    (tree / "sub/b.txt").unlink()
    found = await ours.changes(place)
    assert found
    assert (found.files, found.insertions, found.deletions) == (3, 3, 1)
    assert "+more" in found.diff
    assert found.path == place.root
    assert found.commit == git(repo, "rev-parse", place.branch)
    said = git(repo, "log", "--format=%an <%ae> %s", f"{place.base}..{place.branch}").splitlines()
    assert said == ["Omni <omni@omni.invalid> Work of 01a2b3c4-d5e6", "U <u@u.invalid> by the agent"]
    assert "junk.tmp" not in git(repo, "ls-tree", "-r", "--name-only", place.branch)
    assert git(tree, "status", "--porcelain") == ""
    assert await ours.changes(place) == found  # and again: nothing new


async def test_a_long_difference_is_cut_and_says_so(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    (Path(place.path) / "long.txt").write_text("0123456789\n" * 200_000)
    found = await ours.changes(place)
    assert found
    assert found.insertions == 200_000
    assert len(found.diff) < 201_000
    assert "[cut: the difference is longer than 200 KB]" in found.diff


async def test_the_users_tree_stays_byte_for_byte(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    hook = repo / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    for name in ("post-checkout", "pre-commit", "commit-msg", "reference-transaction", "post-index-change"):
        (repo / ".git/hooks" / name).write_text(hook.read_text())
        (repo / ".git/hooks" / name).chmod(0o755)
    trap = f"touch {tmp_path}/trapped; cat"
    for key, value in {
        "core.fsmonitor": f"touch {tmp_path}/monitored", "commit.gpgSign": "true", "gpg.program": "false",
        "filter.trap.clean": trap, "filter.trap.smudge": trap, "filter.a=b.clean": trap, "filter.trap.required": "true",
        "diff.external": trap, "core.logAllRefUpdates": "true",
    }.items():  # fmt: skip
        git(repo, "config", key, value)
    (repo / ".git/info/attributes").write_text("a.txt filter=trap\nsub/* filter=a=b diff=trap\n")
    (repo / "a.txt").write_text("the user works here\n")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "add", "staged.txt")
    (repo / "unknown.txt").write_text("untracked\n")
    for mark in ("hooked", "trapped", "monitored"):
        (tmp_path / mark).unlink(missing_ok=True)
    before, ours = bytes_of(repo), workspaces(tmp_path, prepare=(str(repo),))
    for n in range(3):
        await ours.prepare()
        place = await ours.place(str(repo / "sub"), f"task-{n}", None)
        assert place.dirty
        assert "is not committed" in place.note
        (Path(place.root) / "a.txt").write_text("changed\n")
        found = await ours.changes(place)
        assert found
        assert "is not committed" in found.note
        await ours.release(place, keep=n != 0)
        await ours.tidy()
    after = bytes_of(repo)
    assert {name: data for name, data in after.items() if not is_allowed(name)} == {
        name: data for name, data in before.items() if not is_allowed(name)
    }
    assert {name: after.get(name) for name in before} == before  # nothing of the user's went, objects included
    assert not [mark for mark in ("hooked", "trapped", "monitored") if (tmp_path / mark).exists()]


async def test_without_changes_nothing_is_left(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    before = bytes_of(repo)
    place = await ours.place(str(repo), TASK, None)
    assert await ours.changes(place) is None
    await ours.release(place, keep=False)
    assert everything(tmp_path) == []
    assert bytes_of(repo) == before
    await ours.release(place, keep=False)  # twice does no harm


async def test_a_branch_with_commits_outlives_its_worktree(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    (Path(place.path) / "a.txt").write_text("better\n")
    await ours.changes(place)
    await ours.release(place, keep=False)
    assert not Path(place.path).exists()
    assert git(repo, "show", f"{place.branch}:a.txt") == "better"
    again = await ours.changes(place)
    assert again
    assert again.files == 1
