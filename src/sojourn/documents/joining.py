"""Documents as part of a transaction of the store: their writes go with it, their values change once it has committed.

A document that is loaded here takes part under its lease, and lets other changes wait until the outcome is known. One
that nobody holds takes part as it stands in the store, and that nobody takes it meanwhile is a guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.holding import Holding
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.loading import Loader, new_facts, present_facts
from sojourn.documents.migration import Unknown
from sojourn.documents.model import Cause, not_loaded
from sojourn.documents.reading import read
from sojourn.documents.saving import Saving, Standing, saving_of
from sojourn.documents.stored import Envelope
from sojourn.documents.transacting import check_reach
from sojourn.errors import CommitUnknownError, ConflictError, DocumentNotLoadedError, InvalidError, LeaseHeldError
from sojourn.kernel import Attempt, Committed, Records, Write

__all__ = ["Joining"]

T = TypeVar("T")


class _Member(msgspec.Struct, Generic[T]):
    """A document in one attempt: the value it is to have, and why, once it is to be written."""

    place: Place
    value: T
    standing: Standing | None = None
    holding: Holding[T] | None = None
    unknown: Unknown | None = None
    cause: Cause | None = None
    saving: Saving[T] | None = None


class _Joined(Generic[T]):
    """What takes part in one attempt, and what other verbs write in it."""

    def __init__(self) -> None:
        self.members: dict[str, _Member[T]] = {}
        self.claimed = set[str]()
        self.lock = asyncio.Lock()


class Joining(Generic[T]):
    """Lets documents of one name take part in transactions of the store. `find` gives the one loaded here, if any."""

    def __init__(self, kind: Kind[T], loader: Loader[T], find: Callable[[str], Holding[T] | None]) -> None:
        self._kind = kind
        self._loader = loader
        self._find = find
        self._joined_by: dict[Attempt, _Joined[T]] = {}

    async def save(self, tx: Attempt, holding: Holding[T]) -> None:
        """Store the value of a document that is loaded here with this transaction, unless it is stored."""
        member = await self._joined(tx, holding.checked_open().key)
        if member.cause is None and not holding.is_saved:
            member.cause = Cause.UPDATE

    async def peek(self, tx: Attempt, key: str) -> T | None:
        """Return the value of a document as this attempt sees it in the store, or None."""
        place = self._kind.terms.place(key)
        joined = self._joined_by.get(tx)
        member = None if joined is None else joined.members.get(key)
        if member is not None and member.cause is not None:
            return member.value
        envelope = await _look(tx, place)
        return None if envelope is None or envelope.facts.erased else read(self._kind, key, envelope).value

    async def transact(
        self,
        tx: Attempt,
        keys: Sequence[str],
        make: Callable[[Mapping[str, T]], Mapping[str, T] | None],
        *,
        is_refused: bool,
    ) -> bool:
        """Change documents with this transaction as `make` says; those not loaded here are refused, if so wanted."""
        check_reach(self._kind, keys)
        if is_refused:
            for key in keys:
                if self._find(key) is None:
                    raise not_loaded(key)
        members = {key: await self._joined(tx, key) for key in keys}
        new = make({key: member.value for key, member in members.items()})
        for key, value in (new or {}).items():
            member = members[key]
            if value is not member.value:
                member.value, member.cause = value, Cause.TRANSACTION
        return new is not None

    def claim(self, tx: Attempt, key: str) -> None:
        """Note that another verb writes this document in this transaction, which then cannot change it too.

        Raises:
            InvalidError: it takes part already.
        """
        if key in self._of(tx).members:
            raise _claimed_error(key)
        self._of(tx).claimed.add(key)

    def _of(self, tx: Attempt) -> _Joined[T]:
        joined = self._joined_by.get(tx)
        if joined is None:
            tx.when_settled(lambda became: self._settle(tx, became))
            tx.defer(lambda: self._writes(tx))
            joined = self._joined_by[tx] = _Joined()
        return joined

    async def _joined(self, tx: Attempt, key: str) -> _Member[T]:
        """Return a document as this attempt sees it; from the first time on it takes part."""
        joined = self._of(tx)
        async with joined.lock:  # verbs side by side in one attempt
            if key in joined.claimed:
                raise _claimed_error(key)
            member = joined.members.get(key)
            if member is None:
                holding = self._find(key)
                member = await self._stored(tx, key) if holding is None else await self._held(tx, holding)
                joined.members[key] = member
            return member

    async def _held(self, tx: Attempt, holding: Holding[T]) -> _Member[T]:
        patience = self._kind.store.clock.sleep(limits.DOCUMENT_TURN.total_seconds())
        if not await self._kind.turns.take_within((holding.key,), patience):
            raise ConflictError(f"another change of the document {holding.key!r} has not come to its end; try again")
        try:
            if holding.ledger.has_doubts or tx.number > 1:  # a rival, or an earlier save of ours of which nobody knows
                await holding.find_out()
            holding.checked_open()
            tx.check_lasting()
        except BaseException:
            self._kind.turns.give_back((holding.key,))
            raise
        holding.gate.begin(owner=tx)
        tx.is_waited_for = True
        tx.guard(*holding.guards)
        return _Member(holding.place, holding.value, holding=holding)

    async def _stored(self, tx: Attempt, key: str) -> _Member[T]:
        place = self._kind.terms.place(key)
        await self._loader.note_name()
        await tx.fetch((place.lease, place.document))
        if await tx.get(place.lease) is not None:
            raise LeaseHeldError(f"the document {key!r} is held elsewhere, and a transaction cannot wait for it")
        envelope, head = await _look(tx, place), await tx.get(place.document)
        if envelope is not None and not envelope.facts.erased:
            reading = read(self._kind, key, envelope)
            facts = msgspec.structs.replace(present_facts(self._kind, envelope.facts), saved_at=await tx.now())
            standing = Standing.of(head, facts, len(envelope.data))
            return _Member(place, reading.value, standing, unknown=reading.unknown)
        if envelope is None and self._kind.import_legacy is not None:
            raise DocumentNotLoadedError(f"{key}: old data may have to be imported, under a lease; load it before")
        facts = new_facts(self._kind, await tx.now(), envelope)
        return _Member(place, self._kind.schema.template, Standing.of(head, facts, 0))

    def _writes(self, tx: Attempt) -> Iterable[Write]:
        for member in self._joined_by[tx].members.values():
            if member.cause is not None:
                member.saving = self._saving(member, member.cause)
                yield from member.saving.writes

    def _saving(self, member: _Member[T], cause: Cause) -> Saving[T]:
        if member.holding is not None:
            return member.holding.ledger.saving(member.value, cause)
        assert member.standing is not None
        now = member.standing.facts.saved_at
        return saving_of(
            self._kind, member.place, member.standing, member.value, cause, now=now, unknown=member.unknown
        )

    def _settle(self, tx: Attempt, became: Committed | CommitUnknownError | None) -> None:
        for member in self._joined_by.pop(tx).members.values():
            holding = member.holding
            if holding is None:
                continue
            if member.saving is not None and member.cause is not None:
                if isinstance(became, Committed):
                    holding.become(member.saving, became, member.cause)
                elif became is not None:
                    holding.give_up()
            holding.gate.end()
            self._kind.turns.give_back((holding.key,))


def _claimed_error(key: str) -> InvalidError:
    return InvalidError("tx", f"one transaction cannot both roll back and change the document {key!r}")


async def _look(tx: Attempt, place: Place) -> Envelope | None:
    head = await tx.get(place.document)
    pieces = () if head is None else await tx.scan(place.pieces)
    return stored.decode(Records((head,), (pieces,)))
