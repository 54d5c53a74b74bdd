"""Where a watch sits: which readings it has, what it was told of them, and what it is to be told next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from sojourn.kernel.live.followed import Answer, Followed
from sojourn.kernel.live.reading import Transition, Update

__all__ = ["Seat"]

_MISSES: Final = 2
"""Rounds in which a seat may be held back by changes. Then all its readings are read together, at one instant."""


class Seat:
    """One watch, as it is seen from within.

    It goes from one instant to a later one at which all its answers are known. `assembling` is the round whose instant
    it is about to go to, and `awaited` are the readings whose answers of that round are still being made.
    """

    def __init__(self) -> None:
        self.readings: dict[int, Followed] = {}
        self.ids: dict[Followed, list[int]] = {}
        self.changed: dict[Followed, None] = {}
        self.assembling = 0
        self.awaited: dict[Followed, None] = {}
        self.is_closed = False
        self.misses = 0
        self.wants_flush = False
        self.failure: Exception | None = None
        self.woken = asyncio.Event()
        self._captured: dict[Followed, Answer] = {}
        self._version = 0
        self._next_version = 0
        self._caught_up = 0
        self._shows = 0
        self._taken: dict[int, Answer] = {}
        self._pending: dict[int, Answer] = {}
        self._asked: list[tuple[int, int]] = []
        self._synced: list[int] = []

    @property
    def is_hurried(self) -> bool:
        """Whether others change its readings faster than it could be told of them, one by one."""
        return self.misses >= _MISSES

    @property
    def wants_more(self) -> bool:
        """Whether there is something that it has not been told yet."""
        return bool(self.changed or self._asked)

    @property
    def syncs(self) -> int:
        """How many questions for what was committed before wait for an answer."""
        return len(self._asked) + len(self._synced)

    def add(self, number: int, followed: Followed) -> None:
        """Have this reading under a number."""
        self.readings[number] = followed
        self.ids.setdefault(followed, []).append(number)
        self.changed[followed] = None

    def remove(self, number: int) -> Followed | None:
        """Have it no more, and hear of it no more. Return it if it was the last number of its reading."""
        followed = self.readings.pop(number)
        self._taken.pop(number, None)
        self._pending.pop(number, None)
        numbers = self.ids[followed]
        numbers.remove(number)
        if numbers:
            return None
        del self.ids[followed]
        self.changed.pop(followed, None)
        return followed

    def ask(self, number: int, round_number: int) -> None:
        """Ask for a transition that shows all that was committed before this round begins."""
        self._asked.append((number, round_number))

    def catch_up(self, number: int) -> None:
        """All that was committed before this round began is known: what it concerns is not settled any more."""
        self.wants_flush = False
        self._caught_up = number

    def assemble(self, number: int, version: int, unsettled: Iterable[Followed]) -> bool:
        """Begin to go to the instant of this round; say whether that can be.

        Who has just begun to watch is to see all that was committed before, or why it cannot be read.
        """
        self.awaited.clear()
        self._captured.clear()
        if self.wants_flush and not self._is_in_trouble:
            return False
        for followed in unsettled:
            if followed.round == number and followed.is_running:
                self.awaited[followed] = None
            else:
                self.misses += followed.is_dirty
                return False
        for followed in self.changed:
            if followed.is_settled and followed.answer is not None:
                self._captured[followed] = followed.answer
        self.assembling = number
        self._next_version = version
        self._shows = self._caught_up  # which goes on while it waits for a slow one
        return True

    def abandon(self) -> None:
        """Do not go there after all."""
        self.assembling = 0
        self.awaited.clear()

    def receive(self, followed: Followed, answer: Answer) -> bool:
        """Take the answer of an awaited reading; say whether all are there."""
        self._captured[followed] = answer
        self.awaited.pop(followed, None)
        return not self.awaited

    def advance(self) -> None:
        """Be at the instant of the round. Whoever iterates the watch is told of what is different there."""
        captured = self._captured
        for followed, answer in captured.items():
            if followed.answer is answer:
                self.changed.pop(followed, None)
            for number in self.ids.get(followed, ()):
                taken = self._taken.get(number)
                if taken is not None and (taken is answer or taken.is_like(answer)):
                    self._pending.pop(number, None)
                else:
                    self._pending[number] = answer
        captured.clear()
        self._synced += [number for number, asked in self._asked if asked < self._shows]
        self._asked = [(number, asked) for number, asked in self._asked if asked >= self._shows]
        self.assembling = self.misses = 0
        self._version = self._next_version
        if self._pending or self._synced:
            self.woken.set()

    @property
    def _is_in_trouble(self) -> bool:
        return any(followed.answer is not None and followed.answer.error is not None for followed in self.ids)

    def fail(self, error: Exception) -> None:
        """End the iteration with this error."""
        self.failure = error
        self.woken.set()

    def take(self) -> Transition | None:
        """Return what is different since the last time, if anything is."""
        self.woken.clear()
        if not self._pending and not self._synced:
            return None
        self._taken |= self._pending
        updates = tuple(Update(number, answer.result, answer.error) for number, answer in self._pending.items())
        self._pending.clear()
        synced, self._synced = tuple(self._synced), []
        return Transition(self._version, updates, synced)
