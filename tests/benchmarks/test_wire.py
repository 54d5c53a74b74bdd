"""What the benchmarks count on the wire is what was said there."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from benchmarks.wire import HELD, Traffic, Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Lead to a server that greets whoever comes, and answers each line with the same line."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Wire(f"echo://somebody@127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as wire:
        yield wire


async def connected(wire: Wire) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as an engine does, by the URL, and hear the greeting."""
    address = wire.url.removeprefix("echo://somebody@").removesuffix("/0")
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await reader.readline() == b"hello\n"
    return reader, writer


async def test_a_trip_ends_with_an_answer_however_many_pieces_the_question_had(wire: Wire) -> None:
    """Proves that pieces are no trips, that a server which speaks first counts for nothing, and the bytes."""
    reader, writer = await connected(wire)
    writer.write(b"in two ")
    while wire.traffic.sent < 7:  # noqa: ASYNC110  the wire tells nobody, and has it within a few steps of the loop
        await asyncio.sleep(0)
    writer.write(b"pieces\n")
    assert await reader.readline() == b"in two pieces\n"
    assert wire.traffic == Traffic(trips=1, sent=14, received=20)
    writer.write(b"again\n")
    assert await reader.readline() == b"again\n"
    assert wire.traffic == Traffic(trips=2, sent=20, received=26)
    writer.close()


async def test_each_connection_has_trips_of_its_own(wire: Wire) -> None:
    """Proves that two connections which are asked at the same time are two trips, since each can be waited for."""
    connections = [await connected(wire), await connected(wire)]
    for _, writer in connections:
        writer.write(b"a\n")
    for reader, writer in connections:
        assert await reader.readline() == b"a\n"
        writer.close()
    assert wire.traffic.trips == 2


async def test_what_begins_after_the_answer_is_not_counted_while_it_is_held(wire: Wire) -> None:
    """Proves that a caller has gone on before that is counted which an engine says after its answer."""
    wire.held = HELD
    reader, writer = await connected(wire)
    writer.write(b"a\n")
    assert await reader.readline() == b"a\n"
    writer.write(b"nobody waits for this\n")
    for _ in range(20):  # the caller goes on within a few steps of the loop
        await asyncio.sleep(0)
    assert wire.traffic.trips == 1
    await wire.quiet()
    assert wire.traffic.trips == 2
    writer.close()


async def test_of_trips_beside_one_another_only_one_was_waited_for(wire: Wire) -> None:
    """Proves that what travels beside a question is no wait of its own, and that the next question is one."""
    connections = [await connected(wire), await connected(wire)]
    wire.held = HELD
    for times in (1, 2):
        for _, writer in connections:
            writer.write(b"a\n")
        for reader, _ in connections:
            assert await reader.readline() == b"a\n"
        assert wire.traffic.trips == 2 * times
        assert wire.in_turn == times
    for _, writer in connections:
        writer.close()
