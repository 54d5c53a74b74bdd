"""The sessions of one store: issue, resolve, rotate, revoke, list.

sessions = Sessions(store)
issued = await sessions.issue()                             # issued.token goes to the browser, once
session = await sessions.resolve(token)                     # one round trip
issued = await sessions.rotate(token, subject="ada")        # signing in: same state, new token
await sessions.revoke_all("ada", keep=session.id)           # sign out everywhere else
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial

from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import CommitUnknownError, InvalidError, SessionInvalidError, UnavailableError
from sojourn.kernel import (
    Absent,
    Attempt,
    Committed,
    Delete,
    Now,
    Put,
    RankAtMost,
    RankSpan,
    Reads,
    Store,
    Transaction,
    ids,
)
from sojourn.sessions import layout, lifecycle, model
from sojourn.sessions.door import Door
from sojourn.sessions.lifecycle import View
from sojourn.sessions.model import Ending, Facts, Keyring, Lifetimes, Mode, SessionId, Terms
from sojourn.sessions.rotation import Rotation, rotate
from sojourn.sessions.session import Issued, Session

__all__ = ["Sessions"]

_log = logging.getLogger(__name__)


class Sessions:
    """Sessions with an idle and an absolute limit, opened by tokens of which only keyed hashes are stored.

    `keys`, newest first, are what the hashes are made with: give them from your own secrets, and add a new one in
    front to change them. Without them one is made once and kept in the store, next to what it protects.
    """

    def __init__(
        self,
        store: Store,
        *,
        idle: timedelta = limits.SESSION_IDLE,
        absolute: timedelta = limits.SESSION_ABSOLUTE,
        mode: Mode = Mode.ISSUED,
        keys: Sequence[bytes] | None = None,
    ) -> None:
        self.store = store
        self.mode = mode
        self.lifetimes = Lifetimes(idle, absolute)
        self._terms = Terms(mode, self.lifetimes, [layout.STATE])
        self._door = Door(store, self._terms, None if keys is None else Keyring(keys))

    def own(self, space: str) -> None:
        """Make the records of a space that stand in a session's partition end with it, and stay while it stays.

        For faces that keep records by session, at most `limits.SESSION_STATES` a session and space. The store keeps the
        space's name, so that other processes know of it from when they start.
        """
        if space not in self._terms.owned:
            self._terms.owned.append(space)

    async def issue(self, subject: str | None = None, *, label: str | None = None, tx: Attempt | None = None) -> Issued:
        """Begin a session and return it with its token.

        `subject` is whom it belongs to, `label` what a person recognises it by in a list ("Firefox on Linux").
        With `tx` it begins with that commit.

        Raises:
            InvalidError: subject or label are out of form, or the browser makes the ids here; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; a session that nobody has the token of may have begun.
        """
        if self.mode is Mode.MINTED:
            raise InvalidError("mode", "client-minted sessions begin in the browser; resolve the id it sends")
        facts = Facts(_checked_subject(subject), _checked_label(label))
        session_id, token = model.new_token()
        (digest, *_) = (await self._door.keyring()).digests("secret", token)
        await self._index(subject, session_id)
        writes = lifecycle.beginning(session_id, digest, facts, self.lifetimes)
        if tx is not None:
            tx.guard(Absent(layout.trace(session_id)))
            tx.write(*writes)
            return Issued(token, self._session(await lifecycle.view_in(tx, session_id)))
        # The index is written first, so whoever ends all sessions of the subject meanwhile leaves a trace of this one.
        guards = (Absent(layout.trace(session_id)),)
        reads = Reads(lifecycle.keys(session_id))
        committed = await self.store.commit(Transaction(ids.new(), guards, writes, reads))
        return Issued(token, self._session(View.of(session_id, committed.records.keys, committed.now)))

    async def resolve(self, token: str, *, tx: Attempt | None = None) -> Session:
        """Return the session that the token opens, in one round trip, and note that it was used.

        Use is noted coarsely (`Lifetimes.touch_every`), by a touch that changes no data and wakes nobody; only then
        is there a second trip. With `tx` the commit holds only if the session is still alive, and no use is noted.

        Raises:
            SessionUnknownError: no session is opened by this; nothing is written, whatever is offered.
            SessionExpiredError: a limit was reached.
            SessionRevokedError: the session was ended.
            UnavailableError: the store could not be reached.
        """
        credential = await self._door.read(token)
        entry = await (self._door.look(credential) if tx is None else self._door.look_in(tx, credential))
        if self.mode is Mode.MINTED and entry.view.is_unknown:
            return self._session(entry.view, begin=self._door.beginner(entry.credential))
        entry.opened(is_presented=tx is None)
        if tx is None and entry.view.wants_touch(self.lifetimes):
            await self._note_use(entry.view)
        return self._session(entry.view)

    async def find(self, token: str, *, tx: Attempt | None = None) -> Session | None:
        """Return the session that the token opens, or None where `resolve` would say why not.

        Raises:
            UnavailableError: the store could not be reached.
        """
        try:
            return await self.resolve(token, tx=tx)
        except SessionInvalidError:
            return None

    async def is_signing_in(self, token: str) -> bool:
        """Say whether the token was ended by a sign-in less than `limits.ROTATION_GRACE` ago.

        A request that set out before may still bring it. It opens nothing; but its sender has, or is about to get, the
        new token, and should not be given another session over it.

        Raises:
            UnavailableError: the store could not be reached.
        """
        try:
            entry = await self._door.look(await self._door.read(token))
        except SessionInvalidError:
            return False
        return entry.view.is_alive and entry.is_retired

    async def rotate(
        self,
        token: str,
        *,
        subject: str | UnsetType | None = UNSET,
        label: str | UnsetType | None = UNSET,
        grace: timedelta | None = None,
        to: str | None = None,
        tx: Attempt | None = None,
    ) -> Issued:
        """Give the session a new token; its id and its state stay. The old token dies after the grace.

        Without a subject this is a renewal: the grace is `limits.ROTATION_GRACE`, so that a second tab that is just
        rotating too gets a token of its own. With a subject it is signing in (None: signing out, keeping the state):
        the absolute limit begins anew, and the grace is none, because whoever knew the old token must not come along.
        A label can be given with it. `to` is the new id where the browser makes them.

        Raises:
            SessionInvalidError: the token opens no session; nothing was written.
            InvalidError: a value is out of form; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps rotated, and then nobody has the new token.
        """
        if grace is None:
            grace = limits.ROTATION_GRACE if subject is UNSET else timedelta()
        if not timedelta() <= grace <= limits.ROTATION_GRACE_MAX:
            raise InvalidError("grace", f"it lies between 0 and {limits.ROTATION_GRACE_MAX}")
        if subject is UNSET and label is not UNSET:
            raise InvalidError("label", "it is given when somebody signs in; give the subject too")
        subject = subject if subject is UNSET else _checked_subject(subject)
        label = label if label is UNSET else _checked_label(label)
        asked = Rotation(await self._door.read(token), subject, label, grace, to)
        if asked.subject is not UNSET or asked.minted is not None:
            await self._index_rotation(asked)

        async def turn(attempt: Attempt) -> Issued:
            new_token, view = await rotate(self._door, self._terms, asked, attempt)
            return Issued(new_token, self._session(view))

        return await (turn(tx) if tx is not None else self.store.run(turn))

    async def revoke(self, session_id: str, *, tx: Attempt | None = None) -> bool:
        """End the session at once and for good, and say whether it was alive.

        From the commit on no request, not even one in flight, can change or revive it. Its state is deleted.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps ended.
        """
        await self._door.prepare()
        if tx is not None:
            return await self._end(SessionId(session_id), tx)
        return await self.store.run(partial(self._end, SessionId(session_id)))

    async def revoke_all(self, subject: str, *, keep: str | None = None) -> int:
        """End every session of the subject but `keep`, and return how many were alive.

        Each is one commit; a session whose issue began before this call does not survive it. It loops, so it takes no
        `tx`; interrupted, it has ended some and can be called again.

        Raises:
            UnavailableError: the store could not be reached; some may have been ended.
            CommitUnknownError: an answer was lost; some may have been ended.
        """
        await self._door.prepare()
        ended = 0
        async for record in self.store.scan(layout.subjects(subject)):
            session_id = SessionId(record.key.item)
            if session_id == keep:
                continue
            was_alive = await self.store.run(partial(self._end_of_subject, session_id, subject))
            if was_alive is not None:
                ended += was_alive
                await self.store.commit(Transaction(writes=(Delete(record.key),)))
        return ended

    async def revoke_everything(self) -> int:
        """End every session that is alive now, and return how many those were. As `revoke_all` in all else.

        Raises:
            UnavailableError: the store could not be reached; some may have been ended.
            CommitUnknownError: an answer was lost; some may have been ended.
        """
        ended = 0
        async for page in self.store.rank_pages(RankSpan(layout.SESSION)):
            for record in page.records:
                ended += await self.revoke(record.key.partition)
        return ended

    async def list_for(self, subject: str) -> AsyncIterator[Session]:
        """Iterate over the live sessions of a subject, in the order of their ids.

        Raises:
            UnavailableError: the store could not be reached.
        """
        async for record in self.store.scan(layout.subjects(subject)):
            session = await self.get(record.key.item)
            if session is not None and session.subject == subject:
                yield session

    async def list_all(self) -> AsyncIterator[Session]:
        """Iterate over all live sessions, those used last first. One that is used meanwhile may be missed.

        Raises:
            UnavailableError: the store could not be reached.
        """
        async for page in self.store.rank_pages(RankSpan(layout.SESSION, reverse=True)):
            for record in page.records:
                session = await self.get(record.key.partition)
                if session is not None:
                    yield session

    async def get(self, session_id: str) -> Session | None:
        """Return the live session of this public id, or None. For operators: an id is not a credential.

        Raises:
            UnavailableError: the store could not be reached.
        """
        snapshot = await self.store.read(Reads(lifecycle.keys(SessionId(session_id))))
        view = View.of(SessionId(session_id), snapshot.records.keys, snapshot.now)
        return self._session(view) if view.is_alive else None

    async def sweep(self, limit: int = limits.SWEEP_RECORDS) -> int:
        """End up to `limit` sessions whose idle limit has passed, and return how many; their state is deleted.

        To their users they are over the moment the limit passes; this gives back the room before the absolute limit.

        Raises:
            UnavailableError: the store could not be reached; some may have been ended.
        """
        await self._door.prepare()
        page = await self.store.rank(RankSpan(layout.SESSION, high=Now(), limit=min(limit, limits.PAGE_MAX)))
        ended = 0
        for record in page.records:
            session_id = SessionId(record.key.partition)
            # A touch in between moves the rank, and the guard sees it.
            guards = (RankAtMost(record.key, Now()), Absent(layout.idle(session_id)))
            writes = lifecycle.ending(session_id, Ending.EXPIRED, None, self._terms.owned)
            outcome = await self.store.submit(Transaction(ids.new(), guards, writes))
            ended += isinstance(outcome, Committed)
        return ended

    async def _note_use(self, view: View) -> None:
        try:
            await self._door.touch(view)
        except (UnavailableError, CommitUnknownError) as error:
            # The caller has its session; that its use is not noted is no reason to turn it away.
            _log.warning("the use of session %s was not noted: %s", view.session_id, error)

    async def _index(self, subject: str | None, session_id: SessionId) -> None:
        if subject is not None:
            mark = Put(layout.subject(subject, session_id), b"", ttl=self.lifetimes.absolute)
            await self.store.commit(Transaction(writes=(mark,)))

    async def _index_rotation(self, asked: Rotation) -> None:
        """Write the index records of a rotation, which come first and are harmless without it."""
        entry = await self._door.look(asked.credential)
        entry.opened()
        if asked.subject is not UNSET:
            await self._index(asked.subject, entry.view.session_id)
        if asked.minted is not None and self.mode is Mode.MINTED:
            new = await self._door.read(asked.minted)
            alias = Put(layout.alias(new.session_id), entry.view.session_id.encode(), ttl=self.lifetimes.absolute)
            await self.store.commit(Transaction(guards=(Absent(layout.trace(new.session_id)),), writes=(alias,)))

    async def _end(self, session_id: SessionId, tx: Attempt) -> bool:
        view = await lifecycle.view_in(tx, session_id)
        if view.session is None:
            return False
        began = None if view.trace is None else view.trace.rank
        tx.write(*lifecycle.ending(session_id, Ending.REVOKED, began, self._terms.owned))
        subject = lifecycle.facts_of(view.session).subject
        if subject is not None and self.store.describe().cross_partition:
            tx.delete(layout.subject(subject, session_id))
        return view.is_alive

    async def _end_of_subject(self, session_id: SessionId, subject: str, tx: Attempt) -> bool | None:
        """End the session if it is the subject's, and say whether it was alive; None when it is somebody else's.

        It may be about to become the subject's, so the index record of such a one stays.
        """
        view = await lifecycle.view_in(tx, session_id)
        if view.is_unknown:
            # Its issue has written the index and not yet the session: this makes its commit fail.
            tx.put(layout.trace(session_id), Ending.REVOKED.encode(), rank=Now(), ttl=limits.SESSION_TOMBSTONE)
            return False
        if view.session is not None and lifecycle.facts_of(view.session).subject != subject:
            return None
        return await self._end(session_id, tx)

    def _session(self, view: View, begin: Callable[[Attempt], None] | None = None) -> Session:
        return Session(self.store, self.lifetimes, view, begin=begin)


def _checked_subject(subject: str | None) -> str | None:
    return model.checked("subject", subject, limits.SUBJECT_CHARS)


def _checked_label(label: str | None) -> str | None:
    return model.checked("label", label, limits.LABEL_CHARS)
