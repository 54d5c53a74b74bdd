"""Every error that sojourn raises, in one tree.

    SojournError
    ├─ ConflictError            a guard failed, nothing was written; read again
    │  ├─ LeaseHeldError        somebody else holds the lease; wait, or ask for it
    │  ├─ LeaseLostError        the lease ended or was taken; acquire it anew
    │  ├─ LeafMovedError        the newest leaf is not the one expected
    │  └─ TurnAbortedError      the turn was stopped by `abort`
    ├─ CommitUnknownError       perhaps written; repeat the same transaction id only
    │  └─ CallTimeoutError      a call took longer than it may; perhaps written
    ├─ UnavailableError         the store was not reached, nothing was written; wait and repeat
    │  ├─ OverloadedError       more is waiting than the limits allow; wait and repeat
    │  └─ RateLimitedError      one caller asked more often than it may; wait and repeat
    ├─ RefusedError             nothing was written; the caller must change something
    │  ├─ InvalidError          a value is not of the form asked for
    │  ├─ LimitError            a value is beyond a limit
    │  ├─ ClosedError           the store, or what belongs to it, is not open
    │  │  └─ DocumentClosedError  the document was unloaded
    │  ├─ IncompatibleError     the stored data is not sojourn's, or of another release
    │  ├─ SessionInvalidError   no live session is opened by what was presented
    │  │  ├─ SessionUnknownError  there is none, or the secret does not open it
    │  │  ├─ SessionExpiredError  its idle or absolute limit was reached
    │  │  └─ SessionRevokedError  it was ended
    │  ├─ VisitorUnknownError   there is no such visitor
    │  ├─ DocumentUnknownError  no such document, or revision of one, is stored
    │  ├─ DocumentNotLoadedError  the document is not loaded here
    │  ├─ DocumentInvalidError  a document's value breaks its schema
    │  ├─ TransformInvalidError  a change of a document waits, calls back, or does not say yes or no
    │  ├─ KeysChangedError      a change of several documents added or dropped one
    │  ├─ MigrationFailedError  a migration step raised, or returned nothing
    │  ├─ ImportFailedError     what brings old data in raised
    │  ├─ SnapshotUnknownError  there is no such snapshot, or branch
    │  ├─ SnapshotSettledError  a snapshot may not be changed in this way any more
    │  ├─ NotResumableError     a turn goes on from completed snapshots only
    │  ├─ BranchedError         the session has more than one leaf, which was to be refused
    │  ├─ LoadInProgressError   the document is being loaded here already
    │  ├─ LoadCancelledError    the document was unloaded while it was being loaded
    │  ├─ DialogExistsError     a dialog of this id was started before
    │  ├─ DialogGoneError       there is no such dialog, or its end is forgotten
    │  ├─ DialogStateError      the dialog is not in a state that allows this
    │  ├─ UnsupportedError      the platform of an interaction cannot do that
    │  ├─ FunctionUnknownError  no function of this name and kind may be called
    │  ├─ RequestReusedError    a request id came again with other arguments
    │  ├─ OriginRefusedError    a page of another origin, or another host name, may not ask this server
    │  ├─ RouteUnknownError     the server has no such route
    │  └─ MethodRefusedError    the route is not asked by this method
    ├─ UnloadFailedError        some documents could not be saved and given back
    ├─ ApplicationError         a function said no, and gave data that says why
    ├─ ResultInvalidError       a function returned what it does not declare; its writes are undone
    ├─ DialogUnansweredError    a dialog ended without the answer that was waited for
    ├─ MiddlewareFailedError    a middleware of dialogs raised; what it stood before did not happen
    ├─ CapabilityError          this engine cannot do that
    ├─ CorruptError             stored bytes cannot be understood; never retried
    │  └─ StateLostError        a snapshot's state cannot be put together any more
    └─ MissingExtraError        an optional dependency is not installed

There are four kinds of failure (conflict, unknown outcome, unavailable, refused), and each class says
whether anything was written (`written`) and what a caller may do (`retry`). `code` is stable: the server, the
browser client and the command line report the same word.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar, Literal

__all__ = [
    "ApplicationError",
    "BranchedError",
    "CallTimeoutError",
    "CapabilityError",
    "ClosedError",
    "CommitUnknownError",
    "ConflictError",
    "CorruptError",
    "DialogExistsError",
    "DialogGoneError",
    "DialogStateError",
    "DialogUnansweredError",
    "DocumentClosedError",
    "DocumentInvalidError",
    "DocumentNotLoadedError",
    "DocumentUnknownError",
    "FunctionUnknownError",
    "ImportFailedError",
    "IncompatibleError",
    "InvalidError",
    "KeysChangedError",
    "LeafMovedError",
    "LeaseHeldError",
    "LeaseLostError",
    "LimitError",
    "LoadCancelledError",
    "LoadInProgressError",
    "MethodRefusedError",
    "MiddlewareFailedError",
    "MigrationFailedError",
    "MissingExtraError",
    "NotResumableError",
    "OriginRefusedError",
    "OverloadedError",
    "RateLimitedError",
    "RefusedError",
    "RequestReusedError",
    "ResultInvalidError",
    "Retry",
    "RouteUnknownError",
    "SessionExpiredError",
    "SessionInvalidError",
    "SessionRevokedError",
    "SessionUnknownError",
    "SnapshotSettledError",
    "SnapshotUnknownError",
    "SojournError",
    "StateLostError",
    "TransformInvalidError",
    "TurnAbortedError",
    "UnavailableError",
    "UnloadFailedError",
    "UnsupportedError",
    "VisitorUnknownError",
]


class Retry(StrEnum):
    """What a caller may do after an error."""

    AFTER_READING = "after_reading"
    """Read the state again, decide again, then commit under a new transaction."""
    SAME_ID = "same_id"
    """Repeat the very same transaction id; under a new id the work might be done twice."""
    LATER = "later"
    """Wait, then repeat unchanged."""
    NEVER = "never"
    """Repeating unchanged cannot succeed."""


class SojournError(Exception):
    """Anything that sojourn raises on purpose; catch it to catch all of them."""

    code: ClassVar[str] = "sojourn"
    retry: ClassVar[Retry] = Retry.NEVER
    written: ClassVar[Literal["no", "perhaps"]] = "no"


class ConflictError(SojournError):
    """A guard failed, so nothing was written: read again and decide again.

    `guard` is the guard that failed, `found` the record that stands at its key (None when there is none, or
    when the guard covers a span), `now` the engine's time in milliseconds: enough to decide without another read.
    """

    code: ClassVar[str] = "conflict"
    retry: ClassVar[Retry] = Retry.AFTER_READING

    def __init__(self, message: str, *, guard: object = None, found: object = None, now: int | None = None) -> None:
        super().__init__(message)
        self.guard = guard
        self.found = found
        self.now = now


class LeaseHeldError(ConflictError):
    """Somebody else holds the lease, and it was not released within the time given; nothing was written."""

    code: ClassVar[str] = "lease_held"
    retry: ClassVar[Retry] = Retry.LATER


class LeaseLostError(ConflictError):
    """The lease ended, was released or was taken by another holder; nothing was written.

    `unsaved` is what the holder had not saved, for faces that keep a value in memory; None elsewhere.
    """

    code: ClassVar[str] = "lease_lost"

    def __init__(
        self,
        message: str,
        *,
        guard: object = None,
        found: object = None,
        now: int | None = None,
        unsaved: object = None,
    ) -> None:
        super().__init__(message, guard=guard, found=found, now=now)
        self.unsaved = unsaved


class LeafMovedError(ConflictError):
    """The session's newest leaf is not the one that was expected; nothing was written.

    `expected` and `newest` are the ids of the two, "" where it is none.
    """

    code: ClassVar[str] = "leaf_moved"

    def __init__(self, message: str, *, expected: str, newest: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.newest = newest


class TurnAbortedError(ConflictError):
    """The turn was stopped by `abort`, here or elsewhere; its snapshot says aborted, and what it had is not stored."""

    code: ClassVar[str] = "turn_aborted"
    retry: ClassVar[Retry] = Retry.NEVER


class CommitUnknownError(SojournError):
    """The answer was lost: perhaps written, perhaps not. The kernel has already repeated the same id for a while.

    Repeat the same transaction id to find out; a new id might do the work twice.
    """

    code: ClassVar[str] = "commit_unknown"
    retry: ClassVar[Retry] = Retry.SAME_ID
    written: ClassVar[Literal["no", "perhaps"]] = "perhaps"


class CallTimeoutError(CommitUnknownError):
    """A call took longer than `limits.CALL_TIMEOUT` and was stopped; perhaps written. Repeat the same request id."""

    code: ClassVar[str] = "call_timeout"


class UnavailableError(SojournError):
    """The store could not be reached or could not take more; nothing was written: wait and repeat."""

    code: ClassVar[str] = "unavailable"
    retry: ClassVar[Retry] = Retry.LATER


class OverloadedError(UnavailableError):
    """More transactions or bytes are waiting than `limits` allows; nothing was written: wait and repeat."""

    code: ClassVar[str] = "overloaded"


class RateLimitedError(UnavailableError):
    """One caller asked more often than it may; nothing was written. `retry_after` is how many seconds to wait."""

    code: ClassVar[str] = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(SojournError):
    """Nothing was written, and repeating unchanged is useless: the caller must change something."""

    code: ClassVar[str] = "refused"


class InvalidError(RefusedError):
    """A value is not of the form asked for. `name` is the value's name."""

    code: ClassVar[str] = "invalid"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class LimitError(RefusedError):
    """A value is beyond a limit. `name` is the value's name, `limit` the most allowed, `found` what was given."""

    code: ClassVar[str] = "limit"

    def __init__(self, name: str, *, limit: int, found: int, unit: str) -> None:
        super().__init__(f"{name}: at most {limit} {unit} allowed, found {found}")
        self.name = name
        self.limit = limit
        self.found = found
        self.unit = unit


