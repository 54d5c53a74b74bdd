"""Genkit's agents keep their snapshots in sojourn.

A row of Genkit's is a snapshot of `sojourn.snapshots`, so whatever that face can do (list, draw, compare, prune, take a
turn) it can do with what an agent stored, and the other way round:

| of Genkit's row                                         | is kept                                        |
|---------------------------------------------------------|------------------------------------------------|
| ids, status, finish reason, error                       | as those of the snapshot                       |
| times                                                   | as those of the snapshot, which are instants   |
| `state`: `sessionId`, `messages`, `custom`, `artifacts` | as the state, in the JSON of Genkit's wire     |
| the text of a time that Python would write otherwise    | in the state, under `row`                      |
| that there is no state, where there is such a text      | the same                                       |

What Genkit's own stores leave open is decided as the face decides it: the newest leaf is the latest by instant, not by
text; a parent of another session is refused; a pending row whose heartbeat is overdue becomes `expired` for good, so
that a worker that was given up cannot complete it behind the back of the next one. Every row has a session.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from sojourn.errors import (
    CapabilityError,
    ClosedError,
    CommitUnknownError,
    ConflictError,
    CorruptError,
    InvalidError,
    LimitError,
    MissingExtraError,
    RefusedError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Store
from sojourn.snapshots import Failure, Snapshot, SnapshotInfo, SnapshotInput, Snapshots

try:
    from genkit import GenkitError, RuntimeErrorReason
    from genkit.exp import SessionSnapshot, SessionStore, SnapshotStatus, SnapshotStatusStream, SnapshotSubscriber
    from genkit.plugin_api import StatusName
    from pydantic import ValidationError
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"genkit", "pydantic"}:
        raise
    raise MissingExtraError("genkit", "genkit") from error

__all__ = ["SojournSessionStore"]

_State: TypeAlias = dict[str, Any]

_ROW: Final = "row"
"""What of a row the snapshot has no place for; no state of Genkit's has a field of this name."""

_TIMES: Final = ("created_at", "updated_at", "heartbeat_at")

_STATUSES: Final[Mapping[type[SojournError], StatusName]] = {
    InvalidError: "INVALID_ARGUMENT",
    LimitError: "INVALID_ARGUMENT",
    RefusedError: "FAILED_PRECONDITION",
    ConflictError: "ABORTED",
    UnavailableError: "UNAVAILABLE",
    CommitUnknownError: "UNKNOWN",
    CorruptError: "DATA_LOSS",
    CapabilityError: "UNIMPLEMENTED",
    SojournError: "INTERNAL",
}
"""What an error is in Genkit's words; the first that fits."""

_REASONS: Final = {
    "snapshot_id": RuntimeErrorReason.INVALID_SNAPSHOT_ID,
    "session_id": RuntimeErrorReason.INVALID_SESSION_ID,
}


