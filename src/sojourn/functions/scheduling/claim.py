"""What stands behind a timer that this process has claimed."""

from __future__ import annotations

from typing import Any

from sojourn import limits
from sojourn.errors import FunctionUnknownError, LeaseLostError, UnavailableError
from sojourn.functions import layout
from sojourn.functions.model import Function
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.host import Host
from sojourn.functions.scheduling.model import ScheduledState
from sojourn.functions.scheduling.stored import Entry
from sojourn.kernel import Attempt, Key
from sojourn.kernel.due import Claimed

__all__ = ["call_of", "function_of", "standing"]


def call_of(claimed: Claimed) -> Key:
    """Return where the call of a timer stands."""
    return layout.scheduled(claimed.key.partition, claimed.key.item)


async def standing(tx: Attempt, claimed: Claimed, state: ScheduledState) -> Entry | None:
    """Return the call of a timer if it is in this state; else end the timer with this attempt.

    Raises:
        LeaseLostError: another process has claimed the timer since, or the call was cancelled.
        UnavailableError: the store could not be reached.
    """
    call = call_of(claimed)
    await tx.fetch((claimed.key, call))
    timer, record = await tx.get(claimed.key), await tx.get(call)
    if timer is None or timer.revision != claimed.token:
        raise LeaseLostError("the call was taken over, or cancelled", guard=claimed.held, found=timer)
    entry = None if record is None else stored.decode(record.value)
    if entry is not None and entry.state is state:
        return entry
    tx.write(claimed.ending)
    return None


def function_of(host: Host, entry: Entry, claimed: Claimed) -> Function[..., Any]:
    """Return the function that a call is of.

    Raises:
        UnavailableError: this process has none of this name and kind; another one may, as during a deploy.
        FunctionUnknownError: the same, and it was left to others often enough.
    """
    function = host.named(entry.function)
    if function is not None and function.kind is entry.kind:
        return function
    problem = f"there is no {entry.kind} of the name {entry.function!r}"
    if claimed.failures < limits.SCHEDULED_UNKNOWN:
        raise UnavailableError(f"{problem} in this process; another may have it")
    raise FunctionUnknownError(problem)
