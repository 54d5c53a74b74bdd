"""Taking a session away: a mark first, then everything in bounded steps, the mark last.

Every step holds only while the mark stands that it was taken under. So whoever saves into the session meanwhile, and
finds the mark, finishes the deletion before it begins anew, and nobody takes anything of what is new.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sojourn import limits
from sojourn.kernel import (
    Attempt,
    Conflict,
    Delete,
    DeleteSpan,
    Reads,
    Record,
    RevisionIs,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.snapshots import stored
from sojourn.snapshots.layout import LEASES, Place, index

__all__ = ["erase", "forget", "noted"]


async def erase(store: Store, place: Place) -> bool:
    """Take a session away, or go on doing so; False: there was none.

    Raises:
        UnavailableError: the store could not be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    existed = await store.run(lambda tx: _mark(tx, place))
    while (held := await _marked(store, place)) is not None:
        await _take(store, place, held)
    return existed


async def noted(store: Store, place: Place, snapshot_ids: Sequence[str]) -> tuple[Record, ...]:
    """Return what says of these snapshots, whose ids were not made here, that they are in this session.

    Raises:
        UnavailableError: the store could not be reached.
    """
    keys = tuple(index(place.tenant, snapshot_id) for snapshot_id in snapshot_ids)
    records = (await store.read(Reads(keys))).records.keys if keys else ()
    return tuple(record for record in records if record is not None and record.value.decode() == place.session)


async def forget(store: Store, entries: Sequence[Record]) -> None:
    """Delete these of `noted`, which were read before that was decided.

    Whoever saves a snapshot of such an id anew writes its entry anew, so nobody who is late takes that away.

    Raises:
        UnavailableError: the store could not be reached; some may have been deleted.
    """
    at_once = limits.SNAPSHOT_STEP if store.describe().cross_partition else 1
    for start in range(0, len(entries), at_once):
        step = entries[start : start + at_once]
        guards = tuple(RevisionIs(entry.key, entry.revision) for entry in step)
        await store.submit(Transaction(ids.new(), guards, tuple(Delete(entry.key) for entry in step)))


async def _mark(tx: Attempt, place: Place) -> bool:
    """Mark the session as one that is being deleted, and end its turns; False: there is none."""
    record = await tx.get(place.head)
    if record is None:
        return False
    head = stored.head(record)
    if not head.erasing:
        tx.write(DeleteSpan(Span(LEASES, place.partition)))
        tx.put(place.head, stored.encode(msgspec.structs.replace(head, newest=None, erasing=True)))
    return head.erasing or head.newest is not None


async def _marked(store: Store, place: Place) -> RevisionIs | None:
    """Return the mark as what every step goes by; None: it is gone, the deletion is done."""
    (mark,) = (await store.read(Reads((place.head,)))).records.keys
    return RevisionIs(mark.key, mark.revision) if mark is not None and stored.head(mark).erasing else None


async def _take(store: Store, place: Place, held: RevisionIs) -> None:
    """Delete everything step by step, as long as the mark stands."""
    await _forget_all(store, place, held)
    for span in place.all:
        is_left = True
        while is_left:
            step = Transaction(ids.new(), (held,), (DeleteSpan(span, limits.SNAPSHOT_STEP),))
            outcome = await store.submit(step)
            if isinstance(outcome, Conflict):
                return
            is_left = outcome.remaining
    await store.submit(Transaction(ids.new(), (held,), (Delete(held.key),)))


async def _forget_all(store: Store, place: Place, held: RevisionIs) -> None:
    span = msgspec.structs.replace(place.locals, limit=limits.SNAPSHOT_STEP)
    waiting: list[str] = []

    async def step() -> bool:
        entries = await noted(store, place, waiting)
        waiting.clear()
        if await _marked(store, place) != held:
            return False  # some entries may be those of a session that has begun anew
        await forget(store, entries)
        return True

    async for record in store.scan(span):
        waiting.append(record.key.item)
        if len(waiting) == limits.SNAPSHOT_STEP and not await step():
            return
    await step()
