"""The bodies of requests and answers. Unknown fields are refused, so that a slip of the pen is not silently ignored."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["CallRequest", "Health", "RotateRequest", "SessionAnswer", "SessionView"]


class CallRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run a function. `arguments` is kept as text: the function knows its types."""

    kind: str
    function: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    request_id: str | None = None


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give the session a new token; `to` is the new id where the browser makes them."""

    to: str | None = None


class SessionView(msgspec.Struct, frozen=True):
    """What a caller may know of its session."""

    id: str
    subject: str | None
    created_at: datetime | None
    expires_at: datetime | None
    idle_expires_at: datetime | None


class SessionAnswer(msgspec.Struct, frozen=True):
    """The caller's session."""

    session: SessionView


class Health(msgspec.Struct, frozen=True):
    """Whether the server can reach its store."""

    status: str
    engine: str
