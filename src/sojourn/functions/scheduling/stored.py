"""How a scheduled call is stored, and the writes that begin, change and end one."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.functions import layout
from sojourn.functions.model import Kind
from sojourn.functions.scheduling.model import Scheduled, ScheduledId, ScheduledState
from sojourn.kernel import Attempt, Key, Now, Put, Write, cancel_timer, set_timer
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import codec
from sojourn.sessions import SessionId
from sojourn.wire import Failure

__all__ = [
    "Due",
    "Entry",
    "begun",
    "cancel",
    "decode",
    "encode",
    "ended",
    "id_of",
    "key_of",
    "scheduled_of",
    "scheduling",
]

_ID: Final = re.compile(r"(.+)\.([0-9a-f]{32})", re.ASCII | re.DOTALL)
_MS: Final = timedelta(milliseconds=1)
_NO_ARGUMENTS: Final = msgspec.Raw(b"{}")
# A process that is there ends its action itself, and this comes when it is not.
_DEADLINE_MS: Final = (limits.SCHEDULED_ACTION + limits.DUE_CLAIM) // _MS


class Due(StrEnum):
    """What a timer is for."""

    MUTATION = "mutation"
    ACTION = "action"
    DEADLINE = "deadline"
    TICK = "tick"

    @property
    def payload(self) -> bytes:
        """The timer's JSON text."""
        return msgspec.json.encode(self)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A scheduled call as it is stored. Arguments are kept until it has begun.

    `place` is where a mutation writes that cannot do so beside this record, and `moves` how often that was elsewhere.
    """

    function: str
    kind: Kind
    due_at: int
    session: SessionId | None = None
    arguments: msgspec.Raw = _NO_ARGUMENTS
    state: ScheduledState = ScheduledState.PENDING
    started_at: int | None = None
    ended_at: int | None = None
    result: msgspec.Raw | UnsetType = UNSET
    error: Failure | None = None
    place: str | None = None
    moves: int = 0


_ENTRY: Final = codec(Entry)
_PLAIN: Final = msgspec.json.Decoder[Any]()


def decode(value: bytes) -> Entry:
    """Return the call whose record this is the value of.

    Raises:
        CorruptError: it is none.
    """
    return _ENTRY.decode(value)


def encode(entry: Entry) -> bytes:
    """Return a call as the value of its record.

    Raises:
        InvalidError: the error's data has no JSON form.
        LimitError: it is too long.
    """
    return _ENTRY.encode(entry)


def id_of(call: Key) -> ScheduledId:
    """Return the public id of the call at this key."""
    return ScheduledId(f"{call.partition}.{call.item}")


def key_of(scheduled_id: str) -> Key | None:
    """Return where the call of this id stands; None: no call has such an id."""
    match = _ID.fullmatch(scheduled_id)
    return layout.scheduled(match[1], match[2]) if match is not None and _is_partition(match[1]) else None


def scheduled_of(call: Key, entry: Entry) -> Scheduled:
    """Return what is public of a call."""
    return Scheduled(
        id_of(call),
        entry.function,
        entry.session,
        entry.state,
        moment(entry.due_at),
        None if entry.started_at is None else moment(entry.started_at),
        None if entry.ended_at is None else moment(entry.ended_at),
        None if entry.result is UNSET else _PLAIN.decode(entry.result),
        entry.error,
    )


def scheduling(call: Key, entry: Entry) -> tuple[Write, ...]:
    """Return the writes that schedule a call."""
    return Put(call, encode(entry)), set_timer(_timer(call, entry), Due(entry.kind.value).payload, at=entry.due_at)


def begun(call: Key, entry: Entry, now: int) -> tuple[Write, ...]:
    """Return the writes that begin an action, which nobody does again, and set its deadline."""
    running = msgspec.structs.replace(entry, arguments=_NO_ARGUMENTS, state=ScheduledState.IN_PROGRESS, started_at=now)
    deadline = set_timer(layout.due(call), Due.DEADLINE.payload, at=Now(_DEADLINE_MS))
    return Put(call, encode(running)), cancel_timer(_timer(call, entry)), deadline


def ended(
    call: Key,
    entry: Entry,
    now: int,
    state: ScheduledState,
    *,
    result: bytes | None = None,
    error: Failure | None = None,
) -> tuple[Write, ...]:
    """Return the writes that end a call, and its timer; for a while it is known what became of it.

    Raises:
        InvalidError: the error's data has no JSON form.
        LimitError: it is too long.
    """
    over = msgspec.structs.replace(
        entry,
        arguments=_NO_ARGUMENTS,
        state=state,
        started_at=entry.started_at if entry.started_at is not None or state is ScheduledState.CANCELED else now,
        ended_at=now,
        result=UNSET if result is None else msgspec.Raw(result),
        error=error,
    )
    return Put(call, encode(over), ttl=limits.SCHEDULED_KEEP), cancel_timer(_timer(call, entry))


async def cancel(tx: Attempt, call: Key) -> bool:
    """Cancel a call that is not over, in this attempt; say whether there was one.

    Raises:
        UnavailableError: the store could not be reached.
    """
    record = await tx.get(call)
    entry = None if record is None else decode(record.value)
    # Of one that writes elsewhere the writes may be there already.
    if entry is None or entry.state.is_over or entry.place is not None:
        return False
    tx.write(*ended(call, entry, await tx.now(), ScheduledState.CANCELED))
    return True


def _is_partition(text: str) -> bool:
    """Say whether this can be one. Ids come from browsers, so whatever they hold is no error."""
    try:
        return "\0" not in text and len(text.encode()) <= limits.PARTITION_BYTES
    except UnicodeEncodeError:
        return False


def _timer(call: Key, entry: Entry) -> Key:
    """The timer of a call that is not over."""
    is_waiting = entry.kind is Kind.ACTION and entry.state is ScheduledState.PENDING
    return layout.begin(call) if is_waiting else layout.due(call)
