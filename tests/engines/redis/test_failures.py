"""What goes wrong while a store is used: each has its own error, and the engine goes on afterwards by itself."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import hiredis
import pytest
import redis

from sojourn import limits
from sojourn.engines.redis import RedisEngine, failures
from sojourn.engines.redis import server as server_module
from sojourn.engines.redis.connection import Connection
from sojourn.engines.redis.slots import Address
from sojourn.errors import ClosedError, CommitUnknownError, CorruptError, InvalidError, SojournError, UnavailableError
from sojourn.kernel import Store, ids
from sojourn.kernel.engine import Answer, BatchRefusedError
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.transaction import Committed, Delete, Put, Reads, Transaction
from sojourn.testing import ManualClock
from tests.engines.redis.waiting import until, until_blocked
from tests.servers import Redis

ADDRESS = Address("host", 1)
KEY = Key("s", "p", "i")


def put(item: str, value: bytes = b"v") -> Transaction:
    return Transaction(ids.new(), writes=(Put(KEY._replace(item=item), value),))


async def items(engine: RedisEngine) -> list[str]:
    (page,) = (await engine.read(Reads(spans=(Span("s", "p", limit=1_000),)))).records.spans
    return [record.key.item for record in page]


async def committed(engine: RedisEngine, item: str) -> Committed:
    (outcome,) = await engine.commit([put(item)])
    assert isinstance(outcome, Committed)
    return outcome


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on an answer soon, so that the test need not wait."""
    monkeypatch.setattr(server_module, "_ANSWER_S", 0.1)
    monkeypatch.setattr(limits, "REDIS_CONNECT", timedelta(milliseconds=100))


# -- What a server says ------------------------------------------------------------------------------------------------


@pytest.mark.promise(10)
@pytest.mark.parametrize("writing", [False, True])
@pytest.mark.parametrize("name", sorted({*failures._NOT_EXECUTED, *failures._REFUSED}))
@pytest.mark.parametrize(
    "form",
    [
        "{} something is wrong",
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -{} something is wrong",
        "{} something is wrong script: 1, on @user_script:1.",
    ],
    ids=["before", "inside, 6.2", "inside, 7"],
)
def test_a_refusal_wrote_nothing(name: str, form: str, *, writing: bool) -> None:
    """Whatever the server says instead of running a script comes as `UnavailableError`, with what to do.

    Rights alone are looked at in the middle of one.
    """
    said = hiredis.ReplyError(form.format(name))
    error = failures.refusal(said, ADDRESS, writing=writing)
    is_perhaps_half_done = name == "NOPERM" and writing and "script" in form
    assert type(error) is (CommitUnknownError if is_perhaps_half_done else UnavailableError)
    assert str(error).startswith("host:1: ")
    opening = failures.at_opening(error)
    assert isinstance(opening, InvalidError) == (name in failures._REFUSED)


@pytest.mark.promise(10)
def test_an_error_that_we_do_not_know_promises_nothing() -> None:
    said = hiredis.ReplyError("ERR user_script:7: attempt to index a nil value")
    assert type(failures.refusal(said, ADDRESS, writing=True)) is CommitUnknownError
    assert type(failures.refusal(said, ADDRESS, writing=False)) is CorruptError


@pytest.mark.promise(10, 1)
async def test_a_full_server_refuses_the_whole_batch(engine: RedisEngine, admin: Any) -> None:
    """Nothing is written, reads go on, and so do commits once there is room."""
    await committed(engine, "before")
    admin.config_set("maxmemory", 1)
    for batch in ([put("a"), put("b")], [Transaction(ids.new(), writes=(Delete(KEY),)), put("c")]):
        with pytest.raises(UnavailableError, match="memory is full; raise maxmemory"):
            await engine.commit(batch)
    assert await items(engine) == ["before"]
    admin.config_set("maxmemory", 0)
    await committed(engine, "after")
    assert await items(engine) == ["after", "before"]


@pytest.mark.promise(10)
async def test_a_server_that_wants_replicas(engine: RedisEngine, admin: Any) -> None:
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(UnavailableError, match="too few replicas"):
        await engine.commit([put("a")])
    admin.config_set("min-replicas-to-write", 0)
    assert not (await committed(engine, "a")).repeated


@pytest.mark.promise(10)
async def test_a_server_that_becomes_a_replica(engine: RedisEngine, admin: Any) -> None:
    admin.replicaof("127.0.0.1", 1)
    with pytest.raises(UnavailableError, match="name its primary"):
        await engine.commit([put("a")])
    admin.replicaof("NO", "ONE")
    assert not (await committed(engine, "a")).repeated


