"""The litellm library, imported once, in a thread, and kept quiet.

Theory of operation. Importing takes seconds and 166 MB, so it happens after the port is open and only where a cloud is
configured (`warm`); a call that needs the library earlier waits for the same import. The thread is a daemon: a stop
does not wait for it. Of its own accord litellm would fetch a list of prices and one of beta headers from the network,
read a `.env` file, print hints, and log requests with their keys; all of that is off before it can begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import threading
from concurrent.futures import Future
from types import ModuleType
from typing import Any

# Read at import, but for the beta headers, which are read on the first use of them: here. One thing that litellm itself
# puts into the environment stays: without TIKTOKEN_CACHE_DIR it would fetch vocabularies later.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",  # it would fetch what a caller names, and the loop would wait for that
}
# What litellm imports at the first call of a kind: up to a second that the loop would stand still.
_LATE = (
    "litellm._service_logger",
    "litellm.anthropic_interface.exceptions",
    "litellm.litellm_core_utils.default_encoding",
    "litellm.llms.anthropic.chat.transformation",
    "litellm.llms.anthropic.completion.transformation",
    "litellm.llms.edenai.chat.transformation",
    "litellm.llms.fal_ai.cost_calculator",
    "litellm.llms.hosted_vllm.chat.transformation",
    "litellm.llms.litellm_proxy.chat.transformation",
    "litellm.llms.openrouter.chat.transformation",
    "litellm.llms.vertex_ai.vertex_ai_partner_models.anthropic.transformation",
    "litellm.proxy._types",
    "litellm.proxy.common_utils.callback_utils",
    "litellm.proxy.openai_files_endpoints.common_utils",
    "litellm.responses.mcp.litellm_proxy_mcp_handler",
    "litellm.types.litellm_core_utils.streaming_chunk_builder_utils",
)
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


class _Import:
    """The one import of this process."""

    def __init__(self) -> None:
        self._done: Future[ModuleType] | None = None
        self._lock = threading.Lock()

    def begin(self) -> Future[ModuleType]:
        with self._lock:
            if self._done is None:
                self._done = Future()
                threading.Thread(target=self._run, args=(self._done,), name="import litellm", daemon=True).start()
            return self._done

    def _run(self, done: Future[ModuleType]) -> None:
        try:
            done.set_result(_load())
        except BaseException as error:
            done.set_exception(error)


_IMPORT = _Import()


def warm() -> None:
    """Begin to import litellm, and return at once. Safe to repeat."""
    _IMPORT.begin()


async def library() -> ModuleType:
    """litellm, when it is there. Raises what the import raised."""
    return await asyncio.shield(asyncio.wrap_future(_IMPORT.begin()))


def _load() -> ModuleType:
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    try:
        # Some calls reach for the proxy, in case it is there; to find out that it is not takes 0.3 s each time.
        sys.modules["litellm.proxy.proxy_server"] = None  # type: ignore[assignment]
        module = importlib.import_module("litellm")
        _silence(module)
        importlib.import_module("litellm.anthropic_beta_headers_manager").get_unsupported_headers("anthropic")
        for name in _LATE:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    finally:
        _restore(before)
    return module


def _silence(module: Any) -> None:
    module.suppress_debug_info = True
    module.telemetry = False
    module.drop_params = True  # in an emergency an answer without a rare option is better than none
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _restore(before: dict[str, str | None]) -> None:
    """Programs that we start shall not inherit it."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
