"""What snapshots are made of: frozen values, and the rules for what may be in them. No I/O.

Two rules of the face are stated here, once.

**The newest leaf.** A leaf is a snapshot that no other snapshot of its session names as its parent. The newest of
them is the one with the latest `created_at`, as an instant; of equal ones, the one that was stored last. Where
snapshots were taken away, one that none names any more is a leaf only if its branch ends with it, so a line with a gap
has one leaf and not two. The first child of a leaf goes on with its branch, each further one begins a branch.

**Timestamps.** `created_at` is what the caller gives, else the engine's time at the first save, and never moves.
`updated_at` and `heartbeat_at` are what the caller gives, and nothing else is added; of a snapshot that a turn made
the turn sets them: `updated_at` when it ends, `heartbeat_at` from the lease that it keeps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel.codec import check_plain

__all__ = [
    "Failure",
    "FinishReason",
    "Mutator",
    "NO_LEAF",
    "NoLeaf",
    "Policy",
    "Pruned",
    "SessionInfo",
    "Snapshot",
    "SnapshotInfo",
    "SnapshotInput",
    "Status",
    "TERMINAL",
    "checked_name",
    "checked_policy",
    "checked_session",
    "checked_snapshot_id",
    "checked_tenant",
    "instant_of",
    "moment_of",
    "resolve_id",
]

S = TypeVar("S")


class Status(StrEnum):
    """Where a snapshot is in its life. Only a pending one changes its status, once."""

    PENDING = "pending"
    """A turn is at work on it."""
    COMPLETED = "completed"
    """It is settled: the only status from which a turn goes on."""
    FAILED = "failed"
    """The turn raised; `error` says what."""
    ABORTED = "aborted"
    """It was stopped by `abort`."""
    EXPIRED = "expired"
    """Whoever was at work on it gave no more sign of life. Noticed by whoever looks, and stored then."""


TERMINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.ABORTED, Status.EXPIRED})
"""What a snapshot's status does not change from."""


class FinishReason(StrEnum):
    """Why a turn ended, in the words of models."""

    STOP = "stop"
    LENGTH = "length"
    BLOCKED = "blocked"
    INTERRUPTED = "interrupted"
    OTHER = "other"
    UNKNOWN = "unknown"
    ABORTED = "aborted"
    FAILED = "failed"


Policy: TypeAlias = Literal["reject", "branch", "queue"]
"""What to do where somebody else is at work, or was faster: refuse, go on beside it, or go on behind it."""


_POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


class NoLeaf(StrEnum):
    """What `expect_leaf` is where the session is expected to have no snapshot yet."""

    NO_LEAF = ""


NO_LEAF: Final = NoLeaf.NO_LEAF


class Failure(msgspec.Struct, frozen=True):
    """What a turn failed of. `details` is plain JSON data that the one who raised gave on purpose, or None."""

    message: str
    status: str | None = None
    details: Any = None


class SnapshotInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot without its state: what a listing and a watcher see.

    `state_bytes` is the size of its state as JSON text, None while it has none; `stored_bytes` is what it added to
    what the session stores.
    """

    snapshot_id: str
    session_id: str
    parent_id: str | None
    created_at: datetime
    status: Status
    updated_at: datetime | None = None
    heartbeat_at: datetime | None = None
    finish_reason: FinishReason | None = None
    error: Failure | None = None
    state_bytes: int | None = None
    stored_bytes: int = 0


class Snapshot(SnapshotInfo, Generic[S], frozen=True, kw_only=True):
    """A snapshot with its state, a copy that belongs to the caller; None when it has none."""

    state: S | None


class SnapshotInput(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """What a mutator returns to have it stored.

    `session_id` may be left out where the state names it (`sessionId` or `session_id` of a plain dict). Timestamps
    are datetimes with a zone, or such text in ISO 8601. `snapshot_id` names a new snapshot where `save_snapshot` was
    given none.
    """

    session_id: str | None = None
    state: S | None = None
    parent_id: str | None = None
    status: Status | str = Status.COMPLETED
    snapshot_id: str | None = None
    created_at: datetime | str | None = None
    updated_at: datetime | str | None = None
    heartbeat_at: datetime | str | None = None
    finish_reason: FinishReason | str | None = None
    error: Failure | None = None


Mutator: TypeAlias = Callable[[Snapshot[S] | None], SnapshotInput[S] | Snapshot[S] | None]
"""Gets a copy of what is stored, or None, and returns what to store, or None to leave it. It may be called twice."""


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session as a whole. `stored_bytes` is what its states take up, before any compression."""

    session_id: str
    created_at: datetime
    newest: str
    newest_at: datetime
    snapshots: int
    leaves: int
    stored_bytes: int


class Pruned(msgspec.Struct, frozen=True):
    """What a prune took away, or would: how many snapshots, and their bytes; `kept` is how many are left."""

    removed: int
    kept: int
    freed_bytes: int


def checked_session(session_id: object) -> str:
    """Return the id of a session. Any text but a blank one is one, up to `limits.SNAPSHOT_SESSION_BYTES`.

    Raises:
        InvalidError: it is no text, or a blank one.
        LimitError: it is too long.
    """
    return _text("session_id", session_id, limits.SNAPSHOT_SESSION_BYTES)


def checked_tenant(tenant: object) -> str:
    """Return the name of a tenant: a plain name, as a snapshot's id is.

    Raises:
        InvalidError: it is no text, a blank one, or has the form of a path.
        LimitError: it is too long.
    """
    return _plain_name("tenant", _text("tenant", tenant, limits.SNAPSHOT_TENANT_BYTES))


