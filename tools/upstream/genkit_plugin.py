"""A plugin for pytest: each `InMemorySessionStore()` of Genkit's tests is a store on sojourn.

These tests make stores of nothing, and never close them. So a store of sojourn is open during each test, in which those
that the test makes are kept apart as tenants.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import ClassVar

import genkit.exp
import genkit.exp.agent
import pytest
import pytest_asyncio
from genkit._ai._agents._session_stores import _inmemory_store

import sojourn
from sojourn.adapters.genkit import SojournSessionStore
from sojourn.kernel import Store
from tools.upstream.recording import STORE
from tools.upstream.stores import unused

_RUN = pytest.StashKey[ExitStack]()
_URL = pytest.StashKey[str]()


class InMemorySessionStore(SojournSessionStore):
    """A store that takes no database."""

    opened: ClassVar[Store]

    def __init__(self, *, reject_ambiguous_session: bool = False) -> None:
        tenant = secrets.token_hex(8)
        super().__init__(self.opened, reject_ambiguous_session=reject_ambiguous_session, tenant=tenant)


def pytest_configure(config: pytest.Config) -> None:
    """Put the store where the tests will find it, which have not been imported yet."""
    run = config.stash[_RUN] = ExitStack()
    config.stash[_URL] = run.enter_context(unused(os.environ[STORE]))
    for module in (_inmemory_store, genkit.exp.agent, genkit.exp):
        vars(module)["InMemorySessionStore"] = InMemorySessionStore


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the database."""
    config.stash[_RUN].close()


@pytest_asyncio.fixture(autouse=True)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Open the store for a test, and close it when the test is over."""
    async with sojourn.open(request.config.stash[_URL]) as store:
        InMemorySessionStore.opened = store
        yield
