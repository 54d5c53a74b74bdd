"""What visits are made of: frozen values and the rules for what may be in them. No I/O."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, Self, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel import Now
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import check_plain, codec

__all__ = [
    "Action",
    "ActionInput",
    "ActiveChange",
    "Batch",
    "BatchResult",
    "ChangeKind",
    "Cleanup",
    "Count",
    "RefusedAction",
    "Terms",
    "Visit",
    "Visitor",
    "checked",
    "checked_action",
    "checked_batch",
    "checked_data",
    "checked_metadata",
    "checked_visitor",
    "checked_whole",
    "moment",
    "visitor_of",
]

T = TypeVar("T")

_FOREIGN: Final = re.compile(r"[A-Za-z0-9_.-]{22,128}", re.ASCII)
_JSON: Final = codec(object)


class Visit(msgspec.Struct, frozen=True):
    """One visit: activity without a pause of `idle`, and no longer than `longest`. `index` counts from 1.

    `previous` is the index of the visit before, None for the first. `engaged` is how long the visitor looked at the
    page, as its browser measured it; never more than the time since the start. Its actions are those whose `timestamp`
    lies from `started_at` on, up to the start of the next visit.
    """

    index: int
    started_at: datetime
    previous: int | None = None
    engaged: timedelta = timedelta(0)


class Visitor(msgspec.Struct, frozen=True):
    """A visitor: `anonymous_id` is no credential, and `last_active` is exact to the precision of the face."""

    anonymous_id: str
    created_at: datetime
    last_active: datetime
    visit: Visit


class Action(msgspec.Struct, frozen=True):
    """One thing that a visitor did.

    `timestamp` is when the engine got it, `occurred_at` when it was done, as far as the visitor's own clock tells how
    long ago that was. `client` and `sequence` name it among the actions of one page; None where a server recorded it.
    """

    action: str
    timestamp: datetime
    occurred_at: datetime
    resource_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    client: str | None = None
    sequence: int | None = None


class ActionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action as a client reports it. `at` is the client's clock in milliseconds.

    `engaged_ms` reports how long the visitor looked at the page since the last report. An action without a name is such
    a report and nothing else.
    """

    sequence: int
    at: int
    action: str | None = None
    resource_id: str | None = None
    metadata: msgspec.Raw | UnsetType = UNSET
    engaged_ms: int = 0


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one client reports at once. Sequences grow from action to action, over all batches of the client.

    `sent_at` is the client's clock in milliseconds when it sends: only differences of its own stamps are used.
    """

    client: str
    sent_at: int
    actions: tuple[ActionInput, ...]


class RefusedAction(msgspec.Struct, frozen=True):
    """An action of a batch that was not recorded, and never will be: why, in the words of an error."""

    sequence: int
    code: str
    message: str


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch: how many were recorded now, how many had been before, and which were refused."""

    accepted: int
    repeated: int
    refused: tuple[RefusedAction, ...] = ()


class ChangeKind(StrEnum):
    """What happened to somebody's presence."""

    JOIN = "join"
    LEAVE = "leave"


class ActiveChange(msgspec.Struct, frozen=True):
    """Somebody came or went: a visitor's `anonymous_id`, or the name of a room's member."""

    kind: ChangeKind
    name: str


class Cleanup(msgspec.Struct, frozen=True):
    """What a cleanup deleted: every visitor whose last activity was before `oldest_date`."""

    deleted_count: int
    oldest_date: datetime


class Count(int):
    """A number; with `more`, of that many and more nobody has counted the rest."""

    more: bool

    def __new__(cls, value: int, *, more: bool = False) -> Self:
        """Make a count."""
        made = super().__new__(cls, value)
        made.more = more
        return made

    def __repr__(self) -> str:
        """Show the number, with a plus where there are more."""
        return f"{int(self)}+" if self.more else f"{int(self)}"


