"""One call of `save_snapshot`: what it finds, what the mutator wants, and what is written."""

from __future__ import annotations

import uuid
from typing import Generic, TypeVar, cast

import msgspec

from sojourn.errors import InvalidError, LeafMovedError, LeaseHeldError, SnapshotUnknownError
from sojourn.kernel import Attempt
from sojourn.snapshots.layout import Place, minted
from sojourn.snapshots.model import TERMINAL, Mutator, NoLeaf, Policy, called
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head
from sojourn.snapshots.saving import Author, Wanted

__all__ = ["BusyError", "Saving", "busy_error", "unknown"]

S = TypeVar("S")


class BusyError(Exception):
    """A turn is in progress where something is to be saved behind it."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.error = busy_error(found)
        super().__init__(str(self.error))


def busy_error(found: Found) -> LeaseHeldError:
    """Return the error for a session in which a turn is in progress."""
    return LeaseHeldError(
        f"a turn is in progress in the session {found.place.session!r}, on the snapshot {found.row.id!r}; wait for"
        ' it to end, abort it, or, to take another turn, say if_busy="queue" or "branch"',
        found=found.lease,
        now=found.now,
    )


def unknown(snapshot_id: str) -> SnapshotUnknownError:
    """Return the error for a snapshot that is not there."""
    return SnapshotUnknownError(f"there is no snapshot {snapshot_id!r}")


class Saving(Generic[S]):
    """One call of `save_snapshot`: what it finds, asks the mutator, and writes; once or more often."""

    def __init__(
        self, shelf: Shelf[S], tenant: str, expect_leaf: str | NoLeaf | None, if_moved: Policy, *, local: bool
    ) -> None:
        self._shelf = shelf
        self._tenant = tenant
        self._reader = Reader(shelf, tenant)
        self._author = Author(shelf, self._reader, tenant, local=local)
        if expect_leaf is not None and not isinstance(cast("object", expect_leaf), str):
            raise InvalidError("expect_leaf", f"an id or NO_LEAF is asked for, not a {type(expect_leaf).__name__}")
        self._expected = None if expect_leaf is None else str(expect_leaf)
        self._if_moved = if_moved

    async def save(self, tx: Attempt, place: Place | None, snapshot_id: str | None, mutator: Mutator[S]) -> str | None:
        """Save within one attempt. Without a place, that of the snapshot or of what the mutator returns is taken."""
        found = await self._found(tx, place, snapshot_id)
        wanted = await self._wanted(found, mutator)
        if wanted is None:
            return None
        if found is None:
            place = self._place(place, wanted)
            snapshot_id = snapshot_id or wanted.id or str(uuid.uuid4())
            found = await self._found(tx, place, snapshot_id)
            if found is not None:  # its id is one of this session, or is another than was asked about
                wanted = await self._wanted(found, mutator)
                if wanted is None:
                    return None
        if found is not None:
            await self._expect(tx, found.place)
            made = await self._author.rewrite(tx, found, wanted)
        else:
            assert place is not None
            assert snapshot_id is not None
            if minted(snapshot_id) is not None:
                problem = f"{snapshot_id!r} names a place, as ids do that are made here, and nothing is there"
                raise InvalidError("snapshot_id", problem)
            parent = await self._expect(tx, place)
            if parent is not None:
                wanted = msgspec.structs.replace(wanted, parent=parent)
            made = await self._author.create(tx, place, snapshot_id, wanted)
        if made.entry is not None:  # known by its stamp: if it is never committed, nobody asks for it
            self._shelf.states.keep(made.place, made.entry)
        return made.row.id

    async def _found(self, tx: Attempt, place: Place | None, snapshot_id: str | None) -> Found | None:
        if snapshot_id is None:
            return None
        if place is None:
            return await self._reader.find(snapshot_id, tx=tx)
        return await self._reader.find_in(place, snapshot_id, tx=tx)

    async def _wanted(self, found: Found | None, mutator: Mutator[S]) -> Wanted | None:
        current = None if found is None else await self._reader.snapshot(found)
        given = called(mutator, current)
        return None if given is None else Wanted.of(given, self._shelf.codec, None if found is None else found.status)

    def _place(self, place: Place | None, wanted: Wanted) -> Place:
        if place is None:
            if wanted.session is None:
                raise InvalidError("session_id", "every snapshot belongs to a session; name it, beside or in the state")
            return Place(self._tenant, wanted.session)
        if wanted.session not in {None, place.session}:
            raise InvalidError("session_id", f"this is the session {place.session!r}, not {wanted.session!r}")
        return place

    async def _expect(self, tx: Attempt, place: Place) -> str | None:
        """Look whether the newest leaf is the one expected; return behind which to save instead, if so asked."""
        if self._expected is None:
            return None
        newest = read_head(await tx.get(place.head)).newest
        standing = "" if newest is None else newest.id
        if standing == self._expected or self._if_moved == "branch":
            return None
        if self._if_moved == "queue" and newest is not None:
            found = await self._reader.at(place, newest.at)
            if found is not None and found.status not in TERMINAL and found.is_held:
                raise BusyError(found)
            return standing
        raise LeafMovedError(
            f"the newest leaf of the session {place.session!r} is {standing or 'none'!r}, not"
            f" {self._expected or 'none'!r}; read it and decide again",
            expected=self._expected,
            newest=standing,
        )
