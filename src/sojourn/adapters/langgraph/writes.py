"""Pending writes: what the tasks of a step have written, kept beside the checkpoint that the step began from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
from langgraph.checkpoint.base import WRITES_IDX_MAP, PendingWrite, writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from sojourn import limits
from sojourn.adapters.langgraph.layout import Layout, Line, written_of
from sojourn.kernel import Attempt, DeleteSpan, Record, Span, Store, Transaction, chunks
from sojourn.kernel.codec import codec

__all__ = ["Writes", "Written", "pending", "serialized"]

_PIECE = "\x01"


class _Value(msgspec.Struct, frozen=True, array_like=True):
    task_path: str
    channel: str
    kind: str
    data: bytes


class Written(msgspec.Struct, frozen=True):
    """One write as it is stored: by which task and as its how manieth, and what."""

    task_id: str
    index: int
    value: _Value


def serialized(
    serde: SerializerProtocol, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> list[Written]:
    """Return what a task has written as it is stored. What the serializer raises comes back as it is."""
    return [
        Written(task_id, WRITES_IDX_MAP.get(channel, index), _Value(task_path, channel, *serde.dumps_typed(value)))
        for index, (channel, value) in enumerate(writes)
    ]


def pending(serde: SerializerProtocol, writes: Iterable[Written]) -> list[PendingWrite]:
    """Return writes as LangGraph wants them, in the order in which it applies them."""
    ordered = sorted(writes, key=lambda write: writes_sort_key(write.value.task_path, write.task_id, write.index))
    return [
        (write.task_id, write.value.channel, serde.loads_typed((write.value.kind, write.value.data)))
        for write in ordered
    ]


class Writes:
    """The pending writes of a tenant's checkpoints."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    async def keep(self, line: Line, checkpoint_id: str, writes: Sequence[Written]) -> None:
        """Store writes of a checkpoint, also of one that is not there yet.

        What a task has written as its how manieth stands; what it says of itself (an error, an interrupt) is replaced.

        Raises:
            LimitError: one is larger than `limits.CHUNKED_BYTES`; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        packed = {
            self._layout.write(line, checkpoint_id, write.task_id, write.index): (
                write,
                codec(_Value).encode(write.value),
            )
            for write in writes
        }

        async def work(tx: Attempt) -> None:
            await tx.fetch(packed)
            for key, (write, value) in packed.items():
                standing = await tx.get(key)
                if standing is None or write.index < 0:
                    tx.write(*chunks.put(key, value, replaces=standing))

        await self._store.run(work)

    async def of(self, line: Line, checkpoint_id: str) -> list[Written]:
        """Return the writes of a checkpoint, in no order.

        Raises:
            UnavailableError: the store could not be reached.
            CorruptError: one is damaged.
        """
        return [write async for write in self._read(self._layout.writes(line, checkpoint_id))]

    async def remove(self, line: Line, checkpoint_ids: Sequence[str]) -> None:
        """Remove the writes of these checkpoints, in bounded steps.

        Raises:
            UnavailableError: the store could not be reached; perhaps some were removed.
        """
        for start in range(0, len(checkpoint_ids), limits.SNAPSHOT_STEP):
            step = checkpoint_ids[start : start + limits.SNAPSHOT_STEP]
            most = limits.DELETE_SPAN_RECORDS // len(step)
            await self._remove(*(DeleteSpan(self._layout.writes(line, one), at_most=most) for one in step))

    async def remove_all(self, line: Line) -> None:
        """Remove the writes of a line, in bounded steps.

        Raises:
            UnavailableError: the store could not be reached; perhaps some were removed.
        """
        await self._remove(DeleteSpan(self._layout.writes(line)))

    async def _remove(self, *spans: DeleteSpan) -> None:
        while (await self._store.commit(Transaction(writes=spans))).remaining:
            pass

    async def _read(self, span: Span) -> AsyncIterator[Written]:
        head: Record | None = None
        pieces: list[Record] = []
        async for record in self._store.scan(span):
            if _PIECE in record.key.item:
                pieces.append(record)
                continue
            if head is not None:
                yield _written(head, pieces)
            head, pieces = record, []
        if head is not None:
            yield _written(head, pieces)


def _written(head: Record, pieces: Sequence[Record]) -> Written:
    return Written(*written_of(head.key), codec(_Value).decode(chunks.join(head, tuple(pieces))))
