"""A cluster brings each call to the server that holds its bucket, whatever happens to the servers meanwhile."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from sojourn import limits
from sojourn.engines.redis.cluster import Cluster
from sojourn.engines.redis.keyspace import LAST_CHANGE, Keyspace
from sojourn.engines.redis.location import locate
from sojourn.engines.redis.nodes import Call
from sojourn.engines.redis.scripts import Script
from sojourn.engines.redis.server import Lane, RawReply, Server
from sojourn.engines.redis.slots import slot_of
from sojourn.errors import ClosedError, CommitUnknownError, InvalidError, SojournError, UnavailableError
from tests.servers import Redis
from tests.servers.cluster import ClusterServers, Node

BUCKETS = range(limits.REDIS_BUCKETS)
PATIENCE_S = 30.0
_prefixes = count(1)


def script(text: str, *, only_reads: bool = False) -> Script:
    packed = text.encode()
    return Script(packed, hashlib.sha1(packed, usedforsecurity=False).hexdigest().encode(), only_reads)


ADD = script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
PUSH = script("return {redis.call('RPUSH', KEYS[1], ARGV[1]), redis.call('INCR', KEYS[2])}")
GET = script("return redis.call('GET', KEYS[1])", only_reads=True)
NOTE = script("redis.call('XADD', KEYS[2], ARGV[1] .. '-0', 'a', 'b') redis.call('HSET', KEYS[1], ARGV[2], ARGV[1])")


class Store:
    """A cluster's nodes under a prefix of their own, and short words for what the tests do to a bucket."""

    def __init__(self, servers: ClusterServers, prefix: str) -> None:
        self.keyspace = Keyspace(prefix, limits.REDIS_BUCKETS)
        self.nodes = Cluster(locate(servers.url(prefix)))
        self.servers = servers

    def slot(self, bucket: int) -> int:
        return slot_of(self.keyspace.keys[bucket][0])

    def owner(self, bucket: int) -> Node:
        return self.servers.owner(self.slot(bucket))

    def another(self, node: Node) -> Node:
        return next(master for master in self.servers.masters() if master is not node)

    def held_by(self, node: Node) -> list[int]:
        return [bucket for bucket in BUCKETS if self.owner(bucket) is node]

    def key(self, bucket: int, number: int = 0) -> bytes:
        return b"%s:test-%d:{%d}" % (self.keyspace.prefix.encode(), number, bucket)

    def add(self, bucket: int, amount: int = 1) -> Call:
        return Call(bucket, ADD, (self.key(bucket),), (b"%d" % amount,))

    def push(self, bucket: int, value: bytes) -> Call:
        return Call(bucket, PUSH, (self.key(bucket, 1), self.key(bucket, 2)), (value,))

    def get(self, bucket: int) -> Call:
        return Call(bucket, GET, (self.key(bucket),), ())

    async def note(self, bucket: int, position: int) -> None:
        keys = (self.keyspace.meta(bucket), self.keyspace.changes(bucket))
        (answer,) = await self.nodes.write([Call(bucket, NOTE, keys, (b"%d" % position, LAST_CHANGE))])
        assert answer is None, answer

    async def until_answered(self, bucket: int) -> int:
        """Add one until it is answered: the answer says how often it was done."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (answer,) = await self.nodes.write([self.add(bucket)])
                if not isinstance(answer, SojournError):
                    return int(answer)
                assert isinstance(answer, UnavailableError), answer
                await asyncio.sleep(0)

    async def until_told(self, positions: Mapping[int, int]) -> Collection[int]:
        """Wait for a change, and go on waiting when for a while nobody can be asked."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(UnavailableError):
                    return await self.nodes.nudged(positions, PATIENCE_S)
                await asyncio.sleep(0)


@pytest.fixture(scope="module")
def started() -> Iterator[ClusterServers]:
    with ClusterServers() as servers:
        yield servers


@pytest.fixture
def servers(started: ClusterServers) -> Iterator[ClusterServers]:
    """The module's cluster, in good health before and after."""
    yield started
    started.restore()


@pytest.fixture
async def store(servers: ClusterServers) -> AsyncIterator[Store]:
    store = Store(servers, f"test-{next(_prefixes)}")
    await store.nodes.open()
    yield store
    await store.nodes.close()


def kinds(answers: Collection[Any]) -> set[type]:
    return {type(answer) for answer in answers}


# -- Where calls go ----------------------------------------------------------------------------------------------------


def test_a_slot_is_what_the_server_says_it_is(servers: ClusterServers) -> None:
    for key in (b"a", b"", b"{}", b"{}a{b}", b"x{1}y", b"x{1}{2}", b"x{{1}}", b"x{1", b"\xc3\xa9{\xc3\xa9}"):
        assert slot_of(key) == servers.nodes[0].ask("CLUSTER", "KEYSLOT", key)


