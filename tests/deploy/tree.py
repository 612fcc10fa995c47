"""Carries out the steps of a Dockerfile in directories, and runs what comes out of it as a container would.

The base image is what `debootstrap` makes of the same suite. A RUN is run in a chroot with namespaces of its own;
COPY, ENV, WORKDIR and USER do what they say. A `Box` then has a read-only root, one user without any capability, a
tmpfs and a volume: what compose.yaml asks for. What an engine adds (networks, cgroups, seccomp, published ports) is not
here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from tests.deploy.dockerfile import ROOT, Stage, by_name, environment, stages

STEP_WITHIN_S: Final = 900
USER: Final = 10001
BASE: Final = re.compile(r"(?:docker\.io/)?(?:library/)?debian:(?P<suite>[a-z]+)-slim(?:@.*)?")
PLAIN: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
NEEDED: Final = ("debootstrap", "unshare", "chroot", "setpriv", "mount")

_PREPARE: Final = """set -eu
mount --make-rprivate /
mount --bind "$TREE" "$TREE"
mount -t proc proc "$TREE/proc"
mount --rbind /dev "$TREE/dev"
mount -t tmpfs -o mode=755 tmpfs "$TREE/run"
"""
_BUILDING: Final = (
    _PREPARE
    + """
[ ! -e "$TREE/etc/resolv.conf" ] || mount --bind /etc/resolv.conf "$TREE/etc/resolv.conf"
[ -z "${CERTIFICATES:-}" ] || cp "$CERTIFICATES" "$TREE/run/certificates.pem"
exec "$@"
"""
)
_RUNNING: Final = (
    _PREPARE
    + """
