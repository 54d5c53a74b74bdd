"""Snapshots as they are stored: found by id or by session, with or without their state.

A look takes one trip where it can: whoever is asked for by an id that names its place, and the newest leaf of a session
that has not branched. What is known of one session from before only says where to look; it decides nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import BranchedError, CorruptError, StateLostError
from sojourn.kernel import (
    PENDING,
    Absent,
    Attempt,
    Conflict,
    Guard,
    Key,
    Reads,
    Record,
    RevisionIs,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.snapshots import stored
from sojourn.snapshots.layout import At, Place, at_of, index, minted
from sojourn.snapshots.model import FinishReason, Snapshot, SnapshotInfo, Status
from sojourn.snapshots.states import BrokenError, StateCodec, States
from sojourn.snapshots.stored import Entry, Head, Row

__all__ = ["Found", "Look", "Reader", "Shelf", "read_head", "settled", "spot_of"]

S = TypeVar("S")


class Shelf(msgspec.Struct, Generic[S], frozen=True):
    """What the parts of the face share: the store, the form of states, and those that have been seen."""

    store: Store
    codec: StateCodec[S]
    states: States


class Found(msgspec.Struct, frozen=True):
    """A snapshot's record, the lease of the turn that may be at work on it, and the engine's time of the look."""

    place: Place
    at: At
    record: Record
    row: Row
    lease: Record | None
    now: int
    seen: tuple[Record, ...] = ()

    @property
    def row_key(self) -> Key:
        """Where it is kept."""
        return self.record.key

    @property
    def is_held(self) -> bool:
        """Say whether the lease of its branch is that of the turn at work on it."""
        token = self.row.token or self.record.revision
        return self.lease is not None and self.lease.revision == token

    @property
    def due_at(self) -> int | None:
        """The engine's time at which it expires unless a sign of life comes, None if it does not."""
        if self.row.status is not Status.PENDING:
            return None
        if self.row.ttl:
            return self.lease.expires_at if self.is_held and self.lease is not None else 0
        if self.row.heartbeat is None:
            return None
        return self.row.heartbeat // 1_000 + int(limits.SNAPSHOT_STALE.total_seconds() * 1_000)

    @property
    def is_due(self) -> bool:
        """Say whether it is pending, and whoever was at work on it has given no more sign of life."""
        due_at = self.due_at
        return due_at is not None and due_at <= self.now

    @property
    def status(self) -> Status:
        """Its status, also where nobody has stored yet that it has expired."""
        return Status.EXPIRED if self.is_due else self.row.status

    @property
    def info(self) -> SnapshotInfo:
        """What is shown of it."""
        if self.is_due:
            return stored.info(self.place, self.expired)
        heartbeat = None
        if self.row.ttl and self.is_held and self.lease is not None and self.lease.expires_at is not None:
            heartbeat = (self.lease.expires_at - self.row.ttl) * 1_000
        return stored.info(self.place, self.row, heartbeat=heartbeat)

    @property
    def expired(self) -> Row:
        """Its record once it has expired."""
        return settled(self.row, Status.EXPIRED, self.now)


class Look(msgspec.Struct, frozen=True):
    """The newest leaf of a session, the record of the session, and the engine's time of the look.

    `tip` is the record of the leaf's branch, where that was seen in passing.
    """

    newest: Found | None
    head: Record | None
    tip: Record | None
    now: int


def settled(row: Row, status: Status, now: int, finish: FinishReason | None = None) -> Row:
    """Return the record of a snapshot on which nobody is at work any more."""
    return msgspec.structs.replace(row, status=status, updated=now * 1_000, finish=finish or row.finish, ttl=0, token=0)


