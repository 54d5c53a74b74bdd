"""What goes wrong between a client and the server."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from sojourn.errors.kinds import RefusedError, Retry, UnavailableError

__all__ = [
    "MethodRefusedError",
    "OriginRefusedError",
    "ProtocolUnsupportedError",
    "RateLimitedError",
    "RouteUnknownError",
    "TicketInvalidError",
]


class RateLimitedError(UnavailableError):
    """One caller asked more often than it may; nothing was written. `retry_after` is how many seconds to wait."""

    code: ClassVar[str] = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OriginRefusedError(RefusedError):
    """The request came from a page of another origin, or under a host name that is not this server's."""

    code: ClassVar[str] = "origin_refused"


class RouteUnknownError(RefusedError):
    """The server has no such route."""

    code: ClassVar[str] = "route_unknown"


class MethodRefusedError(RefusedError):
    """The route exists and is not asked by this method."""

    code: ClassVar[str] = "method_refused"


class TicketInvalidError(RefusedError):
    """A ticket for a live connection was used before, has expired, or never was. Ask for another, then connect again.

    It says nothing of the session, which stays what it is.
    """

    code: ClassVar[str] = "ticket_invalid"
    retry: ClassVar[Retry] = Retry.LATER


class ProtocolUnsupportedError(RefusedError):
    """The client speaks a version of the wire that this server does not. `spoken` are those that the server does."""

    code: ClassVar[str] = "protocol_unsupported"

    def __init__(self, message: str, *, spoken: Collection[int]) -> None:
        super().__init__(message)
        self.spoken = tuple(spoken)
