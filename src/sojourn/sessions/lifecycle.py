"""How a session begins, goes on and ends, as writes and as what is read.

A session is alive while its record and its idle mark are both there. Every write of a face adds `View.guards` or reads
both in its attempt, so that a session which has ended is not revived by a request still in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import SessionExpiredError, SessionRevokedError, SessionUnknownError
from sojourn.kernel import Attempt, Delete, DeleteSpan, Key, Now, Put, Record, Touch, Write
from sojourn.kernel.codec import codec
from sojourn.sessions import layout
from sojourn.sessions.model import Ending, Facts, Lifetimes, SessionId

__all__ = ["View", "beginning", "ending", "facts_of", "keys", "touching"]

_MILLISECOND: Final = timedelta(milliseconds=1)
_FACTS: Final = codec(Facts)
IN_GRACE: Final = b"g"
"""The value of a secret that has been rotated away and lives for its grace only."""
RETIRED: Final = b"r"
"""The value of a secret that a sign-in has ended: it opens nothing, and tells for a while what became of it."""


class View(msgspec.Struct, frozen=True):
    """What stands in a session's own partition at one instant."""

    session_id: SessionId
    session: Record | None
    idle: Record | None
    trace: Record | None
    now: int

    @classmethod
    def of(cls, session_id: SessionId, records: Sequence[Record | None], now: int) -> View:
        """Make a view of the records behind `keys`, in that order."""
        session, idle, trace = records
        return cls(session_id, session, idle, trace, now)

    @property
    def is_alive(self) -> bool:
        """Say whether neither limit has been reached and nobody has ended it."""
        return self.session is not None and self.idle is not None

    @property
    def is_unknown(self) -> bool:
        """Say whether there has been no such session, or so long ago that nothing is left of it."""
        return self.session is None and self.trace is None

    def alive(self) -> Record:
        """Return the session's record.

        Raises:
            SessionUnknownError: there is no such session.
            SessionExpiredError: a limit was reached.
            SessionRevokedError: it was ended.
        """
        if self.session is not None and self.idle is not None:
            return self.session
        if self.is_unknown:
            raise SessionUnknownError("there is no such session")
        if self.trace is not None and self.trace.value == Ending.REVOKED.encode():
            raise SessionRevokedError("the session was ended; sign in again")
        raise SessionExpiredError("the session has expired; sign in again")

    def left(self, absolute: timedelta) -> timedelta:
        """Return how long the session has until its absolute limit; all of it if it is just beginning."""
        ends = None if self.session is None else self.session.expires_at
        return absolute if ends is None else max(ends - self.now, 1) * _MILLISECOND

    def wants_touch(self, lifetimes: Lifetimes) -> bool:
        """Say whether a touch would now move the idle deadline by a step."""
        step = _ms(lifetimes.touch_every)
        deadline = -(-(self.now + _ms(lifetimes.idle)) // step) * step
        return self.idle is not None and (self.idle.expires_at or 0) < deadline


def keys(session_id: SessionId) -> tuple[Key, Key, Key]:
    """The keys behind a view, in its order."""
    return layout.session(session_id), layout.idle(session_id), layout.trace(session_id)


async def view_in(tx: Attempt, session_id: SessionId) -> View:
    """Read the session within an attempt, in one trip; what was read becomes guards.

    Raises:
        UnavailableError: the store could not be reached.
    """
    await tx.fetch(keys(session_id))
    return View.of(session_id, [await tx.get(key) for key in keys(session_id)], await tx.now())


def facts_of(record: Record) -> Facts:
    """Return the facts stored in a session's record."""
    return _FACTS.decode(record.value)


def beginning(session_id: SessionId, digest: str, facts: Facts, lifetimes: Lifetimes) -> tuple[Write, ...]:
    """Return the writes that begin a session."""
    return (
        Put(layout.trace(session_id), Ending.EXPIRED.encode(), Now(), lifetimes.absolute + limits.SESSION_TOMBSTONE),
        recording(session_id, facts, lifetimes),
        Put(layout.idle(session_id), b"", ttl=_idle_deadline(lifetimes)),
        Put(layout.secret(session_id, digest), b"", ttl=lifetimes.absolute),
    )


def recording(session_id: SessionId, facts: Facts, lifetimes: Lifetimes) -> Put:
    """Return the write of a session's record, which begins its absolute limit anew."""
    return Put(layout.session(session_id), _FACTS.encode(facts), _idle_deadline(lifetimes), lifetimes.absolute)


def touching(session_id: SessionId, lifetimes: Lifetimes) -> tuple[Write, ...]:
    """Return the writes that note activity; within one step they change nothing."""
    rank = Touch(layout.session(session_id), rank=_idle_deadline(lifetimes))
    return (rank, touching_idle(session_id, lifetimes))


def touching_idle(session_id: SessionId, lifetimes: Lifetimes) -> Touch:
    """Return the write that begins the idle limit anew."""
    return Touch(layout.idle(session_id), ttl=_idle_deadline(lifetimes))


def retiring(secret: Record, grace: timedelta) -> Write | None:
    """Return the write that ends a secret after the grace; None when its grace has begun already."""
    if not grace:
        return Delete(secret.key)
    return None if secret.value == IN_GRACE else Put(secret.key, IN_GRACE, ttl=grace)


def ending(session_id: SessionId, how: Ending, began: int | None, owned: Iterable[str]) -> tuple[Write, ...]:
    """Return the writes that end a session and leave its trace.

    `began` is the rank of the trace so far, `owned` the spaces in which the session owns records.
    """
    return (
        DeleteSpan(layout.secrets_of(session_id)),
        *(DeleteSpan(layout.owned(space, session_id)) for space in owned),
        Delete(layout.session(session_id)),
        Delete(layout.idle(session_id)),
        Put(layout.trace(session_id), how.encode(), began if began is not None else Now(), limits.SESSION_TOMBSTONE),
    )


def _idle_deadline(lifetimes: Lifetimes) -> Now:
    return Now(_ms(lifetimes.idle), step=_ms(lifetimes.touch_every))


def _ms(duration: timedelta) -> int:
    return duration // _MILLISECOND
