"""Waiting for whichever comes first: something that happens, or a time by the injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["first_of", "seen"]

T = TypeVar("T")
D = TypeVar("D")


async def first_of(wanted: Awaitable[T], limit: Awaitable[None], default: D = None) -> T | D:  # type: ignore[assignment]
    """Return what `wanted` gives, or the default when `limit` is over first; what did not come first is cancelled.

    When both are there in the same step, what was wanted wins: nothing that arrived is thrown away.
    """
    first, second = asyncio.ensure_future(wanted), asyncio.ensure_future(limit)
    try:
        await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return first.result()
        return default
    finally:
        for future in (first, second):
            future.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


def seen(task: asyncio.Future[Any]) -> None:
    """Take note of an error whose caller was cancelled, so that the loop does not report it as nobody's."""
    if not task.cancelled():
        task.exception()
