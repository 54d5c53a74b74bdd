"""Turns inside one process."""

import asyncio

import pytest

from sojourn.kernel.turns import Turns


async def test_who_is_cancelled_while_the_turn_is_given_back_is_cancelled_and_holds_nothing() -> None:
    turns: Turns[str] = Turns()
    await turns.take(["a"])
    waiting = asyncio.ensure_future(turns.take(["a"]))
    await asyncio.sleep(0)
    waiting.cancel()
    turns.give_back(["a"])
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not turns.is_busy("a")
