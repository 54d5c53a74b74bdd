"""How visitors end: the cleanup of those who stay away, every day, and the export and erasure of one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import time, timedelta
from functools import partial
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.errors import CommitUnknownError, InvalidError, LeaseLostError, UnavailableError
from sojourn.kernel import (
    Attempt,
    Committed,
    Create,
    Delete,
    DeleteSpan,
    Key,
    RankAtMost,
    RankSpan,
    Reads,
    Record,
    RevisionIs,
    Span,
    Store,
    Timer,
    Timers,
    Transaction,
    ids,
    set_timer,
)
from sojourn.visits import layout
from sojourn.visits.action import action_from
from sojourn.visits.model import Cleanup, Terms, moment
from sojourn.visits.visitor import visit_from, visitor_from

__all__ = ["Retention"]

_log = logging.getLogger(__name__)

_MILLISECOND: Final = timedelta(milliseconds=1)
_DAY_MS: Final = timedelta(days=1) // _MILLISECOND
_SHARE: Final = limits.DELETE_SPAN_RECORDS // limits.CLEANUP_VISITORS


class Retention:
    """What ends the visitors of one store, and what shows all that is kept of one.

    Raises:
        InvalidError: `cleanup_at` is in a time zone other than UTC.
    """

    def __init__(self, store: Store, terms: Terms, cleanup_at: time | None) -> None:
        if cleanup_at is not None and cleanup_at.tzinfo is not None and cleanup_at.utcoffset() != timedelta():
            raise InvalidError("cleanup_at", "it is a time in UTC")
        self._store = store
        self._terms = terms
        self._cleanup_at = cleanup_at

    async def cleanup(self, days_inactive: float | timedelta, *, dry_run: bool = False) -> Cleanup:
        """Delete every visitor whose last activity is longer ago, oldest first, or count them.

        Raises:
            InvalidError: the age is not above 0, or longer than `limits.TTL_MAX`.
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        age = _checked_age(days_inactive)
        if dry_run:
            return await self._go_through(age, _count, limits.PAGE_MAX)
        return await self._go_through(age, self._delete, limits.CLEANUP_VISITORS)

    async def export(self, visitor_id: str) -> dict[str, Any]:
        """Return the visitor, its visits and its actions as plain data, the oldest first; all of it in memory.

        It is read page by page, so what comes meanwhile may be in it or not. Empty when nothing is kept.

        Raises:
            UnavailableError: the store could not be reached.
        """
        snapshot = await self._store.read(Reads((layout.visitor(visitor_id),)))
        (record,) = snapshot.records.keys
        kept = {
            "visitor": None if record is None else msgspec.to_builtins(visitor_from(record, snapshot.now)),
            "visits": await self._plain(layout.log_span(visitor_id), visit_from),
            "actions": await self._plain(layout.action_span(visitor_id), action_from),
        }
        return kept if any(kept.values()) else {}

    async def erase(self, visitor_id: str) -> int:
        """Delete all that is kept of a visitor in bounded steps, its own record last, and return how many records.

        Cancelled or failed, some of it is gone; called again it goes on. It counts what this call deleted.

        Raises:
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        deleted, more = 0, True
        while more:
            step, more = await self._store.run(partial(_erase_some, visitor_id))
            deleted += step
        return deleted

    async def run(self) -> None:
        """Clean up once a day, on exactly one of the processes that run this, until cancelled.

        The age is `retention`. Without a time of day there is nothing to do, and it waits. A store that goes away is
        waited for. A day that comes while the last one's cleanup still runs is left out.

        Raises:
            ClosedError: the store is not open.
        """
        if self._cleanup_at is None:
            await asyncio.get_running_loop().create_future()
        await self._begin()
        await Timers(self._store, layout.TIMER, self._clean_daily).run()

    async def _plain(self, span: Span, show: Callable[[Record], object]) -> list[Any]:
        """Return all of a span as plain data that JSON can hold."""
        span = msgspec.structs.replace(span, limit=limits.PAGE_MAX)
        return [msgspec.to_builtins(show(record)) async for record in self._store.scan(span)]

    async def _begin(self) -> None:
        """Set the timer, unless a process did so before."""
        while True:
            try:
                due = self._due_after((await self._store.read(Reads())).now)
                timer = set_timer(layout.daily(), b"null", at=due)
                await self._store.commit(Transaction(writes=(Create(timer.key, timer.value, timer.rank),)))
            except (UnavailableError, CommitUnknownError) as error:
                _log.warning("the daily cleanup waits for the store: %s", error)
                await self._store.clock.sleep(limits.DUE_POLL.total_seconds())
            else:
                return

    async def _clean_daily(self, timer: Timer, tx: Attempt) -> None:
        """Do the cleanup of a day, and set the timer for the next one that is still to come."""
        planned = self._due_after(await tx.now())
        claim = await self._claim(timer)

        async def delete(stale: Sequence[RankAtMost]) -> int:
            if await self._claim(timer) != claim:  # this process was held up for so long that another took over
                raise LeaseLostError("another process does the daily cleanup", guard=claim)
            return await self._delete(stale)

        cleaned = await self._go_through(self._terms.retention, delete, limits.CLEANUP_VISITORS)
        _log.info("the daily cleanup deleted %d visitors last seen before %s", *msgspec.structs.astuple(cleaned))
        due = self._due_after((await self._store.read(Reads())).now)
        if due > planned:
            left_out = (due - planned) // _DAY_MS
            _log.warning("the daily cleanup ran on until the next was due, %d left out", left_out)
        tx.write(set_timer(timer.key, timer.payload, at=due))

    async def _claim(self, timer: Timer) -> RevisionIs | None:
        """Return the guard that holds while nobody else has claimed the timer."""
        (standing,) = (await self._store.read(Reads((timer.key,)))).records.keys
        return None if standing is None else RevisionIs(timer.key, standing.revision)

    def _due_after(self, now: int) -> int:
        """Return the next instant at which a cleanup is due, in milliseconds."""
        at = self._cleanup_at or time()
        since = timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
        return now + _DAY_MS - (now - since // _MILLISECOND) % _DAY_MS

    async def _go_through(
        self, age: timedelta, treat: Callable[[Sequence[RankAtMost]], Awaitable[int]], at_a_time: int
    ) -> Cleanup:
        """Treat those whose last activity is longer ago than this, oldest first; return the sum and the cutoff.

        `treat` gets the guards that hold as long as a visitor has not come back. The cutoff stands still, so those who
        come back move out of reach, and the end is reached however many do.
        """
        cutoff = (await self._store.read(Reads())).now - -(-age // _MILLISECOND)
        span = RankSpan(layout.VISIT, high=cutoff - 1, limit=at_a_time)
        treated = 0
        async for page in self._store.rank_pages(span):
            treated += await treat([RankAtMost(record.key, cutoff - 1) for record in page.records])
        return Cleanup(treated, moment(cutoff))

    async def _delete(self, stale: Sequence[RankAtMost]) -> int:
        """Delete these visitors, but for those who come back meanwhile; return how many went.

        What a visitor owns goes first, so that a visitor is found again until all of it has gone.
        """
        crowded = await asyncio.gather(*(self._empties(guard, _SHARE) for guard in stale))
        for guard, more in zip(stale, crowded, strict=True):
            while more:
                more = await self._empties(guard, limits.DELETE_SPAN_RECORDS)  # noqa: PLW2901  until it is not
        outcomes = await asyncio.gather(*(self._store.submit(_ending(guard)) for guard in stale))
        return sum(isinstance(outcome, Committed) for outcome in outcomes)

    async def _empties(self, guard: RankAtMost, at_most: int) -> bool:
        """Delete some of what a visitor owns; say whether there is more to delete."""
        deletions = tuple(DeleteSpan(span, at_most) for span in _spans(guard.key.partition))
        outcome = await self._store.submit(Transaction(guards=(guard,), writes=deletions))
        return isinstance(outcome, Committed) and outcome.remaining


def _checked_age(days_inactive: float | timedelta) -> timedelta:
    """Return the age as a duration.

    Raises:
        InvalidError: it is not above 0, longer than `limits.TTL_MAX`, or no number.
    """
    try:
        age = days_inactive if isinstance(days_inactive, timedelta) else timedelta(days=days_inactive)
    except (TypeError, ValueError, OverflowError):
        age = timedelta()
    # A misplaced dry_run=True is no day.
    if isinstance(days_inactive, bool) or not timedelta() < age <= limits.TTL_MAX:
        raise InvalidError("days_inactive", f"an age is above 0 and at most {limits.TTL_MAX.days} days")
    return age


async def _count(stale: Sequence[RankAtMost]) -> int:
    return len(stale)


async def _erase_some(visitor_id: str, tx: Attempt) -> tuple[int, bool]:
    """Delete a step's worth of what is kept of a visitor; return how many records, and whether there are more."""
    deleted, more = 0, False
    for span in _spans(visitor_id):
        page = await tx.scan(msgspec.structs.replace(span, limit=limits.DELETE_SPAN_RECORDS))
        if page:
            tx.write(DeleteSpan(span, len(page)))
        deleted += len(page)
        more = more or len(page) == limits.DELETE_SPAN_RECORDS
    if more:
        return deleted, True
    await tx.fetch(_keys(visitor_id))
    for key in _keys(visitor_id):
        if await tx.get(key) is not None:
            tx.delete(key)
            deleted += 1
    return deleted, False


def _ending(guard: RankAtMost) -> Transaction:
    """Return what deletes an emptied visitor. It has an id: repeated, it still says that this was the one who did."""
    return Transaction(ids.new(), (guard,), tuple(map(Delete, _keys(guard.key.partition))))


def _spans(visitor_id: str) -> tuple[Span, ...]:
    """Where a visitor owns records, however many."""
    return layout.action_span(visitor_id), layout.log_span(visitor_id), Span(layout.CLIENT, visitor_id)


def _keys(visitor_id: str) -> tuple[Key, ...]:
    """The records of which a visitor owns one each."""
    return layout.active(visitor_id), layout.idle(visitor_id), layout.visitor(visitor_id)
