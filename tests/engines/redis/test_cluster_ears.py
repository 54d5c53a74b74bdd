"""What is heard of the streams while they are looked at is not forgotten, in whichever order it comes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from sojourn.engines.redis.ears import Ears
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.server import Server
from sojourn.engines.redis.slots import Address

KEYSPACE = Keyspace("ears", 128)


class Line:
    """A connection whose answers come when the test says so."""

    def __init__(self) -> None:
        self.is_closed = False
        self.asked: asyncio.Queue[asyncio.Future[list[Any]]] = asyncio.Queue()

    async def ask(self, commands: Sequence[tuple[bytes, ...]], _: float) -> list[Any]:
        if commands[0][0] == b"CLIENT":
            return [b"OK"]
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(answer)
        return await answer

    def close(self) -> None:
        self.is_closed = True


class Heard:
    """A server that names what changes as the test says."""

    def __init__(self) -> None:
        self.address = Address("server", 7000)
        self.line = Line()

    async def connect(self, on_push: Callable[[Any], None], on_close: Callable[[], None]) -> Line:
        self.push, self.cut = on_push, on_close
        return self.line

    def names(self, *buckets: int) -> None:
        self.push([b"invalidate", [KEYSPACE.changes(bucket) for bucket in buckets]])


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def ears() -> Ears:
    return Ears(KEYSPACE)


async def looking(ears: Ears, heard: Heard, *buckets: int) -> tuple[asyncio.Task[list[Any]], asyncio.Future[list[Any]]]:
    """Begin a look; return it and the answer that it waits for."""
    look = asyncio.ensure_future(ears.look(cast("Server", heard), buckets))
    return look, await heard.line.asked.get()


async def test_an_end_is_known_until_its_stream_grows(ears: Ears, heard: Heard) -> None:
    look, answer = await looking(ears, heard, 1, 2)
    answer.set_result([b"5", None])
    await look
    assert ears.changed({1: 5, 2: 0}) == []
    assert ears.changed({1: 4, 2: 0}) == [1]

    heard.names(2)

    assert ears.changed({1: 5, 2: 0}) == [2]
    assert ears.unknown([1, 2]) == [2], "told once; from then on it is looked at"


async def test_what_is_told_before_an_older_look_is_answered_counts(ears: Ears, heard: Heard) -> None:
    look, answer = await looking(ears, heard, 1)
    answer.set_result([b"5"])  # seen, but not yet taken note of
    heard.names(1)
    await look

    assert ears.changed({1: 5}) == [1]


async def test_of_two_who_look_one_is_told_and_the_other_looks_again(ears: Ears, heard: Heard) -> None:
    woken = ears.woken
    looks = [await looking(ears, heard, 1), await looking(ears, heard, 1)]
    for _, answer in looks:
        answer.set_result([b"5"])
    heard.names(1)
    await asyncio.gather(*(look for look, _ in looks))

    assert ears.changed({1: 5}) == [1]
    assert ears.unknown([1]) == [1]
    assert woken.is_set()


async def test_a_look_that_was_overtaken_by_a_loss_counts_for_nothing(ears: Ears, heard: Heard) -> None:
    look, answer = await looking(ears, heard, 1)
    answer.set_result([b"5"])
    woken = ears.woken
    heard.cut()
    await look

    assert ears.unknown([1]) == [1]
    assert woken.is_set(), "whoever waits looks again"


async def test_a_server_that_has_lost_every_key_is_looked_at_anew(ears: Ears, heard: Heard) -> None:
    look, answer = await looking(ears, heard, 1)
    answer.set_result([b"5"])
    await look

    heard.push([b"invalidate", None])

    assert ears.unknown([1]) == [1]


async def test_a_server_that_holds_nothing_any_more_is_not_listened_to(ears: Ears, heard: Heard) -> None:
    look, answer = await looking(ears, heard, 1)
    answer.set_result([b"5"])
    await look

    ears.keep({heard.address})
    assert not heard.line.is_closed
    ears.keep(())
    assert heard.line.is_closed
