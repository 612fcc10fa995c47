"""The workspaces of one adapter: taken, read, given back, made ready ahead, and cleared.

    place ──▶ (the agent works) ──▶ changes ──▶ release ──▶ tidy
                 prepare makes the worktree that the next `place` takes

All that is written to the user's repository is written under its lock, after a claim (`claims`) that says what is being
made. So whoever is killed leaves a claim behind, and `tidy` knows what to clear and what may still be resumed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from omni.adapters.records import store
from omni.adapters.workspaces import trees
from omni.adapters.workspaces.claims import Claim, Claims, wipe
from omni.adapters.workspaces.git import Git
from omni.adapters.workspaces.model import Changes, Place, WorkspaceError
from omni.adapters.workspaces.paths import below, blocking, every, existing, is_there, make_directory, note, short
from omni.config import adapters as config
from omni.runtime.ports import Clock

LATELY = 5  # repositories for which a worktree is made ready because they were used
DAY_MS = 86_400_000
READY_MS = 7 * DAY_MS


class Workspaces:
    """The workspaces below one adapter's state directory."""

    def __init__(self, state: Path, options: config.Workspaces, clock: Clock) -> None:
        self._home = state.resolve() / "workspaces"
        self._options = options
        self._clock = clock
        self._claims = Claims(self._home, clock)
        self._held: set[str] = set()

    async def place(self, workdir: str, name: str, earlier: Place | None) -> Place:
        """Where the task `name` works; raises WorkspaceError.

        `earlier` is the place of the session to go on from: the same path again, for a session belongs to its cwd.
        """
        if earlier is not None:
            return await self._again(earlier, name)
        if not workdir:
            return await self._scratch(None)
        path = existing(workdir)
        repository = await trees.inspect(path) if self._options.mode == "shadow" else None
        if repository is None:
            return Place(path, "direct")
        return await self._shadow(repository, name)

    async def changes(self, place: Place) -> Changes | None:
        """Commit what is there and describe it; None when nothing changed, or when the place is no worktree."""
        if place.kind != "shadow":
            return None
        claim = await self._claim_of(place)
        async with self._claims.lock(claim.common) as lock:
            claim, left_out = await self._saved(claim, lock)
            git = _bare(claim.common, lock)
            commit = await trees.tip(git, claim.branch)
            if commit is None or commit == place.base:
                return None
            counts = await trees.counts(git, place.base, commit)
            diff = await trees.difference(git, place.base, commit)
        said = f"{place.note} {left_out}".strip()
        return Changes(claim.branch, place.base, commit, *counts, diff, place.root, said)

    async def release(self, place: Place, *, keep: bool) -> None:
        """The task has ended. With `keep` the place stays for a look, else it goes; commits stay either way."""
        if place.kind == "direct":
            return
        claim = await self._claim_of(place)
        async with self._claims.lock(claim.common) as lock:
            self._held.discard(claim.id)
            await (self._put_by if keep else self._remove)(claim, lock)

    async def prepare(self) -> None:
        """Make one worktree ready for each repository that is named or was used lately. For the background.

        All are tried; then WorkspaceError says what could not be made.
        """
        if self._options.mode == "shadow":
            lately = [top for top, common in self._lately().items() if is_there(top) and is_there(common)]
            await every(self._make_ready(each) for each in dict.fromkeys((*self._options.prepare, *lately)))

    async def tidy(self) -> None:
        """Clear what crashes left, and what is too old or too many. At a start and after each task.

        All is tried; then WorkspaceError says what could not be cleared. What cannot be saved is not cleared.
        """
        await every(blocking(wipe, path) for path in self._claims.strays())
        await every(self._clear_entries(common) for common in self._commons())
        await every(self._clear(claim) for claim in self._due())

    # ---- taking --------------------------------------------------------------------------------------------------

    async def _shadow(self, repository: trees.Repository, name: str) -> Place:
        self._remember(repository)
        dirty = await trees.is_dirty(repository)
        async with self._claims.lock(repository.common) as lock:
            base = repository.head or await trees.first_commit(repository, lock)
            claim = await self._worktree(repository, base, lock)
            claim = await self._on_new_branch(claim, short(name), lock)
        return self._place(repository, claim, dirty=dirty)

    def _place(self, repository: trees.Repository, claim: Claim, *, dirty: bool) -> Place:
        root = self._claims.root(claim)
        said = note(repository, root, claim.base, dirty=dirty)
        cwd = str(below(root, repository.prefix))
        return Place(cwd, "shadow", repository.top, claim.branch, claim.base, str(root), dirty, said)

    async def _worktree(self, repository: trees.Repository, base: str, lock: int) -> Claim:
        """A worktree at a commit: the one that is ready, or a new one."""
        for ready in self._ready(repository.common):
            claim = self._claims.write(replace(ready, state="making", top=repository.top, base=base))
            with contextlib.suppress(WorkspaceError):
                return await self._made(claim, lock, trees.move_to(claim.common, self._claims.root(claim), base, lock))
        return await self._new_worktree(repository, base, lock)

    async def _new_worktree(self, repository: trees.Repository, base: str, lock: int) -> Claim:
        claim = self._claims.new("making", common=repository.common, top=repository.top, base=base)
        return await self._made(claim, lock, trees.add(repository, self._claims.root(claim), base, lock))

    async def _made(self, claim: Claim, lock: int, making: Awaitable[None]) -> Claim:
        """The claim once its worktree is made; what could only be made by halves is removed at once."""
        try:
            await making
        except WorkspaceError:
            await self._remove(claim, lock)
            raise
        return claim

    async def _on_new_branch(self, claim: Claim, wish: str, lock: int) -> Claim:
        git = _bare(claim.common, lock)
        try:
            branch = await trees.free_branch(git, wish)
            named = self._claims.write(replace(claim, branch=branch))
            await trees.make_branch(git, branch, claim.base)
        except WorkspaceError:
            await self._remove(claim, lock)  # without a branch: if there is one, it is somebody else's
            raise
        return await self._opened(named, lock)

    async def _opened(self, claim: Claim, lock: int) -> Claim:
        await self._made(claim, lock, trees.put_on(claim.common, self._claims.root(claim), claim.branch, lock))
        self._held.add(claim.id)
        return self._claims.write(replace(claim, state="open"))

    async def _scratch(self, name: str | None) -> Place:
        claim = self._claims.write(Claim(name, "open")) if name else self._claims.new("open")
        self._held.add(claim.id)
        root = self._claims.root(claim)
        make_directory(root)
        return Place(str(root), "scratch", root=str(root))

    # ---- going on ------------------------------------------------------------------------------------------------

    async def _again(self, earlier: Place, name: str) -> Place:
        if earlier.kind == "direct":
            return replace(earlier, path=existing(earlier.path))
        known = self._id(earlier)
        if earlier.kind == "scratch":
            return await self._scratch(known)
        repository = await trees.inspect(existing(earlier.repository))
        if repository is None:
            raise WorkspaceError(
                f"{earlier.repository} is no git repository any more",
                hint="omni task retry ID, which begins from the start",
            )
        async with self._claims.lock(repository.common) as lock:
            before = self._claims.find(known)
            branch = (before and before.branch) or earlier.branch  # its commits may have needed another name
            claim = Claim(known, "open", 0, repository.common, repository.top, branch, earlier.base)
            if await self._is_there(claim, lock):
                claim = await self._reopened(claim, lock)
            else:
                claim = await self._rebuilt(repository, claim, short(name), lock)
        make_directory(Path(earlier.path))
        return replace(earlier, branch=claim.branch, base=claim.base)

    async def _reopened(self, claim: Claim, lock: int) -> Claim:
        """The claim of a worktree that stands. One that was open may be where the agent moved it; it stays there."""
        before = self._claims.find(claim.id)
        if before and before.state == "kept":
            await trees.put_on(claim.common, self._claims.root(claim), claim.branch, lock)
        self._held.add(claim.id)
        return self._claims.write(claim)

    async def _is_there(self, claim: Claim, lock: int) -> bool:
        """Whether the worktree stands, nobody had begun to make or remove it, and its branch is as it was left."""
        known, root = self._claims.find(claim.id), self._claims.root(claim)
        if known is None or known.state not in {"open", "kept"} or not is_there(root):
            return False
        trees.unlock(claim.common, root)
        if known.state == "open":
            return True
        git = trees.inside(claim.common, root, lock)
        here = (await git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))).text
        return here == await trees.tip(git, claim.branch) and not await trees.is_elsewhere(git, root, claim.branch)

    async def _rebuilt(self, repository: trees.Repository, claim: Claim, wish: str, lock: int) -> Claim:
        """The worktree at its old path: from its branch, and anew from HEAD if that is gone, too."""
        root, git = self._claims.root(claim), repository.at(lock)
        tip = await trees.tip(git, claim.branch)
        begin = tip or repository.head or await trees.first_commit(repository, lock)
        making = self._claims.write(replace(claim, state="making", branch="", base=claim.base if tip else begin))
        await blocking(trees.remove, claim.common, root)
        await self._made(making, lock, trees.add(repository, root, begin, lock))
        if tip is None or await trees.is_elsewhere(git, root, claim.branch):
            fresh = await self._on_new_branch(replace(making, base=begin), wish, lock)
            return self._claims.write(replace(fresh, base=making.base))
        return await self._opened(replace(making, branch=claim.branch), lock)

    # ---- giving back ---------------------------------------------------------------------------------------------

    async def _saved(self, claim: Claim, lock: int) -> tuple[Claim, str]:
        """All that is there is committed; the claim with the branch, and what git left out."""
        root = self._claims.root(claim)
        if not is_there(root):
            return claim, ""
        message = f"Work of {claim.branch.removeprefix(trees.BRANCHES)}"
        branch, left_out = await trees.save(claim.common, root, claim.branch, message, lock)
        if branch != claim.branch:
            claim = self._claims.write(replace(claim, branch=branch))
        return claim, left_out

    async def _put_by(self, claim: Claim, lock: int) -> None:
        """It stays for a look, and its branch is free for the user."""
        if claim.common:
            with contextlib.suppress(WorkspaceError):  # then git keeps the branch for the worktree until that goes
                await trees.take_off(claim.common, self._claims.root(claim), lock)
        self._claims.write(replace(claim, state="kept"))

    async def _remove(self, claim: Claim, lock: int) -> None:
        """The directory, what the repository knows of it, its branch if that is empty, and last the claim."""
        self._held.discard(claim.id)
        try:
            self._claims.write(replace(claim, state="going"))
        except WorkspaceError:  # a full disk: without a claim it goes as well, at the latest by `tidy`
            self._claims.forget(claim)
        if not claim.common:
            await blocking(wipe, self._claims.root(claim))
        else:
            await blocking(trees.remove, claim.common, self._claims.root(claim))
            if claim.branch and is_there(claim.common):
                git = _bare(claim.common, lock)
                await trees.remove_branch(git, claim.branch, claim.base)
        self._claims.forget(claim)

    async def _claim_of(self, place: Place) -> Claim:
        known = self._claims.find(self._id(place))
        if known is not None or place.kind == "scratch":
            return known or Claim(self._id(place), "open")
        repository = await trees.inspect(existing(place.repository))
        if repository is None:
            raise WorkspaceError(f"{place.repository} is no git repository any more")
        return Claim(self._id(place), "open", 0, repository.common, repository.top, place.branch, place.base)

    def _id(self, place: Place) -> str:
        if known := self._claims.id_of(place.root):
            return known
        raise WorkspaceError(f"{place.root or place.path} is no workspace of this executor", hint="omni task retry ID")

    # ---- ahead and after -----------------------------------------------------------------------------------------

    async def _make_ready(self, directory: str) -> None:
        repository = await trees.inspect(existing(directory))
        if repository is None:
            raise WorkspaceError(
                f"{directory} is no git repository",
                hint="see `workspaces.prepare` of the executor; then omni config check",
            )
        if not repository.head:
            return
        async with self._claims.lock(repository.common) as lock:
            if not self._ready(repository.common):
                claim = await self._new_worktree(repository, repository.head, lock)
                self._claims.write(replace(claim, state="ready"))

    def _ready(self, common: str) -> list[Claim]:
        return [each for each in self._claims.all() if each.state == "ready" and each.common == common]

    def _due(self) -> list[Claim]:
        """What should go: begun and not finished, kept too long or too many, ready or forgotten for days."""
        now, all_claims = self._clock.wall_ms(), self._claims.all()
        keep_ms = self._options.keep_days * DAY_MS
        kept = [each for each in all_claims if each.state == "kept"]
        too_many = {each.id for each in kept[: max(0, len(kept) - self._options.keep)]}
        ages = {"making": 0, "going": 0, "kept": keep_ms, "ready": READY_MS, "open": keep_ms + DAY_MS}
        return [
            each
            for each in all_claims
            if each.id not in self._held and (each.id in too_many or now - each.at_ms >= ages[each.state])
        ]

    async def _clear(self, claim: Claim) -> None:
        async with self._claims.lock(claim.common) as lock:
            now = self._claims.find(claim.id)
            if now is None or now.state != claim.state or now.at_ms != claim.at_ms:
                return  # somebody went on with it while we waited for the lock
            if claim.branch and is_there(claim.common) and not await self._is_unwanted(claim, lock):
                claim, _ = await self._saved(claim, lock)
            await self._remove(claim, lock)

    async def _is_unwanted(self, claim: Claim, lock: int) -> bool:
        """Whether nobody ever worked there, or the user has looked and removed the branch."""
        if claim.state == "kept":
            return await trees.tip(_bare(claim.common, lock), claim.branch) is None
        return claim.state != "open"

    async def _clear_entries(self, common: str) -> None:
        """Forget worktrees of ours in a repository which no claim names."""
        async with self._claims.lock(common):
            for root in trees.known(common, self._claims.trees):
                if self._claims.find(root.name) is None:
                    await blocking(trees.remove, common, root)

    def _commons(self) -> list[str]:
        named = [*self._lately().values(), *(claim.common for claim in self._claims.all())]
        return [common for common in dict.fromkeys(named) if common and is_there(common)]

    def _lately(self) -> dict[str, str]:
        """The repositories that were used last, newest first, each with its `.git`."""
        try:
            return msgspec.json.decode((self._home / "lately.json").read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}

    def _remember(self, repository: trees.Repository) -> None:
        newest = {repository.top: repository.common, **self._lately()}
        with contextlib.suppress(OSError, WorkspaceError):  # costs a worktree that is not ready, no more
            make_directory(self._home)
            store(self._home / "lately.json", msgspec.json.encode(dict([*newest.items()][:LATELY])))


def _bare(common: str, lock: int) -> Git:
    """Git in a repository, without a tree."""
    return Git(common, common, lock)
