"""A database that is killed, frozen or cut off while it is used: nothing acknowledged is lost, and it works again."""

from collections.abc import Iterator

import pytest

from tests.failures.scenarios import SERVERS, cut, frozen, killed
from tests.servers.server import Server

SEED = 1


ONE_OF_EACH = ("postgres", "valkey")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of this module's own."""
    with SERVERS[request.param]() as running:
        yield running


@pytest.mark.promise(4, 7, 9, 10, 13)
@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_killed_database_has_what_it_acknowledged(server: Server) -> None:
    """Proves that three kill -9 lose nothing that was promised, double nothing, and need nobody's help afterwards."""
    sums = await killed(server, SEED)
    assert sums.acknowledged


@pytest.mark.promise(10, 13)
@pytest.mark.parametrize("server", ONE_OF_EACH, indirect=True)
async def test_a_frozen_database_keeps_nobody_waiting(server: Server) -> None:
    """Proves that every call on a stopped server ends in time, and that what it then goes on with is done once."""
    sums = await frozen(server, SEED)
    assert sums.unknown, "the server was stopped with commits in hand"


@pytest.mark.promise(9, 10, 12, 13)
@pytest.mark.parametrize("server", ONE_OF_EACH, indirect=True)
async def test_connections_cut_anywhere_lose_and_double_nothing(server: Server) -> None:
    """Proves that thirty connections, cut in the middle of what they carry, cost repeats and nothing else."""
    sums = await cut(server, SEED)
    assert sums.acknowledged
