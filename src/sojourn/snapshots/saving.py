"""Snapshots as they are written: a new one behind its parent, or the same one anew.

Each is part of one attempt: what is read becomes a guard, so that nothing is decided on what is not so any more. The
newest leaf is kept in the head of the session (`model` has the rule), and the tip of each branch in a record of its
own; a snapshot has children exactly when it is not the tip of its branch.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, SnapshotSettledError
from sojourn.kernel import Absent, Attempt, Committed, Now, Put, Reads, Record, RevisionIs, Span, Transaction, ids
from sojourn.snapshots import stored
from sojourn.snapshots.layout import At, Place, index, mint, minted
from sojourn.snapshots.model import (
    TERMINAL,
    Failure,
    FinishReason,
    SnapshotInput,
    Status,
    checked_failure,
    checked_finish,
    checked_session,
    checked_snapshot_id,
    checked_status,
    instant_of,
)
from sojourn.snapshots.parts import State
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head, spot_of
from sojourn.snapshots.states import BrokenError, StateCodec
from sojourn.snapshots.stored import Entry, Head, Name, Newest, Row, Tip

__all__ = ["Author", "ErasingError", "Made", "Wanted", "Work", "scan_all"]

S = TypeVar("S")


class ErasingError(Exception):
    """The session is being deleted; that has to be finished first."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"the session {place.session!r} is being deleted")
        self.place = place


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be stored, checked."""

    session: str | None = None
    id: str | None = None
    parent: str | None = None
    created: int | None = None
    updated: int | None = None
    heartbeat: int | None = None
    status: Status = Status.COMPLETED
    finish: FinishReason | None = None
    error: Failure | None = None
    state: State | None = None

    @classmethod
    def of(cls, given: SnapshotInput[S], codec: StateCodec[S], standing: Status | None) -> Wanted:
        """Check what a mutator returned. `standing` is the status of what is stored.

        Raises:
            InvalidError: a value in it is out of form.
            LimitError: one is beyond a limit.
        """
        session = _session_in(given.state) if given.session_id is None else given.session_id
        return cls(
            session=None if session is None else checked_session(session),
            id=None if not given.snapshot_id else checked_snapshot_id(given.snapshot_id),
            parent=None if given.parent_id is None else checked_snapshot_id(given.parent_id, "parent_id"),
            created=instant_of("created_at", given.created_at),
            updated=instant_of("updated_at", given.updated_at),
            heartbeat=instant_of("heartbeat_at", given.heartbeat_at),
            status=standing if standing is not None and given.status == standing else checked_status(given.status),
            finish=checked_finish(given.finish_reason),
            error=checked_failure(given.error),
            state=None if given.state is None else codec.encode(given.state),
        )


class Work(NamedTuple):
    """The lease of a turn: its time to live in milliseconds, and its token, 0 when this commit takes it."""

    ttl: int
    token: int


class Made(msgspec.Struct, frozen=True):
    """A snapshot that an attempt has made: where it stands, its record, and its state."""

    place: Place
    at: At
    row: Row
    head: Head
    entry: Entry | None = None
    replaced: At | None = None


class _Parent(msgspec.Struct, frozen=True):
    """Behind what a new snapshot stands; `at` is None where there is no such, or none at all."""

    id: str | None
    at: At | None = None
    row: Row | None = None
    tip: Tip | None = None

    @property
    def is_tip(self) -> bool:
        """Say whether nothing stands behind it yet."""
        return self.at is not None and self.tip is not None and self.tip.number == self.at.number


class Author(Generic[S]):
    """Writes snapshots, for one tenant. `local`: their ids are looked up in their session only."""

    def __init__(self, shelf: Shelf[S], reader: Reader[S], tenant: str, *, local: bool = False) -> None:
        self._shelf = shelf
        self._reader = reader
        self._tenant = tenant
        self._local = local

    async def create(
        self,
        tx: Attempt,
        place: Place,
        snapshot_id: str | None,
        wanted: Wanted,
        *,
        work: Work | None = None,
        name: str | None = None,
    ) -> Made:
        """Add a new snapshot to an attempt. Without an id, one is made that names its place.

        `work` is the lease of the turn at work on it, `name` that of the branch which goes on with it.

        Raises:
            InvalidError: it names itself as its parent, an heir of its own, or a snapshot of another session.
            SnapshotSettledError: another session has a snapshot of this id.
            ErasingError: the session is being deleted.
            BrokenError: the state of the parent is missing or damaged.
            UnavailableError: the store could not be reached.
        """
        head = await self._head(tx, place, snapshot_id, wanted.parent)
        parent = await self._parent(tx, place, snapshot_id, wanted.parent)
        is_awaited = snapshot_id is not None and await self._is_awaited(tx, place, snapshot_id, parent)
        goes_on = parent.is_tip and not is_awaited and await self._is_of(tx, place, parent, name)
        branch = parent.at.branch if goes_on and parent.at is not None else head.branches
        at = At(branch, head.number + 1)
        row_id = mint(place.session, at) if snapshot_id is None else snapshot_id
        now = await tx.now()
        created = wanted.created
        if created is None:  # a turn is the newest, whatever instants callers gave before
            created = max(now * 1_000, 0 if head.newest is None or work is None else head.newest.created)
        row = Row(
            row_id,
            wanted.parent,
            parent.at,
            created,
            wanted.status,
            wanted.updated,
            wanted.heartbeat,
            wanted.finish,
            wanted.error,
            ttl=0 if work is None else work.ttl,
            token=0 if work is None else work.token,
        )
        entry, row = await self._put_state(tx, place, at, row, parent, wanted.state)
        tx.write(stored.put_row(place, at, row))
        leaf = Newest(created, at.number, branch, row_id)
        head = msgspec.structs.replace(
            head,
            number=at.number,
            branches=max(head.branches, branch + 1),
            snapshots=head.snapshots + 1,
            leaves=head.leaves + (not is_awaited) - parent.is_tip,
            stored=head.stored + row.stored,
            created=head.created or now,
            newest=await self._newest(tx, place, head, parent, None if is_awaited else leaf),
        )
        if not goes_on and parent.is_tip and parent.at is not None:
            tx.delete(place.branch(parent.at.branch))
        if not is_awaited:
            tx.put(place.branch(branch), stored.encode(Tip(at.number, created, row_id)))
        tx.put(place.head, stored.encode(head), rank=Now())
        if name is not None:
            tx.put(place.name(name), stored.encode(Name(branch, at, row_id)))
        if snapshot_id is not None and minted(snapshot_id) is None:
            await self._note_id(tx, place, at, snapshot_id)
        return Made(place, at, row, head, entry, parent.at if goes_on else None)

    async def rewrite(self, tx: Attempt, found: Found, wanted: Wanted) -> Made:
        """Add another version of a snapshot to an attempt. What is not given of its place and state stays.

        Raises:
            SnapshotSettledError: it may not be changed like this any more.
            BrokenError: the state of the parent is missing or damaged.
            UnavailableError: the store could not be reached.
        """
        _check_rewrite(found, wanted)
        place, at, old = found.place, found.at, found.row
        head = read_head(await tx.get(place.head))
        if head.erasing:
            raise ErasingError(place)
        row = msgspec.structs.replace(
            old,
            status=wanted.status,
            updated=wanted.updated,
            heartbeat=wanted.heartbeat,
            finish=wanted.finish,
            error=wanted.error,
        )
        entry = None
        if wanted.state is not None:
            entry, row = await self._new_state(tx, found, row, wanted.state)
        if wanted.status in TERMINAL and old.status is Status.PENDING and old.ttl:
            if found.is_held:
                tx.delete(place.lease(at.branch))
            row = msgspec.structs.replace(row, ttl=0, token=0)
        if row.ttl:  # the record has a new revision, so the token is no longer that of its own
            row = msgspec.structs.replace(row, token=old.token or found.record.revision)
        tx.write(stored.put_row(place, at, row))
        if row.stored != old.stored:
            head = msgspec.structs.replace(head, stored=head.stored + row.stored - old.stored)
            tx.put(place.head, stored.encode(head), rank=Now())
        return Made(place, at, row, head, entry)

    async def _head(self, tx: Attempt, place: Place, snapshot_id: str | None, parent_id: str | None) -> Head:
        """Read what is needed in one trip, and return what is known of the session."""
        keys = [place.head]
        for known, own in ((snapshot_id, True), (parent_id, False)):
            at = None if known is None else minted(known)
            if known is None:
                continue
            if own:
                keys.append(place.orphan(known))
            keys += [place.local(known)] if at is None else [place.row(at[1]), place.branch(at[1].branch)]
        await tx.fetch(keys)
        head = read_head(await tx.get(place.head))
        if head.erasing:
            raise ErasingError(place)
        return head

    async def _parent(self, tx: Attempt, place: Place, own_id: str | None, parent_id: str | None) -> _Parent:
        if parent_id is None:
            return _Parent(None)
        if parent_id == own_id:
            raise InvalidError("parent_id", f"the snapshot {own_id!r} cannot be its own parent")
        known = minted(parent_id)
        at = None if known is None else known[1]
        if at is None:
            record = await tx.get(place.local(parent_id))
            at = None if record is None else spot_of(record)
        if at is not None:
            await tx.fetch((place.row(at), place.branch(at.branch)))
            record = await tx.get(place.row(at))
            row = None if record is None else stored.row(record)
            if row is not None and row.id == parent_id:
                tip = await tx.get(place.branch(at.branch))
                return _Parent(parent_id, at, row, None if tip is None else stored.tip(tip))
        elsewhere = None if self._local else await self._reader.find(parent_id)
        if elsewhere is not None and elsewhere.place != place:
            raise InvalidError("parent_id", f"{parent_id!r} is a snapshot of the session {elsewhere.place.session!r}")
        tx.put(place.orphan(parent_id), b"")
        return _Parent(parent_id)

    async def _is_of(self, tx: Attempt, place: Place, parent: _Parent, name: str | None) -> bool:
        """Say whether a snapshot made under a name goes on with the branch of its parent, which is a tip.

        Under a name only with the branch of that name: each name keeps a branch of its own.
        """
        if parent.row is not None and parent.row.status is Status.PENDING and parent.row.ttl:
            return False  # the branch is held by the turn at work on its tip
        if name is None or parent.at is None:
            return True
        record = await tx.get(place.name(name))
        return record is not None and stored.name(record).branch == parent.at.branch

    async def _is_awaited(self, tx: Attempt, place: Place, snapshot_id: str, parent: _Parent) -> bool:
        """Say whether another snapshot has named this one as its parent before it was there."""
        if await tx.get(place.orphan(snapshot_id)) is None:
            return False
        # Parents never change, and whoever adds a snapshot changes the head: so this need not be guarded.
        at = parent.at
        while at is not None:
            run, at = await self._reader.run(place, at, limits.PAGE_MAX)
            if any(row.parent == snapshot_id for _, row in run):
                problem = f"{parent.id!r} descends from {snapshot_id!r}, and no snapshot is its own heir"
                raise InvalidError("parent_id", problem)
        tx.delete(place.orphan(snapshot_id))
        return True

    async def _newest(
        self, tx: Attempt, place: Place, head: Head, parent: _Parent, leaf: Newest | None
    ) -> Newest | None:
        """Return the newest leaf once the new snapshot is there; `leaf` is that one, None if it is none."""
        before = head.newest
        if leaf is not None and (before is None or leaf.order >= before.order):
            return leaf
        if before is None or before.at != parent.at:
            return before
        tips = [tip for tip in stored.leaves(await scan_all(tx, place.branches)) if tip.at != parent.at]
        return max([*tips, *([] if leaf is None else [leaf])], key=lambda tip: tip.order, default=None)

    async def _put_state(
        self, tx: Attempt, place: Place, at: At, row: Row, parent: _Parent, state: State | None
    ) -> tuple[Entry | None, Row]:
        """Add the state of a snapshot to an attempt, and return it with the record that tells of it."""
        if state is None:
            return None, row
        on = None
        above = parent.row
        # The state of a pending snapshot may still change, so nothing is made to depend on it.
        if parent.at is not None and above is not None and above.stamp and above.status is not Status.PENDING:
            try:
                on = await self._shelf.states.load(place, parent.at, above, self._shelf.store.read)
                state = on.state.sharing(state)  # it is kept in memory beside that one
            except BrokenError:
                on = None  # what is lost above must not take this one with it
        entry, size, writes = stored.put_state(place, at, state, on, stored.stamp(), before=row.stored)
        tx.write(*writes)
        row = msgspec.structs.replace(
            row, stamp=entry.stamp, size=state.size, stored=size, way=entry.way, base=entry.base
        )
        return entry, row

    async def _new_state(self, tx: Attempt, found: Found, row: Row, state: State) -> tuple[Entry | None, Row]:
        """Add the new state of a snapshot to an attempt, if it is another one."""
        place, at, old = found.place, found.at, found.row
        if old.stamp:
            standing = await self._reader.entry(found)
            if standing is not None and standing.state.difference(state) is None:
                return standing, row
        if old.status is not Status.PENDING:
            record = await tx.get(place.branch(at.branch))
            if record is None or stored.tip(record).number != at.number:
                raise SnapshotSettledError(
                    f"others build on the state of the snapshot {old.id!r}, so it stands; save a new one behind it"
                )
        above = old.parent_at
        record = None if above is None else await tx.get(place.row(above))
        parent = _Parent(old.parent, above, None if record is None else stored.row(record))
        return await self._put_state(tx, place, at, row, parent, state)

    async def _note_id(self, tx: Attempt, place: Place, at: At, snapshot_id: str) -> None:
        """Note where the snapshot of an id stands that was not made here, so that it is found."""
        tx.put(place.local(snapshot_id), at.item.encode())
        if self._local:
            return
        key = index(self._tenant, snapshot_id)
        if self._shelf.store.describe().cross_partition:
            standing = await tx.get(key)
            _check_session(standing, place, snapshot_id)
            if standing is None:
                tx.put(key, place.session.encode())
            return
        # Written anew each time, so that nobody who deletes an earlier snapshot of this id takes it away.
        answer = await self._shelf.store.read(Reads((key,)))
        (standing,), now = answer.records.keys, answer.now
        put = Put(key, place.session.encode(), rank=Now())
        while True:
            if standing is not None and not await self._led_to_nothing(standing, snapshot_id, now):
                _check_session(standing, place, snapshot_id)
            guard = Absent(key) if standing is None else RevisionIs(key, standing.revision)
            outcome = await self._shelf.store.submit(Transaction(ids.new(), (guard,), (put,)))
            if isinstance(outcome, Committed):
                return
            standing, now = outcome.found, outcome.now

    async def _led_to_nothing(self, note: Record, snapshot_id: str, now: int) -> bool:
        """Say whether a note of where an id is was left by a save that was given up."""
        if now - (note.rank or 0) < limits.SNAPSHOT_NOTE.total_seconds() * 1_000:
            return False
        return await self._reader.find_in(Place(self._tenant, note.value.decode()), snapshot_id) is None


async def scan_all(tx: Attempt, span: Span) -> list[Record]:
    """Read all records of a span in an attempt, page by page."""
    found: list[Record] = []
    while True:
        page = await tx.scan(span)
        found += page
        if len(page) < span.limit:
            return found
        span = msgspec.structs.replace(span, start=page[-1].key.item + "\x01")


def _check_session(standing: Record | None, place: Place, snapshot_id: str) -> None:
    if standing is not None and standing.value.decode() != place.session:
        raise SnapshotSettledError(
            f"the snapshot {snapshot_id!r} belongs to the session {standing.value.decode()!r}; take an id that is new"
        )


def _check_rewrite(found: Found, wanted: Wanted) -> None:
    row = found.row
    if wanted.session is not None and wanted.session != found.place.session:
        raise SnapshotSettledError(
            f"the snapshot {row.id!r} belongs to the session {found.place.session!r}, not to {wanted.session!r}"
        )
    if wanted.id is not None and wanted.id != row.id:
        raise SnapshotSettledError(f"the snapshot {row.id!r} keeps its id; {wanted.id!r} would be another one")
    if wanted.parent is not None and wanted.parent != row.parent:
        raise SnapshotSettledError(f"the snapshot {row.id!r} keeps its parent, {row.parent!r}")
    if found.status in TERMINAL and wanted.status is not found.status:
        raise SnapshotSettledError(
            f"the snapshot {row.id!r} has the terminal status {found.status.value!r} and cannot become"
            f" {wanted.status.value!r}"
        )


def _session_in(state: object) -> str | None:
    """Return the session that a state names."""
    for name in ("sessionId", "session_id"):
        is_plain = isinstance(state, dict)
        found = cast("dict[str, object]", state).get(name) if is_plain else getattr(state, name, None)
        if found is not None:
            return cast("str", found)  # checked like one that was given
    return None
