"""Snapshots over the shared store, and the short words of their tests."""

import hashlib
from typing import Any

import pytest

from sojourn.kernel import Key, Put, Reads, Record, Store, Transaction, Write, ids
from sojourn.snapshots import SnapshotInfo, SnapshotInput, Snapshots
from sojourn.snapshots.layout import At, Place
from tests.documents.conftest import HastyClock

CHAT = Place("", "chat")
"""Where all is kept of the session that most tests speak of."""


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def snapshots(store: Store) -> Snapshots[Any]:
    return Snapshots(store)


def noise(seed: object, characters: int) -> str:
    """Text that cannot be made much smaller, and is the same each time."""
    return hashlib.shake_128(repr(seed).encode()).hexdigest(characters // 2)


async def add(
    snapshots: Snapshots[Any], snapshot_id: str, parent: str | None = None, state: Any = None, **given: Any
) -> None:
    """Save a snapshot, in the session `chat` unless another is named."""
    asked: dict[str, Any] = {"session_id": given.pop("session", "chat"), "parent_id": parent, "state": state} | given
    wanted = SnapshotInput(**asked)
    assert await snapshots.save_snapshot(snapshot_id, lambda _: wanted) == snapshot_id


async def chain(snapshots: Snapshots[Any], *snapshot_ids: str, session: str = "chat") -> None:
    """Save snapshots of which each is the parent of the next and says one thing more, its own id."""
    parent: str | None = None
    for place, snapshot_id in enumerate(snapshot_ids):
        await add(snapshots, snapshot_id, parent, said(*snapshot_ids[: place + 1]), session=session)
        parent = snapshot_id


def message(text: str) -> dict[str, Any]:
    """A message with this text, of some length, so that one more is shorter than all of them."""
    return {"text": text, "note": noise(text, 200)}


def said(*texts: str) -> dict[str, Any]:
    """A state in which this was said."""
    return {"messages": [message(text) for text in texts]}


async def state_of(snapshots: Snapshots[Any], snapshot_id: str) -> Any:
    """The state of a snapshot that must be there."""
    found = await snapshots.get_snapshot(snapshot_id=snapshot_id)
    assert found is not None, snapshot_id
    return found.state


async def info_of(snapshots: Snapshots[Any], snapshot_id: str) -> SnapshotInfo:
    """What is known of a snapshot that must be there."""
    found = await snapshots.get_info(snapshot_id=snapshot_id)
    assert found is not None, snapshot_id
    return found


async def newest(snapshots: Snapshots[Any], session: str = "chat") -> str | None:
    """The id of the newest leaf."""
    found = await snapshots.get_info(session_id=session)
    return None if found is None else found.snapshot_id


async def history(snapshots: Snapshots[Any], session: str | None = "chat", **how: Any) -> list[str]:
    """The ids from the newest leaf, or from the snapshot that is named, to the root."""
    return [info.snapshot_id async for info in snapshots.history(session, **how)]


# -- What is stored, and how it is spoiled ---------------------------------------------------------------------------


async def place_of(store: Store, snapshot_id: str, place: Place = CHAT) -> At:
    """Where a snapshot stands whose id was chosen by its caller."""
    (record,) = (await store.read(Reads((place.local(snapshot_id),)))).records.keys
    assert record is not None, snapshot_id
    branch, number = record.value.decode().split(".")
    return At(int(branch, 16), int(number, 16))


async def records(store: Store, place: Place = CHAT) -> list[Record]:
    """Every record of a session."""
    found = [record for span in place.all async for record in store.scan(span)]
    (head,) = (await store.read(Reads((place.head,)))).records.keys
    return found if head is None else [*found, head]


async def states(store: Store, at: At, place: Place = CHAT) -> list[Record]:
    """The records of one state: itself, and its pieces."""
    return [
        record
        for record in await records(store, place)
        if record.key.space in {"snapshot.state", "snapshot.large"} and record.key.item.startswith(at.item)
    ]


async def write(store: Store, *writes: Write) -> None:
    """Write behind the back of the face."""
    await store.commit(Transaction(ids.new(), writes=writes))


async def spoil(store: Store, key: Key, value: bytes) -> None:
    """Put another value in the place of a record."""
    await write(store, Put(key, value))
