"""What follows a commit, whatever led to it: effects, error handlers, events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from sojourn.dialogs.context import Context
from sojourn.dialogs.ending import unfocus
from sojourn.dialogs.events import DialogEvent, EventName
from sojourn.dialogs.failures import ErrorHandlers
from sojourn.dialogs.house import House
from sojourn.dialogs.layout import Address
from sojourn.dialogs.model import Cause, Ended, Handled
from sojourn.dialogs.performing import Following
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.stored import Row
from sojourn.kernel import Attempt, Number, Put, Transaction

__all__ = ["Done", "follow"]

Became: TypeAlias = Handled | Literal["started"]


class Done(msgspec.Struct, kw_only=True):
    """What one attempt has made of an interaction, a start or an end, and what follows when it is committed.

    `row` is the dialog, as far as it was found or changed; `value` and `rank` are what was written of one that goes on.
    `later` is written behind the commit, where an engine cannot do both at once. `is_dealt_with` says that a handler of
    errors has answered for `error`.
    """

    tx: Attempt
    outcome: Became
    row: Row | None = None
    value: bytes | None = None
    rank: Number | None = None
    cause: Cause | None = None
    ended: Ended[Any] | None = None
    error: Exception | None = None
    failed_at: ErrorHandlers | None = None
    is_dealt_with: bool = False
    ctx: Context | None = None
    following: Sequence[Following] = ()
    events: Sequence[EventName] = ()
    later: Sequence[Put] = ()

    @property
    def revision(self) -> int | None:
        """The revision of the commit; None where nothing was committed, or nobody knows."""
        return None if self.tx.outcome is None else self.tx.outcome.revision


async def follow(
    house: House, address: Address, done: Done, interaction: Interaction | None, meta: dict[str, Any]
) -> None:
    """Perform effects, tell who handles errors, and then whoever wants to know what happened."""
    if done.later and done.tx.outcome is not None:
        await house.store.commit(Transaction(writes=tuple(done.later)))
    if done.following and done.revision is not None:
        await house.performer.perform(done.following, done.revision, interaction)
    if done.ended is not None and done.row is not None and done.row.focus:
        house.store.spawn(unfocus(house.store, address.dialog_id, done.row.focus), finish=True)
    if done.failed_at is not None and done.error is not None and done.ctx is not None:
        done.is_dealt_with = await house.report(done.failed_at, done.error, done.ctx)
    house.tell(
        *(
            DialogEvent(
                name=name,
                dialog_id=address.dialog_id,
                type="" if done.row is None else done.row.type,
                revision=done.revision,
                interaction=interaction,
                ended=done.ended,
                error=done.error,
                meta=meta,
            )
            for name in done.events
            if house.bus.wants(name)
        )
    )
