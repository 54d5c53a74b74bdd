"""How a turn begins: behind which snapshot, on which branch, and what happens when somebody is at work there.

What is needed of a session is its head, the snapshot to go on from, and the tip of that one's branch. Whoever has just
ended a turn knows all three, and begins the next one with a single commit; that holds only if they still stand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import ConflictError, InvalidError, LeaseHeldError, NotResumableError
from sojourn.kernel import Attempt, Key, Lease, Leases, Reads, Record, Transaction, ids
from sojourn.kernel.turns import Turns
from sojourn.snapshots import stored
from sojourn.snapshots.erasure import erase
from sojourn.snapshots.layout import At, Place, at_of
from sojourn.snapshots.model import Policy, Status
from sojourn.snapshots.mutating import busy_error, unknown
from sojourn.snapshots.reading import Found, Reader, Shelf
from sojourn.snapshots.saving import Author, ErasingError, Made, Wanted, Work
from sojourn.snapshots.stored import Entry

__all__ = ["Begun", "Known", "Starter", "Wish"]

S = TypeVar("S")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Where a turn is to begin: by default behind the newest leaf.

    Else `after` a snapshot, on a `branch`, or `beside` a snapshot, which then names the session.
    """

    place: Place
    if_busy: Policy
    wait: float
    after: str | None = None
    branch: str | None = None
    beside: str | None = None
    is_root: bool = False
    reject_branching: bool = False


class Known(msgspec.Struct, frozen=True):
    """What the process that ended a turn knows of its session, at `clock` of its monotonic seconds."""

    found: Found
    head: Record
    tip: Record
    clock: float


class Begun(msgspec.Struct, frozen=True):
    """A turn that has begun: its lease, its snapshot, and what it goes on from.

    `revision` is that of the commit, `now` the engine's time then, at `clock` of this process's monotonic seconds.
    """

    lease: Lease
    made: Made
    base: Entry | None
    revision: int
    now: int
    clock: float

    def records(self) -> dict[Key, Record]:
        """Return what was written of the session and of the snapshot."""
        place, at = self.made.place, self.made.at
        written = {
            place.head: stored.encode(self.made.head),
            place.row(at): stored.encode_row(place, at, self.made.row),
        }
        return {key: Record(key, value, self.revision, self.now) for key, value in written.items()}


class _Plan(msgspec.Struct, frozen=True):
    """Behind which snapshot a turn begins, and who is at work there; `dead` is a pending one that has expired.

    `seen` are the records by which that was found: should they change before the turn has begun, it is planned anew.
    """

    parent: Found | None = None
    busy: Found | None = None
    dead: Found | None = None
    known: Known | None = None
    seen: Mapping[Key, Record | None] = {}
    now: int = 0


