"""From a token to what stands behind it: reading credentials, and looking sessions up by them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from sojourn.errors import SessionUnknownError
from sojourn.kernel import Attempt, Key, Present, Reads, Record, Store, Transaction
from sojourn.kernel.codec import codec
from sojourn.sessions import layout, lifecycle, model
from sojourn.sessions.lifecycle import View
from sojourn.sessions.model import Credential, Facts, Keyring, Mode, SessionId, Terms

__all__ = ["Door", "Entry"]

_log = logging.getLogger(__name__)

_SPACES: Final = codec(list[str])


class Entry(msgspec.Struct, frozen=True):
    """What a credential leads to: the session's records, and that of the secret, if it is one of the session's."""

    view: View
    secret: Record | None
    credential: Credential

    @property
    def is_retired(self) -> bool:
        """Say whether this very secret was ended a moment ago by a sign-in to the session."""
        return self.secret is not None and self.secret.value == lifecycle.RETIRED

    def opened(self, *, is_presented: bool = True) -> Record:
        """Return the secret's record, if the session is alive and the secret one of its own.

        A secret that is only looked at again, by who has opened the session with it before, is not `is_presented`.

        Raises:
            SessionInvalidError: there is no such session, it has ended, or the secret does not open it.
        """
        self.view.alive()
        if self.secret is None or self.is_retired:
            if is_presented:
                # Worth an operator's eye: a token that was rotated away is in somebody's hands, or ids are being tried.
                _log.warning("session %s was asked for with a secret that does not open it", self.view.session_id)
            raise SessionUnknownError("no session is opened by this token; it may have been rotated away")
        return self.secret


class Door:
    """Looks sessions up by what a caller presents."""

    def __init__(self, store: Store, terms: Terms, keyring: Keyring | None) -> None:
        self._store = store
        self._lifetimes = terms.lifetimes
        self._mode = terms.mode
        self._keyring = keyring
        self._owned = terms.owned
        self._noted: frozenset[str] | None = None

    async def keyring(self) -> Keyring:
        """Return the keys, made once per store when none were given.

        Raises:
            UnavailableError: the store could not be reached.
        """
        await self.prepare()
        assert self._keyring is not None
        return self._keyring

    async def prepare(self) -> None:
        """Learn from the store what every process must know alike: the keys, and what sessions own. Once is enough.

        Raises:
            UnavailableError: the store could not be reached.
        """
        if self._noted == frozenset(self._owned):
            return
        key, owned = await self._store.run(self._agree)
        if self._keyring is None:
            self._keyring = Keyring((key,))
        self._owned.extend(sorted(owned.difference(self._owned)))
        self._noted = frozenset(self._owned)

    async def _agree(self, tx: Attempt) -> tuple[bytes, frozenset[str]]:
        await tx.fetch((layout.KEYRING, layout.OWNED))
        key, owned = await tx.get(layout.KEYRING), await tx.get(layout.OWNED)
        known = frozenset(_SPACES.decode(owned.value)) if owned is not None else frozenset[str]()
        wanted = known.union(self._owned)
        if wanted != known:
            tx.put(layout.OWNED, _SPACES.encode(sorted(wanted)))
        if key is not None:
            return key.value, wanted
        fresh = secrets.token_bytes(32)
        tx.put(layout.KEYRING, fresh)
        return fresh, wanted

    async def read(self, token: str) -> Credential:
        """Take what a caller presents apart.

        Raises:
            SessionUnknownError: it is out of form.
            UnavailableError: the store could not be reached.
        """
        if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # it comes from outside
            raise SessionUnknownError("no session has a token of this form")
        keyring = await self.keyring()
        return model.read_token(token, keyring) if self._mode is Mode.ISSUED else model.read_minted(token, keyring)

    async def look(self, credential: Credential) -> Entry:
        """Look the session up in one trip; in two when a client-minted id leads elsewhere.

        Raises:
            UnavailableError: the store could not be reached.
        """
        snapshot = await self._store.read(Reads(self._keys(credential)))
        records = snapshot.records.keys
        moved = _moved(credential, records, self._mode)
        return await self.look(moved) if moved is not None else _entry(credential, records, snapshot.now)

    async def look_in(self, tx: Attempt, credential: Credential) -> Entry:
        """Look the session up within an attempt: the commit holds only if nothing of it has changed.

        Raises:
            UnavailableError: the store could not be reached.
        """
        keys = self._keys(credential)
        await tx.fetch(keys)
        records = tuple([await tx.get(key) for key in keys])
        moved = _moved(credential, records, self._mode)
        return await self.look_in(tx, moved) if moved is not None else _entry(credential, records, await tx.now())

    def beginner(self, credential: Credential) -> Callable[[Attempt], None]:
        """Return what begins a client-minted session with its first write."""

        def begin(tx: Attempt) -> None:
            tx.write(*lifecycle.beginning(credential.session_id, credential.digests[0], Facts(), self._lifetimes))

        return begin

    async def touch(self, view: View) -> None:
        """Note that the session was used.

        Raises:
            UnavailableError: the store could not be reached.
        """
        guards = (Present(layout.session(view.session_id)), Present(layout.idle(view.session_id)))
        await self._store.submit(
            Transaction(guards=guards, writes=lifecycle.touching(view.session_id, self._lifetimes))
        )

    def _keys(self, credential: Credential) -> tuple[Key, ...]:
        session_id = credential.session_id
        hashed = tuple(layout.secret(session_id, digest) for digest in credential.digests)
        aliased = (layout.alias(session_id),) if self._mode is Mode.MINTED and not credential.is_moved else ()
        return (*lifecycle.keys(session_id), *hashed, *aliased)


def _moved(credential: Credential, records: tuple[Record | None, ...], mode: Mode) -> Credential | None:
    alias = records[-1] if mode is Mode.MINTED and not credential.is_moved else None
    if alias is None:
        return None
    return Credential(SessionId(alias.value.decode()), credential.digests, is_moved=True)


def _entry(credential: Credential, records: tuple[Record | None, ...], now: int) -> Entry:
    session, idle, trace, *hashed = records
    found = next((record for record in hashed[: len(credential.digests)] if record is not None), None)
    return Entry(View(credential.session_id, session, idle, trace, now), found, credential)
