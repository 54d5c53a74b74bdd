"""Documents as they are stored, without their schema: what the face and the command line show of them.

An archive holds no lease. Who holds a document that is rolled back or erased here is fenced out: its lease ends in the
commit that writes over the document.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.erasure import erase
from sojourn.documents.layout import NAMES, Place, Spaces
from sojourn.documents.model import Cause, Info, Version
from sojourn.documents.stored import Entry, Envelope, Facts
from sojourn.errors import CorruptError, DocumentUnknownError
from sojourn.kernel import (
    Attempt,
    Committed,
    Cursor,
    LeaseInfo,
    Listing,
    Page,
    RankSpan,
    Reads,
    Record,
    Records,
    Span,
    Store,
    chunks,
    ids,
)
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import CHUNKED
from sojourn.kernel.difference import Difference, differences
from sojourn.kernel.lease import ending
from sojourn.kernel.listing import checked_limit, span_listing

__all__ = ["Archive", "names"]

T = TypeVar("T")


async def names(store: Store) -> tuple[str, ...]:
    """Return every name under which documents have been kept in this store, sorted.

    Raises:
        UnavailableError: the store could not be reached.
    """
    return tuple([record.key.item async for record in store.scan(NAMES)])


class Archive:
    """The stored documents of one name."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._spaces = Spaces(name)

    async def find(self, place: Place) -> tuple[Record, Envelope] | None:
        """Return the document's record and what is in it, or None: it was never saved, or it was erased.

        Raises:
            CorruptError: it cannot be read.
            UnavailableError: the store could not be reached.
        """
        records = (await self._store.read(stored.reads(place))).records
        return _living(records.keys[0], stored.decode(records))

    def list(self, limit: int = limits.PAGE, after: str | None = None) -> Listing[Info]:
        """List the stored documents, the one saved longest ago first.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """

        async def show(heads: Sequence[Record]) -> tuple[Info, ...]:
            infos = [await self._info(self._place(head), head) for head in heads]
            return tuple(info for info in infos if info is not None)

        return self._ranked(self._spaces.documents, limit, after, show)

    def list_for(self, subject: str, limit: int = limits.PAGE, after: str | None = None) -> Listing[Info]:
        """List the stored documents of a subject, in the order of their keys.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """

        def marks(after: str | None) -> Listing[Place]:
            return span_listing(self._store, self._spaces.subjects(subject, limit), self._marked, after)

        async def read(after: str | None) -> Page[Info]:
            page = await marks(after)
            heads = (await self._store.read(Reads(tuple(place.document for place in page.items)))).records.keys
            infos = [
                await self._info(place, head) for place, head in zip(page.items, heads, strict=True) if head is not None
            ]
            return Page(tuple(info for info in infos if info is not None and subject in info.subjects), page.next)

        marks(after)  # what is out of form is refused here, and not at the first page
        return Listing(read, after)

    def history(self, place: Place, limit: int = limits.PAGE, after: str | None = None) -> Listing[Version]:
        """List the saved revisions that are kept of a document, the latest first.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        span = msgspec.structs.replace(place.past, limit=limit, reverse=True)
        return span_listing(self._store, span, stored.version, after)

    def leases(self, limit: int = limits.PAGE, after: str | None = None) -> Listing[tuple[str, str, LeaseInfo]]:
        """List who holds which documents, as key, partition and lease, the one granted longest ago first.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """

        async def show(records: Sequence[Record]) -> tuple[tuple[str, str, LeaseInfo], ...]:
            return tuple((record.key.item, record.key.partition, LeaseInfo.of(record)) for record in records)

        return self._ranked(self._spaces.leases, limit, after, show)

    async def entry(self, place: Place, revision: int) -> Envelope:
        """Return the document as it was saved with this revision.

        Raises:
            DocumentUnknownError: its history has no such revision, or no more.
            CorruptError: it cannot be read.
            UnavailableError: the store could not be reached.
        """
        (page,) = (await self._store.read(Reads(spans=(place.past_at(revision),)))).records.spans
        for record in page:
            envelope = await self._envelope(place, stored.decode_entry(record))
            if envelope is not None:
                return envelope
        raise DocumentUnknownError(f"no revision {revision} is kept of the document {place.key!r} of {place.name}")

    async def diff(self, place: Place, old: int, new: int) -> tuple[Difference, ...]:
        """Return the places at which two saved revisions differ, as they were stored.

        Raises:
            DocumentUnknownError: its history has no such revision, or no more.
            CorruptError: one of them cannot be read.
            UnavailableError: the store could not be reached.
        """
        before, after = await self.entry(place, old), await self.entry(place, new)
        return differences(msgspec.json.decode(before.data), msgspec.json.decode(after.data))

    async def rollback(
        self,
        place: Place,
        revision: int,
        *,
        holder: str,
        history: int = limits.DOCUMENT_HISTORY_MAX,
        tx: Attempt | None = None,
    ) -> int | None:
        """Make a saved revision the present one, in one commit that ends whatever lease there is.

        It is saved anew, by `holder`, with the names of the migration steps it had been through; the subjects stay. At
        most `history` entries are kept; who does not know how many lets the next save see to that. Returns the new
        revision, None under `tx`. Cancelled, it is done or not.

        Raises:
            DocumentUnknownError: its history has no such revision, or no more; nothing was written.
            CorruptError: that revision cannot be read; nothing was written.
            ConflictError: it met rivals again and again; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        work = partial(_roll_back, place, await self.entry(place, revision), holder, history)
        if tx is not None:
            await work(tx)
            return None
        written = list[int | None]()

        async def noted(tx: Attempt) -> None:
            tx.when_settled(lambda became: written.append(became.revision if isinstance(became, Committed) else None))
            await work(tx)

        await self._store.run(noted)
        if written[-1] is not None:
            return written[-1]
        (head,) = (await self._store.read(Reads((place.document,)))).records.keys  # an earlier attempt was the one
        return None if head is None else head.revision

    async def erase(self, place: Place) -> bool:
        """Delete all that is kept of a document but a tombstone, and end whatever lease there is; False: nothing was.

        The tombstone comes first, in one commit with the end of the lease, and all else follows in bounded steps: the
        history, the messages, the marks of its subjects. Cancelled or failed, some of it is still there; called again,
        it goes on. Whoever saves the document anew meanwhile is erased too.

        Raises:
            ConflictError: it was saved anew again and again; call it once more.
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        return await erase(self._store, place)

    async def export(self, place: Place) -> dict[str, Any]:
        """Return all that is kept of a document as plain data, the oldest first; all of it in memory.

        It is read page by page, so what comes meanwhile may be in it or not. Empty when nothing is kept.

        Raises:
            CorruptError: something of it cannot be read.
            UnavailableError: the store could not be reached.
        """
        found = await self.find(place)
        (lease,) = (await self._store.read(Reads((place.lease,)))).records.keys
        versions = [await self._plain_version(place, record) async for record in self._all(place.past)]
        kept = {
            "info": None if found is None else msgspec.to_builtins(stored.info(place, found[1], found[0])),
            "value": None if found is None else msgspec.json.decode(found[1].data),
            "history": [version for version in versions if version is not None],
            "messages": [msgspec.to_builtins(stored.message(record)) async for record in self._all(place.inbox)],
            "lease": None if lease is None else _plain_lease(LeaseInfo.of(lease)),
        }
        return kept if any(kept.values()) else {}

    def _place(self, head: Record) -> Place:
        return Place(self._name, head.key.item, head.key.partition)

    def _marked(self, mark: Record) -> Place:
        """Return where the document is that a subject's mark tells of."""
        return Place(self._name, mark.key.item, mark.value.decode())

    def _ranked(
        self,
        space: str,
        limit: int,
        after: str | None,
        show: Callable[[Sequence[Record]], Awaitable[tuple[T, ...]]],
    ) -> Listing[T]:
        """List the records of a space by rank, each page as `show` makes of it."""
        span = RankSpan(space, limit=checked_limit(limit))
        _behind(span, after)

        async def read(after: str | None) -> Page[T]:
            page = await self._store.rank(_behind(span, after))
            return Page(await show(page.records), None if page.cursor is None else page.cursor.encode(space))

        return Listing(read, after)

    async def _info(self, place: Place, head: Record) -> Info | None:
        """Return what is known of a document, from its record; a large one is read whole, one at a time."""
        if head.value[:1] == CHUNKED:
            found = await self.find(place)
        else:
            found = _living(head, stored.decode(Records((head,), ((),))))
        return None if found is None else stored.info(place, found[1], found[0])

    async def _envelope(self, place: Place, entry: Entry) -> Envelope | None:
        """Return what an entry of a history tells of; None when it has gone since the entry was read."""
        if isinstance(entry.data, msgspec.Raw):
            return Envelope(entry.facts, entry.data)
        body = place.body(entry.facts.number)
        return stored.decode((await self._store.read(Reads((body,), (chunks.span(body),)))).records)

    async def _plain_version(self, place: Place, record: Record) -> dict[str, Any] | None:
        envelope = await self._envelope(place, stored.decode_entry(record))
        if envelope is None:
            return None
        version: dict[str, Any] = msgspec.to_builtins(stored.version(record))
        return version | {"value": msgspec.json.decode(envelope.data)}

    def _all(self, span: Span) -> AsyncIterator[Record]:
        return self._store.scan(msgspec.structs.replace(span, limit=limits.PAGE))


