"""The keys that tokens are signed with, where people could forge them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final, cast

from sojourn.dialogs import layout
from sojourn.dialogs.platform import Platform
from sojourn.dialogs.tokens import Budget, Tokens
from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, Store

__all__ = ["Keyring"]

_LEAST: Final = 16


class Keyring:
    """The keys of one store: given, newest first, or made once and kept in the store."""

    def __init__(self, store: Store, keys: Sequence[bytes] | None) -> None:
        if keys is not None:
            given: object = keys
            listed = [] if isinstance(given, bytes) else [cast("object", key) for key in keys]
            if not listed or not all(isinstance(key, bytes) and len(key) >= _LEAST for key in listed):
                raise InvalidError("keys", f"it is a sequence of byte strings of at least {_LEAST} bytes, newest first")
        self._store = store
        self._keys = None if keys is None else tuple(keys)
        self._made: dict[tuple[Budget, bool], Tokens] = {}

    async def prepare(self, platform: Platform) -> None:
        """Have the keys at hand before tokens of this platform are read or made.

        Raises:
            UnavailableError: the store could not be reached.
        """
        if platform.signs:
            await self.keys()

    async def keys(self) -> tuple[bytes, ...]:
        """Return the keys, newest first; made once per store when none were given.

        Raises:
            UnavailableError: the store could not be reached.
        """
        if self._keys is None:
            self._keys = (await self._store.run(self._agree),)
        return self._keys

    def tokens(self, platform: Platform) -> Tokens:
        """Return how tokens of this platform are written."""
        which = (platform.budget, platform.signs)
        made = self._made.get(which)
        if made is None:
            assert not platform.signs or self._keys is not None
            made = self._made[which] = Tokens(platform.budget, self._keys if platform.signs else None)
        return made

    @staticmethod
    async def _agree(tx: Attempt) -> bytes:
        found = await tx.get(layout.KEYRING)
        if found is not None:
            return found.value
        fresh = secrets.token_bytes(32)
        tx.put(layout.KEYRING, fresh)
        return fresh
