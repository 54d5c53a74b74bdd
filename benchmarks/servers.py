"""The two servers that are compared, each in a process of its own and under the same uvicorn.

Both begin a session at `POST /session`, and count up its number at `POST /call`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import sojourn
from benchmarks.disk import Environment
from sojourn.functions import Functions, MutationCtx
from sojourn.server import App, serve
from sojourn.sessions import SessionId, Sessions

__all__ = ["BARE", "SOJOURN", "announced", "serving"]

BARE = "bare"
SOJOURN = "sojourn"
_UNBOUNDED = 1_000_000_000


def sojourn_app(path: Path) -> App:
    """Return sojourn's server with one mutation on a collection by session."""
    store = sojourn.open(f"sqlite:///{path}")
    functions = Functions(Sessions(store))
    counts = functions.collection("counts", int, by=SessionId)

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, by: int) -> int:
        return await ctx.db(counts).update(session_id, lambda count: count + by)

    return App(store, functions=functions, dev=True, calls_per_minute=_UNBOUNDED, sessions_per_minute=_UNBOUNDED)


def bare_app(path: Path) -> Starlette:
    """Return what one writes without sojourn: a route that commits each write, on the loop, as is fastest."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE counts (session TEXT PRIMARY KEY, count INTEGER NOT NULL)")
    names = itertools.count()

    async def begin(_: Request) -> JSONResponse:
        name = f"session-{next(names)}"
        connection.execute("INSERT INTO counts VALUES (?, 0)", (name,))
        answer = JSONResponse({"session": name})
        answer.set_cookie("bare", name, httponly=True)
        return answer

    async def call(request: Request) -> JSONResponse:
        asked = await request.json()
        bindings = (asked["arguments"]["by"], request.cookies["bare"])
        rows = connection.execute("UPDATE counts SET count = count + ? WHERE session = ? RETURNING count", bindings)
        ((count,),) = rows.fetchall()
        return JSONResponse({"result": count})

    return Starlette(routes=[Route("/session", begin, methods=["POST"]), Route("/call", call, methods=["POST"])])


@asynccontextmanager
async def serving(
    which: str, store: Path | str, environment: Environment | None = None, *, module: str = "benchmarks.servers"
) -> AsyncGenerator[int]:
    """Serve what a module makes in a process of its own, on a free port, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, which, str(store)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        yield int(url.rpartition(":")[2])
    finally:
        process.terminate()
        await process.wait()


def announced(app: Any) -> None:  # noqa: ANN401  any ASGI app
    """Serve it as such a process does, and say where."""
    serve(app, host="127.0.0.1", port=0, announce=_say)


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def _main(which: str, path: Path) -> None:
    announced({BARE: bare_app, SOJOURN: sojourn_app}[which](path))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
