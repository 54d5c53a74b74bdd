"""Who is here: the listing of the active, their number, and who comes and goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import timedelta

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.kernel import Cursor, Key, Now, RankSpan, Reads, Record, Space, Store
from sojourn.kernel.listing import Listing, Page, checked_limit
from sojourn.visits import layout
from sojourn.visits.following import Crowd, follow
from sojourn.visits.model import ActiveChange, Count, Terms, Visitor
from sojourn.visits.visitor import visitor_from

__all__ = ["Activity"]


class Activity:
    """Who is here in one store. The records of `visit.active` are the answer; nothing is counted beside them."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms

    def listing(self, minutes: float | None, limit: int, after: str | None) -> Listing[Visitor]:
        """List who is here, or was active within so many minutes: those active last first.

        Raises:
            InvalidError: the minutes are not above 0 or beyond `limits.TTL_MAX`, the limit is below 1, or the cursor is
                none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        asked = self._lately() if minutes is None else _since(minutes)
        span = msgspec.structs.replace(asked, limit=checked_limit(limit), reverse=True)
        _behind(span, after)

        async def read(after: str | None) -> Page[Visitor]:
            page = await self._store.rank(_behind(span, after))
            marks = page.records if minutes is not None else await self._marks(page.records)
            here = zip(page.records, marks, strict=True)
            items = tuple(visitor_from(record, page.now) for record, mark in here if mark is not None)
            return Page(items, None if page.cursor is None else page.cursor.encode(span.space))

        return Listing(read, after)

    async def count(self) -> Count:
        """Count who is here, up to `limits.ACTIVE_COUNT_MAX`.

        Raises:
            UnavailableError: the store could not be reached.
        """
        seen = set[Key]()  # who is active while the pages are read may stand on two of them
        async for record in self._everybody():
            seen.add(record.key)
            if len(seen) > limits.ACTIVE_COUNT_MAX:
                return Count(limits.ACTIVE_COUNT_MAX, more=True)
        return Count(len(seen))

    def watch(self) -> AsyncGenerator[ActiveChange, None]:
        """Follow who comes and goes, until closed. A revision is a stay: a heartbeat changes none.

        Raises:
            ClosedError: the store is not open, or was closed.
        """
        crowd = Crowd(Space(layout.ACTIVE), self._everybody, lambda key: key.partition, lambda record: record.revision)
        return follow(self._store, crowd)

    async def _everybody(self) -> AsyncIterator[Record]:
        """Go through the marks of all who are here, upwards: nobody is missed whose activity is noted meanwhile."""
        span = msgspec.structs.replace(self._lately(), limit=limits.PAGE_MAX)
        async for page in self._store.rank_pages(span):
            for mark in await self._marks(page.records):
                if mark is not None:
                    yield mark

    async def _marks(self, visitors: Sequence[Record]) -> tuple[Record | None, ...]:
        """Return the marks of those visitors who are here, and None for each who has left."""
        keys = tuple(layout.active(visitor.key.partition) for visitor in visitors)
        return (await self._store.read(Reads(keys))).records.keys if keys else ()

    def _lately(self) -> RankSpan:
        """All who can be here: both instants are rounded up, the mark's end by up to a step further."""
        return _active_after(self._terms.active_for + self._terms.precision)


def _since(minutes: float) -> RankSpan:
    most = limits.TTL_MAX / timedelta(minutes=1)
    if not 0 < minutes <= most:
        raise InvalidError("minutes_active", f"it is above 0, and at most {most:.0f}")
    return _active_after(timedelta(minutes=minutes))


def _active_after(ago: timedelta) -> RankSpan:
    """Those whose last activity is strictly later: at that very instant one no longer counts."""
    return RankSpan(layout.VISIT, low=Now(1 + -ago // timedelta(milliseconds=1)))


def _behind(span: RankSpan, after: str | None) -> RankSpan:
    return span if after is None else msgspec.structs.replace(span, after=Cursor.decode(after, span.space))