class Starter(Generic[S]):
    """Begins turns, for one `Snapshots`."""

    def __init__(self, shelf: Shelf[S], leases: Leases, holder: str, ttl: timedelta) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._leases = leases
        self._holder = holder
        self._ttl = ttl
        self._turns: Turns[str] = Turns()
        self._known: OrderedDict[str, Known] = OrderedDict()

    def note(self, known: Known) -> None:
        """Keep what is known of a session after a turn on it."""
        partition = known.found.place.partition
        self._known.pop(partition, None)
        self._known[partition] = known
        if len(self._known) > limits.SNAPSHOT_CACHE_SESSIONS:
            self._known.popitem(last=False)

    async def start(self, wish: Wish) -> Begun:
        """Begin a turn: its pending snapshot and the lease of its branch are one commit.

        Cancelled, it gives the lease back; the snapshot expires then.

        Raises:
            LeaseHeldError: somebody is at work there, and that is to be refused, or did not end in time.
            NotResumableError: it was to go on from a snapshot that is not completed.
            SnapshotUnknownError, InvalidError: it was to go on from one that is not there, or of another session.
            ConflictError: rivals in other processes were faster again and again.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; if it has begun, it expires.
        """
        deadline = self._store.clock.monotonic() + wish.wait
        if wish.beside is not None:
            wish = await self._beside(wish, wish.beside)
        held: Lease | None = None
        try:
            while True:
                found = await self._tried(wish, held)
                if isinstance(found, Begun):
                    held = None if found.lease is held else held
                    return found
                if held is not None:
                    await held.release()
                left = max(deadline - self._store.clock.monotonic(), 0)
                # Who has waited begins with the lease it was given, so that nobody comes between.
                held = await self._leases.acquire(found, holder=self._holder, ttl=self._ttl, wait=left)
        finally:
            if held is not None:
                await held.release()

    async def _tried(self, wish: Wish, held: Lease | None) -> Begun | Key:
        """Begin a turn, or return the lease that has to be waited for."""
        for attempt in range(1, limits.RUN_ATTEMPTS + 1):
            # One at a time in this process: else each would meet the others' conflicts.
            await self._turns.take((wish.place.partition,))
            try:
                plan = await self._plan(wish)
                if plan.busy is None or wish.if_busy == "branch":
                    return await self._begin(wish, plan, held)
                if wish.if_busy == "reject":
                    raise busy_error(plan.busy)
                return wish.place.lease(plan.busy.at.branch)
            except ErasingError as erasing:
                await erase(self._store, erasing.place)
            except _TakenError as taken:
                if attempt >= limits.SNAPSHOT_GLANCES:  # before that the next plan may see who has it
                    if wish.if_busy == "reject":
                        raise taken.error from None
                    return taken.lease
            except ConflictError:
                if attempt == limits.RUN_ATTEMPTS:
                    raise
            finally:
                self._turns.give_back((wish.place.partition,))
        raise ConflictError(f"rivals were faster in {limits.RUN_ATTEMPTS} attempts; nothing was written")

    async def _plan(self, wish: Wish) -> _Plan:
        reader = Reader(self._shelf, wish.place.tenant)
        if wish.is_root:
            return _Plan()
        if wish.after is not None:
            found = await self._exactly(wish, wish.after, reader)
            return _Plan(found, seen=await self._unnamed(wish), now=found.now)
        known = self._known.pop(wish.place.partition, None) if wish.branch is None else None
        if known is not None and not (wish.reject_branching and stored.head(known.head).leaves > 1):
            return _Plan(known.found, known=known)
        seen: dict[Key, Record | None] = {}
        if wish.branch is not None:
            at, now = await self._named(wish, wish.branch, seen)
            if at is not None:
                return await self._behind(reader, await reader.at(wish.place, at, states=True), seen, now)
        look = await reader.look(wish.place, states=True, reject_branching=wish.reject_branching)
        seen[wish.place.head] = look.head
        if look.tip is not None:
            seen[look.tip.key] = look.tip
        return await self._behind(reader, look.newest, seen, look.now)

    async def _unnamed(self, wish: Wish) -> dict[Key, Record | None]:
        """Check that the branch which is to begin behind a given snapshot has a name of its own."""
        if wish.branch is None:
            return {}
        key = wish.place.name(wish.branch)
        if (await self._store.read(Reads((key,)))).records.keys[0] is not None:
            problem = f"the session {wish.place.session!r} has a branch {wish.branch!r} already; leave out `after`"
            raise InvalidError("branch", problem)
        return {key: None}

    async def _exactly(self, wish: Wish, after: str, reader: Reader[S]) -> Found:
        """Return the snapshot of this id, from which a turn can go on."""
        found = await reader.find(after, states=True)
        if found is None:
            raise unknown(after)
        if found.place != wish.place:
            raise InvalidError("after", f"{after!r} is a snapshot of the session {found.place.session!r}")
        if found.status is not Status.COMPLETED:
            raise NotResumableError(
                f"a turn goes on from a completed snapshot, and {after!r} is {found.status.value}",
                status=found.status.value,
            )
        return found

    async def _beside(self, wish: Wish, snapshot_id: str) -> Wish:
        """Return the wish to begin where the turn of this snapshot began."""
        found = await Reader(self._shelf, wish.place.tenant).find(snapshot_id)
        if found is None:
            raise unknown(snapshot_id)
        parent = found.row.parent
        return msgspec.structs.replace(wish, place=found.place, after=parent, is_root=parent is None)

    async def _named(self, wish: Wish, branch: str, seen: dict[Key, Record | None]) -> tuple[At | None, int]:
        """Return where the last snapshot of a named branch stands, None when there is no such branch; and the time.

        What says so is added to `seen`.
        """
        key = wish.place.name(branch)
        answer = await self._store.read(Reads((key,)))
        (seen[key],) = (record,) = answer.records.keys
        if record is None:
            return None, answer.now
        name = stored.name(record)
        if name.branch is None:
            return At(*name.at), answer.now
        key = wish.place.branch(name.branch)
        look = (await self._store.read(Reads((key,), (wish.place.last_row(name.branch),)))).records
        (seen[key],) = look.keys
        return next((at_of(record.key) for record in look.spans[0]), At(*name.at)), answer.now

    async def _behind(self, reader: Reader[S], tip: Found | None, seen: Mapping[Key, Record | None], now: int) -> _Plan:
        """Return a plan to go on from a tip: from itself, or from its nearest ancestor that is completed."""
        if tip is None or tip.status is Status.COMPLETED:
            return _Plan(tip, seen=seen, now=now)
        busy = tip if tip.status is Status.PENDING else None
        above: Found | None = tip
        while above is not None and above.status is not Status.COMPLETED:
            above = await reader.parent(above, states=True)
        return _Plan(above, busy, tip if tip.is_due else None, seen=seen, now=now)

    async def _begin(self, wish: Wish, plan: _Plan, held: Lease | None) -> Begun:
        """Commit the beginning of a turn, under a lease that is held already or that is taken with it."""
        reader = Reader(self._shelf, wish.place.tenant)
        base = None if plan.parent is None else await reader.entry(plan.parent)
        attempt = self._attempt(wish, plan)
        author = Author(self._shelf, reader, wish.place.tenant)
        wanted = Wanted(parent=None if plan.parent is None else plan.parent.row.id, status=Status.PENDING)
        work = Work(int(self._ttl.total_seconds() * 1_000), 0 if held is None else held.token)
        made = await author.create(attempt, wish.place, None, wanted, work=work, name=wish.branch)
        key = wish.place.lease(made.at.branch)
        if held is not None and held.key != key:  # it is for another branch, and a token of its own comes with this one
            return await self._begin(wish, plan, None)
        transaction = attempt.transaction(None)
        clock = self._store.clock.monotonic()
        if held is not None:
            begun = await self._store.commit(
                Transaction(ids.new(), (held.held, *transaction.guards), transaction.writes)
            )
            assert begun.revision is not None
            return Begun(held, made, base, begun.revision, begun.now, clock)
        try:
            lease = await self._leases.acquire(
                key, holder=self._holder, ttl=self._ttl, guards=transaction.guards, writes=transaction.writes
            )
        except LeaseHeldError as error:
            raise _TakenError(key, error) from None
        return Begun(lease, made, base, lease.token, lease.granted.now, clock)

    def _attempt(self, wish: Wish, plan: _Plan) -> Attempt:
        """Return an attempt that goes by what is known already."""
        attempt = Attempt(1, self._store.read, _at_once)
        if plan.seen:
            attempt.assume(plan.seen, plan.now)
        if plan.known is not None:
            now = plan.known.found.now + int((self._store.clock.monotonic() - plan.known.clock) * 1_000)
            attempt.assume({record.key: record for record in (plan.known.head, plan.known.tip)}, now)
        if plan.parent is not None:
            attempt.assume({plan.parent.record.key: plan.parent.record}, plan.parent.now)
        if plan.dead is not None:
            attempt.assume({plan.dead.record.key: plan.dead.record}, plan.dead.now)
            attempt.write(stored.put_row(wish.place, plan.dead.at, plan.dead.expired))
        return attempt


class _TakenError(Exception):
    """The branch on which a turn was to begin has a lease, though none of its snapshots says so: for a moment only."""

    def __init__(self, lease: Key, error: LeaseHeldError) -> None:
        super().__init__(str(error))
        self.lease = lease
        self.error = error


async def _at_once(partition: str, waits: bool) -> None:  # noqa: FBT001  the form that an attempt asks for
    """Wait for nobody: whoever begins a turn has the session's turn in this process."""
