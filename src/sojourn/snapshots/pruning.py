"""Taking snapshots away, and leaving every other one readable as before.

First each snapshot that stays and stands behind one that goes gets its state stored whole: from then on nothing that
stays depends on anything that goes. Then those that go are deleted in bounded steps, children before their parents, so
that at any moment what is there can be read. Both hold only as long as no snapshot has been added since the plan was
made; then it is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.errors import ConflictError, InvalidError, SnapshotUnknownError
from sojourn.kernel import Attempt, Delete, DeleteSpan, Reads, Record, Span
from sojourn.snapshots import stored
from sojourn.snapshots.erasure import forget
from sojourn.snapshots.layout import STATES, At, Place, at_of, minted
from sojourn.snapshots.model import Pruned, Status
from sojourn.snapshots.mutating import busy_error
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head
from sojourn.snapshots.stored import Head, Name, Newest, Row, Tip

__all__ = ["Pruner"]

S = TypeVar("S")


class _Node(msgspec.Struct):
    """A snapshot in the tree of its session. `found` is there for pending ones: who is at work on it."""

    at: At
    record: Record
    row: Row
    parent: _Node | None = None
    children: list[_Node] = []
    found: Found | None = None

    @property
    def is_live(self) -> bool:
        """Say whether it is pending, and has not expired."""
        return self.found is not None and self.found.status is Status.PENDING


class _Forest(msgspec.Struct, frozen=True):
    """The tree of a session as it was read: by id, in the order of their numbers."""

    nodes: dict[str, _Node]
    head: Head
    names: dict[str, Name]
    branches: dict[str, str]
    now: int


class _OutdatedError(Exception):
    """A snapshot was added since the plan was made."""


class Pruner(Generic[S]):
    """Takes snapshots of one session away."""

    def __init__(self, shelf: Shelf[S], reader: Reader[S], place: Place) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._reader = reader
        self._place = place

    async def prune(
        self,
        *,
        keep: int | None,
        older_than: timedelta | None,
        status: Collection[Status] | None,
        dry_run: bool,
    ) -> Pruned:
        """Take away what all the given rules name; see `Snapshots.prune`."""
        rules = _rules(keep, older_than, status)
        if not dry_run:
            return await self._take(lambda forest: _named(forest, rules))
        forest = await self._forest()
        return _pruned(forest, _named(forest, rules))

    async def delete(self, snapshot_ids: Collection[str]) -> int:
        """Take these snapshots away; return how many of them there were.

        Raises:
            LeaseHeldError: a turn is at work on one of them, or goes on from it; nothing was written.
        """
        return (await self._take(lambda forest: _wanted(forest, snapshot_ids))).removed

    async def _take(self, choose: Callable[[_Forest], list[_Node]]) -> Pruned:
        """Take away what `choose` names, and what it names once more when snapshots are added meanwhile."""
        removed = freed = 0
        for _ in range(limits.RUN_ATTEMPTS):
            forest = await self._forest()
            doomed = choose(forest)
            try:
                for node in _frontier(forest, doomed):
                    await self._store.run(lambda tx, node=node: self._put_whole(tx, forest, node))
                # Children before their parents: what is left can be read at any moment.
                doomed.sort(key=lambda node: node.at.number, reverse=True)
                gone = {node.row.id for node in doomed}
                for start in range(0, len(doomed), limits.SNAPSHOT_STEP):
                    step = doomed[start : start + limits.SNAPSHOT_STEP]
                    await self._store.run(lambda tx, step=step: self._remove(tx, forest, step, gone))
                    removed += len(step)
                    freed += sum(node.row.stored for node in step)
                    foreign = [node.row.id for node in step if minted(node.row.id) is None]
                    await forget(self._store, self._place, foreign)
            except _OutdatedError:
                continue
            return Pruned(removed, len(forest.nodes) - len(doomed), freed)
        raise ConflictError(f"snapshots were added to the session {self._place.session!r} again and again; call it anew")

    async def _forest(self) -> _Forest:
        """Read the session as it is: its head first, so that whatever is added later is noticed."""
        answer = await self._store.read(Reads((self._place.head,)))
        head = read_head(answer.records.keys[0])
        nodes: dict[str, _Node] = {}
        by_place: dict[At, _Node] = {}
        records = [record async for record in self._store.scan(self._place.rows())]
        for record in sorted(records, key=lambda record: at_of(record.key).number):
            node = _Node(at_of(record.key), record, stored.row(record), children=[])
            if node.row.status is Status.PENDING:
                node.found = await self._reader.at(self._place, node.at)
            nodes[node.row.id] = by_place[node.at] = node
        for node in nodes.values():
            node.parent = None if node.row.parent is None else nodes.get(node.row.parent)
            if node.parent is not None:
                node.parent.children.append(node)
        names = {record.key.item: stored.name(record) async for record in self._store.scan(self._place.names)}
        tips = {record.key.item: stored.tip(record).id async for record in self._store.scan(self._place.branches)}
        branches = {
            text: name.id if name.branch is None else tips.get(f"{name.branch:08x}", name.id)
            for text, name in names.items()
        }
        return _Forest(nodes, head, names, branches, answer.now)

    async def _put_whole(self, tx: Attempt, forest: _Forest, node: _Node) -> None:
        """Store a state whole, under the same stamp: it is the same state, and those behind it build on it as before."""
        head = await self._head(tx, forest)
        record = await tx.get(node.record.key)
        if record is None or record.revision != node.record.revision:
            raise _OutdatedError
        row = msgspec.structs.replace(node.row, above=None)
        if node.row.stamp:
            entry = await self._reader.entry(Found(self._place, node.at, node.record, node.row, None, forest.now))
            if entry is not None:
                replaces = await tx.get(self._place.state(node.at))
                whole, size, writes = stored.put_state(
                    self._place, node.at, entry.state, None, node.row.stamp, replaces=replaces
                )
                tx.write(*writes)
                row = msgspec.structs.replace(row, stored=size, way=whole.way, base=whole.base)
        tx.write(stored.put_row(self._place, node.at, row))
        if node.row.parent is not None and minted(node.row.parent) is None:
            tx.put(self._place.orphan(node.row.parent), b"")
        self._put_head(tx, head, stored=head.stored + row.stored - node.row.stored)

    async def _remove(self, tx: Attempt, forest: _Forest, step: Sequence[_Node], gone: Collection[str]) -> None:
        """Delete some of those that go, and declare the leaves that this makes."""
        head = await self._head(tx, forest)
        leaves = head.leaves
        for node in step:
            await self._delete(tx, node)
            tip = await tx.get(self._place.branch(node.at.branch))
            if tip is None or stored.tip(tip).id != node.row.id:
                continue
            leaves -= 1
            tx.delete(self._place.branch(node.at.branch))
        for node in _bared(step, gone):
            tip = await tx.get(self._place.branch(node.at.branch))
            if tip is None:
                leaves += 1
                tx.put(
                    self._place.branch(node.at.branch),
                    stored.encode(Tip(node.at.number, node.row.created, node.row.id)),
                )
        self._rename(tx, forest, gone)
        self._put_head(
            tx,
            head,
            snapshots=head.snapshots - len(step),
            leaves=leaves,
            stored=head.stored - sum(node.row.stored for node in step),
            newest=_newest(forest, gone) if head.newest is not None and head.newest.id in gone else head.newest,
        )

    async def _delete(self, tx: Attempt, node: _Node) -> None:
        tx.delete(node.record.key)
        if node.row.stamp:
            item = node.at.item
            if node.row.stored > limits.CHUNK_BYTES:
                tx.write(DeleteSpan(Span(STATES, self._place.partition, item + "\x01", item + "\x02")))
            tx.write(Delete(self._place.state(node.at)))
        if minted(node.row.id) is None:
            tx.delete(self._place.local(node.row.id))

    def _rename(self, tx: Attempt, forest: _Forest, gone: Collection[str]) -> None:
        """Have the names of branches that lose their last snapshot stand for the nearest one that stays."""
        for text, last in forest.branches.items():
            if last not in gone and forest.names[text].id not in gone:
                continue
            node = forest.nodes.get(last)
            while node is not None and node.row.id in gone:
                node = node.parent
            if node is None:
                tx.delete(self._place.name(text))
            else:
                is_leaf = all(child.row.id in gone for child in node.children)
                name = Name(node.at.branch if is_leaf else None, node.at, node.row.id)
                tx.put(self._place.name(text), stored.encode(name))

    async def _head(self, tx: Attempt, forest: _Forest) -> Head:
        """Return what is known of the session, if nothing has been added to it since the plan was made."""
        head = read_head(await tx.get(self._place.head))
        if head.number != forest.head.number or head.erasing:
            raise _OutdatedError
        return head

    def _put_head(self, tx: Attempt, head: Head, **changes: Any) -> None:  # noqa: ANN401  fields of a head
        head = msgspec.structs.replace(head, **changes)
        if head.snapshots == 0:
            head = msgspec.structs.replace(head, newest=None)
        tx.write(msgspec.structs.replace(_touchless(self._place, head)))


def _touchless(place: Place, head: Head) -> Any:  # noqa: ANN401
    raise NotImplementedError


def _rules(
    keep: int | None, older_than: timedelta | None, status: Collection[Status] | None
) -> tuple[int | None, timedelta | None, frozenset[Status] | None]:
    if keep is None and older_than is None and status is None:
        raise InvalidError("keep", "a prune needs a rule: keep, older_than or status")
    if keep is not None and keep < 1:
        raise InvalidError("keep", "the newest leaf always stays, so it is at least 1")
    if older_than is not None and older_than < timedelta(0):
        raise InvalidError("older_than", "it is not negative")
    if status is None:
        return keep, older_than, None
    try:
        named = frozenset(Status(one) for one in status)
    except ValueError as error:
        raise InvalidError("status", f"{error}") from error
    if not named:
        raise InvalidError("status", "it names no status")
    return keep, older_than, named
