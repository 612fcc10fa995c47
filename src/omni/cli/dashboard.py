"""`omni dashboard`: a link that opens the dashboard in a browser, once and within a minute."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

from omni.cli.context import Context
from omni.cli.exits import OK
from omni.cli.status import fetch

FILE = "dashboard.html"


def run(context: Context, *, opened: bool) -> int:
    """Print a link, and open it where that is wanted. Raises DaemonUnreachable, NotAuthorised."""
    host, port = context.address
    said = fetch(host, port, context.token, "/api/login-links", body={})
    url, life_s = str(said["url"]), said["expires_in_s"]
    why_not = _open(context.data_dir, url) if opened else ""
    body = {"url": url, "expires_in_s": life_s, "opened": opened and not why_not}
    context.out.show("dashboard", body, [url])
    if why_not:
        context.out.note(f"not opened: {why_not}; open the link in a browser yourself")
    if life_s is not None and not context.out.as_json:
        context.out.note(f"it logs one browser in, once, within {life_s} s; omni dashboard makes another")
    return OK


def not_here(environ: Mapping[str, str], platform: str) -> str:
    """Why a browser that we start would not appear before the person who asks; empty when it would."""
    if any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY")):
        return "this terminal is on another machine (ssh -L brings its port to yours)"
    if platform.startswith("linux") and not any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        return "there is no desktop here"
    return ""


def _open(data_dir: Path, url: str) -> str:
    """Open the link; why not, if so.

    Every user of the machine can read a browser's arguments, so it is given a file of ours that leads to the link.
    """
    if reason := not_here(os.environ, sys.platform):
        return reason
    import webbrowser

    from omni.drafts import replace_private

    file = data_dir / FILE
    target = escape(url)
    replace_private(
        file,
        f'<!DOCTYPE html><meta charset="utf-8"><title>Omni</title>'
        f'<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={target}">'
        f'<a href="{target}">{target.partition("?")[0]}</a>\n',
    )
    return "" if webbrowser.open(file.as_uri()) else "no browser was found"
