"""Budgets: how often one client address may ask, over all processes that serve one store.

A budget is a record per address and minute. A process takes a part of it at a time and spends that without asking,
so that most requests cost no commit; the sum over all processes never exceeds the budget. Of IPv6 the first 64 bits are
the address: the rest is the client's own to choose. What is stored is a hash of it, for `limits.RATE_KEEP`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import RateLimitedError
from sojourn.kernel import Attempt, Key, Store
from sojourn.kernel.codec import codec

__all__ = ["Budget"]

_MINUTE_MS: Final = 60_000
_COUNT: Final = codec(int)


class _Share(msgspec.Struct):
    """What this process has taken of one address's minute and not spent yet."""

    left: int
    taken: int
    ends: float


class Budget:
    """So many times a minute for each address."""

    def __init__(self, store: Store, name: str, per_minute: int) -> None:
        self._store = store
        self._name = name
        self._per_minute = per_minute
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._taking: dict[str, asyncio.Task[_Share]] = {}

    async def spend(self, address: str) -> None:
        """Count one request of this address.

        Raises:
            RateLimitedError: its minute is used up; `retry_after` says when the next begins.
            UnavailableError: the store could not be reached.
        """
        address = _counted_as(address)
        while (share := self._share(address)) is None:
            await self._once(address)
        if share.left == 0:
            wait = max(1.0, share.ends - self._store.clock.monotonic())
            raise RateLimitedError(f"more than {self._per_minute} requests a minute; slow down", retry_after=wait)
        share.left -= 1

    def _share(self, address: str) -> _Share | None:
        """Return what is at hand: something to spend, or the knowledge that this minute is used up."""
        share = self._shares.get(address)
        if share is None or share.ends <= self._store.clock.monotonic() or (share.left == 0 and share.taken > 0):
            return None
        return share

    async def _once(self, address: str) -> None:
        """Take a part for all who wait for it, so that a store that cannot be reached fails them together."""
        taking = self._taking.get(address)
        if taking is None:
            taking = self._taking[address] = asyncio.create_task(self._take(address))
            taking.add_done_callback(lambda ended: self._taken(address, ended))
        await asyncio.shield(taking)

    def _taken(self, address: str, ended: asyncio.Task[_Share]) -> None:
        del self._taking[address]
        if not ended.cancelled():
            ended.exception()  # everybody who was told of it may have gone

    async def _take(self, address: str) -> _Share:
        before = self._shares.get(address)
        # What a process has taken dies with it. So it begins small, and takes more as the address asks more.
        wish = max(1, self._per_minute // limits.RATE_FIRST) if before is None else before.taken * 2
        wish = max(1, min(wish, self._per_minute // limits.RATE_BLOCKS))
        taken = await self._store.run(lambda tx: self._take_in(address, wish, tx))
        self._shares[address] = taken
        self._shares.move_to_end(address)
        if len(self._shares) > limits.RATE_ADDRESSES:
            self._shares.popitem(last=False)
        return taken

    async def _take_in(self, address: str, wish: int, tx: Attempt) -> _Share:
        minute, passed = divmod(await tx.now(), _MINUTE_MS)
        key = Key("rate", f"{self._name}/{address}", str(minute))
        found = await tx.get(key)
        used = 0 if found is None else _COUNT.decode(found.value)
        taken = max(0, min(wish, self._per_minute - used))
        if taken > 0:
            tx.put(key, _COUNT.encode(used + taken), ttl=limits.RATE_KEEP)
        return _Share(taken, taken, self._store.clock.monotonic() + (_MINUTE_MS - passed) / 1_000)


def _counted_as(address: str) -> str:
    try:
        given = IPv6Address(address)
        address = str(given.ipv4_mapped or IPv6Address(int(given) >> 64 << 64))
    except AddressValueError:
        pass
    return hashlib.blake2b(address.encode(), digest_size=16, person=b"sojourn budget").hexdigest()
