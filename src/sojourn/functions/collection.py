"""Collections: the typed records that queries read and mutations write.

    carts = functions.collection("carts", Cart, by=SessionId)               # one record for each session
    boards = functions.collection("boards", Board, by=str)                  # one for each key, shared by all
    cards = functions.collection("cards", Card, by=str, partition=board_of) # kept together by board, in order of keys

Inside a function, `ctx.db(carts)` reads and, in a mutation, writes them as part of its transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Generic, TypeVar, overload

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.functions import layout
from sojourn.kernel import Attempt, Key, Record, following
from sojourn.kernel.change import changed, initial
from sojourn.kernel.codec import codec

__all__ = ["Collection", "Page", "PageRequest", "Reader", "Writer"]

T = TypeVar("T")
K = TypeVar("K", bound=str)


class Collection(Generic[T, K]):
    """Records of one type, each at a key. Made by `Functions.collection`."""

    def __init__(self, name: str, kind: type[T], partition: Callable[[K], str] | None, *, by_session: bool) -> None:
        self.name = name
        self.kind = kind
        self.space = layout.collection_space(name)
        self.by_session = by_session
        self.codec = codec(kind)
        self._partition = partition

    def key(self, key: K) -> Key:
        """Return where the record at this key stands."""
        if self._partition is None:
            return Key(self.space, key, "")
        return Key(self.space, self._partition(key), key)

    def key_of(self, record: Record) -> str:
        """Return the key whose record this is."""
        return record.key.partition if self._partition is None else record.key.item


class PageRequest(msgspec.Struct, frozen=True):
    """Which page of a list is asked for; a query that the browser's `watchPages` watches takes it as `page`.

    It is the first `size` values behind `after`. With `until` it is all behind `after` up to and with `until`: an end
    that is pinned there, so that page and next page neither overlap nor leave a gap while rows come and go.
    """

    size: Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_MAX // 2)] = limits.PAGE
    after: str | None = None
    until: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """Values in the order of their keys; `next` resumes behind them, and is None when nothing follows.

    `cut` is there when a pinned page has grown to twice its size. The values end at it, and the page is to be asked for
    as two: up to the cut, and from there on.
    """

    items: tuple[tuple[str, T], ...]
    next: str | None
    cut: str | None = None


class Reader(Generic[T, K]):
    """Reads a collection as part of a transaction."""

    def __init__(self, collection: Collection[T, K], tx: Attempt) -> None:
        self._collection = collection
        self._tx = tx

    async def get(self, key: K, *, default: T | UnsetType = UNSET) -> T:
        """Return the value at the key; without one, the default, or what the type gives without arguments.

        Raises:
            InvalidError: there is no value, no default, and the type needs arguments.
            CorruptError: what is stored is not of this type.
            UnavailableError: the store could not be reached.
        """
        record = await self._tx.get(self._collection.key(key))
        if record is not None:
            return self._collection.codec.decode(record.value)
        if default is not UNSET:
            return default
        return initial(self._collection.kind, f"{key!r} in {self._collection.name!r}")

    async def find(self, key: K) -> T | None:
        """Return the value at the key, or None.

        Raises:
            CorruptError: what is stored is not of this type.
            UnavailableError: the store could not be reached.
        """
        record = await self._tx.get(self._collection.key(key))
        return None if record is None else self._collection.codec.decode(record.value)

    @overload
    async def scan(self, partition: str, *, limit: int = limits.PAGE, after: str | None = None) -> Page[T]: ...

    @overload
    async def scan(self, partition: str, *, page: PageRequest) -> Page[T]: ...

    async def scan(
        self, partition: str, *, limit: int = limits.PAGE, after: str | None = None, page: PageRequest | None = None
    ) -> Page[T]:
        """Return a page of what is kept in one partition, in the order of keys: from where it begins, or as asked for.

        Raises:
            LimitError: the page is larger than `limits.PAGE_MAX`, or where it begins or ends is too long for a key.
            InvalidError: the limit is below 1.
            UnavailableError: the store could not be reached.
        """
        if page is not None:
            return await self._paged(partition, page)
        records = await self._records(partition, after, None, limit)
        return self._page(records, records[-1].key.item if len(records) == limit else None)

    async def _paged(self, partition: str, page: PageRequest) -> Page[T]:
        if page.until is None:
            records = await self._records(partition, page.after, None, page.size + 1)
            shown = records[: page.size]
            return self._page(shown, shown[-1].key.item if len(records) > page.size else None)
        records = await self._records(partition, page.after, page.until, 2 * page.size)
        if len(records) < 2 * page.size:
            return self._page(records, page.until)
        shown = records[: page.size]
        return self._page(shown, page.until, shown[-1].key.item)

    async def _records(self, partition: str, after: str | None, until: str | None, limit: int) -> tuple[Record, ...]:
        start = "" if after is None else following(after)
        stop = None if until is None else following(until)
        span = layout.span(self._collection.space, partition)
        if stop is not None and stop <= start:
            return ()
        return await self._tx.scan(msgspec.structs.replace(span, start=start, stop=stop, limit=limit))

    def _page(self, records: tuple[Record, ...], resume: str | None, cut: str | None = None) -> Page[T]:
        decode = self._collection.codec.decode
        items = tuple((self._collection.key_of(record), decode(record.value)) for record in records)
        return Page(items, resume, cut)


class Writer(Reader[T, K]):
    """Reads and writes a collection as part of a mutation. `left` is how long the session has at most, if there is one.

    Raises:
        InvalidError: the collection is by session, and the mutation is for none.
    """

    def __init__(self, collection: Collection[T, K], tx: Attempt, left: timedelta | None) -> None:
        super().__init__(collection, tx)
        if collection.by_session and left is None:
            raise InvalidError(collection.name, "its records live with a session, and this mutation is for none")
        self._ttl = left if collection.by_session else None

    async def put(self, key: K, value: T) -> None:
        """Write the value at the key, whatever stands there.

        Raises:
            InvalidError: the value cannot be stored.
        """
        self._tx.put(self._collection.key(key), self._collection.codec.encode(value), ttl=self._ttl)

    async def update(self, key: K, change: Callable[[T], T], *, default: T | UnsetType = UNSET) -> T:
        """Change the value by a function of it, and return the new value. An equal value is not written.

        Raises:
            InvalidError: the function gave nothing back or was a coroutine, or the value cannot be stored; or there is
                no value, no default, and the type needs arguments.
            CorruptError: what is stored is not of this type.
            UnavailableError: the store could not be reached.
        """
        place = self._collection.key(key)
        record = await self._tx.get(place)
        value = changed(change, await self.get(key, default=default), self._collection.codec)
        encoded = self._collection.codec.encode(value)
        if record is None or record.value != encoded:
            self._tx.put(place, encoded, ttl=self._ttl)
        return value

    async def delete(self, key: K) -> None:
        """Remove the value at the key; does nothing when there is none."""
        self._tx.delete(self._collection.key(key))
