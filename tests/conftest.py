"""What most tests share: a clock moved by hand, and a store on every engine, both going by that clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sojourn
from sojourn.kernel import Store
from sojourn.testing import ManualClock

ENGINES = {"memory": "memory:", "sqlite": "sqlite:///{folder}/app.db"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that nobody has used, on each engine in turn."""
    return ENGINES[request.param].format(folder=tmp_path)


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    async with sojourn.open(url, clock=clock) as opened:
        yield opened
