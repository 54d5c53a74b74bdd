"""A session in hand: who it belongs to, its limits, and the way to its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from sojourn.kernel import Attempt, Guard, Key, Present, Reads, Store
from sojourn.kernel.clock import moment
from sojourn.sessions import layout, lifecycle
from sojourn.sessions.lifecycle import View
from sojourn.sessions.model import Lifetimes, SessionId
from sojourn.sessions.state import State

__all__ = ["Issued", "Session"]

T = TypeVar("T")


class Session:
    """A session as it stood when it was read. It carries the public id, never the token."""

    def __init__(
        self, store: Store, lifetimes: Lifetimes, view: View, *, begin: Callable[[Attempt], None] | None = None
    ) -> None:
        self.id: SessionId = view.session_id
        self.subject: str | None = None
        self.label: str | None = None
        self.signed_in_at: datetime | None = None
        self.expires_at: datetime | None = None
        self.idle_expires_at: datetime | None = None
        self.created_at: datetime | None = None
        self.seen_at: datetime = moment(view.now)
        self._store = store
        self._lifetimes = lifetimes
        self._begin = begin
        self._view = view
        if view.session is not None:
            facts = lifecycle.facts_of(view.session)
            self.subject = facts.subject
            self.label = facts.label
            self.signed_in_at = None if facts.signed_in_at is None else moment(facts.signed_in_at)
            self.expires_at = moment(view.session.expires_at or 0)
            self.idle_expires_at = moment(view.session.rank or 0)
        if view.trace is not None:
            self.created_at = moment(view.trace.rank or 0)
        if self.subject is not None and self.signed_in_at is None:  # it began with its subject
            self.signed_in_at = self.created_at

    def __repr__(self) -> str:
        """Show the public id and the subject."""
        return f"<Session {self.id} of {self.subject or 'nobody'}>"

    @property
    def is_stored(self) -> bool:
        """Say whether anything of it is stored; a client-minted session begins with its first write."""
        return self.expires_at is not None

    @property
    def alive(self) -> tuple[Guard, ...]:
        """The guards that hold while the session is neither expired nor revoked, for a transaction of your own."""
        return Present(layout.session(self.id)), Present(layout.idle(self.id))

    async def refreshed(self) -> Session:
        """Read the session anew, in one trip.

        Raises:
            SessionInvalidError: it has ended meanwhile.
            UnavailableError: the store could not be reached.
        """
        snapshot = await self._store.read(Reads(lifecycle.keys(self.id)))
        view = View.of(self.id, snapshot.records.keys, snapshot.now)
        if self._begin is None or not view.is_unknown:
            view.alive()
        return Session(self._store, self._lifetimes, view, begin=self._begin)

    def recall(self, tx: Attempt, *, absent: Iterable[Key] = ()) -> None:
        """Let an attempt go by this session as it was read, without a trip, and by there being no `absent` records.

        The commit holds only if that is still so; use it in a first attempt, and let the next one read.
        """
        records = (self._view.session, self._view.idle, self._view.trace)
        known = dict(zip(lifecycle.keys(self.id), records, strict=True))
        tx.assume({**known, **dict.fromkeys(absent)}, self._view.now)

    async def join(self, tx: Attempt, *, beside: Iterable[Key] = ()) -> timedelta:
        """Make a commit one of this session: it holds only if the session is alive then. Return how long it has left.

        A client-minted session that is not stored yet begins with it. Keys `beside` it are read in the same trip.

        Raises:
            SessionInvalidError: the session is unknown, has expired or was revoked.
            UnavailableError: the store could not be reached.
        """
        await tx.fetch((*lifecycle.keys(self.id), *beside))
        view = await lifecycle.view_in(tx, self.id)
        if self._begin is not None and view.is_unknown:
            self._begin(tx)
        else:
            view.alive()
        return view.left(self._lifetimes.absolute)

    async def as_of(self, tx: Attempt) -> Session:
        """Return the session as an attempt sees it; the commit holds only if it still is so.

        Raises:
            UnavailableError: the store could not be reached.
        """
        view = await lifecycle.view_in(tx, self.id)
        return Session(self._store, self._lifetimes, view, begin=self._begin)

    async def standing(self, tx: Attempt) -> Session:
        """Return the session as an attempt sees it, if it is alive; the commit holds only if it still is so.

        A client-minted one that is not stored yet is alive.

        Raises:
            SessionInvalidError: it has ended.
            UnavailableError: the store could not be reached.
        """
        view = await lifecycle.view_in(tx, self.id)
        if self._begin is None or not view.is_unknown:
            view.alive()
        return Session(self._store, self._lifetimes, view, begin=self._begin)

    def state(self, name: str, kind: type[T], *, migrations: Sequence[Callable[[Any], Any]] = ()) -> State[T]:
        """Return the named state of this session, of the given type; no I/O happens until it is used.

        `migrations` are described in `sojourn.sessions.state`.

        Raises:
            InvalidError: values of this type cannot be stored.
        """
        return State(self._store, self.id, name, kind, migrations, self._begin, self._lifetimes.absolute)


class Issued(msgspec.Struct, frozen=True):
    """A session and the token that opens it. The token is shown this once; only a keyed hash of it is stored."""

    token: str
    session: Session

    def __repr__(self) -> str:
        """Show the session; the token stays out of logs."""
        return f"<Issued token=… session={self.session!r}>"
