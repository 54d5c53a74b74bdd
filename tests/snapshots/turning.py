"""The short words of the tests of turns."""

from contextlib import suppress
from typing import Any

from sojourn.errors import TurnAbortedError
from sojourn.snapshots import SnapshotInfo, Snapshots, Status
from tests.snapshots.elsewhere import Elsewhere

PENDING, COMPLETED, FAILED = Status.PENDING, Status.COMPLETED, Status.FAILED
ABORTED, EXPIRED = Status.ABORTED, Status.EXPIRED


class OnPurposeError(Exception):
    """What a turn fails of here."""


async def turned(snapshots: Snapshots[Any], text: str, **how: Any) -> str:
    """Take a turn that says this, and return the id of its snapshot."""
    async with snapshots.turn("chat", **how) as turn:
        turn.messages.append(text)
    return turn.snapshot_id


async def failed(snapshots: Snapshots[Any], text: str, message: str = "on purpose") -> str:
    """Take a turn that says this and then fails, and return the id of its snapshot."""
    with suppress(OnPurposeError):
        async with snapshots.turn("chat") as turn:
            turn.messages.append(text)
            raise OnPurposeError(message)
    return turn.snapshot_id


async def aborted(snapshots: Snapshots[Any], by: Snapshots[Any], text: str) -> str:
    """Take a turn that says this and is then aborted by others, and return the id of its snapshot."""
    with suppress(TurnAbortedError):
        async with snapshots.turn("chat") as turn:
            turn.messages.append(text)
            assert await by.abort(turn.snapshot_id) is PENDING
    return turn.snapshot_id


async def messages(snapshots: Snapshots[Any], snapshot_id: str | None = None) -> list[Any]:
    """What was said up to a snapshot, or up to the newest leaf."""
    asked: dict[str, Any] = {"session_id": "chat"} if snapshot_id is None else {"snapshot_id": snapshot_id}
    found = await snapshots.get_snapshot(**asked)
    assert found is not None
    return list((found.state or {}).get("messages", []))


async def info(snapshots: Snapshots[Any], snapshot_id: str | None = None) -> SnapshotInfo:
    asked: dict[str, Any] = {"session_id": "chat"} if snapshot_id is None else {"snapshot_id": snapshot_id}
    found = await snapshots.get_info(**asked)
    assert found is not None
    return found


async def path(snapshots: Snapshots[Any], snapshot_id: str | None = None) -> list[str]:
    """The ids from the newest leaf, or from a snapshot, to the root."""
    asked: dict[str, Any] = {"session_id": "chat"} if snapshot_id is None else {"snapshot_id": snapshot_id}
    return [each.snapshot_id async for each in snapshots.history(**asked)]


LATE = ("complete", "fail", "end", "raise")


async def end(turn: Any, how: str) -> None:
    """End a turn in one of the ways that there are, of which one is to do nothing."""
    if how == "complete":
        await turn.complete()
    elif how == "fail":
        await turn.fail(OnPurposeError())
    elif how == "raise":
        raise OnPurposeError


async def begun(there: Elsewhere, **how: Any) -> Any:
    """Begin a turn that ends with its process, and not before."""
    return await there.snapshots.turn("chat", **how).__aenter__()
