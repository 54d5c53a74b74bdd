"""The records of a session as structs, and how large a state's way may become.

A state is stored as what makes it of its parent's state, and whole where that is cheaper to read: when the bytes on
the way to it, from the last whole one, outweigh twice the state. So what a session stores grows with what was added to
it, a state is read at a cost that follows its size, and neither follows the number of snapshots before it.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable
from typing import Final, TypeAlias, TypeVar

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError
from sojourn.kernel import Delete, DeleteSpan, Key, Now, Put, Record, Write, chunks
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import pack, unpack
from sojourn.snapshots.layout import At, Place, at_of, lengthened, shortened
from sojourn.snapshots.model import Failure, FinishReason, SessionInfo, SnapshotInfo, Status, moment_of
from sojourn.snapshots.parts import State

__all__ = [
    "Delta",
    "Entry",
    "Head",
    "NOTHING",
    "Name",
    "Newest",
    "Row",
    "Tip",
    "cleared",
    "completed",
    "deltas",
    "encode",
    "encode_row",
    "head",
    "info",
    "leaves",
    "name",
    "put_row",
    "put_state",
    "row",
    "session_info",
    "stamp",
    "tip",
]

_T = TypeVar("_T")

_Spot: TypeAlias = tuple[int, int]


class Row(msgspec.Struct, frozen=True):
    """A snapshot without its state. `above` is where its parent stands, None when that is not there.

    `stamp` names its state, "" when it has none; whoever has seen a state of this stamp has seen this one. `way` is
    the bytes that are read to put it together, `base` where they begin. While a turn is at work, `ttl` is the time to
    live of its lease in milliseconds, and `token` its token; 0 is the revision of the row, when one commit made both.
    """

    id: str
    parent: str | None
    above: _Spot | None
    created: int
    status: Status
    updated: int | None = None
    heartbeat: int | None = None
    finish: FinishReason | None = None
    error: Failure | None = None
    stamp: str = ""
    size: int = 0
    stored: int = 0
    way: int = 0
    base: _Spot | None = None
    ttl: int = 0
    token: int = 0

    @property
    def parent_at(self) -> At | None:
        """Where its parent stands."""
        return None if self.above is None else At(*self.above)

    def first(self, branch: int) -> int:
        """Return the number in this branch before which nothing is needed to put its state together."""
        return self.base[1] if self.base is not None and self.base[0] == branch else 0


class _Line(msgspec.Struct, frozen=True, array_like=True):
    """A row as it is stored: an id that was made here as the number in it, `updated` counted from `created`."""

    id: str | int
    parent: str | int | None
    above: _Spot | None
    created: int
    status: Status
    updated: int | None
    heartbeat: int | None
    finish: FinishReason | None
    error: Failure | None
    stamp: str
    size: int
    stored: int
    way: int
    base: _Spot | None
    ttl: int
    token: int


class Newest(msgspec.Struct, frozen=True, array_like=True):
    """A leaf: what decides which is the newest."""

    created: int
    number: int
    branch: int
    id: str

    @property
    def at(self) -> At:
        """Where it stands."""
        return At(self.branch, self.number)

    @property
    def order(self) -> tuple[int, int]:
        """What the newest one has most of."""
        return self.created, self.number


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a session. `erasing`: it is being deleted.

    The last number given to a snapshot and the branches begun, ever; how many snapshots and leaves there are, the bytes
    of their states; and the newest leaf.
    """

    number: int = 0
    branches: int = 0
    snapshots: int = 0
    leaves: int = 0
    stored: int = 0
    created: int = 0
    newest: Newest | None = None
    erasing: bool = False


class Tip(msgspec.Struct, frozen=True, array_like=True):
    """The tip of a branch."""

    number: int
    created: int
    id: str

    def leaf(self, branch: int) -> Newest:
        """Return it as a leaf."""
        return Newest(self.created, self.number, branch, self.id)


