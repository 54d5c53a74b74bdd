"""What `sojourn snapshots` prints with --json, where the face has no such value itself."""

from __future__ import annotations

import msgspec

from sojourn.cli.document_rows import DifferenceRow
from sojourn.snapshots.model import SessionInfo, SnapshotInfo

__all__ = ["Compared", "Deleted", "Drawn", "Listed", "Shown"]


class Listed(msgspec.Struct, frozen=True):
    """A page of sessions, the one with the newest snapshot first; `next` goes to --after."""

    sessions: tuple[SessionInfo, ...]
    next: str | None


class Drawn(msgspec.Struct, frozen=True):
    """The tree of a session: every snapshot, in the order in which they were stored.

    Of the leaves the newest is the first; of each named branch it is said which is its last snapshot.
    """

    session_id: str
    leaves: tuple[str, ...]
    branches: dict[str, str]
    snapshots: tuple[SnapshotInfo, ...]


class Shown(SnapshotInfo, frozen=True, kw_only=True):
    """A snapshot. `state` is null when it has none, and left out where only what is known of it was asked for."""

    state: object = msgspec.UNSET


class Compared(msgspec.Struct, frozen=True):
    """Two snapshots and the places at which their states differ."""

    old: str
    new: str
    differences: tuple[DifferenceRow, ...]


class Deleted(msgspec.Struct, frozen=True):
    """Whether there was anything to delete."""

    deleted: bool
