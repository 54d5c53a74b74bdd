"""How a token travels: in an HttpOnly cookie, or, where that was asked for, in a header from the browser's storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.server.exchange import Request
from sojourn.sessions import Issued

__all__ = ["Transport"]

_HEADER: Final = b"sojourn-session"


class Transport:
    """Reads tokens from requests and writes them to answers.

    The cookie is `__Host-sojourn`, which browsers take only over HTTPS, from this very host, for all its paths; in
    development it is `sojourn`, which also travels over plain HTTP.
    """

    def __init__(self, *, dev: bool, browser_storage: bool) -> None:
        self._name = "sojourn" if dev else "__Host-sojourn"
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("" if dev else "; Secure")
        self._browser_storage = browser_storage

    def has_cookie(self, request: Request) -> bool:
        """Say whether the request brings the session's cookie."""
        return self._cookie(request) is not None

    def token(self, request: Request) -> str | None:
        """Return what the request presents, or None.

        Raises:
            InvalidError: it presents a token in two ways, or by header where that was not asked for.
        """
        cookie = self._cookie(request)
        if _HEADER not in request.headers:
            return cookie
        if not self._browser_storage:
            raise InvalidError("Sojourn-Session", "this server takes sessions by cookie only (browser_storage=False)")
        if cookie is not None:
            raise InvalidError("Sojourn-Session", "the session comes by cookie and by header; send one of them")
        # Empty, it says: I have none yet, and want it by header.
        return request.header(_HEADER) or None

    def hand_out(self, request: Request, issued: Issued) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that give the caller its new token, the way it asked."""
        if _HEADER in request.headers:
            return ((_HEADER, issued.token.encode("latin-1")),)
        ends = issued.session.expires_at or datetime.now(UTC)
        lasts = max(0, int((ends - issued.session.seen_at).total_seconds()))
        return (self._set(issued.token, lasts),)

    def take_back(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that make the browser forget the cookie, because its session has been ended by it."""
        return (self._set("", 0),) if self.has_cookie(request) else ()

    def _set(self, value: str, lasts: int) -> tuple[bytes, bytes]:
        return (b"set-cookie", f"{self._name}={value}; Max-Age={lasts}{self._attributes}".encode("latin-1"))

    def _cookie(self, request: Request) -> str | None:
        header = request.header(b"cookie")
        if header is None:
            return None
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._name:
                return value[: limits.TOKEN_CHARS + 1]
        return None
