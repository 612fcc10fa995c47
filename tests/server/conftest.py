from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.server.house import House

Test: TypeAlias = Callable[[House], Awaitable[None]]
InHouse: TypeAlias = Callable[..., None]


@pytest.fixture
def in_house(tmp_path: Path) -> InHouse:
    """Runs a coroutine function with an open door in front of a running house."""

    def run(test: Test, **settings: Any) -> None:
        async def opened() -> None:
            house = House(tmp_path, **settings)
            await house.door.start()
            try:
                async with asyncio.timeout(60):
                    await test(house)
            finally:
                await house.door.stop()

        asyncio.run(opened())

    return run
