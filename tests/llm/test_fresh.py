"""What a failed connection says, by what the system said about it."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from omni.domain.verdict import Verdict
from omni.llm.fresh import explain


def error(number: int) -> OSError:
    return OSError(number, "as the system puts it, key-1234 and all")


def failed(cause: BaseException, kind: type[httpx.HTTPError] = httpx.ConnectError) -> Exception:
    """As it comes out of the client: the cause lies two layers down."""
    outer, middle = kind("All connection attempts failed"), OSError("All connection attempts failed")
    outer.__cause__, middle.__cause__ = middle, cause
    return outer


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (failed(error(errno.ECONNREFUSED)), Verdict.REFUSED),
        (failed(error(errno.ECONNRESET)), Verdict.CLOSED),
        (failed(error(errno.ENETUNREACH)), Verdict.NO_ROUTE),
        (failed(error(errno.EHOSTUNREACH)), Verdict.NO_ROUTE),
        (failed(error(errno.ETIMEDOUT)), Verdict.HUNG),
        (failed(socket.gaierror(socket.EAI_AGAIN, "try again")), Verdict.NO_ROUTE),
        (failed(ssl.SSLCertVerificationError(1, "self-signed")), Verdict.NO_ROUTE),
        (failed(ssl.SSLError(1, "wrong version")), Verdict.CLOSED),
        (failed(error(errno.ECONNREFUSED), httpx.ProxyError), Verdict.REFUSED),
        (httpx.ProxyError("407"), Verdict.NO_ROUTE),
        (httpx.RemoteProtocolError("no HTTP"), Verdict.CLOSED),
        (httpx.ReadError("reset"), Verdict.CLOSED),
        (failed(ExceptionGroup("all", [error(errno.ENETUNREACH), error(errno.ECONNREFUSED)])), Verdict.REFUSED),
        (failed(ExceptionGroup("all", [error(errno.ENETUNREACH), error(errno.EHOSTUNREACH)])), Verdict.NO_ROUTE),
    ],
)
def test_the_cause_decides_and_its_words_are_not_repeated(raised: Exception, verdict: Verdict) -> None:
    failure = explain(raised)
    assert failure.verdict is verdict
    assert failure.detail
    assert "key-1234" not in failure.detail
