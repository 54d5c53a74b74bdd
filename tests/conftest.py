"""What most tests share: a clock moved by hand, and a store on every engine, both going by that clock."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Literal

import hypothesis
import pytest

import sojourn
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from tests.servers.sharing import Name
from tests.servers.stores import fresh, leave

pytest_plugins = ["tests.servers.plugin"]

# How fast a machine is, and what else it does meanwhile, is no test's business.
hypothesis.settings.register_profile(
    "any machine", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

EMBEDDED: tuple[Literal["memory", "sqlite"], ...] = ("memory", "sqlite")
SERVERS: tuple[Name, ...] = ("postgres18", "redis-cluster", "valkey")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say what `-n auto` is: more than there are cores, since workers wait for servers, browsers and disks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_collection_finish() -> None:
    """Let the garbage collector overlook the tests themselves: they are many, and stay until the end."""
    gc.freeze()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=(*EMBEDDED, *SERVERS))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a store that nobody has used, on each engine in turn."""
    with _unused(request.param, request) as url:
        yield url


@pytest.fixture(params=("sqlite", *SERVERS))
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, on each engine that several processes can share."""
    with _unused(request.param, request) as url:
        yield url


@contextmanager
def _unused(name: Literal["memory", "sqlite"] | Name, request: pytest.FixtureRequest) -> Iterator[str]:
    if name == "memory":
        yield "memory:"
    elif name == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('tmp_path')}/app.db"
    else:
        url = fresh(name)
        yield url
        leave(url)


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    async with sojourn.open(url, clock=clock) as opened:
        yield opened
