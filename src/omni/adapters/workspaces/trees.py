"""What is done in one repository: look at it, make a worktree, commit what it holds, describe it, remove it.

Only plumbing that leaves the user's tree alone: of the repository itself, nothing but objects, branches below
`refs/heads/omni/` and entries of our own in `worktrees/` is ever written. Branches are made and removed with
`update-ref`, because `git branch` also edits the configuration.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from msgspec import Struct

from omni.adapters.workspaces.claims import wipe
from omni.adapters.workspaces.git import LONG_S, Git, Output, without_filters
from omni.adapters.workspaces.model import MAX_DIFF_BYTES, WorkspaceError

BRANCHES = "omni/"
MAX_SAME_NAME = 1_000
MAX_INDEX_BYTES = 256 * 1024 * 1024
_NESTED = "160000 "  # the mode of a repository in the index of another
_COUNTS = re.compile(rb"^(\d+|-)\t(\d+|-)\t", re.MULTILINE)


class Repository(Struct, frozen=True):
    """The repository of a directory. `prefix`: that directory below `top`; `head`: empty before the first commit."""

    top: str
    prefix: str
    common: str
    head: str

    def at(self, lock: int | None) -> Git:
        """Git in the repository itself."""
        return Git(self.common, self.common, lock)


async def inspect(directory: str) -> Repository | None:
    """The repository that a directory is part of, None when it is part of none; raises WorkspaceError."""
    git = Git(directory)
    found = await git.run("rev-parse", "--is-inside-work-tree", "--is-bare-repository", ok=(0, 128))
    if found.code:
        if "not a git repository" in found.words:
            return None
        raise WorkspaceError(f"git cannot use {directory}: {found.words}", hint="git status, in that directory")
    if found.text == "false\nfalse":
        raise WorkspaceError(
            f"{directory} is inside a repository's own .git",
            hint="omni submit --workdir DIR, with a directory of the work tree",
        )
    common = await git.text("rev-parse", "--path-format=absolute", "--git-common-dir")
    head = (await git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))).text
    if found.text == "false\ntrue":
        return Repository(common, "", common, head)
    top = await git.text("rev-parse", "--show-toplevel")
    return Repository(top, await git.text("rev-parse", "--show-prefix"), common, head)


async def is_dirty(repository: Repository) -> bool:
    """Whether the user's tree has changes, or files, that are in no commit. Reads only."""
    if repository.top == repository.common:
        return False
    git = await without_filters(Git(repository.top))
    seen = await git.run("status", "--porcelain", "--ignore-submodules=all", limit_s=LONG_S, most=MAX_DIFF_BYTES)
    return bool(seen.data)


async def first_commit(repository: Repository, lock: int) -> str:
    """An empty commit to begin from, for a repository that has none yet."""
    git = repository.at(lock)
    return await git.text("commit-tree", await git.text("mktree"), "-m", "Begin")


def entry(common: str, root: Path) -> Path:
    """Where the repository keeps what it knows of a worktree of ours; the names are ours alone."""
    return Path(common) / "worktrees" / root.name


def inside(common: str, root: Path, lock: int) -> Git:
    """Git in a worktree, whatever the `.git` file in it says by now."""
    return Git(str(root), str(entry(common, root)), lock)


async def add(repository: Repository, root: Path, commit: str, lock: int) -> None:
    """Make a worktree with no branch."""
    git = repository.at(lock)
    await git.run("worktree", "add", "--quiet", "--detach", "--no-checkout", "--", str(root), commit)
    await move_to(repository.common, root, commit, lock)


async def move_to(common: str, root: Path, commit: str, lock: int) -> None:
    """Give a worktree in which nobody has worked the files of a commit; quick where they are there already."""
    git = await without_filters(inside(common, root, lock))
    await git.run("reset", "--hard", "--quiet", commit, limit_s=LONG_S)


