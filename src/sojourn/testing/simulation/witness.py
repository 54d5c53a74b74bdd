"""The engine that all servers share, with a witness beside it: no transaction passes unseen, and each is judged.

It applies the transactions of a batch one by one, so that the canon sees every state that ever stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from sojourn import opening
from sojourn.documents.layout import Place
from sojourn.documents.model import Cause
from sojourn.documents.stored import Envelope, decode, reads
from sojourn.kernel import chunks
from sojourn.kernel.clock import Clock
from sojourn.kernel.codec import CHUNKED, unpack
from sojourn.kernel.engine import Answer, Changes, Position
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import (
    Absent,
    Append,
    Committed,
    Delete,
    DeleteSpan,
    Put,
    Reads,
    Record,
    RevisionIs,
    Transaction,
    TransactionId,
)
from sojourn.testing.simulation.canon import Account, Canon, Name, Standing
from sojourn.testing.simulation.report import Telling

__all__ = ["KINDS", "Witness"]

T = TypeVar("T")

KINDS: Final = ("account", "note")
"""Accounts are traded and get messages; notes are rolled back and erased."""

_ENVELOPE: Final = msgspec.json.Decoder(Envelope)


class _InOrder(frozenset[Key]):
    """A set that is iterated in the same order in every process."""

    def __iter__(self) -> Iterator[Key]:
        return iter(sorted(super().__iter__()))


class Witness:
    """The engine, and what was seen there."""

    def __init__(self, clock: Clock, canon: Canon, telling: Telling) -> None:
        self.inner = opening.open("memory:", clock=clock).engine
        self._canon = canon
        self._telling = telling
        self._granted: dict[tuple[Name, int], str] = {}
        self._standing_lease: dict[Name, int] = {}
        self._tokens: dict[tuple[str, Name], int] = {}
        self._asked: set[tuple[Name, int]] = set()
        self._seen: set[TransactionId] = set()
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._carried = 0

    def token(self, server: str, name: Name) -> int:
        """Return the token that was granted last to this server for this document."""
        return self._tokens.get((server, name), 0)

    def stands(self, name: Name, token: int) -> bool:
        """Say whether nobody has ended or taken a lease."""
        return self._standing_lease.get(name) == token

    def held(self, server: str) -> list[Name]:
        """Name the documents whose leases this server was granted and nobody has ended or taken."""
        return [name for name, token in self._standing_lease.items() if self._granted[name, token] == server]

    def was_asked(self, name: Name, token: int) -> bool:
        """Say whether somebody has asked for a lease."""
        return (name, token) in self._asked

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep what is still under way."""
        self._under_way[task] = None
        task.add_done_callback(self._under_way.pop)

    async def carrying(self, work: Awaitable[T]) -> T:
        """Do it, and count it as under way meanwhile: what was sent arrives, also when its sender is dead by then."""
        self._carried += 1
        try:
            return await work
        finally:
            self._carried -= 1

    @property
    def under_way(self) -> int:
        """How many deliveries are still to come."""
        return len(self._under_way) + self._carried

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Ask the engine for changes."""
        changes = await self.inner.changes(since, wait)
        return msgspec.structs.replace(changes, keys=_InOrder(changes.keys))

    def sent(self, server: str, batch: Sequence[Transaction]) -> None:
        """See what a server sends, at the moment it does."""
        for transaction in batch:
            is_new = transaction.id is None or transaction.id not in self._seen
            if transaction.id is not None:
                self._seen.add(transaction.id)
            if is_new:
                self._judge_sent(server, transaction)

    async def commit(self, server: str, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Apply a batch, transaction by transaction, and judge each."""
        return [await self._commit(server, transaction) for transaction in batch]

    async def _commit(self, server: str, transaction: Transaction) -> Answer:
        places = _written(transaction)
        leases = (await self.inner.read(Reads(tuple(place.lease for place in places.values())))).records.keys
        before = {name: await self._standing(place) for name, place in places.items()}
        (outcome,) = await self.inner.commit((transaction,))
        if not isinstance(outcome, Committed) or outcome.repeated:
            return outcome
        for write in transaction.writes:
            if isinstance(write, Put) and (name := _leased(write.key)) is not None:
                assert outcome.revision is not None
                self._telling.say(server, f"= lease of {name}: {outcome.revision}")
                self._canon.grants(name, outcome.revision)
                self._granted[name, outcome.revision] = server
                self._tokens[server, name] = self._standing_lease[name] = outcome.revision
            elif isinstance(write, Put) and (name := _asked(write.key)) is not None:
                self._asked.add((name, self._standing_lease[name]))
            elif isinstance(write, Delete) and (name := _leased(write.key)) is not None:
                self._telling.say(server, f"= lease of {name} ends: {self._standing_lease.pop(name, None)}")
        if places:
            moved = {name: (before[name], await self._standing(place)) for name, place in places.items()}
            for (name, place), lease in zip(places.items(), leases, strict=True):
                self._judge_fence(server, transaction, name, place, lease, moved[name][1])
            self._telling.say(server, f"= {', '.join(_moved(name, after) for name, (_, after) in moved.items())}")
            self._telling.sums["commits to documents"] += 1
            self._canon.commits(moved)
        return outcome

    async def _standing(self, place: Place) -> Standing | None:
        records = (await self.inner.read(reads(place))).records
        (head,), (pieces,) = records.keys, records.spans
        if pieces and (head is None or head.value[:1] != CHUNKED):
            self._telling.accuse(f"{len(pieces)} pieces of {place.key} are left behind")
        envelope = decode(records)
        return None if envelope is None else _standing(envelope)

    def _judge_fence(
        self,
        server: str,
        transaction: Transaction,
        name: Name,
        place: Place,
        lease: Record | None,
        after: Standing | None,
    ) -> None:
        if lease is not None and RevisionIs(place.lease, lease.revision) in transaction.guards:
            self._canon.writes(name, lease.revision)
            holder = self._granted.get((name, lease.revision))
            if holder != server:
                self._telling.accuse(f"{server} writes {name} under the lease of {holder}")
            return
        if lease is None and Absent(place.lease) in transaction.guards:
            return
        takes_back = after is not None and (after.facts.erased or after.facts.cause is Cause.ROLLBACK)
        if takes_back and Delete(place.lease) in transaction.writes:
            return
        holder = None if lease is None else self._granted.get((name, lease.revision))
        self._telling.accuse(f"{server} writes {name} and proves no lease; the holder is {holder}")

    def _judge_sent(self, server: str, transaction: Transaction) -> None:
        tokens = {guard.key: guard.revision for guard in transaction.guards if isinstance(guard, RevisionIs)}
        saved = {name: place for name, place in _written(transaction).items() if place.lease in tokens}
        for name, place in saved.items():
            self._canon.saves(server, name, tokens[place.lease])
        for write in transaction.writes:
            if isinstance(write, Delete) and (held := _leased(write.key)) is not None and write.key in tokens:
                value = _put(transaction, saved[held]) if held in saved else None
                self._canon.releases(server, held, tokens[write.key], value)