mount -t tmpfs -o mode=1777,size=256m tmpfs "$TREE/tmp"
[ -z "${VOLUME:-}" ] || mount --bind "$VOLUME" "$TREE/data"
for pair in $FILES; do mount --bind -o ro "${pair%%:*}" "$TREE${pair#*:}"; done
mount -o remount,bind,ro "$TREE"
exec "$@"
"""
)


def missing() -> str:
    """Why nothing can be built here; empty when it can."""
    if os.geteuid() != 0:
        return "wants root, for chroot and mounts"
    absent = [name for name in NEEDED if not shutil.which(name)]
    return f"wants {', '.join(absent)}" if absent else ""


class Trees:
    """Builds stages below a directory, each once; the bare base is kept in `cache` for the next time."""

    def __init__(self, home: Path, cache: Path) -> None:
        self._home = home
        self._cache = cache
        self._stages = by_name(stages())
        self._built: dict[str, Path] = {}

    def build(self, name: str) -> Path:
        """The root of a stage after its last step."""
        if name not in self._built:
            stage = self._stages[name]
            root = self._home / name
            before = self.build(stage.base) if stage.base in self._stages else self._base(stage.base)
            subprocess.run(["cp", "--archive", "--reflink=auto", str(before), str(root)], check=True)
            _Builder(self, stage, root, environment(self._stages, stage.base) if stage.base in self._stages else {})()
            self._built[name] = root
        return self._built[name]

    def box(self, name: str, volume: Path | None = None, **env: str) -> Box:
        """The image of a stage, ready to run."""
        return Box(self.build(name), self._stages[name], environment(self._stages, name) | env, volume)

    def _base(self, image: str) -> Path:
        found = BASE.fullmatch(image)
        assert found, f"no way is known to make {image} here"
        tree = self._cache / found["suite"]
        if not (tree / "etc/debian_version").exists():
            unfinished = tree.with_name(tree.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            line = ["debootstrap", "--variant=minbase", found["suite"], str(unfinished)]
            subprocess.run(line, check=True, timeout=STEP_WITHIN_S, stdout=subprocess.DEVNULL)
            unfinished.rename(tree)
        return tree


class _Builder:
    """Carries out the steps of one stage; USER and the health check say how it runs, and change nothing here."""

    def __init__(self, trees: Trees, stage: Stage, root: Path, env: Mapping[str, str]) -> None:
        self._trees = trees
        self._stage = stage
        self._root = root
        self._env = {**PLAIN, **env}
        self._workdir = "/"

    def __call__(self) -> None:
        for step in self._stage.steps:
            match step.name:
                case "RUN":
                    self._run(step.rest)
                case "COPY":
                    self._copy(step.words, step.flags.get("from"))
                case "ENV":
                    self._env |= dict(pair.split("=", 1) for pair in step.words)
                case "WORKDIR":
                    self._workdir = step.rest
                    self._below(step.rest).mkdir(parents=True, exist_ok=True)
                case _:
                    pass

    def _run(self, command: str) -> None:
        """One RUN; settings of pip (an index, a certificate) come from outside, as build secrets do."""
        pip = {k: v for k, v in os.environ.items() if k.startswith("PIP_") and k != "PIP_FIND_LINKS"}
        certificates = pip.get("PIP_CERT", "")
        if certificates:
            pip["PIP_CERT"] = "/run/certificates.pem"
        inside = [f"{key}={value}" for key, value in {**pip, **self._env}.items()]
        line = ["chroot", str(self._root), "/usr/bin/env", "-i", "-C", self._workdir, *inside, "/bin/sh", "-c", command]
        done = subprocess.run(
            _apart(_BUILDING, line),
            env={**PLAIN, "TREE": str(self._root), "CERTIFICATES": certificates, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=STEP_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    def _copy(self, words: list[str], stage: str | None) -> None:
        *sources, target = words
        into = self._below(target)
        origin = self._trees.build(stage) if stage else ROOT
        for each in sources:
            source = origin / each.lstrip("/")
            place = into / source.name if target.endswith("/") else into
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, place)

    def _below(self, path: str) -> Path:
        return self._root / str(Path(self._workdir) / path).lstrip("/")


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        skip = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info") if source.is_relative_to(ROOT) else None
        shutil.copytree(source, place, symlinks=True, ignore=skip, dirs_exist_ok=True)
    else:
        shutil.copy2(source, place)


class Box(Struct, frozen=True):
    """A built image; each `line` is one process in namespaces of its own, over the same tree and volume."""

    root: Path
    stage: Stage
    env: dict[str, str]
    volume: Path | None = None
    files: tuple[tuple[Path, str], ...] = ()

    def with_file(self, source: Path, place: str) -> Box:
        """The same with a file of ours over one of the image's, read-only."""
        return Box(self.root, self.stage, self.env, self.volume, (*self.files, (source, place)))

    @property
    def main(self) -> list[str]:
        """What starts when nothing else is said."""
        return self.stage.last("ENTRYPOINT").words + self.stage.last("CMD").words

    @property
    def health_check(self) -> list[str]:
        """The command of HEALTHCHECK."""
        rest = self.stage.last("HEALTHCHECK").rest
        assert rest.startswith("CMD "), rest
        return [str(each) for each in json.loads(rest.removeprefix("CMD "))]

    def run(self, *words: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as `docker exec` would."""
        line, outside = self._line(list(words))
        return subprocess.run(line, env=outside, capture_output=True, text=True, timeout=within_s, check=False)

    @contextlib.contextmanager
    def running(self, said: Path, *words: str) -> Iterator[Running]:
        """The main command, or another, until the end of the block; SIGKILL then."""
        line, outside = self._line(list(words) or self.main)
        with said.open("ab") as out:
            process = subprocess.Popen(line, env=outside, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            running = Running(process, said)
            yield running
        finally:
            running.kill()

    def _line(self, words: list[str]) -> tuple[list[str], dict[str, str]]:
        user, _, group = self.stage.last("USER").rest.partition(":")
        inside = [f"{key}={value}" for key, value in self.env.items()]
        nobody = [
            "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--bounding-set=-all",
            "--inh-caps=-all", "--no-new-privs",
        ]  # fmt: skip
        workdir = self.stage.last("WORKDIR").rest
        line = ["chroot", str(self.root), *nobody, "/usr/bin/env", "-i", "-C", workdir, *inside, *words]
        files = " ".join(f"{source}:{place}" for source, place in self.files)
        outside = {**PLAIN, "TREE": str(self.root), "VOLUME": str(self.volume or ""), "FILES": files}
        return _apart(_RUNNING, line), outside


class Running(Struct, frozen=True):
    """A main process; it is number 1 in its namespace, as in a container without an init."""

    process: subprocess.Popen[bytes]
    said: Path

    def stop(self, number: signal.Signals, within_s: float = 30) -> int:
        """Send what STOPSIGNAL says to number 1 and wait: its exit code."""
        os.kill(self._number_one(), number)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL to number 1, with which the kernel ends all that it started; `unshare` ends after it.

        Not to `unshare` alone: the wish to die with it is forgotten when a process changes its user.
        """
        if self.process.poll() is not None:
            return
        with contextlib.suppress(OSError, IndexError):
            os.kill(self._number_one(), signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()

    def text(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    def _number_one(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _apart(script: str, line: list[str]) -> list[str]:
    """A command in mount and process namespaces of its own, after a script that mounts what it needs."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, "sh", *line]
