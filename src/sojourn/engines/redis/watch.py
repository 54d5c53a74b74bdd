"""Following the change log of every bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from sojourn import limits
from sojourn.engines.redis.caller import Caller
from sojourn.engines.redis.nodes import Nodes
from sojourn.engines.redis.position import read_position, write_position
from sojourn.engines.redis.records import unpack_key
from sojourn.engines.redis.scripts import CHANGES
from sojourn.errors import SojournError
from sojourn.kernel.engine import Changes, Position
from sojourn.kernel.keys import Key

__all__ = ["Watch"]

_ENTRIES: Final = b"%d" % limits.REDIS_LOG_ENTRIES

_unpack = msgspec.msgpack.Decoder(list[str]).decode


class Watch:
    """Answers what changed since a position, and waits for it."""

    def __init__(self, nodes: Nodes, caller: Caller) -> None:
        self._nodes = nodes
        self._caller = caller
        self._reached: Position | None = None

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Do what `Engine.changes` says.

        Raises:
            UnavailableError: the log of no bucket can be read; or that of one, where it must be.
            CorruptError: what is stored is not what sojourn has stored.
        """
        caller, loop = self._caller, asyncio.get_running_loop()
        places = None if since is None else read_position(since, caller.store, len(caller.buckets))
        if since is None or places is None:
            return Changes(await self._newest(), gap=since is not None)
        give_up = loop.time() + wait
        # Whoever goes on from where the last answer ended need not look first: whatever comes will wake him.
        if wait <= 0 or since != self._reached:
            changes = await self._look(places, caller.buckets)
            if changes.keys or changes.gap or wait <= 0:
                return self._answered(changes)
        self._reached = None
        while True:
            buckets = await self._nodes.nudged(places, max(0.0, give_up - loop.time()))
            # Woken by nothing, he looks at them all: a log that has lost what he has seen wakes nobody.
            changes = await self._look(places, buckets or caller.buckets)
            if changes.keys or changes.gap or loop.time() >= give_up:
                return self._answered(changes)

    def _answered(self, changes: Changes) -> Changes:
        self._reached = changes.position
        return changes

    async def _newest(self) -> Position:
        caller = self._caller
        replies = await caller.read([caller.asking(CHANGES, bucket, b"", _ENTRIES) for bucket in caller.buckets])
        return write_position(caller.store, {bucket: int(last) for bucket, (last, _, _) in enumerate(replies)})

    async def _look(self, places: dict[int, int], buckets: Iterable[int]) -> Changes:
        """Read on in the logs of these buckets. One that cannot be read stays where it is, while others can."""
        caller = self._caller
        calls = [caller.asking(CHANGES, bucket, b"%d" % places[bucket], _ENTRIES) for bucket in buckets]
        reached, keys, gap, more = dict(places), set[Key](), False, False
        failure: SojournError | None = None
        replies = await self._nodes.read(calls)
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, SojournError):
                failure, more = reply, True
                continue
            position, is_whole, entries = reply
            reached[call.bucket] = int(position)
            gap = gap or not is_whole
            more = more or len(entries) >= limits.REDIS_LOG_ENTRIES
            for entry in entries:
                keys.update(map(unpack_key, _unpack(entry)))
        if failure is not None and reached == places:
            raise failure
        return Changes(write_position(caller.store, reached), frozenset(keys), gap, more)