async def make_branch(git: Git, branch: str, commit: str) -> None:
    """Make a branch that is not there; raises WorkspaceError when it is."""
    unlock_branch(git.cwd, branch)
    await git.run("update-ref", "--", f"refs/heads/{branch}", commit, "0" * len(commit))


async def free_branch(git: Git, wish: str) -> str:
    """A name below `omni/` that no branch has: the wish, or with a number behind."""
    if await tip(git, BRANCHES.rstrip("/")) is not None:
        raise WorkspaceError(
            f"a branch named 'omni' in {git.cwd} is in the way of branches below omni/",
            hint=f"git --git-dir={git.cwd} branch -m omni omni-old",
        )
    for n in range(1, MAX_SAME_NAME):
        branch = f"{BRANCHES}{wish}" + (f"-{n}" if n > 1 else "")
        if await tip(git, branch) is None:
            return branch
    raise WorkspaceError(
        f"there are {MAX_SAME_NAME} branches named {BRANCHES}{wish}",
        hint="git branch -D, for those that are not needed",
    )


async def tip(git: Git, branch: str) -> str | None:
    """The commit of a branch."""
    found = await git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", ok=(0, 1, 128))
    return found.text or None


async def put_on(common: str, root: Path, branch: str, lock: int) -> None:
    """Let a worktree be on a branch; its files stay as they are."""
    await inside(common, root, lock).run("symbolic-ref", "HEAD", f"refs/heads/{branch}")


async def take_off(common: str, root: Path, lock: int) -> None:
    """Let a worktree be on no branch, at the same commit: git guards the branch of one from the user."""
    git = inside(common, root, lock)
    await git.run("update-ref", "--no-deref", "HEAD", await git.text("rev-parse", "--verify", "HEAD^{commit}"))


async def save(common: str, root: Path, branch: str, message: str, lock: int) -> tuple[str, str]:
    """Commit what is there and not ignored, on the worktree's HEAD. The branch that names it, and what git left out.

    No porcelain commit: what is made of plumbing has no hooks, no template and no signature to begin with.
    """
    unlock(common, root)
    git = await without_filters(inside(common, root, lock))
    await _leave_nested(git, root)
    added = await git.run("add", "--all", "--ignore-errors", "--", ".", ok=(0, 1), limit_s=LONG_S)
    head = await git.text("rev-parse", "--verify", "HEAD^{commit}")
    tree = await git.text("write-tree")
    if tree == await git.text("rev-parse", f"{head}^{{tree}}"):
        commit = head
    else:
        commit = await git.text("commit-tree", tree, "-p", head, "-m", message)
    return await _name(git, common, root, branch, commit), _left_out(added.words)


async def _leave_nested(git: Git, root: Path) -> None:
    """Keep repositories inside this one as they are in the index: git would run in them, by their own configuration."""
    listed = await git.run("ls-files", "--stage", "-z", limit_s=LONG_S, most=MAX_INDEX_BYTES)
    entries = (each for each in os.fsdecode(listed.data).split("\0") if each.startswith(_NESTED))
    for path in [each.partition("\t")[2] for each in entries]:
        if _is_or_links(root / path / ".git"):
            await git.run("update-index", "--assume-unchanged", "--", path)


def _is_or_links(path: Path) -> bool:
    return os.path.lexists(path)


def _left_out(words: str) -> str:
    """What git says of files that it cannot read and of repositories inside this one."""
    said = [line for line in words.splitlines() if line.startswith("error:") or "embedded git repository" in line]
    return f"Not in the commit: {'; '.join(said)}." if said else ""


async def _name(git: Git, common: str, root: Path, branch: str, commit: str) -> str:
    """Move the branch to the commit, and if it cannot be moved, name the commit by another one; the name.

    The agent may have left the branch: then it may have commits that would be dropped, or the user may be on it.
    """
    old = await tip(git, branch)
    if old and await _has_in_it(git, old, commit):
        return branch
    apart = old and not await _has_in_it(git, commit, old)
    if apart or await is_elsewhere(git, root, branch):
        branch = await free_branch(git, branch.removeprefix(BRANCHES))
    unlock_branch(common, branch)
    await git.run("update-ref", "--", f"refs/heads/{branch}", commit)
    return branch


