"""What a bot remembers between two updates, kept in sojourn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, cast

import msgspec
from aiogram.exceptions import DataNotDictLikeError
from aiogram.fsm.state import State
from aiogram.fsm.storage.base import BaseStorage, StateType, StorageKey

from sojourn import limits
from sojourn.adapters.aiogram.isolation import fetch
from sojourn.adapters.aiogram.layout import Layout
from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, Reads, Record, Store
from sojourn.kernel.codec import check_plain, codec

__all__ = ["DurableStorage"]


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    state: str | None = None
    data: dict[str, Any] = {}


_KEPT: Final = codec(_Kept)


class DurableStorage(BaseStorage):
    """A storage for aiogram's dispatcher, on any engine, shared by any number of processes.

        dispatcher = Dispatcher(storage=DurableStorage(store), events_isolation=LeaseIsolation(store))

    State and data of a key are one record, so neither outlives the other, and each change is one commit: a parallel
    change is never lost. Plain FSM, Scenes and aiogram-dialog work on it as they are.

    `store` is open whenever a bot uses this, and not closed by it. `ttl` is how long a key lives from its last change
    on, None for ever. `tenant` keeps bots of one store apart that would have the same keys; their ids already do.

    Data is plain JSON data: text, numbers, booleans, None, lists and dicts by text. A tuple comes back as a list.
    """

    def __init__(self, store: Store, *, ttl: timedelta | None = None, tenant: str = "") -> None:
        if ttl is not None and ttl < timedelta(milliseconds=1):
            raise InvalidError("ttl", "it is a timedelta of at least a millisecond, or None to keep keys for ever")
        self._store = store
        self._ttl = ttl
        self._layout = Layout(tenant)

    async def set_state(self, key: StorageKey, state: StateType = None) -> None:
        """Put a key into this state; its data stays.

        Raises:
            LeaseLostError: a `LeaseIsolation` let this update run alone, and does so no more; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        wanted = state.state if isinstance(state, State) else state
        if wanted is not None and not isinstance(cast("object", wanted), str):
            raise InvalidError("state", "it is a State, text, or None")
        await self._change(key, lambda kept: msgspec.structs.replace(kept, state=wanted))

    async def get_state(self, key: StorageKey) -> str | None:
        """Return the state of a key, None if it has none.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: what is stored is damaged.
        """
        return (await self._read(key)).state

    async def set_data(self, key: StorageKey, data: Mapping[str, Any]) -> None:
        """Replace the data of a key; its state stays.

        Raises:
            DataNotDictLikeError: the data is no mapping.
            InvalidError: it holds what is no plain JSON data. LimitError: it is larger than `limits.VALUE_BYTES`.
            LeaseLostError, UnavailableError, CommitUnknownError: as for `set_state`.
        """
        wanted = _checked(data)
        await self._change(key, lambda kept: msgspec.structs.replace(kept, data=wanted))

    async def get_data(self, key: StorageKey) -> dict[str, Any]:
        """Return the data of a key, as a copy; empty if it has none.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: what is stored is damaged.
        """
        return (await self._read(key)).data

    async def update_data(self, key: StorageKey, data: Mapping[str, Any]) -> dict[str, Any]:
        """Put these values into the data of a key, and return all of it. What others put there meanwhile stays.

        Raises:
            DataNotDictLikeError, InvalidError, LimitError: as for `set_data`.
            LeaseLostError, UnavailableError, CommitUnknownError: as for `set_state`.
        """
        added = _checked(data)
        kept = await self._change(key, lambda kept: msgspec.structs.replace(kept, data={**kept.data, **added}))
        return dict(kept.data)

    async def close(self) -> None:
        """Do nothing: the store is closed by whoever opened it."""

    async def _read(self, key: StorageKey) -> _Kept:
        (record,) = (await self._store.read(Reads(keys=(self._layout.kept(key),)))).records.keys
        return _kept(record)

    async def _change(self, key: StorageKey, change: Callable[[_Kept], _Kept]) -> _Kept:
        place = self._layout.kept(key)

        async def work(tx: Attempt) -> _Kept:
            record = await fetch(tx, self._store, place)
            kept = change(_kept(record))
            if kept.state is not None or kept.data:
                tx.put(place, _KEPT.encode(kept), ttl=self._ttl)
            elif record is not None:
                tx.delete(place)
            return kept

        return await self._store.run(work)


def _kept(record: Record | None) -> _Kept:
    return _Kept() if record is None else _KEPT.decode(record.value)


def _checked(data: object) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise DataNotDictLikeError(f"the data of a key is a mapping, not {type(data).__name__}")
    copied = dict(cast("Mapping[str, Any]", data))
    check_plain("data", copied, limits.JSON_DEPTH)
    return copied