@pytest.mark.promise(10)
async def test_a_server_that_forgets_its_scripts(engine: RedisEngine, admin: Any) -> None:
    for number in range(3):
        admin.script_flush()
        await committed(engine, str(number))
        admin.script_flush()
        assert len(await items(engine)) == number + 1


@pytest.mark.promise(10)
async def test_rights_that_are_taken_away(server: Redis, admin: Any) -> None:
    """An open engine reports it as unavailable, or unknown: an operator may give them back."""
    admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
    engine = RedisEngine(server.url(user="app", password="secret"))  # noqa: S106
    await engine.open()
    for change, kind in (("-hset", CommitUnknownError), ("-evalsha", UnavailableError)):
        admin.execute_command("ACL", "SETUSER", "app", change)
        with pytest.raises(kind, match="ACL SETUSER"):
            await engine.commit([put("a")])
    admin.execute_command("ACL", "SETUSER", "app", "resetpass", ">other")
    admin.client_kill_filter(skipme=True)
    with pytest.raises((UnavailableError, CommitUnknownError)):  # the loop may have yet to notice
        await engine.commit([put("a")])
    with pytest.raises(UnavailableError, match="the password is wrong"):
        await engine.commit([put("a")])
    admin.execute_command("ACL", "SETUSER", "app", "+@all", ">secret")
    await committed(engine, "a")
    await engine.close()


@pytest.mark.promise(10)
async def test_a_right_that_a_script_lacks_half_way_does_not_mean_that_nothing_was_written() -> None:
    """A server before 7.0 cannot be asked for all rights at opening, and none undoes what a script has done."""
    with Redis("redis") as server, redis.Redis(port=server.port, protocol=2) as admin:
        engine = RedisEngine(server.url())
        admin.execute_command("ACL", "SETUSER", "default", "-zadd")
        await engine.open()
        with pytest.raises(CommitUnknownError, match="ACL SETUSER"):
            await engine.commit([put("a")])
        (found,) = (await engine.read(Reads((KEY._replace(item="a"),)))).records.keys
        assert found is not None
        await engine.close()


@pytest.mark.promise(10)
async def test_keys_that_somebody_else_has_used(engine: RedisEngine, admin: Any) -> None:
    await committed(engine, "a")
    admin.set("test:records:{0}", "theirs")
    with pytest.raises(CommitUnknownError, match="who else uses its keys"):
        await engine.commit([put("b")])
    for reading in (engine.read(Reads((KEY,))), engine.read(Reads(spans=(Span("s", "p"),)))):
        with pytest.raises(CorruptError):
            await reading


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    ("bad", "says"),
    [(put("\ud800"), "surrogates"), (put("bad", ["no bytes"]), "bytes")],  # type: ignore[arg-type]
    ids=["key", "value"],
)
async def test_what_cannot_be_packed_is_refused_before_it_is_sent(
    engine: RedisEngine, bad: Transaction, says: str
) -> None:
    with pytest.raises(BatchRefusedError, match=says):
        await engine.commit([put("good"), bad])
    assert await items(engine) == []


# -- Connections -------------------------------------------------------------------------------------------------------


@pytest.mark.promise(10)
@pytest.mark.usefixtures("impatient")
async def test_a_frozen_server(server: Redis, engine: RedisEngine, clock: ManualClock) -> None:
    """Every call ends: what was sent is unknown, what could not be sent is not written; then all goes on."""
    once = put("once")
    position = (await engine.changes(None, 0)).position
    server.pause()
    with pytest.raises(CommitUnknownError, match="no answer"):
        await engine.commit([once])
    for _ in range(2):
        with pytest.raises(UnavailableError, match="does not answer"):
            await engine.commit([put("never")])
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await engine.read(Reads((KEY,)))
        with pytest.raises(UnavailableError):
            await engine.rank(RankSpan("s"))
        with pytest.raises(UnavailableError):
            await engine.sweep(1)
        with pytest.raises(UnavailableError):
            await engine.changes(position, 0)
        with pytest.raises(UnavailableError):
            await engine.examine()
    server.resume()
    (outcome,) = await engine.commit([once])
    assert isinstance(outcome, Committed)
    assert await items(engine) == ["once"]
    assert clock.now() == outcome.now


