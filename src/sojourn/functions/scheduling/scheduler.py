"""Scheduling a call from within a function: `ctx.scheduler`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError, RefusedError
from sojourn.functions import layout
from sojourn.functions.model import Function, Kind
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.model import ScheduledId, ScheduledState
from sojourn.functions.scheduling.stored import Entry
from sojourn.kernel import Attempt, Key, Reads, Store, ids
from sojourn.sessions import SessionId

__all__ = ["RUNNING", "Running", "Scheduler", "Within"]

P = ParamSpec("P")
T = TypeVar("T")

_MS: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Within(Protocol):
    """Does work as part of a transaction: of a mutation's, or of one of its own."""

    async def __call__(self, work: Callable[[Attempt], Awaitable[T]], /) -> T:
        """Do the work, and return what it returns."""
        ...


class Running(NamedTuple):
    """The scheduled action that is running: it schedules nothing more once it is over."""

    call: Key
    store: Store

    async def check(self, tx: Attempt, partition: str) -> None:
        """Refuse to schedule for an action that was cancelled, or has taken too long.

        Raises:
            RefusedError: it was, or has.
            UnavailableError: the store could not be reached.
        """
        if partition == self.call.partition or self.store.describe().cross_partition:
            record = await tx.get(self.call)  # and the commit holds only if it still is so
        else:
            (record,) = (await self.store.read(Reads((self.call,)))).records.keys
        if record is None or stored.decode(record.value).state is not ScheduledState.IN_PROGRESS:
            raise RefusedError("the scheduled action that runs was cancelled, or is over: it schedules nothing more")


RUNNING: Final[ContextVar[Running | None]] = ContextVar("RUNNING", default=None)
"""The scheduled action that the caller runs in, also by way of what it has called."""


class Scheduler:
    """Schedules calls. For a mutation they come to be with its commit, for an action at once, whatever becomes of it.

    A scheduled mutation runs exactly once: its writes and what is known of it are one commit. One that raises has
    failed, and is not tried again. A scheduled action runs at most once, since nobody can tell how far one came whose
    process has died. Both run for the session that scheduled them, where they take one, and nobody's caller: what they
    may do must not depend on who asked once.
    """

    def __init__(
        self,
        within: Within,
        session_id: SessionId | None,
        now: datetime,
        *,
        partition: str | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._within = within
        self._session_id = session_id
        self._now = now
        self._partition = partition or session_id or ids.new().hex()
        self._numbers = numbers or count(1)

    @classmethod
    def of(cls, tx: Attempt, session_id: SessionId | None, now: datetime, partition: str | None) -> Scheduler:
        """Return the scheduler of a mutation's attempt. Without a session its calls stand in this partition."""

        async def within(work: Callable[[Attempt], Awaitable[T]], /) -> T:
            return await work(tx)

        return cls(within, session_id, now, partition=session_id or partition)

    def beside(self, partition: str) -> Scheduler:
        """Return one whose calls stand in this partition.

        On a cluster a mutation without a session that writes to one partition schedules beside it; elsewhere there is
        no need.
        """
        return Scheduler(self._within, self._session_id, self._now, partition=partition, numbers=self._numbers)

    def sessionless(self) -> Scheduler:
        """Return one that schedules for no session, with the same commit and in the same place."""
        return Scheduler(self._within, None, self._now, partition=self._partition, numbers=self._numbers)

    async def run_after(
        self, delay: timedelta, function: Function[P, object], /, *consumed: P.args, **arguments: P.kwargs
    ) -> ScheduledId:
        """Have a mutation or an action run when so much time has passed, and return the id of that call.

        What its layers consume comes first, then its keywords. In an action, an error of the store leaves open whether
        it was scheduled where it says so.

        Raises:
            InvalidError: the delay is no duration, negative, or longer than `limits.SCHEDULE_RANGE`; the function is a
                query, takes a session where there is none, or does not take the arguments; nothing was scheduled.
            LimitError: this call has scheduled `limits.SCHEDULED_CALLS`, or the arguments are too long.
            RefusedError: this is a scheduled action that was cancelled.
            SojournError: in an action, as for any commit.
        """
        given = cast("object", delay)
        if not isinstance(given, timedelta) or given < timedelta():
            raise InvalidError("delay", "it is a timedelta, from 0 on")
        _check_range("delay", delay)
        delay_ms = -(-delay // _MS)
        return await self._schedule(lambda now: now + delay_ms, function, consumed, arguments)

    async def run_at(
        self, at: datetime, function: Function[P, object], /, *consumed: P.args, **arguments: P.kwargs
    ) -> ScheduledId:
        """Have a mutation or an action run at an instant, or at once if that is past; else as `run_after`.

        Raises:
            InvalidError: the instant has no time zone, or is further from now than `limits.SCHEDULE_RANGE`, in the past
                too; or as for `run_after`.
            LimitError: as for `run_after`.
            RefusedError: this is a scheduled action that was cancelled.
            SojournError: in an action, as for any commit.
        """
        given = cast("object", at)
        if not isinstance(given, datetime) or given.utcoffset() is None:
            raise InvalidError("at", "it is a datetime with a time zone; 12:00 is many instants")
        _check_range("at", abs(at - self._now))
        at_ms = -(-(at - _EPOCH) // _MS)
        return await self._schedule(lambda _: at_ms, function, consumed, arguments)

    async def cancel(self, scheduled_id: str) -> bool:
        """Cancel a scheduled call, and say whether there was one to cancel.

        One that was pending never runs. An action that was running goes on, but schedules nothing more, and what it
        returns is not kept. Within a mutation this holds if that commits.

        Raises:
            CapabilityError: on a cluster, where the call stands elsewhere than what this mutation writes.
            UnavailableError: the store could not be reached.
        """
        call = stored.key_of(scheduled_id)
        return call is not None and await self._within(lambda tx: stored.cancel(tx, call))

    async def _schedule(
        self,
        due_at: Callable[[int], int],
        function: Function[..., object],
        consumed: Sequence[object],
        arguments: Mapping[str, Any],
    ) -> ScheduledId:
        if function.kind is Kind.QUERY:
            raise InvalidError("function", f"{function.name} is a query: nobody would see its result")
        if function.takes_session and self._session_id is None:
            raise InvalidError("function", f"{function.name} runs for a session, and this call is for none")
        text = function.signature.encode(arguments, consumed)
        function.signature.check(text)
        if next(self._numbers) > limits.SCHEDULED_CALLS:
            most = limits.SCHEDULED_CALLS
            raise LimitError("scheduled calls", limit=most, found=most + 1, unit="calls")
        call = layout.scheduled(self._partition, ids.new().hex())
        session_id = self._session_id if function.takes_session else None
        running = RUNNING.get()

        async def schedule(tx: Attempt) -> None:
            if running is not None:
                await running.check(tx, call.partition)
            at = due_at(await tx.now())
            entry = Entry(function.name, function.kind, at, session_id, msgspec.Raw(text))
            tx.write(*stored.scheduling(call, entry))

        await self._within(schedule)
        return stored.id_of(call)


def _check_range(name: str, distance: timedelta) -> None:
    if distance > limits.SCHEDULE_RANGE:
        raise InvalidError(name, f"it is at most {limits.SCHEDULE_RANGE.days} days from now")
