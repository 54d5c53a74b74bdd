"""Dividing what is asked among the buckets, and joining the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from sojourn.engines.redis.keyspace import Keyspace
from sojourn.errors import CapabilityError
from sojourn.kernel.keys import Key, Span
from sojourn.kernel.transaction import Append, DeleteSpan, Reads, Record, Records, SpanIs, Transaction

__all__ = ["Part", "joined", "part_batch", "part_reads", "shared_out"]

Part = tuple[Sequence[int], Sequence[Transaction]]
"""The transactions of one bucket in their order, and their places in the batch."""


def part_batch(batch: Sequence[Transaction], keyspace: Keyspace) -> Mapping[int, Part]:
    """Return the part of each bucket that the batch concerns.

    Raises:
        CapabilityError: a transaction concerns several.
    """
    if keyspace.buckets == 1:
        return {0: (range(len(batch)), batch)}
    parts: defaultdict[int, tuple[list[int], list[Transaction]]] = defaultdict(lambda: ([], []))
    for place, transaction in enumerate(batch):
        buckets = {keyspace.bucket(partition) for partition in set(_partitions(transaction))}
        if len(buckets) > 1:
            raise CapabilityError(
                "cross_partition",
                "on a cluster a transaction may use partitions of one bucket only; "
                "keep what belongs together in one partition, or commit in steps",
            )
        places, transactions = parts[next(iter(buckets), 0)]
        places.append(place)
        transactions.append(transaction)
    return parts


def part_reads(reads: Reads, keyspace: Keyspace) -> Mapping[int, Reads]:
    """Return what is to be read in each bucket; in the first, if it is nothing at all."""
    if keyspace.buckets == 1 or not (reads.keys or reads.spans):
        return {0: reads}
    keys, spans = defaultdict[int, list[Key]](list), defaultdict[int, list[Span]](list)
    for key in reads.keys:
        keys[keyspace.bucket(key.partition)].append(key)
    for span in reads.spans:
        spans[keyspace.bucket(span.partition)].append(span)
    return {bucket: Reads(tuple(keys[bucket]), tuple(spans[bucket])) for bucket in {*keys, *spans}}


def joined(reads: Reads, keyspace: Keyspace, found: Mapping[int, Records]) -> Records:
    """Return what was found in each bucket in the order asked."""
    if len(found) == 1:
        return next(iter(found.values()))
    keys: dict[int, Iterator[Record | None]] = {bucket: iter(records.keys) for bucket, records in found.items()}
    spans = {bucket: iter(records.spans) for bucket, records in found.items()}
    return Records(
        tuple(next(keys[keyspace.bucket(key.partition)]) for key in reads.keys),
        tuple(next(spans[keyspace.bucket(span.partition)]) for span in reads.spans),
    )


def shared_out(amount: int, wanted: Sequence[int]) -> list[int]:
    """Return how much of the amount goes to each who wants some: to those first that want most."""
    shares = [0] * len(wanted)
    for place in sorted(range(len(wanted)), key=wanted.__getitem__, reverse=True):
        shares[place] = min(wanted[place], amount)
        amount -= shares[place]
    return shares


def _partitions(transaction: Transaction) -> Iterator[str]:
    guards = (guard.span if isinstance(guard, SpanIs) else guard.key for guard in transaction.guards)
    for write in transaction.writes:
        match write:
            case Append():
                yield write.partition
            case DeleteSpan():
                yield write.span.partition
            case _:
                yield write.key.partition
    for named in chain(guards, transaction.reads.keys, transaction.reads.spans):
        yield named.partition
