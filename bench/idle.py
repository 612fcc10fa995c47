"""What the daemon costs while nobody asks anything: memory, per connection too, and processor time."""

from __future__ import annotations

import resource
import time

import msgspec

from bench.figures import Sheet
from bench.mcp_calls import _initialise
from bench.processes import Daemon
from bench.setup import Setup
from bench.wire import Line

CONNECTIONS = 500
RSS_MB, CONNECTION_KB = 90, 25
SETTLE_S = 2.0
MIB, KIB = 1024 * 1024, 1024
PING = msgspec.json.encode({"method": "ping"})


def measure(setup: Setup, sheet: Sheet) -> None:
    """The section `idle`."""
    _raise_file_limit()
    with Daemon(setup.home / "idle") as omni:
        omni.ready().await_executor("dry")
        began = omni.cpu_s()
        time.sleep(setup.idle_s)
        sheet.add(f"RSS after {setup.idle_s:g} s", omni.rss_bytes() / MIB, "MiB", at_most=RSS_MB)
        sheet.add("processor while idle", 100 * (omni.cpu_s() - began) / setup.idle_s, "%")
        plain = _connections(omni, "")
        sheet.add("a plain connection, after one ping", plain, "KiB", at_most=CONNECTION_KB, note=f"{CONNECTIONS}")
    with Daemon(setup.home / "idle") as omni:
        omni.ready().await_executor("dry")
        time.sleep(setup.idle_s)
        sheet.add("an MCP connection, after initialize", _connections(omni, "mcp"), "KiB", note=f"{CONNECTIONS}")


def _connections(omni: Daemon, subprotocol: str) -> float:
    first = _open(omni, subprotocol)  # what is loaded for the first one is no cost of the next
    time.sleep(SETTLE_S)
    before = omni.rss_bytes()
    lines = [_open(omni, subprotocol) for _ in range(CONNECTIONS)]
    time.sleep(SETTLE_S)
    cost = (omni.rss_bytes() - before) / KIB / CONNECTIONS
    for line in (first, *lines):
        line.close()
    return cost


def _open(omni: Daemon, subprotocol: str) -> Line:
    line = omni.line(subprotocol)
    if subprotocol:
        _initialise(line)
    else:
        line.ask(PING)
    return line


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 2 + 100
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
