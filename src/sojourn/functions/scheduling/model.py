"""What a scheduled call is, and what a cron is: frozen data, no I/O."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

import msgspec

from sojourn.sessions import SessionId
from sojourn.wire import Failure

__all__ = ["CronState", "Scheduled", "ScheduledId", "ScheduledState"]

ScheduledId = NewType("ScheduledId", str)
"""The id of a scheduled call: `Schedules.get` says by it what became of the call."""


class ScheduledState(StrEnum):
    """How far a scheduled call is."""

    PENDING = "pending"
    """It has not begun, or it is a mutation that has not been committed."""
    IN_PROGRESS = "in_progress"
    """It is an action that some process has begun."""
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_over(self) -> bool:
        """Say whether nothing more will come of it."""
        return self not in {ScheduledState.PENDING, ScheduledState.IN_PROGRESS}


class Scheduled(msgspec.Struct, frozen=True):
    """A scheduled call as it stood when it was read.

    `function` is the name of what it calls, `session_id` for whom. `result` is what it returned as plain data, where it
    was a success, and `error` what went wrong where it failed, in the words that a client would hear.
    """

    id: ScheduledId
    function: str
    session_id: SessionId | None
    state: ScheduledState
    due_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    error: Failure | None = None


class CronState(msgspec.Struct, frozen=True):
    """A cron as it stood when it was read.

    `next_at` is when it is due, `last` what became of its last run, `skipped` how many ticks came since that began and
    found it running.
    """

    name: str
    function: str
    next_at: datetime
    last: Scheduled | None
    skipped: int
