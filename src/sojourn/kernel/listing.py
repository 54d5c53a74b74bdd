"""Listings: one page when awaited, everything when iterated over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel.keys import Cursor, Span, following
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Reads, Record

__all__ = ["Listing", "Page", "checked_limit", "span_listing"]

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of a listing. `next` resumes behind a full page, where there may be nothing more; None: nothing follows."""

    items: tuple[T, ...]
    next: str | None


class Listing(Generic[T]):
    """What a listing shows: `await` gives one `Page`, `async for` goes through this page and all behind it.

    Each page is read when it is reached; nothing holds the store in between.
    """

    def __init__(self, read: Callable[[str | None], Awaitable[Page[T]]], after: str | None) -> None:
        self._read = read
        self._after = after

    def __await__(self) -> Generator[Any, None, Page[T]]:
        """Read one page."""
        return self._page().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Go through all of it."""
        after = self._after
        while True:
            page = await self._read(after)
            for item in page.items:
                yield item
            after = page.next
            if after is None:
                return

    async def _page(self) -> Page[T]:
        return await self._read(self._after)


def span_listing(store: Store, span: Span, show: Callable[[Record], T], after: str | None) -> Listing[T]:
    """List the records of a span, each as `show` makes of it, in pages of `span.limit`.

    Raises:
        InvalidError: the limit is below 1, or the cursor is none of this span.
        LimitError: the limit is above `limits.PAGE_MAX`.
    """
    checked_limit(span.limit)
    _behind(span, after)

    async def read(after: str | None) -> Page[T]:
        snapshot = await store.read(Reads(spans=(_behind(span, after),)))
        (records,) = snapshot.records.spans
        items = tuple(show(record) for record in records)
        if len(records) < span.limit:
            return Page(items, None)
        return Page(items, Cursor(0, span.partition, records[-1].key.item).encode(span.space))

    return Listing(read, after)


def checked_limit(limit: int) -> int:
    """Return how many items a page may have.

    Raises:
        InvalidError: it is below 1.
        LimitError: it is above `limits.PAGE_MAX`.
    """
    if limit < 1:
        raise InvalidError("limit", "a page has at least one item")
    if limit > limits.PAGE_MAX:
        raise LimitError("limit", limit=limits.PAGE_MAX, found=limit, unit="items of a page")
    return limit


def _behind(span: Span, after: str | None) -> Span:
    """Return what of the span lies behind the cursor, in the direction of reading."""
    if after is None:
        return span
    cursor = Cursor.decode(after, span.space)
    if cursor.partition != span.partition:
        raise InvalidError("cursor", "this is not a cursor of this listing; start again without one")
    if span.reverse:
        return msgspec.structs.replace(span, stop=cursor.item)
    return msgspec.structs.replace(span, start=following(cursor.item))
