"""The scheduled calls and crons of an application: what runs them, and what becomes of them.

await bound.schedules.run()                                 # `sojourn.server.App` does

found = await bound.schedules.get(scheduled_id)             # None when it is forgotten, or was never scheduled
await bound.schedules.cancel(scheduled_id)
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, SojournError
from sojourn.functions import layout
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.crons import Crons
from sojourn.functions.scheduling.host import Host
from sojourn.functions.scheduling.model import CronState, Scheduled
from sojourn.functions.scheduling.running import Runs
from sojourn.functions.scheduling.stored import Due
from sojourn.functions.scheduling.ticking import Ticker
from sojourn.kernel import Reads
from sojourn.kernel.due import Claimed, DueWorker

__all__ = ["Schedules"]

_log = logging.getLogger(__name__)

_DUE: Final = msgspec.json.Decoder(Due)


class Schedules:
    """Runs what is due in one store; other processes may do the same. The database's clock decides what is due."""

    def __init__(self, host: Host, crons: Crons) -> None:
        self._store = host.store
        self._runs = Runs(host)
        self._ticker = Ticker(host.store, crons)
        self._workers = (
            DueWorker(host.store, layout.DUE, self._perform),
            # Apart, so that an action which waits for others to end holds up nothing else.
            DueWorker(host.store, layout.BEGIN, self._runs.action),
        )

    async def run(self) -> None:
        """Run calls as they fall due, until cancelled. Actions that have begun go on until the store is closed."""
        await self._attend()
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.run())
            tasks.create_task(self._attend_forever())

    async def step(self) -> float:
        """Run what is due by now, at most a page of it; return the seconds until there may be something to do.

        Actions have begun after that, and go on; see `settle`.

        Raises:
            UnavailableError: the store could not be reached.
        """
        await self._ticker.attend()
        return min([await worker.step() for worker in self._workers])

    async def settle(self) -> None:
        """Wait until no action that was begun here is running."""
        await self._runs.settle()

    async def get(self, scheduled_id: str) -> Scheduled | None:
        """Return a scheduled call; None when there was none, or it was over more than `limits.SCHEDULED_KEEP` ago.

        Raises:
            UnavailableError: the store could not be reached.
        """
        call = stored.key_of(scheduled_id)
        if call is None:
            return None
        (record,) = (await self._store.read(Reads((call,)))).records.keys
        return None if record is None else stored.scheduled_of(call, stored.decode(record.value))

    async def cancel(self, scheduled_id: str) -> bool:
        """Cancel a scheduled call, as `Scheduler.cancel` does.

        Raises:
            SojournError: as for any commit.
        """
        call = stored.key_of(scheduled_id)
        return call is not None and await self._store.run(lambda tx: stored.cancel(tx, call))

    async def crons(self) -> tuple[CronState, ...]:
        """Return all crons of the store, in the order of their names.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._ticker.states()

    async def _perform(self, claimed: Claimed) -> None:
        try:
            due = _DUE.decode(claimed.payload)
        except (msgspec.DecodeError, ValueError) as error:
            raise CorruptError("a timer of scheduled calls cannot be read") from error
        match due:
            case Due.MUTATION:
                await self._runs.mutation(claimed)
            case Due.ACTION:
                await self._runs.action(claimed)
            case Due.DEADLINE:
                await self._runs.deadline(claimed)
            case Due.TICK:
                await self._ticker.tick(claimed)

    async def _attend_forever(self) -> None:
        while True:
            await self._store.clock.sleep(limits.CRON_SEEN.total_seconds() / 2)
            await self._attend()

    async def _attend(self) -> None:
        """Attend to the crons, when the store is there again."""
        while True:
            try:
                await self._ticker.attend()
            except SojournError as error:
                _log.warning("crons wait for the store: %s", error)
                await self._store.clock.sleep(limits.DUE_POLL.total_seconds())
            else:
                return
