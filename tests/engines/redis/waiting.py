"""Waiting for what a server or the loop has yet to notice."""

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE_S = 30.0
"""After so long a test that waits fails. None that passes comes near it."""


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  what is waited for lies in another process
            await asyncio.sleep(0)


async def until_blocked(admin: Any) -> None:
    """Wait until a client of the server waits for changes."""
    await until(lambda: any(client["cmd"] == "xread" for client in admin.client_list()))