def _living(head: Record | None, envelope: Envelope | None) -> tuple[Record, Envelope] | None:
    """Return the document that was read, unless there is none or but a tombstone."""
    return None if head is None or envelope is None or envelope.facts.erased else (head, envelope)


async def _roll_back(place: Place, saved: Envelope, holder: str, history: int, tx: Attempt) -> None:
    """Write an earlier revision over the present one, and end the lease."""
    head, before = await _standing(place, tx)
    if before is None or before.erased:
        raise DocumentUnknownError(f"no document {place.key!r} of {place.name} is stored")
    number, first = stored.numbered(before, history)
    facts = msgspec.structs.replace(
        saved.facts,
        save=ids.new().hex(),
        created_at=before.created_at,
        saved_at=await tx.now(),
        holder=holder,
        cause=Cause.ROLLBACK,
        subjects=before.subjects,
        number=number,
        first=first,
    )
    tx.write(*stored.writes(place, Envelope(facts, saved.data), replaces=head, before=before, history=history))
    tx.write(*ending(place.lease))


async def _standing(place: Place, tx: Attempt) -> tuple[Record | None, Facts | None]:
    """Return the record of a document and its facts; those of its last entry, should the document be damaged."""
    head = await tx.get(place.document)
    if head is None:
        return None, None
    pieces = await tx.scan(place.pieces) if head.value[:1] == CHUNKED else ()
    try:
        envelope = stored.decode(Records((head,), (pieces,)))
    except CorruptError:
        entries = await tx.scan(msgspec.structs.replace(place.past, limit=1, reverse=True))
        if not entries:
            raise
        return head, stored.decode_entry(entries[0]).facts
    return head, None if envelope is None else envelope.facts


def _behind(span: RankSpan, after: str | None) -> RankSpan:
    return span if after is None else msgspec.structs.replace(span, after=Cursor.decode(after, span.space))


def _plain_lease(lease: LeaseInfo) -> dict[str, Any]:
    since, until = moment(lease.since), moment(lease.expires_at)
    plain: dict[str, Any] = msgspec.to_builtins({"holder": lease.holder, "since": since, "expires_at": until})
    return plain
