"""The store: the API over one engine that every face is built on.

A store does no I/O until it is opened. `commit` applies a transaction and raises when it did not hold; `submit` does
the same but returns a conflict as a value; `run` reads, decides and commits, again and again until it held.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import ClosedError, CommitUnknownError, ConflictError, RefusedError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.batcher import Batcher
from sojourn.kernel.checks import check_rank_span, check_reads, check_scope, transaction_bytes
from sojourn.kernel.clock import Clock, SystemClock
from sojourn.kernel.engine import Description, Engine, Finding, RankPage, Swept
from sojourn.kernel.keys import Key, RankSpan, Scope, Span, following
from sojourn.kernel.live import Live
from sojourn.kernel.live.recording import recording
from sojourn.kernel.statistics import Observer, Statistics, Tally
from sojourn.kernel.subscriptions import Subscription, Subscriptions
from sojourn.kernel.transaction import (
    Committed,
    Conflict,
    Delete,
    DeleteSpan,
    Guard,
    Put,
    Reads,
    Record,
    Records,
    Refused,
    Snapshot,
    SpanIs,
    Transaction,
    applied,
)
from sojourn.kernel.turns import Turns
from sojourn.kernel.waiting import seen

__all__ = ["Store"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_attempts: ContextVar[tuple[Attempt, ...]] = ContextVar("_attempts", default=())


def is_within(attempt: object) -> bool:
    """Say whether the caller runs within this attempt, or within one that runs within it."""
    return any(one is attempt for one in _attempts.get())


def is_within_any() -> bool:
    """Say whether the caller runs within an attempt that is not over."""
    return any(not one.is_settled for one in _attempts.get())


class Store:
    """Records in one database, through one engine. Open it with `async with`, by `await`, or by `open`.

    `observers` are told of each batch on its way to the engine. `live` keeps what is read right, for who watches it.
    """

    def __init__(self, engine: Engine, *, clock: Clock | None = None, observers: Iterable[Observer] = ()) -> None:
        self.engine = engine
        self.clock: Clock = clock or SystemClock()
        self._observers = tuple(observers)
        self._tally = Tally()
        self._batcher: Batcher | None = None
        self._subscriptions = Subscriptions(engine, self.clock)
        self.live = Live(self, self._subscriptions)
        self._turns: Turns[str] = Turns()
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._finishing: set[asyncio.Task[Any]] = set()

    async def open(self) -> Self:
        """Open the engine; opening an open store does nothing.

        Raises:
            UnavailableError: the database cannot be reached.
            IncompatibleError: what is there is not sojourn's, or of a newer release.
            InvalidError: the database cannot be used as configured.
        """
        async with self._changing:
            if self._batcher is None:
                await self.engine.open()
                self._batcher = Batcher(self.engine, self.clock, self._tally, self._observers)
        return self

    async def close(self) -> None:
        """Finish every commit that was accepted, end what runs in the background, release the engine.

        After it returns every call is refused with `ClosedError`. Closing twice is harmless. Cancelled, it goes on in
        the background.
        """
        await asyncio.shield(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        async with self._changing:
            await self._end_all()

    async def _end_all(self) -> None:
        batcher = self._batcher
        if batcher is None:
            return
        # Background work may still commit while it ends, to give back a lease for example.
        while self._tasks or self._finishing:
            for task in self._tasks:  # in each round: who was just granted a lease has begun to keep it
                task.cancel()
            await asyncio.gather(*self._tasks, *self._finishing, return_exceptions=True)
        await self._subscriptions.close()
        self._batcher = None
        await batcher.close()
        await self.engine.close()

    def __await__(self) -> Generator[Any, None, Self]:
        """Open the store: `store = await sojourn.open(url)`."""
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        """Open the store."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.close()

    async def examine(self) -> Sequence[Finding]:
        """Look at the database's version, rights and settings: what an operator should know.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        self._opened()
        return await self.engine.examine()

    @property
    def is_open(self) -> bool:
        """Say whether the store is open."""
        return self._batcher is not None

    def describe(self) -> Description:
        """Say what the engine is and which optional promises it keeps; no I/O."""
        return self.engine.describe()

    def statistics(self) -> Statistics:
        """Say what this store has done since it was made, and what waits in it now; no I/O."""
        waiting = (0, 0) if self._batcher is None else self._batcher.waiting
        return self._tally.statistics(*waiting)

    async def commit(self, transaction: Transaction) -> Committed:
        """Apply the transaction; after return it holds, through any crash the engine promises to survive.

        Cancelled, it is applied or not, never half.

        Raises:
            ConflictError: a guard failed; nothing was written.
            RefusedError: it can never be applied; nothing was written. `LimitError` and `InvalidError` before any I/O.
            UnavailableError: the engine could not be reached; nothing was written.
            CommitUnknownError: the answer was lost, and so were those of the repeats; perhaps written.
            CapabilityError: this engine cannot do it; nothing was written.
        """
        outcome = await self.submit(transaction)
        if isinstance(outcome, Conflict):
            raise conflict_error(outcome)
        return outcome

    async def submit(self, transaction: Transaction) -> Committed | Conflict:
        """Apply the transaction as `commit` does, but return a conflict instead of raising it.

        Raises:
            RefusedError: it can never be applied; nothing was written. `LimitError` and `InvalidError` before any I/O.
            UnavailableError: the engine could not be reached; nothing was written.
            CommitUnknownError: the answer was lost, and so were those of the repeats; perhaps written.
        """
        batcher = self._opened()
        size = transaction_bytes(transaction)
        own = _own_puts(transaction) if transaction.reads.keys else {}
        sent = _without(own, transaction) if own else transaction
        outcome = await batcher.submit(sent, size)
        if isinstance(outcome, Refused):
            raise RefusedError(f"the engine refused the transaction: {outcome.cause}")
        if isinstance(outcome, Committed):
            if outcome.repeated:
                outcome = _perhaps_remaining(transaction, outcome)
            if sent is not transaction:
                return await self._with_own_puts(transaction, own, outcome)
        return outcome

    async def run(self, work: Callable[[Attempt], Awaitable[T]]) -> T:
        """Read, decide and commit as one serializable transaction, and return what `work` returned.

        `work` gets an `Attempt`, whose reads become guards. When one fails, `work` runs again on the new state, so it
        must have no effect outside the attempt. From its first conflict on it waits its turn among the callers of
        this process that use the same partitions. An exception of `work` commits nothing and is raised only if what
        it had read was sound. Returned is the value of the attempt that was committed, and of no other.

        Work that writes nothing may read over many partitions on every engine; where the engine lacks
        `cross_partition`, what it read holds at one instant for each partition, and not for all of them together.

        Raises:
            ConflictError: `limits.RUN_ATTEMPTS` attempts met rivals in other processes; nothing was written.
            RefusedError: the transaction can never be applied; nothing was written.
            UnavailableError: the engine could not be reached; nothing was written.
            CommitUnknownError: the answer was lost, and so were those of the repeats; perhaps written.
        """
        self._opened()
        transaction_id = ids.new()
        values: dict[int, T] = {}
        queue = _Queue(self._turns, waits=not _attempts.get())
        conflict: Conflict | None = None
        try:
            for number in range(1, limits.RUN_ATTEMPTS + 1):
                if conflict is not None:
                    await self._wait_turn(queue, conflict, number)
                attempt = Attempt(number, self.read, queue.enter)
                try:
                    outcome = await self._attempt(work, attempt, transaction_id, values)
                finally:
                    if not attempt.is_sent:
                        attempt.settle(None)
                if isinstance(outcome, int):
                    return values[outcome]
                conflict = outcome
        finally:
            queue.leave()
        assert conflict is not None
        raise conflict_error(conflict, f"nothing was written in {limits.RUN_ATTEMPTS} attempts")

    async def read(self, reads: Reads) -> Snapshot:
        """Read keys and spans as one snapshot, which shows every commit that returned before.

        Raises:
            UnavailableError: the engine could not be reached.
            RefusedError: `LimitError` or `InvalidError`, before any I/O.
        """
        self._opened()
        check_reads(reads)
        notes = recording.get()
        if notes is not None and notes.is_open and notes.owner is self:
            return await notes.read(reads, self._read)
        return await self._read(reads)

    async def _read(self, reads: Reads) -> Snapshot:
        self._tally.reads += 1
        return await self.engine.read(reads)

    async def scan(self, span: Span) -> AsyncIterator[Record]:
        """Iterate over all records of the span, page by page of `span.limit`; each page is one snapshot.

        Raises:
            UnavailableError: the engine could not be reached.
            RefusedError: `LimitError` or `InvalidError`, before any I/O.
        """
        while True:
            (page,) = (await self.read(Reads(spans=(span,)))).records.spans
            for record in page:
                yield record
            if len(page) < span.limit:
                return
            last = page[-1].key.item
            if span.reverse:
                span = msgspec.structs.replace(span, stop=last)
            else:
                span = msgspec.structs.replace(span, start=following(last))

    async def rank(self, span: RankSpan) -> RankPage:
        """Read one page of a space by rank, over all partitions: a hint, to be guarded again before a write.

        Raises:
            UnavailableError: the engine could not be reached.
            RefusedError: `LimitError` or `InvalidError`, before any I/O.
        """
        self._opened()
        check_rank_span(span)
        notes = recording.get()
        if notes is not None and notes.is_open and notes.owner is self:
            return await notes.rank(span, self.engine.rank)
        return await self.engine.rank(span)

    async def rank_pages(self, span: RankSpan) -> AsyncIterator[RankPage]:
        """Go through a space by rank, page by page of `span.limit`; each page is a hint, as that of `rank` is.

        Upwards nobody is missed whose rank only grows meanwhile, and some may come twice.

        Raises:
            UnavailableError: the engine could not be reached.
            RefusedError: `LimitError` or `InvalidError`, before any I/O.
        """
        while True:
            page = await self.rank(span)
            yield page
            if page.cursor is None:
                return
            span = msgspec.structs.replace(span, after=page.cursor)

    def watch(self, *scopes: Scope) -> Subscription:
        """Return a subscription to these keys, spans and spaces; it is ready once entered.

        Raises:
            RefusedError: `LimitError` or `InvalidError`, before any I/O.
            ClosedError: the store is not open.
        """
        self._opened()
        for scope in scopes:
            check_scope(scope)
        return Subscription(self._subscriptions, scopes)

    async def sweep(self, limit: int = limits.SWEEP_RECORDS) -> Swept:
        """Remove one step's worth of expired records, announcing them, and of old log rows and receipts.

        Reads ignore what has expired, swept or not; sweeping gives back the room. Call it again while `more`.

        Raises:
            UnavailableError: the engine could not be reached.
        """
        self._opened()
        return await self.engine.sweep(limit)

    def spawn(self, work: Coroutine[Any, Any, T], *, finish: bool = False) -> asyncio.Task[T]:
        """Run work that outlives its caller as a task of this store.

        Closing the store awaits it; unless it is to `finish`, it is cancelled first.
        """
        task = asyncio.get_running_loop().create_task(work)
        owned = self._finishing if finish else self._tasks
        owned.add(task)
        task.add_done_callback(owned.discard)
        return task

    async def _attempt(
        self, work: Callable[[Attempt], Awaitable[T]], attempt: Attempt, transaction_id: bytes, values: dict[int, T]
    ) -> int | Conflict:
        """Run one attempt and commit it; return the number of the attempt whose value holds, or the conflict.

        What `work` returned is kept under the attempt's number.
        """
        inside = _attempts.set((*_attempts.get(), attempt))
        try:
            values[attempt.number] = await work(attempt)
        except Exception:
            # Whatever it is: raised over a state that never was it means nothing, and the work runs again.
            conflict = await self._prove(attempt) if attempt.is_torn else None
            if conflict is None:
                raise
            return conflict
        finally:
            _attempts.reset(inside)
        if attempt.is_proved:
            return attempt.number
        if not attempt.has_writes:
            return await self._prove(attempt) or attempt.number
        if not attempt.is_awaited:
            outcome = await self.submit(attempt.transaction(transaction_id))
            if isinstance(outcome, Conflict):
                return outcome
            # Not always this attempt: an earlier one, whose answer was lost, may have arrived late.
            if outcome.attempt == attempt.number:
                attempt.outcome = outcome
            return outcome.attempt
        attempt.is_sent = True
        sent = self.spawn(self._sent(attempt, transaction_id), finish=True)
        sent.add_done_callback(seen)
        return await asyncio.shield(sent)

    async def _sent(self, attempt: Attempt, transaction_id: bytes) -> int | Conflict:
        """Commit an attempt of which somebody wants to know what becomes, whether or not its caller still waits."""
        became: Committed | CommitUnknownError | None = None
        try:
            outcome = await self.submit(attempt.transaction(transaction_id))
        except CommitUnknownError as error:
            became = error
            raise
        else:
            if isinstance(outcome, Conflict):
                return outcome
            is_this = outcome.attempt == attempt.number
            attempt.outcome = outcome if is_this else None
            became = outcome if is_this else CommitUnknownError("an earlier attempt was the one that was committed")
            return outcome.attempt
        finally:
            attempt.settle(became)

    async def _prove(self, attempt: Attempt) -> Conflict | None:
        """Commit what the attempt read, and nothing it wrote: at one instant, or for each partition at one.

        Raises:
            UnavailableError: the engine could not be reached, or its answers were lost: there was nothing to write.
        """
        guards = attempt.transaction(None).guards
        parts = [guards]
        if not self.describe().cross_partition:
            by_partition = defaultdict[str, list[Guard]](list)
            for guard in guards:
                by_partition[_guarded_partition(guard)].append(guard)
            parts = [tuple(part) for part in by_partition.values()]
        try:
            outcomes = await asyncio.gather(*(self.submit(Transaction(guards=part)) for part in parts))
        except CommitUnknownError as error:
            raise UnavailableError("what was read could not be proved; nothing was written") from error
        return next((outcome for outcome in outcomes if isinstance(outcome, Conflict)), None)

    async def _wait_turn(self, queue: _Queue, conflict: Conflict, number: int) -> None:
        if queue.meets_strangers():
            # Queued and still in conflict: the rival is another process, so only chance can part the two.
            most = min(0.0005 * 2 ** min(number, 10), limits.RUN_BACKOFF_MAX.total_seconds())
            await self.clock.sleep(random.uniform(0, most))  # noqa: S311  jitter, not a secret
        await queue.join(_guarded_partition(conflict.guard))

    async def _with_own_puts(
        self, transaction: Transaction, own: Mapping[Key, Put | Delete], outcome: Committed
    ) -> Committed:
        """Fill in the records that were just written and not sent back."""
        if outcome.repeated:  # others may have written since
            try:
                records = (await self.engine.read(transaction.reads)).records
            except UnavailableError as error:
                raise CommitUnknownError("committed before, but reading back failed; repeat the same id") from error
            return msgspec.structs.replace(outcome, records=records)
        sent_back = iter(outcome.records.keys)
        keys = tuple(
            applied(own[key], None, outcome.now, outcome.revision or 0) if key in own else next(sent_back)
            for key in transaction.reads.keys
        )
        return msgspec.structs.replace(outcome, records=Records(keys, outcome.records.spans))

    def _opened(self) -> Batcher:
        if self._batcher is None:
            raise ClosedError("the store is not open; use `async with store:` or `await store.open()` first")
        return self._batcher


_STRAGGLERS: Final = 3
"""Conflicts in one's turn that are not yet taken for those with another process."""


