"""A plugin for pytest: LangGraph's own tests of its engine keep their checkpoints in sojourn.

Their fixtures ask for savers in tests with an event loop and in tests without, and use one saver in several loops. So
the stores live in a loop of their own, in a thread, and each saver takes its work there.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

import sojourn
from sojourn.adapters.langgraph import SojournSaver
from sojourn.kernel import Store
from tools.upstream.recording import STORE
from tools.upstream.stores import unused

T = TypeVar("T")

_loop = asyncio.new_event_loop()
_KEY = b"1234567890123456"  # as in the tests


class Saver(SojournSaver):
    """A saver that is used from any event loop."""

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Do it in the loop of the store."""
        return await self._there(super().aget_tuple(config))

    async def alist(self, config: RunnableConfig | None, **asked: Any) -> AsyncIterator[CheckpointTuple]:
        """Do it in the loop of the store, all at once."""
        listing = super().alist(config, **asked)

        async def all_of_them() -> list[CheckpointTuple]:
            return [found async for found in listing]

        for found in await self._there(all_of_them()):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do it in the loop of the store."""
        return await self._there(super().aput(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Do it in the loop of the store."""
        await self._there(super().aput_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Do it in the loop of the store."""
        await self._there(super().adelete_thread(thread_id))


@contextmanager
def _savers(serde: SerializerProtocol | None = None) -> Iterator[Saver]:
    """Give a saver on a store that nobody has used."""
    with unused(os.environ[STORE]) as url:
        store = sojourn.open(url)
        yield asyncio.run_coroutine_threadsafe(_made(store, serde), _loop).result()
        asyncio.run_coroutine_threadsafe(store.close(), _loop).result()


@asynccontextmanager
async def _savers_aio() -> AsyncIterator[Saver]:
    with _savers() as saver:
        yield saver


async def _made(store: Store, serde: SerializerProtocol | None) -> Saver:
    return Saver(await store.open(), serde=serde)


def pytest_collection_finish() -> None:
    """Put the savers where the fixtures look for theirs."""
    from tests import conftest  # noqa: PLC0415  that of the suite, which is there now

    vars(conftest).update(
        _checkpointer_memory=_savers,
        _checkpointer_sqlite=_savers,
        _checkpointer_sqlite_aes=lambda: _savers(EncryptedSerializer.from_pycryptodome_aes(key=_KEY)),
        _checkpointer_sqlite_aio=_savers_aio,
    )


def pytest_configure() -> None:
    """Start the loop of the stores."""
    threading.Thread(target=_loop.run_forever, name="stores", daemon=True).start()


def pytest_unconfigure() -> None:
    """End it."""
    _loop.call_soon_threadsafe(_loop.stop)
