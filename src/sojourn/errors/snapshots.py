"""What goes wrong with snapshots and their turns."""

from __future__ import annotations

from typing import ClassVar

from sojourn.errors.kinds import ConflictError, CorruptError, RefusedError, Retry

__all__ = [
    "BranchedError",
    "LeafMovedError",
    "NotResumableError",
    "SnapshotSettledError",
    "SnapshotUnknownError",
    "StateLostError",
    "TurnAbortedError",
]


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
