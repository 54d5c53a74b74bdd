"""Loading: take the lease and read what it protects, in one commit, and make a value of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, Generic, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.documents import layout, stored
from sojourn.documents.holding import Holding
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.ledger import Ledger
from sojourn.documents.model import Cause
from sojourn.documents.reading import Reading, read, read_plain
from sojourn.documents.saving import Standing
from sojourn.documents.stored import Envelope, Facts
from sojourn.errors import (
    DocumentInvalidError,
    ImportFailedError,
    InvalidError,
    LeaseLostError,
    LimitError,
    SojournError,
)
from sojourn.kernel import Create, Lease, Put, Transaction
from sojourn.kernel.codec import codec

__all__ = ["Loader", "Wanted", "new_facts", "present_facts"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Wanted(msgspec.Struct, frozen=True):
    """How much somebody wants a document: how many seconds to wait, whether to ask for it, when to take it."""

    wait: float
    ask: bool = False
    steal_after: float | None = None


class Loader(Generic[T]):
    """Loads the documents of one name."""

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind
        self._is_noted = False
        self._noting = asyncio.Lock()

    async def load(self, key: str, wanted: Wanted, subjects: tuple[str, ...] = ()) -> Holding[T]:
        """Take the lease of a document and return it; whatever goes wrong, the lease is given back."""
        kind, terms = self._kind, self._kind.terms
        place = terms.place(key)
        await self.note_name()
        lease = await kind.leases.acquire(
            place.lease,
            holder=terms.holder,
            ttl=terms.lease,
            wait=wanted.wait,
            ask=wanted.ask,
            steal_after=wanted.steal_after,
            reads=stored.reads(place),
        )
        try:
            holding = await self._held(place, lease)
            lease.forget_records()
            await self.note_subjects(holding, subjects)
            _check_held(key, lease)
        except BaseException:
            await self._give_back(lease)
            raise
        return holding

    async def _held(self, place: Place, lease: Lease) -> Holding[T]:
        kind = self._kind
        records = lease.granted.records
        envelope = stored.decode(records)
        (head,) = records.keys
        if envelope is not None and not envelope.facts.erased:
            reading = read(kind, place.key, envelope)
            facts = present_facts(kind, envelope.facts)
            size = len(envelope.data)
        else:
            reading = await self._begun(place.key, envelope)
            facts, size = new_facts(kind, lease.granted.now, envelope), 0
        ledger = Ledger(
            kind,
            place,
            Standing.of(head, facts, size),
            now=lease.granted.now,
            is_saved=not reading.is_changed,
            last_saved=reading.value if size and not reading.is_changed else None,
            unknown=reading.unknown,
        )
        return Holding(kind, place, lease, reading.value, ledger)

    async def _begun(self, key: str, tombstone: Envelope | None) -> Reading[T]:
        """Return what a document that is not stored begins as: old data from elsewhere, or the template."""
        imported = None
        if tombstone is None and self._kind.import_legacy is not None:
            imported = await self._imported(key)
        if imported is None:
            return Reading(self._kind.schema.template)
        reading = read_plain(self._kind, key, imported, (), source="import")
        return msgspec.structs.replace(reading, is_changed=True)

    async def _imported(self, key: str) -> object:
        assert self._kind.import_legacy is not None
        given: Any
        try:
            given = self._kind.import_legacy(key)
            if inspect.isawaitable(given):
                given = await given
        except Exception as error:
            raise ImportFailedError(f"{key}: importing old data failed: {type(error).__name__}: {error}") from error
        if given is None:
            return None
        kind = cast("Any", type(given))
        try:
            return cast("object", msgspec.json.decode(codec(kind).dump(given)))
        except InvalidError as error:
            raise DocumentInvalidError(error.problem, source="import", key=key) from error

    async def note_name(self) -> None:
        """Note, before the first document of this name, that there are such: for who lists what a store has."""
        if self._is_noted:
            return
        async with self._noting:  # of many first loads at once, one notes it
            if not self._is_noted:
                noted = Create(layout.name(self._kind.terms.name), b"")
                await self._kind.store.submit(Transaction(writes=(noted,)))
                self._is_noted = True

    async def note_subjects(self, holding: Holding[T], subjects: tuple[str, ...]) -> None:
        """Note to whom the document belongs: in the index first, and in the document by its next save."""
        new = sorted(set(subjects) - holding.ledger.subjects)
        if not new:
            return
        count = len(holding.ledger.subjects) + len(new)
        if count > limits.DOCUMENT_SUBJECTS:
            raise LimitError("subjects", limit=limits.DOCUMENT_SUBJECTS, found=count, unit="subjects of a document")
        place = holding.place
        # Written anew, also where one is left: an erasure deletes those it has seen before.
        marks = (Put(place.spaces.subject(subject, place.key), place.partition.encode()) for subject in new)
        await asyncio.gather(*(self._kind.store.submit(Transaction(writes=(mark,))) for mark in marks))
        holding.ledger.add_subjects(new)

    async def _give_back(self, lease: Lease) -> None:
        try:
            await lease.release()
        except SojournError as error:
            _log.warning("the lease of %s ends by itself, for it could not be given back: %s", lease.key.item, error)


def _check_held(key: str, lease: Lease) -> None:
    if not lease.is_held:
        raise LeaseLostError(f"the lease of the document {key!r} ended while it was being loaded; load it again")


def present_facts(kind: Kind[T], facts: Facts) -> Facts:
    """Return the facts of a stored document once it has been through every migration step that is known here."""
    applied, floor = kind.chain.merged(facts.applied), kind.chain.merged_floor(facts.floor)
    return msgspec.structs.replace(facts, applied=applied, floor=floor)


def new_facts(kind: Kind[T], now: int, tombstone: Envelope | None) -> Facts:
    """Return the facts of a document that begins now; the numbers of its saves go on behind those of an erased one."""
    facts = Facts(
        save="",
        created_at=now,
        saved_at=now,
        holder=kind.terms.holder,
        cause=Cause.LOAD,
        applied=kind.chain.names,
        floor=kind.chain.floor,
    )
    if tombstone is None:
        return facts
    return msgspec.structs.replace(facts, number=tombstone.facts.number, first=tombstone.facts.number + 1)
