"""How a dialog ends: its `end` hook, its result, who is told, what is remembered; all in the commit that ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.context import Context
from sojourn.dialogs.dialog import Dialog
from sojourn.dialogs.failures import as_error, is_cancelled
from sojourn.dialogs.house import House, Moment
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import End, Ended, State
from sojourn.dialogs.performing import Following
from sojourn.dialogs.presence import within
from sojourn.dialogs.registry import Form, Registered
from sojourn.dialogs.stored import NOTHING, Closed, Row
from sojourn.errors import SojournError
from sojourn.kernel import Attempt, Store
from sojourn.kernel import clock as engine_clock

__all__ = ["Ending", "HookFailedError", "close", "unfocus"]

_log = logging.getLogger(__name__)


_PLAIN: Final = Form("result", object)


class HookFailedError(Exception):
    """A hook has failed after it had done what cannot be undone within an attempt: begin anew, without it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Ending(msgspec.Struct, frozen=True):
    """A dialog that ends with the attempt: its row, how it ended, what follows, and what its hook raised."""

    row: Row
    ended: Ended[Any]
    following: list[Following]
    error: Exception | None


async def close(  # noqa: PLR0913  what ends, why, and within what
    house: House,
    tx: Attempt,
    moment: Moment,
    end: End,
    *,
    dialog: Dialog[Any] | None,
    registered: Registered[Any] | None,
    ctx: Context,
    hook_failed: Exception | None = None,
) -> Ending:
    """End a dialog within an attempt, and call its hook, unless that has failed before.

    Raises:
        InvalidError: the result that was given cannot be stored. LimitError: it is too large.
        HookFailedError: the hook has failed, and has to be left out from the beginning.
    """
    address, row = moment.address, moment.row
    result = row.result if not end.has_result else _text(registered, end.result)
    error = hook_failed
    if dialog is not None and registered is not None:
        if not end.has_result:
            result, error = _tentative(registered, dialog, result, error)
        if hook_failed is None:
            failed = await _hooked(house, tx, ctx, dialog, end)
            if failed is None and not end.has_result:
                result, error = _tentative(registered, dialog, result, None)
            error = failed or error
    closed = Closed(end.code, end.reason, moment.now, result)
    row = msgspec.structs.replace(
        row,
        state=State.ENDED,
        data=NOTHING,
        result=NOTHING,
        extra=NOTHING,
        spill={},
        origin=ctx.origin,
        view=ctx.view,
        renders=row.renders + 1 if ctx.said.is_shown else row.renders,
        closed=closed,
    )
    tx.put(address.dialog, stored.encode(row), ttl=house.retain)
    following = house.performer.effects(address, row, ctx.said.effects)
    following += house.performer.completion(address, row)
    tx.write(*(one.put for one in following))
    value = end.result if end.has_result else None if registered is None else registered.result_of(result)
    plain = msgspec.UNSET if registered is None else value
    return Ending(row, stored.ended_of(address.dialog_id, closed, plain), following, error)


def _tentative(
    registered: Registered[Any], dialog: Dialog[Any], result: msgspec.Raw, error: Exception | None
) -> tuple[msgspec.Raw, Exception | None]:
    """Return the result that the dialog has now; where it cannot be had, what was known before, and why."""
    try:
        return registered.result_text(dialog.result), error
    except Exception as failed:  # noqa: BLE001  a property of the application's, or what it gave; it is reported
        return result, error or failed


async def _hooked(house: House, tx: Attempt, ctx: Context, dialog: Dialog[Any], end: End) -> Exception | None:
    """Call the hook; what it raises is returned, and what it did is undone."""
    ctx.phase, ctx.said.ending = Phase.END, end
    mark, said = tx.mark(), ctx.said.mark()
    promised = tx.promised
    result = end.result if end.has_result else vars(dialog).get("result")
    ended = Ended(ctx.dialog_id, end.code, end.reason, result, engine_clock.moment(ctx.now))
    try:
        async with house.limited(dialog.handler_limit):
            await within(house.store, ctx, dialog.end(ctx, ended))
    except (Exception, asyncio.CancelledError) as failed:
        if is_cancelled(failed):
            raise
        error = as_error(failed)
        if tx.promised > promised:
            raise HookFailedError(error) from failed
        tx.undo(mark)
        ctx.said.undo(said)
        return error
    return None


def _text(registered: Registered[Any] | None, result: object) -> msgspec.Raw:
    if registered is not None:
        return registered.result_text(result)
    return NOTHING if result is None else _PLAIN.dump(result)


async def unfocus(store: Store, dialog_id: str, focus: Sequence[str]) -> None:
    """Forget, after a while, whose messages a dialog took that has ended: its last one may be delivered again."""

    async def forget(tx: Attempt) -> None:
        found = await tx.get(key)
        if found is not None and found.value.decode() == dialog_id:
            tx.touch(key, ttl=limits.DIALOG_DELIVERY_KEEP)

    try:
        for who in focus:
            key = layout.focus(who)
            await store.run(forget)
    except SojournError as error:
        _log.warning("whose messages dialog %s took is remembered longer: %s", dialog_id, error)
