"""What `sojourn documents` and `sojourn drain` print with --json."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sojourn.documents.model import Cause, Info, Version
from sojourn.kernel import LeaseInfo
from sojourn.kernel.clock import moment

__all__ = [
    "Compared",
    "DifferenceRow",
    "DocumentRow",
    "Drained",
    "Erased",
    "HeldRow",
    "LeaseRow",
    "Listed",
    "Past",
    "Revoked",
    "RolledBack",
    "Shown",
    "document_row",
    "lease_row",
    "unsaved_row",
]


class LeaseRow(msgspec.Struct, frozen=True):
    """Who holds a document, since when, and until when unless the lease is renewed."""

    holder: str
    since: datetime
    expires_at: datetime


class DocumentRow(msgspec.Struct, frozen=True):
    """What is known of a document; what only a save makes known is null before the first. `bytes` are those of JSON."""

    key: str
    partition: str
    revision: int | None
    created_at: datetime | None
    saved_at: datetime | None
    bytes: int | None
    migrations: tuple[str, ...]
    subjects: tuple[str, ...]
    lease: LeaseRow | None


class Listed(msgspec.Struct, frozen=True):
    """The name that was given and a page of its documents, or every name; `next` goes to --after."""

    names: tuple[str, ...]
    documents: tuple[DocumentRow, ...]
    next: str | None


class Shown(msgspec.Struct, frozen=True):
    """A document as it was saved, why and by whom."""

    document: DocumentRow
    cause: Cause
    saved_by: str
    value: msgspec.Raw


class Past(msgspec.Struct, frozen=True):
    """A page of a history, the latest first; `next` goes to --after."""

    versions: tuple[Version, ...]
    next: str | None


class DifferenceRow(msgspec.Struct, frozen=True):
    """A place, as a JSON pointer, and what is there; a side on which nothing is there has no key."""

    path: str
    old: object = msgspec.UNSET
    new: object = msgspec.UNSET


class Compared(msgspec.Struct, frozen=True):
    """Two revisions and the places at which they differ."""

    old: int
    new: int
    differences: tuple[DifferenceRow, ...]


class RolledBack(msgspec.Struct, frozen=True):
    """The revision that the document has now."""

    revision: int | None


class Revoked(msgspec.Struct, frozen=True):
    """The lease that was taken, null if there was none."""

    lease: LeaseRow | None


class Erased(msgspec.Struct, frozen=True):
    """Whether anything was kept."""

    erased: bool


class HeldRow(msgspec.Struct, frozen=True):
    """A document that somebody held: who, since when, and until when the lease was renewed."""

    name: str
    key: str
    partition: str
    holder: str
    since: datetime
    expires_at: datetime


class Drained(msgspec.Struct, frozen=True):
    """Which documents were given back, and which were not in time."""

    handed_over: tuple[HeldRow, ...]
    remaining: tuple[HeldRow, ...]


def document_row(known: Info, lease: LeaseInfo | None) -> DocumentRow:
    """Return a document that was saved, and who holds it."""
    return DocumentRow(
        key=known.key,
        partition=known.partition,
        revision=known.revision,
        created_at=known.created_at,
        saved_at=known.saved_at,
        bytes=known.bytes,
        migrations=known.migrations,
        subjects=known.subjects,
        lease=None if lease is None else lease_row(lease),
    )


def unsaved_row(key: str, partition: str, lease: LeaseInfo) -> DocumentRow:
    """Return a document that somebody holds and has not saved yet."""
    return DocumentRow(key, partition, None, None, None, None, (), (), lease_row(lease))


def lease_row(lease: LeaseInfo) -> LeaseRow:
    """Return who holds a document."""
    return LeaseRow(lease.holder, moment(lease.since), moment(lease.expires_at))
