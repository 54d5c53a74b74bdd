"""A small shop behind HTTP, in this process: the whole way from request to answer, without a socket."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from sojourn.errors import ApplicationError
from sojourn.functions import ActionCtx, Functions, MutationCtx, QueryCtx
from sojourn.kernel import Store
from sojourn.server import App
from sojourn.sessions import SessionId, Sessions
from sojourn.visits import Visits

ORIGIN = "http://localhost"

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"
ADA = "ada-0123456789-0123456789"
EVE = "eve-0123456789-0123456789"

Browse = Callable[..., Awaitable[httpx.AsyncClient]]


def add_shared(functions: Functions) -> None:
    """Add what belongs to no session, in partitions of its own."""
    shared = functions.collection("shared", int, by=str)

    @functions.mutation
    async def spread(ctx: MutationCtx, session_id: SessionId) -> None:
        for place in ("here", "there"):
            await ctx.db(shared).put(place, 1)

    @functions.mutation.sessionless
    async def count_up(ctx: MutationCtx) -> int:
        return await ctx.db(shared).update("count", lambda count: count + 1)


def make_functions(sessions: Sessions) -> Functions:
    """A counter and a few ways to fail."""
    functions = Functions(sessions)
    counts = functions.collection("counts", int, by=SessionId)
    add_shared(functions)

    @functions.query
    async def total(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).get(session_id)

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, by: int = 1) -> int:
        return await ctx.db(counts).update(session_id, lambda count: count + by)

    @functions.mutation(internal=True)
    async def secret(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(counts).put(session_id, 1_000)

    @functions.mutation
    async def sold_out(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(counts).put(session_id, 1_000)
        raise ApplicationError("sold out", {"left": 0})

    @functions.mutation
    async def broken(ctx: MutationCtx, session_id: SessionId) -> None:
        raise LookupError("the password is hunter2")

    @functions.action
    async def sign_in(ctx: ActionCtx, session_id: SessionId, *, name: str) -> str | None:
        return (await ctx.rotate(name)).subject

    @functions.mutation
    async def timed_out(ctx: MutationCtx, session_id: SessionId) -> None:
        raise TimeoutError

    @functions.mutation
    async def unspeakable(ctx: MutationCtx, session_id: SessionId) -> None:
        raise ApplicationError("no", object())

    @functions.action
    async def sign_in_and_fail(ctx: ActionCtx, session_id: SessionId, *, name: str) -> None:
        await ctx.rotate(name)
        raise ApplicationError("too late")

    return functions


@pytest.fixture
async def browse(store: Store) -> AsyncGenerator[Browse]:
    """Make clients of one application; each has cookies of its own."""
    async with AsyncExitStack() as stack:

        async def client(app: App | None = None, **settings: Any) -> httpx.AsyncClient:
            if app is None:
                app = App(store, functions=make_functions(Sessions(store)), **{"dev": True, **settings})
            transport = httpx.ASGITransport(app)
            headers = {"origin": ORIGIN, "content-type": "application/json"}
            return await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)
            )

        yield client


@pytest.fixture
def visits(store: Store) -> Visits:
    return Visits(store)


async def open_page(browse: Browse, visits: Visits, **settings: Any) -> httpx.AsyncClient:
    """Open a page of a server that has visits, in a browser that is no robot."""
    client = await browse(App(visits.store, visits=visits, **settings))
    client.headers["user-agent"] = BROWSER
    return client


def error(answer: httpx.Response) -> dict[str, Any]:
    """What an answer says went wrong."""
    failure: dict[str, Any] = answer.json()["error"]
    return failure


async def call(
    client: httpx.AsyncClient, kind: str, function: str, headers: dict[str, str] | None = None, **rest: Any
) -> httpx.Response:
    """Call a function as the browser client does."""
    return await client.post("/call", json={"kind": kind, "function": function, **rest}, headers=headers)


async def streamed(*parts: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody declares."""
    for part in parts:
        yield part
