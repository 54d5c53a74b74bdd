"""States: from values to JSON text and back, read from their differences, and kept in memory once read.

A state that is kept is known by its stamp, so nobody has to be told when it changes: whoever reads a snapshot's record
sees the stamp, and what is kept under another one is not used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError
from sojourn.kernel import Reads, Record, Snapshot, Span, chunks
from sojourn.kernel.codec import check_plain, codec, problem
from sojourn.snapshots.layout import At, Place
from sojourn.snapshots.parts import State
from sojourn.snapshots.stored import NOTHING, Delta, Entry, Row, completed, deltas

__all__ = ["BrokenError", "StateCodec", "States"]

S = TypeVar("S")


class StateCodec(Generic[S]):
    """Makes a state of a value, and a value of a state. Without a type the values are plain dicts.

    Raises:
        InvalidError: values of this type cannot be stored.
    """

    def __init__(self, kind: type[S] | None) -> None:
        self.kind = kind
        self._codec = codec(cast("type[S]", dict[str, Any]) if kind is None else kind)

    def encode(self, value: S) -> State:
        """Return the value as a state.

        Raises:
            InvalidError: it has no JSON form, is not of the type, or, without one, would not come back as it is.
            LimitError: its JSON text is longer than `limits.SNAPSHOT_STATE_BYTES`.
        """
        if self.kind is None and not isinstance(cast("object", value), dict):
            raise InvalidError("state", f"without a type of its own a state is a dict, not a {type(value).__name__}")
        try:
            text = self._codec.dump(value)
        except InvalidError as error:
            raise InvalidError("state", error.problem) from error
        if len(text) > limits.SNAPSHOT_STATE_BYTES:
            raise LimitError("state", limit=limits.SNAPSHOT_STATE_BYTES, found=len(text), unit="bytes")
        if self.kind is not None:
            try:
                self._codec.load(text)
            except CorruptError as error:
                raise InvalidError(
                    "state", f"it is not of its type: {problem(error.__cause__ or error)}"
                ) from error.__cause__
        # What comes back equal is plain; a tuple does not, and is: only then is the value walked through.
        elif msgspec.json.decode(text) != value:
            check_plain("state", value, limits.JSON_DEPTH)
        return State.of(text)

    def decode(self, state: State) -> S:
        """Return the state as a value that nobody else has.

        Raises:
            CorruptError: it is not of this type.
        """
        return self._codec.load(state.text())


class BrokenError(Exception):
    """What a state is made of is missing or damaged at one place, or was moved while it was read."""

    def __init__(self, at: At) -> None:
        super().__init__(f"the state of snapshot {at.number} of branch {at.branch} is missing or damaged")
        self.at = at


class States:
    """The states that this process has seen, up to `limits.SNAPSHOT_CACHE_BYTES`, and the way to all others."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, At], Entry] = OrderedDict()
        self._numbers: dict[tuple[str, int], set[int]] = {}
        self._branches: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0

    def branch_of(self, place: Place) -> int:
        """Return the branch on which the newest leaf of a session was last seen: a good place to look first."""
        return self._branches.get(place.partition, 0)

    def note_branch(self, place: Place, branch: int) -> None:
        """Note on which branch the newest leaf of a session is."""
        self._branches.pop(place.partition, None)
        if branch:
            self._branches[place.partition] = branch
        if len(self._branches) > limits.SNAPSHOT_CACHE_SESSIONS:
            self._branches.popitem(last=False)

    def keep(self, place: Place, entry: Entry, *, instead_of: At | None = None) -> None:
        """Keep a state; `instead_of` is the one it was made of, which nobody is likely to ask for again."""
        if instead_of is not None:
            self._drop((place.partition, instead_of))
        if entry.state.size > limits.SNAPSHOT_CACHE_BYTES:
            return
        self._drop((place.partition, entry.at))
        self._kept[place.partition, entry.at] = entry
        self._numbers.setdefault((place.partition, entry.at.branch), set()).add(entry.at.number)
        self._bytes += entry.state.size
        while self._bytes > limits.SNAPSHOT_CACHE_BYTES:
            self._drop(next(iter(self._kept)))

    def kept(self, place: Place, at: At, stamp: str) -> Entry | None:
        """Return the state of this place and stamp if it is kept."""
        entry = self._kept.get((place.partition, at))
        if entry is None or entry.stamp != stamp:
            return None
        self._kept.move_to_end((place.partition, at))
        return entry

    def wanted(self, place: Place, last: At, first: int = 0) -> Span:
        """Return the span of one branch to read for the state at `last`: what lies behind the one that is kept."""
        numbers = self._numbers.get((place.partition, last.branch), ())
        known = max((number for number in numbers if number <= last.number), default=-1)
        return place.states(last, max(first, known + 1))

    def unseen(self, place: Place, branch: int) -> Span:
        """Return the span at the end of a branch of which nothing is kept."""
        known = max(self._numbers.get((place.partition, branch), ()), default=-1)
        start = At(branch, known + 1).item
        return msgspec.structs.replace(place.branch_states(branch), start=start)

    async def load(
        self,
        place: Place,
        at: At,
        row: Row,
        read: Callable[[Reads], Awaitable[Snapshot]],
        *,
        seen: Sequence[Record] = (),
    ) -> Entry:
        """Return a snapshot's state. `seen` are records of states that have been read with its row, last first.

        Raises:
            BrokenError: what it is made of does not fit together.
            UnavailableError: the store could not be reached.
        """
        entry = self.kept(place, at, row.stamp)
        if entry is None:
            chain, base = await self._chain(place, at, row, read, deltas(seen))
            chain = await _completed(place, chain, read)
            entry = _put_together(at, row, chain, base)
            self.keep(place, entry)
        return entry

    async def _chain(
        self,
        place: Place,
        at: At,
        row: Row,
        read: Callable[[Reads], Awaitable[Snapshot]],
        found: dict[At, Delta | None],
    ) -> tuple[list[tuple[At, Delta]], Entry | None]:
        """Go from a snapshot towards the root, to a state that is whole or kept; return the way, and that one."""
        chain: list[tuple[At, Delta]] = []
        stamp, forks = row.stamp, list[At]()
        while True:
            if at not in found:
                spans = [self.wanted(place, at, row.first(at.branch))]
                spans += [place.states(fork, row.first(fork.branch)) for fork in forks]
                found |= await _read(read, spans)
            if at not in found:  # what seemed to be kept is of another stamp
                found |= await _read(read, [place.states(at)])
            delta = found.get(at)
            if delta is None or delta.stamp != stamp:
                raise BrokenError(at)
            chain.append((at, delta))
            if delta.on is None:
                return chain, None
            forks = [At(*fork) for fork in delta.forks]
            at, stamp = delta.at, delta.on[2]
            if (base := self.kept(place, at, stamp)) is not None:
                return chain, base

    def _drop(self, key: tuple[str, At]) -> None:
        entry = self._kept.pop(key, None)
        if entry is None:
            return
        partition, at = key
        self._bytes -= entry.state.size
        numbers = self._numbers[partition, at.branch]
        numbers.discard(at.number)
        if not numbers:
            del self._numbers[partition, at.branch]


