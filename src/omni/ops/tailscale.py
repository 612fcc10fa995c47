"""How Tailscale leads to the daemon: what `tailscale` itself says, and what of it is wrong or worth knowing.

    tailscale status --json         is it on, and what is this machine's name in the tailnet
    tailscale serve status --json   which names, ports and paths lead to our port, and which are open to the internet

Nothing is changed, and nobody but the program on this machine is asked. Its JSON has grown over the years: what is not
there counts as not said.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from omni.config import Config

ANSWER_WITHIN_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
STATUS: Final = ("status", "--json", "--peers=false")
SERVE_STATUS: Final = ("serve", "status", "--json")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_RUNNING: Final = "Running"
_TAILNET: Final = ".ts.net"


class Said(Struct, frozen=True):
    """What a run of the program came to; `problem` says why there is no answer."""

    out: bytes = b""
    problem: str = ""


Run: TypeAlias = Callable[[Sequence[str]], Said]


class Way(Struct, frozen=True):
    """One way that leads to our port: the address for others, the path there, and whether the internet may take it."""

    host: str
    port: int
    path: str = "/"
    https: bool = True
    funnel: bool = False
    raw: bool = False  # forwards bytes: no TLS of Tailscale's, and nobody is named

    @property
    def url(self) -> str:
        """The address for people."""
        if self.raw:
            return f"tcp://{self.host}:{self.port}"
        usual = 443 if self.https else 80
        port = "" if self.port == usual else f":{self.port}"
        return f"http{'s' if self.https else ''}://{self.host}{port}{self.path}"


class Tailscale(Struct, frozen=True, kw_only=True):
    """What was seen. `state` is Tailscale's own word (Running, Stopped, NeedsLogin …); `name` is this machine's."""

    state: str = ""
    name: str = ""
    ways: tuple[Way, ...] = ()
    problem: str = ""

    @property
    def running(self) -> bool:
        """Whether this machine is in its tailnet."""
        return self.state == _RUNNING


class Remark(Struct, frozen=True):
    """A sentence about it, with the next command; `trouble`: something is wrong, else it is only good to know."""

    says: str
    next: str = ""
    trouble: bool = False


def run_program(program: str, within_s: float = ANSWER_WITHIN_S) -> Run:
    """Asks the `tailscale` at this path; each question is bounded."""

    def run(arguments: Sequence[str]) -> Said:
        try:
            done = subprocess.run(  # noqa: S603 - a path that was found on this machine, and constants
                [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, check=False
            )
        except subprocess.TimeoutExpired:
            return Said(problem=f"did not answer within {within_s:g} s")
        except OSError as error:
            return Said(problem=f"cannot be started: {error.strerror}")
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").split()
            return Said(problem=f"exit code {done.returncode}: {' '.join(words)[:200]}")
        return Said(done.stdout[:MAX_ANSWER_BYTES])

    return run


def look(port: int, run: Run) -> Tailscale:
    """Ask it. `port` is the daemon's."""
    status, problem = _answer(run(STATUS))
    if problem:
        return Tailscale(problem=f"tailscale status: {problem}")
    own = _object(status.get("Self"))
    seen = Tailscale(state=_text(status.get("BackendState")), name=_text(own.get("DNSName")).rstrip(".").lower())
    if not seen.running:
        return seen
    served, problem = _answer(run(SERVE_STATUS))
    problem = f"tailscale serve status: {problem}" if problem else ""
    return msgspec.structs.replace(seen, ways=tuple(ways(served, port, seen.name)), problem=problem)


def remarks(seen: Tailscale, config: Config) -> list[Remark]:
    """What is wrong with it, or else how it is; never empty."""
    if seen.problem:
        return [Remark(f"Tailscale does not say how it is: {seen.problem}", "tailscale status")]
    if not seen.running:
        return [Remark(f"Tailscale is installed and not connected ({seen.state or 'no state'})", "tailscale up")]
    found = [each for rule in _RULES for each in rule(seen, config)]
    return found or list(_fine(seen, config))


