"""Clicks as a framework for bots keeps them: the state and the data of a chat on Redis, and a lock beside them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from aiogram.fsm.storage.base import StorageKey
from aiogram.fsm.storage.redis import RedisEventIsolation, RedisStorage

from benchmarks.plain_dialogs import clicked
from benchmarks.rounds import Sample, by_tasks

__all__ = ["AIOGRAM", "Bot", "bot_on_redis"]

AIOGRAM: Final = f"aiogram {version('aiogram')}, RedisStorage and RedisEventIsolation"

_CHAT: Final = "1"


class Bot:
    """What an update costs there: the lock of its chat, the chat's state, and its data read and written."""

    def __init__(self, storage: RedisStorage, isolation: RedisEventIsolation) -> None:
        self._storage = storage
        self._isolation = isolation

    async def run(self, tasks: int, seconds: float) -> Sample:
        """Click from so many tasks, all in one chat."""
        return await by_tasks(tasks, seconds, clicked((_CHAT,), tasks, 1), self._click)

    async def _click(self, chat: str) -> None:
        key = StorageKey(bot_id=1, chat_id=int(chat), user_id=1)
        async with self._isolation.lock(key):
            await self._storage.get_state(key)
            data = await self._storage.get_data(key)
            await self._storage.set_data(key, {"votes": data.get("votes", 0) + 1})


@asynccontextmanager
async def bot_on_redis(url: str) -> AsyncGenerator[Bot]:
    """Connect as it does by itself."""
    storage = RedisStorage.from_url(url)
    isolation = storage.create_isolation()
    assert isinstance(isolation, RedisEventIsolation)
    yield Bot(storage, isolation)
    await storage.close()
