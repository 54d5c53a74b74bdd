"""The servers whose numbers are watched: sojourn's, and a bare one that knows who is connected and nothing else.

On both, `put` sets the number of a place. sojourn's pushes a query when its result is different; the bare one sends the
same bytes to everybody who is connected, whoever wants them, and keeps nothing.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import sojourn
from benchmarks.machine import resident_bytes
from benchmarks.servers import BARE, SOJOURN, announced
from sojourn.functions import Functions, MutationCtx, QueryCtx
from sojourn.server import App
from sojourn.sessions import Sessions

__all__ = ["MODULE", "State", "allow_many_connections"]

MODULE: Final = "benchmarks.live_app"
_UNBOUNDED: Final = 1_000_000_000
_FILES: Final = 8_192


class State(msgspec.Struct, frozen=True):
    """What a server says of itself: evaluations of queries that are watched, watches, seconds of processor, memory."""

    evaluations: int
    watches: int
    processor: float
    resident: int


def allow_many_connections() -> None:
    """Let this process have thousands of files and connections, where the machine allows it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def sojourn_app(url: str) -> App:
    """Return sojourn's server, without sessions: whoever asks the same is shown the same."""
    store = sojourn.open(url)
    functions = Functions(Sessions(store))
    numbers = functions.collection("numbers", int, by=str)

    @functions.mutation.sessionless
    async def put(ctx: MutationCtx, *, place: str, number: int) -> None:
        await ctx.db(numbers).put(place, number)

    @functions.query.sessionless
    async def shown(ctx: QueryCtx, *, place: str) -> int:
        return await ctx.db(numbers).get(place, default=0)

    @functions.query.sessionless
    async def long(ctx: QueryCtx, *, place: str, characters: int) -> tuple[int, str]:
        number = await ctx.db(numbers).get(place, default=0)
        return number, f"{number:08}" * (characters // 8)

    @functions.query.sessionless
    async def state(ctx: QueryCtx) -> State:  # noqa: ARG001  every function has one
        return _state(store.live.evaluations, store.live.watches)

    return App(store, functions=functions, dev=True, calls_per_minute=_UNBOUNDED, sessions_per_minute=_UNBOUNDED)


def bare_app(_: str) -> Starlette:
    """Return what one writes without sojourn: whoever changes something tells all who are connected, one by one."""
    connected: dict[WebSocket, None] = {}

    async def watch(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(_transition(0))
        connected[socket] = None
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            del connected[socket]

    async def call(request: Request) -> JSONResponse:
        asked = await request.json()
        if asked["function"] == "state":
            return JSONResponse({"result": msgspec.to_builtins(_state(0, len(connected)))})
        text = _transition(asked["arguments"]["number"])
        for socket in tuple(connected):
            await socket.send_text(text)
        return JSONResponse({"result": None})

    return Starlette(routes=[Route("/call", call, methods=["POST"]), WebSocketRoute("/live", watch)])


def _transition(number: int) -> str:
    updates = [{"id": 1, "result": number}]
    version = time.time_ns() // 1_000
    return msgspec.json.encode(
        {"type": "transition", "version": version, "updates": updates, "synced": [], "more": False}
    ).decode()


def _state(evaluations: int, watches: int) -> State:
    return State(evaluations, watches, time.process_time(), resident_bytes())


APPS: Final[dict[str, Callable[[str], Any]]] = {BARE: bare_app, SOJOURN: sojourn_app}

if __name__ == "__main__":
    allow_many_connections()
    announced(APPS[sys.argv[1]](sys.argv[2]))
