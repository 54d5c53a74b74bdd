"""One connection, and the lanes to one server: who gets which answer, on whichever loop."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import hiredis
import pytest

from sojourn.engines.redis.connection import Connection
from sojourn.engines.redis.failures import LostError
from sojourn.engines.redis.location import locate
from sojourn.engines.redis.server import Server
from sojourn.errors import ClosedError
from tests.engines.redis.waiting import PATIENCE_S
from tests.servers import Redis


async def connect(server: Redis, **callbacks: Any) -> Connection:
    location = locate(server.url())
    return await Connection.open(location.addresses[0], location.access, **callbacks)


async def test_answers_come_to_whom_they_belong(server: Redis) -> None:
    """Whatever is asked meanwhile, refused or cancelled by others."""
    connection = await connect(server)

    async def ask(number: int) -> None:
        commands = [(b"ECHO", b"%d-%d" % (number, part)) for part in range(number % 4)]
        *answers, refusal = await connection.ask([*commands, (b"NONSENSE",)], 30)
        assert answers == [command[1] for command in commands]
        assert isinstance(refusal, hiredis.ReplyError)

    tasks = [asyncio.create_task(ask(number)) for number in range(200)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError, type(None)}
    assert connection.outstanding == 0
    connection.close()


async def test_what_cannot_be_sent_takes_nobody_elses_answer(server: Redis) -> None:
    connection = await connect(server)
    nonsense: Any = [(b"ECHO", b"before"), (b"ECHO", ["no bytes"])]
    with pytest.raises(TypeError):
        await connection.ask(nonsense, 30)
    answers = await asyncio.gather(*(connection.ask([(b"ECHO", word)], 30) for word in (b"a", b"b")))
    assert answers == [[b"a"], [b"b"]]
    connection.close()


async def test_nothing_asked_is_answered_at_once(server: Redis) -> None:
    connection = await connect(server)
    assert await connection.ask([], 30) == []
    connection.close()


async def test_its_end_is_told_once_and_to_everybody(server: Redis) -> None:
    ends = list[str]()
    connection = await connect(server, on_close=lambda: ends.append("ended"))
    waiting = [asyncio.create_task(connection.ask([(b"BLPOP", b"none", b"0")], 30)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(2):
        connection.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [LostError] * 3
    assert len({id(result) for result in results}) == 3
    with pytest.raises(LostError):
        await connection.ask([(b"PING",)], 30)
    assert ends == ["ended"]


async def test_a_server_that_ends_it_is_noticed(server: Redis) -> None:
    ended = asyncio.Event()
    connection = await connect(server, on_close=ended.set)
    server.kill()
    await ended.wait()
    assert connection.is_closed


async def test_an_answer_that_does_not_come_ends_it(server: Redis) -> None:
    connection = await connect(server)
    with pytest.raises(LostError, match="no answer in time"):
        await connection.ask([(b"BLPOP", b"none", b"0")], 0.01)
    assert connection.is_closed


async def test_what_the_server_says_unasked_is_no_answer(server: Redis) -> None:
    said = list[Sequence[Any]]()
    connection, other = await connect(server, on_push=said.append), await connect(server)
    await connection.ask([(b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"mine")], 30)
    await other.ask([(b"SET", b"mine", b"1"), (b"SET", b"theirs", b"1")], 30)
    while not said:
        assert await connection.ask([(b"ECHO", b"x")], 30) == [b"x"]
    assert said == [[b"invalidate", [b"mine"]]]
    connection.close()
    other.close()


async def test_a_server_is_connected_once_for_many(server: Redis) -> None:
    """However many ask at a time while there is no connection."""
    location = locate(server.url())
    lanes = Server(location.addresses[0], location.access)
    watcher = await connect(server)
    await asyncio.gather(*(lanes.open() for _ in range(20)))
    (clients,) = await watcher.ask([(b"CLIENT", b"LIST")], 30)
    assert clients.count(b"name=sojourn") == 4  # one that writes, two that read, and the one that looks
    lanes.close()
    watcher.close()


async def test_a_server_that_is_closed_while_it_connects(server: Redis) -> None:
    """What has been under way is closed when it arrives."""
    location = locate(server.url())
    watcher = await connect(server)
    for rounds in range(12):
        lanes = Server(location.addresses[0], location.access)
        opening = asyncio.create_task(lanes.open())
        for _ in range(rounds):
            await asyncio.sleep(0)
        lanes.close()
        with pytest.raises(ClosedError):
            await opening
    async with asyncio.timeout(PATIENCE_S):  # the server has yet to notice
        while (await watcher.ask([(b"CLIENT", b"LIST")], 30))[0].count(b"name=sojourn") > 1:
            pass
    watcher.close()


def test_a_store_opens_under_uvloop(server: Redis) -> None:
    """As `sojourn serve` does it; in a process of its own, which that loop changes."""
    program = """
        import sys, sojourn, uvloop
        from sojourn.kernel import Key, Put, Transaction, ids

        async def main():
            async with sojourn.open(sys.argv[1]) as store:
                await store.commit(Transaction(ids.new(), writes=(Put(Key("s", "p", "i"), b"v"),)))
                print("committed")

        uvloop.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), server.url()]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "committed\n"


def test_the_module_of_the_driver_is_named_when_it_is_missing() -> None:
    program = """
        import sys
        sys.modules["hiredis"] = None
        import sojourn
        try:
            sojourn.open("redis://host")
        except sojourn.MissingExtraError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "hiredis is not installed; install it with: pip install 'sojourn[redis]'\n"
