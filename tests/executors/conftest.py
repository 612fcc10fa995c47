"""Runs coroutine tests on a loop of their own, with a bound."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

LIMIT_S = 90


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await pyfuncitem.obj(**wanted)

    asyncio.run(bounded())
    return True
