"""The suite on an engine that promises as little as it may: each test that needs more sees `CapabilityError`."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CapabilityError
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Description
from sojourn.kernel.transaction import (
    Append,
    DeleteSpan,
    Outcome,
    Reads,
    SpanIs,
    Transaction,
)
from sojourn.testing import conformance
from sojourn.testing.conformance import Capability


class NarrowEngine(MemoryEngine):
    """A memory engine that takes one partition at a time, as a cluster would without a common bucket."""

    def describe(self) -> Description:
        return msgspec.structs.replace(super().describe(), cross_partition=False, batch_transactions=16)

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        for transaction in batch:
            _one({*_guarded(transaction), *_written(transaction), *_read(transaction.reads)})
        return await super().commit(batch)


def _guarded(transaction: Transaction) -> set[str]:
    return {guard.span.partition if isinstance(guard, SpanIs) else guard.key.partition for guard in transaction.guards}


def _written(transaction: Transaction) -> set[str]:
    found = set[str]()
    for write in transaction.writes:
        match write:
            case DeleteSpan(span=span):
                found.add(span.partition)
            case Append(partition=partition):
                found.add(partition)
            case _:
                found.add(write.key.partition)
    return found


def _read(reads: Reads) -> set[str]:
    return {key.partition for key in reads.keys} | {span.partition for span in reads.spans}


def _one(partitions: set[str]) -> None:
    if len(partitions) > 1:
        raise CapabilityError(Capability.CROSS_PARTITION, "these partitions share no bucket")


class NarrowHarness:
    capabilities = frozenset[Capability]()

    async def create(self, folder: Path) -> str:
        return str(folder)

    def engine(self, address: str, clock: Clock) -> NarrowEngine:  # noqa: ARG002  it leads nowhere
        return NarrowEngine(clock=clock)

    async def destroy(self, address: str) -> None:
        """Nothing is left."""


class TestNarrowEngine(conformance.EngineConformance):
    harness = NarrowHarness()
    history_seeds = (4,)
