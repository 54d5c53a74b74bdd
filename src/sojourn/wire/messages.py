"""The bodies of requests and answers. Unknown fields are refused, so that a slip of the pen is not silently ignored."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sojourn import limits

__all__ = [
    "ActionRefusal",
    "ActionView",
    "ActionsAnswer",
    "ActionsRequest",
    "ActiveAnswer",
    "ActiveRequest",
    "CallRequest",
    "CleanupAnswer",
    "CleanupRequest",
    "EraseAnswer",
    "Health",
    "LeftAnswer",
    "PresenceAnswer",
    "PresenceLeaveRequest",
    "PresenceRequest",
    "RotateRequest",
    "SessionAnswer",
    "SessionView",
    "VisitAnswer",
    "VisitRequest",
    "VisitView",
    "VisitorAnswer",
    "VisitorRequest",
    "VisitorView",
]


class _Discreet(msgspec.Struct, frozen=True):
    """Carries the secret of a browser, so that its repr tells no more than what it is."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class CallRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run a function. `arguments` is kept as text: the function knows its types."""

    kind: str
    function: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    request_id: str | None = None


class RotateRequest(_Discreet, frozen=True, forbid_unknown_fields=True):
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


class VisitRequest(_Discreet, frozen=True, forbid_unknown_fields=True):
    """A visitor is here, or leaves. `visitor` is the browser's own id, its secret; left out: cookieless."""

    visitor: str | None = None


class VisitAnswer(msgspec.Struct, frozen=True):
    """Whether the visitor is tracked, and how long to wait until the next sign of life."""

    tracked: bool
    interval_ms: int


class ActionsRequest(_Discreet, frozen=True, forbid_unknown_fields=True):
    """What a visitor did, as one client reports it; `leaving` says that it has gone with that.

    `actions` is kept as text: each of them is read, and refused, by itself.
    """

    client: str
    sent_at: int
    actions: tuple[msgspec.Raw, ...]
    visitor: str | None = None
    leaving: bool = False


class ActionRefusal(msgspec.Struct, frozen=True):
    """An action that was not recorded, and never will be: its sequence, and the code and message of an error."""

    sequence: int
    code: str
    message: str


class ActionsAnswer(msgspec.Struct, frozen=True):
    """What became of a batch: how many were recorded now, how many had been before, and which were refused."""

    tracked: bool
    accepted: int = 0
    repeated: int = 0
    refused: tuple[ActionRefusal, ...] = ()


class PresenceRequest(_Discreet, frozen=True, forbid_unknown_fields=True):
    """A sign of life of a tab in a room; `token` is what the last one was answered with.

    `data` is what the member shows of itself; left out, it stays as it is.
    """

    room: str
    tab: str
    visitor: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    token: str | None = None


class PresenceAnswer(_Discreet, frozen=True):
    """What leaves the room for this tab, none where nobody is tracked; how long to wait until the next sign of life."""

    tracked: bool
    token: str | None
    interval_ms: int


class PresenceLeaveRequest(_Discreet, frozen=True, forbid_unknown_fields=True):
    """Leave a room, by what the heartbeat gave."""

    token: str


class LeftAnswer(msgspec.Struct, frozen=True):
    """Whoever it was is not there any more."""

    left: bool = True


class ActiveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List who is here, or was active in the last `minutes`; `after` is where the last page ended."""

    minutes: float | None = None
    limit: int = limits.PAGE
    after: str | None = None


class VisitView(msgspec.Struct, frozen=True):
    """One visit, as an operator sees it."""

    index: int
    started_at: datetime
    previous: int | None
    engaged_ms: int


class VisitorView(msgspec.Struct, frozen=True):
    """A visitor, as an operator sees it. The id is no credential."""

    id: str
    created_at: datetime
    last_active: datetime
    visit: VisitView


class ActiveAnswer(msgspec.Struct, frozen=True):
    """Who is here, those active last first; `next` resumes behind them and is null when nobody follows."""

    visitors: tuple[VisitorView, ...]
    next: str | None


class VisitorRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A visitor, by the id under which it is listed."""

    id: str


class ActionView(msgspec.Struct, frozen=True):
    """One action of a visitor, as an operator sees it."""

    action: str
    timestamp: datetime
    occurred_at: datetime
    resource_id: str | None
    metadata: object


class VisitorAnswer(msgspec.Struct, frozen=True):
    """A visitor, with its last visits and its last actions, the latest first."""

    visitor: VisitorView
    visits: tuple[VisitView, ...]
    actions: tuple[ActionView, ...]


class CleanupRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delete visitors who have stayed away for so many days; `dry_run` only counts them."""

    days: float | None = None
    dry_run: bool = False


class CleanupAnswer(msgspec.Struct, frozen=True):
    """How many visitors were deleted, or would be: those whose last activity was before `oldest_date`."""

    deleted_count: int
    oldest_date: datetime


class EraseAnswer(msgspec.Struct, frozen=True):
    """How many records were deleted of a visitor."""

    erased: int
