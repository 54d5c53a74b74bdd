"""What goes wrong with sessions and visitors."""

from __future__ import annotations

from typing import ClassVar

from sojourn.errors.kinds import RefusedError

__all__ = [
    "SessionExpiredError",
    "SessionInvalidError",
    "SessionRevokedError",
    "SessionUnknownError",
    "VisitorUnknownError",
]


class SessionInvalidError(RefusedError):
    """No live session is opened by what was presented. On the wire the three kinds are this one, alike."""

    code: ClassVar[str] = "session_invalid"


class SessionUnknownError(SessionInvalidError):
    """There is no such session, or the secret does not, or no longer, open it."""

    code: ClassVar[str] = "session_unknown"


class SessionExpiredError(SessionInvalidError):
    """The session was not used within its idle limit, or has reached its absolute limit."""

    code: ClassVar[str] = "session_expired"


class SessionRevokedError(SessionInvalidError):
    """The session was ended on purpose, here or elsewhere."""

    code: ClassVar[str] = "session_revoked"


class VisitorUnknownError(RefusedError):
    """There is no such visitor, and it was asked that none be made; nothing was written."""

    code: ClassVar[str] = "visitor_unknown"
