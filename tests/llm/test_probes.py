"""What a probe says of whoever answers, hangs, cuts the line or is not there, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import structlog
from tests.llm.desk import Answers
from tests.llm.servers import Act, Asked, Line, answer, babble, cut, half, hang, nobody, say, serving, slowly

from omni.config import ApiKeys, Config, Provider
from omni.domain.commands import Observed, Probe
from omni.domain.values import PROXY
from omni.domain.verdict import MEANING, Verdict
from omni.llm.probes import Probes, ping_url, proxy_url

KEYS = ApiKeys(primary={"cloud": "primary-key-1234"}, backup={"cloud": "backup-key-1234"})


def probes(answers: Answers, config: Config) -> Probes:
    return Probes(config, answers.post)


async def look(config: Config, target: str, timeout_ms: int = 10_000) -> Observed:
    answers = Answers("health")
    probes(answers, config).receive(Probe(target, timeout_ms))
    seen = await answers.next()
    assert isinstance(seen, Observed)
    assert answers.silent
    return seen


def proxy(url: str) -> Config:
    return Config(lite_llm_url=url)


def cloud(url: str, kind: Any = "anthropic", keys: ApiKeys = KEYS, ping: str = "") -> Config:
    return Config(providers={"cloud": Provider(kind=kind, api_base=url, ping=ping)}, api_keys=keys)


# --- the proxy


@pytest.mark.parametrize(
    ("act", "verdict", "alive"),
    [
        (answer(200), Verdict.OK, True),
        (answer(401), Verdict.OK, True),
        (answer(404), Verdict.OK, True),
        (answer(302, headers={"location": "http://127.0.0.1:1/"}), Verdict.OK, True),
        (answer(500), Verdict.CLOSED, False),
        (answer(502), Verdict.CLOSED, False),
        (hang, Verdict.HUNG, False),
        (slowly(2.0, answer(200)), Verdict.HUNG, False),
        (cut, Verdict.CLOSED, False),
        (half, Verdict.CLOSED, False),
        (babble, Verdict.CLOSED, False),
    ],
    ids=["200", "401", "404", "redirect", "500", "502", "hangs", "too slow", "cuts", "half an answer", "no HTTP"],
)
async def test_what_the_proxy_does_decides_whether_it_lives(act: Act, verdict: Verdict, alive: bool) -> None:
    async with serving(act) as server:
        seen = await look(proxy(server.url), PROXY, timeout_ms=400 if verdict is Verdict.HUNG else 10_000)
        assert [(a.method, a.path) for a in server.asked] == [("GET", "/health/liveliness")]
    assert (seen.target, seen.source, seen.verdict) == (PROXY, "probe", verdict)
    assert MEANING[Verdict(seen.verdict)].alive is alive


async def test_a_proxy_that_does_not_listen_is_refused_at_once() -> None:
    began = time.monotonic()
    seen = await look(proxy(nobody()), PROXY)
    assert seen.verdict == Verdict.REFUSED
    assert time.monotonic() - began < 5.0  # of the ten that it has


async def test_a_proxy_known_by_a_name_with_two_addresses_is_refused_all_the_same() -> None:
    port = nobody().rsplit(":", 1)[1]
    assert (await look(proxy(f"http://localhost:{port}"), PROXY)).verdict == Verdict.REFUSED


async def test_a_name_that_nobody_knows_is_no_route() -> None:
    assert (await look(proxy("http://nowhere.invalid:4000"), PROXY)).verdict == Verdict.NO_ROUTE


async def test_a_connection_that_is_never_taken_hangs() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # more than the queue takes: the next one gets no answer at all
        try:
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            seen = await look(proxy(f"http://127.0.0.1:{full.getsockname()[1]}"), PROXY, timeout_ms=300)
        finally:
            for each in waiting:
                each.close()
    assert seen.verdict == Verdict.HUNG


async def test_a_probe_answers_within_its_time() -> None:
    async with serving(hang) as server:
        began = time.monotonic()
        await look(proxy(server.url), PROXY, timeout_ms=300)
        assert 0.3 <= time.monotonic() - began < 3.0


async def test_each_probe_opens_a_connection_of_its_own() -> None:
    async with serving(answer(200)) as server:
        for _ in range(3):
            await look(proxy(server.url), PROXY)
        assert server.connections == 3


async def test_time_that_this_process_lost_is_not_held_against_the_proxy() -> None:
    answers = Answers("health")
    async with serving(answer(200)) as server:
        probes(answers, proxy(server.url)).receive(Probe(PROXY, 200))
        asyncio.get_running_loop().call_soon(time.sleep, 0.8)  # the whole process stands still
        assert (await answers.next()).verdict == Verdict.OK


async def test_no_proxy_of_the_environment_stands_between_us_and_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody())
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with serving(answer(200)) as server:
        assert (await look(proxy(server.url), PROXY)).verdict == Verdict.OK


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:4000", "http://h:4000/health/liveliness"),
        ("http://h:4000/", "http://h:4000/health/liveliness"),
        ("http://h/litellm/v1/", "http://h/litellm/health/liveliness"),
        ("", ""),
    ],
)
def test_liveliness_is_asked_at_the_root_of_the_proxy(base: str, url: str) -> None:
    assert proxy_url(base) == url


# --- clouds


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.OK),
        (401, Verdict.KEY_REJECTED),
        (403, Verdict.KEY_REJECTED),
        (402, Verdict.OUT_OF_CREDIT),
        (429, Verdict.RATE_LIMITED),
        (404, Verdict.CALLER_ERROR),
        (500, Verdict.SERVER_ERROR),
        (529, Verdict.SERVER_ERROR),
    ],
)
async def test_every_answer_of_a_cloud_shows_that_it_can_be_reached(status: int, verdict: Verdict) -> None:
    async with serving(answer(status)) as server:
        seen = await look(cloud(server.url), "cloud")
    assert (seen.target, seen.source, seen.verdict, seen.key) == ("cloud", "ping", verdict, "primary")
    assert MEANING[Verdict(seen.verdict)].alive is True


@pytest.mark.parametrize(("act", "verdict"), [(hang, Verdict.HUNG), (cut, Verdict.CLOSED)], ids=["hangs", "cuts"])
async def test_a_cloud_that_gives_no_answer_says_nothing_about_a_key(act: Act, verdict: Verdict) -> None:
    async with serving(act) as server:
        seen = await look(cloud(server.url), "cloud", timeout_ms=300 if verdict is Verdict.HUNG else 10_000)
    assert (seen.verdict, seen.key) == (verdict, None)


async def test_a_door_that_hangs_in_the_tls_handshake_is_closed_again() -> None:
    async with serving(hang) as server:  # speaks no TLS, and waits for the end of the request
        seen = await look(cloud(server.url.replace("http:", "https:")), "cloud", timeout_ms=300)
        async with asyncio.timeout(5):
            await server.left.wait()
    assert seen.verdict == Verdict.HUNG


@pytest.mark.parametrize(
    ("kind", "base", "path", "header"),
    [
        ("anthropic", "", "/v1/models?limit=1", ("x-api-key", "primary-key-1234")),
        ("anthropic", "/v1", "/v1/models?limit=1", ("x-api-key", "primary-key-1234")),
        ("openrouter", "/api/v1", "/api/v1/key", ("authorization", "Bearer primary-key-1234")),
        ("openai", "/v1", "/v1/models", ("authorization", "Bearer primary-key-1234")),
    ],
)
async def test_each_kind_of_cloud_is_asked_something_free(
    kind: str, base: str, path: str, header: tuple[str, str]
) -> None:
    async with serving(answer(200)) as server:
        await look(cloud(server.url + base, kind), "cloud")
        (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers[header[0]]) == ("GET", path, header[1])
    assert ("anthropic-version" in asked.headers) == (kind == "anthropic")


async def test_the_keys_of_a_cloud_are_checked_in_turn_and_named() -> None:
    def by_key(asked: Asked, line: Line) -> None:
        say(line, 200 if asked.headers["x-api-key"] == "primary-key-1234" else 401)

    async def act(asked: Asked, line: Line) -> None:
        by_key(asked, line)

    answers = Answers("health")
    async with serving(act) as server:
        adapter = probes(answers, cloud(server.url))
        seen = []
        for _ in range(4):
            adapter.receive(Probe("cloud", 10_000))
            seen.append(await answers.next())
    assert [(each.key, each.verdict) for each in seen] == [
        ("primary", Verdict.OK), ("backup", Verdict.KEY_REJECTED), ("primary", Verdict.OK),
        ("backup", Verdict.KEY_REJECTED),
    ]  # fmt: skip


async def test_without_a_key_a_refusal_only_shows_that_the_cloud_is_there() -> None:
    async with serving(answer(401)) as server:
        seen = await look(cloud(server.url, keys=ApiKeys()), "cloud")
        assert "x-api-key" not in server.asked[0].headers
    assert (seen.verdict, seen.key) == (Verdict.OK, None)


@pytest.mark.parametrize(
    ("ping", "expected"),
    [("", "http://h/v1/models?limit=1"), ("/ping", "http://h/ping"), ("ok", "http://h/ok"),
     ("https://elsewhere/x", "https://elsewhere/x")],
)  # fmt: skip
def test_the_configuration_may_say_what_to_ask(ping: str, expected: str) -> None:
    assert ping_url(Provider(kind="anthropic", api_base="http://h", ping=ping)) == expected


async def test_a_limit_passes_on_when_it_ends_and_nothing_else_does() -> None:
    async with serving(answer(429, headers={"retry-after": "30"})) as server:
        assert (await look(cloud(server.url), "cloud")).retry_after_ms == 30_000
        server.act = answer(500, headers={"retry-after": "30"})
        assert (await look(cloud(server.url), "cloud")).retry_after_ms is None


async def test_what_is_not_configured_is_answered_too() -> None:
    for target in (PROXY, "unheard of"):
        assert (await look(Config(), target)).verdict == Verdict.NO_ROUTE


async def test_no_key_reaches_an_answer_or_a_log() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(answer(401, {"error": "bad key primary-key-1234"})) as server:
            seen = [await look(cloud(server.url), "cloud")]
        seen.append(await look(cloud("http://key-in-the-address:80:80"), "cloud"))
        seen.append(await look(cloud(nobody()), "cloud"))
    assert "key-1234" not in repr((seen, logs))
    assert "key-in-the-address" not in repr(seen)


async def test_after_stop_nothing_is_observed_of_what_was_under_way() -> None:
    answers = Answers("health")
    async with serving(hang) as server:
        adapter = probes(answers, proxy(server.url))
        adapter.receive(Probe(PROXY, 500))
        await server.heard.wait()
        await adapter.stop()
        with pytest.raises(TimeoutError):
            await answers.next(within_s=0.7)
