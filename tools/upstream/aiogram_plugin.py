"""A plugin for pytest: what the tests of aiogram and of aiogram-dialog keep in memory is kept in sojourn.

They make storages and isolations of nothing, and never close them. So a store of sojourn is open during each test, in
which those that the test makes are kept apart as tenants.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from typing import ClassVar

import aiogram.dispatcher.dispatcher
import aiogram.fsm.storage.memory
import aiogram_dialog.test_tools.memory_storage  # type: ignore[import-not-found]
import pytest
import pytest_asyncio

import sojourn
from sojourn.adapters.aiogram import DurableStorage, LeaseIsolation
from sojourn.kernel import Store
from tools.upstream.recording import STORE


class _Opened:
    store: ClassVar[Store]


class MemoryStorage(DurableStorage):
    """A storage that takes no store."""

    def __init__(self) -> None:
        super().__init__(_Opened.store, tenant=secrets.token_hex(8))


class SimpleEventIsolation(LeaseIsolation):
    """An isolation that takes no store."""

    def __init__(self) -> None:
        super().__init__(_Opened.store, tenant=secrets.token_hex(8))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Put both where the tests and their fixtures will find them, which have not been imported yet."""
    for module in (aiogram.fsm.storage.memory, aiogram.dispatcher.dispatcher):
        vars(module).update(MemoryStorage=MemoryStorage, DisabledEventIsolation=SimpleEventIsolation)
    vars(aiogram.fsm.storage.memory).update(SimpleEventIsolation=SimpleEventIsolation)
    vars(aiogram_dialog.test_tools.memory_storage).update(JsonMemoryStorage=MemoryStorage)


@pytest_asyncio.fixture(autouse=True)
async def opened() -> AsyncIterator[None]:
    """Open the store for a test, and close it when the test is over."""
    async with sojourn.open(os.environ[STORE]) as store:
        _Opened.store = store
        yield
