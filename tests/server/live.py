"""Live connections for tests: functions worth watching, and a line to an application without a socket."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from sojourn.errors import ApplicationError
from sojourn.functions import Functions, MutationCtx, QueryCtx
from sojourn.server import App
from sojourn.sessions import SessionId, Sessions

from .conftest import ORIGIN, call

Message = dict[str, Any]


def add_shared(functions: Functions) -> None:
    """Add what needs no session."""
    places = functions.collection("places", int, by=str)

    @functions.query.sessionless
    async def shown(ctx: QueryCtx, *, place: str = "here") -> int:
        return await ctx.db(places).get(place)

    @functions.query.sessionless
    async def risky(ctx: QueryCtx) -> int:
        found = await ctx.db(places).get("here")
        if found < 0:
            raise ApplicationError("too little", {"found": found})
        if found == 13:
            raise LookupError("the password is hunter2")
        return found

    @functions.query.sessionless
    async def endless(ctx: QueryCtx) -> None:
        await asyncio.Event().wait()

    @functions.query.sessionless
    async def letters(ctx: QueryCtx, *, size: int) -> str:
        return str(await ctx.db(places).get("here")).ljust(size, "x")

    @functions.mutation.sessionless
    async def show(ctx: MutationCtx, *, count: int, place: str = "here") -> None:
        await ctx.db(places).put(place, count)


def make_functions(sessions: Sessions) -> Functions:
    """A counter for each session, places that all share, and queries that fail in their ways."""
    functions = Functions(sessions)
    counts = functions.collection("counts", int, by=SessionId)
    add_shared(functions)

    @functions.query
    async def total(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).get(session_id)

    @functions.query
    async def is_odd(ctx: QueryCtx, session_id: SessionId) -> bool:
        return await ctx.db(counts).get(session_id) % 2 == 1

    @functions.query
    async def whoever(ctx: QueryCtx, session_id: SessionId) -> str | None:
        return ctx.session.subject

    @functions.query(internal=True)
    async def secret(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).get(session_id)

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, by: int = 1) -> int:
        return await ctx.db(counts).update(session_id, lambda count: count + by)

    return functions


def make_app(sessions: Sessions, **settings: Any) -> App:
    """An application of these functions."""
    return App(sessions.store, functions=make_functions(sessions), dev=True, **settings)


def query(number: int, function: str, **arguments: Any) -> Message:
    """One query to be watched."""
    return {"id": number, "function": function, "arguments": arguments}


async def change(client: httpx.AsyncClient, function: str, **arguments: Any) -> None:
    """Commit a change, as a page does."""
    (await call(client, "mutation", function, arguments=arguments)).raise_for_status()


async def ticket(client: httpx.AsyncClient) -> str:
    """Ask for a ticket, as a page does."""
    answer = await client.post("/live/ticket", json={})
    answer.raise_for_status()
    text: str = answer.json()["ticket"]
    return text


class Line:
    """One WebSocket of an application in this process. What it closes with is heard as a message of its own.

    While `taken` is not set, nothing is read of what the server sends.
    """

    def __init__(self, app: Callable[..., Any], headers: dict[str, str], path: str) -> None:
        self.events: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.taken = asyncio.Event()
        self.taken.set()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(app(scope, self._said.get, self._send))

    def say(self, message: Message) -> None:
        """Send a message."""
        self.send(text=json.dumps(message))

    def send(self, **event: Any) -> None:
        """Send a frame."""
        self._said.put_nowait({"type": "websocket.receive", **event})

    def watch(self, *queries: Message, remove: tuple[int, ...] = ()) -> None:
        """Say what is to be watched."""
        self.say({"type": "watch", "add": queries, "remove": remove})

    async def hear(self) -> Message:
        """Wait for the next message."""
        event = await self.events.get()
        if event["type"] == "websocket.close":
            return {"type": "close", "code": event.get("code", 1000)}
        assert event["type"] == "websocket.send", event
        message: Message = json.loads(event["text"])
        return message

    async def shown(self) -> dict[int, Any]:
        """Wait for the next transition; return the results by their numbers, and errors by their codes."""
        message = await self.hear()
        assert message["type"] == "transition", message
        return {one["id"]: one["result"] if "result" in one else one["error"]["code"] for one in message["updates"]}

    async def ended(self) -> tuple[str, int]:
        """Wait for the goodbye; return the code of its error, and that of the close."""
        goodbye, close = await self.hear(), await self.hear()
        assert (goodbye["type"], close["type"]) == ("goodbye", "close"), goodbye
        await self.task
        return goodbye["error"]["code"], close["code"]

    def hang_up(self) -> None:
        """Be gone."""
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1005})

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        await self.taken.wait()
        self.events.put_nowait(event)


@asynccontextmanager
async def opened(
    app: Callable[..., Any], path: str = "/live", *, origin: str | None = ORIGIN, host: str = "localhost"
) -> AsyncGenerator[Line]:
    """A line that has been accepted, or refused; nothing has been said on it."""
    line = Line(app, {"host": host} | ({} if origin is None else {"origin": origin}), path)
    try:
        yield line
    finally:
        line.hang_up()
        await line.task


@asynccontextmanager
async def connected(app: App, client: httpx.AsyncClient, **rest: Any) -> AsyncGenerator[Line]:
    """A line that is connected for the session of this client."""
    async with opened(app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": await ticket(client), **rest})
        assert (await line.events.get())["type"] == "websocket.accept"
        assert (await line.hear())["type"] == "connected"
        yield line
