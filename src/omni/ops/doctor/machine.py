"""The machine and what is installed on it: Python, packages, limits, sleep, git."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from omni import __version__
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene

PACKAGE = "omni-orchestrator"
OLDEST_PYTHON = (3, 11)
FEWEST_FILES = 1024
TAMPERED = {"litellm": ("1.82.7", "1.82.8")}
_HARD_LIMIT = "omni service install, which asks for 8,192; or, as root: ulimit -Hn 8192, before omni serve"
_REINSTALL = "make setup, or: pip install --require-hashes -r requirements.lock"
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*((?:[<>=!~]=?[^;,\s]+,?\s*)*)(?:;\s*(.*))?$")


def installed(scene: Scene) -> Iterator[Finding]:
    """Python and the packages that Omni stands on."""
    if scene.machine.python[:2] < OLDEST_PYTHON:
        says = f"this is Python {_dotted(scene.machine.python)}; Omni needs {_dotted(OLDEST_PYTHON)}"
        yield found("install.python", says, "install Python 3.11 or newer, then omni version")
    trouble = [finding for line in _required() for finding in _package(line)]
    yield from trouble or [
        fine("install", f"omni {__version__} on Python {_dotted(scene.machine.python)}, all packages")
    ]


def _required() -> list[str]:
    try:
        return metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:  # run from its sources
        return []


def _package(requirement: str) -> Iterator[Finding]:
    """What is wrong with one required package. A package that only an extra wants may be absent."""
    matched = _REQUIREMENT.match(requirement)
    if matched is None or "extra" in (matched[3] or ""):
        return
    name, wanted = matched[1], matched[2].strip()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        yield found("install.missing", f"the package {name} is not installed", _REINSTALL)
        return
    if version in TAMPERED.get(name, ()):
        says = f"{name} {version} carried malware: take every key of this machine as stolen"
        yield found("install.tampered", says, f"pip uninstall {name}, then {_REINSTALL}; then new keys")
    elif not fits(version, wanted):
        yield found("install.version", f"{name} is {version}, and Omni was made for {wanted}", _REINSTALL)


def fits(version: str, wanted: str) -> bool:
    """Whether a version is within bounds like `>=1.2,<2`; other bounds are not judged."""
    at = _numbers(version)
    for bound in filter(None, (each.strip() for each in wanted.split(","))):
        if bound.startswith(">=") and at < _numbers(bound[2:]):
            return False
        if bound.startswith("<") and not bound.startswith("<=") and at >= _numbers(bound[1:]):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version.strip())
    return tuple(int(each) for each in leading[0].split(".")) if leading else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def files(scene: Scene) -> Iterator[Finding]:
    """Every client, executor and model call holds files open."""
    limit = scene.machine.file_limit()
    if limit < FEWEST_FILES:
        says = f"the daemon can hold {limit} files open here, and connections, executors and model calls need them"
        raised = "sudo launchctl limit maxfiles 8192 unlimited" if scene.machine.platform == "darwin" else _HARD_LIMIT
        yield found("limits.files", says, raised)
    else:
        yield fine("limits", f"the daemon can hold {limit:,} files open")


def sleep(scene: Scene) -> Iterator[Finding]:
    """A Mac that sleeps does no work; on other machines this is not looked at."""
    if scene.machine.platform != "darwin":
        return
    ran = scene.machine.run(["pmset", "-g"], scene.environ)
    minutes = re.search(r"^\s*sleep\s+(\d+)", ran.out, re.MULTILINE)
    if ran.code != 0 or minutes is None:
        return
    if int(minutes[1]):
        says = f"this Mac sleeps after {minutes[1]} minutes without a person at it"
        yield found("machine.sleeps", says, "sudo pmset -a sleep 0 disksleep 0 autorestart 1")
    else:
        yield fine("sleep", "this Mac does not go to sleep by itself")


def git(scene: Scene) -> Iterator[Finding]:
    """Coding tasks work in a worktree of their own, where there is a git."""
    if not any(each.adapter == "claude_code" and each.enabled for each in scene.config.executors.values()):
        return
    program = scene.program("git")
    if not program or scene.machine.run([program, "--version"], scene.environ).code != 0:
        install = "xcode-select --install" if scene.machine.platform == "darwin" else "sudo apt-get install git"
        yield found("git.absent", "there is no git on the PATH", install)
        return
    who = scene.machine.run([program, "config", "--global", "user.email"], scene.environ)
    if who.code != 0 or not who.out.strip():
        mend = 'git config --global user.name "NAME", and git config --global user.email ADDRESS'
        yield found("git.no_user", "git has no user.email on this machine", mend)
    else:
        yield fine("git", "there, and it knows who you are")
