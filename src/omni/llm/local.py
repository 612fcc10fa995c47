"""The local model in Ollama: loaded and asked one small thing when the cloud goes, unloaded when it is back.

It never answers a task. What is asked last counts: a wish to sleep ends a wake that is under way, and the other way
round; the two never overlap.

    WakeLocal    load (generate without a prompt) ▶ ask for a few tokens ▶ /api/ps lists it    ▶ checked
    SleepLocal   unload (keep_alive 0)            ▶ /api/ps until it lists it no more          ▶ unloaded
                 anything else, or too late                                                    ▶ failed
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from omni.config import BrainstemConfig
from omni.domain.commands import LocalObserved, SleepLocal, WakeLocal
from omni.domain.errors import ModelError
from omni.domain.verdict import Verdict
from omni.llm.fresh import ask, explain
from omni.runtime.post import Post

log = structlog.get_logger()

NAME = "local"
BRAINSTEM = "brainstem"
KEEP_ALIVE = "30m"  # should nobody come to unload it, Ollama does it then
PROMPT = "Answer with one word: ready."
CHECK_TOKENS = 16
WAKE_S = 180.0  # several gigabytes come from a slow disk
SLEEP_S = 20.0
LOOK_EVERY_S = 0.25
MAX_ANSWER_BYTES = 1024 * 1024


class LocalModel:
    """Adapter between Brainstem and Ollama; `receive` belongs behind a LoopMailbox named "local"."""

    def __init__(
        self, config: BrainstemConfig, post: Post, *, wake_s: float = WAKE_S, sleep_s: float = SLEEP_S
    ) -> None:
        self.go_by(config)
        self._post = post
        self._wake_s = wake_s
        self._sleep_s = sleep_s
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def go_by(self, config: BrainstemConfig) -> None:
        """Which model where, from the next request on; one that is in memory by then leaves it by its keep-alive."""
        self._base = config.api_base.rstrip("/").removesuffix("/v1")
        self._where = urlsplit(self._base).netloc.rpartition("@")[2]
        self._model = config.model

    def receive(self, message: WakeLocal | SleepLocal) -> None:
        """Do this and no longer what was asked before. Runs on the loop and returns at once."""
        if self._task is not None:
            self._task.cancel()
        waking = isinstance(message, WakeLocal)
        work = self._answer(self._wake, self._wake_s) if waking else self._answer(self._sleep, self._sleep_s)
        self._task = asyncio.create_task(work, name="local model")

    async def stop(self) -> None:
        """Leave the model as it is; the next daemon knows what is still wanted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self, work: Callable[[], Awaitable[LocalObserved]], limit_s: float) -> None:
        async with self._one_at_a_time:  # what was given up may still be closing its connection
            seen = await self._bounded(work, limit_s)
        log.info("local_model.observed", state=seen.state, detail=seen.detail)
        self._post.send(BRAINSTEM, NAME, (seen,))

    async def _bounded(self, work: Callable[[], Awaitable[LocalObserved]], limit_s: float) -> LocalObserved:
        try:
            async with asyncio.timeout(limit_s):
                return await work()
        except TimeoutError:
            return LocalObserved("failed", f"Ollama at {self._where} was not done within {limit_s:g} s")
        except ModelError as error:
            return LocalObserved("failed", error.message)
        except Exception as error:  # Brainstem waits for an answer, whatever went wrong
            log.exception("local_model.failed")
            return LocalObserved("failed", f"Omni could not ask Ollama: {type(error).__name__}")

    async def _wake(self) -> LocalObserved:
        clock = asyncio.get_running_loop().time
        began = clock()
        await self._generate(keep_alive=KEEP_ALIVE)
        loaded = clock()
        answer = await self._generate(
            keep_alive=KEEP_ALIVE, prompt=PROMPT, options={"num_predict": CHECK_TOKENS, "temperature": 0}
        )
        if not (answer.get("eval_count") or answer.get("response")):
            raise ModelError(f"{self._model} is loaded and says nothing", hint=f"ollama run {self._model}")
        if not await self._in_memory():
            raise ModelError(f"{self._model} answered, and Ollama does not list it as loaded", hint="ollama ps")
        return LocalObserved("checked", f"loaded in {loaded - began:.1f} s, answered in {clock() - loaded:.1f} s")

    async def _sleep(self) -> LocalObserved:
        try:
            await self._generate(keep_alive=0)
            while await self._in_memory():  # noqa: ASYNC110 - another program says it, and only when asked
                await asyncio.sleep(LOOK_EVERY_S)
        except _NotThere as error:  # what does not run, or does not exist, is in nobody's memory
            return LocalObserved("unloaded", error.message)
        return LocalObserved("unloaded", "Ollama lists it no more")

    async def _generate(self, **options: Any) -> dict[str, Any]:
        return await self._call("POST", "/api/generate", {"model": self._model, "stream": False, **options})

    async def _in_memory(self) -> bool:
        """Whether Ollama lists the model as loaded; a name without a tag means its latest."""
        answer = await self._call("GET", "/api/ps")
        found = answer.get("models")
        listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return any(_full(self._model) in {_full(each.get("name")), _full(each.get("model"))} for each in listed)

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            async with ask(method, self._base + path, json=body) as response:
                raw = await _bounded_body(response)
        except httpx.HTTPError as error:
            failure = explain(error)
            if failure.verdict is Verdict.REFUSED:
                raise _NotThere(f"no Ollama answers at {self._where}; start it with: ollama serve") from error
            raise ModelError(f"Ollama at {self._where} cannot be asked: {failure.detail}") from error
        answer = _parsed(raw)
        if response.status_code == 404:
            raise _NotThere(f"Ollama has no model {self._model}; fetch it with: ollama pull {self._model}")
        if response.status_code != 200 or answer is None or answer.get("error"):
            raise ModelError(f"Ollama at {self._where} answered HTTP {response.status_code}: {_words(answer)}")
        return answer


class _NotThere(ModelError):
    """No Ollama, or no such model in it."""


async def _bounded_body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ModelError(f"Ollama answered with more than {MAX_ANSWER_BYTES} bytes")
    return body


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        answer = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _words(answer: dict[str, Any] | None) -> str:
    return str((answer or {}).get("error") or "nothing that could be read")[:200]


def _full(name: Any) -> str:
    text = str(name)
    return text if ":" in text else f"{text}:latest"