@pytest.mark.promise(10, 13)
@pytest.mark.parametrize("then", ["stays frozen", "is killed", "takes no writes", "is full", "lets nobody in"])
@pytest.mark.usefixtures("impatient")
async def test_what_a_frozen_server_was_sent_is_never_said_not_to_be_written(
    server: Redis, admin: Any, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """It finds what was sent when it goes on, and what it answers to a repeat says nothing of that."""
    clock, real = ManualClock(), RedisEngine.commit
    times = 0

    async def commit(engine: RedisEngine, batch: Sequence[Transaction]) -> Sequence[Answer]:
        nonlocal times
        times += 1
        if times == 2 and then != "stays frozen":
            server.resume()
            if then == "is killed":
                server.kill()
            elif then == "takes no writes":
                admin.replicaof("127.0.0.1", 1)
            elif then == "is full":
                admin.config_set("maxmemory", 1)
            else:
                admin.execute_command("ACL", "SETUSER", "default", "-evalsha", "-hello")
        return await real(engine, batch)

    async with Store(RedisEngine(server.url("test")), clock=clock) as store:
        await store.commit(put("before"))
        monkeypatch.setattr(RedisEngine, "commit", commit)
        server.pause()
        async with clock.rushing():
            told = await asyncio.gather(*(store.commit(put(item)) for item in "abc"), return_exceptions=True)
    for each in told:  # a receipt is found without writing, so also by who may not write
        assert isinstance(each, CommitUnknownError) or (isinstance(each, Committed) and each.repeated)


@pytest.mark.promise(10)
async def test_a_crowd_waits_for_a_frozen_server_no_longer_than_one(
    server: Redis, engine: RedisEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All share one attempt to connect; nobody tries behind somebody else, in vain as well."""
    monkeypatch.setattr(server_module, "_ANSWER_S", 0.1)
    monkeypatch.setattr(limits, "REDIS_CONNECT", timedelta(milliseconds=300))
    server.pause()
    while True:  # until no connection is left
        try:
            await engine.read(Reads((KEY,)))
        except UnavailableError as error:
            if "does not answer" in str(error):
                break
    attempts = 0
    connect = Connection.open

    async def counted(*arguments: Any) -> Connection:
        nonlocal attempts
        attempts += 1
        return await connect(*arguments)

    monkeypatch.setattr(Connection, "open", counted)
    told = await asyncio.gather(*(engine.read(Reads((KEY,))) for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in told} == {UnavailableError}
    assert attempts == 1
    server.resume()
    assert await items(engine) == []


@pytest.mark.promise(10, 13)
async def test_a_server_that_is_killed_in_between(server: Redis, engine: RedisEngine) -> None:
    """The next commit after the restart connects again, and so do reads."""
    await committed(engine, "a")
    await items(engine)
    server.kill()
    with pytest.raises((UnavailableError, CommitUnknownError)):
        await engine.commit([put("b")])
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await engine.commit([put("b")])
    with pytest.raises(UnavailableError):
        await items(engine)
    server.start()
    await committed(engine, "c")
    assert await items(engine) == ["c"]  # this server keeps nothing on its disk, and never said so


@pytest.mark.promise(10)
async def test_connections_that_are_cut_are_made_anew(engine: RedisEngine, admin: Any) -> None:
    for number in range(3):
        await committed(engine, str(number))
        admin.client_kill_filter(skipme=True)
        while True:
            try:
                assert len(await items(engine)) == number + 1
            except UnavailableError:  # the loop has yet to notice
                continue
            break


@pytest.mark.promise(12)
async def test_cancelled_calls_leave_connections_as_they_are(engine: RedisEngine, admin: Any) -> None:
    """Answers that nobody waits for any more are passed over, and are given to nobody else."""
    await committed(engine, "a")
    await items(engine)
    before = {client["id"] for client in admin.client_list()}
    for rounds in range(20):
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(engine.read(Reads((KEY._replace(item="a"),)))),
            asyncio.create_task(engine.commit([put("a", b"%d" % rounds)])),
            asyncio.create_task(engine.rank(RankSpan("s"))),
        ]
        for _ in range(rounds % 4):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await items(engine) == ["a"]
        assert not (await committed(engine, "a")).repeated
    assert {client["id"] for client in admin.client_list()} == before


@pytest.mark.promise(12)
async def test_a_wait_that_is_cancelled_gives_its_connection_up(engine: RedisEngine, admin: Any) -> None:
    position = (await engine.changes(None, 0)).position
    before = len(admin.client_list())
    for _ in range(5):
        waiting = asyncio.create_task(engine.changes(position, 60))
        await until_blocked(admin)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: len(admin.client_list()) <= before)
    assert engine._opened is not None
    assert not engine._opened.nodes._waiting  # type: ignore[attr-defined]


@pytest.mark.promise(12)
async def test_closing_ends_every_connection_and_wait(engine: RedisEngine, admin: Any) -> None:
    position = (await engine.changes(None, 0)).position
    waiting = asyncio.create_task(engine.changes(position, 60))
    await until_blocked(admin)
    await engine.close()
    with pytest.raises(SojournError):
        await waiting
    await until(lambda: len(admin.client_list()) <= 1)
    for call in (engine.commit([put("a")]), engine.read(Reads()), engine.changes(None, 0), engine.sweep(1)):
        with pytest.raises(ClosedError):
            await call
