"""A reading that somebody watches: its newest answer, and what that depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from sojourn import limits
from sojourn.kernel.keys import Key, Scope
from sojourn.kernel.live.interest import Interest
from sojourn.kernel.live.reading import Reading
from sojourn.kernel.live.recording import Recording
from sojourn.kernel.transaction import Reads

if TYPE_CHECKING:
    from sojourn.kernel.live.seat import Seat

__all__ = ["Answer", "Followed"]

_NOTHING: Final = Reads()


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What a reading gave: a result, or the error in its place. By identity: an equal one is the same one."""

    result: bytes | None
    error: Exception | None = None

    def is_like(self, other: Answer) -> bool:
        """Say whether the other says the same."""
        if self.error is None or other.error is None:
            return self.error is other.error and self.result == other.result
        return _content(self.error) == _content(other.error)


class Followed:
    """One reading with all who watch it.

    An answer is settled when it is known to be of one instant and nothing that it depends on has changed since. `round`
    is the one in which it was evaluated last, or is being. It is overdue at `overdue_at`, by the monotonic clock. At
    its `alarm`, in milliseconds of the engine's clock, it is read again even if nothing is heard of a change.
    """

    def __init__(self, reading: Reading, interest: Interest[Followed]) -> None:
        self.reading = reading
        self.seats: dict[Seat, None] = {}
        self.answer: Answer | None = None
        self.round = 0
        self.task: asyncio.Task[None] | None = None
        self.is_running = False
        self.is_dirty = True
        self.is_confirmed = False
        self.is_overdue = False
        self.reads = _NOTHING
        self.tries = 0
        self.failures = 0
        self.overdue_at = 0.0
        self.alarm: float | None = None
        self.is_dropped = False
        self._interest = interest
        self._scopes: dict[Scope, None] = {}
        self._touched = set[Key]()
        self._has_missed = False

    @property
    def is_settled(self) -> bool:
        """Whether its answer stands."""
        return self.is_confirmed and not self.is_dirty and not self.is_running

    def begin(self, number: int) -> None:
        """An evaluation begins: what changes from now on may or may not be seen by it.

        What it has read the last time is about to be read, whole spans also where a page showed only a part.
        """
        self.round = number
        self.is_running = True
        self.is_dirty = self.is_confirmed = self.is_overdue = self._has_missed = False
        self._touched.clear()
        for key in self.reads.keys:
            self.register(key)
        for span in self.reads.spans:
            self.register(span)

    def register(self, scope: Scope) -> None:
        """The evaluation is about to read this."""
        if scope not in self._scopes and not self.is_dropped:
            self._scopes[scope] = None
            self._interest.add(scope, self)

    def touch(self, key: Key) -> bool:
        """Take note of a change in its scopes; say whether there is something to be done about it now."""
        if self.is_running:
            self._touched.add(key)
            if len(self._touched) > limits.SUBSCRIPTION_KEYS:
                self._has_missed = True
                self._touched.clear()
            return False
        return self.miss()

    def miss(self) -> bool:
        """Take note that something may have changed; say whether there is something to be done about it now."""
        if self.is_running:
            self._has_missed = True
            return False
        was_dirty, self.is_dirty = self.is_dirty, True
        return not was_dirty

    def end(self, recording: Recording, answer: Answer) -> bool:
        """The evaluation is over; say whether the answer is another one than before."""
        scopes = dict.fromkeys(recording.scopes)
        self._interest.remove((scope for scope in self._scopes if scope not in scopes), self)
        for scope in scopes:
            if scope not in self._scopes:  # a span of which the page shows only a part
                self._interest.add(scope, self)
        self._scopes = scopes
        self.reads = recording.reads
        self.is_running = False
        self.task = None
        self.is_confirmed = recording.is_whole
        self.tries = 0 if recording.is_whole else self.tries + 1
        self.is_dirty = self._has_missed or self._is_touched(scopes)
        if self.answer is not None and self.answer.is_like(answer):
            return False
        self.answer = answer
        return True

    def drop(self) -> None:
        """Nobody watches it any more."""
        self.is_dropped = True
        self.alarm = None
        if self.task is not None:
            self.task.cancel()
        self._interest.remove(self._scopes, self)
        self._scopes = {}

    def _is_touched(self, scopes: Iterable[Scope]) -> bool:
        return any(
            key == scope if isinstance(scope, Key) else key in scope for scope in scopes for key in self._touched
        )


def _content(error: Exception) -> object:
    """Return what an error says: its kind, its words, and what it carries; what others noted on it is not of it."""
    carried = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return type(error), str(error), carried
