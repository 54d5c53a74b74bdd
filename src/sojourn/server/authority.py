"""Authority: the one place that decides who is an operator, and who a caller is.

app = App(store, visits=Visits(store), admin=bearer(os.environ["OPERATOR_TOKEN"]))

Nobody is an operator unless `admin` says so. Who is none cannot tell what an operator could ask: the answer is that of
a path where nothing is.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.functions import Caller
from sojourn.server.exchange import Request
from sojourn.server.gate import LOOPBACK, is_loopback

__all__ = ["Admin", "Asker", "Authenticate", "Authority", "bearer"]

_log = logging.getLogger(__name__)

_FORWARDING: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)


class Asker(msgspec.Struct, frozen=True):
    """Who asks, as far as a request shows: what `admin` and `authenticate` decide by.

    Header names are lower case, and a header that came twice has both values, with a comma between. `address` is the
    client's; behind a proxy, what a proxy on this machine says it is. `subject` is what `authenticate` made of it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    address: str
    subject: str | None = None

    def __repr__(self) -> str:
        """Show what is asked by whom, and not the headers, by which it could be asked again."""
        return f"<Asker {self.method} {self.path!r} {self.address} subject={self.subject!r}>"


Admin: TypeAlias = Callable[[Asker], bool | Awaitable[bool]]
"""Says whether this is an operator. An error counts as no, and is logged."""

Authenticate: TypeAlias = Callable[[Asker], str | Awaitable[str | None] | None]
"""Returns the subject that a request proves to speak for, or None. An error is one of the server (`internal`)."""


class Authority:
    """Who may do what, of those who ask one server."""

    def __init__(self, admin: Admin | None, authenticate: Authenticate | None) -> None:
        self._admin = admin
        self._authenticate = authenticate

    async def caller(self, request: Request) -> Caller:
        """Return who calls, apart from its session."""
        subject = await self._subject(request)
        return Caller(subject, await self._operates(request, subject))

    async def is_operator(self, request: Request) -> bool:
        """Say whether the request comes from an operator."""
        return await self._operates(request)

    async def may_measure(self, request: Request) -> bool:
        """Say whether the request may see the metrics: an operator, or this machine itself without a proxy between."""
        at_home = request.client in LOOPBACK and is_loopback(request.header(b"host") or "")
        return (at_home and _FORWARDING.isdisjoint(request.headers)) or await self.is_operator(request)

    async def _subject(self, request: Request) -> str | None:
        if self._authenticate is None:
            return None
        given = self._authenticate(_asker(request, None))
        return given if given is None or isinstance(given, str) else await given

    async def _operates(self, request: Request, subject: str | UnsetType | None = UNSET) -> bool:
        """Ask `admin`, for a subject that is known already or is still to be found."""
        if self._admin is None:
            return False
        try:
            known = await self._subject(request) if subject is UNSET else subject
            given = self._admin(_asker(request, known))
            return given if isinstance(given, bool) else await given is True
        except Exception:  # noqa: BLE001  the application's code may raise anything; an error grants nothing
            _log.exception("whether this is an operator could not be decided, so it is none")
            return False


def bearer(token: str) -> Admin:
    """Return an `admin` that knows an operator by `Authorization: Bearer <token>`, compared in constant time.

    Raises:
        InvalidError: the token is shorter than `limits.OPERATOR_TOKEN_CHARS`, or cannot travel in a header.
    """
    if len(token) < limits.OPERATOR_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidError("token", f"it is at least {limits.OPERATOR_TOKEN_CHARS} printable characters of ASCII")
    expected = _digest(token)

    def admin(asker: Asker) -> bool:
        scheme, _, given = asker.headers.get("authorization", "").partition(" ")
        return hmac.compare_digest(_digest(given), expected) and scheme.lower() == "bearer"

    return admin


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("latin-1")).digest()


def _asker(request: Request, subject: str | None) -> Asker:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    return Asker(request.method, request.path, headers, request.client, subject)
