"""Running scripts: each call is given the keys of its bucket and the time, and its answer is checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from sojourn import limits
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.nodes import Call, Nodes, Reply
from sojourn.engines.redis.scripts import Script
from sojourn.errors import SojournError
from sojourn.kernel.clock import Clock

__all__ = ["Caller"]

_MILLISECOND: Final = timedelta(milliseconds=1)
_RECEIPT_KEEP: Final = b"%d" % (limits.RECEIPT_KEEP // _MILLISECOND)


class Caller:
    """Makes calls of the buckets of one store, and keeps its clock from stepping back within this process.

    The time is that of the server that answers. The clocks of several servers differ, and one can be set back: so each
    call says what time was seen last. A `clock` given takes the place of them all.
    """

    def __init__(self, nodes: Nodes, keyspace: Keyspace, clock: Clock | None) -> None:
        self._nodes = nodes
        self._keys = keyspace.keys
        self._clock = clock
        self._seen = 0
        self.store = ""

    @property
    def buckets(self) -> range:
        """All buckets of the store."""
        return range(len(self._keys))

    def asking(self, script: Script, bucket: int, *arguments: bytes) -> Call:
        """Return the call of a script that only reads, or that opens a store."""
        now = b"" if self._clock is None else b"%d" % self._clock.now()
        return Call(bucket, script, self._keys[bucket], (now, b"%d" % self._seen, *arguments))

    def writing(self, script: Script, bucket: int, *arguments: bytes) -> Call:
        """Return the call of a script that writes: it is also told what to make of a bucket that has been lost."""
        made = (self.store.encode(), b"%d" % len(self._keys), _RECEIPT_KEEP)
        return self.asking(script, bucket, *made, *arguments)

    def saw(self, now: int) -> int:
        """Take note of the time that a server answered with, and return it."""
        self._seen = max(now, self._seen)
        return now

    async def read(self, calls: Sequence[Call]) -> list[Reply]:
        """Run read-only calls, all of which must be answered.

        Raises:
            UnavailableError: one was not.
            CorruptError: what is stored is not what sojourn has stored.
        """
        return _whole(await self._nodes.read(calls))

    async def write(self, calls: Sequence[Call]) -> list[Reply]:
        """Run calls that write, all of which must be answered.

        Raises:
            UnavailableError: one was not, and did nothing.
            CommitUnknownError: one was not, and may have been carried out.
        """
        return _whole(await self._nodes.write(calls))


def _whole(replies: Iterable[Reply | SojournError]) -> list[Reply]:
    whole: list[Reply] = []
    for reply in replies:
        if isinstance(reply, SojournError):
            raise reply
        whole.append(reply)
    return whole
