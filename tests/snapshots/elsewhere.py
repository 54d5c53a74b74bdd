"""Snapshots of another process: a store of its own to the same engine, whose way there can fail, and which can die."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, TypeAlias

import pytest

from sojourn import limits
from sojourn.kernel import Put, RankSpan, Reads, Store, Touch, Write
from sojourn.snapshots import Mutator, SnapshotInput, Snapshots, Status
from sojourn.testing import ManualClock
from tests.documents.conftest import HastyClock, Wire, settled

LEASE: Final = limits.SNAPSHOT_LEASE
RENEWAL: Final = LEASE / limits.LEASE_RENEWALS
"""The longest pause between two renewals of a lease."""

_STEP = RENEWAL / 4
_HALF_MS = LEASE // timedelta(milliseconds=2)


class Elsewhere:
    """Another process, with snapshots of its own."""

    def __init__(self, store: Store, wire: Wire, snapshots: Snapshots[Any]) -> None:
        self.store = store
        self.wire = wire
        self.snapshots = snapshots

    async def crash(self) -> None:
        """End it as a kill does: nothing more of it reaches the engine, and nothing is given back."""
        self.wire.cut()
        await self.store.close()

    @property
    def puts(self) -> list[Write]:
        """The writes that it sent, but touches, which wake nobody."""
        return [write for sent in self.wire.sent for write in sent.writes if not isinstance(write, Touch)]

    @property
    def puts_of_states(self) -> list[Put]:
        """Those among them that write a state."""
        return [write for write in self.puts if isinstance(write, Put) and write.key.space == "snapshot.state"]


Start: TypeAlias = Callable[..., Awaitable[Elsewhere]]


@pytest.fixture
async def elsewhere(store: Store, clock: HastyClock) -> AsyncIterator[Start]:
    """Start another process, on a host with a clock of its own or not, with any options of `Snapshots`."""
    started: list[Elsewhere] = []

    async def start(host: ManualClock | None = None, **options: Any) -> Elsewhere:
        wire = Wire(store.engine)
        beside = await Store(wire, clock=host or clock)
        started.append(Elsewhere(beside, wire, Snapshots(beside, **options)))
        return started[-1]

    yield start
    with clock.hasty(60):
        for each in started:
            each.wire.resume()
            await each.store.close()


async def pass_time(store: Store, clock: ManualClock, duration: timedelta) -> None:
    """Let time pass in steps that leave every lease its renewals, and wait a while for one that is late."""
    for _ in range(-(-duration // _STEP)):
        clock.advance(_STEP)
        for _ in range(10):
            await settled(store)
            leases = (await store.rank(RankSpan("snapshot.lease"))).records
            now = (await store.read(Reads())).now
            if not any(lease.expires_at is not None and lease.expires_at - now < _HALF_MS for lease in leases):
                break


def saying(text: str, status: Status | str = Status.COMPLETED, **more: Any) -> Mutator[Any]:
    """What saves a state with one message in the session `chat`, unless the arguments say otherwise."""
    asked: dict[str, Any] = {"session_id": "chat", "state": {"messages": [text]}, "status": status} | more
    return lambda _: SnapshotInput(**asked)


def becoming(status: Status | str, **more: Any) -> Mutator[Any]:
    """What gives a snapshot another status and leaves all else as it is, unless the arguments say otherwise."""

    def change(found: Any) -> SnapshotInput[Any]:
        kept = {name: getattr(found, name) for name in ("session_id", "parent_id", "created_at", "state")}
        return SnapshotInput(**(kept | {"status": status} | more))

    return change
