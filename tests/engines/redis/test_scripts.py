"""What the scripts do where no engine would lead them: poison, lost data, clocks that differ, odd numbers."""

import contextlib
import hashlib
import struct
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.engines.redis import RedisEngine, scripts
from sojourn.engines.redis.batch import pack
from sojourn.errors import CommitUnknownError, SojournError
from sojourn.kernel import ids
from sojourn.kernel.keys import Key, Now, RankSpan, Span
from sojourn.kernel.transaction import Append, Committed, Delete, DeleteSpan, Put, Reads, Touch, Transaction, instant
from sojourn.testing import ManualClock
from tests.servers import Redis

KEY = Key("s", "p", "i")


async def committed(engine: RedisEngine, *writes: Any) -> Committed:
    (outcome,) = await engine.commit([Transaction(ids.new(), writes=writes)])
    assert isinstance(outcome, Committed)
    return outcome


def test_a_script_is_known_by_its_digest() -> None:
    """And those that say that they only read call nothing that writes."""
    for name in scripts.__all__:
        script = getattr(scripts, name)
        if isinstance(script, scripts.Script):
            assert script.digest.decode() == hashlib.sha1(script.text, usedforsecurity=False).hexdigest()
            writes = [word for word in (b"'HSET'", b"'ZADD'", b"'XADD'", b"'UNLINK'") if word in script.text]
            assert script.only_reads == (not writes)


@pytest.mark.promise(1, 10)
async def test_poison_is_refused_alone(engine: RedisEngine) -> None:
    """A transaction that cannot be applied changes nothing at all; those before and behind it are whole."""
    assert engine._opened is not None
    caller, nodes = engine._opened.caller, engine._opened.nodes
    keys = [Key("s", "p", item) for item in "abcde"]
    packed = pack([Transaction(ids.new(), writes=(Put(key, b"v", rank=1),)) for key in keys])
    names, transactions = msgspec.msgpack.decode(packed.work)
    poisoned = transactions[2]
    poisoned[3] += ["put", 5, 12, "no rank", False]  # beside a good write, which must not be applied either
    call = caller.writing(scripts.COMMIT, 0, packed.ids, msgspec.msgpack.encode((names, transactions)), *packed.values)
    (reply,) = await nodes.write([call])
    assert not isinstance(reply, SojournError)
    _, outcomes = reply
    assert [type(outcome) is int for outcome in outcomes] == [True, True, False, True, True]
    assert outcomes[2][0] == 3
    assert b"number" in outcomes[2][1] or b"arithmetic" in outcomes[2][1]
    (page,) = (await engine.read(Reads(spans=(Span("s", "p"),)))).records.spans
    assert [record.key.item for record in page] == ["a", "b", "d", "e"]
    assert len((await engine.rank(RankSpan("s"))).records) == 4


@pytest.mark.promise(4)
async def test_revisions_grow_after_all_data_is_lost(server: Redis, clock: ManualClock) -> None:
    """They follow the time, so what is drawn after a loss is greater than what was drawn before it."""
    engine = RedisEngine(server.url("test"), clock=clock)
    await engine.open()
    last = 0
    for _ in range(3):
        for _ in range(5):
            revision = (await committed(engine, Put(KEY, b""))).revision or 0
            assert revision > last
            last = revision
        server.kill()
        server.start()
        clock.advance(timedelta(milliseconds=1))
        for _ in range(2):  # the loop has yet to notice
            with contextlib.suppress(CommitUnknownError):
                await engine.commit([Transaction()])
    await engine.close()


@pytest.mark.promise(6)
async def test_time_does_not_follow_a_server_whose_clock_is_behind(server: Redis) -> None:
    """As after a failover to another host: what this process has seen stays, and is written down for the others."""
    engine, other = (RedisEngine(server.url("test")) for _ in range(2))
    await engine.open()
    await other.open()
    assert engine._opened is not None
    ahead = (await engine.read(Reads())).now + 3_600_000
    for seen in (ahead, ahead - 1):  # the second from a server that is behind
        engine._opened.caller.saw(seen)
    assert (await other.read(Reads())).now < ahead
    for _ in range(2):
        assert (await engine.read(Reads())).now == ahead
        assert (await engine.rank(RankSpan("s"))).now == ahead
        done = await committed(engine, Put(KEY, b"", rank=Now(), ttl=timedelta(seconds=1)))
        assert done.now == ahead
    assert (await other.read(Reads())).now == ahead
    for each in (engine, other):
        await each.close()


async def test_the_server_tells_the_time(server: Redis, admin: Any) -> None:
    engine = RedisEngine(server.url("test"))
    await engine.open()
    seconds, _ = admin.time()
    now = (await committed(engine, Put(KEY, b""))).now
    assert seconds * 1_000 <= now <= seconds * 1_000 + 60_000
    await engine.close()


