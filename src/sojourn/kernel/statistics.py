"""What a store counts, and who is told of its batches.

Counting costs a few additions for each transaction and each batch. An observer costs what it does itself.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Protocol, TypeAlias

import msgspec

from sojourn.errors import CommitUnknownError, ConflictError, RefusedError, SojournError, UnavailableError
from sojourn.kernel.checks import transaction_bytes
from sojourn.kernel.engine import Answer
from sojourn.kernel.transaction import Committed, Conflict, Outcome, Refused, Transaction

__all__ = ["Observer", "Statistics", "Tally", "Trip", "observed"]

_log = logging.getLogger(__name__)

Commit: TypeAlias = Callable[[Sequence[Transaction]], Awaitable[Sequence[Answer]]]


class Statistics(msgspec.Struct, frozen=True):
    """What one store of this process has done since it was made, and what waits in it now.

    `commits` to `failed` say what became of transactions, each counted once: they held (of these `repeated` had been
    applied by an earlier delivery), a guard failed, they were refused, the engine could not be reached or too much was
    waiting, the answer was lost for good, or anything else. They travelled in `batches`, of at most `largest_batch`
    transactions; `busy_seconds` adds up how long these took, repeats included.
    """

    commits: int
    repeated: int
    conflicts: int
    refused: int
    unavailable: int
    unknown: int
    failed: int
    reads: int
    batches: int
    largest_batch: int
    busy_seconds: float
    waiting_transactions: int
    waiting_bytes: int


class Trip(msgspec.Struct):
    """One trip to the engine with a batch: how many transactions, of how many bytes; a repeat is a trip of its own.

    `outcomes` counts what came back, by `committed`, `conflict`, `refused`, or the code of an error. It is empty until
    the trip is over, and stays so when it fails as a whole.
    """

    transactions: int
    size: int
    outcomes: Mapping[str, int] = {}


class Observer(Protocol):
    """Is told of each batch. Callers wait while it is, so it must be quick; what it raises is logged, and ignored."""

    def trip(self, trip: Trip) -> AbstractContextManager[object]:
        """Return a context to be entered before the trip, and left after it: with the error, if it failed as a whole.

        Several may be open at once, where the engine takes several batches at a time.
        """
        ...


def observed(commit: Commit, observers: Sequence[Observer]) -> Commit:
    """Return an engine's `commit` that tells the observers of each trip; without any, `commit` itself."""
    if not observers:
        return commit

    async def told(batch: Sequence[Transaction]) -> Sequence[Answer]:
        trip = Trip(len(batch), sum(map(transaction_bytes, batch)))
        with ExitStack() as contexts:
            for observer in observers:
                contexts.enter_context(_Harmless(observer, trip))
            answers = await commit(batch)
            trip.outcomes = Counter(map(_word, answers))
        return answers

    return told


class Tally:
    """The counts of one store while they grow."""

    def __init__(self) -> None:
        self.became = defaultdict[type[Outcome | SojournError], int](int)
        self.repeated = 0
        self.reads = 0
        self.batches = 0
        self.largest_batch = 0
        self.busy_seconds = 0.0

    def delivered(self, transactions: int, seconds: float) -> None:
        """Count a batch whose callers all know what became of it."""
        self.batches += 1
        self.busy_seconds += seconds
        self.largest_batch = max(self.largest_batch, transactions)

    def statistics(self, waiting_transactions: int, waiting_bytes: int) -> Statistics:
        """Return the counts of now, beside what waits."""
        conflicts = self._of(Conflict, ConflictError)
        refused = self._of(Refused, RefusedError)
        unavailable = self._of(UnavailableError)
        unknown = self._of(CommitUnknownError)
        commits = self.became[Committed]
        return Statistics(
            commits=commits,
            repeated=self.repeated,
            conflicts=conflicts,
            refused=refused,
            unavailable=unavailable,
            unknown=unknown,
            failed=sum(self.became.values()) - commits - conflicts - refused - unavailable - unknown,
            reads=self.reads,
            batches=self.batches,
            largest_batch=self.largest_batch,
            busy_seconds=self.busy_seconds,
            waiting_transactions=waiting_transactions,
            waiting_bytes=waiting_bytes,
        )

    def _of(self, *kinds: type) -> int:
        return sum(count for kind, count in self.became.items() if issubclass(kind, kinds))


_WORDS: dict[type[Outcome], str] = {Committed: "committed", Conflict: "conflict", Refused: "refused"}


def _word(answer: Answer) -> str:
    return answer.code if isinstance(answer, SojournError) else _WORDS[type(answer)]


class _Harmless:
    """One observer's context, whose own errors are logged and which hides nobody else's."""

    def __init__(self, observer: Observer, trip: Trip) -> None:
        self._observer = observer
        self._trip = trip
        self._context: AbstractContextManager[object] = nullcontext()

    def __enter__(self) -> None:
        with _reported("before"):
            context = self._observer.trip(self._trip)
            context.__enter__()
            self._context = context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _reported("after"):
            self._context.__exit__(kind, error, traceback)


@contextmanager
def _reported(when: str) -> Generator[None]:
    """Log what an observer raises."""
    try:
        yield
    except Exception:  # noqa: BLE001  whatever the application raises: the others of this batch get their answers
        _log.exception("an observer failed %s a batch", when)
