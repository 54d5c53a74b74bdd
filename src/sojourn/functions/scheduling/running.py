"""Running a scheduled call that is due, and ending one that has taken too long.

A mutation is one commit with what is known of it and with the end of its timer, so whoever claimed the timer since, or
cancelled the call, makes that commit fail. Where an engine cannot commit over partitions, `apart` takes two. An action
is begun by a commit that takes its timer away, so nobody begins it again, and sets another for when it is overdue.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sojourn import limits
from sojourn.errors import (
    CallTimeoutError,
    CommitUnknownError,
    ConflictError,
    FunctionUnknownError,
    InvalidError,
    LimitError,
    UnavailableError,
)
from sojourn.functions.model import Function
from sojourn.functions.performing import FollowUp, follow_up
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.apart import Apart
from sojourn.functions.scheduling.claim import call_of, function_of, standing
from sojourn.functions.scheduling.host import Host, in_time
from sojourn.functions.scheduling.model import ScheduledState
from sojourn.functions.scheduling.scheduler import RUNNING, Running
from sojourn.functions.scheduling.stored import Entry
from sojourn.kernel import Attempt, Key
from sojourn.kernel.codec import codec
from sojourn.kernel.due import Claimed
from sojourn.wire import Failure, failure_of

__all__ = ["Runs"]

_log = logging.getLogger(__name__)

_FAILURE: Final = codec(Failure)
_AGAIN: Final = (ConflictError, UnavailableError, CommitUnknownError)


class Runs:
    """Runs the calls of one application as they fall due."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._store = host.store
        self._apart = Apart(host)
        self._slots = asyncio.Semaphore(limits.SCHEDULED_ACTIONS)
        self._running = set[asyncio.Task[None]]()

    async def mutation(self, claimed: Claimed) -> None:
        """Run a mutation that is due, exactly once.

        Raises:
            SojournError: it is to be tried again.
        """
        try:
            later = await self._mutate(claimed, secrets.token_hex(16))
        except Exception as error:
            if _is_tried_again(error, claimed.failures):
                raise
            if not await self._apart.settle(claimed):
                await self._fail(claimed, ScheduledState.PENDING, error)
        else:
            await follow_up(later)

    async def action(self, claimed: Claimed) -> None:
        """Begin an action that is due, once this process has room for it; it goes on by itself.

        Raises:
            SojournError: it was not begun, and is tried again; or nobody knows whether it was, and it is not.
        """
        await self._slots.acquire()
        try:
            begun = await self._begin(claimed)
        except BaseException:
            self._slots.release()
            raise
        if begun is None:
            self._slots.release()
            return
        task = self._store.spawn(self._act(call_of(claimed), *begun))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def deadline(self, claimed: Claimed) -> None:
        """Give up an action whose process has not ended it in time: it died, or is out of reach.

        Raises:
            SojournError: it is tried again.
        """
        error = CallTimeoutError("the process that ran it has died, or it took too long; perhaps it was done")
        await self._fail(claimed, ScheduledState.IN_PROGRESS, error)

    async def settle(self) -> None:
        """Wait for the actions that this process has begun."""
        while self._running:
            await asyncio.wait(self._running)

    async def _mutate(self, claimed: Claimed, seed: str) -> list[FollowUp]:
        if not self._store.describe().cross_partition:
            entry = await self._store.run(lambda tx: standing(tx, claimed, ScheduledState.PENDING))
            if entry is not None and entry.session is None:
                return await self._apart.mutate(claimed, seed)
        return await self._store.run(partial(self._whole, claimed, seed))

    async def _whole(self, claimed: Claimed, seed: str, tx: Attempt) -> list[FollowUp]:
        entry = await standing(tx, claimed, ScheduledState.PENDING)
        if entry is None:
            return []
        function = function_of(self._host, entry, claimed)
        work = self._host.carry_out(function, entry, claimed.key.item, seed=seed, tx=tx)
        result, later = await in_time(self._store, work, limits.CALL_TIMEOUT)
        tx.write(*stored.ended(call_of(claimed), entry, await tx.now(), ScheduledState.SUCCESS, result=result))
        return later

    async def _begin(self, claimed: Claimed) -> tuple[Entry, Function[..., Any]] | None:
        async def begin(tx: Attempt) -> tuple[Entry, Function[..., Any]] | None:
            entry = await standing(tx, claimed, ScheduledState.PENDING)
            if entry is None:
                return None
            function = function_of(self._host, entry, claimed)
            tx.write(*stored.begun(call_of(claimed), entry, await tx.now()))
            return entry, function

        try:
            return await self._store.run(begin)
        except FunctionUnknownError as error:
            await self._fail(claimed, ScheduledState.PENDING, error)
            return None

    async def _act(self, call: Key, entry: Entry, function: Function[..., Any]) -> None:
        RUNNING.set(Running(call, self._store))
        state, result, failure = ScheduledState.FAILED, None, None
        later: list[FollowUp] = []
        work = self._host.carry_out(function, entry, call.item, seed=secrets.token_hex(16))
        try:
            result, later = await in_time(self._store, work, limits.SCHEDULED_ACTION)
            state = ScheduledState.SUCCESS
        except asyncio.CancelledError:
            stopped = CommitUnknownError("the process that ran it was stopped; perhaps it was done")
            await self._end(call, state, None, _told(call, stopped), patience=timedelta())
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is told by the call's state
            failure = _told(call, error)
        await self._end(call, state, result, failure)
        await follow_up(later)

    async def _end(
        self,
        call: Key,
        state: ScheduledState,
        result: bytes | None,
        failure: Failure | None,
        *,
        patience: timedelta = limits.DUE_CLAIM,
    ) -> None:
        """Note what became of an action, unless it was cancelled or given up; try again for as long as it might be."""

        async def end(tx: Attempt) -> bool:
            record = await tx.get(call)
            entry = None if record is None else stored.decode(record.value)
            if entry is None or entry.state is not ScheduledState.IN_PROGRESS:
                return False
            tx.write(*stored.ended(call, entry, await tx.now(), state, result=result, error=failure))
            return True

        shown = stored.id_of(call)
        clock = self._store.clock
        until = clock.monotonic() + patience.total_seconds()
        while True:
            try:
                if not await self._store.run(end):
                    _log.warning("scheduled action %s ended as %s, but is over already", shown, state)
            except _AGAIN as error:
                _log.warning("what became of scheduled action %s is not noted yet: %s", shown, error)
                if clock.monotonic() >= until:
                    return  # its deadline says so
                await clock.sleep(limits.DUE_POLL.total_seconds())
            else:
                return

    async def _fail(self, claimed: Claimed, state: ScheduledState, error: Exception) -> None:
        """End the call of a timer, if it is in this state, as failed."""
        failure = _told(call_of(claimed), error)

        async def fail(tx: Attempt) -> None:
            entry = await standing(tx, claimed, state)
            if entry is not None:
                tx.write(*stored.ended(call_of(claimed), entry, await tx.now(), ScheduledState.FAILED, error=failure))

        await self._store.run(fail)


def _is_tried_again(error: Exception, failures: int) -> bool:
    if isinstance(error, CallTimeoutError):
        return failures < limits.SCHEDULED_LATE
    return isinstance(error, _AGAIN) and failures < limits.SCHEDULED_TRIES


def _told(call: Key, error: Exception) -> Failure:
    """Return what is kept of an error; the log has all of it."""
    report = secrets.token_hex(8)
    _log.error("report %s: scheduled call %s has failed", report, stored.id_of(call), exc_info=error)
    failure = failure_of(error, report)
    try:
        size = len(_FAILURE.dump(failure))
    except InvalidError as unspeakable:  # data without a JSON form is the application's mistake
        return failure_of(unspeakable, report)
    most = limits.RESULT_BYTES
    return failure if size <= most else failure_of(LimitError("error", limit=most, found=size, unit="bytes"), report)