class SojournSessionStore(SessionStore[Any], SnapshotSubscriber):
    """A session store for Genkit's agents on any engine, shared by any number of processes.

        agent = ai.define_agent(name="helper", store=SojournSessionStore(store))

    `store` is open whenever an agent uses this, and not closed by it. `reject_ambiguous_session` refuses to look up a
    session that has more than one leaf. `tenant` names whose rows are seen: a name, or a function of the `context`
    that Genkit hands on; what belongs to one tenant does not exist for any other. `snapshots` is the face that keeps
    the rows.

    Every error of sojourn reaches Genkit as a `GenkitError` that has it as its `__cause__`: `UNAVAILABLE` where nothing
    was written and the store may be back soon, `UNKNOWN` where it was perhaps written (saving the same row again is
    safe, since the mutator is shown what is there), `ABORTED` where others were faster again and again, `DATA_LOSS`
    where a state is damaged, `FAILED_PRECONDITION` and `INVALID_ARGUMENT` where repeating is useless.
    """

    def __init__(
        self,
        store: Store,
        *,
        reject_ambiguous_session: bool = False,
        tenant: str | Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.snapshots: Final = Snapshots[_State](store, reject_branching=reject_ambiguous_session, tenant=tenant)

    async def get_snapshot(
        self,
        *,
        snapshot_id: str | None = None,
        session_id: str | None = None,
        context: dict[str, Any] | None = None,
    ) -> SessionSnapshot | None:
        """Return the row of this id, or the newest leaf of this session, as a copy; None when there is none.

        Raises:
            GenkitError: not exactly one id is given, or it is none (`INVALID_ARGUMENT`); the session has several
                leaves, and that is refused (`FAILED_PRECONDITION`); and as the class says.
        """
        _check_ids(snapshot_id=snapshot_id, session_id=session_id)
        with _in_words_of_genkit():
            snapshot = await self.snapshots.get_snapshot(
                snapshot_id=snapshot_id, session_id=session_id, context=context
            )
            return None if snapshot is None else _row_of(snapshot)

    async def save_snapshot(
        self,
        snapshot_id: str,
        fn: Callable[[SessionSnapshot | None], SessionSnapshot | None],
        *,
        context: dict[str, Any] | None = None,
    ) -> SessionSnapshot | None:
        """Store under this id what `fn` makes of a copy of what is stored, and return it; None if it returned None.

        This is atomic, across processes too. What is stored first decides about `created_at` and the session; of the
        row returned by `fn` an empty `created_at` becomes the engine's time, a missing status `completed`, and a
        missing session that of the state. `fn` may be called again when somebody else was faster. What it raises comes
        back as it is, with nothing written.

        Raises:
            GenkitError: the row has no session, `fn` is a coroutine, or what it returned cannot be stored
                (`INVALID_ARGUMENT`); the session, the parent or a terminal status would change, or the state of a row
                that others build on (`FAILED_PRECONDITION`); and as the class says.
        """
        _check_ids(snapshot_id=snapshot_id)
        saving = _Saving(snapshot_id, fn)
        with _in_words_of_genkit():
            if await self.snapshots.save_snapshot(snapshot_id, saving, context=context) is None:
                return None
            row = saving.row
            if not row.created_at:
                info = await self.snapshots.get_info(snapshot_id=snapshot_id, context=context)
                row.created_at = "" if info is None else info.created_at.isoformat()
            return row

    async def on_snapshot_status_change(
        self, snapshot_id: str, *, context: dict[str, Any] | None = None
    ) -> SnapshotStatusStream:
        """Return an iterator over the row's status: what it is, then each change, from whichever process it comes.

        It waits for a row that is not there yet, and ends after a terminal status, or when the store is closed.
        Statuses that follow each other while nobody listens are merged into the last. `aclose` ends it sooner.

        Raises:
            GenkitError: the id is none (`INVALID_ARGUMENT`).
        """
        with _in_words_of_genkit():
            return _Statuses(self.snapshots.watch(snapshot_id, context=context))


class _Statuses:
    """What becomes of a row, as Genkit follows it."""

    def __init__(self, infos: AsyncGenerator[SnapshotInfo, None]) -> None:
        self._infos = infos

    def __aiter__(self) -> SnapshotStatusStream:
        return self

    async def __anext__(self) -> SnapshotStatus:
        with _in_words_of_genkit():
            try:
                info = await anext(self._infos)
            except ClosedError:
                raise StopAsyncIteration from None
            return SnapshotStatus(info.status.value)

    async def aclose(self) -> None:
        await self._infos.aclose()


class _Saving:
    """A mutator of Genkit's as one of the face: rows on one side, snapshots on the other."""

    def __init__(self, snapshot_id: str, fn: Callable[[SessionSnapshot | None], SessionSnapshot | None]) -> None:
        self._snapshot_id = snapshot_id
        self._fn = fn
        self.row: SessionSnapshot
        """What is stored, once it is."""

    def __call__(self, stored: Snapshot[_State] | None) -> SnapshotInput[_State] | None:
        existing = None if stored is None else _row_of(stored)
        wanted = cast("object", self._fn(None if existing is None else existing.model_copy()))
        if not isinstance(wanted, SessionSnapshot):
            return cast("None", wanted)  # the face refuses what is neither a row nor None
        self.row = _whole(wanted, self._snapshot_id, existing)
        return _input_of(self.row)


def _whole(wanted: SessionSnapshot, snapshot_id: str, existing: SessionSnapshot | None) -> SessionSnapshot:
    """Return a row as it will stand: with what it does not say itself."""
    state = wanted.state if wanted.state is not None or existing is None else existing.state
    session_id = wanted.session_id
    if session_id is None:
        session_id = state.session_id if state is not None else None
    if session_id is None and existing is not None:
        session_id = existing.session_id
    if session_id is None or not session_id.strip():
        raise GenkitError(
            status="INVALID_ARGUMENT",
            message="the row belongs to no session: neither it nor its state has a 'sessionId'",
            reason=RuntimeErrorReason.SESSION_ID_REQUIRED,
        )
    return wanted.model_copy(
        update={
            "snapshot_id": snapshot_id,
            "session_id": session_id,
            "parent_id": wanted.parent_id or (existing and existing.parent_id) or None,
            "created_at": wanted.created_at if existing is None else existing.created_at,
            "status": wanted.status or SnapshotStatus.COMPLETED,
            "state": state,
        }
    )


def _input_of(row: SessionSnapshot) -> SnapshotInput[_State]:
    error = None if row.error is None else row.error.model_dump(mode="json")
    return SnapshotInput(
        session_id=row.session_id,
        state=_state_of(row),
        parent_id=row.parent_id,
        status=str(row.status),
        created_at=row.created_at or None,
        updated_at=row.updated_at or None,
        heartbeat_at=row.heartbeat_at or None,
        finish_reason=row.finish_reason,
        error=None if error is None else Failure(**error),
    )


def _state_of(row: SessionSnapshot) -> _State | None:
    state: _State | None = None if row.state is None else row.state.model_dump(mode="json")
    times: dict[str, str | None] = {name: getattr(row, name) for name in _TIMES}
    beside: _State = {name: text for name, text in times.items() if text and text != _as_python_writes(text)}
    if not beside:
        return state
    if state is None:
        return {_ROW: {**beside, "state": None}}
    return {**state, _ROW: beside}


def _as_python_writes(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return text  # the face refuses it


def _row_of(snapshot: Snapshot[_State]) -> SessionSnapshot:
    state = None if snapshot.state is None else dict(snapshot.state)
    beside: _State = {}
    if state is not None and isinstance(state.get(_ROW), dict):
        beside = state.pop(_ROW)
    if not state and "state" in beside:
        state = None
    error = snapshot.error
    try:
        return SessionSnapshot.model_validate(
            {
                "snapshot_id": snapshot.snapshot_id,
                "session_id": snapshot.session_id,
                "parent_id": snapshot.parent_id,
                "status": snapshot.status.value,
                "finish_reason": snapshot.finish_reason,
                "error": error and {"message": error.message, "status": error.status, "details": error.details},
                "state": state,
                **{name: _text_of(getattr(snapshot, name), beside.get(name)) for name in _TIMES},
            }
        )
    except ValidationError as invalid:
        first = invalid.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptError(
            f"the snapshot {snapshot.snapshot_id!r} is no row of Genkit's: {where}: {first['msg']}"
        ) from None  # whose text shows what is stored


def _text_of(instant: datetime | None, written: str | None) -> str | None:
    """Return an instant as it was written, if it is still that one: a turn begins with the state of its parent."""
    if instant is None:
        return None
    text = instant.isoformat()
    return written if written is not None and _as_python_writes(written) == text else text


def _check_ids(*, snapshot_id: str | None = None, session_id: str | None = None) -> None:
    if (snapshot_id is None) == (session_id is None):
        raise GenkitError(
            status="INVALID_ARGUMENT",
            message="exactly one of snapshot_id and session_id is asked for",
            reason=RuntimeErrorReason.INVALID_INPUT,
        )
    if snapshot_id is not None and not snapshot_id.strip():
        raise _empty("snapshot_id", RuntimeErrorReason.INVALID_SNAPSHOT_ID)
    if session_id is not None and not session_id.strip():
        raise _empty("session_id", RuntimeErrorReason.SESSION_ID_REQUIRED)


def _empty(name: str, reason: RuntimeErrorReason) -> GenkitError:
    return GenkitError(status="INVALID_ARGUMENT", message=f"{name} must not be empty", reason=reason)


@contextmanager
def _in_words_of_genkit() -> Generator[None]:
    try:
        yield
    except SojournError as error:
        raise _error_of(error) from error


def _error_of(error: SojournError) -> GenkitError:
    status: StatusName = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    if isinstance(error, InvalidError) and error.name == "parent_id":
        status = "FAILED_PRECONDITION"  # there is such a row, and it is not to be the parent of this one
    name = getattr(error, "name", "")
    reason = _REASONS.get(name, RuntimeErrorReason.INVALID_INPUT) if status == "INVALID_ARGUMENT" else None
    return GenkitError(status=status, message=str(error), reason=reason)