class Name(msgspec.Struct, frozen=True, array_like=True):
    """What a name stands for: a branch, or, until a snapshot is made under it, the snapshot that it begins behind."""

    branch: int | None
    at: _Spot
    id: str


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What makes a state: a change of the state `on` which it builds, or, with None there, the state itself.

    `on` is the branch, number and stamp of another snapshot. The first of a branch names the `forks` before that one.
    A body that is `apart` bytes long is kept in a record of its own.
    """

    stamp: str
    on: tuple[int, int, str] | None
    forks: tuple[_Spot, ...]
    checksum: int
    body: msgspec.Raw
    apart: int = 0

    @property
    def at(self) -> At:
        """Where the state stands on which it builds."""
        assert self.on is not None
        return At(self.on[0], self.on[1])


class Entry(msgspec.Struct, frozen=True):
    """A state that has been put together: its stamp, and the way to it, for those who build on it."""

    at: At
    stamp: str
    state: State
    way: int
    base: At
    forks: tuple[At, ...] = ()


NOTHING: Final = b"null"
"""The change of a state that is the same as the one it builds on."""

_ENCODE: Final = msgspec.json.Encoder().encode
_DELTA: Final = msgspec.json.Decoder(Delta)
_ROW: Final = msgspec.json.Decoder(_Line)
_PADDING: Final = b" " * 32
"""What a pending row is longer by, so that it need not move when it becomes a settled one."""
_HEAD: Final = msgspec.json.Decoder(Head)
_TIP: Final = msgspec.json.Decoder(Tip)
_NAME: Final = msgspec.json.Decoder(Name)


def stamp() -> str:
    """Return a new name of a state."""
    return secrets.token_hex(4)


def encode(value: Head | Tip | Name) -> bytes:
    """Return the value of a record."""
    return pack(_ENCODE(value))


def encode_row(place: Place, at: At, value: Row) -> bytes:
    """Return the value of a snapshot's record."""
    fields = msgspec.structs.asdict(value)
    fields["id"] = shortened(value.id, place.session, at)
    if value.parent is not None and value.parent_at is not None:
        fields["parent"] = shortened(value.parent, place.session, value.parent_at)
    if value.updated is not None:
        fields["updated"] = value.updated - value.created
    text = _ENCODE(_Line(**fields))
    return pack(text + _PADDING if value.status is Status.PENDING else text)


def row(record: Record) -> Row:
    """Read a snapshot's record.

    Raises:
        CorruptError: it is damaged.
    """
    line = _decoded(_ROW, record)
    if line.above is not None and line.above[1] >= at_of(record.key).number:  # one that came later is looked up by id
        raise CorruptError(f"the record {_shown(record.key)} names a parent that came after it")
    fields = msgspec.structs.asdict(line)
    session = Place.of(record.key.partition).session
    fields["id"] = lengthened(line.id, session, at_of(record.key))
    if isinstance(line.parent, int):
        if line.above is None:
            raise CorruptError(f"the record {_shown(record.key)} has a parent that is nowhere")
        fields["parent"] = lengthened(line.parent, session, At(*line.above))
    if line.updated is not None:
        fields["updated"] = line.updated + line.created
    return Row(**fields)


def head(record: Record) -> Head:
    """Read the record of a session.

    Raises:
        CorruptError: it is damaged.
    """
    return _decoded(_HEAD, record)


def tip(record: Record) -> Tip:
    """Read the record of a branch.

    Raises:
        CorruptError: it is damaged.
    """
    return _decoded(_TIP, record)


def name(record: Record) -> Name:
    """Read the record of a branch's name.

    Raises:
        CorruptError: it is damaged.
    """
    return _decoded(_NAME, record)


def put_row(place: Place, at: At, value: Row) -> Put:
    """Return the write of a snapshot's record; a pending one has a rank, by which those that expire are found."""
    return Put(place.row(at), encode_row(place, at, value), rank=Now() if value.status is Status.PENDING else None)


def put_state(
    place: Place, at: At, state: State, on: Entry | None, mark: str, *, before: int = 0
) -> tuple[Entry, int, tuple[Write, ...]]:
    """Return the state as an entry, the bytes it takes, and the writes that store it at this place.

    It is stored as a change of `on`, unless there is none, the state itself is smaller, or the way becomes too long.
    `before` is the bytes of what stands there, which it replaces.

    Raises:
        LimitError: it is larger than `limits.SNAPSHOT_STATE_BYTES`.
    """
    if on is not None:
        change = on.state.difference(state)
        body = NOTHING if change is None else change
        way = on.way + len(body) + limits.SNAPSHOT_RECORD_BYTES
        if len(body) < state.size and way <= 2 * state.size + limits.SNAPSHOT_SLACK_BYTES:
            is_fork = on.at.branch != at.branch
            forks = (on.at, *on.forks) if is_fork else on.forks
            named = tuple((fork.branch, fork.number) for fork in forks[1 : limits.SNAPSHOT_FORKS]) if is_fork else ()
            builds_on = (on.at.branch, on.at.number, on.stamp)
            entry = Entry(at, mark, state, way, on.base, forks)
            return entry, len(body), _put(place, at, Delta(mark, builds_on, named, 0, msgspec.Raw(body)), before)
    body = state.text()
    entry = Entry(at, mark, state, len(body) + limits.SNAPSHOT_RECORD_BYTES, at)
    return entry, len(body), _put(place, at, Delta(mark, None, (), 0, msgspec.Raw(body)), before)