async def _has_in_it(git: Git, later: str, earlier: str) -> bool:
    return not (await git.run("merge-base", "--is-ancestor", earlier, later, ok=(0, 1))).code


async def is_elsewhere(git: Git, root: Path, branch: str) -> bool:
    """Whether a branch is checked out in another worktree, as the user's own."""
    where = await git.text("for-each-ref", "--format=%(worktreepath)", f"refs/heads/{branch}")
    return where not in {"", str(root)}


async def counts(git: Git, base: str, commit: str) -> tuple[int, int, int]:
    """Files, lines added and lines removed between two commits; a binary file has no lines."""
    said = await git.run("diff-tree", "-r", "-M", "--numstat", base, commit, limit_s=LONG_S)
    rows = _COUNTS.findall(said.data)
    return len(rows), *(sum(int(row[n]) for row in rows if row[n] != b"-") for n in (0, 1))  # type: ignore[return-value]


async def difference(git: Git, base: str, commit: str) -> str:
    """The difference between two commits as a patch, cut at its bound."""
    wanted = ("diff-tree", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv", "--no-color", base, commit)
    said = await git.run(*wanted, limit_s=LONG_S, most=MAX_DIFF_BYTES)
    return _whole(said) if not said.cut else _cut(said)


def _whole(said: Output) -> str:
    return said.data.decode("utf-8", "replace")


def _cut(said: Output) -> str:
    kept = said.data[: said.data.rfind(b"\n") + 1] or said.data
    return kept.decode("utf-8", "replace") + f"\n[cut: the difference is longer than {MAX_DIFF_BYTES // 1000} KB]\n"


def unlock(common: str, root: Path) -> None:
    """Remove the lock files that a killed git left in our own worktree; who calls this knows that none runs there."""
    for name in ("index.lock", "HEAD.lock"):
        (entry(common, root) / name).unlink(missing_ok=True)


def unlock_branch(common: str, branch: str) -> None:
    """Remove the lock file that a killed git left beside a branch below `omni/`; who calls this holds our own lock."""
    place = _place_of(common, branch)
    place.with_name(f"{place.name}.lock").unlink(missing_ok=True)


def _place_of(common: str, branch: str) -> Path:
    return Path(common) / "refs/heads" / branch


async def remove_branch(git: Git, branch: str, commit: str) -> None:
    """Remove a branch if it still is at that commit, and what a killed git left beside it."""
    unlock_branch(git.cwd, branch)
    await git.run("update-ref", "-d", f"refs/heads/{branch}", commit, ok=(0, 1, 128))
    with contextlib.suppress(OSError):
        # `omni`, if it is empty: git makes it for its lock, also where no branch is.
        _place_of(git.cwd, branch).parent.rmdir()


def remove(common: str, root: Path) -> None:
    """Remove a worktree and what the repository knows of it; blocks. Half-made ones go the same way, and no program
    runs: what stands in the worktree by now cannot be trusted.
    """
    wipe(root)
    if is_entry_of(entry(common, root), root):
        wipe(entry(common, root))
    with contextlib.suppress(OSError):
        (Path(common) / "worktrees").rmdir()  # as git does with the last one; fails while there are others


def is_entry_of(known: Path, root: Path) -> bool:
    """Whether an entry of a repository is about a worktree of ours. One that was only begun points nowhere yet."""
    pointer = _pointer(known)
    return known.is_dir() if not pointer else pointer == str(root / ".git")


def _pointer(known: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (known / "gitdir").read_text(errors="replace").strip()
    return ""


def known(common: str, home: Path) -> list[Path]:
    """Worktrees in a directory of ours that a repository knows, also where the files are gone."""
    entries = (Path(common) / "worktrees").glob("omni-*")
    return [home / each.name for each in entries if _pointer(each) == str(home / each.name / ".git")]
