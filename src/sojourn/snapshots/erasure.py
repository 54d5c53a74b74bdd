"""Taking a session away: a mark first, then everything in bounded steps, the mark last.

Every step holds only while the mark stands that it was taken under. So whoever saves into the session meanwhile, and
finds the mark, finishes the deletion before it begins anew, and nobody takes anything of what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from sojourn import limits
from sojourn.kernel import (
    Attempt,
    Conflict,
    Delete,
    DeleteSpan,
    Reads,
    RevisionIs,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.snapshots import stored
from sojourn.snapshots.layout import LEASES, Place, index

__all__ = ["erase", "forget"]


async def erase(store: Store, place: Place) -> bool:
    """Take a session away, or go on doing so; False: there was none.

    Raises:
        UnavailableError: the store could not be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    if not await store.run(lambda tx: _mark(tx, place)):
        return False
    (mark,) = (await store.read(Reads((place.head,)))).records.keys
    if mark is None or not stored.head(mark).erasing:
        return True  # somebody else has finished it
    held = RevisionIs(place.head, mark.revision)
    await _forget_all(store, place, held)
    for span in place.all:
        is_left = True
        while is_left:
            step = Transaction(ids.new(), (held,), (DeleteSpan(span, limits.SNAPSHOT_STEP),))
            outcome = await store.submit(step)
            if isinstance(outcome, Conflict):
                return True
            is_left = outcome.remaining
    await store.submit(Transaction(ids.new(), (held,), (Delete(place.head),)))
    return True


async def forget(store: Store, place: Place, snapshot_ids: Sequence[str], held: RevisionIs | None = None) -> None:
    """Forget in which session these snapshots are, whose ids were not made here, where it is this one.

    `held` says that this is still to be done: it is looked at after what is to be deleted has been read.

    Raises:
        UnavailableError: the store could not be reached; some may have been forgotten.
    """
    keys = tuple(index(place.tenant, snapshot_id) for snapshot_id in snapshot_ids)
    records = (await store.read(Reads(keys))).records.keys
    if held is not None:
        (mark,) = (await store.read(Reads((held.key,)))).records.keys
        if mark is None or mark.revision != held.revision:
            return
    ours = [record for record in records if record is not None and record.value.decode() == place.session]
    steps = [[record] for record in ours]
    if store.describe().cross_partition:
        steps = [ours[start : start + limits.SNAPSHOT_STEP] for start in range(0, len(ours), limits.SNAPSHOT_STEP)]
    # Whoever saves one of these ids anew writes its record anew, so a step that is late takes nothing away.
    await asyncio.gather(
        *(
            store.submit(
                Transaction(
                    ids.new(),
                    tuple(RevisionIs(record.key, record.revision) for record in step),
                    tuple(Delete(record.key) for record in step),
                )
            )
            for step in steps
        )
    )


async def _mark(tx: Attempt, place: Place) -> bool:
    """Mark the session as one that is being deleted, and end its turns; False: there is none."""
    record = await tx.get(place.head)
    if record is None:
        return False
    head = stored.head(record)
    if not head.erasing:
        tx.write(DeleteSpan(Span(LEASES, place.partition), limits.DELETE_SPAN_RECORDS))
        tx.put(place.head, stored.encode(msgspec.structs.replace(head, newest=None, erasing=True)))
    return True


async def _forget_all(store: Store, place: Place, held: RevisionIs) -> None:
    span = msgspec.structs.replace(place.locals, limit=limits.SNAPSHOT_STEP)
    page: list[str] = []
    async for record in store.scan(span):
        page.append(record.key.item)
        if len(page) == limits.SNAPSHOT_STEP:
            await forget(store, place, page, held)
            page = []
    if page:
        await forget(store, place, page, held)
