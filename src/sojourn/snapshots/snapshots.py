"""Snapshots: an agent's whole history, a tree of states, at a cost that follows what each step adds.

    snapshots = Snapshots(store)
    async with snapshots.turn("chat-1") as turn:                # the newest leaf, a lease, a pending snapshot
        turn.messages.append({"role": "user", "content": "Hello"})
                                                                # one commit: what was added, completed, lease ended
    newest = await snapshots.get_snapshot(session_id="chat-1")
    async with snapshots.regenerate(newest.snapshot_id) as turn: ...   # the same step again: a branch beside it

Which leaf is the newest, and who sets timestamps, is said once, in `sojourn.snapshots.model`.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeAlias, TypeVar, cast, overload

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, Cursor, Leases, Listing, Page, RankSpan, Reads, Store
from sojourn.kernel.difference import Difference, differences
from sojourn.kernel.listing import checked_limit
from sojourn.snapshots import stored, watching
from sojourn.snapshots.layout import ROWS, Place, at_of, heads
from sojourn.snapshots.model import (
    Mutator,
    NoLeaf,
    Policy,
    Pruned,
    SessionInfo,
    Snapshot,
    SnapshotInfo,
    Status,
    checked_name,
    checked_policy,
    checked_session,
    checked_snapshot_id,
    checked_tenant,
    resolve_id,
)
from sojourn.snapshots.mutating import Saving, unknown
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head
from sojourn.snapshots.running import TurnContext
from sojourn.snapshots.starting import Starter, Wish
from sojourn.snapshots.states import StateCodec, States
from sojourn.snapshots.timeline import Timeline
from sojourn.snapshots.tree import Tree

__all__ = ["Snapshots"]

S = TypeVar("S")

Context: TypeAlias = Mapping[str, Any]
"""What is known of the caller; `tenant=` finds in it whose snapshots these are."""


class Snapshots(Generic[S]):
    """The snapshots of a store.

    `state` is the type of a whole state (a struct, a dataclass, a TypedDict, a Pydantic model); without one, states are
    plain dicts of JSON data. With `reject_branching`, the newest leaf of a session that has more than one is refused
    instead of chosen. `tenant` keeps the sessions and ids of tenants apart: a name, or a function that finds it in the
    `context` which each verb takes. `lease` is how long a turn that says nothing more is waited for; `holder` is shown
    to people, and names host and process by default.

    Raises:
        InvalidError: the type cannot be stored, a name or a duration is out of form. LimitError: beyond a limit.
    """

    @overload
    def __init__(
        self: Snapshots[dict[str, Any]],
        store: Store,
        state: None = None,
        *,
        reject_branching: bool = False,
        tenant: str | Callable[[Context], str] | None = None,
        lease: timedelta = limits.SNAPSHOT_LEASE,
        holder: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        store: Store,
        state: type[S],
        *,
        reject_branching: bool = False,
        tenant: str | Callable[[Context], str] | None = None,
        lease: timedelta = limits.SNAPSHOT_LEASE,
        holder: str | None = None,
    ) -> None: ...
    def __init__(
        self,
        store: Store,
        state: type[S] | None = None,
        *,
        reject_branching: bool = False,
        tenant: str | Callable[[Context], str] | None = None,
        lease: timedelta = limits.SNAPSHOT_LEASE,
        holder: str | None = None,
    ) -> None:
        if not isinstance(cast("object", lease), timedelta) or lease < limits.LEASE_TTL_MIN:
            raise InvalidError("lease", f"it is a timedelta of at least {limits.LEASE_TTL_MIN}")
        if holder is not None and not holder.strip():
            raise InvalidError("holder", "must not be empty")
        self._store = store
        self._tenant = tenant if tenant is None or callable(tenant) else checked_tenant(tenant)
        self._reject_branching = reject_branching
        self._shelf: Shelf[S] = Shelf(store, StateCodec(state), States())
        self._leases = Leases(store)
        holder = f"{socket.gethostname()}:{os.getpid()}" if holder is None else holder
        self._starter: Starter[S] = Starter(self._shelf, self._leases, holder, lease)

    # -- Reading ------------------------------------------------------------------------------------------------------

    async def get_snapshot(
        self,
        *,
        snapshot_id: str | None = None,
        session_id: str | None = None,
        context: Context | None = None,
        reject_branching: bool | None = None,
        tx: Attempt | None = None,
    ) -> Snapshot[S] | None:
        """Return the snapshot of this id, or the newest leaf of a session, whatever its status; None: there is none.

        Its state is a copy that belongs to the caller. A pending one whose worker gave no more sign of life is shown,
        and from then on stored, as expired. With `tx` the commit will hold only if it still is as it was read.

        Raises:
            InvalidError: not exactly one of the two ids is given, or it is out of form.
            BranchedError: the session has more than one leaf, and that is to be refused.
            StateLostError: its state cannot be put together any more; the error names the nearest that can.
            CorruptError: its state is not of the type asked for, or its record is damaged.
            UnavailableError: the store could not be reached.
        """
        timeline = await self._timeline_by(snapshot_id, session_id, context, tx)
        rejects = self._reject_branching if reject_branching is None else reject_branching
        return None if timeline is None else await timeline.get(snapshot_id, reject_branching=rejects, tx=tx)

    async def get_info(
        self,
        *,
        snapshot_id: str | None = None,
        session_id: str | None = None,
        context: Context | None = None,
        reject_branching: bool | None = None,
        tx: Attempt | None = None,
    ) -> SnapshotInfo | None:
        """Return what is known of a snapshot, as `get_snapshot` finds it, and read nothing of its state.

        Raises:
            InvalidError: not exactly one of the two ids is given, or it is out of form.
            BranchedError: the session has more than one leaf, and that is to be refused.
            CorruptError: its record is damaged.
            UnavailableError: the store could not be reached.
        """
        timeline = await self._timeline_by(snapshot_id, session_id, context, tx)
        rejects = self._reject_branching if reject_branching is None else reject_branching
        return None if timeline is None else await timeline.info(snapshot_id, reject_branching=rejects, tx=tx)

    def history(
        self,
        session_id: str | None = None,
        *,
        snapshot_id: str | None = None,
        limit: int = limits.PAGE,
        after: str | None = None,
        context: Context | None = None,
    ) -> Listing[SnapshotInfo]:
        """List a snapshot and its ancestors, that one first; of a session, those of the newest leaf. Without states.

        Raises:
            InvalidError: not exactly one of the two ids is given, one is out of form, or the cursor is another's.
            LimitError: the limit is above `limits.PAGE_MAX`.
            SnapshotUnknownError: when it is read: there is no such snapshot.
        """
        resolve_id(snapshot_id, session_id)
        checked_limit(limit)
        if session_id is not None:
            return self.timeline(session_id, context=context).history(limit=limit, after=after)
        checked = checked_snapshot_id(snapshot_id)
        tenant = self._tenant_of(context)

        async def read(after: str | None) -> Page[SnapshotInfo]:
            timeline = await self._timeline_of(tenant, checked)
            if timeline is None:
                raise unknown(checked)
            return await timeline.history(checked, limit=limit, after=after)

        return Listing(read, after)

    async def tree(self, session_id: str, *, context: Context | None = None) -> Tree:
        """Return all snapshots of a session as they hang together, without states; `str` of it draws the branches.

        Raises:
            InvalidError: the id is out of form.
            UnavailableError: the store could not be reached.
        """
        return await self.timeline(session_id, context=context).tree()

    def sessions(
        self, *, limit: int = limits.PAGE, after: str | None = None, context: Context | None = None
    ) -> Listing[SessionInfo]:
        """List the sessions of a tenant, the one with the latest change first; one that changes may show twice.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        tenant = self._tenant_of(context)
        span = RankSpan(heads(tenant), limit=checked_limit(limit), reverse=True)
        if after is not None:
            Cursor.decode(after, span.space)  # refused here, and not when it is read

        async def read(after: str | None) -> Page[SessionInfo]:
            cursor = None if after is None else Cursor.decode(after, span.space)
            page = await self._store.rank(msgspec.structs.replace(span, after=cursor))
            heads = [(Place.of(record.key.partition), stored.head(record)) for record in page.records]
            # Tenants whose hashes are alike share a space.
            infos = [stored.session_info(place, head) for place, head in heads if place.tenant == tenant]
            shown = tuple(info for info in infos if info is not None)
            return Page(shown, None if page.cursor is None else page.cursor.encode(span.space))

        return Listing(read, after)

    async def get_session(self, session_id: str, *, context: Context | None = None) -> SessionInfo | None:
        """Return what is known of a session as a whole, None when it has no snapshot.

        Raises:
            InvalidError: the id is out of form.
            UnavailableError: the store could not be reached.
        """
        place = self._place(session_id, context)
        (record,) = (await self._store.read(Reads((place.head,)))).records.keys
        return stored.session_info(place, read_head(record))

    async def diff(self, old_id: str, new_id: str, *, context: Context | None = None) -> tuple[Difference, ...]:
        """Return the places at which the states of two snapshots differ, of one session or of two.

        Raises:
            InvalidError: an id is out of form.
            SnapshotUnknownError: there is no such snapshot.
            StateLostError: one of the states cannot be put together any more.
            UnavailableError: the store could not be reached.
        """
        tenant = self._tenant_of(context)
        old, new = checked_snapshot_id(old_id, "old_id"), checked_snapshot_id(new_id, "new_id")
        return differences(await self._plain_state(tenant, old), await self._plain_state(tenant, new))

    async def branches(self, session_id: str, *, context: Context | None = None) -> dict[str, str]:
        """Return the named branches of a session: by name the id of the last snapshot of each.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self.timeline(session_id, context=context).branches()

    # -- Writing ------------------------------------------------------------------------------------------------------

    async def save_snapshot(
        self,
        snapshot_id: str | None,
        mutator: Mutator[S],
        *,
        expect_leaf: str | NoLeaf | None = None,
        if_moved: Policy = "reject",
        context: Context | None = None,
        tx: Attempt | None = None,
    ) -> str | None:
        """Read a snapshot, have `mutator` say what it is to be, and store that, as one commit. Returns its id.

        The mutator gets a copy of what is stored, or None, and returns a `SnapshotInput` (or the changed `Snapshot`),
        or None to leave it: then nothing is written and None returned. It may run twice, so it has no effect of its
        own; what it raises comes back as it is. An id that is given wins over the one in what it returns; without
        either a UUID v4 is made. What is left out of session, parent, `created_at` and state stays as it was.

        With `expect_leaf` the newest leaf of the session must be this one (`NO_LEAF`: there must be none). If it has
        moved, `reject` raises, `branch` saves where the parent says, and `queue` saves behind the newest leaf, once a
        turn in progress there has ended (under `tx` it cannot wait, and raises).

        Raises:
            InvalidError: what the mutator returned, or the mutator itself, is out of form: no session, a snapshot that
                is its own parent or heir, a parent of another session, a state that is no JSON; nothing was written.
            LimitError: the state is larger than `limits.SNAPSHOT_STATE_BYTES`; nothing was written.
            SnapshotSettledError: the snapshot may not be changed like this any more; nothing was written.
            LeafMovedError: the newest leaf is another one, and that is to be refused; nothing was written.
            LeaseHeldError: a turn in progress did not end in time; nothing was written.
            ConflictError: rivals in other processes were faster again and again; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        tenant = self._tenant_of(context)
        checked = None if snapshot_id is None or snapshot_id == "" else checked_snapshot_id(snapshot_id)
        policy = checked_policy("if_moved", if_moved)
        saving = Saving(self._shelf, tenant, expect_leaf, policy, local=False)
        anywhere = Timeline(self._shelf, self._leases, Place(tenant, ""), local=False)
        return await anywhere.attempt(lambda tx: saving.save(tx, None, checked, mutator), tx)

    @staticmethod
    def reserve_snapshot_id() -> str:
        """Return a new id for a snapshot that is yet to be saved: a UUID v4."""
        return str(uuid.uuid4())

    async def abort(
        self, snapshot_id: str, *, context: Context | None = None, tx: Attempt | None = None
    ) -> Status | None:
        """Stop the turn at work on a snapshot: from this commit on it is aborted, whatever the turn does.

        The turn's body is cancelled, in whatever process it runs. Returns the status before: `pending` when this call
        stopped it, a terminal one when there was nothing to stop, None when there is no such snapshot.

        Raises:
            InvalidError: the id is out of form.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        timeline = await self._timeline_of(self._tenant_of(context), checked_snapshot_id(snapshot_id), tx)
        return None if timeline is None else await timeline.abort(snapshot_id, tx=tx)

    async def fork(
        self, snapshot_id: str, branch: str, *, context: Context | None = None, tx: Attempt | None = None
    ) -> None:
        """Give a name to a branch that begins behind a snapshot; a turn with `branch=` goes on with it.

        Nothing is copied: it writes one small record. The name stands for this snapshot until a turn is taken under it.

        Raises:
            SnapshotUnknownError: there is no such snapshot; nothing was written.
            InvalidError: the name is out of form, or taken; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        timeline = await self._timeline_of(self._tenant_of(context), checked_snapshot_id(snapshot_id), tx)
        if timeline is None:
            raise unknown(snapshot_id)
        await timeline.fork(snapshot_id, branch, tx=tx)

    async def drop_branch(self, session_id: str, branch: str, *, context: Context | None = None) -> bool:
        """Forget the name of a branch; its snapshots stay. False: there was no such name.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        return await self.timeline(session_id, context=context).drop_branch(branch)

    async def delete(self, snapshot_id: str, *, context: Context | None = None) -> bool:
        """Take one snapshot away; those behind it stay, and can be read as before. False: there was none.

        Raises:
            InvalidError: the id is out of form.
            LeaseHeldError: a turn is at work on it, or goes on from it; abort that first. Nothing was written.
            StateLostError: the state of one behind it cannot be put together; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: an answer was lost; perhaps written.
        """
        timeline = await self._timeline_of(self._tenant_of(context), checked_snapshot_id(snapshot_id))
        return timeline is not None and await timeline.delete(snapshot_id) > 0

    async def delete_session(self, session_id: str, *, context: Context | None = None) -> bool:
        """Take a session away with all its snapshots, branches and leases. False: there was none.

        It takes bounded steps. Whoever is at work on a turn there is stopped. Cancelled or failed, some of it is still
        there: the session and its listings show none of it, a snapshot may still be found by its id, and whoever saves
        into the session next, or deletes it again, takes the rest away first.

        Raises:
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        return await self.timeline(session_id, context=context).delete_all()

    async def prune(
        self,
        session_id: str,
        *,
        keep: int | None = None,
        older_than: timedelta | None = None,
        status: Collection[Status] | None = None,
        dry_run: bool = False,
        context: Context | None = None,
    ) -> Pruned:
        """Take snapshots of a session away, and leave every other one readable as before.

        Given several rules, what all of them name is taken. With `keep` so many of each line stay, its leaf among
        them; `older_than` names those created longer ago, `status` those of these statuses. The newest leaf, what a
        turn is at work on, what that goes on from, and the last snapshot of a named branch always stay. With
        `dry_run` nothing is taken, and what would be is told.

        Raises:
            InvalidError: no rule is given, or one is out of form.
            StateLostError: a state that has to be put on its own cannot be put together; some may have been taken.
            UnavailableError: the store could not be reached; some may have been taken.
            CommitUnknownError: an answer was lost; some may have been taken.
        """
        timeline = self.timeline(session_id, context=context)
        return await timeline.prune(keep=keep, older_than=older_than, status=status, dry_run=dry_run)

    async def expire(self, limit: int = limits.PAGE_MAX) -> int:
        """Store that pending snapshots have expired, up to `limit` whose workers are gone, and return how many.

        It looks through those of all tenants. Every reader does so for what it reads; this is for what nobody reads.

        Raises:
            InvalidError, LimitError: the limit is out of range.
            UnavailableError: the store could not be reached.
        """
        checked_limit(limit)
        expired = 0
        async for page in self._store.rank_pages(RankSpan(ROWS)):
            for record in page.records:
                place = Place.of(record.key.partition)
                reader: Reader[S] = Reader(self._shelf, place.tenant)
                found = await reader.at(place, at_of(record.key))
                if found is not None and found.is_due:
                    await reader.settle(found)
                    expired += 1
                if expired == limit:
                    return expired
        return expired

    # -- Watching -----------------------------------------------------------------------------------------------------

    def watch(self, snapshot_id: str, *, context: Context | None = None) -> AsyncGenerator[SnapshotInfo, None]:
        """Yield what the snapshot is, then what it is after each change of its status, up to and with a terminal one.

        In whatever process the change is made. A heartbeat is no change. An id that is not there yet is waited for; a
        snapshot that is deleted ends it. The state is never read. What happens while the caller is busy is merged.

        Raises:
            InvalidError: the id is out of form.
            ClosedError: the store is not open, or was closed.
        """
        tenant, checked = self._tenant_of(context), checked_snapshot_id(snapshot_id)
        return watching.follow(self._store, tenant, checked, self._looking(tenant, checked))

    def on_snapshot_state_change(
        self, snapshot_id: str, callback: Callable[[SnapshotInfo], object], *, context: Context | None = None
    ) -> Callable[[], None]:
        """Have `callback` told what `watch` yields, in the background, and return what stops that.

        Once stopped it is called no more. What it raises is logged, and reaches nobody. It may be a coroutine.

        Raises:
            InvalidError: the id is out of form, or the callback cannot be called.
            ClosedError: the store is not open.
        """
        return watching.tell(self._store, self.watch(snapshot_id, context=context), callback)

    # -- Turns --------------------------------------------------------------------------------------------------------

    def turn(
        self,
        session_id: str,
        *,
        if_busy: Policy = "reject",
        after: str | None = None,
        branch: str | None = None,
        wait: timedelta | float = limits.SNAPSHOT_WAIT,
        context: Context | None = None,
    ) -> TurnContext[S]:
        """Take a turn: `async with snapshots.turn(...) as turn`. It begins and ends with one commit each.

        It goes on from the newest leaf of the session, or from the last of the named `branch` (which begins with this
        turn if there is none of that name), or from the snapshot `after`. A leaf that is not completed is walked back
        over; with `after` it must be completed. Where another turn is in progress, `if_busy` says what to do: `reject`
        raises, `queue` waits for it up to `wait` (seconds, or a timedelta), `branch` goes on beside it, from the last
        completed snapshot. With `reject_branching` a session with more than one leaf is refused.

        Left without an error the turn is completed; by an exception it is failed, with the state as far as it came,
        and the exception goes on. Aborted from elsewhere, its body is cancelled and `TurnAbortedError` raised. Whoever
        dies in it leaves a snapshot that expires when the lease has ended.

        Raises:
            InvalidError: a value is out of form, or `after` is of another session.
            BranchedError: on entering: the session has more than one leaf, and that is to be refused.
            LeaseHeldError: on entering: another turn is in progress.
            NotResumableError, SnapshotUnknownError: on entering: `after` is not completed, or not there.
            ConflictError: on entering: rivals in other processes were faster again and again.
            LimitError: on leaving: the state is too large; the turn is stored as failed.
            TurnAbortedError, LeaseLostError: on leaving: it was stopped; nothing more of it was stored.
            UnavailableError: nothing was written. CommitUnknownError: perhaps written.
        """
        return self._turn(self._place(session_id, context), if_busy, wait, after=after, branch=branch)

    def regenerate(
        self,
        snapshot_id: str,
        *,
        if_busy: Policy = "branch",
        wait: timedelta | float = limits.SNAPSHOT_WAIT,
        context: Context | None = None,
    ) -> TurnContext[S]:
        """Take the turn of a snapshot once more: one that goes on from its parent, beside it; see `turn`.

        Raises:
            SnapshotUnknownError: on entering: there is no such snapshot.
            NotResumableError: on entering: its parent is not completed.
        """
        place = Place(self._tenant_of(context), "")  # the session is that of the snapshot
        return self._turn(place, if_busy, wait, beside=checked_snapshot_id(snapshot_id))

    def timeline(self, session_id: str, *, context: Context | None = None) -> Timeline[S]:
        """Return one session, in which ids of snapshots are looked up that need not differ from those of others.

        What is saved through it under an id of the caller's own is found through it only.

        Raises:
            InvalidError: the id is out of form.
        """
        return Timeline(self._shelf, self._leases, self._place(session_id, context))

    # -- Within -------------------------------------------------------------------------------------------------------

    def _turn(
        self,
        place: Place,
        if_busy: Policy,
        wait: timedelta | float,
        *,
        after: str | None = None,
        branch: str | None = None,
        beside: str | None = None,
    ) -> TurnContext[S]:
        wish = Wish(
            place=place,
            if_busy=checked_policy("if_busy", if_busy),
            wait=_seconds(wait),
            after=None if after is None else checked_snapshot_id(after, "after"),
            branch=None if branch is None else checked_name(branch),
            beside=beside,
            reject_branching=self._reject_branching,
        )
        return TurnContext(self._shelf, self._starter, wish)

    def _tenant_of(self, context: Context | None) -> str:
        if callable(self._tenant):
            return checked_tenant(self._tenant({} if context is None else context))
        return "" if self._tenant is None else self._tenant

    def _place(self, session_id: str, context: Context | None) -> Place:
        return Place(self._tenant_of(context), checked_session(session_id))

    async def _timeline_of(self, tenant: str, snapshot_id: str, tx: Attempt | None = None) -> Timeline[S] | None:
        """Return the session of a snapshot, None when no session has it."""
        known = await Reader(self._shelf, tenant).place_of(snapshot_id, tx)
        return None if known is None else Timeline(self._shelf, self._leases, known[0], local=False)

    async def _timeline_by(
        self, snapshot_id: str | None, session_id: str | None, context: Context | None, tx: Attempt | None
    ) -> Timeline[S] | None:
        """Return the session that exactly one of two ids names, None when no session has that snapshot."""
        resolve_id(snapshot_id, session_id)
        if session_id is not None:
            return self.timeline(session_id, context=context)
        return await self._timeline_of(self._tenant_of(context), checked_snapshot_id(snapshot_id), tx)

    async def _plain_state(self, tenant: str, snapshot_id: str) -> object:
        """Return the state of a snapshot as JSON data, whatever its type."""
        reader = Reader(self._shelf, tenant)
        found = await reader.find(snapshot_id, states=True)
        if found is None:
            raise unknown(snapshot_id)
        entry = await reader.entry(found)
        return None if entry is None else msgspec.json.decode(entry.state.text())

    def _looking(self, tenant: str, snapshot_id: str) -> watching.Read:
        async def read() -> Found | None:
            timeline = await self._timeline_of(tenant, snapshot_id)
            return None if timeline is None else await timeline.find(snapshot_id)

        return read


def _seconds(wait: timedelta | float) -> float:
    if isinstance(wait, timedelta):
        wait = wait.total_seconds()
    if not isinstance(cast("object", wait), int | float):
        raise InvalidError("wait", f"a timedelta or a number of seconds is asked for, not a {type(wait).__name__}")
    if not wait >= 0:
        raise InvalidError("wait", "it is not negative")
    return float(wait)
