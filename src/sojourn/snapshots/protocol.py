"""What every store of snapshots can do, whoever wrote it: three verbs on which a runtime of agents is built.

`Snapshots` is one. `sojourn.testing.session_stores` is the suite that every other one passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from sojourn.snapshots.model import Mutator, Snapshot, SnapshotInfo

__all__ = ["SessionStore"]

S = TypeVar("S")


@runtime_checkable
class SessionStore(Protocol[S]):
    """A store of snapshots whose states are of type S. The two rules of `sojourn.snapshots.model` are also its own.

    The id of a snapshot is a plain name: text that is not blank, has nothing of a path, no U+0000 and no half of a
    surrogate pair. That of a session may have anything of a path. What is no id is refused with `InvalidError` by
    every verb, before anything is read or written, and so is a state that JSON would not give back as it is.
    `context` is what is known of the caller, such as a tenant; a store may keep what belongs to different ones apart,
    and then nothing of one is seen by another.
    """

    async def get_snapshot(
        self,
        *,
        snapshot_id: str | None = None,
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Snapshot[S] | None:
        """Return the snapshot of this id, or the newest leaf of this session, whatever its status; None if unknown.

        It is a copy: what the caller does to it changes nothing that is stored.

        Raises:
            InvalidError: not exactly one of the two ids is given, or what is given is none.
            BranchedError: the session has more than one leaf, and the store was made to refuse that.
            StateLostError: the state is damaged; it is never made up.
        """
        ...

    async def save_snapshot(
        self,
        snapshot_id: str | None,
        mutator: Mutator[S],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Store what the mutator makes of a copy of what is stored, and return its id; None if it returned None.

        Read, mutator and write are one step: of two at once, one sees what the other stored. The id is the one given,
        else that of the input, else a new UUID. A snapshot that is there keeps its `created_at`, and the session,
        parent and state that the input does not give. What the mutator raises comes back as it is. Where it returned
        None, or anything was raised, nothing is written and nobody is told.

        Raises:
            InvalidError: the mutator is a coroutine or returned something else; there is no session; the parent is
                the snapshot itself, one of its descendants, or of another session; the state is no plain JSON data.
            SnapshotSettledError: it would change the session, the parent or a terminal status, or the state of a
                settled one that others build on.
        """
        ...

    def on_snapshot_state_change(
        self,
        snapshot_id: str,
        callback: Callable[[SnapshotInfo], object],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> Callable[[], None]:
        """Call back with the snapshot as it is, and then at each change of its status, until told to stop.

        Where there is none yet, the first call is when it is stored. The callback is a function or a coroutine
        function; one that raises harms nobody but itself. After the returned function was called, it is not called
        again.

        Raises:
            InvalidError: what is given is no id.
        """
        ...
