"""`Snapshots` passes the suite that it gives to others, on every engine; each store there is as of another process."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sojourn.kernel import Store
from sojourn.snapshots import SessionStore, Snapshots
from sojourn.testing import session_stores
from sojourn.testing.session_stores import Opening
from tests.documents.conftest import HastyClock, Wire


class TestSnapshots(session_stores.SessionStoreConformance):
    @pytest.fixture
    def opening(self, store: Store, clock: HastyClock) -> Iterator[Opening]:
        @asynccontextmanager
        async def opening(**options: Any) -> AsyncGenerator[Snapshots[dict[str, Any]]]:
            async with Store(Wire(store.engine), clock=clock) as beside:
                yield Snapshots(beside, **options)

        with clock.hasty():
            yield opening


async def test_snapshots_are_a_session_store(snapshots: Snapshots[Any]) -> None:
    assert isinstance(snapshots, SessionStore)
