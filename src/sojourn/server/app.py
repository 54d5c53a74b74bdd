"""The ASGI application: one way from a request to an answer, and what runs beside it.

app = App(sojourn.open("sqlite:///app.db"), functions=functions, origins=["https://shop.example"])

sojourn serve shop:app
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from sojourn import limits
from sojourn.dialogs import Dialogs
from sojourn.errors import (
    CallTimeoutError,
    InvalidError,
    LimitError,
    MethodRefusedError,
    RateLimitedError,
    RefusedError,
    RouteUnknownError,
    SojournError,
)
from sojourn.functions import Functions
from sojourn.kernel import Store
from sojourn.kernel.sweep import sweep_forever
from sojourn.server.authority import Admin, Authenticate, Authority
from sojourn.server.exchange import Answer, DisconnectedError, Receive, Request, Scope, Send, json_answer, request_of
from sojourn.server.gate import Gate
from sojourn.server.hub import Hub
from sojourn.server.live import LiveRoutes
from sojourn.server.metrics import Metrics
from sojourn.server.operators import OperatorRoutes
from sojourn.server.rate import Budget
from sojourn.server.reports import failure_told
from sojourn.server.routes import Route, Routes
from sojourn.server.transport import Transport
from sojourn.server.visitors import VisitorRoutes
from sojourn.server.websocket import LiveSocket
from sojourn.sessions import Sessions
from sojourn.visits import Judge, Visits
from sojourn.wire import FailureAnswer, status_of

__all__ = ["App"]

_log = logging.getLogger(__name__)

_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_HEALTH: Final = "/health"
_LIVE: Final = "/live"
_UNCOUNTED: Final = frozenset({_HEALTH, "/metrics"})  # asked most of all while the store cannot count
_CLIENT: Final = Path(__file__).parent / "static"


class App:
    """Serves sessions and functions over HTTP, as docs/reference/wire.md says.

    `origins` are those whose pages may ask, besides the server's own under a loopback name. `dev` lets the
    session's cookie travel over plain HTTP. `browser_storage` also takes tokens from a header, for pages that keep
    them in the browser's storage, where any script of the page can read them. `pages` is a folder of files to serve
    besides. `calls_per_minute`, `sessions_per_minute` and `visitors_per_minute` bound one client address over all
    processes.

    With `visits` pages can tell who is here, except whom `judge` filters, and the daily cleanup runs beside. With
    `dialogs` those whose time is over end here, and what a killed server left behind is done. `admin` says who is an
    operator; without it nobody is. `authenticate` tells a subject by other means than a session.

    Raises:
        InvalidError: functions, sessions, visits and dialogs are kept in different stores, an origin is out of form, or
            there is no such folder of pages.
    """

    def __init__(  # noqa: PLR0913  each is one independent setting
        self,
        store: Store,
        *,
        functions: Functions | None = None,
        sessions: Sessions | None = None,
        visits: Visits | None = None,
        dialogs: Dialogs | None = None,
        judge: Judge | None = None,
        admin: Admin | None = None,
        authenticate: Authenticate | None = None,
        origins: Iterable[str] = (),
        dev: bool = False,
        browser_storage: bool = False,
        pages: Path | None = None,
        calls_per_minute: int = limits.RATE_CALLS,
        sessions_per_minute: int = limits.RATE_SESSIONS,
        visitors_per_minute: int = limits.RATE_VISITORS,
    ) -> None:
        if functions is not None and sessions is not None and functions.sessions is not sessions:
            raise InvalidError("sessions", "they are not those of the functions; give one of the two")
        self.store = store
        self.functions = functions
        self.sessions = functions.sessions if functions is not None else sessions or Sessions(store)
        if self.sessions.store is not store:
            raise InvalidError("sessions", "they are kept in another store")
        self.visits = visits
        if visits is not None and visits.store is not store:
            raise InvalidError("visits", "they are kept in another store")
        self.dialogs = dialogs
        if dialogs is not None and dialogs.store is not store:
            raise InvalidError("dialogs", "they are kept in another store")
        bound = self._bound = None if functions is None else functions.bind(store)
        self._gate = Gate(origins)
        self._transport = Transport(dev=dev, browser_storage=browser_storage)
        self._calls = Budget(store, "calls", calls_per_minute)
        begins = Budget(store, "sessions", sessions_per_minute)
        authority = Authority(admin, authenticate)
        self._hub = Hub(store, self.sessions, bound, self._calls)
        self._routes = Routes(store, self.sessions, bound, authority, self._transport, begins).table
        self._routes |= LiveRoutes(self._hub, self.sessions, authority, self._transport).table
        self._guarded: dict[str, Callable[[Request], Awaitable[bool]]] = {}
        self._add(authority, judge or Judge(), visitors_per_minute)
        self._client = StaticFiles(directory=_CLIENT, check_dir=False)
        if pages is not None and not pages.is_dir():
            raise InvalidError("pages", f"there is no folder {pages}")
        self._pages = None if pages is None else StaticFiles(directory=pages, html=True)
        self._background: list[asyncio.Task[None]] = []

    def _add(self, authority: Authority, judge: Judge, visitors_per_minute: int) -> None:
        """Add what concerns visitors and operators."""
        self._routes["/metrics"] = {"GET": Metrics(self.store, judge, self._hub).show}
        self._guarded["/metrics"] = authority.may_measure
        if self.visits is not None:
            operator = OperatorRoutes(self.visits).table
            self._routes |= VisitorRoutes(self.visits, judge, visitors_per_minute).table | operator
            self._guarded |= dict.fromkeys(operator, authority.is_operator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def say_goodbye(self) -> None:
        """End every live connection, and take no more: to be called before a server waits for what it has begun.

        It returns when each client was told, or after `limits.STOP_GRACE`.
        """
        await self._hub.close()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        route = await self._seen(path, scope, receive)
        if route is None and scope["method"] in {"GET", "HEAD"}:
            files = self._client if path == "/sojourn.js" else self._pages
            if files is not None and await _file(files, scope, receive, send):
                return
        try:
            answer = await self._answer(scope, receive, route)
        except DisconnectedError:
            return
        headers = [(b"content-type", answer.kind), *_ALWAYS, *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.stream is None:
            await send({"type": "http.response.body", "body": answer.body})
        else:
            await answer.stream(send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = request_of(scope, receive)
            if request.path != _LIVE:
                raise RouteUnknownError("there is nothing here")
            self._gate.check_handshake(request)
        except RefusedError:
            await send({"type": "websocket.close"})  # before it is accepted: the handshake is answered by 403
        else:
            await LiveSocket(self._hub, request, send).run()

    async def _seen(self, path: str, scope: Scope, receive: Receive) -> dict[str, Route] | None:
        """Return what is at the path for this caller: for who may not ask it, there is nothing."""
        methods = self._routes.get(path)
        may_ask = self._guarded.get(path)
        if methods is None or may_ask is None:
            return methods
        try:
            return methods if await may_ask(request_of(scope, receive)) else None
        except LimitError:  # too long headers, as will be said
            return None

    async def _answer(self, scope: Scope, receive: Receive, methods: dict[str, Route] | None) -> Answer:
        """Let the request pass the gate, run its route, and make an answer of whatever comes of it."""
        request: Request | None = None
        try:
            request = request_of(scope, receive)
            if request.path != _HEALTH:  # asked by load balancers, under whatever name
                self._gate.check(request, has_cookie=self._transport.has_cookie(request))
            if request.method == "OPTIONS" and methods is not None:
                return Answer(204, b"", self._gate.preflight(request))
            run = _route(request, methods)
            if request.path not in _UNCOUNTED:
                await self._calls.spend(request.client)
            answer = await _in_time(run, request)
        except DisconnectedError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer and the log the story
            answer = _failure(error)
        if request is None:
            return answer
        headers = (*answer.headers, *request.handed_out, *self._gate.cross_origin(request))
        return msgspec.structs.replace(answer, headers=headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Open the store, sweep while serving, and close it when told to stop."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.store.open()
                except SojournError as error:
                    await send({"type": "lifespan.startup.failed", "message": f"{error.code}: {error}"})
                    return
                self._hub.open()
                self._background = [
                    asyncio.create_task(sweep_forever(self.store, limits.SWEEP_EVERY)),
                    asyncio.create_task(self._sweep_sessions()),
                    *([] if self.visits is None else [asyncio.create_task(self.visits.run())]),
                    *([] if self._bound is None else [asyncio.create_task(self._bound.schedules.run())]),
                ]
                for task in self._background:
                    task.add_done_callback(_stopped)
                if self.dialogs is not None:
                    await self.dialogs.open()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.say_goodbye()
                for task in self._background:
                    task.cancel()
                await asyncio.gather(*self._background, return_exceptions=True)
                if self.dialogs is not None:
                    await self.dialogs.close()
                await self.store.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _sweep_sessions(self) -> None:
        while True:
            try:
                while await self.sessions.sweep():
                    pass
            except SojournError as error:
                _log.warning("the sweep of sessions waits for the store: %s", error)
            await self.store.clock.sleep(limits.SWEEP_EVERY.total_seconds())


def _stopped(task: asyncio.Task[None]) -> None:
    """Log what has ended a task that runs beside the server, and does not go on: nobody waits for it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("what ran beside the server has failed, and does not go on", exc_info=error)