def _moved(name: Name, after: Standing | None) -> str:
    if after is None or after.facts.erased:
        return f"{name} is gone"
    return f"{name} #{after.facts.number} by {after.facts.holder} ({after.facts.cause.value})"


def _standing(envelope: Envelope) -> Standing:
    value = Account() if envelope.facts.erased else msgspec.json.decode(envelope.text, type=Account)
    return Standing(envelope.facts, value)


def _written(transaction: Transaction) -> dict[Name, Place]:
    """Name the documents that a transaction writes, and where they are. Their pieces come and go with them."""
    places: dict[Name, Place] = {}
    for write in transaction.writes:
        if isinstance(write, Append | DeleteSpan) or "\x01" in write.key.item:
            continue
        kind = write.key.space.removeprefix("document.")
        if kind in KINDS:
            places[Name(kind, write.key.item)] = Place(kind, write.key.item, write.key.partition)
    return dict(sorted(places.items()))


def _leased(key: Key) -> Name | None:
    """Name the document whose lease stands at this key."""
    kind = key.space.removeprefix("document.").removesuffix(".lease")
    is_lease = key.space == f"document.{kind}.lease" and "\x01" not in key.item
    return Name(kind, key.item) if is_lease else None


def _asked(key: Key) -> Name | None:
    """Name the document that is asked for by a record at this key."""
    name = _leased(key._replace(item=key.item.removesuffix("\x01request")))
    return name if key.item.endswith("\x01request") else None


def _put(transaction: Transaction, place: Place) -> Account | None:
    """Return the value that a transaction saves."""
    puts = [Record(write.key, write.value, 0) for write in transaction.writes if isinstance(write, Put)]
    heads = [record for record in puts if record.key == place.document]
    if not heads:
        return None
    pieces = tuple(record for record in puts if record.key in place.pieces)
    return _standing(_ENVELOPE.decode(unpack(chunks.join(heads[0], pieces)))).value
