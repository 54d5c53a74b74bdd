"""What most tests share: a clock moved by hand, and a store on every engine, both going by that clock."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

import sojourn
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from tests.servers.sharing import Name
from tests.servers.stores import fresh, remove

pytest_plugins = ["tests.servers.plugin"]

EMBEDDED = {"memory": "memory:", "sqlite": "sqlite:///{folder}/app.db"}
SERVERS: tuple[Name, ...] = ("postgres18", "redis-cluster", "valkey")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=(*EMBEDDED, *SERVERS))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store that nobody has used, on each engine in turn."""
    with _unused(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=("sqlite", *SERVERS))
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same, on each engine that several processes can share."""
    with _unused(request.param, tmp_path) as url:
        yield url


@contextmanager
def _unused(name: Literal["memory", "sqlite"] | Name, folder: Path) -> Iterator[str]:
    if name == "memory" or name == "sqlite":  # noqa: PLR1714  spelled out, so that type checkers follow
        yield EMBEDDED[name].format(folder=folder)
        return
    url = fresh(name)
    yield url
    remove(url)


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    async with sojourn.open(url, clock=clock) as opened:
        yield opened
