"""A daemon that works on our data directory and does not listen where we ask: started with another OMNI_PORT, say."""

from __future__ import annotations

import contextlib
from pathlib import Path

from omni.cli.exits import Nobody
from omni.config import log_path
from omni.eventlog.lock import holder


def daemon_elsewhere(why: Nobody, data_dir: Path) -> Nobody | None:
    """What to say instead of `omni serve`, which the held log would refuse; None where no daemon holds it."""
    held = holder(log_path(data_dir))
    if not held.held:
        return None
    port = _port_of(held.pid)
    if port is None:
        return Nobody(f"{why.message}, yet pid {held.pid or 'unknown'} works on {data_dir}", hint="omni doctor")
    said = f"{why.message}: the daemon of {data_dir}, pid {held.pid}, listens on port {port}"
    return Nobody(said, hint=f"export OMNI_PORT={port}, then the same command again")


def _port_of(pid: int | None) -> int | None:
    """The port that a process listens on, as far as this user may know."""
    import psutil  # late: only who has missed the daemon pays for it

    with contextlib.suppress(psutil.Error):
        ports = [each for each in psutil.Process(pid or 0).net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        return int(ports[0].laddr.port) if len({each.laddr.port for each in ports}) == 1 else None
    return None