class _Queue:
    """The turns that one call of `run` takes: none before a conflict, unless its partition is busy already.

    A call made from within the attempt of another never waits: the turn might be the one that other holds.
    """

    def __init__(self, turns: Turns[str], *, waits: bool) -> None:
        self._turns = turns
        self._waits = waits
        self._used = set[str]()
        self._held: tuple[str, ...] = ()
        self._conflicts = 0

    def meets_strangers(self) -> bool:
        """Count a conflict; say whether it is one with another process, as far as can be known.

        Whoever has its turn may still meet those of this process who had set out before anybody queued.
        """
        self._conflicts += bool(self._held)
        return self._conflicts > _STRAGGLERS

    async def enter(self, partition: str, may_wait: bool) -> None:  # noqa: FBT001  the one thing that is told of it
        """Note the partition that an attempt is about to read, and wait if it may and others already queue for it."""
        self._used.add(partition)
        # Holding one turn and waiting for a second could meet somebody who does the reverse.
        if may_wait and self._waits and not self._held and self._turns.is_busy(partition):
            await self._turns.take((partition,))
            self._held = (partition,)

    async def join(self, partition: str) -> None:
        """After a conflict over this partition: take the turns of every partition used so far, in sorted order."""
        self._used.add(partition)
        wanted = tuple(sorted(self._used))
        if self._waits and wanted != self._held:
            self.leave()
            await self._turns.take(wanted)
            self._held = wanted

    def leave(self) -> None:
        held, self._held = self._held, ()
        self._turns.give_back(held)


