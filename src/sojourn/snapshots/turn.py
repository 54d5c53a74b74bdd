"""A turn: one step of an agent, from the snapshot it goes on from to the one it makes.

    async with snapshots.turn("chat-1") as turn:
        turn.messages.append({"role": "user", "content": question})
        turn.messages.append(await answer(turn.messages))

A turn begins with one commit, its pending snapshot and the lease of its branch, and ends with one: what has changed,
the status, the lease given back. Between them the lease is kept alive in the background, and it is that lease which
says that somebody is at work. Whoever aborts the snapshot ends the lease in the same commit, so the turn hears of it
by the lease, and its own last commit is refused by the data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableSequence
from typing import Any, Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    InvalidError,
    LeaseLostError,
    SojournError,
    TurnAbortedError,
)
from sojourn.kernel import Attempt, Committed, Lease, Now, Record
from sojourn.kernel.codec import check_plain
from sojourn.kernel.waiting import seen
from sojourn.snapshots import stored
from sojourn.snapshots.model import (
    Failure,
    FinishReason,
    SnapshotInfo,
    Status,
    checked_failure,
    checked_finish,
)
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head, settled
from sojourn.snapshots.recorded import Draft
from sojourn.snapshots.session import AgentSession
from sojourn.snapshots.starting import Begun, Known, Starter
from sojourn.snapshots.stored import Entry, Head, Row

__all__ = ["Detached", "Turn", "failure_of"]

S = TypeVar("S")


class Detached(Generic[S]):
    """A turn that goes on in the background. Anybody who knows its `snapshot_id` can watch and abort it."""

    def __init__(self, snapshot_id: str, work: Callable[[Turn[S]], Awaitable[object]]) -> None:
        self.snapshot_id = snapshot_id
        self.work = work
        self.ended = asyncio.Event()

    async def wait(self) -> None:
        """Wait until the turn has ended, however that was; its snapshot says how."""
        await self.ended.wait()


class Turn(Generic[S]):
    """A turn in progress. It changes nothing but its own snapshot, and that at its end.

    `messages` and `state` are what it changes: `messages.append` costs what is appended, `state` shows the whole as a
    draft and costs its size. `session` is the same as an `AgentSession`.
    """

    def __init__(self, shelf: Shelf[S], starter: Starter[S], begun: Begun) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._starter = starter
        self._begun = begun
        self._place = begun.made.place
        self._records = begun.records()
        self._draft: Draft[S] = Draft(shelf.codec, None if begun.base is None else begun.base.state)
        self._settled: Status | None = None
        self._stop: SojournError | None = None
        self.detached: Detached[S] | None = None
        self.is_undecided = False
        """An attempt has its end, and is not committed yet."""
        self.is_left = False
        """Its block has been left."""
        self.session: AgentSession[S] = AgentSession[S].over(self._draft, session_id=self._place.session)

    @property
    def snapshot_id(self) -> str:
        """The id of the snapshot that this turn makes; things outside can carry it as well."""
        return self._begun.made.row.id

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._place.session

    @property
    def parent_id(self) -> str | None:
        """The id of the snapshot that it goes on from, None at the root."""
        return self._begun.made.row.parent

    @property
    def messages(self) -> MutableSequence[Any]:
        """The messages of the state. An append is recorded and costs what is appended, however many there are.

        Raises:
            InvalidError: the type of the state has no messages.
        """
        return self._draft.messages

    @property
    def state(self) -> S:
        """The whole state as a draft; what is changed in it is found at the end of the turn.

        Raises:
            CorruptError: the state is not of the type asked for.
        """
        return self._draft.state

    @state.setter
    def state(self, value: S) -> None:
        self._draft.state = value

    @property
    def has_ended(self) -> bool:
        """Say whether it is completed or failed, and stored as such."""
        return self._settled is not None

    @property
    def stopped(self) -> SojournError | None:
        """Why the turn may not go on: it was aborted, or its lease is lost; None while it may."""
        return self._stop

    async def complete(
        self, finish_reason: FinishReason | str | None = None, *, tx: Attempt | None = None
    ) -> SnapshotInfo | None:
        """End the turn as completed, in one commit, or with whatever else `tx` commits.

        The end of the block does so by itself. Returns the snapshot; None under `tx`, which decides.

        Raises:
            TurnAbortedError: it was aborted before; nothing was written.
            LeaseLostError: its lease ended or was taken; nothing was written.
            ClosedError: it has ended already.
            InvalidError, LimitError: the state cannot be stored; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        return await self._end(Status.COMPLETED, checked_finish(finish_reason), None, tx)

    async def fail(self, error: Failure | BaseException | str, *, tx: Attempt | None = None) -> SnapshotInfo | None:
        """End the turn as failed, with the state as far as it came; an exception at the end of the block does so.

        Raises:
            TurnAbortedError: it was aborted before; nothing was written.
            LeaseLostError: its lease ended or was taken; nothing was written.
            ClosedError: it has ended already.
            InvalidError, LimitError: the error or the state cannot be stored; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        return await self._end(Status.FAILED, FinishReason.FAILED, checked_failure(failure_of(error)), tx)

    def detach(self, work: Callable[[Turn[S]], Awaitable[object]]) -> Detached[S]:
        """Have `work` go on with this turn in the background once the block is left, and end the turn.

        What the turn has changed by then is stored with its pending snapshot, for others to see. Closing the store
        cancels the work, and the turn fails then.

        Raises:
            InvalidError: it cannot be called. ClosedError: the turn has ended, or is detached already.
        """
        if not callable(work):
            raise InvalidError("work", "it cannot be called")
        if self._settled is not None or self.detached is not None:
            raise ClosedError("this turn has ended, or is detached already")
        self.detached = Detached(self.snapshot_id, work)
        return self.detached

    async def _end(
        self, status: Status, finish: FinishReason | None, error: Failure | None, tx: Attempt | None
    ) -> SnapshotInfo | None:
        self._check_at_work()
        ending = _Ending(status, finish, error, is_alone=tx is None)
        if tx is not None:
            await self._write_end(tx, ending)
            return None
        await self._store.run(lambda tx: self._write_end(tx, ending))
        return stored.info(self._place, ending.row) if ending.row is not None else None

    def _check_at_work(self) -> None:
        if self._settled is not None:
            raise ClosedError(f"this turn has ended already: it is {self._settled.value}")
        if self._stop is not None:
            raise self._stop

    async def _write_end(self, tx: Attempt, ending: _Ending) -> None:
        """Add the end of the turn to an attempt."""
        lease = self._begun.lease
        row = await self._standing(tx)
        row, entry, head = await self._with_state(tx, row)
        row = settled(row, ending.status, self._now(), ending.finish)
        ending.row = row = msgspec.structs.replace(row, error=ending.error)
        tx.write(stored.put_row(self._place, self._begun.made.at, row), *lease.ending)
        tx.put(self._place.head, stored.encode(head), rank=Now())
        lease.is_ending = self.is_undecided = True
        if entry is not None:  # known by its stamp: if it is never committed, nobody asks for it
            self._shelf.states.keep(self._place, entry)

        def became(outcome: Committed | CommitUnknownError | None) -> None:
            self.is_undecided = False
            if isinstance(outcome, Committed):
                self._settled = ending.status
                self._draft.close()
                lease.let_go()
                if ending.is_alone:
                    self._note(outcome, row, entry, head)
            elif self.is_left and not ending.is_alone:  # nobody is there any more to give it back
                self._store.spawn(lease.release(), finish=True).add_done_callback(seen)
            elif outcome is None:
                lease.keep_on()

        tx.when_settled(became)

    async def _standing(self, tx: Attempt) -> Row:
        """Return this turn's record as it stands, if nobody has ended the turn, and guard that this holds.

        Raises:
            TurnAbortedError: it was aborted. LeaseLostError: its lease ended or was taken.
        """
        lease, at = self._begun.lease, self._begun.made.at
        if tx.number == 1 and not tx.has_writes:
            tx.assume(self._records, self._now())
            tx.guard(lease.held)
        else:
            held = await tx.get(lease.key)
            if held is None or held.revision != lease.token:
                raise await self._ended_by_others()
        record = await tx.get(self._place.row(at))
        row = None if record is None else stored.row(record)
        if row is None or row.status is not Status.PENDING:
            raise await self._ended_by_others()
        return row

    async def _with_state(self, tx: Attempt, row: Row) -> tuple[Row, Entry | None, Head]:
        """Add the state to an attempt; return the record, the state, and the head of the session with its size."""
        head = read_head(await tx.get(self._place.head))
        state = self._draft.result()
        if state is None:
            return row, None, head
        entry, size, writes = stored.put_state(
            self._place, self._begun.made.at, state, self._begun.base, stored.stamp(), before=row.stored
        )
        tx.write(*writes)
        before = row.stored
        row = msgspec.structs.replace(
            row, stamp=entry.stamp, size=state.size, stored=size, way=entry.way, base=entry.base
        )
        return row, entry, msgspec.structs.replace(head, stored=head.stored + size - before)

    def _now(self) -> int:
        """Return the engine's time, as far as this process knows it."""
        return self._begun.now + int((self._store.clock.monotonic() - self._begun.clock) * 1_000)

    def _note(self, outcome: Committed, row: Row, entry: Entry | None, head: Head) -> None:
        """Keep what is known now, for the next turn."""
        place, at = self._place, self._begun.made.at
        if outcome.revision is None or row.status is not Status.COMPLETED or outcome.repeated:
            return
        if entry is not None:
            self._shelf.states.keep(place, entry, instead_of=self._begun.made.replaced)
        if head.newest is None or head.newest.at != at:
            return
        record = Record(place.row(at), stored.encode_row(place, at, row), outcome.revision)
        found = Found(place, at, record, row, None, outcome.now)
        tip = stored.encode(stored.Tip(at.number, row.created, row.id))
        self._starter.note(
            Known(
                found,
                Record(place.head, stored.encode(head), outcome.revision, rank=outcome.now),
                Record(place.branch(at.branch), tip, self._begun.revision),
                self._store.clock.monotonic(),
            )
        )

    async def _ended_by_others(self) -> SojournError:
        """Return the error for a turn that may not go on, by what its record says."""
        reader = Reader(self._shelf, self._place.tenant)
        found = await reader.at(self._place, self._begun.made.at)
        if found is not None and found.row.status is Status.ABORTED:
            return TurnAbortedError(f"the turn on {self.snapshot_id!r} was aborted")
        if found is not None and found.is_due:
            await reader.settle(found)
        return self._lost()

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"the turn on {self.snapshot_id!r} lost its lease: it gave no sign of life for too long, or was deleted"
        )

    async def store_partial(self) -> None:
        """Store the state as far as it came, for others to read while the turn goes on.

        It stays with the snapshot however the turn ends, until its end stores another.

        Raises:
            TurnAbortedError: it was aborted before; nothing was written.
            LeaseLostError: its lease ended or was taken; nothing was written.
            ClosedError: it has ended already.
            InvalidError, LimitError: the state cannot be stored; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        self._check_at_work()

        async def work(tx: Attempt) -> None:
            row, entry, head = await self._with_state(tx, await self._standing(tx))
            if entry is None:
                return
            self._shelf.states.keep(self._place, entry)
            row = msgspec.structs.replace(row, token=self._begun.lease.token)
            put = stored.put_row(self._place, self._begun.made.at, row)
            tx.write(put)
            tx.put(self._place.head, stored.encode(head), rank=Now())

            def became(outcome: Committed | CommitUnknownError | None) -> None:
                if isinstance(outcome, Committed) and (revision := outcome.revision) is not None:
                    written = {put.key: put.value, self._place.head: stored.encode(head)}
                    self._records = {key: Record(key, value, revision, outcome.now) for key, value in written.items()}

            tx.when_settled(became)

        await self._store.run(work)

    def forget(self) -> None:
        """Forget what has changed, since it cannot be stored."""
        self._draft = Draft(self._shelf.codec, None if self._begun.base is None else self._begun.base.state)

    @property
    def lease(self) -> Lease:
        """The lease of its branch."""
        return self._begun.lease

    async def look(self) -> None:
        """Find out why this turn may not go on, after its lease was said to be lost."""
        if self._settled is not None or self._stop is not None:
            return
        try:
            self._stop = await self._ended_by_others()
        except SojournError as error:
            self._stop = self._lost()
            self._stop.__cause__ = error


class _Ending:
    """How a turn is to end, and its record once that is written."""

    def __init__(self, status: Status, finish: FinishReason | None, error: Failure | None, *, is_alone: bool) -> None:
        self.is_alone = is_alone
        self.status = status
        self.finish = finish
        self.error = error
        self.row: Row | None = None


def failure_of(error: Failure | BaseException | str) -> Failure:
    """Return what is stored of an error: its text, its code if it has one, and details that it carries on purpose."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, str):
        return Failure(error)
    if isinstance(error, asyncio.CancelledError):
        return Failure("the turn was cancelled", status="cancelled")
    details = getattr(error, "details", None)
    try:
        check_plain("error", details, limits.JSON_DEPTH)
    except InvalidError:
        details = None
    status = getattr(error, "code", None)
    return Failure(str(error) or type(error).__name__, status if isinstance(status, str) else None, details)
