"""Taking snapshots away, and leaving every other one readable as before.

First each snapshot that stays and stands behind one that goes gets its state stored whole: from then on nothing that
stays depends on anything that goes. Then those that go are deleted in bounded steps, children before their parents, so
that at any moment what is there can be read. Turns may go on meanwhile. Only when somebody goes on from a snapshot that
is to go, or takes others away, the rest is planned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import ConflictError
from sojourn.kernel import Attempt, Key, Reads, Record
from sojourn.snapshots import stored
from sojourn.snapshots.erasure import forget, noted
from sojourn.snapshots.forest import Forest, Node, Rules
from sojourn.snapshots.layout import Place, at_of, index, minted
from sojourn.snapshots.model import Pruned, Status
from sojourn.snapshots.reading import Found, Reader, Shelf, read_head
from sojourn.snapshots.saving import scan_all
from sojourn.snapshots.stored import Head, Name, Newest, Tip

__all__ = ["Pruner"]

S = TypeVar("S")


class _OutdatedError(Exception):
    """The plan does not hold any more."""


class Pruner(Generic[S]):
    """Takes snapshots of one session away."""

    def __init__(self, shelf: Shelf[S], reader: Reader[S], place: Place) -> None:
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
        rules = Rules.of(keep, older_than, status)
        if not dry_run:
            return await self._take(lambda forest: forest.named(rules))
        forest = await self._forest()
        doomed = forest.named(rules)
        return Pruned(len(doomed), len(forest) - len(doomed), sum(node.row.stored for node in doomed))

    async def delete(self, snapshot_ids: Collection[str]) -> int:
        """Take these snapshots away; return how many of them there were.

        Raises:
            LeaseHeldError: a turn is at work on one of them, or goes on from it. Nothing was written, unless it began
                meanwhile.
        """
        return (await self._take(lambda forest: forest.wanted(snapshot_ids))).removed

    async def _take(self, choose: Callable[[Forest], list[Node]]) -> Pruned:
        """Take away what `choose` names, and what it names anew whenever that does not hold any more."""
        removed = freed = 0
        for _ in range(limits.RUN_ATTEMPTS):
            forest = await self._forest()
            doomed = choose(forest)
            gone: set[str] = set()
            try:
                for node in forest.frontier(doomed):
                    await self._put_whole(forest, node)
                for start in range(0, len(doomed), limits.SNAPSHOT_STEP):
                    step = doomed[start : start + limits.SNAPSHOT_STEP]
                    await self._remove(forest, step, gone)
                    gone |= {node.id for node in step}
                    removed += len(step)
                    freed += sum(node.row.stored for node in step)
            except _OutdatedError:
                continue
            return Pruned(removed, len(forest) - len(doomed), freed)
        raise ConflictError(f"the session {self._place.session!r} was changed again and again; call it anew")

    async def _forest(self) -> Forest:
        """Read the session as it is: its head first, so that whatever changes later is noticed."""
        answer = await self._store.read(Reads((self._place.head,)))
        head = read_head(answer.records.keys[0])
        if head.newest is None:
            return Forest(head, answer.now, (), ())
        records = [record async for record in self._store.scan(self._place.rows())]
        nodes = [await self._node(record) for record in sorted(records, key=lambda record: at_of(record.key).number)]
        names = [stored.name(record) async for record in self._store.scan(self._place.names)]
        return Forest(head, answer.now, nodes, names)

    async def _node(self, record: Record) -> Node:
        row = stored.row(record)
        found = await self._reader.at(self._place, at_of(record.key)) if row.status is Status.PENDING else None
        return Node(record, row, found)

    async def _put_whole(self, forest: Forest, node: Node) -> None:
        """Store a state whole under its stamp: it is the same state, so those behind it build on it as before."""
        row = msgspec.structs.replace(node.row, above=None)
        state = None
        if row.stamp and row.base != node.at:
            found = Found(self._place, node.at, node.record, row, None, 0)
            entry = await self._reader.entry(found)
            state = None if entry is None else entry.state
        if state is None and row == node.row:
            return

        async def work(tx: Attempt) -> None:
            head_record, (standing,) = await self._standing(tx, forest, [node])
            put = row
            if row.ttl:
                put = msgspec.structs.replace(put, token=row.token or standing.revision)
            if state is not None:
                whole, size, writes = stored.put_state(
                    self._place, node.at, state, None, row.stamp, before=node.row.stored
                )
                tx.write(*writes)
                put = msgspec.structs.replace(put, stored=size, way=whole.way, base=whole.base)
            tx.write(stored.put_row(self._place, node.at, put))
            head = stored.head(head_record)
            self._put_head(tx, head_record, msgspec.structs.replace(head, stored=head.stored + put.stored - row.stored))

        await self._store.run(work)

    async def _remove(self, forest: Forest, step: Sequence[Node], before: Collection[str]) -> None:
        """Delete some of those that go, when those `before` have gone, and say which leaves that makes."""
        foreign = [node.id for node in step if minted(node.id) is None]
        is_one = self._store.describe().cross_partition
        entries = () if is_one else await noted(self._store, self._place, foreign)

        async def work(tx: Attempt) -> None:
            keys = [index(self._place.tenant, snapshot_id) for snapshot_id in foreign] if is_one else []
            tips = {self._place.branch(node.at.branch) for node in step}
            head_record, _ = await self._standing(tx, forest, step, before, (*keys, *tips))
            await self._check_tips(tx, forest, step, before)
            for key in keys:
                entry = await tx.get(key)
                if entry is not None and entry.value.decode() == self._place.session:
                    tx.delete(key)
            gone = {*before, *(node.id for node in step)}
            for node in step:
                self._delete(tx, forest, node, gone)
            head = stored.head(head_record)
            head = msgspec.structs.replace(
                head,
                snapshots=head.snapshots - len(step),
                stored=head.stored - sum(node.row.stored for node in step),
            )
            head = await self._with_leaves(tx, forest, head, step, before, gone)
            await self._rename(tx, forest, before, gone)
            self._put_head(tx, head_record, head)

        await self._store.run(work)
        await forget(self._store, entries)

    async def _standing(
        self,
        tx: Attempt,
        forest: Forest,
        nodes: Sequence[Node],
        before: Collection[str] = (),
        keys: Iterable[Key] = (),
    ) -> tuple[Record, list[Record]]:
        """Return the record of the session and those of these snapshots, if they are as they were planned with.

        Others may have been added meanwhile, but none may begin a branch, and nobody else may have taken any away.
        """
        rows = [node.record.key for node in nodes]
        await tx.fetch((self._place.head, *rows, *keys))
        record = await tx.get(self._place.head)
        if record is None:
            raise _OutdatedError
        head, planned = stored.head(record), forest.head
        is_whole = head.number - head.snapshots == planned.number - planned.snapshots + len(before)
        if head.erasing or not is_whole or head.branches != planned.branches:
            raise _OutdatedError
        standing = [found for key in rows if (found := await tx.get(key)) is not None]
        if [found.revision for found in standing] != [node.record.revision for node in nodes]:
            raise _OutdatedError
        return record, standing

    async def _check_tips(self, tx: Attempt, forest: Forest, step: Iterable[Node], before: Collection[str]) -> None:
        """Check that nobody has gone on from those of these that were tips."""
        for node in step:
            if forest.tip(node.at.branch, before) is node:
                tip = await tx.get(self._place.branch(node.at.branch))
                if tip is None or stored.tip(tip).number != node.at.number:
                    raise _OutdatedError

    def _delete(self, tx: Attempt, forest: Forest, node: Node, gone: Collection[str]) -> None:
        """Delete a snapshot, and what says where it is; those that name it as their parent are marked as orphans."""
        tx.delete(node.record.key)
        state = self._place.state(node.at)
        tx.write(*stored.cleared(self._place, node.at, node.row.stored))
        tx.delete(state)
        if minted(node.id) is None:
            tx.delete(self._place.local(node.id))
            if forest.is_named(node.id, gone):
                tx.put(self._place.orphan(node.id), b"")
        parent = node.row.parent
        if parent is not None and minted(parent) is None and not forest.is_named(parent, gone):
            tx.delete(self._place.orphan(parent))

    async def _with_leaves(
        self,
        tx: Attempt,
        forest: Forest,
        head: Head,
        step: Sequence[Node],
        before: Collection[str],
        gone: Collection[str],
    ) -> Head:
        """Write which leaves there are once these are gone, and return the head of the session that counts them."""
        nodes = (*step, *(node.parent for node in step if node.parent is not None))
        made: list[Node] = []
        leaves = head.leaves
        for branch in {node.at.branch for node in nodes}:
            old, new = forest.tip(branch, before), forest.tip(branch, gone)
            if old is new:
                continue
            leaves += (new is not None) - (old is not None)
            if new is None:
                tx.delete(self._place.branch(branch))
            else:
                made.append(new)
                tx.put(self._place.branch(branch), stored.encode(Tip(new.at.number, new.row.created, new.id)))
        newest = head.newest
        if newest is not None and newest.id in gone:
            tips = stored.leaves(await scan_all(tx, self._place.branches))
            newest = max(tips, key=lambda tip: tip.order, default=None)
        elif newest is not None:
            newest = max([newest, *(_leaf(node) for node in made)], key=lambda leaf: leaf.order)
        return msgspec.structs.replace(head, leaves=leaves, newest=newest)

    async def _rename(self, tx: Attempt, forest: Forest, before: Collection[str], gone: Collection[str]) -> None:
        """Have the names of branches that lose their last snapshot stand for the nearest one that stays."""
        for record in await scan_all(tx, self._place.names):
            name = stored.name(record)
            old, new = forest.last(name, before), forest.last(name, gone)
            if old is new and name.id not in gone:
                continue
            if new is None:
                tx.delete(record.key)
            else:
                branch = name.branch if new.at.branch == name.branch else None
                tx.put(record.key, stored.encode(Name(branch, new.at, new.id)))

    def _put_head(self, tx: Attempt, standing: Record, head: Head) -> None:
        """Write what is known of the session now. Its rank stays: nobody was at work there."""
        tx.put(self._place.head, stored.encode(head), rank=standing.rank)


def _leaf(node: Node) -> Newest:
    return Newest(node.row.created, node.at.number, node.at.branch, node.id)
