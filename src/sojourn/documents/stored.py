"""A document as it is stored: its JSON text, and beside it what must be known to use it.

The envelope carries the names of the migration steps that the value has been through (`applied`), and of those without
which a program cannot read it (`floor`). Its history is a ring: `number` counts the saves, and the entries from `first`
on are kept.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sojourn import limits
from sojourn.documents.layout import Place
from sojourn.documents.model import Cause, Info, Message, Version
from sojourn.errors import CorruptError
from sojourn.kernel import Append, DeleteSpan, Now, Reads, Record, Records, Write, chunks
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import codec, pack, unpack

__all__ = [
    "Entry",
    "Envelope",
    "Facts",
    "POSTED",
    "Posted",
    "decode",
    "decode_entry",
    "info",
    "info_of",
    "message",
    "numbered",
    "reads",
    "version",
    "writes",
]


class Facts(msgspec.Struct, frozen=True):
    """What is known of a stored document besides its value. Instants are engine time in milliseconds.

    `save` is the id of the save, by which a holder that lost an answer finds out what became of it. Of an erased
    document a tombstone is left, so that old data is not imported again.
    """

    save: str
    created_at: int
    saved_at: int
    holder: str
    cause: Cause
    applied: tuple[str, ...] = ()
    floor: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    number: int = 0
    first: int = 1
    erased: bool = False


class Envelope(msgspec.Struct, frozen=True):
    """The facts and the JSON text of a document."""

    facts: Facts
    data: msgspec.Raw

    @property
    def text(self) -> bytes:
        """The JSON text."""
        return bytes(self.data)


class Entry(msgspec.Struct, frozen=True):
    """An entry of a history. `data` is missing where it is too large: then it is in the body of this number."""

    facts: Facts
    bytes: int
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Posted(msgspec.Struct, frozen=True, array_like=True):
    """A message as it is kept. `number` grows with each, but for two that are sent at once."""

    id: str
    sent_at: int
    number: int
    body: msgspec.Raw


POSTED: Final = codec(Posted)
_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_ENTRY: Final = msgspec.json.Decoder(Entry)


def reads(place: Place) -> Reads:
    """Return what to read of a document: its record, and the pieces of a large one."""
    return Reads((place.document,), (place.pieces,))


def decode(records: Records) -> Envelope | None:
    """Return what `reads` found, or None. A tombstone is an envelope too: `facts.erased`.

    Raises:
        CorruptError: it cannot be read, or pieces are missing.
    """
    (head,), (pieces,) = records.keys, records.spans
    if head is None:
        return None
    try:
        return _ENVELOPE.decode(unpack(chunks.join(head, pieces)))
    except msgspec.DecodeError as error:
        raise CorruptError(f"the document {head.key.item!r} cannot be read: {error}") from error


def decode_entry(record: Record) -> Entry:
    """Return an entry of a history.

    Raises:
        CorruptError: it cannot be read.
    """
    try:
        return _ENTRY.decode(unpack(record.value))
    except msgspec.DecodeError as error:
        raise CorruptError(f"an entry of the history of a document cannot be read: {error}") from error


def writes(
    place: Place, envelope: Envelope, *, replaces: Record | None, before: Facts | None, history: int
) -> tuple[Write, ...]:
    """Return the writes that save a document, add to its history, and let the oldest entries beyond `history` go.

    `replaces` is the record that stands there, `before` its facts; both are known through a guard of the transaction.
    The envelope's `number` and `first` are those of `numbered`.

    Raises:
        LimitError: it is larger than `limits.CHUNKED_BYTES`.
    """
    value = pack(msgspec.json.encode(envelope))
    facts = envelope.facts
    saved = chunks.put(place.document, value, replaces=replaces, rank=Now())
    gone = 0 if before is None else facts.first - before.first
    forgotten = (DeleteSpan(place.past, at_most=gone), DeleteSpan(place.bodies_before(facts.first))) if gone else ()
    if not history:
        return (*saved, *forgotten)
    small = len(envelope.data) <= limits.DOCUMENT_INLINE_BYTES
    entry = Entry(facts, len(envelope.data), envelope.data if small else msgspec.UNSET)
    noted = Append(place.spaces.past, place.partition, place.prefix, pack(msgspec.json.encode(entry)))
    body = () if small else chunks.put(place.body(facts.number), value, replaces=None)
    return (*forgotten, *saved, noted, *body)


def numbered(before: Facts | None, history: int) -> tuple[int, int]:
    """Return the number of the next save, and that of the oldest entry that is kept after it."""
    number = 1 if before is None else before.number + 1
    first = 1 if before is None else before.first
    return number, max(first, number - history + 1)


def info(place: Place, envelope: Envelope, record: Record) -> Info:
    """Return what is known of a stored document, for people."""
    facts = envelope.facts
    saved_at = record.rank or facts.saved_at
    return info_of(place, facts, len(envelope.data), revision=record.revision, saved_at=saved_at)


def info_of(place: Place, facts: Facts, size: int, *, revision: int | None, saved_at: int | None) -> Info:
    """Return what is known of a document, for people; of one that was never saved there is no revision, nor when."""
    return Info(
        key=place.key,
        revision=revision,
        created_at=moment(facts.created_at),
        saved_at=None if saved_at is None else moment(saved_at),
        migrations=facts.applied,
        subjects=facts.subjects,
        bytes=size,
        partition=place.partition,
    )


def version(record: Record) -> Version:
    """Return an entry of a history, for people.

    Raises:
        CorruptError: it cannot be read.
    """
    entry = decode_entry(record)
    facts = entry.facts
    return Version(record.revision, moment(facts.saved_at), facts.cause, facts.holder, entry.bytes)


def message(record: Record) -> Message:
    """Return a message that waits.

    Raises:
        CorruptError: it cannot be read.
    """
    posted = POSTED.decode(record.value)
    return Message(posted.id, msgspec.json.decode(posted.body), moment(posted.sent_at))
