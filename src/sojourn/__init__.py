"""sojourn keeps sessions for Python programs: who is calling, what they hold, what they did, and when it ends.

Every name below is the same object as in the module that defines it. They are imported when first used, so that
`import sojourn` costs next to nothing and loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sojourn.dialogs import KEEP, REFRESH, Dialog, Dialogs, button
    from sojourn.documents import Document, Documents
    from sojourn.errors import (
        ApplicationError,
        BranchedError,
        CallTimeoutError,
        CapabilityError,
        ClosedError,
        CommitUnknownError,
        ConflictError,
        CorruptError,
        DialogExistsError,
        DialogGoneError,
        DialogStateError,
        DialogUnansweredError,
        DocumentClosedError,
        DocumentInvalidError,
        DocumentNotLoadedError,
        DocumentUnknownError,
        FunctionUnknownError,
        ImportFailedError,
        IncompatibleError,
        InvalidError,
        KeysChangedError,
        LeafMovedError,
        LeaseHeldError,
        LeaseLostError,
        LimitError,
        LoadCancelledError,
        LoadInProgressError,
        MethodRefusedError,
        MiddlewareFailedError,
        MigrationFailedError,
        MissingExtraError,
        NotResumableError,
        OriginRefusedError,
        OverloadedError,
        ProtocolUnsupportedError,
        RateLimitedError,
        RefusedError,
        RequestReusedError,
        ResultInvalidError,
        RouteUnknownError,
        SessionExpiredError,
        SessionInvalidError,
        SessionRevokedError,
        SessionUnknownError,
        SnapshotSettledError,
        SnapshotUnknownError,
        SojournError,
        StateLostError,
        TicketInvalidError,
        TransformInvalidError,
        TurnAbortedError,
        UnavailableError,
        UnloadFailedError,
        UnsupportedError,
        VisitorUnknownError,
    )
    from sojourn.functions import ActionCtx, Functions, MutationCtx, QueryCtx, run_session_functions
    from sojourn.opening import open
    from sojourn.sessions import SessionId, Sessions
    from sojourn.snapshots import SnapshotInput, Snapshots
    from sojourn.visits import Visits

__all__ = [
    "ActionCtx",
    "ApplicationError",
    "BranchedError",
    "CallTimeoutError",
    "CapabilityError",
    "ClosedError",
    "CommitUnknownError",
    "ConflictError",
    "CorruptError",
    "Dialog",
    "DialogExistsError",
    "DialogGoneError",
    "DialogStateError",
    "DialogUnansweredError",
    "Dialogs",
    "Document",
    "DocumentClosedError",
    "DocumentInvalidError",
    "DocumentNotLoadedError",
    "DocumentUnknownError",
    "Documents",
    "FunctionUnknownError",
    "Functions",
    "ImportFailedError",
    "IncompatibleError",
    "InvalidError",
    "KEEP",
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
    "MutationCtx",
    "NotResumableError",
    "OriginRefusedError",
    "OverloadedError",
    "ProtocolUnsupportedError",
    "QueryCtx",
    "REFRESH",
    "RateLimitedError",
    "RefusedError",
    "RequestReusedError",
    "ResultInvalidError",
    "RouteUnknownError",
    "SessionExpiredError",
    "SessionId",
    "SessionInvalidError",
    "SessionRevokedError",
    "SessionUnknownError",
    "Sessions",
    "SnapshotInput",
    "SnapshotSettledError",
    "SnapshotUnknownError",
    "Snapshots",
    "SojournError",
    "StateLostError",
    "TicketInvalidError",
    "TransformInvalidError",
    "TurnAbortedError",
    "UnavailableError",
    "UnloadFailedError",
    "UnsupportedError",
    "VisitorUnknownError",
    "Visits",
    "button",
    "open",
    "run_session_functions",
]

# Where the names that are not errors live; tests/house/test_root.py holds this against the imports above.
_HOMES = {
    "ActionCtx": "sojourn.functions",
    "Dialog": "sojourn.dialogs",
    "Dialogs": "sojourn.dialogs",
    "Document": "sojourn.documents",
    "Documents": "sojourn.documents",
    "Functions": "sojourn.functions",
    "KEEP": "sojourn.dialogs",
    "MutationCtx": "sojourn.functions",
    "QueryCtx": "sojourn.functions",
    "REFRESH": "sojourn.dialogs",
    "SessionId": "sojourn.sessions",
    "Sessions": "sojourn.sessions",
    "SnapshotInput": "sojourn.snapshots",
    "Snapshots": "sojourn.snapshots",
    "Visits": "sojourn.visits",
    "button": "sojourn.dialogs",
    "open": "sojourn.opening",
    "run_session_functions": "sojourn.functions",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'sojourn' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "sojourn.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
