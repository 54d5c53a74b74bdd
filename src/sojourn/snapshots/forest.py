"""The snapshots of a session as they hang together: what may be taken away, and what depends on that. No I/O."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import NamedTuple, cast

from sojourn.errors import InvalidError
from sojourn.kernel import Record
from sojourn.snapshots.layout import at_of
from sojourn.snapshots.model import Status
from sojourn.snapshots.mutating import busy_error
from sojourn.snapshots.reading import Found
from sojourn.snapshots.stored import Head, Name, Row

__all__ = ["Forest", "Node", "Rules"]


class Rules(NamedTuple):
    """What a prune takes away: that which all the rules name that are given."""

    keep: int | None
    older_than: timedelta | None
    status: frozenset[Status] | None

    @classmethod
    def of(cls, keep: int | None, older_than: timedelta | None, status: Collection[Status] | None) -> Rules:
        """Check the rules of a prune.

        Raises:
            InvalidError: there is none, or one is out of form.
        """
        if keep is None and older_than is None and status is None:
            raise InvalidError("keep", "a prune needs a rule: keep, older_than or status")
        if keep is not None and type(cast("object", keep)) is not int:
            raise InvalidError("keep", f"a number is asked for, not a {type(keep).__name__}")
        if keep is not None and keep < 1:
            raise InvalidError("keep", "the newest leaf always stays, so it is at least 1")
        if older_than is not None and not isinstance(cast("object", older_than), timedelta):
            raise InvalidError("older_than", f"a timedelta is asked for, not a {type(older_than).__name__}")
        if older_than is not None and older_than < timedelta(0):
            raise InvalidError("older_than", "it is not negative")
        if status is None:
            return cls(keep, older_than, None)
        try:
            named = frozenset(Status(one) for one in status)
        except (TypeError, ValueError) as error:
            raise InvalidError("status", f"some of the statuses are asked for: {error}") from error
        if not named:
            raise InvalidError("status", "it names no status")
        return cls(keep, older_than, named)


class Node:
    """A snapshot in the tree of its session. `found` is there for a pending one: who is at work on it."""

    def __init__(self, record: Record, row: Row, found: Found | None) -> None:
        self.at = at_of(record.key)
        self.record = record
        self.row = row
        self.found = found
        self.parent: Node | None = None
        self.children: list[Node] = []

    @property
    def id(self) -> str:
        """Its id."""
        return self.row.id

    @property
    def order(self) -> tuple[int, int]:
        """What the newest leaf has most of."""
        return self.row.created, self.at.number

    @property
    def status(self) -> Status:
        """Its status, also where nobody has stored yet that it has expired."""
        return self.row.status if self.found is None else self.found.status

    @property
    def is_live(self) -> bool:
        """Say whether it is pending, and has not expired."""
        return self.status is Status.PENDING


class Forest:
    """The tree of a session as it was read. `nodes` are given in the order of their numbers."""

    def __init__(self, head: Head, now: int, nodes: Iterable[Node], names: Iterable[Name]) -> None:
        self.head = head
        self._now = now
        self._names = tuple(names)
        self._by_id = {node.id: node for node in nodes}
        self._naming: defaultdict[str, list[Node]] = defaultdict(list)
        self._lines: defaultdict[int, list[Node]] = defaultdict(list)
        for node in self._by_id.values():
            self._lines[node.at.branch].append(node)
            if node.row.parent is not None:
                node.parent = self._by_id.get(node.row.parent)
                self._naming[node.row.parent].append(node)
        for node in self._by_id.values():
            node.children = self._naming.get(node.id, [])

    def __len__(self) -> int:
        """Return how many snapshots there are."""
        return len(self._by_id)

    def named(self, rules: Rules) -> list[Node]:
        """Return what these rules take away, children before their parents.

        The newest leaf stays, and so does what a turn is at work on, what it goes on from, and the last snapshot of
        each branch that has a name.
        """
        stay = {last.id for name in self._names if (last := self.last(name, ())) is not None}
        if self.head.newest is not None:
            stay.add(self.head.newest.id)
        for node in self._by_id.values():
            if node.is_live:
                stay.add(node.id)
                if node.parent is not None:
                    stay.add(node.parent.id)
        chosen = [node for node in self._by_id.values() if node.id not in stay]
        if rules.status is not None:
            chosen = [node for node in chosen if node.status in rules.status]
        if rules.older_than is not None:
            until = self._now * 1_000 - rules.older_than // timedelta(microseconds=1)
            chosen = [node for node in chosen if node.row.created < until]
        if rules.keep is not None:
            distances = self._distances()
            chosen = [node for node in chosen if distances.get(node.id, 0) >= rules.keep]
        return self._children_first(chosen)

    def wanted(self, snapshot_ids: Collection[str]) -> list[Node]:
        """Return the snapshots of these ids that are there, children before their parents.

        Raises:
            LeaseHeldError: a turn is at work on one of them, or goes on from it.
        """
        chosen = [node for snapshot_id in set(snapshot_ids) if (node := self._by_id.get(snapshot_id)) is not None]
        for node in chosen:
            for one in (node, *node.children):
                if one.found is not None and one.is_live and one.found.is_held:
                    raise busy_error(one.found)
        return self._children_first(chosen)

    def frontier(self, doomed: Iterable[Node]) -> list[Node]:
        """Return what stays and has its parent among these: each of their states depends on one that goes."""
        gone = {node.id for node in doomed}
        return [
            node
            for node in self._by_id.values()
            if node.parent is not None and node.parent.id in gone and node.id not in gone
        ]

    def tip(self, branch: int, gone: Collection[str]) -> Node | None:
        """Return the leaf at the end of a branch once these ids are gone, None when there is none."""
        last = next((node for node in reversed(self._lines.get(branch, ())) if node.id not in gone), None)
        return None if last is None or self.is_named(last.id, gone) else last

    def last(self, name: Name, gone: Collection[str]) -> Node | None:
        """Return what a name stands for once these ids are gone: the last of its branch, or the nearest that stays."""
        line = [] if name.branch is None else self._lines.get(name.branch, [])
        node = next((node for node in reversed(line) if node.id not in gone), None)
        if node is not None:
            return node
        node = line[0] if line else self._by_id.get(name.id)
        while node is not None and node.id in gone:
            node = node.parent
        return node

    def is_named(self, snapshot_id: str, gone: Collection[str]) -> bool:
        """Say whether some snapshot names this id as its parent once these are gone."""
        return any(node.id not in gone for node in self._naming.get(snapshot_id, ()))

    def _children_first(self, chosen: Iterable[Node]) -> list[Node]:
        wanted = {node.id for node in chosen}
        order = [node for node in self._by_id.values() if node.parent is None]
        for node in order:
            order += node.children
        return [node for node in reversed(order) if node.id in wanted]

    def _distances(self) -> dict[str, int]:
        """Return how many snapshots each is behind the nearest leaf that it leads to."""
        before: defaultdict[str, list[Node]] = defaultdict(list)
        for line in self._lines.values():
            for place, node in enumerate(line):
                # What nothing names any more, since that was deleted, leads to what its branch goes on with.
                for behind in node.children or line[place + 1 : place + 2]:
                    before[behind.id].append(node)
        leaves = [tip for branch in self._lines if (tip := self.tip(branch, ())) is not None]
        distances = {leaf.id: 0 for leaf in leaves}
        waiting = deque(leaves)
        while waiting:
            found = waiting.popleft()
            for node in before[found.id]:
                if node.id not in distances:
                    distances[node.id] = distances[found.id] + 1
                    waiting.append(node)
        return distances
