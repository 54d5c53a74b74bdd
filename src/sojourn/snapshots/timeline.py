"""One session: its snapshots, read and written.

A timeline by itself looks ids up in its session only, so they need not differ from those of other sessions: that is
for adapters whose frameworks name the session with each call. `Snapshots` looks up the session first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Final, Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import ConflictError, InvalidError
from sojourn.kernel import Attempt, Cursor, Leases, Listing, Page, Reads, Record
from sojourn.kernel.lease import ending
from sojourn.kernel.listing import checked_limit
from sojourn.snapshots import stored
from sojourn.snapshots.erasure import erase
from sojourn.snapshots.layout import At, Place, at_of
from sojourn.snapshots.model import (
    FinishReason,
    Mutator,
    NoLeaf,
    Policy,
    Pruned,
    Snapshot,
    SnapshotInfo,
    Status,
    checked_name,
    checked_policy,
    checked_snapshot_id,
)
from sojourn.snapshots.mutating import BusyError, Saving, unknown
from sojourn.snapshots.pruning import Pruner
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head, settled
from sojourn.snapshots.saving import ErasingError
from sojourn.snapshots.stored import Name
from sojourn.snapshots.tree import Tree, grown

__all__ = ["Timeline"]

S = TypeVar("S")
T = TypeVar("T")

_HISTORY: Final = "snapshot.history"
"""What the cursors of this listing are of."""


class Timeline(Generic[S]):
    """The snapshots of one session; made by `Snapshots.timeline`."""

    def __init__(self, shelf: Shelf[S], leases: Leases, place: Place, *, local: bool = True) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._leases = leases
        self._place = place
        self._reader = Reader(shelf, place.tenant)
        self._local = local

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._place.session

    @property
    def tenant(self) -> str:
        """The tenant that it belongs to, "" where there are none."""
        return self._place.tenant

    async def get(
        self, snapshot_id: str | None = None, *, reject_branching: bool = False, tx: Attempt | None = None
    ) -> Snapshot[S] | None:
        """Return a snapshot with its state, the newest leaf without an id; None when there is none.

        With `tx` the commit will hold only if that is still so.

        Raises:
            BranchedError: there is more than one leaf, and that is to be refused.
            StateLostError: its state cannot be put together any more.
            CorruptError: its state is not of the type asked for, or its record is damaged.
            UnavailableError: the store could not be reached.
        """
        found = await self.find(snapshot_id, reject_branching=reject_branching, states=True, tx=tx)
        return None if found is None else await self._reader.snapshot(found)

    async def info(
        self, snapshot_id: str | None = None, *, reject_branching: bool = False, tx: Attempt | None = None
    ) -> SnapshotInfo | None:
        """Return what is known of a snapshot, as `get` does, and do not read its state.

        Raises:
            BranchedError: there is more than one leaf, and that is to be refused.
            CorruptError: its record is damaged.
            UnavailableError: the store could not be reached.
        """
        found = await self.find(snapshot_id, reject_branching=reject_branching, tx=tx)
        return None if found is None else found.info

    async def find(
        self,
        snapshot_id: str | None = None,
        *,
        reject_branching: bool = False,
        states: bool = False,
        tx: Attempt | None = None,
    ) -> Found | None:
        """Return a snapshot's record, the newest leaf's without an id; one that has expired is stored as such."""
        checked = None if snapshot_id is None else checked_snapshot_id(snapshot_id)
        if tx is not None:
            tx.check_lasting()
            if checked is None:
                return await self._reader.newest_in(tx, self._place, reject_branching=reject_branching)
            return await self._reader.find_in(self._place, checked, tx=tx)
        if checked is None:
            found = await self._reader.newest(self._place, states=states, reject_branching=reject_branching)
        else:
            found = await self._reader.find_in(self._place, checked, states=states)
        if found is not None and found.is_due:
            await self._reader.settle(found)
        return found

    async def save(
        self,
        snapshot_id: str | None,
        mutator: Mutator[S],
        *,
        expect_leaf: str | NoLeaf | None = None,
        if_moved: Policy = "reject",
        tx: Attempt | None = None,
    ) -> str | None:
        """Store what `mutator` makes of a snapshot, as `Snapshots.save_snapshot` does; the session is this one.

        Raises:
            InvalidError: what it returned, or the mutator itself, is out of form; nothing was written.
            SnapshotSettledError: the snapshot may not be changed like this; nothing was written.
            LeafMovedError: the newest leaf is another one, and that is to be refused; nothing was written.
            LeaseHeldError: a turn in progress did not end in time; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        checked = None if snapshot_id is None else checked_snapshot_id(snapshot_id)
        policy = checked_policy("if_moved", if_moved)
        saving = Saving(self._shelf, self._place.tenant, expect_leaf, policy, local=self._local)
        return await self.attempt(lambda tx: saving.save(tx, self._place, checked, mutator), tx)

    async def attempt(self, work: Callable[[Attempt], Awaitable[T]], tx: Attempt | None) -> T:
        """Run work as one commit, or within `tx`; finish a deletion, and wait for a turn, that stand in its way."""
        while True:
            try:
                return await (work(tx) if tx is not None else self._store.run(work))
            except ErasingError as erasing:
                await erase(self._store, erasing.place)
                if tx is not None:
                    problem = f"the session {erasing.place.session!r} was being deleted, and is by now; begin again"
                    raise ConflictError(problem) from None
            except BusyError as busy:
                if tx is not None:
                    raise busy.error from None
                await self._wait_for(busy)

    async def _wait_for(self, busy: BusyError) -> None:
        wait = limits.SNAPSHOT_WAIT.total_seconds()
        lease = await self._leases.acquire(busy.found.place.lease(busy.found.at.branch), holder="a waiter", wait=wait)
        await lease.release()

    async def abort(self, snapshot_id: str, *, tx: Attempt | None = None) -> Status | None:
        """Stop the turn at work on a snapshot: it is aborted from this commit on, whatever the turn does.

        Returns the status before: `pending` when this call stopped it, a terminal one when there was nothing to stop,
        None when there is no such snapshot.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        return await self.attempt(lambda tx: self._abort(tx, snapshot_id), tx)

    async def _abort(self, tx: Attempt, snapshot_id: str) -> Status | None:
        found = await self.find(snapshot_id, tx=tx)
        if found is None or found.status is not Status.PENDING:
            return None if found is None else found.status
        row = settled(found.row, Status.ABORTED, await tx.now(), FinishReason.ABORTED)
        tx.write(stored.put_row(self._place, found.at, row))
        if found.is_held:
            tx.write(*ending(self._place.lease(found.at.branch)))
        return found.row.status

    async def fork(self, snapshot_id: str, branch: str, *, tx: Attempt | None = None) -> None:
        """Give a name to a branch that begins behind a snapshot; a turn with `branch=` goes on with it.

        Nothing is copied: it writes one small record. The name stands for this snapshot until a turn is taken under it.

        Raises:
            SnapshotUnknownError: there is no such snapshot; nothing was written.
            InvalidError: the name is out of form, or taken; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        name = checked_name(branch)

        async def work(tx: Attempt) -> None:
            found = await self.find(snapshot_id, tx=tx)
            if found is None:
                raise unknown(snapshot_id)
            if read_head(await tx.get(self._place.head)).erasing:
                raise ErasingError(self._place)
            if await tx.get(self._place.name(name)) is not None:
                raise InvalidError("branch", f"the session {self.session_id!r} has a branch {name!r} already")
            tx.put(self._place.name(name), stored.encode(Name(None, found.at, found.row.id)))

        await self.attempt(work, tx)

    async def branches(self) -> dict[str, str]:
        """Return the named branches, by name the id of the last snapshot of each.

        Raises:
            UnavailableError: the store could not be reached.
        """
        names = {record.key.item: stored.name(record) async for record in self._store.scan(self._place.names)}
        begun = sorted({name.branch for name in names.values() if name.branch is not None})
        last: dict[int, str] = {}
        for start in range(0, len(begun), limits.PAGE):
            spans = tuple(self._place.last_row(branch) for branch in begun[start : start + limits.PAGE])
            for records in (await self._store.read(Reads(spans=spans))).records.spans:
                last |= {at_of(record.key).branch: stored.row(record).id for record in records}
        return {
            text: name.id if name.branch is None else last.get(name.branch, name.id) for text, name in names.items()
        }

    async def drop_branch(self, branch: str) -> bool:
        """Forget the name of a branch; its snapshots stay. False: there was no such name.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        key = self._place.name(checked_name(branch))

        async def work(tx: Attempt) -> bool:
            if await tx.get(key) is None:
                return False
            tx.delete(key)
            return True

        return await self._store.run(work)

    def history(
        self, snapshot_id: str | None = None, *, limit: int = limits.PAGE, after: str | None = None
    ) -> Listing[SnapshotInfo]:
        """List a snapshot and its ancestors, that one first; without an id, those of the newest leaf.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
            SnapshotUnknownError: there is no such snapshot.
        """
        checked_limit(limit)
        if after is not None:
            self._resumed(after)  # refused here, and not when it is read

        async def read(after: str | None) -> Page[SnapshotInfo]:
            at = None if after is None else self._resumed(after)
            if at is None:
                found = await self.find(snapshot_id)
                if found is None and snapshot_id is not None:
                    raise unknown(snapshot_id)
                at = None if found is None else found.at
            infos: list[SnapshotInfo] = []
            while at is not None and len(infos) < limit:
                run, at = await self._reader.run(self._place, at, limit - len(infos))
                infos += await self._infos([record for record, _ in run])
            return Page(tuple(infos), None if at is None else self._cursor(at))

        return Listing(read, after)

    async def rows(self) -> list[SnapshotInfo]:
        """Return every snapshot of the session without its state, in the order in which they were stored.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._infos(await self._records())

    async def tree(self) -> Tree:
        """Return the snapshots of the session as they hang together; all of it in memory, without states.

        Raises:
            UnavailableError: the store could not be reached.
        """
        records = await self._records()
        ends = {at_of(record.key).branch: stored.row(record).id for record in records}
        return grown(self.session_id, await self._infos(records), await self.branches(), set(ends.values()))

    async def prune(
        self,
        *,
        keep: int | None = None,
        older_than: timedelta | None = None,
        status: Collection[Status] | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Take snapshots away, as `Snapshots.prune` does."""
        return await self._pruner().prune(keep=keep, older_than=older_than, status=status, dry_run=dry_run)

    async def delete(self, *snapshot_ids: str) -> int:
        """Take snapshots away, as `Snapshots.delete` does with one; return how many there were."""
        return await self._pruner().delete([checked_snapshot_id(snapshot_id) for snapshot_id in snapshot_ids])

    async def delete_all(self) -> bool:
        """Take the session away, as `Snapshots.delete_session` does."""
        return await erase(self._store, self._place)

    async def ids(self, *, before: str | None = None, limit: int = limits.PAGE) -> tuple[str, ...]:
        """Return the ids of snapshots that callers chose, the greatest first, those below `before`.

        Raises:
            InvalidError, LimitError: the limit is out of range.
            UnavailableError: the store could not be reached.
        """
        span = msgspec.structs.replace(self._place.locals, stop=before, limit=checked_limit(limit), reverse=True)
        (records,) = (await self._store.read(Reads(spans=(span,)))).records.spans
        return tuple(record.key.item for record in records)

    def _pruner(self) -> Pruner[S]:
        return Pruner(self._shelf, self._reader, self._place)

    async def _records(self) -> list[Record]:
        """Read every snapshot of the session, in the order in which they were stored; none of one being deleted."""
        (head,) = (await self._store.read(Reads((self._place.head,)))).records.keys
        if read_head(head).erasing:
            return []
        records = [record async for record in self._store.scan(self._place.rows())]
        return sorted(records, key=lambda record: at_of(record.key).number)

    async def _infos(self, records: Sequence[Record]) -> list[SnapshotInfo]:
        """Return what is shown of these; of pending ones, with a look at who is at work on them."""
        infos: list[SnapshotInfo] = []
        for record in records:
            row = stored.row(record)
            if row.status is not Status.PENDING:
                infos.append(stored.info(self._place, row))
                continue
            found = await self._reader.at(self._place, at_of(record.key))
            if found is not None:
                infos.append(found.info)
        return infos

    def _cursor(self, at: At) -> str:
        return Cursor(at.number, self._place.partition, at.item).encode(_HISTORY)

    def _resumed(self, after: str) -> At:
        cursor = Cursor.decode(after, _HISTORY)
        if cursor.partition != self._place.partition:
            raise InvalidError("cursor", "this is not a cursor of this listing; start again without one")
        return At.of(cursor.item)