class ClosedError(RefusedError):
    """The store, or something that belongs to it, is closed or was never opened."""

    code: ClassVar[str] = "closed"


class DocumentClosedError(ClosedError):
    """The document was unloaded, or is being unloaded: it takes no change any more."""

    code: ClassVar[str] = "document_closed"


class IncompatibleError(RefusedError):
    """What stands where the store should be is not sojourn's, or was written by a newer release."""

    code: ClassVar[str] = "incompatible"


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


class DocumentUnknownError(RefusedError):
    """No such document, or no such revision of it, is stored; nothing was written."""

    code: ClassVar[str] = "document_unknown"


class DocumentNotLoadedError(RefusedError):
    """The document is not loaded by this process, so it cannot be used here; nothing was written."""

    code: ClassVar[str] = "document_not_loaded"


class DocumentInvalidError(RefusedError):
    """A document's value breaks its schema; nothing was written, and what was there stands.

    `key` is the document's, None for a template. `source` says where the value came from: `template`, `stored`,
    `migration`, `import` or `change`.
    """

    code: ClassVar[str] = "document_invalid"

    def __init__(self, problem: str, *, source: str, key: str | None = None) -> None:
        where = source if key is None else f"the document {key!r} ({source})"
        super().__init__(f"{where}: {problem}")
        self.problem = problem
        self.source = source
        self.key = key


