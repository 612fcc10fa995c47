"""One question over a connection of its own, and what a failure to ask it says.

Probes and the local model ask rarely, and an answer must be news: a connection that was kept from before could be half
dead, and prove nothing about whoever listens now.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from omni.domain.verdict import Verdict
from omni.llm.exchange import close, is_near, send, trust

STALL_S = 0.25  # this much later than it should, and the time was lost by ourselves
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EHOSTDOWN})


class Failure(NamedTuple):
    """Why there is no answer; `detail` holds no address, key or body."""

    verdict: Verdict
    detail: str


@asynccontextmanager
async def ask(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, json: Any = None, via_environment: bool = True
) -> AsyncIterator[httpx.Response]:
    """The head of the answer, its body unread; nothing is followed, kept or retried.

    Time is the caller's to limit. Raises httpx.HTTPError. A proxy that the environment names is used as for any other
    call, unless the server is on this machine or `via_environment` is false.
    """
    around = via_environment and not is_near(url)
    async with httpx.AsyncClient(trust_env=around, timeout=None, verify=trust(url), follow_redirects=False) as client:  # noqa: S113 - the caller limits the whole
        response = await send(client, client.build_request(method, url, headers=dict(headers or {}), json=json))
        try:
            yield response
        finally:
            await close(response)


async def inquire(
    url: str, within_s: float, *, headers: Mapping[str, str] | None = None, via_environment: bool = True
) -> httpx.Response | Failure:
    """The head of what a server answers in time, or why there is none.

    Asked once, and once more when the time ran out while this process stood still: that is no evidence.
    """
    loop = asyncio.get_running_loop()
    for _ in range(2):
        due = loop.time() + within_s
        try:
            async with (
                asyncio.timeout_at(due),
                ask("GET", url, headers=headers, via_environment=via_environment) as head,
            ):
                return head
        except TimeoutError:
            if loop.time() < due + STALL_S:
                break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return explain(error)
    return Failure(Verdict.HUNG, f"no answer within {within_s:g} s")


def explain(error: Exception) -> Failure:
    """What a failed connection says; of several addresses tried, a refusal says more than an unreachable one."""
    causes = list(_causes(error))
    numbers = {each.errno for each in causes if isinstance(each, OSError)}
    if errno.ECONNREFUSED in numbers:
        return Failure(Verdict.REFUSED, "connection refused")
    if any(isinstance(each, socket.gaierror) for each in causes):
        return Failure(Verdict.NO_ROUTE, "the name cannot be resolved")
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes):
        return Failure(Verdict.NO_ROUTE, "the certificate is not theirs: somebody stands in between, or a clock is off")
    if numbers & _NO_ROUTE:
        return Failure(Verdict.NO_ROUTE, "the network cannot be reached")
    if errno.ETIMEDOUT in numbers:
        return Failure(Verdict.HUNG, "the connection timed out")
    if isinstance(error, httpx.ProxyError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Failure(Verdict.NO_ROUTE, f"no way there: {type(error).__name__}")
    return Failure(Verdict.CLOSED, "the connection was closed before an answer")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that led to it."""
    seen: set[int] = set()
    open_ = [error]
    while open_:
        each = open_.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        open_ += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
        open_ += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
