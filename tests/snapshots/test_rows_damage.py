"""What was damaged behind the store's back is reported, with what can still be read, and is never made up."""

import signal
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sojourn.errors import CorruptError, StateLostError
from sojourn.kernel import Delete, Reads, Store
from sojourn.kernel.codec import pack
from sojourn.snapshots import Snapshots, Status, stored
from tests.snapshots import audit
from tests.snapshots.conftest import (
    CHAT,
    add,
    chain,
    history,
    newest,
    noise,
    place_of,
    said,
    spoil,
    state_of,
    states,
    write,
)
from tests.snapshots.elsewhere import Start, elsewhere
from tests.snapshots.turning import turned

__all__ = ["elsewhere"]

_PATIENCE_S = 20
"""After that much real time something that never ends is a failure, and not a run that hangs."""


async def lost(snapshots: Snapshots[Any], snapshot_id: str) -> str | None:
    """Read a snapshot whose state must be lost, and return which can be read instead."""
    with pytest.raises(StateLostError) as caught:
        await snapshots.get_snapshot(snapshot_id=snapshot_id)
    assert caught.value.snapshot_id == snapshot_id
    assert caught.value.code == "state_lost"
    return caught.value.readable


@pytest.mark.row("S-4.2.18")
@pytest.mark.parametrize("left", [0, 1, 10, 30, -2, -1])
async def test_a_truncated_difference_is_reported_with_the_nearest_ancestor_that_can_be_read(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, left: int
) -> None:
    await chain(snapshots, "a", "b", "c", "d")
    (record,) = await states(store, await place_of(store, "c"))
    await spoil(store, record.key, record.value[:left])
    cold = (await elsewhere()).snapshots
    assert await lost(cold, "c") == "b"
    assert await lost(cold, "d") == "b"
    assert await state_of(cold, "b") == said("a", "b")
    assert await history(cold) == ["d", "c", "b", "a"]


