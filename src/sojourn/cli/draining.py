"""`sojourn drain`: have documents handed over before a deploy, and wait until they are."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from sojourn import limits
from sojourn.cli import output
from sojourn.cli.document_rows import Drained, HeldRow
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.stores import shown, within
from sojourn.documents.archive import Archive, names
from sojourn.documents.layout import Place, Spaces
from sojourn.documents.model import checked_name
from sojourn.errors import InvalidError
from sojourn.kernel import Changed, Key, LeaseInfo, Leases, Reads, Space, Store
from sojourn.kernel.clock import moment
from sojourn.kernel.waiting import first_of

__all__ = ["Held", "drain", "hand_over", "held"]

_COLUMNS: Final = (
    Column("name"),
    Column("key"),
    Column("held by", cut=True),
    Column("since", right=True),
    Column("lease ends", right=True),
)


class Held(msgspec.Struct, frozen=True):
    """A document that somebody holds."""

    place: Place
    lease: LeaseInfo


def drain(
    url: str | None, name: str | None, *, holder: str | None, timeout: float | None, yes: bool, as_json: bool
) -> int:
    """Ask the holders of documents to hand them over, print what became of it, and return 1 if some remain."""
    if name is not None:
        checked_name(name)
    patience = limits.DRAIN_PATIENCE.total_seconds() if timeout is None else timeout
    if not 0 <= patience <= limits.TTL_MAX.total_seconds():
        raise InvalidError("timeout", f"it is a number of seconds from 0 to {limits.TTL_MAX // timedelta(seconds=1)}")
    if not yes:
        count = len(within(url, lambda store: held(store, name, holder)))
        if count:
            confirm("drain", f"Have {_counted(count)} in {shown(url or '')} handed over by whoever holds it?")

    async def work(store: Store) -> tuple[tuple[Held, ...], tuple[Held, ...], datetime]:
        asked = await held(store, name, holder)
        remaining = await hand_over(store, asked, patience)
        left = {each.place for each in remaining}
        now = moment((await store.read(Reads())).now)
        return tuple(each for each in asked if each.place not in left), remaining, now

    handed_over, remaining, now = within(url, work)
    if as_json:
        output.document(Drained(tuple(map(_row, handed_over)), tuple(map(_row, remaining))))
    elif handed_over or remaining:
        _print(handed_over, remaining, now)
    else:
        output.line(_nobody(name, holder))
    return 1 if remaining else 0


async def held(store: Store, name: str | None, holder: str | None) -> tuple[Held, ...]:
    """Return the documents of a name, or of every one, that somebody holds whose name contains `holder`.

    Raises:
        UnavailableError: the store could not be reached.
    """
    return tuple(
        [
            Held(Place(each, key, partition), lease)
            for each in ([name] if name is not None else await names(store))
            async for key, partition, lease in Archive(store, each).leases(limits.PAGE_MAX)
            if holder is None or holder in lease.holder
        ]
    )


async def hand_over(store: Store, asked: Collection[Held], patience: float) -> tuple[Held, ...]:
    """Ask for these documents and wait up to so many seconds until each was given back; return those that were not.

    A lease that ends because its holder is gone counts as given back. Who gets a document then is not asked.

    Raises:
        UnavailableError: the store could not be reached; some may have been asked for.
    """
    waiting = _Waiting(store, asked)
    deadline = store.clock.monotonic() + patience
    async with store.watch(*{Space(Spaces(each.place.name).leases) for each in asked}) as changes:
        await waiting.ask()
        look: Collection[Key] = tuple(waiting.left)
        while True:
            until_end = await waiting.look(look)
            rest = deadline - store.clock.monotonic()
            if not waiting.left or rest <= 0:
                return tuple(waiting.left.values())
            change = await first_of(anext(changes), store.clock.sleep(min(rest, until_end)))
            look = waiting.left.keys() & change.keys if isinstance(change, Changed) else tuple(waiting.left)


class _Waiting:
    """The documents that were not given back so far, by their leases."""

    def __init__(self, store: Store, asked: Collection[Held]) -> None:
        self.left = {each.place.lease: each for each in asked}
        self._store = store
        self._leases = Leases(store)

    async def ask(self) -> None:
        """Ask whoever holds one of them to hand it over."""
        keys = iter(tuple(self.left))
        while some := tuple(islice(keys, limits.PAGE)):
            await asyncio.gather(*(self._leases.ask(key, holder="sojourn drain") for key in some))

    async def look(self, keys: Collection[Key]) -> float:
        """Read these leases, forget those given back, and return the seconds until the next would end by itself."""
        rest = iter(keys)
        while True:
            some = tuple(islice(rest, limits.TRANSACTION_READS))
            snapshot = await self._store.read(Reads(some))
            for key, record in zip(some, snapshot.records.keys, strict=True):
                before = self.left[key]
                if record is None or record.revision != before.lease.token:
                    del self.left[key]
                else:
                    self.left[key] = Held(before.place, LeaseInfo.of(record))
            if len(some) < limits.TRANSACTION_READS:
                ends = min((each.lease.expires_at for each in self.left.values()), default=snapshot.now)
                return (ends - snapshot.now) / 1_000


def _row(each: Held) -> HeldRow:
    place, lease = each.place, each.lease
    since, until = moment(lease.since), moment(lease.expires_at)
    return HeldRow(place.name, place.key, place.partition, lease.holder, since, until)


def _print(handed_over: Collection[Held], remaining: Collection[Held], now: datetime) -> None:
    if handed_over:
        output.line(f"{_counted(len(handed_over))} handed over")
    if remaining:
        output.line(f"{_counted(len(remaining))} not handed over in time:")
        output.table(_COLUMNS, [_cells(_row(each), now) for each in remaining])


def _nobody(name: str | None, holder: str | None) -> str:
    """Say that there is nothing to hand over, and among what it was looked for: a misspelt holder looks the same."""
    who = "nobody" if holder is None else f"no holder whose name contains {holder!r}"
    return f"{who} holds a document" if name is None else f"{who} holds a document of {name}"


def _cells(row: HeldRow, now: datetime) -> tuple[str, ...]:
    return row.name, row.key, row.holder, output.distance(now, row.since), output.distance(now, row.expires_at)


def _counted(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"
