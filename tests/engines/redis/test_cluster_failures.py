"""A cluster whose servers fail, are replaced and hand over slots while a store on it is used hard."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

import sojourn
from sojourn import limits
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.slots import slot_of
from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel import Store
from sojourn.kernel.clock import SystemClock
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import Put, Transaction
from tests.failures.load import PARTITION, SPACE, WRITERS, Load, Sums, ViolationError
from tests.servers.cluster import ClusterServers, Node

RECOVERY_S: Final = 20.0
SETTLING_S: Final = 60.0
_COMMITS: Final = 100
_TIMES: Final = 3
_PAUSE_S: Final = 0.005
SEED: Final = 1


@pytest.fixture(scope="module")
def started() -> Iterator[ClusterServers]:
    with ClusterServers() as servers:
        yield servers


@pytest.fixture
def servers(started: ClusterServers) -> ClusterServers:
    """The module's cluster, in good health and empty."""
    started.restore()
    return started


class Use:
    """A store in hard use, most of it in one bucket."""

    def __init__(self, servers: ClusterServers, load: Load) -> None:
        self.servers = servers
        self.load = load
        self._clock = SystemClock()
        self.sums = Sums()
        self.tokens: list[int] = []
        keyspace = Keyspace("any", limits.REDIS_BUCKETS)
        self.slot = slot_of(keyspace.keys[keyspace.bucket(PARTITION)][0])

    def owner(self) -> Node:
        """Return the server that has the most to do."""
        return self.servers.owner(self.slot)

    def others(self) -> list[Node]:
        """Return the other masters."""
        owner = self.owner()
        return [master for master in self.servers.masters() if master is not owner]

    async def take_tokens(self, store: Store) -> None:
        """Write one record of that bucket again and again, and note the revisions: they are the tokens of leases."""
        write = Put(Key(SPACE, PARTITION, "token"), b"")
        while True:
            try:
                revision = (await store.commit(Transaction(writes=(write,)))).revision
                assert revision is not None
                self.tokens.append(revision)
            except (UnavailableError, CommitUnknownError):
                await self._clock.sleep(_PAUSE_S)

    async def goes_on(self) -> None:
        """Wait until as much as before is acknowledged again, without anybody's help."""
        async with _within(RECOVERY_S, "everything works again"):
            await self.load.reaches(_COMMITS)

    async def is_answered(self) -> None:
        """Wait until the writers have been answered a few more times, whatever they were told."""
        load = self.load
        before = len(load.acknowledged) + len(load.not_written)
        async with _within(SETTLING_S, "the writers are answered"):
            await load.until(lambda: len(load.acknowledged) + len(load.not_written) >= before + 2 * WRITERS)


@asynccontextmanager
async def used(servers: ClusterServers, seed: int, *, loses: bool = False) -> AsyncIterator[Use]:
    """Use a new store; in the end compare what was acknowledged with what is there, and see that nothing is left over.

    `loses`: what happens may cost what was acknowledged before it, though never after it.
    """
    tasks, connections = asyncio.all_tasks(), servers.connections()
    url = servers.url(f"failures_{secrets.token_hex(4)}")
    async with sojourn.open(url) as writing, sojourn.open(url) as watching:
        load = Load(writing, watching, random.Random(seed))  # noqa: S311  repeatable by its seed
        load.is_durable = not loses
        try:
            await load.start()
            use = Use(servers, load)
            taking = asyncio.create_task(use.take_tokens(writing))
            await use.goes_on()
            yield use
            load.recovered()
            await use.goes_on()
            async with _within(SETTLING_S, "the watcher has seen what was acknowledged"):
                await load.stop()
        finally:
            taking.cancel()
            await load.end()
        async with sojourn.open(url) as store:
            use.sums = await load.judge(store)
    if use.tokens != sorted(set(use.tokens)):
        raise ViolationError("a revision was given twice, or went back")
    async with _within(RECOVERY_S, "all connections are closed"):
        while await asyncio.to_thread(servers.connections) > connections:
            pass  # asking takes its time
    if left := asyncio.all_tasks() - tasks:
        raise ViolationError(f"tasks that nobody ended: {left}")


