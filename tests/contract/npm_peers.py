"""Servers from npm, installed into an ignored folder of the repository exactly as the lock beside this file says.

The lock carries versions and hashes but no addresses: whatever registry this machine uses, the content is the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).with_name("npm")
CACHE = Path(__file__).parents[2] / ".cache" / "npm-everything"
SERVER = CACHE / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
INSTALL_WITHIN_S = 90
NEEDS_NODE = "these tests talk to a server from npm: install Node.js 20 or newer, which brings `node` and `npm`"


def everything() -> list[str]:
    """The command line of @modelcontextprotocol/server-everything on stdio; installed when that is still to be done."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.fail(NEEDS_NODE, pytrace=False)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:  # several test workers may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _installed():
            _install()
    return [node, str(SERVER), "stdio"]


def _fingerprint() -> str:
    return hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()


def _installed() -> bool:
    note = CACHE / ".installed"
    return SERVER.exists() and note.exists() and note.read_text("ascii") == _fingerprint()


def _install() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, CACHE / name)
    line = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"]
    try:
        done = subprocess.run(line, cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"npm ci in {CACHE} took more than {INSTALL_WITHIN_S} s: is a registry there?", pytrace=False)
    if done.returncode:
        pytest.fail(f"npm ci in {CACHE} failed (Node.js 20 or newer is wanted):\n{done.stderr[-2000:]}", pytrace=False)
    (CACHE / ".installed").write_text(_fingerprint(), "ascii")
