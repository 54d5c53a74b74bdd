"""The engine port over Redis: from what the kernel asks to scripts, and back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.engines.redis.batch import pack, pack_number, unpack
from sojourn.engines.redis.caller import Caller
from sojourn.engines.redis.facts import check_fit, findings, is_durable, version
from sojourn.engines.redis.failures import at_opening
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.location import Location, locate
from sojourn.engines.redis.nodes import Nodes, Reply
from sojourn.engines.redis.parting import joined, part_batch, part_reads, shared_out
from sojourn.engines.redis.ranking import merged_page
from sojourn.engines.redis.records import pack_span, unpack_listed, unpack_records
from sojourn.engines.redis.scripts import COMMIT, DUE, OPEN, RANK, READ, SWEEP
from sojourn.engines.redis.single import Single
from sojourn.engines.redis.watch import Watch
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    IncompatibleError,
    InvalidError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Answer, Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.transaction import Reads, Record, Snapshot, Transaction

__all__ = ["RedisEngine"]

_FORMAT: Final = b"1"
_LOG_KEEP: Final = b"%d" % (limits.CHANGE_LOG_KEEP // timedelta(milliseconds=1))
_LOG_TRIM: Final = b"%d" % limits.REDIS_LOG_TRIM

_encode = msgspec.msgpack.Encoder().encode


class RedisEngine:
    """Sessions on a Redis or Valkey server, or on a cluster of them. No I/O is done before `open`.

    On a cluster the records of a store are divided into buckets by partition. A transaction may span the partitions of
    one bucket only, and reads over several are one snapshot for each.

    Raises:
        InvalidError: the URL is not of the form asked for.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._location = locate(url)
        self._clock = clock
        self._changing = asyncio.Lock()
        self._opened: _Opened | None = None
        self._description = Description(
            "redis",
            "not connected",
            durable=False,
            cross_partition=not self._location.is_cluster,
            cross_process_watch=True,
            batch_transactions=limits.REDIS_TRANSACTIONS,
            batches=limits.REDIS_BATCHES,
        )

    def describe(self) -> Description:
        """Declare what the servers promised when the store was opened; before that, no durability."""
        return self._description

    async def open(self) -> None:
        """Connect, and make a store under the prefix if there is none. Opening an open engine does nothing.

        Raises:
            UnavailableError: a server cannot be reached, or is not ready yet.
            IncompatibleError: what stands under the prefix is not a store, or one of a newer release.
            InvalidError: the server cannot be used as it is, or as the URL says; the message says what to change.
        """
        async with self._changing:
            if self._opened is None:
                opened = _Opened(self._location, self._clock)
                try:
                    said, durable = await opened.begin()
                except BaseException:
                    await opened.nodes.close()
                    raise
                self._description = msgspec.structs.replace(self._description, version=said, durable=durable)
                self._opened = opened

    async def close(self) -> None:
        """End every connection. What is in flight is applied or not; closing twice is harmless."""
        async with self._changing:
            opened, self._opened = self._opened, None
            if opened is not None:
                await opened.nodes.close()

    async def examine(self) -> Sequence[Finding]:
        """Look at each server: its version, and the settings that durability depends on.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: a server cannot be reached.
        """
        return findings(await self._used().nodes.facts())

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Apply the batch by one script for each bucket. Cancelled, each of these is applied whole or not at all.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: nothing was written.
            CommitUnknownError: the answer was lost.
            CapabilityError: a transaction spans buckets; nothing was written.
            BatchRefusedError: the batch cannot be sent as it is; nothing was written.
        """
        opened = self._used()
        caller = opened.caller
        parts = part_batch(batch, opened.keyspace)
        packed = {bucket: pack(part) for bucket, (_, part) in parts.items()}
        replies = await opened.nodes.write(
            [caller.writing(COMMIT, bucket, ids, work, *values) for bucket, (ids, work, values) in packed.items()]
        )
        answers: list[Any] = [None] * len(batch)
        for reply, (places, part) in zip(replies, parts.values(), strict=True):
            outcomes: Sequence[Answer]
            if not isinstance(reply, SojournError):
                now, outcomes = unpack(reply, part)
                caller.saw(now)
            elif len(parts) > 1 and isinstance(reply, UnavailableError | CommitUnknownError):
                outcomes = [reply] * len(part)
            else:
                raise reply
            for place, outcome in zip(places, outcomes, strict=True):
                answers[place] = outcome
        return answers

    async def read(self, reads: Reads) -> Snapshot:
        """Read by one script for each bucket. It waits for no batch, but for the one that a server is just applying.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: a server that must be asked cannot be reached.
            CorruptError: what is stored is not what sojourn has stored.
        """
        opened = self._used()
        caller = opened.caller
        parts = part_reads(reads, opened.keyspace)
        replies = await caller.read([caller.asking(READ, bucket, _packed(part)) for bucket, part in parts.items()])
        found = {
            bucket: unpack_records(part, keys, spans)
            for (bucket, part), (_, keys, spans) in zip(parts.items(), replies, strict=True)
        }
        now = max(caller.saw(now) for now, _, _ in replies)
        return Snapshot(joined(reads, opened.keyspace, found), now)

    async def rank(self, span: RankSpan) -> RankPage:
        """Read one page of a space by rank: from one bucket as one snapshot, from several merged in order.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: a server that must be asked cannot be reached.
            CorruptError: what is stored is not what sojourn has stored.
        """
        caller = self._used().caller

        async def ask(spans: Mapping[int, RankSpan]) -> tuple[int, Mapping[int, tuple[Record, ...]]]:
            calls = [caller.asking(RANK, bucket, _packed_ranks(part)) for bucket, part in spans.items()]
            replies = await caller.read(calls)
            now = max(caller.saw(now) for now, _ in replies)
            return now, {bucket: unpack_listed(listed) for bucket, (_, listed) in zip(spans, replies, strict=True)}

        return await merged_page(ask, span, len(caller.buckets))

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Read the log of each bucket, and wait for a server to say that one goes on.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: no server can be asked; or, for the position of now, one of them cannot.
            CorruptError: what is stored is not what sojourn has stored.
        """
        return await self._used().watch.changes(since, wait)

    async def sweep(self, limit: int) -> Swept:
        """Remove what has expired, first from the buckets that have most of it.

        Raises:
            ClosedError: the engine is not open.
            UnavailableError: a server cannot be reached; the buckets of others may have been swept.
            CommitUnknownError: an answer was lost; sweeping again does no harm.
        """
        caller = self._used().caller
        shares = [limit]
        if len(caller.buckets) > 1:
            shares = shared_out(limit, await caller.read([caller.asking(DUE, bucket) for bucket in caller.buckets]))
        log_rows = b"%d" % (limits.CHANGE_LOG_ROWS // len(shares))
        steps = await caller.write(
            [
                caller.writing(SWEEP, bucket, b"%d" % share, _LOG_KEEP, log_rows, _LOG_TRIM)
                for bucket, share in enumerate(shares)
            ]
        )
        expired, rows, receipts, more = map(sum, zip(*steps, strict=True))
        return Swept(expired, rows, receipts, more=more > 0 or expired == limit)

    def _used(self) -> _Opened:
        if self._opened is None:
            raise ClosedError("the store is not open")
        return self._opened


class _Opened:
    """What an open engine holds."""

    def __init__(self, location: Location, clock: Clock | None) -> None:
        self.nodes = _nodes(location)
        self.keyspace = Keyspace(location.prefix, self.nodes.buckets)
        self.caller = Caller(self.nodes, self.keyspace, clock)
        self.watch = Watch(self.nodes, self.caller)

    async def begin(self) -> tuple[str, bool]:
        """Connect, make or check every bucket, and return the version and whether commits are durable."""
        await self.nodes.open()
        servers = await self.nodes.facts()
        for server in servers:
            check_fit(server)
        caller = self.caller
        # The name of the first bucket is the store's: two who make it at one time agree on that.
        first, *others = caller.buckets
        (caller.store,) = await self._make((first,), secrets.token_hex(8))
        await self._make(others, caller.store)
        return version(servers[0]), is_durable(servers)

    async def _make(self, buckets: Sequence[int], store: str) -> list[str]:
        """Make the buckets that are not there yet, and return the names of their stores."""
        caller, settings = self.caller, (store.encode(), b"%d" % self.keyspace.buckets, _FORMAT)
        replies = await self.nodes.write([caller.asking(OPEN, bucket, *settings) for bucket in buckets])
        return [_name(reply, self.keyspace) for reply in replies]


def _name(reply: Reply | SojournError, keyspace: Keyspace) -> str:
    if isinstance(reply, SojournError):
        raise at_opening(reply)
    kind, *details = reply
    prefix = keyspace.prefix
    if kind == b"NOPERM":
        command = details[0].decode()
        raise InvalidError("user", f"it may not use {command} on {prefix}:*; allow it by ACL SETUSER")
    if kind == b"FOREIGN":
        key = details[0].decode()
        raise IncompatibleError(f"the key {key} is not sojourn's; name another prefix in the URL by ?prefix=")
    if kind != _FORMAT:
        raise IncompatibleError(f"the store {prefix!r} was written by a newer release of sojourn; upgrade sojourn")
    buckets, store = details
    if int(buckets) != keyspace.buckets:
        problem = f"the store {prefix!r} has {int(buckets)} buckets, and this URL is for {keyspace.buckets}"
        raise IncompatibleError(f"{problem}; a cluster's store is opened by redis+cluster://, a server's by redis://")
    return str(store.decode())


def _nodes(location: Location) -> Nodes:
    if not location.is_cluster:
        return Single(location)
    from sojourn.engines.redis.cluster import Cluster  # noqa: PLC0415  only for those who have one

    return Cluster(location)


def _packed(reads: Reads) -> bytes:
    keys = ["\0".join(key) for key in reads.keys]
    return _encode((keys, [pack_span(span, span.limit) for span in reads.spans]))


def _packed_ranks(span: RankSpan) -> bytes:
    bounds = (span.space, pack_number(span.low), pack_number(span.high), span.limit, span.reverse)
    if span.after is None:
        return _encode(bounds)
    return _encode((*bounds, span.after.rank, f"{span.after.partition}\0{span.after.item}"))
