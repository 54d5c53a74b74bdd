"""A save as a value: what it stores, under which facts, by which writes. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.migration import Unknown, left, with_unknown
from sojourn.documents.model import Cause
from sojourn.documents.stored import Envelope, Facts
from sojourn.kernel import Absent, Guard, Put, Record, RevisionIs, Write, ids

__all__ = ["Saving", "Standing", "digest", "pauses", "saving_of"]

T = TypeVar("T")


class Standing(msgspec.Struct, frozen=True):
    """What stands in the store, as far as a holder knows. `head` is the record without most of its value."""

    head: Record | None
    facts: Facts
    size: int

    @classmethod
    def of(cls, record: Record | None, facts: Facts, size: int) -> Standing:
        """Keep of the record what a save has to know."""
        return cls(None if record is None else msgspec.structs.replace(record, value=record.value[:1]), facts, size)

    def belonging_to(self, subjects: frozenset[str]) -> Standing:
        """Return the same, but belonging to these subjects too."""
        if subjects.issubset(self.facts.subjects):
            return self
        facts = msgspec.structs.replace(self.facts, subjects=tuple(sorted(subjects.union(self.facts.subjects))))
        return Standing(self.head, facts, self.size)

    def guard(self, place: Place) -> Guard:
        """What holds while it still stands there."""
        return Absent(place.document) if self.head is None else RevisionIs(place.document, self.head.revision)


class Saving(msgspec.Struct, Generic[T], frozen=True):
    """A save on its way: what it stores, and as of which change.

    `digest` is that of the record it writes, by which it is recognised there; `mark` is the record's first byte.
    """

    value: T
    changes: int
    facts: Facts
    size: int
    writes: tuple[Write, ...]
    digest: bytes
    mark: bytes
    unknown: Unknown | None = None
    releases: bool = False

    def standing(self, place: Place, revision: int) -> Standing:
        """Return what stands in the store once it holds."""
        return Standing(Record(place.document, self.mark, revision), self.facts, self.size)


def saving_of(  # noqa: PLR0913  each says one thing about a save
    kind: Kind[T],
    place: Place,
    standing: Standing,
    value: T,
    cause: Cause,
    *,
    now: int,
    changes: int = 0,
    unknown: Unknown | None = None,
    releases: bool = False,
) -> Saving[T]:
    """Return what stores a value over what stands there; `now` is the engine's time as far as it is known.

    Raises:
        InvalidError: the value has no JSON form.
        LimitError: it is larger than `limits.DOCUMENT_BYTES`.
    """
    text = kind.schema.dump(value)
    if unknown is not None:
        plain = msgspec.json.decode(text)
        unknown = left(plain, unknown)
        text = msgspec.json.encode(with_unknown(plain, unknown))
    before, history = standing.facts, kind.terms.history
    number, first = stored.numbered(before, history)
    facts = msgspec.structs.replace(
        before,
        save=ids.new().hex(),
        saved_at=now,
        holder=kind.terms.holder,
        cause=cause,
        number=number,
        first=first,
        erased=False,
    )
    envelope = Envelope(facts, msgspec.Raw(text))
    writes = stored.writes(place, envelope, replaces=standing.head, before=before, history=history)
    (head,) = (write.value for write in writes if isinstance(write, Put) and write.key == place.document)
    return Saving(value, changes, facts, len(text), writes, digest(head), head[:1], unknown, releases)


def digest(head: bytes) -> bytes:
    """Return what a record's value is recognised by."""
    return hashlib.blake2b(head, digest_size=16).digest()


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each new attempt of a save: they grow, up to a longest, and never end."""
    pause = limits.SAVE_PAUSE
    while True:
        yield pause.total_seconds()
        pause = min(2 * pause, limits.SAVE_PAUSE_MAX)
