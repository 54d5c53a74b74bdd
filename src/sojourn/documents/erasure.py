"""The erasure of a document: a tombstone first, then all else in bounded steps.

Each step is guarded by the tombstone, so that nothing is deleted of a document that somebody has begun anew. The
tombstone names the subjects until their marks have gone, so that an erasure that was cut short can go on.
"""

from __future__ import annotations

import msgspec

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.layout import Place
from sojourn.documents.model import Cause
from sojourn.documents.stored import Envelope, Facts
from sojourn.errors import ConflictError, CorruptError
from sojourn.kernel import (
    Absent,
    Committed,
    Conflict,
    Delete,
    DeleteSpan,
    Put,
    Reads,
    Record,
    Records,
    RevisionIs,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.kernel.codec import pack
from sojourn.kernel.lease import ending

__all__ = ["erase"]


class _Remains(msgspec.Struct, frozen=True):
    """What stands of a document before it is buried: its record, its last number, its subjects and their marks."""

    head: Record | None
    number: int
    subjects: tuple[str, ...]
    marks: tuple[Record, ...]
    is_kept: bool
    now: int


async def erase(store: Store, place: Place) -> bool:
    """Do what `Archive.erase` promises."""
    was_kept = False
    for _ in range(limits.RUN_ATTEMPTS):
        remains = await _look(store, place)
        was_kept = was_kept or remains.is_kept
        buried = await store.submit(_burial(place, remains))
        if isinstance(buried, Committed) and await _empty(store, place, remains, buried):
            return was_kept
    raise ConflictError(f"the document {place.key!r} of {place.name} was saved again and again while it was erased")


async def _look(store: Store, place: Place) -> _Remains:
    owned = tuple(msgspec.structs.replace(span, limit=1) for span in _owned(place))
    snapshot = await store.read(Reads((place.document, place.lease), (place.pieces, *owned)))
    (head, lease), (pieces, *rest) = snapshot.records.keys, snapshot.records.spans
    try:
        envelope = stored.decode(Records((head,), (pieces,)))
    except CorruptError:
        envelope = None  # what cannot be read can be erased all the same
    number, subjects = (0, ()) if envelope is None else (envelope.facts.number, envelope.facts.subjects)
    # Before the tombstone: whoever sets a mark after it has begun the document anew, and that mark is to stay.
    marks = await store.read(Reads(tuple(place.spaces.subject(subject, place.key) for subject in subjects)))
    is_buried = envelope is not None and envelope.facts.erased
    return _Remains(
        head,
        number,
        subjects,
        tuple(mark for mark in marks.records.keys if mark is not None),
        (head is not None and not is_buried) or lease is not None or any(rest),
        snapshot.now,
    )


def _burial(place: Place, remains: _Remains) -> Transaction:
    """Return what writes the tombstone over the document and ends the lease."""
    head = remains.head
    guard = Absent(place.document) if head is None else RevisionIs(place.document, head.revision)
    return Transaction(ids.new(), (guard,), (_tombstone(place, remains, remains.subjects), *ending(place.lease)))


def _tombstone(place: Place, remains: _Remains, subjects: tuple[str, ...] = ()) -> Put:
    """Return the tombstone. It has no rank, so that no listing has to pass it by."""
    now = remains.now
    facts = Facts(ids.new().hex(), now, now, "", Cause.LOAD, subjects=subjects, number=remains.number, erased=True)
    return Put(place.document, pack(msgspec.json.encode(Envelope(facts, msgspec.Raw(b"null")))))


async def _empty(store: Store, place: Place, remains: _Remains, buried: Committed) -> bool:
    """Delete what a buried document leaves behind; False: somebody saved it anew before all of it had gone."""
    assert buried.revision is not None
    guard = RevisionIs(place.document, buried.revision)
    deletions = tuple(map(DeleteSpan, (place.pieces, *_owned(place))))
    remaining = True
    while remaining:
        outcome = await store.submit(Transaction(guards=(guard,), writes=deletions))
        if isinstance(outcome, Conflict):
            return False
        remaining = outcome.remaining
    for mark in remains.marks:  # each in a partition of its subject's, so none can be guarded by the tombstone
        unchanged = RevisionIs(mark.key, mark.revision)
        await store.submit(Transaction(guards=(unchanged,), writes=(Delete(mark.key),)))
    if remains.subjects:
        # Who has loaded the tombstone meanwhile could not save over this one: its lease ends too.
        await store.submit(Transaction(ids.new(), (guard,), (_tombstone(place, remains), *ending(place.lease))))
    return True


def _owned(place: Place) -> tuple[Span, ...]:
    """Where a document owns records besides its own, however many."""
    return place.past, place.bodies, place.inbox, place.all_sent
