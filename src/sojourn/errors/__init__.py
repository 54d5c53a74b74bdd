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
    │  ├─ MethodRefusedError    the route is not asked by this method
    │  ├─ TicketInvalidError    a ticket for a live connection was used, or is no more; ask for another
    │  └─ ProtocolUnsupportedError  the client speaks a version of the wire that this server does not
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

from sojourn.errors.dialogs import *  # noqa: F403  each name has one place, and is not listed here again
from sojourn.errors.documents import *  # noqa: F403  as above
from sojourn.errors.functions import *  # noqa: F403  as above
from sojourn.errors.kinds import *  # noqa: F403  as above
from sojourn.errors.server import *  # noqa: F403  as above
from sojourn.errors.sessions import *  # noqa: F403  as above
from sojourn.errors.snapshots import *  # noqa: F403  as above

for _found in [*vars().values()]:
    if isinstance(_found, type):
        _found.__module__ = __name__  # a traceback names the place to import it from
