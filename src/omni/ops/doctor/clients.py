"""Who is told, and which programs know Omni."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from omni.adapters.openclaw.settings import config_path, read_config
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene
from omni.ops.surroundings import find
from omni.ops.tailscale import look, remarks, run_program


def notices(scene: Scene) -> Iterator[Finding]:
    """Whether anybody is told when the cloud goes, or a task needs a person."""
    notify = scene.config.notify
    by_chat = bool(scene.config.messenger and notify.channel and notify.target)
    by_hook = bool(notify.webhook.url and notify.webhook.secret)
    if notify.enabled and (by_chat or by_hook):
        ways = [f"{notify.executor}, {notify.channel}"] * by_chat + ["a webhook"] * by_hook
        yield fine("notify", f"you are told through {' and '.join(ways)}")
        return
    what = "notify.target is not set" if notify.enabled else "notify.enabled is false"
    mend = "set notify.channel and notify.target, or notify.webhook; docs/notifications.md shows how"
    yield found("notify.nobody", f"nobody is told when something is wrong: {what}", mend)


def openclaw(scene: Scene) -> Iterator[Finding]:
    """Whether OpenClaw, where it is on this machine, hands its work to this daemon."""
    path = config_path(scene.environ)
    if not path.exists():
        return
    entry = _entry(read_config(path))
    if entry is None:
        yield found("openclaw.not_registered", f"OpenClaw ({path}) does not know Omni", "omni init --openclaw --apply")
        return
    url = entry.get("url")
    if isinstance(url, str) and not _same(url, scene.url):
        says = f"OpenClaw reaches Omni at {url.partition('?')[0]}, and the daemon is at {scene.url}/mcp"
        yield found("openclaw.elsewhere", says, "omni init --openclaw --apply --force")
    else:
        yield fine("openclaw", "OpenClaw knows this daemon")


def tailscale(scene: Scene) -> Iterator[Finding]:
    """How Tailscale, where it is on this machine, leads to the daemon."""
    program = asyncio.run(find("tailscale", scene.environ))
    if not program.found:
        return
    for each in remarks(look(scene.config.port, run_program(program.path)), scene.config):
        if each.trouble:
            yield found("tailscale.trouble", each.says, each.next)
        elif each.next:
            yield found("tailscale.state", each.says, each.next)
        else:
            yield fine("tailscale", each.says)


def _entry(config: Any) -> Mapping[str, Any] | None:
    """Omni among OpenClaw's MCP servers."""
    for key in ("mcp", "servers", "omni"):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else None


def _same(url: str, ours: str) -> bool:
    theirs, own = urlsplit(url), urlsplit(ours)
    near = {"localhost", "127.0.0.1", "::1"}
    same_host = theirs.hostname == own.hostname or {theirs.hostname, own.hostname} <= near
    return same_host and theirs.port == own.port
