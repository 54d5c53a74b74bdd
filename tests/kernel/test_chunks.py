"""A large value is whole or an error, and leaves nothing behind."""

import msgspec
import pytest

from sojourn import limits
from sojourn.errors import CorruptError, LimitError
from sojourn.kernel import chunks, ids
from sojourn.kernel.keys import Key, Span
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Reads, Record, Transaction

KEY = Key("document", "player", "value")


async def stored(store: Store) -> tuple[Record | None, tuple[Record, ...]]:
    records = (await store.read(Reads((KEY,), (chunks.span(KEY),)))).records
    return records.keys[0], records.spans[0]


async def put(store: Store, value: bytes) -> None:
    head, _ = await stored(store)
    await store.commit(Transaction(ids.new(), writes=chunks.put(KEY, value, replaces=head)))


async def test_values_of_every_size_come_back_and_shrink_without_orphans(store: Store) -> None:
    neighbour = Key("document", "player", "value2")
    await store.commit(Transaction(ids.new(), writes=chunks.put(neighbour, b"j1", replaces=None)))
    for size in (0, 10, limits.CHUNK_BYTES, limits.CHUNK_BYTES + 1, limits.CHUNKED_BYTES, 3 * limits.CHUNK_BYTES, 7):
        value = (b"j" + bytes(range(251)) * (size // 251 + 1))[:size]
        await put(store, value)
        head, parts = await stored(store)
        assert head is not None
        assert chunks.join(head, parts) == value
        whole = [record async for record in store.scan(Span("document", "player"))]
        assert len(whole) == 1 + len(parts) + 1


async def test_deleting_removes_every_chunk(store: Store) -> None:
    await put(store, b"x" * (4 * limits.CHUNK_BYTES))
    head, _ = await stored(store)
    await store.commit(Transaction(ids.new(), writes=chunks.delete(KEY, replaces=head)))
    assert [record async for record in store.scan(Span("document", "player"))] == []


async def test_a_missing_or_damaged_chunk_is_an_error_and_never_a_shorter_value(store: Store) -> None:
    await put(store, b"x" * (4 * limits.CHUNK_BYTES))
    head, parts = await stored(store)
    assert head is not None
    damaged = msgspec.structs.replace(parts[1], value=b"y" * len(parts[1].value))
    for wrong in (parts[:-1], (parts[0], damaged, *parts[2:]), ()):
        with pytest.raises(CorruptError):
            chunks.join(head, wrong)
    with pytest.raises(CorruptError):
        chunks.join(msgspec.structs.replace(head, value=b"c{"), parts)


def test_a_value_beyond_the_limit_is_refused_before_any_write() -> None:
    with pytest.raises(LimitError):
        chunks.put(KEY, b"x" * (limits.CHUNKED_BYTES + 1), replaces=None)
