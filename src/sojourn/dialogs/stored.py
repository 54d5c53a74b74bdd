"""What a dialog's record holds, and how it becomes bytes.

Data, result and extra are JSON text that is passed on as it is: it was checked when the handler was over, and is
decoded by whoever has the type registered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.dialogs.model import DialogInfo, Ended, Place, State, User, View
from sojourn.errors import CorruptError, InvalidError
from sojourn.kernel import Record
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import pack, problem, unpack

__all__ = ["Closed", "NOTHING", "Row", "decode", "encode", "ended_of", "info_of"]


NOTHING: Final = msgspec.Raw(b"null")
"""The JSON text of what is not there."""


class Closed(msgspec.Struct, frozen=True, array_like=True):
    """How a dialog ended, and when, in engine milliseconds."""

    code: str
    reason: str
    at: int
    result: msgspec.Raw


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One dialog.

    `created` is engine milliseconds, `ttl` milliseconds, None: it does not end by itself.
    `ttl_given` says that it was chosen for this one dialog, whatever its type says.

    `renders` counts the views that took the place of one another; `spill` holds arguments that no token had room for,
    `focus` whose messages it takes.
    """

    type: str
    version: int
    state: State
    platform: str
    owner: User
    created: int
    ttl: int | None
    ttl_given: bool
    data: msgspec.Raw
    result: msgspec.Raw = NOTHING
    page: int = 0
    stage: str | None = None
    extra: msgspec.Raw = NOTHING
    origin: Place | None = None
    view: View | None = None
    renders: int = 0
    spill: dict[str, tuple[str, ...]] = {}
    focus: tuple[str, ...] = ()
    completion: str | None = None
    closed: Closed | None = None


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Row)


def encode(row: Row) -> bytes:
    """Return the row as it is stored.

    Raises:
        InvalidError: a text in it is none, or a view's `extras` are no JSON data.
    """
    try:
        return pack(_ENCODER.encode(row))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError("dialog", f"what it shows or keeps has no JSON form: {problem(error)}") from error


def decode(record: Record) -> Row:
    """Return the row of a record.

    Raises:
        CorruptError: it is damaged, or in an unknown format.
    """
    try:
        return _DECODER.decode(unpack(record.value))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the record of dialog {record.key.item} is damaged: {problem(error)}") from error


def info_of(record: Record, row: Row, now: int) -> DialogInfo:
    """Return what is known of a dialog at this instant of the engine."""
    deadline = record.rank if record.rank is not None and record.rank < limits.RANK_MAX else None
    left = None if deadline is None else timedelta(milliseconds=max(deadline - now, 0))
    return DialogInfo(
        dialog_id=record.key.item,
        partition=record.key.partition,
        type=row.type,
        version=row.version,
        state=row.state,
        platform=row.platform,
        owner=row.owner,
        origin=row.origin,
        created=moment(row.created),
        deadline=None if deadline is None else moment(deadline),
        remaining=left,
        is_overdue=deadline is not None and deadline <= now,
        page=row.page,
        stage=row.stage,
        revision=record.revision,
        view=row.view,
        completion=row.completion,
        ended=None if row.closed is None else ended_of(record.key.item, row.closed),
    )


def ended_of(dialog_id: str, closed: Closed, result: Any = msgspec.UNSET) -> Ended[Any]:  # noqa: ANN401  of any type
    """Return how a dialog ended; its result is plain JSON data unless it is given."""
    if result is msgspec.UNSET:
        result = msgspec.json.decode(closed.result)
    return Ended(dialog_id, closed.code, closed.reason, result, datetime.fromtimestamp(closed.at / 1_000, UTC))
