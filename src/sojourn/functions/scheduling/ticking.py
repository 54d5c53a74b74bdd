"""How crons tick: each has a record and a timer, and each tick schedules a call, which runs like any other.

The record holds the definition, so any process ticks for all. One that defines a cron writes it when it starts, where
it is new or different, and says every minute that it is there. A cron of which nobody says that any more stops.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import LeaseLostError, UnavailableError
from sojourn.functions import layout
from sojourn.functions.model import Kind
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.crons import Cron, Crons
from sojourn.functions.scheduling.model import CronState
from sojourn.functions.scheduling.rhythm import Rhythm
from sojourn.functions.scheduling.stored import Due, Entry
from sojourn.kernel import Attempt, Now, Reads, Record, Store, ids, set_timer
from sojourn.kernel.clock import moment
from sojourn.kernel.codec import codec
from sojourn.kernel.due import Claimed

__all__ = ["Ticker"]

_log = logging.getLogger(__name__)

_SEEN_MS: Final = limits.CRON_SEEN // timedelta(milliseconds=1)


class _Entry(msgspec.Struct, frozen=True):
    """A cron as it is stored. `first` is the instant that an interval counts from, `last` the item of the last run."""

    function: str
    kind: Kind
    arguments: msgspec.Raw
    rhythm: Rhythm
    first: int
    next: int
    last: str | None = None
    skipped: int = 0

    @property
    def definition(self) -> Cron:
        return Cron(self.function, self.kind, bytes(self.arguments), self.rhythm)


_ENTRY: Final = codec(_Entry)


class Ticker:
    """Lets the crons of one store tick."""

    def __init__(self, store: Store, crons: Crons) -> None:
        self._store = store
        self._crons = crons
        self._has_started = False

    async def attend(self) -> None:
        """Say that the crons of this process are there; at its start, bring what is stored of them up to date.

        Raises:
            SojournError: as for any commit.
        """
        if any(True for _ in self._crons):
            await self._store.run(self._attend)
        self._has_started = True

    async def tick(self, claimed: Claimed) -> None:
        """Schedule a run of the cron whose timer this is, unless the last one goes on, and set the timer anew.

        Raises:
            SojournError: it is tried again.
        """
        name = layout.ticked(claimed.key)
        remark = await self._store.run(partial(self._tick, claimed, name))
        if remark is not None:
            _log.warning("cron %s: %s", name, remark)

    async def states(self) -> tuple[CronState, ...]:
        """Return all crons, in the order of their names.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return tuple([await self._state(record) async for record in self._store.scan(layout.CRONS)])

    async def _attend(self, tx: Attempt) -> None:
        await tx.fetch(layout.cron(name) for name, _ in self._crons)
        now = await tx.now()
        for name, cron in self._crons:
            record = await tx.get(layout.cron(name))
            entry = None if record is None else _ENTRY.decode(record.value)
            if entry is not None and (self._has_started or entry.definition == cron):
                # A newer one is not undone by an older process that is still there.
                tx.touch(layout.cron(name), rank=Now())
                continue
            at = cron.rhythm.first(now)
            fields = (cron.function, cron.kind, msgspec.Raw(cron.arguments), cron.rhythm, at, at)
            begun = _Entry(*fields) if entry is None else _Entry(*fields, entry.last, entry.skipped)
            tx.put(layout.cron(name), _ENTRY.encode(begun), rank=Now())
            tx.write(set_timer(layout.tick(name), Due.TICK.payload, at=at))

    async def _tick(self, claimed: Claimed, name: str, tx: Attempt) -> str | None:
        await tx.fetch((claimed.key, layout.cron(name)))
        timer, record = await tx.get(claimed.key), await tx.get(layout.cron(name))
        if timer is None or timer.revision != claimed.token:
            raise LeaseLostError("the tick was taken over, or set anew", guard=claimed.held, found=timer)
        now = await tx.now()
        if record is None or self._is_forsaken(name, record, now, claimed.failures):
            tx.write(claimed.ending)
            tx.delete(layout.cron(name))
            return "no process defines it any more; it ticks no more"
        entry = _ENTRY.decode(record.value)
        runs = await self._is_running(tx, entry)
        item = entry.last if runs else self._schedule(tx, entry, now)
        at = entry.rhythm.following(entry.first, now)
        skipped = entry.skipped + 1 if runs else 0
        changed = msgspec.structs.replace(entry, next=at, last=item, skipped=skipped)
        tx.put(layout.cron(name), _ENTRY.encode(changed), rank=record.rank)
        tx.write(set_timer(claimed.key, Due.TICK.payload, at=at))
        return f"its last run goes on, so a tick was skipped; {skipped} since it began" if runs else None

    def _is_forsaken(self, name: str, record: Record, now: int, looks: int) -> bool:
        """Say whether nobody defines a cron any more. Who has just come up after a pause of all is waited for.

        Raises:
            UnavailableError: nobody has for a while; another process may come up that does.
        """
        if name in self._crons or now - (record.rank or 0) <= _SEEN_MS:
            return False
        if looks < limits.SCHEDULED_UNKNOWN:
            raise UnavailableError(f"no process that defines the cron {name!r} is there")
        return True

    async def _is_running(self, tx: Attempt, entry: _Entry) -> bool:
        record = None if entry.last is None else await tx.get(layout.cron_call(entry.last))
        return record is not None and not stored.decode(record.value).state.is_over

    def _schedule(self, tx: Attempt, entry: _Entry, now: int) -> str:
        """Schedule a run at once; of the one before nothing is kept, or a cron each second would fill the store."""
        if entry.last is not None:
            tx.delete(layout.cron_call(entry.last))
        item = ids.new().hex()
        call = Entry(entry.function, entry.kind, now, None, entry.arguments)
        tx.write(*stored.scheduling(layout.cron_call(item), call))
        return item

    async def _state(self, record: Record) -> CronState:
        entry = _ENTRY.decode(record.value)
        last = None
        if entry.last is not None:
            call = layout.cron_call(entry.last)
            (found,) = (await self._store.read(Reads((call,)))).records.keys
            last = None if found is None else stored.scheduled_of(call, stored.decode(found.value))
        return CronState(record.key.item, entry.function, moment(entry.next), last, entry.skipped)
