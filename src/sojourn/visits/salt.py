"""Ids for visitors without cookies: a hash of what is sent anyway, under a salt that lives for a day and the next."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import timedelta
from typing import Final, NamedTuple

from sojourn import limits
from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel import Create, Now, Reads, Store, Transaction
from sojourn.visits import layout

__all__ = ["Salts"]

_DAY_MS: Final = limits.VISIT_SALT_EVERY // timedelta(milliseconds=1)
_SALT_BYTES: Final = 32


class _Day(NamedTuple):
    """A day of the engine's clock, its salt, and that of the day before if anybody came then."""

    number: int
    salt: bytes
    before: bytes | None

    def __repr__(self) -> str:
        """Show the day alone."""
        return f"_Day({self.number})"


class Salts:
    """The salts of one store. This process remembers today's and yesterday's, and nothing of any visitor."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._today: _Day | None = None

    async def visitor(self, address: str, agent: str, site: str) -> str:
        """Return today's id of a visitor, or yesterday's while the visit that began then goes on. In one read.

        Raises:
            UnavailableError: the store could not be reached.
        """
        today = self._today or await self._learn((await self._store.read(Reads())).now)
        seen = json.dumps((site, address, agent)).encode()
        found, now = await self._lasting(today, seen)
        if now // _DAY_MS != today.number:
            today = await self._learn(now)
            found, _ = await self._lasting(today, seen)
        return found or _hash(seen, today.salt)

    async def _lasting(self, today: _Day, seen: bytes) -> tuple[str | None, int]:
        """Return yesterday's id if its visit goes on, and the engine's time."""
        before = None if today.before is None else _hash(seen, today.before)
        snapshot = await self._store.read(Reads(() if before is None else (layout.idle(before),)))
        return before if any(snapshot.records.keys) else None, snapshot.now

    async def _learn(self, now: int) -> _Day:
        """Make the day's salt, unless another caller or process was faster, and remember it."""
        number = now // _DAY_MS
        # It ends with the next day, however late it is made: rounded up to the end of that, even if this one is over.
        ttl = Now((number + 1) * _DAY_MS + 1 - now, step=_DAY_MS)
        salt = Create(layout.salt(str(number)), secrets.token_bytes(_SALT_BYTES), ttl=ttl)
        reads = Reads((salt.key, layout.salt(str(number - 1))))
        try:
            outcome = await self._store.commit(Transaction(writes=(salt,), reads=reads))
        except CommitUnknownError as error:
            raise UnavailableError("nobody knows whether the day's salt was made; ask again") from error
        made, before = outcome.records.keys
        assert made is not None
        self._today = today = _Day(number, made.value, None if before is None else before.value)
        return today


def _hash(seen: bytes, salt: bytes) -> str:
    return hashlib.blake2b(seen, key=salt, digest_size=16, person=b"sojourn visit").hexdigest()
