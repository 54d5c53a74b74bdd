"""What must be so of a session at any moment, computed from nothing but its snapshots' own records."""

from collections.abc import Mapping
from typing import Any

from sojourn import limits
from sojourn.kernel import Reads, Store
from sojourn.snapshots import Snapshots, stored
from sojourn.snapshots.layout import At, Place, at_of, index, minted
from sojourn.snapshots.stored import Row
from tests.snapshots.conftest import CHAT, records


async def rows_of(store: Store, place: Place = CHAT) -> dict[str, tuple[At, Row]]:
    """Every snapshot of a session by its id, in the order in which they were stored."""
    found = [(at_of(record.key), stored.row(record)) async for record in store.scan(place.rows())]
    return {row.id: (at, row) for at, row in sorted(found, key=lambda each: each[0].number)}


def leaves_of(rows: Mapping[str, tuple[At, Row]]) -> set[str]:
    """Those that nobody names as parent, but for one before a gap in its branch."""
    ends = {at.branch: snapshot_id for snapshot_id, (at, _) in rows.items()}
    return set(ends.values()) - {row.parent for _, row in rows.values()}


async def check(
    store: Store, snapshots: Snapshots[Any], expected: Mapping[str, Any], used: set[str], place: Place = CHAT
) -> None:
    """Prove that exactly these states can be read, that all that is kept of them is right, and that nothing else is.

    `used` are all ids that the session ever had and that were not made here.
    """
    rows = await rows_of(store, place)
    assert set(rows) == set(expected)
    for snapshot_id, state in expected.items():
        found = await snapshots.get_snapshot(snapshot_id=snapshot_id)
        assert found is not None, snapshot_id
        assert found.state == state, snapshot_id
        line = [info.snapshot_id async for info in snapshots.history(snapshot_id=snapshot_id)]
        assert line == _line(rows, snapshot_id)
    await _check_head(store, snapshots, rows, place)
    await _check_records(store, rows, used, place)


def _line(rows: Mapping[str, tuple[At, Row]], snapshot_id: str) -> list[str]:
    """A snapshot and its ancestors, as far as they are there."""
    line = [snapshot_id]
    while (parent := rows[line[-1]][1].parent) is not None and parent in rows:
        line.append(parent)
    return line


async def _check_head(
    store: Store, snapshots: Snapshots[Any], rows: Mapping[str, tuple[At, Row]], place: Place
) -> None:
    leaves = leaves_of(rows)
    newest = max(leaves, key=lambda leaf: (rows[leaf][1].created, rows[leaf][0].number), default=None)
    (record,) = (await store.read(Reads((place.head,)))).records.keys
    if record is not None:
        head = stored.head(record)
        assert (head.snapshots, head.leaves) == (len(rows), len(leaves))
        assert head.stored == sum(row.stored for _, row in rows.values())
        assert not head.erasing
    tree = await snapshots.tree(place.session)
    assert (tree.newest, set(tree.leaves)) == (newest, leaves)
    info = await snapshots.get_info(session_id=place.session)
    assert (None if info is None else info.snapshot_id) == newest
    last = {at.branch: snapshot_id for snapshot_id, (at, _) in rows.items()}
    async for kept in store.scan(place.names):
        name = stored.name(kept)
        assert rows[name.id][0] == name.at
        assert tree.branches[kept.key.item] == (name.id if name.branch is None else last[name.branch])


async def _check_records(store: Store, rows: Mapping[str, tuple[At, Row]], used: set[str], place: Place) -> None:
    """Prove that every record of the session belongs to a snapshot that is there."""
    found: dict[str, set[str]] = {}
    for record in await records(store, place):
        found.setdefault(record.key.space, set()).add(record.key.item)
    leaves = {f"{rows[leaf][0].branch:08x}" for leaf in leaves_of(rows)}
    chosen = {snapshot_id for snapshot_id in rows if minted(snapshot_id) is None}
    awaited = {row.parent for _, row in rows.values() if row.parent is not None and minted(row.parent) is None}
    assert found.get("snapshot.branch", set()) == leaves
    assert found.get("snapshot.id", set()) == chosen
    assert found.get("snapshot.orphan", set()) == awaited - set(rows)
    large = {item.partition("\x01")[0] for item in found.get("snapshot.large", set())}
    assert found.get("snapshot.state", set()) == {at.item for at, row in rows.values() if row.stamp}
    assert large == {at.item for at, row in rows.values() if row.stored > limits.SNAPSHOT_APART_BYTES}
    keys = {snapshot_id: index(place.tenant, snapshot_id) for snapshot_id in used | chosen}
    entries = (await store.read(Reads(tuple(keys.values())))).records.keys
    noted = {name for name, entry in zip(keys, entries, strict=True) if entry is not None}
    # Where one commit cannot do both, what says of an id in which session it is may outlive a crash.
    assert noted == chosen if store.describe().cross_partition else noted >= chosen
