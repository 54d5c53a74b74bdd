"""The shortest store of snapshots that the suite accepts: a dictionary, in the hands of one process.

It shares no line with `Snapshots` but the types and the checks of ids. Each step is a method, so that a test can break
one at a time.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from copy import deepcopy
from typing import Any, TypeAlias
from uuid import uuid4

from sojourn.errors import BranchedError, InvalidError, SnapshotSettledError
from sojourn.snapshots.model import (
    TERMINAL,
    Mutator,
    Snapshot,
    SnapshotInfo,
    SnapshotInput,
    called,
    checked_failure,
    checked_finish,
    checked_session,
    checked_snapshot_id,
    checked_status,
    checked_tenant,
    instant_of,
    moment_of,
    resolve_id,
)

State: TypeAlias = dict[str, Any]
Row: TypeAlias = Snapshot[State]
Input: TypeAlias = SnapshotInput[State]
Opener: TypeAlias = Callable[..., AbstractAsyncContextManager["DictStore"]]
Callback: TypeAlias = Callable[[SnapshotInfo], object]


class Watcher:
    """One callback, and the task that calls it."""

    def __init__(self, row: Row | None, callback: Callback) -> None:
        self.statuses: asyncio.Queue[Row] = asyncio.Queue()
        self._callback = callback
        self._last: str | None = None
        self._stopped = False
        self._task = asyncio.create_task(self._run())
        if row is not None:
            self.tell(row)

    def tell(self, row: Row) -> None:
        if row.status != self._last:
            self._last = row.status
            self.statuses.put_nowait(row)

    def stop(self) -> None:
        self._stopped = True
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        while not self._stopped:
            row = await self.statuses.get()
            with suppress(LookupError):  # what the callbacks of the suite raise
                told = self._callback(row)
                if inspect.isawaitable(told):
                    await told


class Data:
    """What stores over the same data have in common, by tenant and id; new snapshots stand last."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.watchers: list[tuple[str, str, Watcher]] = []


