"""One commit for everything that waits: the batcher.

A durable commit costs a trip to the disk, however much it carries. So while one batch is in flight the next one
gathers, and it leaves as soon as the first has returned: no timer, no tuning, and a lone caller never waits for
company. Order is first in, first out. An engine that works while it is talked to takes several at a time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from sojourn import limits
from sojourn.errors import (
    CapabilityError,
    ClosedError,
    CommitUnknownError,
    OverloadedError,
    RefusedError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Answer, BatchRefusedError, Engine
from sojourn.kernel.statistics import Observer, Tally, observed
from sojourn.kernel.transaction import Committed, Outcome, Refused, Transaction

__all__ = ["Batcher"]

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    transaction: Transaction
    size: int
    outcome: asyncio.Future[Outcome]


class Batcher:
    """Sends transactions to an engine in batches. A lane has one batch in flight; there are as many as it can take."""

    def __init__(self, engine: Engine, clock: Clock, tally: Tally, observers: Sequence[Observer] = ()) -> None:
        self._commit = observed(engine.commit, observers)
        self._clock = clock
        self._tally = tally
        description = engine.describe()
        self._most_transactions = description.batch_transactions
        self._most_bytes = description.batch_bytes
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._most_lanes = description.batches
        self._lanes: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._closed = False

    async def submit(self, transaction: Transaction, size: int) -> Outcome:
        """Queue the transaction, of that many bytes, and return its outcome.

        Cancelled while it waits, it is taken out of the queue and nothing is written; cancelled in flight, it is
        applied or not.

        Raises:
            OverloadedError: too much is waiting; nothing was written.
            UnavailableError: the engine could not be reached; nothing was written.
            CommitUnknownError: the answer was lost, and so were those of the repeats.
            RefusedError: the engine refused this transaction; nothing was written.
            ClosedError: the store is closed.
        """
        if self._closed:
            raise ClosedError("the store is closed; open it before committing")
        if len(self._queue) >= limits.WAITING_TRANSACTIONS or self._queued_bytes + size > limits.WAITING_BYTES:
            self._tally.became[OverloadedError] += 1
            raise OverloadedError(f"{len(self._queue)} transactions already wait for this store; try again later")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._queue.append(_Waiting(transaction, size, outcome))
        self._queued_bytes += size
        idle = len(self._lanes) - self._in_flight
        if len(self._lanes) < self._most_lanes and len(self._queue) > idle * limits.BATCH_SHARE:
            self._lanes.add(loop.create_task(self._lane()))
        return await outcome

    @property
    def waiting(self) -> tuple[int, int]:
        """How many transactions wait, and how many bytes they have."""
        return len(self._queue), self._queued_bytes

    async def close(self) -> None:
        """Refuse what comes from now on, and wait until everything queued has its outcome."""
        self._closed = True
        if self._lanes:  # they end when nothing waits any more
            await asyncio.wait(self._lanes)

    async def _lane(self) -> None:
        """Send what waits, a share of it at a time, until nothing does."""
        try:
            while self._queue:
                share = -(-len(self._queue) // (self._most_lanes - self._in_flight))
                batch = self._take(min(max(share, limits.BATCH_SHARE), self._most_transactions))
                if batch:
                    self._in_flight += 1
                    began = self._clock.monotonic()
                    try:
                        await self._deliver(batch, unknown=False)
                    finally:
                        self._in_flight -= 1
                        self._tally.delivered(len(batch), self._clock.monotonic() - began)
        finally:
            lane = asyncio.current_task()
            assert lane is not None
            self._lanes.discard(lane)

    def _take(self, most: int) -> list[_Waiting]:
        """Take what goes into one batch; one transaction heavier than a batch goes alone."""
        batch: list[_Waiting] = []
        size = 0
        queue = self._queue
        while queue and len(batch) < most:
            waiting = queue[0]
            if batch and size + waiting.size > self._most_bytes:
                break
            queue.popleft()
            self._queued_bytes -= waiting.size
            if not waiting.outcome.done():  # done here means cancelled by its caller
                batch.append(waiting)
                size += waiting.size
        return batch

    async def _deliver(self, batch: Sequence[_Waiting], *, unknown: bool) -> None:
        """Commit the batch and hand out the outcomes; `unknown` says that an earlier answer for it was lost."""
        try:
            await self._send(batch, unknown=unknown)
        except _RefusedWhole as refusal:
            refused = refusal.batch
            if len(refused) > 1:
                middle = len(refused) // 2
                await self._deliver(refused[:middle], unknown=refusal.unknown)
                await self._deliver(refused[middle:], unknown=refusal.unknown)
            elif refusal.unknown:
                lost = f"the answer was lost, and the repeat was refused: {refusal.cause}"
                self._fail(refused, CommitUnknownError(lost))
            elif isinstance(refusal.cause, CapabilityError):
                self._fail(refused, refusal.cause)
            else:
                self._settle(refused, [Refused(str(refusal.cause))], unknown=False)
        except SojournError as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001  reported to every caller
            # An engine may not let a driver's exception out. If one does, nobody knows what was written.
            _log.exception("the engine failed in a way it does not declare")
            undeclared = f"the engine failed in a way it does not declare: {type(error).__name__}"
            self._fail(batch, CommitUnknownError(undeclared))

    async def _send(self, batch: Sequence[_Waiting], *, unknown: bool) -> None:
        """Commit, and repeat the same ids for as long as answers are lost: the batch's, or those of a part of it."""
        pause = 0.005
        for attempt in range(limits.REPEAT_ATTEMPTS):
            if attempt > 1:
                await self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
                pause = min(2 * pause, limits.REPEAT_BACKOFF_MAX.total_seconds())
            try:
                answers = await self._commit([waiting.transaction for waiting in batch])
            except CommitUnknownError:
                unknown = True
            except (BatchRefusedError, CapabilityError) as error:
                raise _RefusedWhole(error, batch, unknown=unknown) from error
            except SojournError:  # whatever it says of this attempt, it says nothing of one whose answer was lost
                if not unknown:
                    raise
            else:
                batch = self._settle(batch, answers, unknown=unknown)
                if not batch:
                    return
                unknown = True
        raise CommitUnknownError(
            f"the answer to a commit was lost, and so were those of {limits.REPEAT_ATTEMPTS - 1} repeats; "
            "read the state, or repeat the same transaction id"
        )

    def _settle(self, batch: Sequence[_Waiting], answers: Sequence[Answer], *, unknown: bool) -> list[_Waiting]:
        """Hand out the outcomes; return those whose answer is lost, also what is `unknown` and was not reached now."""
        lost: list[_Waiting] = []
        became = self._tally.became
        for waiting, answer in zip(batch, answers, strict=True):
            if not isinstance(answer, SojournError):
                became[type(answer)] += 1
                if isinstance(answer, Committed) and answer.repeated:
                    self._tally.repeated += 1
                if not waiting.outcome.done():
                    waiting.outcome.set_result(answer)
            elif unknown or isinstance(answer, CommitUnknownError):
                lost.append(waiting)
            else:
                self._fail((waiting,), answer)
        return lost

    def _fail(self, batch: Sequence[_Waiting], error: SojournError) -> None:
        for waiting in batch:
            if not waiting.outcome.done():
                self._tally.became[type(error)] += 1
                # One exception object per caller: a shared one would gather everybody's traceback.
                waiting.outcome.set_exception(_copy(error))


class _RefusedWhole(Exception):  # noqa: N818  never leaves this module
    def __init__(self, cause: BatchRefusedError | CapabilityError, batch: Sequence[_Waiting], *, unknown: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.batch = batch
        self.unknown = unknown


def _copy(error: SojournError) -> SojournError:
    kind = type(error)
    if kind in {UnavailableError, OverloadedError, CommitUnknownError, RefusedError, ClosedError}:
        copy = kind(str(error))
        copy.__cause__ = error.__cause__
        return copy
    return error
