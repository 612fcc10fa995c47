"""What clients of the model port ask beside answers: one model, how many tokens, and with `?beta=true`."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.llm.upstream import Play, Upstream, says
from tests.server.house import House
from tests.server.test_model_port import ASKED, bearer, key_of, with_port

COUNT = "/v1/messages/count_tokens"
COUNTED = says(200, {"input_tokens": 42})
THEIRS = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta"}


@pytest.mark.parametrize("theirs", [True, False])
def test_one_model_is_described_and_one_that_there_is_not_is_an_error_in_the_same_dialect(
    theirs: bool, tmp_path: Path
) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        headers = {**bearer(key_of(house)), **(THEIRS if theirs else {})}
        found = await client.get("/v1/models/fast", headers=headers)
        assert (found.status_code, found.json()["id"]) == (200, "fast")
        listed = (await client.get("/v1/models", headers=headers)).json()["data"]
        assert found.json() in listed
        assert (await client.head("/v1/models/fast", headers=headers)).status_code == 200
        for name in ("nothing", "a/b", "x" * 500):
            missing = await client.get(f"/v1/models/{name}", headers=headers)
            assert missing.status_code == 404
            assert ("type" in missing.json()) == theirs
        assert proxy.seen == []

    with_port(test, tmp_path)


def test_tokens_are_counted_by_whoever_would_get_the_call_and_stand_in_no_books(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post(f"{COUNT}?beta=true", json=ASKED, headers={**bearer(key_of(house)), **THEIRS})
        assert (answer.status_code, answer.json()) == (200, {"input_tokens": 42})
        [asked] = [each for each in proxy.seen if each.is_call]
        assert asked.path == f"{COUNT}?beta=true"
        assert asked.body["model"] == "fast"
        assert asked.headers["anthropic-beta"] == "some-beta"
        assert "omni-" not in json.dumps(asked.headers)
        assert not [row for row in house.log if type(row.event).__name__.startswith("Call")]

    with_port(test, tmp_path, COUNTED)


@pytest.mark.parametrize(
    ("play", "status", "kind"),
    [
        (says(404, {"detail": "Not Found"}), 404, "not_found_error"),
        (says(500, {"error": {"message": "no"}}), 404, "not_found_error"),
        (says(200, b"<html>"), 404, "not_found_error"),
        (
            says(
                400,
                {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}},
                x_litellm_call_id="c",
                x_litellm_timeout="60",
            ),
            400,
            "invalid_request_error",
        ),
    ],
    ids=["no such path", "broken", "no JSON", "the caller's mistake"],
)
def test_a_count_that_nobody_gives_is_an_honest_error_and_no_guess(
    play: Play, status: int, kind: str, tmp_path: Path
) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post(COUNT, json=ASKED, headers=bearer(key_of(house)))
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        assert answer.headers["x-should-retry"] == "false"

    with_port(test, tmp_path, play)


@pytest.mark.parametrize(("asked", "sent"), [("?beta=true", "?beta=true"), ("?beta=false&x=1", ""), ("", "")])
def test_of_a_query_only_what_anthropics_clients_send_goes_on(asked: str, sent: str, tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        answer = await client.post(f"/v1/messages{asked}", json=ASKED, headers=bearer(key_of(house)))
        assert answer.status_code == 200
        assert [each.path for each in proxy.seen if each.is_call] == [f"/v1/messages{sent}"]

    with_port(test, tmp_path)


def test_what_is_wrong_with_a_question_for_a_count_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    async def test(house: House, proxy: Upstream, client: httpx.AsyncClient) -> None:
        key = bearer(key_of(house))
        assert (await client.post(COUNT, content=b"{", headers=key)).status_code == 400
        assert (await client.post(COUNT, json={**ASKED, "model": 7}, headers=key)).status_code == 400
        assert (await client.get(COUNT, headers=key)).status_code == 405
        assert (await client.post(COUNT, json=ASKED)).status_code == 401
        assert proxy.seen == []

    with_port(test, tmp_path, COUNTED)
