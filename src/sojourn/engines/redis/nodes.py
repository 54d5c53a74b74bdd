"""Where buckets live: the seam between what a call means and the servers that answer it.

A store is divided into buckets, and all that one script touches lies in one of them. The engine builds calls, each for
one bucket, and reads their answers; `Nodes` brings them to the server that holds the bucket. There are two kinds:

    Single      one server (`redis://`), one bucket: every transaction can be applied
    Cluster     many (`redis+cluster://`), `limits.REDIS_BUCKETS` buckets, each with a hash slot of its own

Both talk to each server through a `Server` (`server.py`), which owns its connections. What a `Nodes` must know of a
failure is only whether the call was executed:

- `UnavailableError`: no. The server was not reached, or said why it did nothing.
- `CommitUnknownError`: perhaps. It was sent on the write lane, and the connection ended before the answer.

A slow or dead server never delays the answers of another: `write` and `read` answer each call by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from sojourn.engines.redis.scripts import Script
from sojourn.errors import SojournError

__all__ = ["Call", "NodeFacts", "Nodes", "Reply"]

Reply: TypeAlias = Any
"""What a script returned: integers, bytes, None and lists of them, as the protocol of Redis has it."""


class Call(NamedTuple):
    """One script to run on one bucket. Every key it touches is declared in `keys`, so that a cluster can route it."""

    bucket: int
    script: Script
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]


class NodeFacts(NamedTuple):
    """What a server says of itself: INFO, and the settings that matter, None where it forbids to ask."""

    name: str
    info: Mapping[str, str]
    settings: Mapping[str, str] | None


class Nodes(Protocol):
    """The servers that hold the buckets. Used on one loop, by several callers at a time."""

    @property
    def buckets(self) -> int:
        """Return how many buckets the store has: fixed for its life, and written in it."""
        ...

    async def open(self) -> None:
        """Connect to every server, and learn who holds which bucket. Undone by `close`, also when it fails.

        Raises:
            UnavailableError: a server cannot be reached, or is not ready yet.
            InvalidError: it refuses who we are, what we ask for, or is too old; the message says what to change.
        """
        ...

    async def close(self) -> None:
        """End every connection and task. Calls in flight fail; closing twice is harmless."""
        ...

    async def write(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run the calls on the write lanes, one pipeline for each server, and answer each in its place.

        No two calls are to one bucket: one of them might be sent on, and overtaken. Cancelled, each is executed whole
        or not at all.
        """
        ...

    async def read(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run read-only calls, never queued behind a write, and answer each in its place.

        Nothing is written, so a lost connection is `UnavailableError` here.
        """
        ...

    async def nudged(self, positions: Mapping[int, int], wait: float) -> Collection[int]:
        """Wait until a bucket's stream may have an entry behind its position; return those that may.

        It returns at once when there is one already, and with nothing after `wait` seconds. It may wake for nothing,
        and must not sleep through anything: whatever is added after the call began is noticed, and so is what was
        added before, except behind a position that the stream has not reached. Each of several callers at a time has
        positions of its own. Cancelled, it leaves nothing behind.

        Raises:
            UnavailableError: a connection that it waited on was lost. The caller then looks at the streams before it
                waits again, since a server may have come back with less than it had.
        """
        ...

    async def facts(self) -> Sequence[NodeFacts]:
        """Ask every server, those that only keep copies too, what it is and how it is set.

        Raises:
            UnavailableError: one that holds buckets cannot be reached.
        """
        ...
