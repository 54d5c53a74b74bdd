"""The verbs of a saver that wait: each runs its twin in the event loop of the store, from a thread beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from sojourn.errors import ClosedError, InvalidError

__all__ = ["BlockingSaver"]

T = TypeVar("T")


class BlockingSaver(BaseCheckpointSaver[str]):
    """A saver whose verbs that begin with `a` are all that is left to write.

    Those that wait raise what their twins raise, `InvalidError` in the event loop itself, which they would stop, and
    `ClosedError` when that loop is over.
    """

    def __init__(self, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidError("saver", "it is made inside the event loop that has opened its store") from None

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Do what `aget_tuple` does."""
        return self._wait(self.aget_tuple(config))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what `aput` does."""
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Do what `aput_writes` does."""
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Do what `adelete_thread` does."""
        self._wait(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do what `adelete_for_runs` does."""
        self._wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do what `acopy_thread` does."""
        self._wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Do what `aprune` does."""
        self._wait(self.aprune(thread_ids, strategy=strategy))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Do what `alist` does, one by one."""
        listing = cast("AsyncGenerator[CheckpointTuple]", self.alist(config, filter=filter, before=before, limit=limit))
        try:
            while (found := self._wait(_next(listing))) is not None:
                yield found
        finally:
            with suppress(ClosedError):
                self._wait(listing.aclose())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise ClosedError("the event loop of the store is over")
        if _is_inside(self._loop):
            work.close()
            raise InvalidError(
                "saver", "this verb waits, and would stop the event loop it waits for; use its twin in `a`"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _next(listing: AsyncGenerator[CheckpointTuple]) -> CheckpointTuple | None:
    return await anext(listing, None)


def _is_inside(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