class DictStore:
    """A store of snapshots in a dictionary."""

    def __init__(
        self,
        data: Data,
        *,
        reject_branching: bool = False,
        tenant: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self.data = data
        self._reject_branching = reject_branching
        self._tenant_of = tenant

    async def get_snapshot(
        self,
        *,
        snapshot_id: str | None = None,
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Row | None:
        resolve_id(snapshot_id, session_id)
        tenant = self.tenant(context)
        if snapshot_id is not None:
            return self.copy(self.data.rows.get((tenant, self.checked(snapshot_id))))
        leaves = self.leaves([*self.session(tenant, checked_session(session_id)).values()])
        if len(leaves) > 1 and self._reject_branching:
            raise BranchedError(f"the session branches: {len(leaves)} leaves", leaves=len(leaves))
        return self.copy(self.newest(leaves))

    async def save_snapshot(
        self,
        snapshot_id: str | None,
        mutator: Mutator[State],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> str | None:
        tenant = self.tenant(context)
        if snapshot_id is not None:
            self.checked(snapshot_id)
        current = self.data.rows.get((tenant, snapshot_id or ""))
        wanted = called(mutator, self.copy(current))
        if wanted is None:
            return None
        name = snapshot_id or wanted.snapshot_id
        row = self.made(self.checked(name) if name is not None else str(uuid4()), wanted, current)
        await self.between()
        self.refuse(current, row, self.session(tenant, row.session_id))
        if current is None:
            self.refuse_parent(tenant, row)
        self.store(tenant, row)
        return row.snapshot_id

    def on_snapshot_state_change(
        self, snapshot_id: str, callback: Callback, *, context: Mapping[str, Any] | None = None
    ) -> Callable[[], None]:
        tenant = self.tenant(context)
        self.checked(snapshot_id)
        watcher = self.watcher(self.data.rows.get((tenant, snapshot_id)), callback)
        entry = (tenant, snapshot_id, watcher)
        self.data.watchers.append(entry)

        def stop() -> None:
            watcher.stop()
            if entry in self.data.watchers:
                self.data.watchers.remove(entry)

        return stop

    async def delete(self, snapshot_id: str) -> bool:
        return self.data.rows.pop(("", snapshot_id), None) is not None

    # -- Each step ---------------------------------------------------------------------------------------------------

    def tenant(self, context: Mapping[str, Any] | None) -> str:
        return checked_tenant(self._tenant_of(context or {})) if self._tenant_of else ""

    def checked(self, snapshot_id: object) -> str:
        return checked_snapshot_id(snapshot_id)

    def copy(self, row: Row | None) -> Row | None:
        return deepcopy(row)

    def session(self, tenant: str, session_id: str) -> dict[str, Row]:
        return {
            name: row
            for (owner, name), row in self.data.rows.items()
            if (owner, row.session_id) == (tenant, session_id)
        }

    def leaves(self, rows: list[Row]) -> list[Row]:
        parents = {row.parent_id for row in rows}
        return [row for row in rows if row.snapshot_id not in parents]

    def newest(self, leaves: list[Row]) -> Row | None:
        return max(reversed(leaves), key=lambda row: row.created_at, default=None)

    def made(self, snapshot_id: str, wanted: Input, current: Row | None) -> Row:
        session_id: object = wanted.session_id
        if session_id is None and wanted.state is not None:
            session_id = wanted.state.get("sessionId")
        if session_id is None and current is not None:
            session_id = current.session_id
        if wanted.parent_id is not None:
            checked_snapshot_id(wanted.parent_id, "parent_id")
        return Snapshot(
            snapshot_id=snapshot_id,
            session_id=checked_session(session_id),
            parent_id=current.parent_id if wanted.parent_id is None and current is not None else wanted.parent_id,
            created_at=self.created(wanted, current),
            updated_at=_moment("updated_at", wanted.updated_at),
            heartbeat_at=_moment("heartbeat_at", wanted.heartbeat_at),
            status=checked_status(wanted.status),
            finish_reason=checked_finish(wanted.finish_reason),
            error=checked_failure(wanted.error),
            state=current.state if wanted.state is None and current is not None else self.kept(wanted.state),
        )

    def created(self, wanted: Input, current: Row | None) -> Any:
        given = _moment("created_at", wanted.created_at)
        return current.created_at if current is not None else given or moment_of(0)

    def kept(self, state: State | None) -> State | None:
        try:
            text = json.dumps(state, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidError("state", str(error)) from error
        if json.loads(text) != state:
            raise InvalidError("state", "it is not plain")
        return deepcopy(state)

    async def between(self) -> None:
        """Nothing comes between reading and writing."""

    def refuse(self, current: Row | None, row: Row, session: Mapping[str, Row]) -> None:
        if current is None:
            return
        if (current.session_id, current.parent_id) != (row.session_id, row.parent_id):
            raise SnapshotSettledError("session and parent stand")
        if current.status in TERMINAL and row.status != current.status:
            raise SnapshotSettledError("its status stands")
        built_on = any(each.parent_id == row.snapshot_id for each in session.values())
        if built_on and current.status in TERMINAL and row.state != current.state:
            raise SnapshotSettledError("others build on its state")

    def refuse_parent(self, tenant: str, row: Row) -> None:
        above = self.data.rows.get((tenant, row.parent_id or ""))
        if above is not None and above.session_id != row.session_id:
            raise InvalidError("parent_id", "it is of another session")
        seen = row.parent_id
        while seen is not None:
            if seen == row.snapshot_id:
                raise InvalidError("parent_id", "nothing is its own ancestor")
            above = self.data.rows.get((tenant, seen))
            seen = above.parent_id if above is not None and above.session_id == row.session_id else None

    def store(self, tenant: str, row: Row) -> None:
        self.data.rows[tenant, row.snapshot_id] = row
        for owner, name, watcher in [*self.data.watchers]:
            if (owner, name) == (tenant, row.snapshot_id):
                watcher.tell(row)

    def watcher(self, row: Row | None, callback: Callback) -> Watcher:
        return Watcher(row, callback)


def _moment(name: str, given: Any) -> Any:
    instant = instant_of(name, given)
    return None if instant is None else moment_of(instant)


def opener(kind: type[DictStore]) -> Opener:
    """What opens stores of this kind, all over the same data."""
    data = Data()

    @asynccontextmanager
    async def opening(**options: Any) -> AsyncGenerator[DictStore]:
        yield kind(data, **options)

    return opening
