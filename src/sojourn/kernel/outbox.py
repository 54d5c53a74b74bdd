"""The outbox: effects on the outside world that must follow a commit.

    tx.write(effect("dialog.outbox", dialog, "edit_message", payload))     # stored with the state, or not at all

    outbox = Outbox(store, "dialog.outbox", {"edit_message": edit_message})
    await outbox.run()

A message cannot be sent inside a transaction, so it is stored with the state and performed afterwards: at least once,
each time with the same idempotency key, by which the other side can recognise a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from sojourn.kernel import ids
from sojourn.kernel.due import Claimed, DueWorker, due
from sojourn.kernel.keys import Key, Now
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Put, Transaction

__all__ = ["Effect", "Outbox", "effect"]


class Effect(msgspec.Struct, frozen=True):
    """An effect to perform: its kind, its JSON text, and the key by which a repeat is recognised."""

    kind: str
    payload: bytes
    idempotency_key: str


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    payload: msgspec.Raw


_STORED: Final = msgspec.json.Decoder(_Stored)


def effect(space: str, partition: str, kind: str, payload: bytes, *, claimed: bool = False) -> Put:
    """Return the write that stores an effect of this kind, due at once; `payload` is JSON text.

    Make it once, outside the function given to `Store.run`, or once in each attempt: only what commits is performed.
    With `claimed`, whoever commits it performs it by `Outbox.finish`; others do only when that process is gone.
    """
    stored = msgspec.json.encode(_Stored(kind, msgspec.Raw(payload)))
    return due(Key(space, partition, ids.new().hex()), stored, None if claimed else Now())


class Outbox:
    """Performs the effects of one space in this process; other processes may do the same."""

    def __init__(self, store: Store, space: str, performers: Mapping[str, Callable[[Effect], Awaitable[None]]]) -> None:
        self._store = store
        self._performers = dict(performers)
        self._worker = DueWorker(store, space, self._perform)

    async def run(self) -> None:
        """Perform effects as they are stored, until cancelled."""
        await self._worker.run()

    async def step(self) -> float:
        """Perform what is stored by now; return the seconds until there may be something to do.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._worker.step()

    async def finish(self, key: Key, kind: str, payload: bytes, token: int) -> None:
        """Perform an effect that this process has just committed as `claimed`; `token` is the revision of that commit.

        What fails is tried again later.

        Raises:
            UnavailableError: the store could not be reached; the effect is performed when the claim ends.
        """
        await self._worker.finish(key, msgspec.json.encode(_Stored(kind, msgspec.Raw(payload))), token)

    async def _perform(self, claimed: Claimed) -> None:
        stored = _STORED.decode(claimed.payload)
        perform = self._performers[stored.kind]
        await perform(Effect(stored.kind, bytes(stored.payload), claimed.key.item))
        await self._store.commit(Transaction(guards=(claimed.held,), writes=(claimed.ending,)))