@pytest.mark.row("S-4.2.18")
async def test_a_changed_letter_is_noticed_wherever_it_stands(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    """Proves that a difference which is still JSON, and still fits, is not taken for what was stored."""
    await chain(snapshots, "a", "zzz")
    (record,) = await states(store, await place_of(store, "zzz"))
    assert record.value.count(b"zzz") == 1
    await spoil(store, record.key, record.value.replace(b"zzz", b"zxz"))
    assert await lost((await elsewhere()).snapshots, "zzz") == "a"


@pytest.mark.row("S-4.2.18")
async def test_a_difference_of_another_snapshot_is_not_taken_for_the_one_that_is_gone(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    await chain(snapshots, "a", "b", "c")
    (of_b,) = await states(store, await place_of(store, "b"))
    (of_c,) = await states(store, await place_of(store, "c"))
    await spoil(store, of_b.key, of_c.value)
    cold = (await elsewhere()).snapshots
    assert await lost(cold, "b") == "a"
    assert await lost(cold, "c") == "a"


@pytest.mark.row("S-4.2.18")
async def test_a_piece_that_was_deleted_is_noticed(snapshots: Snapshots[Any], store: Store, elsewhere: Start) -> None:
    await chain(snapshots, "a", "b")
    await add(snapshots, "large", "b", said(*(noise(number, 1_000) for number in range(900))))
    await add(snapshots, "after", "large", said("little"))
    pieces = await states(store, await place_of(store, "large"))
    assert len(pieces) > 2
    await write(store, Delete(pieces[2].key))
    cold = (await elsewhere()).snapshots
    assert await lost(cold, "large") == "b"
    assert await newest(cold) == "after"


@pytest.mark.row("S-4.2.18")
async def test_where_the_root_is_lost_nothing_can_be_read(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    await chain(snapshots, "a", "b", "c")
    (record,) = await states(store, await place_of(store, "a"))
    await write(store, Delete(record.key))
    cold = (await elsewhere()).snapshots
    for snapshot_id in ("a", "b", "c"):
        assert await lost(cold, snapshot_id) is None


@pytest.mark.row("S-4.2.18", "S-4.3.12", "S-5.7")
async def test_a_lost_state_takes_no_sibling_and_no_successor_with_it(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    """Proves that a branch beside it is read, and that a session goes on behind what was lost."""
    await chain(snapshots, "a", "b")
    await add(snapshots, "beside", "a", said("a", "beside"))
    (record,) = await states(store, await place_of(store, "b"))
    await spoil(store, record.key, b"")
    cold = (await elsewhere()).snapshots
    assert await state_of(cold, "beside") == said("a", "beside")
    await add(cold, "c", "b", said("a", "b", "c"))
    assert await state_of((await elsewhere()).snapshots, "c") == said("a", "b", "c")
    assert await lost(cold, "b") == "a"


@pytest.mark.row("S-4.3.12", "S-5.7")
async def test_a_damaged_record_is_reported_where_it_is_asked_for_and_disturbs_no_other(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start
) -> None:
    await chain(snapshots, "a", "b")
    await add(snapshots, "beside", "a", said("a", "beside"))
    await chain(snapshots, "other", session="other")
    await spoil(store, CHAT.row(await place_of(store, "b")), b"j[1")
    cold = (await elsewhere()).snapshots
    for read in (cold.get_snapshot, cold.get_info):
        with pytest.raises(CorruptError):
            await read(snapshot_id="b")
    assert await newest(cold) == "beside"
    assert await history(cold) == ["beside", "a"]
    assert await state_of(cold, "beside") == said("a", "beside")
    assert await newest(cold, "other") == "other"
    assert sorted([each.session_id async for each in cold.sessions()]) == ["chat", "other"]


@pytest.mark.row("S-4.3.12", "S-4.3.16")
@pytest.mark.parametrize("value", [b"", b"j", b"j{}", b"jnull", b"x", b"z\0\0", b'j["many"]'])
async def test_a_damaged_session_is_reported_and_disturbs_no_other(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, value: bytes
) -> None:
    """Proves it of the record of the session; its snapshots are still read by their ids."""
    await chain(snapshots, "a", "b")
    await chain(snapshots, "other", session="other")
    await spoil(store, CHAT.head, value)
    cold = (await elsewhere()).snapshots
    with pytest.raises(CorruptError):
        await cold.get_snapshot(session_id="chat")
    with pytest.raises(CorruptError):
        await add(cold, "c", "b", said("c"))
    assert await state_of(cold, "b") == said("a", "b")
    assert await newest(cold, "other") == "other"


@pytest.mark.row("S-4.3.16")
@pytest.mark.parametrize(("number", "snapshot_id"), [(9, "b"), (1, "b"), (2, "theirs")])
async def test_a_session_that_names_what_is_not_its_own_is_damaged(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, number: int, snapshot_id: str
) -> None:
    """Proves it of a newest leaf that is not there, stands elsewhere, or belongs to another session."""
    await chain(snapshots, "a", "b")
    await chain(snapshots, "theirs", session="other")
    (record,) = (await store.read(Reads((CHAT.head,)))).records.keys
    assert record is not None
    plain = msgspec.json.decode(record.value[1:])
    assert plain[6][1:] == [2, 0, "b"]
    plain[6][1:] = [number, 0, snapshot_id]
    await spoil(store, CHAT.head, b"j" + msgspec.json.encode(plain))
    cold = (await elsewhere()).snapshots
    with pytest.raises(CorruptError):
        await cold.get_snapshot(session_id="chat")
    with pytest.raises(CorruptError):
        await cold.get_info(session_id="chat")


# == Links that lead in a circle, which no face makes


@pytest.fixture
def soon() -> Iterator[None]:
    """Fail what goes on for ever, also where it never lets the loop have its turn."""

    def too_long(*_: object) -> None:
        pytest.fail("it never ends")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(_PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("soon")
@pytest.mark.row("S-4.2.18", "S-5.4")
@pytest.mark.parametrize("on", ["b", "c"], ids=["itself", "a later one"])
async def test_a_difference_that_builds_on_itself_or_on_a_later_one_is_a_lost_state(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, on: str
) -> None:
    """Proves it of links that fit each other, stamps and checksums included."""
    await chain(snapshots, "a", "b", "c")
    place, other = await place_of(store, "b"), await place_of(store, on)
    rows = await audit.rows_of(store)
    body = b"null"
    spot = (*other, rows[on][1].stamp)
    delta = stored.Delta(rows["b"][1].stamp, spot, (), zlib.crc32(body), msgspec.Raw(body))
    await spoil(store, CHAT.state(place), pack(msgspec.json.encode(delta)))
    cold = (await elsewhere()).snapshots
    assert await lost(cold, "b") == "a"
    assert await lost(cold, "c") == "a"
    with pytest.raises(StateLostError):
        await cold.get_snapshot(session_id="chat")
    assert await history(cold) == ["c", "b", "a"]


@pytest.mark.usefixtures("soon")
@pytest.mark.row("S-4.3.12", "S-5.4")
@pytest.mark.parametrize("above", ["b", "c"], ids=["itself", "a later one"])
async def test_a_snapshot_whose_parent_is_itself_or_a_later_one_is_damaged(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, above: str
) -> None:
    """Proves that whoever walks up the tree arrives, or is told."""
    await chain(snapshots, "a", "b")
    await add(snapshots, "c", "b", said("a", "b", "c"), status="failed")
    rows = await audit.rows_of(store)
    at, row = rows["b"]
    circle = msgspec.structs.replace(row, above=tuple(rows[above][0]), parent=above, status=Status.FAILED)
    await write(store, stored.put_row(CHAT, at, circle))
    cold = (await elsewhere()).snapshots
    with pytest.raises(CorruptError):
        await history(cold)
    with pytest.raises(CorruptError):
        await turned(cold, "on")
    with pytest.raises(CorruptError):
        await cold.get_info(snapshot_id="b")
    with pytest.raises(CorruptError):
        await cold.tree("chat")
    with pytest.raises(CorruptError):
        await cold.prune("chat", keep=1)
