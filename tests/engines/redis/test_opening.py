"""Opening a store: what is refused, each by one clear error, and what the server is found to promise."""

import asyncio
import contextlib
import re
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import redis

from sojourn import limits
from sojourn.engines.redis import RedisEngine
from sojourn.engines.redis.facts import check_fit, findings, is_durable
from sojourn.engines.redis.nodes import NodeFacts
from sojourn.errors import IncompatibleError, InvalidError, SojournError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import Committed, Put, Reads, Transaction
from tests.engines.redis.fakes import CERTIFICATE, behind_tls, saying
from tests.engines.redis.waiting import until
from tests.servers import DURABLE, Redis

SECRET = "hunter2"  # noqa: S105  what no message may tell
KEY = Key("s", "p", "i")


async def refused(url: str, kind: type[SojournError], says: str) -> None:
    """Expect that the store cannot be opened, twice alike."""
    engine = RedisEngine(url)
    for _ in range(2):
        with pytest.raises(kind, match=says) as caught:
            await engine.open()
        assert type(caught.value) is kind
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    await engine.close()


async def works(url: str) -> RedisEngine:
    """Expect that the store opens, writes and reads; return its engine, closed."""
    engine = RedisEngine(url)
    await engine.open()
    try:
        (done,) = await engine.commit([Transaction(ids.new(), writes=(Put(KEY, b"v"),))])
        assert isinstance(done, Committed)
        (found,) = (await engine.read(Reads((KEY,)))).records.keys
        assert found is not None
    finally:
        await engine.close()
    return engine


def client(server: Redis) -> Any:
    return redis.Redis(port=server.port, protocol=2)


# -- Where there is no such server -------------------------------------------------------------------------------------


async def test_nobody_answers(server: Redis) -> None:
    server.stop()
    await refused(server.url(), UnavailableError, f"127.0.0.1:{server.port} cannot be reached")


async def test_no_such_host() -> None:
    await refused("redis://nobody.invalid", UnavailableError, "no host is found by the name nobody.invalid")


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", InvalidError, "does not speak the protocol of Redis"),
        (b"+OK\r\n", InvalidError, "does not say that it is Redis"),
        (b"", UnavailableError, "ended the connection.*rediss"),
        (b"-ERR unknown command `HELLO`\r\n", InvalidError, "too old"),
        (b"-ERR unknown command `HELLO`, with args beginning with: `AUTH`, `hunter2`\r\n", InvalidError, "too old"),
        (b"-ERR max number of clients reached\r\n", UnavailableError, "too many connections"),
        (b"-DENIED Redis is running in protected mode\r\n", InvalidError, "protected mode"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", UnavailableError, "still loading"),
        (b"-ERR something new\r\n", InvalidError, "refuses what a store needs"),
    ],
)
async def test_something_else_answers(answer: bytes, kind: type[SojournError], says: str) -> None:
    async with saying(answer) as port:
        await refused(f"redis://127.0.0.1:{port}", kind, says)


# -- TLS ---------------------------------------------------------------------------------------------------------------


async def test_a_store_behind_tls_works(server: Redis) -> None:
    async with behind_tls(server.port) as port:
        await works(f"rediss://localhost:{port}?ssl_ca_certs={CERTIFICATE}")


async def test_a_certificate_that_nobody_vouches_for(server: Redis) -> None:
    async with behind_tls(server.port) as port:
        await refused(f"rediss://localhost:{port}", InvalidError, "does not prove that it is this host.*ssl_ca_certs")


async def test_a_certificate_of_another_host(server: Redis) -> None:
    async with behind_tls(server.port) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={CERTIFICATE}"
        await refused(url, InvalidError, "does not prove that it is this host.*127.0.0.1")


