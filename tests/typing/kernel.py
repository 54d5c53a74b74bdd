"""What a type checker infers of the kernel, and what it refuses. mypy and pyright read this; nobody runs it.

An ignore stands where a call must be an error: both checkers complain of an ignore that ignores nothing.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from datetime import timedelta
from typing import assert_type

import sojourn
from sojourn.kernel import (
    Attempt,
    Committed,
    Conflict,
    Key,
    Now,
    Put,
    Record,
    RevisionIs,
    Span,
    Store,
    Transaction,
)

KEY = Key("example", "partition", "item")


async def count(tx: Attempt) -> int:
    """Work for `run`."""
    assert_type(await tx.get(KEY), Record | None)
    assert_type(await tx.scan(Span("example", "partition")), tuple[Record, ...])
    return 1


async def inferred(transaction: Transaction) -> None:
    """Hold the types that a caller sees without writing any."""
    store = assert_type(await sojourn.open("memory:"), Store)
    assert_type(await store.run(count), int)
    assert_type(await store.commit(transaction), Committed)
    assert_type(await store.submit(transaction), Committed | Conflict)
    async for record in store.scan(Span("example", "partition")):
        assert_type(record, Record)


async def refused(store: Store, tx: Attempt) -> None:
    """Hold the mistakes that a checker reports before they run."""
    await store.run(lambda tx: tx.number)  # type: ignore[arg-type, return-value]
    await store.commit(Put(KEY, b""))  # type: ignore[arg-type]
    tx.put(KEY, "text")  # type: ignore[arg-type]
    tx.put(KEY, b"", ttl=30)  # type: ignore[arg-type]
    tx.put(KEY, b"", rank=Now(), ttl=timedelta(seconds=30))
    tx.guard(RevisionIs(KEY, None))  # type: ignore[arg-type]
    RevisionIs(KEY, 1).revision = 2  # type: ignore[misc]