async def test_each_call_is_answered_in_its_place_by_the_server_of_its_bucket(store: Store) -> None:
    answers = await store.nodes.write([store.add(bucket, bucket + 1) for bucket in reversed(BUCKETS)])

    assert answers == [bucket + 1 for bucket in reversed(BUCKETS)]
    assert await store.nodes.read([store.get(bucket) for bucket in BUCKETS]) == [b"%d" % (n + 1) for n in BUCKETS]
    assert len({store.owner(bucket) for bucket in BUCKETS}) == 3


async def test_a_server_that_has_forgotten_the_scripts_is_given_them_again(store: Store) -> None:
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    for master in store.servers.masters():
        master.ask("SCRIPT", "FLUSH")

    assert await store.nodes.write([store.add(bucket) for bucket in BUCKETS]) == [2] * len(BUCKETS)


# -- When slots move ---------------------------------------------------------------------------------------------------


async def test_a_call_for_a_slot_that_has_moved_is_executed_once_at_its_new_place(store: Store) -> None:
    await store.nodes.write([store.add(7)])
    source = store.owner(7)
    target = store.another(source)
    assert store.servers.move_slot(store.slot(7), target) == 1

    assert await store.nodes.write([store.add(7), store.add(8)]) == [2, 1]
    assert await store.nodes.read([store.get(7)]) == [b"2"]

    assert store.owner(7) is target
    store.servers.move_slot(store.slot(7), source)


