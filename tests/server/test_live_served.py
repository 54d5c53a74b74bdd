"""Live connections over real sockets: what the server below does for them, and what other processes do to them."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

import sojourn
from sojourn import limits
from sojourn.functions import Call, Kind
from sojourn.server import App
from sojourn.server.serving import Server
from sojourn.sessions import Sessions

from .live import Message, connected, make_app, make_functions, query, ticket

COMMITS = 1_000
SIZE = 100_000


class Served:
    """An application on a port of this machine, and a page that asks it."""

    def __init__(self, server: Server, port: int, page: httpx.AsyncClient) -> None:
        self.server = server
        self.port = port
        self.page = page
        self.origin = Origin(f"http://127.0.0.1:{port}")

    def open(self, **settings: Any) -> connect:
        """A WebSocket."""
        return connect(f"ws://127.0.0.1:{self.port}/live", **{"origin": self.origin, "ping_interval": None} | settings)

    @asynccontextmanager
    async def connected(self, **settings: Any) -> AsyncGenerator[ClientConnection]:
        """A WebSocket that is connected for the session of the page."""
        async with self.open(**settings) as line:
            await say(line, {"type": "connect", "protocol": 1, "ticket": await ticket(self.page)})
            assert (await hear(line))["type"] == "connected"
            yield line

    def send_buffers(self) -> list[int]:
        """How many bytes wait to be sent over each connection."""
        return [connection.transport.get_write_buffer_size() for connection in self.server.server_state.connections]


@asynccontextmanager
async def served(app: App) -> AsyncGenerator[Served]:
    """Serve the application as `sojourn serve` does, in this process."""
    started = asyncio.Event()
    server = Server(app, started.set)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await started.wait()
        port: int = listening.getsockname()[1]
        origin = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(base_url=origin, headers={"origin": origin}) as page:
                (await page.post("/session", json={})).raise_for_status()
                yield Served(server, port, page)
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def place() -> AsyncIterator[Served]:
    async with served(make_app(Sessions(sojourn.open("memory:")))) as place:
        yield place


async def say(line: ClientConnection, message: Message) -> None:
    await line.send(json.dumps(message))


async def hear(line: ClientConnection) -> Message:
    message: Message = json.loads(await line.recv())
    return message


async def closed(line: ClientConnection) -> int | None:
    """Read to the end; return the code of the close."""
    try:
        async for _ in line:
            pass
    except ConnectionClosed:
        pass
    return line.close_code


async def test_a_message_too_long_is_not_even_read(place: Served) -> None:
    async with place.connected() as line:
        await line.send("x" * (limits.LIVE_FRAME_BYTES + 1))
        assert await closed(line) == 1009


async def test_a_binary_message_ends_the_connection(place: Served) -> None:
    async with place.connected() as line:
        await line.send(b"{}")
        assert await closed(line) == 4400


@pytest.mark.parametrize("origin", [None, "https://evil.example"])
async def test_a_handshake_of_a_stranger_is_forbidden(place: Served, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await place.open(origin=origin)
    assert refused.value.response.status_code == 403


async def test_a_server_that_is_asked_to_stop_keeps_nobody_waiting(place: Served) -> None:
    async with place.connected() as line:
        asked = {"queries": json.dumps([query(0, "total")])}
        async with place.page.stream("GET", "/live", params=asked) as events:
            lines = events.aiter_lines()
            assert await anext(lines) == "event: transition"
            place.server.should_exit = True
            assert (await hear(line))["error"]["code"] == "closed"
            assert await closed(line) == 1012
            assert "event: goodbye" in [text async for text in lines]


@pytest.mark.row("F-C72", "F-L8")
async def test_a_burst_before_a_slow_reader_takes_bounded_memory_and_ends_in_the_newest_state() -> None:
    sessions = Sessions(sojourn.open("memory:"))
    functions = make_functions(sessions)
    app = App(sessions.store, functions=functions, dev=True)
    bound = functions.bind(sessions.store)
    show = bound.public(Kind.MUTATION, "show")
    watched = {"type": "watch", "add": [query(1, "letters", size=SIZE)]}
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        async with served(app) as place, connected(app, place.page) as quick:
            narrow.connect(("127.0.0.1", place.port))
            narrow.settimeout(0)
            async with place.connected(sock=narrow, max_queue=1, compression=None, max_size=None) as slow:
                await say(slow, watched)
                quick.say(watched)
                await quick.shown()
                most = 0
                for count in range(1, COMMITS + 1):
                    await bound.answer(Call(show, None, b'{"count": %d}' % count))
                    await quick.events.get()  # so none of them is skipped before it gets to the connections
                    most = max(most, *place.send_buffers())
                heard = [await hear(slow)]
                while not heard[-1]["updates"][0]["result"].startswith(str(COMMITS)):
                    heard.append(await hear(slow))
    versions = [message["version"] for message in heard]
    assert versions == sorted(set(versions))
    assert len(heard) < COMMITS / 2, "the states in between were skipped"
    assert 0 < most < 2 * SIZE, "it did wait, and what waited was no more than one state on its way"


OTHER = """
import asyncio, sys
import sojourn
from sojourn.functions import Kind
from sojourn.sessions import Sessions
from tests.server.live import make_functions

async def main(url, function, session_id):
    async with sojourn.open(url) as store:
        bound = make_functions(Sessions(store)).bind(store)
        function = bound.public(Kind.MUTATION, function)
        await bound.run(function, session=await bound.session(session_id))

asyncio.run(main(*sys.argv[1:]))
"""


async def other_process(*arguments: str) -> None:
    """Run Python with these arguments to its end."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


@pytest.mark.row("P-R9", "F-L4")
async def test_what_another_process_does_is_shown_and_what_it_ends_is_over(shared_url: str) -> None:
    """On each engine that processes share. The clocks are real, for there are two."""
    async with served(make_app(Sessions(sojourn.open(shared_url)))) as place, place.connected() as line:
        session_id = (await place.page.get("/session")).json()["session"]["id"]
        await say(line, {"type": "watch", "add": [query(1, "total")]})
        assert (await hear(line))["updates"] == [{"id": 1, "result": 0}]
        await other_process("-c", OTHER, shared_url, "add", session_id)
        await say(line, {"type": "sync", "id": 5})
        updates, synced = [], list[int]()
        while not synced:
            message = await hear(line)
            updates += message["updates"]
            synced += message["synced"]
        assert updates == [{"id": 1, "result": 1}]
        await other_process("-m", "sojourn", "sessions", "revoke", session_id, "--store", shared_url)
        assert (await hear(line))["error"]["code"] == "session_invalid"
        assert await closed(line) == 4401