def _route(request: Request, methods: dict[str, Route] | None) -> Route:
    if methods is None:
        raise RouteUnknownError("there is nothing here")
    route = methods.get(request.method)
    if route is None:
        raise MethodRefusedError(f"this is asked by {', '.join(sorted(methods))}")
    return route


async def _file(files: StaticFiles, scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer with a file; say False, and answer nothing, when there is none."""
    try:
        await files(scope, receive, send)
    except HTTPException as error:
        if error.status_code != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


async def _in_time(run: Route, request: Request) -> Answer:
    limit = asyncio.timeout(limits.CALL_TIMEOUT.total_seconds())
    try:
        async with limit:
            return await run(request)
    except TimeoutError as error:
        if not limit.expired():  # a handler's own
            raise
        raise CallTimeoutError(f"it took longer than {limits.CALL_TIMEOUT.total_seconds():.0f} seconds") from error


def _failure(error: Exception) -> Answer:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, RateLimitedError):
        headers = ((b"retry-after", b"%d" % error.retry_after),)
    elif isinstance(error, SojournError) and status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = ((b"retry-after", b"1"),)
    failure = failure_told(error)
    status = status_of(error) if failure.report is UNSET else HTTPStatus.INTERNAL_SERVER_ERROR
    return json_answer(FailureAnswer(failure), status=status, headers=headers)
