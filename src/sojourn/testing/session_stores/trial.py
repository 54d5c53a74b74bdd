"""One store on trial, and short words for what every test does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import pytest
import pytest_asyncio

from sojourn.errors import CapabilityError
from sojourn.snapshots.model import Snapshot, SnapshotInfo, SnapshotInput, Status
from sojourn.snapshots.protocol import SessionStore

__all__ = ["Capability", "Opening", "PATIENCE_S", "State", "Told", "Trial", "TrialCase", "at", "rewritten", "tenant_of"]

State: TypeAlias = dict[str, Any]

PATIENCE_S: Final = 30.0
"""Real seconds after which a test that waits for something is ended. None that passes comes near it."""

_START: Final = datetime(2050, 1, 1, tzinfo=UTC)
"""In the future, so that no store takes a sign of life that a test gives for an old one."""


class Capability(StrEnum):
    """What a store may be able to do or not, but must declare."""

    REJECTS_BRANCHING = "rejects_branching"
    """`opening(reject_branching=True)`: a look-up by session is refused where there is more than one leaf."""
    SHARED = "shared"
    """Several stores, as of several processes, work on the same snapshots at a time, and watch each other's."""
    TENANTS = "tenants"
    """`opening(tenant=...)`: what belongs to different tenants is kept apart."""


class Opening(Protocol):
    """Opens stores. All that one test opens show the same snapshots, of which there are none at first."""

    def __call__(self, **options: Any) -> AbstractAsyncContextManager[SessionStore[State]]:
        """Open a store.

        The options are those of `Snapshots`, and given only to a store that declares the capability:
        `reject_branching=True`, and `tenant=`, a function that makes a tenant's name of a context.
        """
        ...


def at(seconds: float) -> datetime:
    """Return an instant, so long after the one at which the stories of the tests begin."""
    return _START + timedelta(seconds=seconds)


def tenant_of(context: Mapping[str, Any]) -> str:
    """Name the tenant of a context, as the tests give it."""
    return str(context["tenant"])


class Told:
    """A callback that keeps what it was told, in order."""

    def __init__(self) -> None:
        self.infos: list[SnapshotInfo] = []
        self._news = asyncio.Event()

    def __call__(self, info: SnapshotInfo) -> None:
        """Note it."""
        self.infos.append(info)
        self._news.set()

    @property
    def statuses(self) -> list[Status]:
        """The statuses it was told."""
        return [info.status for info in self.infos]

    async def until(self, status: Status) -> None:
        """Wait until it has been told this status."""
        async with asyncio.timeout(PATIENCE_S):
            while status not in self.statuses:
                self._news.clear()
                await self._news.wait()


class Trial:
    """A store without any snapshot, others over the same data where a test asks for them, and short words."""

    def __init__(self, opening: Opening, capabilities: frozenset[Capability]) -> None:
        self._opening = opening
        self._capabilities = capabilities
        self._opened = AsyncExitStack()
        self._store: SessionStore[State] | None = None
        self._stops: list[Callable[[], None]] = []

    @property
    def store(self) -> SessionStore[State]:
        """The store on trial."""
        assert self._store is not None, "the trial has not begun"
        return self._store

    async def begin(self) -> None:
        """Open the store."""
        self._store = await self._opened.enter_async_context(self._opening())

    async def end(self) -> None:
        """Watch nothing any more, and close what was opened."""
        for stop in self._stops:
            stop()
        await self._opened.aclose()

    # -- What not every store can do -------------------------------------------------------------------------------

    @contextmanager
    def needs(self, capability: Capability) -> Generator[None]:
        """Run what follows where this is declared; else expect that it ends in `CapabilityError`."""
        if capability in self._capabilities:
            yield
            return
        with pytest.raises(CapabilityError) as caught:
            yield
        assert caught.value.capability == capability

    async def beside(self, capability: Capability, **options: Any) -> SessionStore[State]:
        """Open another store over the same snapshots; it is closed with the trial."""
        if capability not in self._capabilities:
            raise CapabilityError(capability, "the tests of this store do not declare it")
        return await self._opened.enter_async_context(self._opening(**options))

    async def use(self, capability: Capability, **options: Any) -> None:
        """Let the short words below speak to a store with these options, over the same snapshots."""
        self._store = await self.beside(capability, **options)

    # -- Short words -----------------------------------------------------------------------------------------------

    async def save(
        self,
        snapshot_id: str | None = None,
        parent: str | None = None,
        *,
        session: str | None = "session",
        context: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> str:
        """Store a snapshot as it is given, whatever is there."""
        wanted = SnapshotInput[State](session_id=session, parent_id=parent, **given)
        saved = await self.store.save_snapshot(snapshot_id, lambda _: wanted, context=context)
        assert saved is not None, "the mutator returned a snapshot, and yet nothing was stored"
        return saved

    async def chain(self, *snapshot_ids: str, session: str = "session") -> None:
        """Store snapshots of which each is the parent of the next, a second apart; the state of each is its id."""
        parent: str | None = None
        for seconds, snapshot_id in enumerate(snapshot_ids):
            state = {"custom": snapshot_id}
            await self.save(snapshot_id, parent, session=session, created_at=at(seconds), state=state)
            parent = snapshot_id

    async def move(self, snapshot_id: str, status: Status, *, context: Mapping[str, Any] | None = None) -> None:
        """Give a snapshot that is stored another status, and leave all else as it is."""

        def moved(current: Snapshot[State] | None) -> SnapshotInput[State]:
            assert current is not None, f"{snapshot_id} is unknown"
            return rewritten(current, status=status)

        assert await self.store.save_snapshot(snapshot_id, moved, context=context) == snapshot_id

    async def get(self, snapshot_id: str, context: Mapping[str, Any] | None = None) -> Snapshot[State] | None:
        """Return the snapshot of this id, if there is one."""
        return await self.store.get_snapshot(snapshot_id=snapshot_id, context=context)

    async def got(self, snapshot_id: str, context: Mapping[str, Any] | None = None) -> Snapshot[State]:
        """Return the snapshot of this id, which must be there."""
        found = await self.get(snapshot_id, context)
        assert found is not None, f"{snapshot_id} is unknown"
        assert found.snapshot_id == snapshot_id
        return found

    async def newest(self, session: str = "session", context: Mapping[str, Any] | None = None) -> str | None:
        """Return the id of the newest leaf of a session, if it has one."""
        found = await self.store.get_snapshot(session_id=session, context=context)
        assert found is None or found.session_id == session
        return None if found is None else found.snapshot_id

    def watch(self, snapshot_id: str, context: Mapping[str, Any] | None = None) -> Told:
        """Watch a snapshot until the trial ends, and return what is told."""
        told = Told()
        self._stops.append(self.store.on_snapshot_state_change(snapshot_id, told, context=context))
        return told


def rewritten(current: Snapshot[State], **changes: Any) -> SnapshotInput[State]:
    """Return what stores a snapshot as it is, but for these changes."""
    kept = {name: getattr(current, name) for name in SnapshotInput.__struct_fields__}
    return SnapshotInput[State](**(kept | changes))


@pytest.mark.asyncio(loop_scope="function")
class TrialCase:
    """What every part of the suite has: the capabilities that the store's author names, and a trial for each test."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    @pytest_asyncio.fixture(loop_scope="function")
    async def trial(self, opening: Opening) -> AsyncGenerator[Trial]:
        """Give a test a store without any snapshot."""
        trial = Trial(opening, self.capabilities)
        await trial.begin()
        try:
            yield trial
        finally:
            await trial.end()