async def _completed(
    place: Place, chain: list[tuple[At, Delta]], read: Callable[[Reads], Awaitable[Snapshot]]
) -> list[tuple[At, Delta]]:
    """Return the way to a state with what of it is kept apart."""
    apart = [number for number, (_, delta) in enumerate(chain) if delta.apart]
    for start in range(0, len(apart), limits.SNAPSHOT_LARGE_READS):
        page = apart[start : start + limits.SNAPSHOT_LARGE_READS]
        keys = tuple(place.large(chain[number][0]) for number in page)
        records = (await read(Reads(keys, tuple(chunks.span(key) for key in keys)))).records
        for number, record, pieces in zip(page, records.keys, records.spans, strict=True):
            at, delta = chain[number]
            whole = completed(delta, record, pieces)
            if whole is None:
                raise BrokenError(at)
            chain[number] = at, whole
    return chain


async def _read(read: Callable[[Reads], Awaitable[Snapshot]], spans: list[Span]) -> dict[At, Delta | None]:
    found: dict[At, Delta | None] = {}
    for records in (await read(Reads(spans=tuple(spans)))).records.spans:
        found |= deltas(records)
    return found


def _put_together(at: At, row: Row, chain: list[tuple[At, Delta]], base: Entry | None) -> Entry:
    """Apply the way to a state, which is given from its end."""
    first_at, first = chain[-1]
    try:
        if base is None:
            begun, changes = State.of(bytes(first.body)), chain[-2::-1]
            way, start = len(first.body) + limits.SNAPSHOT_RECORD_BYTES, first_at
        else:
            begun, changes = base.state, chain[::-1]
            way, start = base.way, base.base
        state = begun.after(bytes(delta.body) for _, delta in changes if bytes(delta.body) != NOTHING)
    except CorruptError as error:
        raise BrokenError(first_at) from error
    if state.size != row.size:
        raise BrokenError(at)
    way += sum(len(delta.body) + limits.SNAPSHOT_RECORD_BYTES for _, delta in changes)
    return Entry(at, row.stamp, state, way, start, _forks(at, chain, base))


def _forks(at: At, chain: list[tuple[At, Delta]], base: Entry | None) -> tuple[At, ...]:
    """Return where the way to a state leaves one branch for another, the nearest first."""
    forks: list[At] = []
    branch = at.branch
    for _, delta in chain:
        if delta.on is not None and delta.at.branch != branch:
            branch = delta.at.branch
            forks.append(delta.at)
    return (*forks, *(() if base is None else base.forks))
