import asyncio
import json
import socket
import ssl
from typing import Any

import httpx
import pytest
from tests.llm.upstream import Play, closed_port, hangs_up, resets, says, streams, upstream

from omni.domain.verdict import MEANING, Verdict
from omni.llm.answer import Dialect
from omni.llm.classify import MAX_RETRY_AFTER_MS, error_body, of_cloud_answer, of_error, of_exception, of_proxy_answer

ID = {"x-litellm-call-id": "c"}
TRIED = {**ID, "x-litellm-timeout": "60"}
V = Verdict


def error(kind: str = "", code: Any = None, **more: Any) -> bytes:
    return json.dumps({"error": {"type": kind, "code": code, "message": "sk-secret and a prompt", **more}}).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "verdict"),
    [
        (401, {}, error("auth_error"), V.MISCONFIGURED),
        (401, ID, error("auth_error"), V.MISCONFIGURED),
        (400, {}, error("no_db_connection"), V.MISCONFIGURED),
        (500, {}, b"Internal Server Error", V.MISCONFIGURED),
        (404, {}, b'{"detail":"Not Found"}', V.MISCONFIGURED),
        (502, {}, b"<html>Bad Gateway</html>", V.SERVER_ERROR),
        (503, {}, b"", V.SERVER_ERROR),
        (400, ID, error("invalid_request_error"), V.CALLER_ERROR),
        (422, ID, b"{}", V.CALLER_ERROR),
        (429, ID, error("all_deployments_in_cooldown"), V.RATE_LIMITED),
        (429, {}, error("throttling_error"), V.RATE_LIMITED),
        (400, ID, error("budget_exceeded"), V.OUT_OF_CREDIT),
        (500, ID, error("internal_server_error"), V.MISCONFIGURED),
        (429, TRIED, error("throttling_error"), V.RATE_LIMITED),
        (408, TRIED, error(), V.SLOW),
        (402, TRIED, error(), V.OUT_OF_CREDIT),
        (401, TRIED, error("auth_error"), V.KEY_REJECTED),
        (403, TRIED, error(), V.KEY_REJECTED),
        (400, TRIED, error(), V.CALLER_ERROR),
        (404, TRIED, error(), V.CALLER_ERROR),
        (500, TRIED, error(), V.SERVER_ERROR),
        (503, TRIED, error(), V.SERVER_ERROR),
        (529, TRIED, error(), V.SERVER_ERROR),
    ],
)
def test_a_refusal_of_the_proxy_is_laid_at_the_right_door(
    status: int, headers: dict[str, str], body: bytes, verdict: Verdict
) -> None:
    finding = of_proxy_answer(status, headers, body)
    assert finding.verdict is verdict
    assert MEANING[finding.verdict].alive is not False  # whoever answers is alive


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (401, error("authentication_error"), V.KEY_REJECTED),
        (401, b'{"error": "text alone"}', V.KEY_REJECTED),
        (403, error("permission_error"), V.KEY_REJECTED),
        (403, error(metadata={"reasons": ["violence"], "flagged_input": "x"}), V.CALLER_ERROR),
        (402, error("billing_error"), V.OUT_OF_CREDIT),
        (400, error("invalid_request_error", message="Your credit balance is too low to …"), V.OUT_OF_CREDIT),
        (429, error("rate_limit_error"), V.RATE_LIMITED),
        (429, error("rate_limit_error", "enforced_spend_limit_reached"), V.OUT_OF_CREDIT),
        (429, error("insufficient_quota", "insufficient_quota"), V.OUT_OF_CREDIT),
        (404, error("not_found_error"), V.CALLER_ERROR),
        (413, error("request_too_large"), V.CALLER_ERROR),
        (408, b"", V.SLOW),
        (500, b"\xff\xfe", V.SERVER_ERROR),
        (503, error("server_error", "auth_unavailable"), V.SERVER_ERROR),
        (529, error("overloaded_error"), V.SERVER_ERROR),
        (302, b"", V.BAD_ANSWER),
        (204, b"", V.BAD_ANSWER),
        (400, b"[" * 100_000, V.CALLER_ERROR),
    ],
)
def test_a_refusal_of_a_cloud_says_what_its_status_and_code_say(status: int, body: bytes, verdict: Verdict) -> None:
    assert of_cloud_answer(status, {}, body).verdict is verdict


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"code": 429, "message": "limited"}, V.RATE_LIMITED),
        ({"code": "429", "message": "limited"}, V.RATE_LIMITED),
        ({"code": 402}, V.OUT_OF_CREDIT),
        ({"code": 401}, V.KEY_REJECTED),
        ({"code": 400}, V.CALLER_ERROR),
        ({"type": "overloaded_error"}, V.SERVER_ERROR),
        ({"type": "rate_limit_error"}, V.RATE_LIMITED),
        ({"code": "rate_limit_exceeded"}, V.RATE_LIMITED),
        ({"code": 200}, V.SERVER_ERROR),
        ("words", V.SERVER_ERROR),
    ],
)
def test_an_error_inside_a_success_counts_by_its_own_code(said: Any, verdict: Verdict) -> None:
    assert of_error(said).verdict is verdict


