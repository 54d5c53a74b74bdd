"""Who may ask: host names, origins and cross-origin answers.

A browser adds the session's cookie to any request that any page makes, so a request that changes something is taken
only from pages of known origins. The host name is checked too: otherwise a foreign name that resolves to this server
would make its pages "the server's own".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from sojourn.errors import InvalidError, OriginRefusedError
from sojourn.server.exchange import Request

__all__ = ["Gate", "LOOPBACK", "is_loopback"]

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Decides by `Host` and `Origin`: the server's names are loopback ones and those of its origins."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(_checked(origin) for origin in origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in self._origins)

    def check(self, request: Request, *, has_cookie: bool) -> None:
        """Let the request pass, or not.

        Raises:
            OriginRefusedError: its host name or its origin is none of this server's.
        """
        self._check_host(request)
        if request.method in _SAFE:
            return
        origin = request.header(b"origin")
        if origin is None:
            if has_cookie:
                raise OriginRefusedError("a request with a cookie that changes something must say its Origin")
        elif not self.knows(origin, request):
            raise OriginRefusedError("pages of this origin may not ask; add it to origins=")

    def check_handshake(self, request: Request) -> None:
        """Let a WebSocket be opened, or not. A browser always says which page opens it, and lets any page do it.

        Raises:
            OriginRefusedError: its host name or its origin is none of this server's, or it says no origin.
        """
        self._check_host(request)
        if not self.knows(request.header(b"origin") or "", request):
            raise OriginRefusedError("pages of this origin may not connect; add it to origins=")

    def knows(self, origin: str, request: Request) -> bool:
        """Say whether pages of this origin may ask: the server's own, or one of `origins`."""
        return origin in self._origins or origin == f"{request.scheme}://{request.header(b'host')}"

    def cross_origin(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers by which a browser lets a page of another known origin read the answer."""
        origin = request.header(b"origin")
        if origin is None or origin not in self._origins:
            return ()
        return (
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"sojourn-session, retry-after"),
            (b"vary", b"origin"),
        )

    def preflight(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that answer a browser's question before a cross-origin request.

        Raises:
            OriginRefusedError: pages of this origin may not ask.
        """
        if not self.knows(request.header(b"origin") or "", request):
            raise OriginRefusedError("pages of this origin may not ask; add it to origins=")
        return (
            *self.cross_origin(request),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"content-type, sojourn-session"),
            (b"access-control-max-age", b"600"),
        )

    def _check_host(self, request: Request) -> None:
        host = request.header(b"host") or ""
        if host not in self._hosts and not is_loopback(host):
            raise OriginRefusedError("this host name is not one of the server's; add its origin to origins=")


def is_loopback(host: str) -> bool:
    """Say whether this `Host`, perhaps with a port, names the machine that it is asked on."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


def _checked(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        raise InvalidError("origins", f"{origin!r} is not of the form https://host or https://host:port")
    return origin