class TransformInvalidError(RefusedError):
    """A change of a document is a coroutine, calls back to its document, or does not say yes or no; nothing changed."""

    code: ClassVar[str] = "transform_invalid"


class KeysChangedError(RefusedError):
    """A change of several documents gave back other keys than it was given; nothing changed."""

    code: ClassVar[str] = "keys_changed"


class MigrationFailedError(RefusedError):
    """A migration step raised, or returned nothing; nothing was written. `step` is its name."""

    code: ClassVar[str] = "migration_failed"

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class ImportFailedError(RefusedError):
    """What brings old data in raised; nothing was written, and the next load asks it again."""

    code: ClassVar[str] = "import_failed"


class LoadInProgressError(RefusedError):
    """The document is being loaded by this process already; wait for that one."""

    code: ClassVar[str] = "load_in_progress"


class LoadCancelledError(RefusedError):
    """The document was unloaded, or the documents were closed, while it was being loaded; the lease was given back."""

    code: ClassVar[str] = "load_cancelled"


class SnapshotUnknownError(RefusedError):
    """There is no such snapshot, or no branch of this name; nothing was written."""

    code: ClassVar[str] = "snapshot_unknown"


class SnapshotSettledError(RefusedError):
    """A snapshot may not be changed like this; nothing was written.

    Its id, session, parent and terminal status stand, and so does its state once another snapshot builds on it.
    """

    code: ClassVar[str] = "snapshot_settled"


class NotResumableError(RefusedError):
    """A turn goes on from a completed snapshot only, and this one is not; nothing was written. `status` is its own."""

    code: ClassVar[str] = "not_resumable"

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class BranchedError(RefusedError):
    """The session has more than one leaf, and that was to be refused; name a snapshot. `leaves` is how many."""

    code: ClassVar[str] = "branched"

    def __init__(self, message: str, *, leaves: int) -> None:
        super().__init__(message)
        self.leaves = leaves


class DialogExistsError(RefusedError):
    """A dialog of this id was started before, and is open or remembered; it is untouched."""

    code: ClassVar[str] = "dialog_exists"


class DialogGoneError(RefusedError):
    """There is no such dialog: it was never started, its start came to nothing, or its end is forgotten by now."""

    code: ClassVar[str] = "dialog_gone"


