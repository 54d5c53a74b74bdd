"""A session as a tree, and how it is drawn. No I/O.

Nothing here calls itself: a session of ten thousand turns is as deep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from sojourn.snapshots.model import SnapshotInfo, Status

__all__ = ["MARKS", "Node", "Tree", "grown"]

MARKS: Final[Mapping[Status, str]] = {
    Status.PENDING: "◐",
    Status.COMPLETED: "●",
    Status.FAILED: "✗",
    Status.ABORTED: "■",
    Status.EXPIRED: "◌",
}
"""What a snapshot of this status is drawn as."""

_RUN: Final = 10
"""Snapshots in a line, nothing of note among them, from which on they are folded."""

_ENDS: Final = 2
"""How many are shown at either end of such a line."""


class Node(msgspec.Struct, frozen=True):
    """A snapshot, and the ids of those that name it as their parent, in the order in which they were stored."""

    info: SnapshotInfo
    children: tuple[str, ...] = ()


class Tree(msgspec.Struct, frozen=True):
    """The snapshots of a session, as they hang together.

    `nodes` has each by its id, in the order in which they were stored, as `roots` has those whose parent is not there.
    `leaves` has the newest first, and `newest` is that one, None where there is no snapshot. `branches` has, for each
    name of a branch, the id of its last snapshot.
    """

    session_id: str
    roots: tuple[str, ...]
    nodes: Mapping[str, Node]
    leaves: tuple[str, ...]
    newest: str | None
    branches: Mapping[str, str]

    def __str__(self) -> str:
        return self.draw()

    def draw(self, width: int | None = None) -> str:
        """Draw the tree in lines, each snapshot below its parent.

        Of several children the one with the most behind it goes straight on and the others stand to its right, which
        keeps even the largest tree narrow. A long line in which nothing is of note is folded. With a `width`, in
        characters, what does not fit into a line is left out, the time first; ids are always whole.
        """
        return "\n".join(_Drawing(self, width).lines())


def grown(
    session_id: str, infos: Iterable[SnapshotInfo], names: Mapping[str, str], ends: Collection[str] | None = None
) -> Tree:
    """Return the tree of a session's snapshots, which are given in the order in which they were stored.

    `names` has the id of each named branch's last snapshot, or of the one that it begins behind. `ends` are the ids of
    the last snapshots of all branches, where a snapshot was taken from the middle of one.
    """
    known = {info.snapshot_id: info for info in infos}
    roots = list[str]()
    children: dict[str, list[str]] = {snapshot_id: [] for snapshot_id in known}
    for snapshot_id, info in known.items():
        siblings = roots if info.parent_id is None else children.get(info.parent_id, roots)
        siblings.append(snapshot_id)
    # A sort keeps the order of equal ones, so of these the one stored last comes first.
    stored_last_first = [
        snapshot_id
        for snapshot_id in reversed(known)
        if not children[snapshot_id] and (ends is None or snapshot_id in ends)
    ]
    leaves = sorted(stored_last_first, key=lambda leaf: known[leaf].created_at, reverse=True)
    return Tree(
        session_id=session_id,
        roots=tuple(roots),
        nodes={snapshot_id: Node(info, tuple(children[snapshot_id])) for snapshot_id, info in known.items()},
        leaves=tuple(leaves),
        newest=leaves[0] if leaves else None,
        branches=dict(names),
    )


class _Drawing:
    """One drawing of a tree, at most log2 of its snapshots deep."""

    def __init__(self, tree: Tree, width: int | None) -> None:
        self._tree = tree
        self._width = width
        self._behind = _behind(tree)
        self._names: dict[str, list[str]] = {}
        for name, snapshot_id in sorted(tree.branches.items()):
            self._names.setdefault(snapshot_id, []).append(name)

    def lines(self) -> Iterator[str]:
        """Draw root by root, with an empty line between two."""
        for place, root in enumerate(self._tree.roots):
            if place:
                yield ""
            yield from self._below(root)

    def _below(self, root: str) -> Iterator[str]:
        # What is still to be drawn: where a line begins, and what stands before its first snapshot and its others.
        waiting = [(root, "", "")]
        while waiting:
            start, first, rest = waiting.pop()
            line = self._line(start)
            before = first
            for shown in self._folded(line):
                yield f"{rest}│ … {shown:,} snapshots …" if isinstance(shown, int) else self._drawn(before, shown)
                before = rest
            if children := self._children(line[-1]):
                *beside, straight = children
                waiting.append((straight, rest, rest))
                waiting.extend((child, f"{rest}├─", f"{rest}│ ") for child in reversed(beside))

    def _line(self, start: str) -> list[str]:
        """Return the snapshots from one on, up to the next that has no child, or several."""
        line = [start]
        while len(children := self._tree.nodes[line[-1]].children) == 1:
            line.append(children[0])
        return line

    def _children(self, snapshot_id: str) -> Sequence[str]:
        """Return the children of a snapshot, last the one with the most behind it, of equal ones the latest."""
        children = self._tree.nodes[snapshot_id].children
        if not children:
            return ()
        straight = max(reversed(children), key=self._behind.__getitem__)
        return *(child for child in children if child != straight), straight

    def _folded(self, line: Sequence[str]) -> Iterator[str | int]:
        """Go through a line; a number stands for so many that are not shown."""
        alike = list[str]()
        for snapshot_id in line:
            if not self._is_of_note(snapshot_id):
                alike.append(snapshot_id)
                continue
            yield from _ends(alike)
            alike = []
            yield snapshot_id
        yield from _ends(alike)

    def _is_of_note(self, snapshot_id: str) -> bool:
        node = self._tree.nodes[snapshot_id]
        return node.info.status is not Status.COMPLETED or len(node.children) != 1 or snapshot_id in self._names

    def _drawn(self, before: str, snapshot_id: str) -> str:
        info = self._tree.nodes[snapshot_id].info
        drawn = f"{before}{MARKS[info.status]} {_plain(snapshot_id)}"
        for part in self._parts(info):
            if self._width is not None and len(drawn) + 2 + len(part) > self._width:
                break
            drawn = f"{drawn}  {part}"
        return drawn

    def _parts(self, info: SnapshotInfo) -> Iterator[str]:
        """Say what there is to say of a snapshot, the more important first."""
        if info.status is not Status.COMPLETED:
            yield info.status
        if info.snapshot_id == self._tree.newest:
            yield "← newest leaf"
        for name in self._names.get(info.snapshot_id, ()):
            yield f"[{_plain(name)}]"
        if info.parent_id is not None and info.parent_id not in self._tree.nodes:
            yield "(its parent is not there)"
        yield f"{info.created_at:%Y-%m-%d %H:%M:%S}"


def _behind(tree: Tree) -> dict[str, int]:
    """Count, for each snapshot, itself and all behind it."""
    order = list[str]()
    waiting = list(tree.roots)
    while waiting:
        snapshot_id = waiting.pop()
        order.append(snapshot_id)
        waiting.extend(tree.nodes[snapshot_id].children)
    behind = dict[str, int]()
    for snapshot_id in reversed(order):
        behind[snapshot_id] = 1 + sum(behind[child] for child in tree.nodes[snapshot_id].children)
    return behind


def _ends(alike: Sequence[str]) -> Iterator[str | int]:
    if len(alike) < _RUN:
        yield from alike
        return
    yield from alike[:_ENDS]
    yield len(alike) - 2 * _ENDS
    yield from alike[-_ENDS:]


def _plain(text: str) -> str:
    """Return the text without what would break a line or move a cursor: that is written as escapes."""
    return text if text.isprintable() else ascii(text)[1:-1]