async def handed_over(servers: ClusterServers, seed: int) -> Sums:
    """Have the replica take over from its master, in order, three times."""
    async with used(servers, seed) as use:
        for _ in range(_TIMES):
            await asyncio.to_thread(servers.fail_over, use.owner())
            await use.goes_on()
    return use.sums


async def lost(servers: ClusterServers, seed: int) -> Sums:
    """Kill the master while its replica is behind, and start it again as that one's replica, three times."""
    async with used(servers, seed, loses=True) as use:
        for _ in range(_TIMES):
            dead = use.owner()
            heir = servers.replica(dead)
            heir.pause()
            dead.ask("CLIENT", "KILL", "TYPE", "REPLICA")  # nothing more waits for it in between
            await use.goes_on()
            dead.kill()
            heir.resume()
            await asyncio.to_thread(servers.await_heir, heir)
            use.load.recovered()
            await use.goes_on()
            dead.start()
            await asyncio.to_thread(servers.await_health)
    return use.sums


async def silent(servers: ClusterServers, seed: int) -> Sums:
    """Freeze the master until its replica has taken over and is in use, and let it go on as that one's replica."""
    async with used(servers, seed, loses=True) as use:
        frozen = use.owner()
        heir = servers.replica(frozen)
        frozen.pause()
        await asyncio.to_thread(servers.await_heir, heir)
        use.load.recovered()
        await use.goes_on()
        frozen.resume()
        await asyncio.to_thread(servers.await_health)
        use.load.recovered()
    return use.sums


async def moved(servers: ClusterServers, seed: int) -> Sums:
    """Move the slot from server to server, one key at a time, three times."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    async with used(servers, seed) as use:
        for _ in range(_TIMES):
            for _ in servers.moving(use.slot, chance.choice(use.others())):
                await use.is_answered()
            await use.goes_on()
    return use.sums


async def without_majority(servers: ClusterServers, seed: int) -> Sums:
    """Freeze two of three masters for as long as it takes the third to stop, and let them go on."""
    async with used(servers, seed) as use:
        frozen = use.others()
        for node in frozen:
            node.pause()
        try:
            await asyncio.to_thread(use.owner().await_info, "cluster_state", "fail")
            async with _within(SETTLING_S, "every caller has been told"):
                await use.load.all_failed()
        finally:
            for node in frozen:
                node.resume()
        await use.goes_on()
    return use.sums


SCENARIOS: Final[dict[str, Callable[[ClusterServers, int], Awaitable[Sums]]]] = {
    "handed_over": handed_over,
    "lost": lost,
    "moved": moved,
    "silent": silent,
    "without_majority": without_majority,
}


@pytest.mark.promise(7, 9, 10, 13)
async def test_an_orderly_failover_loses_and_doubles_nothing(servers: ClusterServers) -> None:
    assert (await handed_over(servers, SEED)).lost == 0


@pytest.mark.promise(4, 9, 10)
async def test_after_a_lost_server_revisions_go_on_and_the_watcher_sees_a_gap(servers: ClusterServers) -> None:
    """Proves that no lease's token is given twice, though the heir has never seen some that were given."""
    sums = await lost(servers, SEED)

    assert sums.lost, "the replica was behind"
    assert sums.gaps


@pytest.mark.promise(4, 10)
async def test_a_silent_server_is_given_up_for_the_one_that_takes_over(servers: ClusterServers) -> None:
    """Proves that callers go on by themselves, mostly without an error: their commits are repeated at the heir."""
    assert (await silent(servers, SEED)).acknowledged


@pytest.mark.promise(1, 9, 13)
async def test_a_slot_that_moves_under_load_loses_and_doubles_nothing(servers: ClusterServers) -> None:
    assert (await moved(servers, SEED)).lost == 0


@pytest.mark.promise(10)
async def test_a_cluster_that_has_stopped_says_so_and_goes_on_by_itself(servers: ClusterServers) -> None:
    assert (await without_majority(servers, SEED)).not_written


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ViolationError(f"after {seconds:g} s it still does not hold that {what}") from None
