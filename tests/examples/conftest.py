"""Examples as they are, each over a store of its own that goes by the clock of the test."""

import functools
import importlib
import itertools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import pytest

import sojourn
from sojourn.functions import Watching
from sojourn.sessions import Session, SessionId, model
from sojourn.testing import ManualClock

R = TypeVar("R")

Load: TypeAlias = Callable[[str, str], Awaitable[Any]]
"""Imports a module anew, after the variable that it takes the URL of its store from has been set."""


@pytest.fixture
async def load(monkeypatch: pytest.MonkeyPatch, clock: ManualClock, url: str) -> AsyncGenerator[Load]:
    numbers = itertools.count()

    def new_token() -> tuple[SessionId, str]:
        """Ids in order: by chance, one session of 128 would share a cluster's bucket with what it is apart from."""
        session_id = SessionId(f"session-{next(numbers):014}")
        return session_id, model.new_secret(session_id)

    monkeypatch.setattr(model, "new_token", new_token)
    async with AsyncExitStack() as stack:

        async def load(name: str, variable: str) -> ModuleType:
            monkeypatch.setenv(variable, url)
            monkeypatch.setattr(sojourn, "open", functools.partial(sojourn.open, clock=clock))
            monkeypatch.delitem(sys.modules, name, raising=False)
            module = importlib.import_module(name)
            await stack.enter_async_context(module.store)
            return module

        yield load


async def issue(module: ModuleType, name: str | None = None) -> Session:
    """Begin a session of the example's."""
    return (await module.sessions.issue(name)).session  # type: ignore[no-any-return]  # imported by name


async def seen(watching: Watching[R], is_it: Callable[[R], object]) -> R:
    """Return the first result of what is watched that is as it should be."""
    async for result in watching:
        if is_it(result):
            return result
    raise AssertionError("it ended")
