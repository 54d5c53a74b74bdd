"""The messages of live connections: what a client may say, and what it is told.

A client says who it is, which queries it watches, and when it wants to know that all is there. The server answers with
transitions. Every message is one JSON object whose `type` says which it is.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sojourn.errors import (
    CallTimeoutError,
    ClosedError,
    CommitUnknownError,
    LimitError,
    ProtocolUnsupportedError,
    RateLimitedError,
    RefusedError,
    SessionInvalidError,
    TicketInvalidError,
    UnavailableError,
)
from sojourn.wire.failures import Failure
from sojourn.wire.messages import SessionView

__all__ = [
    "Beat",
    "Connect",
    "Connected",
    "FromClient",
    "Goodbye",
    "LiveQuery",
    "LiveTransition",
    "LiveUpdate",
    "PROTOCOLS",
    "Sync",
    "TicketAnswer",
    "WatchChange",
    "close_code_of",
]

PROTOCOLS: Final = frozenset({1})
"""The versions of these messages that the server speaks."""

_Whole: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # what JavaScript counts exactly


class TicketAnswer(msgspec.Struct, frozen=True):
    """What opens one live connection, once, and for how long it does."""

    ticket: str
    expires_in_ms: int

    def __repr__(self) -> str:
        """Show no ticket: it opens a session."""
        return f"<{type(self).__name__}>"


class Connect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="connect"):
    """What a client says first. `seen` is the highest version that it has shown already."""

    protocol: int
    ticket: str
    seen: _Whole | None = None

    def __repr__(self) -> str:
        """Show no ticket: it opens a session."""
        return f"<{type(self).__name__} protocol={self.protocol}>"


class LiveQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query to be watched, under a number of the client's. `arguments` is kept as text."""

    id: _Whole
    function: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class WatchChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="watch"):
    """What is watched from now on, and what not any more; both in one transition."""

    add: tuple[LiveQuery, ...] = ()
    remove: tuple[_Whole, ...] = ()


class Sync(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sync"):
    """Asks to be told when all that was committed before now has been sent."""

    id: _Whole


FromClient: TypeAlias = Connect | WatchChange | Sync


class Connected(msgspec.Struct, frozen=True, tag="connected"):
    """The answer to `Connect`: the ticket's session, none if it has none, and how often silence is broken."""

    protocol: int
    version: int
    session: SessionView | None
    beat_ms: int


class LiveUpdate(msgspec.Struct, frozen=True):
    """What a watched query is now: its result, or why it has none."""

    id: int
    result: msgspec.Raw | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class LiveTransition(msgspec.Struct, frozen=True, tag="transition"):
    """What changed, as of one instant. With `more` it goes on in the next message; the last part ends it."""

    version: int
    updates: tuple[LiveUpdate, ...]
    synced: tuple[int, ...] = ()
    more: bool = False


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A sign of life where nothing changes."""


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """The last message: why the connection ends."""

    error: Failure


# The first class that fits decides, so a child stands before its parent.
_CLOSE_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (SessionInvalidError, 4401),
    (TicketInvalidError, 4401),
    (CallTimeoutError, 4408),
    (CommitUnknownError, 1013),
    (LimitError, 4413),
    (ProtocolUnsupportedError, 4426),
    (RateLimitedError, 4429),
    (ClosedError, 1012),
    (RefusedError, 4400),
    (UnavailableError, 1013),
)
_INTERNAL: Final = 1011


def close_code_of(error: Exception) -> int:
    """Return the code that closes a WebSocket because of an error; what nobody foresaw is the server's own fault."""
    return next((code for kind, code in _CLOSE_CODES if isinstance(error, kind)), _INTERNAL)