async def test_tls_where_there_is_none(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for the rest of what it takes for a command, until we give up."""
    monkeypatch.setattr(limits, "REDIS_CONNECT", timedelta(milliseconds=100))
    url = server.url().replace("redis://", "rediss://")
    await refused(url, UnavailableError, "does not answer.*it takes TLS .* or not")


async def test_none_where_there_is_tls(server: Redis) -> None:
    async with behind_tls(server.port) as port:
        await refused(f"redis://localhost:{port}", UnavailableError, "rediss")


# -- Who may come in ---------------------------------------------------------------------------------------------------


async def test_a_password_is_asked_for() -> None:
    with Redis(requirepass=SECRET) as server:
        await works(server.url())
        await refused(server.url(password=SECRET[:-1]), InvalidError, "url: the user or the password is wrong")
        await refused(f"redis://127.0.0.1:{server.port}", InvalidError, "url: the server asks for a password")


async def test_a_user_of_its_own(server: Redis, admin: Any) -> None:
    admin.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~mine:*", "+@all", "-@admin", "-@dangerous")
    found = await works(server.url("mine", user="app", password=SECRET))
    assert not found.describe().durable
    await refused(server.url("other", user="app", password=SECRET), InvalidError, "user: .*it may not")
    admin.execute_command("ACL", "SETUSER", "app", "off")
    await refused(server.url("mine", user="app", password=SECRET), InvalidError, "disabled")


@pytest.mark.parametrize(("forbidden", "says"), [("-evalsha", "evalsha"), ("-xadd", "XADD")])
async def test_a_right_that_is_missing_is_named(server: Redis, forbidden: str, says: str) -> None:
    with client(server) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all", forbidden)
    await refused(server.url(user="app", password=SECRET), InvalidError, f"user: .*it may not .*{says}")


async def test_settings_that_may_not_be_asked_for(server: Redis) -> None:
    with client(server) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all", "-config")
    engine = RedisEngine(server.url(user="app", password=SECRET))
    await engine.open()
    found = {finding.name: finding for finding in await engine.examine()}
    await engine.close()
    assert not engine.describe().durable
    assert "CONFIG GET" in (found["settings"].advice or "")


# -- Servers that will not do ------------------------------------------------------------------------------------------


async def test_a_database_that_is_not_there(server: Redis) -> None:
    url = server.url().replace("/0", "/15")
    await works(url)
    await refused(url.replace("/15", "/16"), InvalidError, "url: the server has no database of that number")


async def test_a_server_that_evicts() -> None:
    with Redis(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        await refused(server.url(), InvalidError, "allkeys-lru.*set maxmemory-policy noeviction")


async def test_a_replica(server: Redis) -> None:
    with Redis(replicaof=f"127.0.0.1 {server.port}") as replica:
        await refused(replica.url(), InvalidError, "url: .* is a replica.*name its primary")


async def test_a_part_of_a_cluster() -> None:
    with Redis(cluster_enabled="yes") as server:
        await refused(server.url(), InvalidError, "redis[+]cluster://")


def test_a_server_that_is_too_old() -> None:
    with pytest.raises(InvalidError, match=r"Redis 6\.0\.16; sojourn needs 6\.2"):
        check_fit(NodeFacts("host:1", {"redis_version": "6.0.16"}, None))


# -- What stands there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["set", "hset"])
@pytest.mark.parametrize("kind", ["meta", "records", "changes"])
async def test_keys_of_somebody_else(server: Redis, kind: str, verb: str) -> None:
    """Also when they are of the kind that ours would be."""
    key = f"test:{kind}:{{0}}"
    with client(server) as other:
        getattr(other, verb)(key, *["theirs"] * (1 if verb == "set" else 2))
        await refused(server.url("test"), IncompatibleError, re.escape(f"the key {key} is not") + ".*prefix=")
        assert other.keys() == [key.encode()]


async def test_a_store_of_a_newer_release(server: Redis) -> None:
    await works(server.url("test"))
    with client(server) as other:
        other.hset("test:meta:{0}", "format", "2")
    await refused(server.url("test"), IncompatibleError, "newer release")


async def test_a_store_of_a_cluster(server: Redis) -> None:
    await works(server.url("test"))
    with client(server) as other:
        other.hset("test:meta:{0}", "buckets", "128")
    await refused(server.url("test"), IncompatibleError, "128 buckets.*redis[+]cluster")


async def test_two_who_make_a_store_at_a_time_agree(server: Redis) -> None:
    engines = [RedisEngine(server.url("test")) for _ in range(8)]
    await asyncio.gather(*(engine.open() for engine in engines))
    positions = {(await engine.changes(None, 0)).position for engine in engines}
    assert len(positions) == 1
    for engine in engines:
        await engine.close()


async def test_stores_of_two_prefixes_do_not_meet(server: Redis) -> None:
    await works(server.url("test"))
    other = RedisEngine(server.url("test2"))
    await other.open()
    assert (await other.read(Reads((KEY,)))).records.keys == (None,)
    await other.close()


async def test_opening_that_is_cancelled_leaves_no_connection(server: Redis) -> None:
    for rounds in range(40):
        engine = RedisEngine(server.url())
        opening = asyncio.create_task(engine.open())
        for _ in range(rounds):
            await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await engine.close()
    with client(server) as other:
        await until(lambda: len(other.client_list()) <= 1)


# -- What it promises --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "durable"),
    [
        (DURABLE, True),
        ({}, False),
        ({"appendonly": "yes", "appendfsync": "everysec"}, False),
        ({"appendonly": "no", "appendfsync": "always"}, False),
        ({**DURABLE, "no_appendfsync_on_rewrite": "yes"}, False),
    ],
    ids=["always", "memory", "everysec", "appendonly no", "not while rewriting"],
)
async def test_durability_is_what_the_settings_promise(settings: Mapping[str, str], durable: bool) -> None:  # noqa: FBT001
    with Redis("valkey", **settings) as server:
        engine = RedisEngine(server.url())
        assert not engine.describe().durable
        await engine.open()
        assert engine.describe().durable == durable
        (persistence,) = (found for found in await engine.examine() if found.name == "persistence")
        assert (persistence.advice is None) == durable
        await engine.close()


def test_a_replica_beside_it_may_take_over_without_the_newest() -> None:
    settings = {**DURABLE, "maxmemory-policy": "noeviction"}
    settings = {name.replace("_", "-"): value for name, value in settings.items()}
    alone = NodeFacts("a:1", {"redis_version": "7.0.0", "connected_slaves": "0"}, settings)
    followed = alone._replace(info={**alone.info, "connected_slaves": "1"})
    assert is_durable([alone])
    assert not is_durable([alone, followed])
    assert not is_durable([alone._replace(info={})])
    (advice,) = (found.advice for found in findings([followed]) if found.name == "replicas")
    assert advice is not None


def test_a_server_that_is_nearly_full_is_told_of() -> None:
    def advice(used: int) -> str | None:
        node = NodeFacts("a:1", {"used_memory": str(used), "maxmemory": "1000"}, None)
        (found,) = (found for found in findings([node]) if found.name == "memory")
        return found.advice

    assert advice(700) is None
    assert "maxmemory" in (advice(900) or "")


def test_several_servers_are_told_apart() -> None:
    nodes = [NodeFacts(name, {"redis_version": "7.0.0"}, None) for name in ("a:1", "b:2")]
    told = [found.found for found in findings(nodes) if found.name == "version"]
    assert told == ["a:1: Redis 7.0.0", "b:2: Redis 7.0.0"]