class Terms(msgspec.Struct, frozen=True):
    """What one `Visits` goes by.

    Raises:
        InvalidError: a duration is below `limits.VISIT_PRECISION_MIN` or above `limits.TTL_MAX`, or `unknown` is
            neither of the two.
    """

    active_for: timedelta = limits.VISIT_ACTIVE_FOR
    retention: timedelta = limits.VISIT_RETENTION
    precision: timedelta = limits.VISIT_PRECISION
    idle: timedelta = limits.VISIT_IDLE
    longest: timedelta = limits.VISIT_LONGEST
    unknown: Literal["create", "refuse"] = "create"

    def __post_init__(self) -> None:
        """Check each."""
        for name in ("active_for", "retention", "precision", "idle", "longest"):
            if not limits.VISIT_PRECISION_MIN <= getattr(self, name) <= limits.TTL_MAX:
                raise InvalidError(name, f"it lies from {limits.VISIT_PRECISION_MIN} to {limits.TTL_MAX}")
        if self.unknown not in {"create", "refuse"}:
            raise InvalidError("unknown", 'it is "create" or "refuse"')

    def after(self, duration: timedelta) -> Now:
        """The instant so long after now, rounded up to a step: the commonest ttl and rank here."""
        return Now(duration // timedelta(milliseconds=1), self.precision // timedelta(milliseconds=1))


def visitor_of(foreign: str) -> str:
    """Return the visitor's id for what a browser presents, which is its secret: a hash, so that no listing shows it.

    Raises:
        InvalidError: it is not 22 to 128 letters, digits, `_`, `.` or `-`.
    """
    if _FOREIGN.fullmatch(foreign) is None:
        raise InvalidError("visitor", "an id is 22 to 128 of A-Z a-z 0-9 _ . -")
    return hashlib.blake2b(foreign.encode(), digest_size=16, person=b"sojourn visitor").hexdigest()


def checked(name: str, value: object, chars: int) -> str:
    """Return a name that comes from outside.

    Raises:
        InvalidError: it is empty, or has characters that cannot be printed.
        LimitError: it has more than so many characters.
    """
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidError(name, "it is text of at least one character, all of which can be printed")
    if len(value) > chars:
        raise LimitError(name, limit=chars, found=len(value), unit="characters")
    return value


def checked_whole(name: str, value: object) -> int:
    """Return a whole number that comes from outside; what JSON writes in another way could not be read back as one.

    Raises:
        InvalidError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidError(name, "it is a whole number")
    return value


def checked_visitor(anonymous_id: str) -> str:
    """Return the id, if it can be a visitor's.

    Raises:
        InvalidError: it is empty, or has characters that cannot be printed.
        LimitError: it is longer than `limits.VISITOR_CHARS`.
    """
    return checked("anonymous_id", anonymous_id, limits.VISITOR_CHARS)


def checked_action(action: str, resource_id: str | None) -> None:
    """Let the names of an action pass.

    Raises:
        InvalidError: one is empty, or has characters that cannot be printed.
        LimitError: one is too long.
    """
    checked("action", action, limits.ACTION_CHARS)
    if resource_id is not None:
        checked("resource_id", resource_id, limits.RESOURCE_CHARS)


def checked_batch(batch: Batch) -> None:
    """Let a batch pass, apart from what its actions say.

    Raises:
        InvalidError: the client is empty or cannot be printed, a number is not whole, or the sequences do not grow.
        LimitError: the client is too long, or there are too many actions.
    """
    checked("client", batch.client, limits.VISITOR_CHARS)
    checked_whole("sent_at", batch.sent_at)
    if len(batch.actions) > limits.ACTION_BATCH:
        raise LimitError("actions", limit=limits.ACTION_BATCH, found=len(batch.actions), unit="actions of a batch")
    sequences = [checked_whole("sequence", action.sequence) for action in batch.actions]
    for before, sequence in itertools.pairwise((-1, *sequences)):
        if not before < sequence <= limits.RANK_MAX:
            raise InvalidError("sequence", f"it grows from action to action, from 0 to {limits.RANK_MAX}")


def checked_metadata(metadata: Mapping[str, Any] | msgspec.Raw | UnsetType | None) -> msgspec.Raw | UnsetType:
    """Return an action's metadata as JSON text, or nothing where there is none.

    Raises:
        InvalidError: it is no JSON object, has a NaN or bytes in it, or is nested too deeply.
        LimitError: it is longer than `limits.METADATA_BYTES`.
    """
    given = _decoded("metadata", metadata, limits.METADATA_BYTES)
    if given is None or given is UNSET:
        return UNSET
    if not isinstance(given, Mapping):
        raise InvalidError("metadata", "it is an object of names and values")
    return _encoded("metadata", dict(cast("Mapping[str, Any]", given)), limits.METADATA_BYTES)


def checked_data(data: object) -> msgspec.Raw:
    """Return what a member of a room shows of itself as JSON text.

    Raises:
        InvalidError: it has a NaN or bytes in it, or is nested too deeply.
        LimitError: it is longer than `limits.ROOM_DATA_BYTES`.
    """
    return _encoded("data", _decoded("data", data, limits.ROOM_DATA_BYTES), limits.ROOM_DATA_BYTES)


def _decoded(name: str, value: object, most: int) -> object:
    if not isinstance(value, msgspec.Raw):
        return value
    _check_bytes(name, len(bytes(value)), most)
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidError(name, "it is no JSON text") from error


def _encoded(name: str, plain: object, most: int) -> msgspec.Raw:
    check_plain(name, plain, limits.METADATA_DEPTH)
    try:
        text = _JSON.dump(plain)
    except InvalidError as error:
        raise InvalidError(name, error.problem) from error
    _check_bytes(name, len(text), most)
    return msgspec.Raw(text)


def _check_bytes(name: str, found: int, most: int) -> None:
    if found > most:
        raise LimitError(name, limit=most, found=found, unit="bytes")