class Reader(Generic[S]):
    """Looks snapshots up, for one tenant."""

    def __init__(self, shelf: Shelf[S], tenant: str) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._tenant = tenant

    async def place_of(self, snapshot_id: str, tx: Attempt | None = None) -> tuple[Place, At | None] | None:
        """Return in which session a snapshot of this id would be, and where if that is known; None: nobody has it.

        Raises:
            UnavailableError: the store could not be reached.
        """
        known = minted(snapshot_id)
        if known is not None:
            return Place(self._tenant, known[0]), known[1]
        # What this finds is verified where it leads to, so it need not be guarded where that cannot be.
        guarded = tx if self._store.describe().cross_partition else None
        record = await self._get(index(self._tenant, snapshot_id), guarded)
        return None if record is None else (Place(self._tenant, record.value.decode()), None)

    async def find(self, snapshot_id: str, *, states: bool = False, tx: Attempt | None = None) -> Found | None:
        """Return the snapshot of this id, None when there is none.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: its record is damaged.
        """
        known = await self.place_of(snapshot_id, tx)
        if known is None:
            return None
        if tx is not None and not self._store.describe().cross_partition:
            # Guarded is what is there: that it is not could be guarded in the partition of one session only.
            is_own = tx.writes(known[0].local(snapshot_id))
            if not is_own and await self.find_in(known[0], snapshot_id) is None:
                return None
        return await self.find_in(known[0], snapshot_id, states=states, tx=tx)

    async def find_in(
        self, place: Place, snapshot_id: str, *, states: bool = False, tx: Attempt | None = None
    ) -> Found | None:
        """Return the snapshot of this id in a session, None when there is none. `states`: read its state with it.

        In an attempt the commit will hold only if that is still so.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: its record is damaged.
        """
        at = await self.spot(place, snapshot_id, tx)
        found = None if at is None else await self.at(place, at, states=states, tx=tx)
        return found if found is not None and found.row.id == snapshot_id else None

    async def spot(self, place: Place, snapshot_id: str, tx: Attempt | None = None) -> At | None:
        """Return where in the session the snapshot of this id stands, None when there is none.

        Raises:
            UnavailableError: the store could not be reached.
        """
        known = minted(snapshot_id)
        if known is not None and known[0] == place.session:
            return known[1]
        record = await self._get(place.local(snapshot_id), tx)
        return None if record is None else spot_of(record)

    async def at(self, place: Place, at: At, *, states: bool = False, tx: Attempt | None = None) -> Found | None:
        """Return the snapshot that stands there, None when there is none.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: its record is damaged.
        """
        if tx is not None:
            return await self._at_in(tx, place, at)
        spans = (self._shelf.states.wanted(place, at),) if states else ()
        answer = await self._store.read(Reads((place.row(at), place.lease(at.branch)), spans))
        record, lease = answer.records.keys
        if record is None:
            return None
        seen = answer.records.spans[0] if spans else ()
        return Found(place, at, record, stored.row(record), lease, answer.now, seen)

    async def _at_in(self, tx: Attempt, place: Place, at: At) -> Found | None:
        """Return what stands there as an attempt sees it, with what the attempt has written itself."""
        record = await tx.get(place.row(at))
        if record is None:
            return None
        row = stored.row(record)
        lease = await tx.get(place.lease(at.branch)) if row.ttl else None
        return Found(place, at, record, row, lease, await tx.now())

    async def newest_in(self, tx: Attempt, place: Place, *, reject_branching: bool = False) -> Found | None:
        """Return the newest leaf of a session as an attempt sees it, None when it has no snapshot.

        Raises:
            BranchedError: it has more than one leaf, and that is to be refused.
            UnavailableError: the store could not be reached.
            CorruptError: a record of it is damaged.
        """
        head = read_head(await tx.get(place.head))
        if head.newest is None:
            return None
        if reject_branching and head.leaves > 1:
            raise _branched(place, head)
        return await self._at_in(tx, place, head.newest.at)

    async def _get(self, key: Key, tx: Attempt | None) -> Record | None:
        if tx is not None:
            return await tx.get(key)
        return (await self._store.read(Reads((key,)))).records.keys[0]

    async def newest(self, place: Place, *, states: bool = False, reject_branching: bool = False) -> Found | None:
        """Return the newest leaf of a session, None when it has no snapshot.

        Raises:
            BranchedError: it has more than one leaf, and that is to be refused.
            UnavailableError: the store could not be reached.
            CorruptError: a record of it is damaged.
        """
        return (await self.look(place, states=states, reject_branching=reject_branching)).newest

    async def look(self, place: Place, *, states: bool = False, reject_branching: bool = False) -> Look:
        """Return the newest leaf of a session, and the record of the session that says so.

        Raises:
            BranchedError: it has more than one leaf, and that is to be refused.
            UnavailableError: the store could not be reached.
            CorruptError: a record of it is damaged.
        """
        seen: Look | None = None
        while True:
            look = await self._glance(place, states=states, reject_branching=reject_branching)
            head = read_head(look.head)
            if head.newest is None or (look.newest is not None and look.newest.row.id == head.newest.id):
                return look
            # It went while this looked; whatever is the newest now, the head says so. If it says the same, it errs.
            if seen is not None and seen.head == look.head:
                raise CorruptError(f"the session {place.session!r} names {head.newest.id!r}, which is not there")
            seen = look

    async def _glance(self, place: Place, *, states: bool, reject_branching: bool) -> Look:
        branch = self._shelf.states.branch_of(place)
        spans: tuple[Span, ...] = (place.last_row(branch),)
        if states:
            spans += (self._shelf.states.unseen(place, branch),)
        answer = await self._store.read(Reads((place.head, place.lease(branch), place.branch(branch)), spans))
        head_record, lease, tip = answer.records.keys
        head = read_head(head_record)
        if head.newest is None:
            return Look(None, head_record, None, answer.now)
        if reject_branching and head.leaves > 1:
            raise _branched(place, head)
        at = head.newest.at
        self._shelf.states.note_branch(place, at.branch)
        for record in answer.records.spans[0]:
            if at_of(record.key) == at:
                seen = answer.records.spans[1] if states else ()
                newest = Found(place, at, record, stored.row(record), lease, answer.now, seen)
                return Look(newest, head_record, tip, answer.now)
        found = await self.at(place, at, states=states)
        return Look(found, head_record, None, answer.now)

    async def snapshot(self, found: Found) -> Snapshot[S]:
        """Return a snapshot with its state.

        Raises:
            StateLostError: its state cannot be put together any more.
            CorruptError: its state is not of the type asked for.
            UnavailableError: the store could not be reached.
        """
        entry = await self.entry(found)
        state = None if entry is None else self._shelf.codec.decode(entry.state)
        return Snapshot(**msgspec.structs.asdict(found.info), state=state)

    async def entry(self, found: Found) -> Entry | None:
        """Return the state of a snapshot, None when it has none.

        Raises:
            StateLostError: it cannot be put together any more.
            UnavailableError: the store could not be reached.
        """
        standing: Found | None = found
        broken: BrokenError | None = None
        for _ in range(limits.SNAPSHOT_TRIES):
            if standing is None or not standing.row.stamp:
                return None
            try:
                return await self._shelf.states.load(
                    standing.place, standing.at, standing.row, self._store.read, seen=standing.seen
                )
            except BrokenError as error:
                broken = error
            if found.record.revision == PENDING:  # an attempt has written it, and nobody else
                break
            standing = await self.at(found.place, found.at)  # a prune may have moved it
        assert broken is not None
        raise await self._lost(found, broken) from broken

    async def _lost(self, found: Found, broken: BrokenError) -> StateLostError:
        """Return the error for a state that is lost, with the nearest ancestor that can be read."""
        at: At | None = broken.at
        readable = None
        while at is not None and readable is None:
            try:
                row = await self.at(found.place, at)
                above = None if row is None or row.row.parent_at is None else row.row.parent_at
                parent = None if above is None else await self.at(found.place, above)
                if parent is None:
                    break
                if parent.row.stamp:
                    await self._shelf.states.load(found.place, parent.at, parent.row, self._store.read)
                    readable = parent.row.id
                at = parent.at
            except BrokenError as error:
                at = error.at if error.at != at else None
            except CorruptError:
                break
        nearest = "none of its ancestors can be read" if readable is None else f"{readable!r} can be read"
        return StateLostError(
            f"the state of the snapshot {found.row.id!r} cannot be put together: {broken}; {nearest}",
            snapshot_id=found.row.id,
            readable=readable,
        )

    async def parent(self, found: Found, *, states: bool = False) -> Found | None:
        """Return the parent of a snapshot, also if it came after its child; None when it is not there.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: its record is damaged.
        """
        if found.row.parent_at is not None:
            return await self.at(found.place, found.row.parent_at, states=states)
        return None if found.row.parent is None else await self.find_in(found.place, found.row.parent, states=states)

    async def run(self, place: Place, at: At, most: int) -> tuple[list[tuple[Record, Row]], At | None]:
        """Return up to `most` snapshots of one branch, from there on upwards, and where the next ancestor stands.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: a record is damaged.
        """
        span = msgspec.structs.replace(
            place.rows(most), start=At(at.branch, 0).item, stop=At(at.branch, at.number + 1).item, reverse=True
        )
        (records,) = (await self._store.read(Reads(spans=(span,)))).records.spans
        rows = [(record, stored.row(record)) for record in records]
        # Within a branch each stands behind the one before it, but for those that a prune took from between.
        taken = 1 if rows and at_of(rows[0][0].key) == at else 0
        while taken < len(rows) and rows[taken - 1][1].parent_at == at_of(rows[taken][0].key):
            taken += 1
        last = rows[taken - 1][1] if taken else None
        if last is None or last.parent is None:
            return rows[:taken], None
        if last.parent_at is not None:
            return rows[:taken], last.parent_at
        found = await self.find_in(place, last.parent)  # it may have come after its child
        return rows[:taken], None if found is None else found.at

    async def settle(self, found: Found) -> None:
        """Store that a snapshot has expired, unless a sign of life came meanwhile.

        Raises:
            UnavailableError: the store could not be reached.
        """
        guards: list[Guard] = [RevisionIs(found.record.key, found.record.revision)]
        if found.row.ttl:
            key = found.place.lease(found.at.branch)
            guards.append(Absent(key) if found.lease is None else RevisionIs(key, found.lease.revision))
        write = stored.put_row(found.place, found.at, found.expired)
        outcome = await self._store.submit(Transaction(ids.new(), tuple(guards), (write,)))
        if isinstance(outcome, Conflict):
            return  # somebody was faster, and what is so now is for the next look


def spot_of(record: Record) -> At:
    """Read where a snapshot stands from the record of its id."""
    return At.of(record.value.decode())


def read_head(record: Record | None) -> Head:
    """Read the record of a session; one that is not there has no snapshots."""
    return Head() if record is None else stored.head(record)


def _branched(place: Place, head: Head) -> BranchedError:
    """Return the error for a session with more than one leaf."""
    return BranchedError(
        f"the session {place.session!r} has branching snapshots ({head.leaves} leaves), so no single one is the latest;"
        " name a snapshot",
        leaves=head.leaves,
    )