async def test_a_call_for_a_slot_on_its_way_is_executed_at_one_end_or_refused_whole(store: Store) -> None:
    await store.nodes.write([store.push(7, b"before")])
    source = store.owner(7)
    answers = []
    for _ in store.servers.moving(store.slot(7), store.another(source)):
        answers += await store.nodes.write([store.push(7, b"during"), store.add(8)])
    answers += await store.nodes.write([store.push(7, b"after")])
    store.servers.move_slot(store.slot(7), source)

    pushed = [answer for answer in answers if isinstance(answer, list)]
    assert pushed == [[number, number] for number in range(2, 2 + len(pushed))]
    assert kinds(answers) == {list, int, UnavailableError}  # refused while one key was here and one there
    assert [answer for answer in answers if isinstance(answer, int)] == list(range(1, 1 + len(answers) // 2))


async def test_a_call_between_two_places_waits_for_a_move_that_ends_soon(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.nodes.write([store.push(7, b"before")])
    source = store.owner(7)
    moving = store.servers.moving(store.slot(7), store.another(source))
    assert [next(moving), next(moving)] == [0, 1]
    run = Server.run

    async def slow(server: Server, lane: Lane, calls: Sequence[Call]) -> list[RawReply]:
        replies = await run(server, lane, calls)
        assert list(moving) in ([2], [])  # what was left to be moved is moved before the call is sent again
        return replies

    monkeypatch.setattr(Server, "run", slow)

    assert await store.nodes.write([store.push(7, b"during")]) == [[2, 2]]

    monkeypatch.undo()
    store.servers.move_slot(store.slot(7), source)


async def test_a_new_key_of_a_slot_on_its_way_is_made_at_its_new_place(store: Store) -> None:
    source = store.owner(7)
    moving = store.servers.moving(store.slot(7), store.another(source))
    next(moving)

    assert await store.nodes.write([store.add(7)]) == [1]

    for _ in moving:
        pass
    assert await store.nodes.write([store.add(7)]) == [2]
    store.servers.move_slot(store.slot(7), source)


# -- When servers fail -------------------------------------------------------------------------------------------------


async def test_a_dead_server_fails_its_own_calls_only_and_at_once(store: Store) -> None:
    dead = store.owner(0)
    lost = store.held_by(dead)
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    dead.kill()

    first = await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    second = await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    read = await store.nodes.read([store.get(bucket) for bucket in BUCKETS])

    assert kinds([first[bucket] for bucket in lost]) <= {UnavailableError, CommitUnknownError}
    assert kinds([second[bucket] for bucket in lost] + [read[bucket] for bucket in lost]) == {UnavailableError}
    assert [second[bucket] for bucket in BUCKETS if bucket not in lost] == [3] * (len(BUCKETS) - len(lost))
    assert [read[bucket] for bucket in BUCKETS if bucket not in lost] == [b"3"] * (len(BUCKETS) - len(lost))


async def test_a_server_that_is_known_to_be_dead_is_not_called(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    dead = store.owner(0)
    dead.kill()
    await store.nodes.write([store.add(0)])
    called = list[int]()
    run = Server.run

    async def noted(server: Server, lane: Lane, calls: Sequence[Call]) -> list[RawReply]:
        called.append(server.address.port)
        return await run(server, lane, calls)

    monkeypatch.setattr(Server, "run", noted)
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])

    assert len(called) == 2
    assert dead.port not in called


async def test_the_replica_of_a_dead_server_is_found_without_being_told(store: Store) -> None:
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    dead = store.owner(0)
    await asyncio.to_thread(dead.await_replicas)

    heir = await asyncio.to_thread(store.servers.lose, dead)

    assert await store.until_answered(0) == 2
    assert store.owner(0) is heir


async def test_an_orderly_failover_loses_nothing_and_refuses_little(store: Store) -> None:
    failover = asyncio.ensure_future(asyncio.to_thread(store.servers.fail_over, store.owner(0)))
    done = 0
    while not failover.done():
        done += 1
        assert await store.until_answered(0) == done
    assert await store.until_answered(0) == done + 1
    await failover


async def test_a_write_without_an_answer_is_unknown_and_a_read_is_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    await store.nodes.read([store.get(bucket) for bucket in BUCKETS])
    frozen = store.owner(0)
    mine, theirs = store.held_by(frozen)[0], store.held_by(store.another(frozen))[0]
    frozen.pause()
    writing = asyncio.ensure_future(store.nodes.write([store.add(mine), store.add(theirs)]))
    reading = asyncio.ensure_future(store.nodes.read([store.get(mine), store.get(theirs)]))
    await asyncio.to_thread(frozen.kill)

    written, read = await writing, await reading

    assert isinstance(written[0], CommitUnknownError)
    assert written[1] == 2
    assert isinstance(read[0], UnavailableError)
    assert read[1] in {b"1", b"2"}


async def test_a_cluster_is_not_examined_while_a_master_is_down(store: Store) -> None:
    """It is known to be away, so nobody is asked, and no question is left behind."""
    *_, last = store.nodes._members.masters
    (dead,) = (node for node in store.servers.masters() if node.port == last.port)
    dead.kill()
    await store.nodes.write([store.add(bucket) for bucket in BUCKETS])

    with pytest.raises(UnavailableError, match="does not answer"):
        await store.nodes.facts()


async def test_a_cluster_without_a_majority_is_unavailable_and_recovers_by_itself(store: Store) -> None:
    first, second, left = store.servers.masters()
    dead = [first, second, store.servers.replica(first), store.servers.replica(second)]
    for node in dead:
        node.kill()
    await asyncio.to_thread(left.await_info, "cluster_state", "fail")

    answers = await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    assert kinds(answers) <= {UnavailableError, CommitUnknownError}
    again = await store.nodes.write([store.add(bucket) for bucket in BUCKETS])
    assert kinds(again) == {UnavailableError}
    with pytest.raises(UnavailableError):
        await store.nodes.nudged(dict.fromkeys(BUCKETS, 0), 0)

    for node in dead:
        await asyncio.to_thread(node.revive)
    for bucket in (0, 1, 2, 3):
        assert await store.until_answered(bucket) >= 1


# -- Watching ----------------------------------------------------------------------------------------------------------


async def test_whoever_waits_is_told_of_a_change_in_any_bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REDIS_PATROL", timedelta(seconds=2 * PATIENCE_S))  # by the server, not by looking
    positions = dict.fromkeys(BUCKETS, 0)
    for number, bucket in enumerate((0, 1, 64, 127), start=1):
        waiting = asyncio.ensure_future(store.nodes.nudged(positions, 2 * PATIENCE_S))
        await store.note(bucket, number)

        async with asyncio.timeout(PATIENCE_S):
            assert await waiting == [bucket]
        positions[bucket] = number
        assert list(await store.nodes.nudged(positions, 0)) == []


async def test_what_is_there_already_is_told_at_once_to_everybody_who_has_not_seen_it(store: Store) -> None:
    seen, unseen = dict.fromkeys(BUCKETS, 0) | {5: 3}, dict.fromkeys(BUCKETS, 0)
    await store.note(5, 3)

    for _ in range(2):
        assert list(await store.nodes.nudged(unseen, PATIENCE_S)) == [5]
        assert list(await store.nodes.nudged(seen, 0)) == []
    await store.note(5, 4)
    assert list(await store.nodes.nudged(seen, PATIENCE_S)) == [5]
    assert list(await store.nodes.nudged(unseen, PATIENCE_S)) == [5]


async def test_a_stream_that_has_lost_its_end_is_told_like_a_change(store: Store) -> None:
    await store.note(5, 3)

    assert list(await store.nodes.nudged({5: 7}, PATIENCE_S)) == [5]


async def test_a_change_is_told_after_its_server_was_replaced(store: Store) -> None:
    positions = dict.fromkeys(BUCKETS, 0)
    waiting = asyncio.ensure_future(store.until_told(positions))
    await asyncio.to_thread(store.servers.lose, store.owner(9))
    await store.until_answered(9)
    await store.note(9, 1)

    assert await waiting == [9]


async def test_a_change_is_told_by_a_server_that_took_over_unnoticed(store: Store) -> None:
    """Proves that a store which only watches finds the new master, with no call that would be sent on to it."""
    await store.note(9, 1)
    positions = dict.fromkeys(BUCKETS, 0) | {9: 1}
    assert list(await store.nodes.nudged(positions, 0)) == []
    waiting = asyncio.ensure_future(store.until_told(positions))

    heir = await asyncio.to_thread(store.servers.fail_over, store.owner(9))
    heir.ask("HSET", store.keyspace.meta(9), LAST_CHANGE, "2")
    heir.ask("XADD", store.keyspace.changes(9), "2-0", "a", "b")

    assert await waiting == [9]


async def test_a_change_is_told_though_the_server_that_would_tell_it_is_silent(store: Store) -> None:
    await store.note(9, 1)
    positions = dict.fromkeys(BUCKETS, 0) | {9: 1}
    assert list(await store.nodes.nudged(positions, 0)) == []
    waiting = asyncio.ensure_future(store.until_told(positions))
    frozen = store.owner(9)
    heir = store.servers.replica(frozen)

    frozen.pause()
    await asyncio.to_thread(store.servers.await_heir, heir)
    heir.ask("HSET", store.keyspace.meta(9), LAST_CHANGE, "2")
    heir.ask("XADD", store.keyspace.changes(9), "2-0", "a", "b")

    assert await waiting == [9]


async def test_a_change_is_told_after_its_slot_has_moved(store: Store) -> None:
    await store.note(9, 1)
    positions = dict.fromkeys(BUCKETS, 0) | {9: 1}
    waiting = asyncio.ensure_future(store.nodes.nudged(positions, PATIENCE_S))
    source = store.owner(9)
    await asyncio.to_thread(store.servers.move_slot, store.slot(9), store.another(source))
    store.owner(9).ask("HSET", store.keyspace.meta(9), LAST_CHANGE, "2")
    store.owner(9).ask("XADD", store.keyspace.changes(9), "2-0", "a", "b")

    assert await waiting == [9]
    await asyncio.to_thread(store.servers.move_slot, store.slot(9), source)


async def test_a_dead_server_keeps_nobody_from_the_changes_of_the_others(store: Store) -> None:
    dead = store.owner(0)
    living = store.held_by(store.another(dead))[0]
    positions = dict.fromkeys(BUCKETS, 0)
    assert list(await store.nodes.nudged(positions, 0)) == []
    dead.kill()
    await store.note(living, 1)

    assert list(await store.nodes.nudged(positions, PATIENCE_S)) == [living]


# -- Opening and closing -----------------------------------------------------------------------------------------------


async def test_one_server_that_answers_is_enough_to_find_the_others(servers: ClusterServers) -> None:
    host = f"127.0.0.1:{servers.nodes[-1].port}"  # a replica, behind one that nobody serves
    nodes = Cluster(locate(f"redis+cluster://127.0.0.1:1,{host}/?prefix=open"))

    await nodes.open()

    assert await nodes.read([Call(0, GET, (b"open:a:{0}",), ())]) == [None]
    await nodes.close()


async def test_a_cluster_that_nobody_serves_is_unavailable() -> None:
    nodes = Cluster(locate("redis+cluster://127.0.0.1:1,127.0.0.1:2/"))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:2"):
        await nodes.open()
    await nodes.close()


async def test_a_server_that_is_no_part_of_a_cluster_is_refused_with_what_to_write() -> None:
    with Redis() as server:
        nodes = Cluster(locate(server.url().replace("redis://", "redis+cluster://")))
        with pytest.raises(InvalidError, match="write redis://"):
            await nodes.open()
        await nodes.close()


async def test_closing_leaves_no_connection_and_no_task(store: Store) -> None:
    tasks = asyncio.all_tasks()
    nodes = Cluster(locate(store.servers.url("closing")))
    await nodes.open()
    await nodes.write([store.add(bucket) for bucket in BUCKETS])
    await nodes.nudged(dict.fromkeys(BUCKETS, 0), 0)
    store.servers.masters()[0].kill()
    await nodes.write([store.add(bucket) for bucket in BUCKETS])  # tasks begin to look for it

    await nodes.close()

    assert asyncio.all_tasks() == tasks


async def test_closing_ends_whoever_waits(store: Store) -> None:
    waiting = asyncio.ensure_future(store.nodes.nudged(dict.fromkeys(BUCKETS, 0), PATIENCE_S))
    await store.note(0, 1)
    assert await waiting == [0]
    waiting = asyncio.ensure_future(store.nodes.nudged({1: 0}, PATIENCE_S))
    await asyncio.sleep(0)

    await store.nodes.close()

    with pytest.raises(ClosedError):
        await waiting
