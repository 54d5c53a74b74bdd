"""Errors on the wire: one form for all, and what each kind means in HTTP."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from sojourn.errors import (
    ApplicationError,
    CapabilityError,
    ClosedError,
    CommitUnknownError,
    ConflictError,
    DialogGoneError,
    DocumentUnknownError,
    FunctionUnknownError,
    IncompatibleError,
    InvalidError,
    LimitError,
    MethodRefusedError,
    MissingExtraError,
    OriginRefusedError,
    RateLimitedError,
    RefusedError,
    RouteUnknownError,
    SessionInvalidError,
    SnapshotUnknownError,
    SojournError,
    UnavailableError,
    VisitorUnknownError,
)

__all__ = ["Failure", "FailureAnswer", "failure_of", "status_of"]


class Failure(msgspec.Struct, frozen=True):
    """One error, for a program (`code`, `retry`, `written`) and for a person (`message`)."""

    code: str
    message: str
    retry: str
    written: str
    name: str | UnsetType = UNSET
    data: object | UnsetType = UNSET
    report: str | UnsetType = UNSET


class FailureAnswer(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: Failure


# The first class that fits decides, so a child stands before its parent.
_STATUS: Final[tuple[tuple[type[SojournError], int], ...]] = (
    (SessionInvalidError, 401),
    (OriginRefusedError, 403),
    (FunctionUnknownError, 404),
    (VisitorUnknownError, 404),
    (DocumentUnknownError, 404),
    (SnapshotUnknownError, 404),
    (DialogGoneError, 404),
    (RouteUnknownError, 404),
    (MethodRefusedError, 405),
    (ConflictError, 409),
    (LimitError, 413),
    (ApplicationError, 422),
    (RateLimitedError, 429),
    (CapabilityError, 501),
    (MissingExtraError, 501),
    (ClosedError, 503),
    (IncompatibleError, 503),
    (RefusedError, 400),
    (UnavailableError, 503),
    (CommitUnknownError, 503),
)

_INTERNAL: Final = 500


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error; what nobody foresaw is the server's own fault."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), _INTERNAL)


def failure_of(error: Exception, report: str) -> Failure:
    """Return what a client may know of an error.

    The ways in which a session can be invalid are one. Of a fault of the server only `report` is told, which stands
    in its log beside the whole story.
    """
    if isinstance(error, SessionInvalidError):
        code = SessionInvalidError.code
        return Failure(code, "no live session is opened by this; begin one", error.retry.value, error.written)
    if not isinstance(error, SojournError) or status_of(error) == _INTERNAL:
        return Failure("internal", "the server made a mistake; its log says which", "never", "perhaps", report=report)
    return Failure(
        error.code,
        str(error),
        error.retry.value,
        error.written,
        name=error.name if isinstance(error, InvalidError | LimitError) else UNSET,
        data=error.data if isinstance(error, ApplicationError) else UNSET,
    )