@pytest.mark.promise(8, 6)
async def test_ranks_beyond_what_may_be_given_are_exact(engine: RedisEngine, clock: ManualClock) -> None:
    """An offset of the greatest rank from now on lies beyond it."""
    most = limits.RANK_MAX
    ranks: list[int | Now] = [Now(most), Now(most - 1), Now(-most), most, -most, 0, -1, 1]
    await committed(engine, *(Put(KEY._replace(item=str(place)), b"", rank=rank) for place, rank in enumerate(ranks)))
    expected = sorted(rank if isinstance(rank, int) else rank.offset + clock.now() for rank in ranks)
    page = await engine.rank(RankSpan("s", Now(-most), Now(most)))
    within = [rank for rank in expected if clock.now() - most <= rank]
    assert [record.rank for record in page.records] == within


@pytest.mark.promise(6)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 10, 1_000, 86_400_000, 2**40 + 1, 2**52 - 1])
async def test_rounding_up_is_exact(engine: RedisEngine, clock: ManualClock, step: int) -> None:
    """Below zero, at it, and where a division of doubles would be off by one."""
    now = clock.now()
    offsets = [-now, -now - 1, 1 - now, -now - step, -3 * now, 0, 1, limits.RANK_MAX // 2, limits.RANK_MAX // 2 + 1]
    ranks = [Now(offset, step) for offset in offsets]
    keys = tuple(KEY._replace(item=str(place)) for place in range(len(ranks)))
    await committed(engine, *(Put(key, b"", rank=rank) for key, rank in zip(keys, ranks, strict=True)))
    found = (await engine.read(Reads(keys))).records.keys
    assert [record and record.rank for record in found] == [instant(rank, now) for rank in ranks]


@pytest.mark.promise(1)
async def test_nothing_is_left_of_what_is_gone(engine: RedisEngine, clock: ManualClock, admin: Any) -> None:
    """Deleted, expired and swept: no index keeps anything of it."""
    hour = timedelta(hours=1)
    await committed(engine, *(Put(KEY._replace(item=str(item)), b"", rank=item, ttl=hour) for item in range(40)))
    await committed(engine, *(Touch(KEY._replace(item=str(item)), rank=-item, ttl=2 * hour) for item in range(20)))
    await committed(engine, *(Touch(KEY._replace(item=str(item)), rank=None, ttl=None) for item in range(10)))
    await committed(engine, *(Delete(KEY._replace(item=str(item))) for item in range(5)))
    clock.advance(hour)
    await committed(engine, Put(KEY._replace(item="30"), b"over a dead one"))
    while (await engine.sweep(7)).more:
        pass
    kept = {
        kind: admin.execute_command("HLEN" if kind == "records" else "ZCARD", f"test:{kind}:{{0}}")
        for kind in ("records", "items", "ranks", "expiries")
    }
    assert kept == {"records": 16, "items": 16, "ranks": 10, "expiries": 10}
    await committed(engine, DeleteSpan(Span("s", "p")))
    assert not admin.exists(*(f"test:{kind}:{{0}}" for kind in kept))


@pytest.mark.promise(1, 2)
async def test_span_deletions_of_one_transaction_see_each_other(engine: RedisEngine) -> None:
    await committed(engine, *(Put(KEY._replace(item=item), b"") for item in "abcdef"))
    done = await committed(
        engine, DeleteSpan(Span("s", "p", "a", "d"), 2), DeleteSpan(Span("s", "p"), 3), Put(KEY._replace(item="a"), b"")
    )
    (page,) = (await engine.read(Reads(spans=(Span("s", "p"),)))).records.spans
    assert done.remaining
    assert [record.key.item for record in page] == ["a", "f"]


@pytest.mark.promise(13)
async def test_receipts_are_dropped_as_a_whole(engine: RedisEngine, clock: ManualClock, admin: Any) -> None:
    """Those of this period and the last one are kept, whether or not anybody sweeps."""
    for _ in range(6):
        await committed(engine, Append("s", "p", "log/", b""))
        assert sum(admin.hlen(f"test:receipts-{parity}:{{0}}") for parity in (0, 1)) <= 2
        clock.advance(limits.RECEIPT_KEEP)
    swept = [(await engine.sweep(10)).receipts for _ in range(2)]
    assert swept == [1, 0]
    clock.advance(10 * limits.RECEIPT_KEEP)
    assert (await engine.sweep(10)).receipts == 1


def test_a_packed_record_is_its_head_and_its_value() -> None:
    assert struct.calcsize("<ddd") == 24