class DialogStateError(RefusedError):
    """The dialog, or what is held of it, is not in a state that allows this; `dialog_id` and `state` say which."""

    code: ClassVar[str] = "dialog_state"

    def __init__(self, dialog_id: str, state: str, problem: str) -> None:
        super().__init__(f"dialog {dialog_id} is {state}: {problem}")
        self.dialog_id = dialog_id
        self.state = state


class UnsupportedError(RefusedError):
    """The platform of an interaction cannot do that: it has no forms, for example."""

    code: ClassVar[str] = "platform_unsupported"


class FunctionUnknownError(RefusedError):
    """No function of this name and kind may be called by this caller; an internal one is no different from none."""

    code: ClassVar[str] = "function_unknown"


class RequestReusedError(RefusedError):
    """A request id came again with another function or other arguments than the first time; nothing was written."""

    code: ClassVar[str] = "request_reused"


class OriginRefusedError(RefusedError):
    """The request came from a page of another origin, or under a host name that is not this server's."""

    code: ClassVar[str] = "origin_refused"


class RouteUnknownError(RefusedError):
    """The server has no such route."""

    code: ClassVar[str] = "route_unknown"


class MethodRefusedError(RefusedError):
    """The route exists and is not asked by this method."""

    code: ClassVar[str] = "method_refused"


class UnloadFailedError(SojournError):
    """Some documents could not be saved and given back. `failed` has the error of each, by key.

    What lost its lease has its unsaved value in `LeaseLostError.unsaved`; the others are still loaded, so that closing
    can be tried again.
    """

    code: ClassVar[str] = "unload_failed"
    retry: ClassVar[Retry] = Retry.LATER
    written: ClassVar[Literal["no", "perhaps"]] = "perhaps"

    def __init__(self, failed: Mapping[str, Exception]) -> None:
        shown = [f"{key}: {error}" for key, error in islice(failed.items(), 5)]
        if len(failed) > len(shown):
            shown.append(f"and {len(failed) - len(shown)} more")
        super().__init__(f"{len(failed)} could not be unloaded: {'; '.join(shown)}")
        self.failed = failed


class ApplicationError(SojournError):
    """Raised by a function of the application to say no. `data` goes to the client as it is; nothing was written."""

    code: ClassVar[str] = "application"

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.data = data


class ResultInvalidError(SojournError):
    """A function returned what its annotation does not allow; nothing was written. The function is at fault."""

    code: ClassVar[str] = "result_invalid"


class DialogUnansweredError(SojournError):
    """A dialog ended without the answer that `ask` waited for. `ended` says how; None: it was not even started."""

    code: ClassVar[str] = "dialog_unanswered"

    def __init__(self, message: str, ended: object = None) -> None:
        super().__init__(message)
        self.ended = ended


class MiddlewareFailedError(SojournError):
    """A middleware of dialogs raised, and what it stood before did not happen. The cause is what it raised.

    `middleware` is the one that raised, `dialog_id` the dialog it stood before, `interaction` what it was asked about,
    and `meta` what was handed along.
    """

    code: ClassVar[str] = "middleware_failed"

    def __init__(self, middleware: object, *, dialog_id: str, interaction: object, meta: Mapping[str, Any]) -> None:
        super().__init__(f"a middleware, or the filter, of dialog {dialog_id} failed")
        self.middleware = middleware
        self.dialog_id = dialog_id
        self.interaction = interaction
        self.meta = meta


class CapabilityError(SojournError):
    """This engine cannot do that. `capability` is the name of what it lacks."""

    code: ClassVar[str] = "capability_missing"

    def __init__(self, capability: str, problem: str) -> None:
        super().__init__(f"this engine lacks {capability}: {problem}")
        self.capability = capability


class CorruptError(SojournError):
    """Stored bytes cannot be understood: damaged, or written by something else."""

    code: ClassVar[str] = "corrupt"


class StateLostError(CorruptError):
    """A snapshot's state cannot be put together: something it is made of is missing or damaged.

    `snapshot_id` names it. `readable` is the id of the nearest ancestor whose state can still be read, None when there
    is none.
    """

    code: ClassVar[str] = "state_lost"

    def __init__(self, message: str, *, snapshot_id: str, readable: str | None) -> None:
        super().__init__(message)
        self.snapshot_id = snapshot_id
        self.readable = readable


class MissingExtraError(SojournError, ImportError):
    """An optional dependency is not installed. `extra` is what to install it by."""

    code: ClassVar[str] = "extra_missing"

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'sojourn[{extra}]'")
        self.extra = extra
        self.package = package
