"""The local model against a server that loads and unloads as Ollama does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.desk import Answers
from tests.llm.servers import Act, Asked, Line, answer, cut, hang, nobody, say, serving, slowly

from omni.config import BrainstemConfig
from omni.domain.commands import LocalObserved, SleepLocal, WakeLocal
from omni.llm.local import CHECK_TOKENS, LocalModel

MODEL = "qwen2.5:7b"


class Ollama:
    """The part of Ollama that matters: a model is loaded by a generate, and stays until it is told to go."""

    def __init__(self, name: str = MODEL, *, load_s: float = 0.0, clings: int = 0, says: str = "ready") -> None:
        self.name = name
        self.load_s = load_s
        self.clings = clings  # how often it is still listed after it was told to go
        self.says = says
        self.loaded = False
        self.leaving = False

    async def __call__(self, asked: Asked, line: Line) -> None:
        if asked.path == "/api/ps":
            say(line, body={"models": [{"name": self.name, "model": self.name}] if self._listed() else []})
        elif asked.path != "/api/generate":
            say(line, 404, {"error": "not found"})
        elif asked.body["model"] not in {self.name, self.name.removesuffix(":latest")}:
            say(line, 404, {"error": f"model '{asked.body['model']}' not found"})
        else:
            await self._generate(asked.body, line)

    def _listed(self) -> bool:
        if self.leaving and self.clings:
            self.clings -= 1
        elif self.leaving:
            self.loaded = self.leaving = False
        return self.loaded

    async def _generate(self, body: dict[str, Any], line: Line) -> None:
        if body.get("keep_alive") == 0 and not body.get("prompt"):
            self.leaving = self.loaded
            say(line, body={"done": True, "done_reason": "unload", "response": ""})
            return
        await asyncio.sleep(0 if self.loaded else self.load_s)
        self.loaded, self.leaving = True, False
        said = {"response": self.says, "eval_count": len(self.says)} if body.get("prompt") else {"response": ""}
        say(line, body={"done": True, **said})


def local(answers: Answers, url: str, model: str = MODEL, limit_s: float = 20.0) -> LocalModel:
    return LocalModel(BrainstemConfig(api_base=url, model=model), answers.post, wake_s=limit_s, sleep_s=limit_s)


async def ask(act: Act, message: Any, limit_s: float = 20.0) -> LocalObserved:
    answers = Answers("brainstem")
    async with serving(act) as server:
        local(answers, server.url, limit_s=limit_s).receive(message)
        seen = await answers.next()
    assert isinstance(seen, LocalObserved)
    return seen


async def test_a_wake_loads_the_model_asks_it_one_small_thing_and_sees_it_in_memory() -> None:
    answers, ollama = Answers("brainstem"), Ollama()
    async with serving(ollama) as server:
        local(answers, server.url).receive(WakeLocal())
        seen = await answers.next()
    assert seen.state == "checked"
    assert "loaded in 0." in seen.detail
    assert [a.path for a in server.asked] == ["/api/generate", "/api/generate", "/api/ps"]
    load, check = server.asked[0].body, server.asked[1].body
    assert "prompt" not in load
    assert load["keep_alive"] == check["keep_alive"] == "30m"
    assert check["prompt"]
    assert check["options"]["num_predict"] == CHECK_TOKENS <= 16
    assert ollama.loaded


async def test_a_sleep_unloads_the_model_and_waits_until_it_is_seen_to_be_gone() -> None:
    answers, ollama = Answers("brainstem"), Ollama(clings=3)
    ollama.loaded = True
    async with serving(ollama) as server:
        local(answers, server.url).receive(SleepLocal())
        assert (await answers.next()).state == "unloaded"
    assert [a.path for a in server.asked] == ["/api/generate"] + ["/api/ps"] * 4
    assert server.asked[0].body["keep_alive"] == 0
    assert not ollama.loaded


async def test_a_model_that_does_not_go_is_said_to_have_stayed() -> None:
    ollama = Ollama(clings=1_000)
    ollama.loaded = True
    seen = await ask(ollama, SleepLocal(), limit_s=0.6)
    assert seen.state == "failed"
    assert "0.6 s" in seen.detail


async def test_the_model_may_be_configured_without_its_tag() -> None:
    answers = Answers("brainstem")
    async with serving(Ollama("tiny:latest")) as server:
        local(answers, server.url, "tiny").receive(WakeLocal())
        assert (await answers.next()).state == "checked"


async def test_a_model_that_was_never_fetched_is_named_with_the_command_that_fetches_it() -> None:
    seen = await ask(Ollama("another:1b"), WakeLocal())
    assert seen.state == "failed"
    assert f"ollama pull {MODEL}" in seen.detail


async def test_where_no_ollama_runs_the_command_that_starts_it_is_named() -> None:
    answers = Answers("brainstem")
    url = nobody()
    local(answers, url).receive(WakeLocal())
    seen = await answers.next()
    assert seen.state == "failed"
    assert "ollama serve" in seen.detail
    assert url.removeprefix("http://") in seen.detail


@pytest.mark.parametrize("there", [True, False], ids=["another model", "no Ollama"])
async def test_what_is_not_there_is_in_nobodys_memory(there: bool) -> None:
    if there:
        assert (await ask(Ollama("another:1b"), SleepLocal())).state == "unloaded"
        return
    answers = Answers("brainstem")
    local(answers, nobody()).receive(SleepLocal())
    assert (await answers.next()).state == "unloaded"


@pytest.mark.parametrize(
    ("act", "asleep"),
    [
        (hang, "failed"),
        (cut, "failed"),
        (answer(500, {"error": "out of memory"}), "failed"),
        (answer(200, ["no object"]), "failed"),
        (answer(200, {"error": "llama runner has terminated"}), "failed"),
        (answer(200, {"response": "x" * 2_000_000}), "failed"),
        (slowly(3.0, answer(200, {"response": "ready"})), "failed"),
        (Ollama(says=""), "unloaded"),
        (answer(200, {"response": "ready", "models": "none"}), "unloaded"),
    ],
    ids=["hangs", "cuts", "500", "no object", "an error inside", "endless", "too slow", "says nothing", "not listed"],
)
async def test_whatever_ollama_does_there_is_an_answer_in_time(act: Act, asleep: str) -> None:
    woken, slept = await ask(act, WakeLocal(), 0.7), await ask(act, SleepLocal(), 0.7)
    assert (woken.state, slept.state) == ("failed", asleep)
    assert max(len(woken.detail), len(slept.detail)) < 400


async def test_what_ollama_says_is_wrong_is_passed_on() -> None:
    seen = await ask(answer(500, {"error": "model requires more system memory"}), WakeLocal())
    assert "HTTP 500" in seen.detail
    assert "more system memory" in seen.detail


async def test_a_wish_to_sleep_ends_a_wake_that_is_under_way_and_only_the_sleep_is_answered() -> None:
    answers, ollama = Answers("brainstem"), Ollama(load_s=30.0)
    async with serving(ollama) as server:
        model = local(answers, server.url)
        model.receive(WakeLocal())
        await server.heard.wait()
        model.receive(SleepLocal())
        assert (await answers.next()).state == "unloaded"
    assert answers.silent


async def test_of_many_wishes_the_last_one_counts_and_no_two_are_carried_out_together() -> None:
    answers, ollama = Answers("brainstem"), Ollama(load_s=0.05)
    async with serving(ollama) as server:
        model = local(answers, server.url)
        for wish in (WakeLocal(), SleepLocal(), WakeLocal(), SleepLocal(), WakeLocal()):
            model.receive(wish)
            await asyncio.sleep(0)
        assert (await answers.next()).state == "checked"
    assert answers.silent
    assert ollama.loaded


async def test_a_stop_leaves_the_model_as_it_is_and_says_nothing() -> None:
    answers, ollama = Answers("brainstem"), Ollama(load_s=30.0)
    async with serving(ollama) as server:
        model = local(answers, server.url)
        model.receive(WakeLocal())
        await server.heard.wait()
        await model.stop()
        model_never_asked = LocalModel(BrainstemConfig(api_base=server.url, model=MODEL), answers.post)
        await model_never_asked.stop()
    assert answers.silent


async def test_a_password_in_the_address_is_not_repeated() -> None:
    answers = Answers("brainstem")
    local(answers, nobody().replace("http://", "http://me:my-password@")).receive(WakeLocal())
    seen = await answers.next()
    assert seen.state == "failed"
    assert "my-password" not in seen.detail