def checked_snapshot_id(snapshot_id: object, name: str = "snapshot_id") -> str:
    """Return the id of a snapshot: a plain name, so that it can stand in a URL or name a file.

    Raises:
        InvalidError: it is no text, a blank one, or has the form of a path.
        LimitError: it is longer than `limits.SNAPSHOT_ID_BYTES`.
    """
    return _plain_name(name, _text(name, snapshot_id, limits.SNAPSHOT_ID_BYTES))


def checked_name(name: object) -> str:
    """Return the name of a branch.

    Raises:
        InvalidError: it is no text, a blank one, or has the form of a path.
        LimitError: it is longer than `limits.SNAPSHOT_NAME_BYTES`.
    """
    return _plain_name("branch", _text("branch", name, limits.SNAPSHOT_NAME_BYTES))


def checked_policy(name: str, policy: object) -> Policy:
    """Return what to do where somebody else is at work.

    Raises:
        InvalidError: it is none of the three.
    """
    for known in _POLICIES:
        if policy == known:
            return known
    raise InvalidError(name, f'it is "reject", "branch" or "queue", not {policy!r}')


def resolve_id(snapshot_id: object, session_id: object) -> None:
    """Check that exactly one of the two ids is given.

    Raises:
        InvalidError: both are, or none.
    """
    if (snapshot_id is None) == (session_id is None):
        given = "both are" if snapshot_id is not None else "none is"
        raise InvalidError("snapshot_id", f"exactly one of snapshot_id and session_id is asked for, and {given} given")


def instant_of(name: str, given: datetime | str | None) -> int | None:
    """Return an instant in microseconds since 1970.

    Raises:
        InvalidError: it is neither a datetime with a zone nor such text in ISO 8601.
    """
    if given is None:
        return None
    found = given
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError as error:
            raise InvalidError(name, f"{given!r} is no instant in ISO 8601") from error
    if not isinstance(cast("object", found), datetime):
        raise InvalidError(name, f"a datetime, or text in ISO 8601, is asked for, not a {type(given).__name__}")
    if found.tzinfo is None:
        raise InvalidError(name, f"{given!r} has no time zone")
    try:
        since = found.astimezone(UTC) - _EPOCH
    except OverflowError as error:
        raise InvalidError(name, f"{given!r} is beyond the years 1 to 9999 in UTC") from error
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment_of(instant: int) -> datetime:
    """Return microseconds since 1970 as a datetime in UTC."""
    seconds, microseconds = divmod(instant, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def checked_status(status: object) -> Status:
    """Return the status of a snapshot.

    Raises:
        InvalidError: there is no such status, or it is `expired`, which is noticed and not given.
    """
    try:
        found = Status(cast("Any", status))
    except ValueError as error:
        raise InvalidError("status", f"there is no status {status!r}") from error
    if found is Status.EXPIRED:
        raise InvalidError("status", "`expired` is noticed when a sign of life is overdue, and cannot be given")
    return found


def checked_finish(reason: object) -> FinishReason | None:
    """Return why a turn ended.

    Raises:
        InvalidError: there is no such reason.
    """
    if reason is None:
        return None
    try:
        return FinishReason(cast("Any", reason))
    except ValueError as error:
        raise InvalidError("finish_reason", f"there is no reason {reason!r}") from error


def checked_failure(error: object) -> Failure | None:
    """Return what a turn failed of.

    Raises:
        InvalidError: it is no `Failure`, or its details are no plain JSON data.
    """
    if error is None:
        return None
    if not isinstance(error, Failure):
        raise InvalidError("error", f"a Failure is asked for, not a {type(error).__name__}")
    check_plain("error", error.details, limits.JSON_DEPTH)
    return error


def called(mutator: Mutator[S], current: Snapshot[S] | None) -> SnapshotInput[S] | None:
    """Call a mutator and return what it wants stored, None when it leaves things as they are.

    What it raises comes back as it is.

    Raises:
        InvalidError: it is a coroutine, or returned something else.
    """
    if not callable(mutator):
        raise InvalidError("mutator", f"a function is asked for, not a {type(mutator).__name__}")
    wanted = cast("object", mutator(current))
    if inspect.iscoroutine(wanted):
        wanted.close()
        raise InvalidError("mutator", "it is a coroutine; a mutator is an ordinary function that returns at once")
    if isinstance(wanted, Snapshot):
        return _as_input(cast("Snapshot[S]", wanted))
    if wanted is None or isinstance(wanted, SnapshotInput):
        return cast("SnapshotInput[S] | None", wanted)
    raise InvalidError("mutator", f"it returned a {type(wanted).__name__}, not a SnapshotInput, a Snapshot or None")


def _as_input(snapshot: Snapshot[S]) -> SnapshotInput[S]:
    return SnapshotInput(
        snapshot_id=snapshot.snapshot_id,
        session_id=snapshot.session_id,
        parent_id=snapshot.parent_id,
        created_at=snapshot.created_at,
        updated_at=snapshot.updated_at,
        heartbeat_at=snapshot.heartbeat_at,
        status=snapshot.status,
        finish_reason=snapshot.finish_reason,
        error=snapshot.error,
        state=snapshot.state,
    )


def _text(name: str, text: object, most: int) -> str:
    if not isinstance(text, str):
        raise InvalidError(name, f"text is asked for, not a {type(text).__name__}")
    if not text.strip():
        raise InvalidError(name, "must not be empty")
    if "\0" in text or "\x01" in text:
        raise InvalidError(name, "it holds the characters U+0000 or U+0001")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError(name, "it holds half of a surrogate pair, which is no text") from error
    if size > most:
        raise LimitError(name, limit=most, found=size, unit="bytes")
    return text


def _plain_name(name: str, text: str) -> str:
    if text in {".", ".."} or "/" in text or "\\" in text:
        raise InvalidError(name, f"{text!r} has the form of a path; a plain name has no slash and is not . or ..")
    return text