def ways(served: Mapping[str, Any], port: int, name: str = "") -> Iterator[Way]:
    """The ways to our port in what `serve status` says; `name` is this machine's, for what names no host."""
    foreground = _object(served.get("Foreground")).values()
    for part in (served, *map(_object, foreground)):
        funnel = _object(part.get("AllowFunnel"))
        tcp = _object(part.get("TCP"))
        yield from _web_ways(_object(part.get("Web")), tcp, funnel, port)
        for number, each in tcp.items():
            if _leads_to(_text(_object(each).get("TCPForward")), port) and number.isdigit():
                yield Way(name, int(number), funnel=bool(funnel.get(f"{name}:{number}")), raw=True)


def _web_ways(web: Mapping[str, Any], tcp: Mapping[str, Any], funnel: Mapping[str, Any], port: int) -> Iterator[Way]:
    for address, each in web.items():
        host, _, number = address.rpartition(":")
        if not number.isdigit():
            continue
        https = not _object(tcp.get(number)).get("HTTP")
        for path, handler in _object(_object(each).get("Handlers")).items():
            if _leads_to(_text(_object(handler).get("Proxy")), port):
                yield Way(host.lower(), int(number), path, https, bool(funnel.get(address)))


# --- what may be wrong ----------------------------------------------------------------------------------------------


def _funnels(seen: Tailscale, config: Config) -> Iterator[Remark]:
    for way in seen.ways:
        if way.funnel:
            says = f"Funnel is on: the whole internet reaches the daemon at {way.url}, and only the token is in between"
            yield Remark(says, f"tailscale funnel --https={way.port} off", trouble=True)


def _below_a_path(seen: Tailscale, config: Config) -> Iterator[Remark]:
    for way in seen.ways:
        if not way.raw and way.path != "/":
            says = f"{way.url} leads to the daemon below a path, where its pages and addresses do not work"
            yield Remark(says, f"tailscale serve --bg {config.port}", trouble=True)


def _unknown_names(seen: Tailscale, config: Config) -> Iterator[Remark]:
    known = {each.lower().partition(":")[0] for each in config.allowed_hosts}
    for host in dict.fromkeys(way.host for way in seen.ways):
        if host not in known:
            says = f"Tailscale leads here as {host}, which the daemon refuses with 403: it is not in allowed_hosts"
            yield Remark(says, f"add it to config.yaml: allowed_hosts: [{host}]; then omni config reload", trouble=True)


def _old_names(seen: Tailscale, config: Config) -> Iterator[Remark]:
    for each in config.allowed_hosts:
        name = each.lower().partition(":")[0]
        if name.endswith(_TAILNET) and seen.name and name not in {seen.name, *(way.host for way in seen.ways)}:
            says = f"allowed_hosts names {name}, and this machine is {seen.name} now"
            yield Remark(says, f"put {seen.name} there in config.yaml, then omni config reload", trouble=True)


_RULES: tuple[Callable[[Tailscale, Config], Iterator[Remark]], ...] = (
    _funnels, _below_a_path, _unknown_names, _old_names,
)  # fmt: skip


def _fine(seen: Tailscale, config: Config) -> Iterator[Remark]:
    for way in seen.ways:
        yield Remark(f"the tailnet reaches the daemon at {way.url}, with the token")
    if not seen.ways:
        name = f" as {seen.name}" if seen.name else ""
        yield Remark(f"Tailscale is on{name}, and does not lead to the daemon", f"tailscale serve --bg {config.port}")


# --- its JSON -------------------------------------------------------------------------------------------------------


def _answer(said: Said) -> tuple[Mapping[str, Any], str]:
    if said.problem:
        return {}, said.problem
    try:
        return _object(msgspec.json.decode(said.out.strip() or b"{}")), ""
    except (msgspec.DecodeError, RecursionError):
        return {}, "answered no JSON"


def _leads_to(target: str, port: int) -> bool:
    """Whether a target such as `http://127.0.0.1:18765` or `localhost:18765` is our port."""
    try:
        parts = urlsplit(target if "://" in target else f"//{target}")
        reached = parts.hostname, parts.port
    except ValueError:
        return False
    return reached[0] in _LOOPBACK and reached[1] == port


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
