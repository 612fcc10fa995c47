"""The definitions under `deploy/`: what `install` would write for a user called `omni`, for reading and for machines.

Usage, in the root of the repository: python -m omni.ops.service.samples
"""

from __future__ import annotations

import plistlib
from pathlib import Path

from omni.config import Config
from omni.ops.service import launchd, systemd
from omni.ops.service.plan import ENV_FILE, NAME, Plan, stop_within_s

_HEAD = (
    "<!-- Written by `python -m omni.ops.service.samples`. On your machine `omni service install` writes it with your\n"
    "     own paths{more}. -->\n"
)
_DAEMON = "; this one, for the whole machine, is installed by hand: docs/service.md"


def samples() -> dict[str, bytes]:
    """Every file under `deploy/` that is ours, and what it holds."""
    mac, linux = "/Users/omni", "/home/omni"
    agent = _plan(f"{mac}/omni/.venv/bin/python", f"{mac}/Library/Application Support/omni", "/opt/homebrew/bin")
    user = _plan(f"{linux}/omni/.venv/bin/python", f"{linux}/.local/share/omni", f"{linux}/.local/bin")
    whole = _plan("/usr/local/lib/omni/bin/python", "/usr/local/var/omni", "/opt/homebrew/bin", user="omni")
    machine = _plan("/opt/omni/bin/python", "/var/lib/omni", user="omni")
    return {
        "launchd/local.omni.plist": _property_list(agent, ""),
        "launchd/daemon/local.omni.plist": _property_list(whole, _DAEMON),
        "systemd/user/omni.service": systemd.definition(user).encode(),
        "systemd/system/omni.service": systemd.definition(machine).encode(),
    }


def _plan(python: str, data: str, *path: str, user: str = "") -> Plan:
    data_dir = Path(data)
    return Plan(
        name=NAME,
        program=(python, "-m", "omni.cli.main", "serve", "--data-dir", data),
        data_dir=data_dir,
        env_file=data_dir / ENV_FILE,
        path=(str(Path(python).parent), *path, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"),
        stop_within_s=stop_within_s(Config()),
        user=user,
    )


def _property_list(plan: Plan, more: str) -> bytes:
    """With a comment where XML allows one: after the document type."""
    head, end, body = plistlib.dumps(launchd.definition(plan)).decode().partition("<plist")
    return (head + _HEAD.format(more=more) + end + body).encode()


if __name__ == "__main__":
    for name, content in samples().items():
        file = Path("deploy") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
