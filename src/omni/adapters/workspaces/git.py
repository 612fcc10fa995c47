"""Git as a program: an argument list, an environment of ours, a bounded time, and its own words when it fails.

A repository's configuration can name programs: hooks, filters, a file system monitor, signing, editors, transports.
None of them is wanted here, so each call overrides them, and the environment takes that to git's own children.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from msgspec import Struct

from omni.adapters.workspaces.model import WorkspaceError
from omni.executors.children import CHILD, OWNER, close_pipes, environment

QUICK_S = 60.0
LONG_S = 900.0  # for what reads or writes a whole tree
TERM_PATIENCE_S = 3.0  # git removes its lock files when it is asked to end
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
MAX_WORDS = 2_000

_NOBODY = {"NAME": "Omni", "EMAIL": "omni@omni.invalid"}  # the domain .invalid never exists (RFC 2606)
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_EDITOR": ":",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _NOBODY.items()},
}
_OVERRIDES = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false",
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "core.askPass": "",
    "credential.helper": "",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "diff.external": "",
    "advice.addEmbeddedRepo": "false",
    "advice.detachedHead": "false",
}
_FILTER_COMMANDS = {"clean": "", "smudge": "", "process": "", "required": "false"}


class Output(Struct, frozen=True):
    """What git wrote; `cut` when there was more than was asked for."""

    code: int
    data: bytes
    words: str
    cut: bool = False

    @property
    def text(self) -> str:
        """Its answer as one text, without the line end."""
        return os.fsdecode(self.data).removesuffix("\n")


class Git(Struct, frozen=True):
    """Git in one directory. With `git_dir` it looks for no repository: a pointer that was changed is not followed.

    `lock` is a file descriptor that git holds open as long as it lives, also when we do not live so long.
    """

    cwd: str
    git_dir: str = ""
    lock: int | None = None
    filters: tuple[str, ...] = ()

    async def run(
        self, *argv: str, ok: tuple[int, ...] = (0,), limit_s: float = QUICK_S, most: int = MAX_OUTPUT_BYTES
    ) -> Output:
        """Run one command; raises WorkspaceError when it ends otherwise than with `ok`, or not in time."""
        starting = asyncio.ensure_future(self._start(argv))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:  # asyncio would kill it at once, and its lock files would stay
            await _end(await starting)
            raise
        try:
            async with asyncio.timeout(limit_s):
                output = await _collect(process, most)
        except TimeoutError:
            raise WorkspaceError(
                f"git {argv[0]} did not finish within {limit_s:g} s in {self.cwd}",
                hint="git status, in that directory: is it as slow?",
            ) from None
        finally:
            await asyncio.shield(_end(process))
        if output.code not in ok and not output.cut:
            raise WorkspaceError(f"git {argv[0]} failed in {self.cwd}: {output.words or f'exit code {output.code}'}")
        return output

    async def text(self, *argv: str) -> str:
        """The answer of a quick command."""
        return (await self.run(*argv)).text

    async def _start(self, argv: Sequence[str]) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                "git", *argv, cwd=self.cwd, env=self._environment(), start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                pass_fds=() if self.lock is None else (self.lock,),
            )  # fmt: skip
        except OSError as error:
            raise WorkspaceError(
                f"cannot start git in {self.cwd}: {error}",
                hint="install git, or set `workspaces: {mode: direct}`; then omni config check",
            ) from error

    def _environment(self) -> dict[str, str]:
        own = {**_ENVIRONMENT, **_as_variables(_overrides(self.filters))}
        if self.git_dir:
            own |= {"GIT_DIR": self.git_dir, "GIT_WORK_TREE": self.cwd}
        return environment(own, os.environ.get(OWNER, ""), os.environ.get(CHILD, ""))


async def without_filters(git: Git) -> Git:
    """The same, with every filter driver of the configuration switched off (LFS, encryption, keyword expansion)."""
    found = await git.run("config", "--null", "--name-only", "--get-regexp", r"^filter\.", ok=(0, 1))
    names = {key[len("filter.") :].rpartition(".")[0] for key in os.fsdecode(found.data).split("\0") if key}
    return Git(git.cwd, git.git_dir, git.lock, tuple(sorted(names)))


def _overrides(filters: Sequence[str]) -> dict[str, str]:
    off = {f"filter.{name}.{command}": value for name in filters for command, value in _FILTER_COMMANDS.items()}
    return _OVERRIDES | off


def _as_variables(overrides: Mapping[str, str]) -> dict[str, str]:
    """As variables and not as `-c`: a name may contain a `=`, which `-c` would take for the end of the key."""
    variables = {"GIT_CONFIG_COUNT": str(len(overrides))}
    for n, (key, value) in enumerate(overrides.items()):
        variables |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return variables


async def _collect(process: asyncio.subprocess.Process, most: int) -> Output:
    assert process.stdout
    assert process.stderr
    words = asyncio.create_task(_read(process.stderr, MAX_WORDS))
    try:
        data, cut = await _read(process.stdout, most)
        if cut:
            return Output(0, data, "", cut=True)
        said, _ = await words
        return Output(await process.wait(), data, os.fsdecode(said).strip())
    finally:
        words.cancel()


async def _read(stream: asyncio.StreamReader, most: int) -> tuple[bytes, bool]:
    """The first bytes of a stream, and whether there were more. A stream of few words is read to its end anyway."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk
        if len(kept) > most > MAX_WORDS:
            return bytes(kept[:most]), True
    return bytes(kept[:most]), False


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), TERM_PATIENCE_S)
    close_pipes(process)  # an answer that was cut has an end that nobody read