NOW = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "body", "wait_ms"),
    [
        ({"retry-after": "7"}, b"", 7_000),
        ({"retry-after": "1.5"}, b"", 1_500),
        ({"retry-after-ms": "250", "retry-after": "1"}, b"", 250),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:00 GMT", "date": NOW}, b"", 60_000),
        ({"retry-after": "Sat, 21 Nov 2026 11:01:00 GMT", "date": NOW}, b"", 0),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:00 GMT"}, b"", None),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "0.5"}, b"", 500),
        ({"retry-after": "Sat, 99 Nov 2026 12:01:00 GMT", "date": NOW}, b"", None),
        ({"retry-after": "Sat, 21 Nov 99999999999999 12:01:00 GMT", "date": NOW}, b"", None),
        ({"retry-after": "1580000"}, b"", MAX_RETRY_AFTER_MS),
        ({"retry-after": "9" * 400}, b"", MAX_RETRY_AFTER_MS),
        ({"retry-after": "-5"}, b"", None),
        ({"llm_provider-retry-after": "3"}, b"", 3_000),
        ({}, error("", "model_cooldown", reset_seconds=42), 42_000),
        ({"retry-after": "7"}, error("", "enforced_spend_limit_reached"), None),
        ({}, b"", None),
    ],
)
def test_when_to_come_back_is_read_from_wherever_it_is_said(
    headers: dict[str, str], body: bytes, wait_ms: int | None
) -> None:
    assert of_cloud_answer(429, headers, body).retry_after_ms == wait_ms
    assert of_proxy_answer(429, {**TRIED, **headers}, body).retry_after_ms == wait_ms


def test_a_detail_holds_code_words_and_no_sentence() -> None:
    for find in (of_cloud_answer, of_proxy_answer):
        detail = find(429, {}, error("rate_limit_error", "sk-" + "x" * 80)).detail
        assert "rate_limit_error" in detail
        assert "sk-" not in detail
        assert "prompt" not in detail


async def _failure(url: str) -> Exception:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        try:
            response = await client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            return failure
    raise AssertionError(f"{url} answered {response.status_code}")


@pytest.mark.parametrize(
    ("play", "verdict"),
    [
        (hangs_up, V.CLOSED),
        (resets, V.CLOSED),
        (streams(b"half", clean=False), V.CLOSED),
        (streams(b"half", cut=True), V.CLOSED),
        (says(200, b"not gzip", content_encoding="gzip"), V.BAD_ANSWER),
    ],
)
def test_a_server_that_breaks_off_is_told_from_one_that_talks_nonsense(play: Play, verdict: Verdict) -> None:
    async def test() -> None:
        async with upstream(play) as server:
            assert of_exception(await _failure(server.url)).verdict is verdict

    asyncio.run(test())


def test_a_server_that_speaks_no_http_gave_a_bad_answer() -> None:
    async def mutter(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()

    async def test() -> None:
        async with upstream(mutter) as server:
            assert of_exception(await _failure(server.url)).verdict is V.BAD_ANSWER

    asyncio.run(test())


def test_nobody_there_no_name_no_trust_and_no_patience_differ() -> None:
    async def test() -> None:
        refused = await _failure(f"http://127.0.0.1:{closed_port()}/")
        assert of_exception(refused).verdict is V.REFUSED
        nowhere = httpx.ConnectError("")
        nowhere.__cause__ = socket.gaierror(socket.EAI_NONAME, "no such name")
        assert of_exception(nowhere).verdict is V.NO_ROUTE
        assert of_exception(httpx.ConnectTimeout("")).verdict is V.HUNG
        assert of_exception(httpx.ReadTimeout("")).verdict is V.SLOW
        assert of_exception(TimeoutError()).verdict is V.SLOW
        untrusted = httpx.ConnectError("")
        untrusted.__cause__ = ssl.SSLCertVerificationError(1, "self-signed")
        assert of_exception(untrusted).verdict is V.NO_ROUTE

    asyncio.run(test())


@pytest.mark.parametrize("dialect", ["messages", "chat", "responses"])
def test_an_error_is_said_in_the_words_of_the_dialect(dialect: Dialect) -> None:
    body = json.loads(error_body(dialect, 429, "later"))
    assert (body.get("type") == "error") is (dialect == "messages")
    assert body["error"]["type"] == "rate_limit_error"
    assert body["error"]["message"] == "later"
