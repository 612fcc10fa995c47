"""`omni mode`: which mode the daemon is in and why; `brainstem` suspends by hand, `auto` gives the decision back."""

from __future__ import annotations

import getpass
from typing import Any

from omni.cli.context import Context
from omni.cli.exits import OK
from omni.cli.output import local_time, one_line
from omni.cli.status import fetch
from omni.domain.errors import OmniError

_KEYS = ("mode", "cause", "reason", "since")


def run(context: Context, wish: str | None) -> int:
    """Print the mode, changed first if there is a wish. Raises DaemonUnreachable, NotAuthorised, OmniError."""
    host, port = context.address
    if wish is None:
        said = fetch(host, port, context.token, "/api/status")
    else:
        said = fetch(host, port, context.token, "/api/mode", body={"mode": wish, "by": getpass.getuser()})
    if "error" in said:
        raise OmniError(str(said["error"]["message"]), hint=str(said["error"].get("hint") or "omni status"))
    body = {key: said.get(key) for key in _KEYS}
    context.out.show("mode", body, _lines(context, body))
    if wish == "brainstem":
        context.out.note("tasks that need the cloud wait now; omni mode auto lets health decide again")
    return OK


def _lines(context: Context, body: dict[str, Any]) -> list[str]:
    why = [f"because  {one_line(body['reason'])}"] if body["reason"] else []
    since = [f"since    {local_time(body['since'])}"] if body["since"] else []
    return [context.out.state(str(body["mode"])), *why, *since]
