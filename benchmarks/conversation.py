"""The conversation that rows measure, and how whoever keeps one is measured while it grows.

A turn is a question and an answer, 1 KB together as JSON. Their text is drawn by lot, so that none repeats another and
hardly anything is gained by compressing it.
"""

from __future__ import annotations

import base64
import json
import random
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

__all__ = ["Keeper", "KeptIn", "Message", "Stage", "TURN_BYTES", "Turn", "grow", "turn_of"]

Message: TypeAlias = dict[str, str]
Turn: TypeAlias = tuple[Message, Message]

TURN_BYTES: Final = 1_024
"""What the two messages of a turn take up as JSON."""

_AT_THE_END: Final = 24
"""How many turns before a stage say what one takes there."""

_QUESTION: Final = 300
_READS: Final = 5


class Keeper(Protocol):
    """Whoever keeps one conversation, in the way its makers mean it to be kept."""

    async def save(self, turn: Turn) -> None:
        """Add a turn to the turns before."""
        ...

    async def latest(self) -> int:
        """Read the newest state whole, and return how many messages it has."""
        ...


KeptIn: TypeAlias = Callable[[Path, Sequence[Message]], AbstractAsyncContextManager[Keeper]]
"""Opens what is kept in a folder, again and again; so far it has these messages."""


class Stage(msgspec.Struct, frozen=True):
    """A conversation of so many turns: its bytes for each of its content, and how long a save and a read take.

    `missing` are the messages that the newest state lacks. Without `latest_ms` a read would take too long.
    """

    turns: int
    times_content: float
    save_ms: float
    latest_ms: float | None
    missing: int


def turn_of(number: int) -> Turn:
    """Return the two messages of a turn, the same ones each time."""
    question = {"role": "user", "content": _drawn(2 * number, _QUESTION)}
    answer = {"role": "assistant", "content": ""}
    left = TURN_BYTES - sum(len(json.dumps(message, separators=(",", ":"))) for message in (question, answer))
    return question, answer | {"content": _drawn(2 * number + 1, left)}


async def grow(kept_in: KeptIn, folder: Path, turns: tuple[int, ...], patience: float) -> AsyncGenerator[Stage]:
    """Let a conversation grow, and measure it wherever it has one of these numbers of turns.

    It is closed there, so that a database folds its log into its file, and opened again. Once all saves have taken more
    than there is patience for, in seconds, the later stages are left out; and so is a read that would take longer.
    """
    messages: list[Message] = []
    stage: Stage | None = None
    took: list[float] = []
    spent = 0.0
    for goal in turns:
        async with kept_in(folder, tuple(messages)) as keeper:
            for number in range(len(messages) // 2, goal):
                if spent > 1_000 * patience:
                    return
                turn = turn_of(number)
                took.append(await _ms(keeper.save(turn)))
                spent += took[-1]
                messages += turn
        size = _size_of(folder)
        async with kept_in(folder, tuple(messages)) as keeper:
            latest_ms, missing = await _latest(keeper, goal, stage, patience)
        save_ms = statistics.median(took[-_AT_THE_END:])
        stage = Stage(goal, size / (goal * TURN_BYTES), save_ms, latest_ms, missing)
        yield stage


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def _ms(wait: Awaitable[object]) -> float:
    before = time.perf_counter()
    await wait
    return 1_000 * (time.perf_counter() - before)


async def _latest(keeper: Keeper, turns: int, earlier: Stage | None, patience: float) -> tuple[float | None, int]:
    """Return how long the newest state takes to read once it has been read, and how many messages it lacks."""
    # Some read every state to find the newest one: their time grows with the square of the turns.
    if earlier is not None and (earlier.latest_ms or 0) * (turns / earlier.turns) ** 2 > 1_000 * patience:
        return None, 0
    took: list[float] = []
    missing = 0
    until = time.perf_counter() + patience / _READS
    for _ in range(1 + _READS):
        before = time.perf_counter()
        missing = 2 * turns - await keeper.latest()
        took.append(1_000 * (time.perf_counter() - before))
        if time.perf_counter() > until:
            break
    return statistics.median(took[1:] or took), missing


def _drawn(lot: int, size: int) -> str:
    return base64.b64encode(random.Random(lot).randbytes(size))[:size].decode()  # noqa: S311  no secret
