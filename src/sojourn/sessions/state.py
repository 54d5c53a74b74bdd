"""Typed state of a session: one named value, read and changed without losing a parallel change.

    cart = session.state("cart", Cart)
    await cart.update(lambda cart: cart.plus(sku))

A stored value carries the version of its shape. `migrations` brings older ones up to date: its first step takes the
plain data of version 0 and returns that of version 1, and so on; the version is the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import CorruptError, LimitError
from sojourn.kernel import Attempt, Reads, Record, Store
from sojourn.kernel.change import changed, initial
from sojourn.kernel.codec import codec, pack, unpack
from sojourn.sessions import layout, lifecycle
from sojourn.sessions.lifecycle import View
from sojourn.sessions.model import SessionId

__all__ = ["State"]

T = TypeVar("T")


_STORED: Final = msgspec.json.Decoder(tuple[int, msgspec.Raw])


class State(Generic[T]):
    """One named, typed value of one session."""

    def __init__(  # noqa: PLR0913, PLR0917  made by `Session.state` only
        self,
        store: Store,
        session_id: SessionId,
        name: str,
        kind: type[T],
        migrations: Sequence[Callable[[Any], Any]],
        begin: Callable[[Attempt], None] | None,
        lifetime: timedelta,
    ) -> None:
        self.name = name
        self._store = store
        self._session_id = session_id
        self._key = layout.state(session_id, name)
        self._kind = kind
        self._codec = codec(kind)
        self._migrations = tuple(migrations)
        self._begin = begin
        self._lifetime = lifetime

    async def get(self, *, default: T | UnsetType = UNSET, tx: Attempt | None = None) -> T:
        """Return the value; without one, the default, or what the type gives without arguments. Writes nothing.

        Raises:
            SessionInvalidError: the session is unknown, has expired or was revoked.
            InvalidError: there is no value, no default, and the type needs arguments.
            CorruptError: what is stored is not of this type and version.
            UnavailableError: the store could not be reached.
        """
        if tx is not None:
            _, record = await self._look(tx)
        else:
            keys = (*lifecycle.keys(self._session_id), self._key)
            snapshot = await self._store.read(Reads(keys))
            *own, record = snapshot.records.keys
            self._check_alive(View.of(self._session_id, own, snapshot.now))
        return self._value(record, default)

    async def update(self, change: Callable[[T], T], *, default: T | UnsetType = UNSET, tx: Attempt | None = None) -> T:
        """Change the value by a function of it, and return the new value; no parallel change is lost.

        The function gets the present value and returns the new one. It may run twice, so it has no other effect, and
        it cannot wait. An equal value is not written.

        Raises:
            SessionInvalidError: the session is unknown, has expired or was revoked; nothing was written.
            InvalidError: the function gave nothing back or was a coroutine, or the value cannot be stored.
            LimitError: the session has `limits.SESSION_STATES` states, or the value is too large; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        if tx is not None:
            return await self._change(tx, change, default)
        return await self._store.run(lambda attempt: self._change(attempt, change, default))

    async def put(self, value: T, *, tx: Attempt | None = None) -> None:
        """Replace the value, whatever it was.

        Raises:
            SessionInvalidError: the session is unknown, has expired or was revoked; nothing was written.
            InvalidError: the value cannot be stored.
            LimitError: the session has `limits.SESSION_STATES` states, or the value is too large; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        await self.update(lambda _: value, default=value, tx=tx)

    async def delete(self, *, tx: Attempt | None = None) -> None:
        """Remove the value; does nothing when there is none.

        Raises:
            SessionInvalidError: the session is unknown, has expired or was revoked; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """

        async def remove(attempt: Attempt) -> None:
            _, record = await self._look(attempt)
            if record is not None:
                attempt.delete(self._key)

        if tx is not None:
            await remove(tx)
        else:
            await self._store.run(remove)

    async def _look(self, tx: Attempt) -> tuple[View, Record | None]:
        """Read session and value in one trip; both become guards."""
        await tx.fetch((*lifecycle.keys(self._session_id), self._key))
        view = await lifecycle.view_in(tx, self._session_id)
        self._check_alive(view)
        return view, await tx.get(self._key)

    async def _change(self, tx: Attempt, change: Callable[[T], T], default: T | UnsetType) -> T:
        view, record = await self._look(tx)
        value = changed(change, self._value(record, default), self._codec)
        encoded = pack(b"[%d,%s]" % (len(self._migrations), self._codec.dump(value)))
        if record is None or record.value != encoded:
            if record is None:
                await self._check_room(tx)
            if view.session is None and self._begin is not None:
                self._begin(tx)
            tx.put(self._key, encoded, ttl=view.left(self._lifetime))
        return value

    async def _check_room(self, tx: Attempt) -> None:
        states = await tx.scan(layout.owned(layout.STATE, self._session_id))
        if len(states) >= limits.SESSION_STATES:
            raise LimitError("state", limit=limits.SESSION_STATES, found=len(states) + 1, unit="states of a session")

    def _check_alive(self, view: View) -> None:
        # A client-minted session begins with its first write; until then there is nothing of it.
        if self._begin is None or not view.is_unknown:
            view.alive()

    def _value(self, record: Record | None, default: T | UnsetType) -> T:
        if record is not None:
            return self._decoded(record.value)
        return initial(self._kind, f"the state {self.name!r}") if default is UNSET else default

    def _decoded(self, stored: bytes) -> T:
        try:
            version, data = _STORED.decode(unpack(stored))
        except msgspec.DecodeError as error:
            raise CorruptError(f"the state {self.name!r} cannot be read: {error}") from error
        if version == len(self._migrations):
            return self._codec.load(bytes(data))
        if version > len(self._migrations):
            raise CorruptError(f"the state {self.name!r} is of version {version}, newer than this program knows")
        plain = msgspec.json.decode(data)
        for step in self._migrations[version:]:
            plain = step(plain)
        return self._codec.load(msgspec.json.encode(plain))
