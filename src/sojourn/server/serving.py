"""Running an application on a port, until it is asked to stop."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from sojourn import limits
from sojourn.errors import InvalidError, UnavailableError
from sojourn.server.app import App

__all__ = ["Server", "serve"]

# This machine; the last is what a socket of IPv6 that takes IPv4 too calls it.
_HERE: Final = "127.0.0.1,::1,::ffff:127.0.0.1"


def serve(app: Any, *, host: str, port: int, announce: Callable[[str], None]) -> None:  # noqa: ANN401  any ASGI app
    """Serve until SIGTERM or SIGINT; then finish what was begun, for `limits.STOP_GRACE` at most, and return.

    `announce` is called with the URL once requests are taken.

    Raises:
        InvalidError: the port is taken, or this host name is not one of this machine's.
        UnavailableError: the application could not start; its log says why.
    """
    listening = _listen(host, port)
    server = Server(app, lambda: announce(_url(host, listening)))
    with listening:
        server.run(sockets=[listening])
    if not server.started:
        raise UnavailableError("the application could not start; the line above says why")


class Server(uvicorn.Server):
    """uvicorn as `serve` runs it: within the limits of this library, and with a goodbye to who is connected."""

    def __init__(self, app: Any, on_start: Callable[[], None]) -> None:  # noqa: ANN401  any ASGI app
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="auto",  # an application without one is served too
                timeout_graceful_shutdown=int(limits.STOP_GRACE.total_seconds()),
                forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", _HERE),
                h11_max_incomplete_event_size=limits.HEADER_BYTES,
                server_header=False,
                ws="websockets-sansio",  # the one whose `send` waits until a slow client has read
                ws_max_size=limits.LIVE_FRAME_BYTES,
                ws_ping_interval=limits.LIVE_BEAT.total_seconds(),
                ws_ping_timeout=limits.LIVE_STALL.total_seconds(),
                ws_per_message_deflate=False,  # it takes 40 KB and half as much work again for each connection
            )
        )
        self._app = app
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say goodbye, then finish what was begun."""
        if isinstance(self._app, App):
            await self._app.say_goodbye()  # or it would wait for streams that have no end
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, or asyncio would not know that it is one of TCP, and have each answer's body wait for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InvalidError(
            "port", f"{host}:{port} cannot be had ({error.strerror}); stop what uses it, or give another"
        ) from error
    except OverflowError as error:
        listening.close()
        raise InvalidError("port", "it lies between 0 and 65535") from error
    return listening


def _url(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
