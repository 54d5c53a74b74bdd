"""The servers of the tests: shared by a run, gone after it, and honest about what is missing."""

import asyncio
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

import sojourn
from sojourn.kernel import Key, Put, Transaction, ids
from tests.servers import NotInstalledError, Postgres, Redis, ServerError, fresh, leave, shared, sharing
from tests.servers.binaries import find
from tests.servers.process import READY_S, family
from tests.servers.proxy import Proxy

SHARE = """
import sys
from tests.servers import shared, sharing
with sharing():
    print(shared("valkey"), flush=True)
    sys.stdin.read()
"""


def connected(url: str) -> socket.socket:
    """Return a connection to the server that the URL names."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), READY_S)


def is_closed(connection: socket.socket) -> bool:
    """Wait for what the other side does next, and say whether that was to go away."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """What stands in each table and sequence of a schema, but for what no two stores have alike."""
    place, schema = url.split("?schema=")
    with psycopg.connect(place) as connection:
        kinds = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'S')",
            [schema],
        )
        found = {
            name: connection.execute(f"SELECT * FROM {schema}.{name}".encode()).fetchall()  # noqa: S608  names of ours
            for (name,) in kinds.fetchall()
        }
    found["migrations"] = [(*row[:2],) for row in found["migrations"]]
    found["store"] = [(len(identity), *rest) for identity, *rest in found["store"]]
    return found


def test_a_run_has_one_server_of_each_kind() -> None:
    """Proves that whoever asks gets the same server, also a process that a test has started."""
    asked = "from tests.servers import shared; print(shared('valkey'))"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    assert told == shared("valkey")


def test_a_server_of_somebody_else_is_used_when_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that nothing is started then, and that the run says whose server it was."""
    monkeypatch.delenv("SOJOURN_TEST_SERVERS")
    monkeypatch.setenv("SOJOURN_TEST_REDIS_CLUSTER_URL", "redis+cluster://example/")
    with sharing() as started:
        assert shared("redis-cluster") == "redis+cluster://example/"
        assert [server.version for server in started] == ["given by SOJOURN_TEST_REDIS_CLUSTER_URL"]


async def test_a_schema_that_was_used_before_is_like_a_new_one() -> None:
    """Proves that nothing is left of who had it: no row of any table, and no number that was drawn."""
    url = fresh("postgres18")
    used = list[str]()
    unused = list[dict[str, list[tuple[object, ...]]]]()
    while url not in used:
        async with sojourn.open(url) as store:
            unused.append(contents(url))
            await store.commit(Transaction(ids.new(), writes=(Put(Key("space", "partition", "item"), b""),)))
        assert contents(url) != unused[-1]
        leave(url)
        used.append(url)
        url = fresh("postgres18")
    assert contents(url) == unused[0]
    assert all(like == unused[0] for like in unused)
    leave(url)


async def test_a_schema_that_somebody_still_uses_is_not_used_again() -> None:
    """Proves that what a test has left running writes into nobody else's store."""
    url = fresh("postgres18")
    async with sojourn.open(url) as store:
        await store.commit(Transaction(ids.new(), writes=(Put(Key("space", "partition", "item"), b""),)))
        leave(url)
        for _ in range(10):
            other = fresh("postgres18")
            assert other != url
            leave(other)


def test_servers_end_with_the_run_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that no server is left when the process that shares it is killed."""
    monkeypatch.delenv("SOJOURN_TEST_SERVERS")
    with subprocess.Popen(
        [sys.executable, "-c", SHARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        with connected(run.stdout.readline().strip()) as connection:
            run.kill()
            assert is_closed(connection)


def test_a_server_keeps_its_port_and_its_data() -> None:
    """Proves that a killed server comes back where it was, with what it had."""
    with Redis("valkey", appendonly="yes", appendfsync="always") as server:
        with connected(server.url()) as connection:
            connection.sendall(b"SET kept 17\r\n")
            assert connection.recv(5) == b"+OK\r\n"
            server.kill()
            assert is_closed(connection)
        server.start()
        with connected(server.url()) as connection:
            connection.sendall(b"GET kept\r\n")
            assert connection.recv(8) == b"$2\r\n17\r\n"


def test_a_frozen_server_answers_nobody_and_then_goes_on() -> None:
    """Proves that the backends of PostgreSQL are frozen with it: a question of before is answered when it goes on."""
    with Postgres() as server, ThreadPoolExecutor(1) as asking, psycopg.connect(server.url()) as connection:
        server.pause()
        try:
            answer = asking.submit(connection.execute, "SELECT 17")
            assert set(family(server.pid).values()) == {"T"}
            assert len(family(server.pid)) > 1
            assert not answer.done()
        finally:
            server.resume()
        assert answer.result(READY_S).fetchone() == (17,)


def test_a_server_that_does_not_start_says_why() -> None:
    """Proves that the end of a server's log is in the error."""
    with pytest.raises(ServerError, match="no-such-setting"), Redis("valkey", no_such_setting="1"):
        pass


def test_what_is_not_installed_is_an_error_that_says_how_to_install_it() -> None:
    """Proves that a missing server is no reason to leave tests out."""
    with pytest.raises(NotInstalledError, match="apt-get install it"):
        find("no-such-server", (), "apt-get install it")


async def test_a_proxy_cuts_connections_and_only_when_told_to() -> None:
    """Proves that bytes pass both ways until the proxy cuts, and that then every connection ends."""
    with Redis("valkey") as server:
        async with Proxy(server.port, seed=1) as proxy:
            for cuts in (0, 1, 2):
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                writer.write(b"PING\r\n")
                assert await reader.readexactly(7) == b"+PONG\r\n"
                assert proxy.cuts == cuts
                proxy.is_cutting = True
                writer.write(b"PING\r\n" * 10_000)
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await reader.readexactly(70_000)
                await proxy.reaches(cuts + 1)
                proxy.is_cutting = False
                writer.transport.abort()