def conflict_error(conflict: Conflict, remark: str = "nothing was written") -> ConflictError:
    """Return the error that says the same as this outcome."""
    guard = conflict.guard
    return ConflictError(
        f"{type(guard).__name__} no longer holds; {remark}", guard=guard, found=conflict.found, now=conflict.now
    )


def _guarded_partition(guard: Guard) -> str:
    """Return the partition that a guard looks at."""
    return guard.span.partition if isinstance(guard, SpanIs) else guard.key.partition


def _perhaps_remaining(transaction: Transaction, repeated: Committed) -> Committed:
    """Return a repeat's outcome that does not end a loop over `DeleteSpan` too early; one more round is harmless."""
    if not any(isinstance(write, DeleteSpan) for write in transaction.writes):
        return repeated
    return msgspec.structs.replace(repeated, remaining=True)


def _own_puts(transaction: Transaction) -> dict[Key, Put | Delete]:
    """Return the writes after which the record of a key that is read is known beforehand."""
    read = set(transaction.reads.keys)
    return {write.key: write for write in transaction.writes if isinstance(write, Put | Delete) and write.key in read}


def _without(own: Mapping[Key, Put | Delete], transaction: Transaction) -> Transaction:
    """Return the transaction without the reads of these keys."""
    keys = tuple(key for key in transaction.reads.keys if key not in own)
    return msgspec.structs.replace(transaction, reads=Reads(keys, transaction.reads.spans))