def cleared(place: Place, at: At, before: int) -> tuple[Write, ...]:
    """Return the writes that delete what of a state is kept apart, given the bytes of what stands there."""
    if before <= limits.SNAPSHOT_APART_BYTES:
        return ()
    return (DeleteSpan(chunks.span(place.large(at))), Delete(place.large(at)))


def _put(place: Place, at: At, delta: Delta, before: int) -> tuple[Write, ...]:
    body = bytes(delta.body)
    checked = msgspec.structs.replace(delta, checksum=zlib.crc32(body))
    if len(body) <= limits.SNAPSHOT_APART_BYTES:
        return (*cleared(place, at, before), Put(place.state(at), pack(_ENCODE(checked))))
    short = msgspec.structs.replace(checked, body=msgspec.Raw(NOTHING), apart=len(body))
    large = chunks.put(place.large(at), pack(body), replaces=None)
    return (*cleared(place, at, before), Put(place.state(at), pack(_ENCODE(short))), *large)


def deltas(records: Iterable[Record]) -> dict[At, Delta | None]:
    """Read states' records; None stands for a damaged one."""
    return {at_of(record.key): _delta(record) for record in records}


def completed(delta: Delta, large: Record | None, pieces: tuple[Record, ...]) -> Delta | None:
    """Return a state's record with the body that was kept apart; None when that is missing or damaged."""
    try:
        body = b"" if large is None else unpack(chunks.join(large, pieces))
    except CorruptError:
        return None
    whole = msgspec.structs.replace(delta, body=msgspec.Raw(body), apart=0)
    return whole if zlib.crc32(body) == delta.checksum else None


def info(place: Place, value: Row, *, heartbeat: int | None = None) -> SnapshotInfo:
    """Return what is shown of a snapshot's record. `heartbeat` is the last sign of life of a turn at work on it."""
    beat = value.heartbeat if heartbeat is None else heartbeat
    return SnapshotInfo(
        snapshot_id=value.id,
        session_id=place.session,
        parent_id=value.parent,
        created_at=moment_of(value.created),
        status=value.status,
        updated_at=None if value.updated is None else moment_of(value.updated),
        heartbeat_at=None if beat is None else moment_of(beat),
        finish_reason=value.finish,
        error=value.error,
        state_bytes=value.size if value.stamp else None,
        stored_bytes=value.stored,
    )


def session_info(place: Place, value: Head) -> SessionInfo | None:
    """Return what is shown of a session's record; None of one without snapshots."""
    if value.newest is None or value.erasing:
        return None
    return SessionInfo(
        session_id=place.session,
        created_at=moment(value.created),
        newest=value.newest.id,
        newest_at=moment_of(value.newest.created),
        snapshots=value.snapshots,
        leaves=value.leaves,
        stored_bytes=value.stored,
    )


def _delta(record: Record) -> Delta | None:
    try:
        delta = _DELTA.decode(unpack(record.value))
    except (CorruptError, msgspec.DecodeError):
        return None
    if delta.on is not None and delta.on[1] >= at_of(record.key).number:
        return None  # nothing builds on what came after it
    return delta if delta.apart or zlib.crc32(delta.body) == delta.checksum else None


def _decoded(decoder: msgspec.json.Decoder[_T], record: Record) -> _T:
    try:
        return decoder.decode(unpack(record.value))
    except msgspec.DecodeError as error:
        raise CorruptError(f"the record {_shown(record.key)} cannot be read: {error}") from error


def _shown(key: Key) -> str:
    return "/".join(key).replace("\x01", ":")


def leaves(records: Iterable[Record]) -> list[Newest]:
    """Read the records of tips as leaves.

    Raises:
        CorruptError: one is damaged.
    """
    return [tip(record).leaf(int(record.key.item, 16)) for record in records]
