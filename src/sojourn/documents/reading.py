"""From what is stored to a value: migrations, what a newer program knows, the schema."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from sojourn.documents.frozen import freeze
from sojourn.documents.kind import Kind
from sojourn.documents.migration import Unknown, filled, unknown
from sojourn.documents.stored import Envelope
from sojourn.errors import DocumentInvalidError

__all__ = ["Reading", "plain_of", "read", "read_plain"]

T = TypeVar("T")


class Reading(msgspec.Struct, Generic[T], frozen=True):
    """A stored value as this program sees it. `is_changed`: it is not what is stored, and is to be saved."""

    value: T
    unknown: Unknown | None = None
    is_changed: bool = False


def read(kind: Kind[T], key: str, envelope: Envelope) -> Reading[T]:
    """Return the value of a stored document.

    Raises:
        IncompatibleError: a program with a breaking migration that this one does not know saved it.
        MigrationFailedError: a step raised, or returned nothing.
        DocumentInvalidError: the value breaks the schema.
    """
    facts, chain = envelope.facts, kind.chain
    chain.check(key, facts.floor)
    is_newer = not set(chain.names).issuperset(facts.applied)
    if not (is_newer or kind.fill or chain.pending(facts.applied)):
        try:
            return Reading(freeze(kind.schema.load(envelope.text, source="stored", key=key)))
        except DocumentInvalidError as error:
            return Reading(_repaired(kind, key, msgspec.json.decode(envelope.data), error), is_changed=True)
    before = msgspec.json.decode(envelope.data)
    reading = read_plain(kind, key, before, facts.applied, source="stored")
    if is_newer:
        known = plain_of(kind, reading.value)
        return msgspec.structs.replace(reading, unknown=unknown(before, known))
    return reading


def read_plain(kind: Kind[T], key: str, plain: object, applied: tuple[str, ...], *, source: str) -> Reading[T]:
    """Return the value of plain data that has been through some of the migrations.

    Raises:
        MigrationFailedError: a step raised, or returned nothing.
        DocumentInvalidError: the value breaks the schema.
    """
    new = kind.chain.run(key, plain, applied)
    if kind.fill:
        new = filled(new, plain_of(kind, kind.schema.template))
    is_pending = bool(kind.chain.pending(applied))
    try:
        value = freeze(kind.schema.load_plain(new, source="migration" if is_pending else source, key=key))
    except DocumentInvalidError as error:
        value = _repaired(kind, key, new, error)
        return Reading(value, is_changed=True)
    return Reading(value, is_changed=is_pending or new != plain)


def plain_of(kind: Kind[T], value: T) -> Any:  # noqa: ANN401  plain data of any shape
    """Return a value as plain JSON data."""
    return msgspec.json.decode(kind.schema.dump(value))


def _repaired(kind: Kind[T], key: str, plain: object, error: DocumentInvalidError) -> T:
    """Let the application mend a value that breaks the schema; without its help the error stands."""
    if kind.repair is None:
        raise error
    try:
        mended = kind.repair(key, plain, error.problem)
    except Exception as failure:
        raise error from failure
    if mended is None:
        raise error
    return freeze(kind.schema.load_plain(mended, source="stored", key=key))
