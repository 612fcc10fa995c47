"""Workspaces of coding tasks, with real git: made, resumed, read, given back, cleared, and never in the user's tree."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from omni.adapters.workspaces import Place, WorkspaceError, Workspaces
from omni.adapters.workspaces.claims import wipe
from omni.config import adapters as config
from omni.runtime.ports import SystemClock

NOBODY = 65_534
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


def there(place: Place) -> bool:
    return Path(place.path).is_dir()


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


async def test_what_a_killed_git_left_locked_costs_no_work(tmp_path: Path) -> None:
    """A kill between the lock of a branch and its release leaves the lock file, and nobody else takes it away."""
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    heads = repo / ".git/refs/heads/omni"
    heads.mkdir(parents=True)
    (heads / "01a2b3c4-d5e6.lock").write_text("")
    place = await ours.place(str(repo), TASK, None)
    assert place.branch == "omni/01a2b3c4-d5e6"
    (Path(place.path) / "a.txt").write_text("one\nmore\n")
    for left in (heads / "01a2b3c4-d5e6.lock", *(each / "index.lock" for each in (repo / ".git/worktrees").iterdir())):
        left.write_text("")
    found = await ours.changes(place)
    assert found
    assert (found.branch, found.files) == (place.branch, 1)
    await ours.release(place, keep=False)
    assert [each.name for each in heads.iterdir()] == ["01a2b3c4-d5e6"]


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
    os.utime(repo / ".gitignore", (1, 1))  # a look at the status would like to note this in the index
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
    assert not there(place)
    assert git(repo, "show", f"{place.branch}:a.txt") == "better"
    again = await ours.changes(place)
    assert again
    assert again.files == 1


async def test_a_session_gets_the_same_path_again(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    first = await ours.place(str(repo / "sub"), TASK, None)
    assert first.path == f"{first.root}/sub"
    (Path(first.path) / "b.txt").write_text("begun\n")
    assert await workspaces(tmp_path).place("", "other", first) == first  # after a crash, say
    assert (Path(first.path) / "b.txt").read_text() == "begun\n"
    await ours.changes(first)
    await ours.release(first, keep=False)
    assert not there(first)
    assert await ours.place(str(repo), "other", first) == first
    assert (Path(first.path) / "b.txt").read_text() == "begun\n"
    assert git(Path(first.path), "status", "--porcelain", "--branch") == f"## {first.branch}"


async def test_a_session_whose_branch_is_gone_or_taken_goes_on_at_the_same_path(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    first = await ours.place(str(repo), TASK, None)
    await ours.release(first, keep=False)
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "second")
    again = await ours.place("", TASK, first)
    assert (again.path, again.branch) == (first.path, first.branch)
    assert again.base == git(repo, "rev-parse", "HEAD")
    (Path(again.path) / "a.txt").write_text("work\n")
    await ours.changes(again)
    await ours.release(again, keep=False)
    git(repo, "checkout", "--quiet", again.branch)  # now it is the user's
    third = await ours.place("", TASK, again)
    assert (third.path, third.branch, third.base) == (first.path, f"{first.branch}-2", again.base)
    (Path(third.path) / "a.txt").write_text("more\n")
    found = await ours.changes(third)
    assert found
    assert found.branch == third.branch
    assert git(repo, "status", "--porcelain") == ""


async def test_a_finished_tasks_branch_is_the_users_to_take_and_to_delete(tmp_path: Path) -> None:
    repo, clock = repository(tmp_path / "repo"), SetClock()
    ours, places = workspaces(tmp_path, clock), []
    for n in range(3):
        places.append(await ours.place(str(repo), f"task-{n}", None))
        (Path(places[-1].path) / "a.txt").write_text(f"{n}\n")
        await ours.changes(places[-1])
        await ours.release(places[-1], keep=True)
    again = await ours.place("", "other", places[0])
    assert again == places[0]
    assert git(Path(again.path), "status", "--porcelain", "--branch") == "## omni/task-0"
    await ours.release(again, keep=True)
    git(repo, "branch", "-D", "omni/task-1")
    git(repo, "checkout", "--quiet", "omni/task-2")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "the user's")
    clock.ahead_ms = 9 * DAY_MS
    await ours.tidy()
    assert everything(tmp_path) == []
    assert git(repo, "branch", "--format=%(refname:short)").split() == ["main", "omni/task-0", "omni/task-2"]
    assert git(repo, "log", "-1", "--format=%s", "omni/task-2") == "the user's"


async def test_commits_that_the_agent_made_elsewhere_are_found_and_lose_nothing(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    tree = Path(place.path)
    (tree / "a.txt").write_text("on the branch\n")
    git(tree, "commit", "--quiet", "-am", "kept")
    git(tree, "checkout", "--quiet", "-b", "feature", place.base)
    (tree / "a.txt").write_text("on another\n")
    found = await ours.changes(place)
    assert found
    assert found.branch == f"{place.branch}-2"
    assert git(repo, "show", f"{found.branch}:a.txt") == "on another"
    assert git(repo, "show", f"{place.branch}:a.txt") == "on the branch"
    assert (await ours.place("", TASK, place)).branch == found.branch


async def test_a_changed_pointer_leads_nowhere(tmp_path: Path) -> None:
    repo, other = repository(tmp_path / "repo"), repository(tmp_path / "other")
    ours = workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    before = bytes_of(other)
    (Path(place.path) / ".git").write_text(f"gitdir: {other}/.git\n")
    (Path(place.path) / "a.txt").write_text("changed\n")
    assert await ours.changes(place)
    await ours.release(place, keep=False)
    assert bytes_of(other) == before
    assert not strays(tmp_path, repo)


@pytest.mark.parametrize("options", [{"keep": 2, "keep_days": 30.0}, {"keep": 9, "keep_days": 3.0}])
async def test_finished_worktrees_go_by_number_and_age(tmp_path: Path, options: dict[str, float]) -> None:
    repo, clock = repository(tmp_path / "repo"), SetClock()
    ours, places = workspaces(tmp_path, clock, **options), []
    for n in range(4):
        places.append(await ours.place(str(repo), f"task-{n}", None))
        (Path(places[-1].path) / "a.txt").write_text(f"{n}\n")
        await ours.release(places[-1], keep=True)
        clock.ahead_ms += DAY_MS
        await ours.tidy()
    clock.ahead_ms += DAY_MS // 2
    await ours.tidy()
    assert [there(each) for each in places] == [False, False, True, True]
    assert git(repo, "show", "omni/task-0:a.txt") == "0"  # saved before it went
    assert not strays(tmp_path, repo)


async def test_what_runs_is_never_tidied_and_what_was_left_is_saved_before_it_goes(tmp_path: Path) -> None:
    repo, clock = repository(tmp_path / "repo"), SetClock()
    ours = workspaces(tmp_path, clock, keep_days=0.0, keep=0)
    place = await ours.place(str(repo), TASK, None)
    (Path(place.path) / "a.txt").write_text("long work\n")
    clock.ahead_ms = 9 * DAY_MS
    await ours.tidy()
    assert there(place)
    await workspaces(tmp_path, clock).tidy()  # the next process, which does not know it, after many days
    assert not there(place)
    assert git(repo, "show", f"{place.branch}:a.txt") == "long work"


async def test_tidy_clears_what_no_claim_names_and_nothing_of_the_users(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "omni-users"), "-b", "users")
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "gone"), "-b", "gone")
    (tmp_path / "gone").rename(tmp_path / "moved")  # a stale entry, and the user's own
    home = tmp_path / "state/workspaces"
    (home / "trees/omni-junk/deep").mkdir(parents=True)
    (home / "trees/omni-junk/deep").chmod(0o500)
    (home / "trees/link").symlink_to(tmp_path / "omni-users")
    (home / "claims" / f"{Path(place.root).name}.json").unlink()
    await workspaces(tmp_path).tidy()
    assert everything(tmp_path) == []
    assert sorted(each.name for each in (repo / ".git/worktrees").iterdir()) == ["gone", "omni-users"]
    assert (tmp_path / "omni-users/a.txt").exists()


def test_what_was_made_read_only_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tree/module/deep").mkdir(parents=True)
    (tmp_path / "tree/module/deep/file").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("x")
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    for each in (tmp_path, *tmp_path.rglob("*")):
        os.chown(each, NOBODY, NOBODY, follow_symlinks=False) if os.getuid() == 0 else None
    for name in ("tree/module/deep", "tree/module"):
        (tmp_path / name).chmod(0o500)
    pid = os.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.setuid(NOBODY if os.getuid() == 0 else os.getuid())  # no mode stops root
        wipe(Path("tree"))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "outside/file").exists()


def test_what_is_deep_or_locked_all_the_way_down_is_removed(tmp_path: Path) -> None:
    tree, here = tmp_path / "tree", Path.cwd()
    tree.mkdir()
    os.chdir(tree)
    for _ in range(3_000):  # further than a path can name, and than Python recurses
        os.mkdir("d")  # noqa: PTH102 - relative to where we are
        os.chdir("d")
    os.chdir(here)
    (tree / "locked/locked/locked").mkdir(parents=True)
    os.mkfifo(tree / "pipe")
    for name in ("locked/locked/locked", "locked/locked", "locked"):
        (tree / name).chmod(0)
    wipe(tree)
    assert not tree.exists()
    os.mkfifo(tree)
    wipe(tree)
    assert not tree.exists()


async def test_eight_tasks_at_once_in_one_repository(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)

    async def task(n: int) -> Place:
        place = await ours.place(str(repo), "same-name", None)
        (Path(place.path) / "a.txt").write_text(f"{n}\n")
        assert await ours.changes(place)
        await ours.release(place, keep=False)
        await ours.tidy()
        return place

    places = await asyncio.gather(*(task(n) for n in range(8)), ours.prepare())
    done = [each for each in places if each]
    assert len({each.path for each in done}) == len({each.branch for each in done}) == 8
    assert sorted(git(repo, "show", f"{each.branch}:a.txt") for each in done) == [str(n) for n in range(8)]
    assert not strays(tmp_path, repo)


async def test_without_git_the_directory_itself_or_an_empty_one_is_used(tmp_path: Path) -> None:
    plain, repo = tmp_path / "plain", repository(tmp_path / "repo")
    plain.mkdir()
    ours = workspaces(tmp_path)
    assert await ours.place(str(plain), TASK, None) == Place(str(plain), "direct")
    assert await workspaces(tmp_path, mode="direct").place(str(repo), TASK, None) == Place(str(repo), "direct")
    scratch = await ours.place("", TASK, None)
    assert (scratch.kind, list_of(scratch)) == ("scratch", [])
    assert await ours.changes(scratch) is None
    await ours.release(scratch, keep=False)
    assert not there(scratch)
    assert await ours.place("", TASK, scratch) == scratch
    assert there(scratch)


def list_of(place: Place) -> list[Path]:
    return list(Path(place.path).iterdir())


async def test_odd_repositories(tmp_path: Path) -> None:
    ours = workspaces(tmp_path)
    empty = tmp_path / "-empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    place = await ours.place(str(empty), "--upload-pack=x", None)
    assert (place.branch, list_of(place)) == ("omni/upload-pack-x", [Path(place.path) / ".git"])
    assert "no commit" in place.note
    (Path(place.path) / "a").write_text("a\n")
    found = await ours.changes(place)
    assert found
    assert (found.files, found.insertions) == (1, 1)

    repo = repository(tmp_path / "repo")
    git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    git(tmp_path / "linked", "commit", "--quiet", "--allow-empty", "-m", "aside")
    (tmp_path / "by-link").symlink_to(tmp_path / "linked/sub")
    place = await ours.place(str(tmp_path / "by-link"), TASK, None)
    assert place.repository == str(tmp_path / "linked")
    assert place.path == f"{place.root}/sub"
    assert place.base == git(tmp_path / "linked", "rev-parse", "HEAD")

    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    place = await ours.place(str(tmp_path / "bare.git"), TASK, None)
    assert (Path(place.path) / "a.txt").exists()
    assert await ours.changes(place) is None

    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "bare.git"), "module")
    git(repo, "commit", "--quiet", "-m", "with a submodule")
    place = await ours.place(str(repo), TASK, None)
    assert list((Path(place.path) / "module").iterdir()) == []
    assert "Submodules are empty" in place.note
    assert await ours.changes(place) is None


@pytest.mark.parametrize(
    ("where", "said"),
    [("missing", "there is no directory"), ("repo/.git", "inside a repository's own .git"), ("taken", "named 'omni'")],
)
async def test_what_cannot_be_used_is_said_and_leaves_nothing(tmp_path: Path, where: str, said: str) -> None:
    repository(tmp_path / "repo")
    git(repository(tmp_path / "taken"), "branch", "omni")
    ours = workspaces(tmp_path)
    with pytest.raises(WorkspaceError, match=said) as refused:
        await ours.place(str(tmp_path / where), TASK, None)
    assert refused.value.hint
    assert everything(tmp_path) == []
    with pytest.raises(WorkspaceError, match="is no workspace of this executor"):
        await ours.release(Place("/", "shadow", str(tmp_path / "repo"), "main", "", str(tmp_path / "repo")), keep=False)


async def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = repository(tmp_path / "repo", {"large.txt": "x" * 3_000_000, "a.txt": "a\n"})
    (tmp_path / "bin").mkdir()
    real = shutil.which("git")
    (tmp_path / "bin/git").write_text(f"#!/bin/bash\ntrap '' XFSZ; ulimit -f 1000; exec {real} \"$@\"\n")
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    before = bytes_of(repo)
    with pytest.raises(WorkspaceError, match=r"large\.txt"):
        await workspaces(tmp_path).place(str(repo), TASK, None)
    assert everything(tmp_path) == []
    assert bytes_of(repo) == before


def test_a_git_that_outlives_its_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, real = repository(tmp_path / "repo"), shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(
        f'#!/bin/sh\nif [ "$1" = reset ]; then touch {tmp_path}/begun\n'
        f'until [ -e {tmp_path}/go ]; do sleep 0.01; done; fi\nexec {real} "$@"\n'
    )
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    pid = os.fork()
    if pid == 0:
        asyncio.run(workspaces(tmp_path).place(str(repo), TASK, None))
        os._exit(1)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        async def tidy_while_it_works() -> None:
            tidying = asyncio.create_task(workspaces(tmp_path).tidy())
            assert (await asyncio.wait({tidying}, timeout=0.5))[1]
            (tmp_path / "go").touch()
            await tidying

        asyncio.run(tidy_while_it_works())
    finally:
        (tmp_path / "go").touch()
    assert everything(tmp_path) == []
    assert not (repo / ".git/worktrees").exists()


@pytest.mark.slow
async def test_a_worktree_made_ahead_is_taken_quickly(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", {f"d{n % 50}/f{n}.txt": f"{n}\n" * 20 for n in range(2_000)})
    plain, ahead = workspaces(tmp_path / "plain"), workspaces(tmp_path / "ahead", prepare=(str(repo),))
    fresh_s, taken_s = [], []
    for n in range(2):
        fresh_s.append(await seconds_of(plain, repo, f"plain-{n}"))
        await ahead.prepare()
        (repo / "d1/f1.txt").write_text(f"{n} later\n")
        git(repo, "commit", "--quiet", "-am", "later")
        taken_s.append(await seconds_of(ahead, repo, f"ahead-{n}"))
    assert min(taken_s) < min(fresh_s) / 2, (taken_s, fresh_s)


async def seconds_of(ours: Workspaces, repo: Path, name: str) -> float:
    begun = time.monotonic()
    place = await ours.place(str(repo), name, None)
    took = time.monotonic() - begun
    assert place.base == git(repo, "rev-parse", "HEAD")
    assert git(Path(place.path), "status", "--porcelain", "--branch") == f"## {place.branch}"
    return took


@pytest.mark.slow
async def test_200_cancels_leave_no_strays(tmp_path: Path) -> None:
    repo, ours, chance = repository(tmp_path / "repo"), workspaces(tmp_path, keep=0), random.Random(5)
    before, cancelled = bytes_of(repo), 0
    for n in range(200):
        task = asyncio.create_task(ours.place(str(repo), f"task-{n}", None))
        await asyncio.sleep(chance.uniform(0, 0.07))
        task.cancel()
        try:
            await ours.release(await task, keep=False)
        except asyncio.CancelledError:
            cancelled += 1
        await ours.tidy()
        assert everything(tmp_path) == [], n
    assert cancelled > 20
    assert bytes_of(repo) == before
    assert [*repo.glob(".git/worktrees"), *repo.glob(".git/refs/heads/omni")] == []


async def test_repositories_and_files_that_git_cannot_add_do_not_cost_the_rest(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    git(tmp_path, "init", "--quiet", f"{place.path}/begun")
    repository(Path(place.path) / "inner")
    os.mkfifo(Path(place.path) / "pipe")
    (Path(place.path) / "begun/file").write_text("x\n")
    (Path(place.path) / "a.txt").write_text("changed\n")
    found = await ours.changes(place)
    assert found
    assert "+changed" in found.diff
    assert "'begun/' does not have a commit" in found.note
    assert "embedded git repository: inner" in found.note


async def test_no_program_that_a_nested_repository_names_is_run(tmp_path: Path) -> None:
    repo, ran = repository(tmp_path / "repo"), tmp_path / "ran"
    inner = repository(repo / "inner")
    git(repo, "add", "inner")
    git(repo, "commit", "--quiet", "-m", "nest")
    ours = workspaces(tmp_path)
    place = await ours.place(str(repo), TASK, None)
    shutil.rmtree(Path(place.path) / "inner")
    shutil.copytree(inner, Path(place.path) / "inner")
    nested = Path(place.path) / "inner"
    git(nested, "config", "filter.evil.clean", f"touch {ran}; cat")
    (nested / ".gitattributes").write_text("* filter=evil\n")
    (nested / "a.txt").write_text("changed\n")
    (Path(place.path) / "made.txt").write_text("made\n")
    changes = await ours.changes(place)
    assert changes
    assert changes.files == 1
    assert not ran.exists()


async def test_line_ends_that_the_user_has_git_refuse_do_not_cost_the_work(tmp_path: Path) -> None:
    repo, ours = repository(tmp_path / "repo"), workspaces(tmp_path)
    git(repo, "config", "core.safecrlf", "true")
    git(repo, "config", "core.autocrlf", "input")
    place = await ours.place(str(repo), TASK, None)
    (Path(place.path) / "mixed.txt").write_bytes(b"one\r\ntwo\n")
    changes = await ours.changes(place)
    assert changes
    assert changes.files == 1


async def work_for_ever(tmp_path: Path, repo: Path, chance: random.Random) -> None:
    """What the killed process does: tasks, one after the other, some of them going on from the one before."""
    ours, earlier = workspaces(tmp_path, keep=2), None
    for n in range(1_000):
        place = await ours.place(str(repo), f"task-{n}", earlier)
        earlier = place if chance.random() < 0.3 else None
        (Path(place.path) / "a.txt").write_text(f"{chance.random()}\n")
        if chance.random() < 0.6:
            await ours.changes(place)
        await ours.release(place, keep=chance.random() < 0.4)
        await asyncio.gather(ours.prepare(), ours.tidy())


@pytest.mark.slow
def test_200_kills_leave_no_strays(tmp_path: Path) -> None:
    repo, chance = repository(tmp_path / "repo"), random.Random(7)
    mine = {name: data for name, data in bytes_of(repo).items() if not is_allowed(name)}
    clock = SetClock()
    for turn in range(200):
        pid = os.fork()
        if pid == 0:
            asyncio.run(work_for_ever(tmp_path, repo, random.Random(turn)))
            os._exit(1)
        time.sleep(chance.uniform(0.01, 0.15))  # the moment of the kill is the point
        family = psutil.Process(pid).children(recursive=True) if turn % 2 else []  # its git lives on, or goes with it
        os.kill(pid, signal.SIGKILL)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        asyncio.run(workspaces(tmp_path, clock, keep=2).tidy())
        assert strays(tmp_path, repo) == set(), turn
        clock.ahead_ms += DAY_MS // 8
    clock.ahead_ms += 30 * DAY_MS
    asyncio.run(workspaces(tmp_path, clock).tidy())
    assert everything(tmp_path) == []
    assert not (repo / ".git/worktrees").exists()
    assert {name: data for name, data in bytes_of(repo).items() if not is_allowed(name)} == mine
    assert git(repo, "fsck", "--strict").count("missing") == 0
