"""Callers that use a store hard, and write down what they were told; and the comparison of that with what is there.

Whatever befell the database, what was acknowledged is there, once; what was told not to have been written is not; what
was left open is there whole, or not at all.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from sojourn.errors import CommitUnknownError, ConflictError, UnavailableError
from sojourn.kernel import Store, ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.clock import SystemClock
from sojourn.kernel.keys import Key, Span
from sojourn.kernel.subscriptions import Changed
from sojourn.kernel.transaction import Append, Put, Reads, Transaction

WRITERS: Final = 6
COUNTERS: Final = 2
READERS: Final = 2
SPACE, PARTITION = "failures", "home"
COUNTER: Final = Key(SPACE, "counter", "")
RECORDS: Final = Span(SPACE, PARTITION, "record/", "record0")
LOG: Final = Span(SPACE, PARTITION, "log/", "log0")
_PAUSE_S: Final = 0.005
"""How long a caller waits who was told to wait and try again."""
_REPEATED: Final = 40
"""How many of the acknowledged transactions are sent again in the end."""


class ViolationError(Exception):
    """A promise was broken; the message says which, and by what."""


class Told(NamedTuple):
    """A transaction that was acknowledged, with its revision."""

    transaction: Transaction
    revision: int


class Sums(msgspec.Struct, frozen=True):
    """What happened, in numbers: transactions, looks and gaps, open connections, and the slowest return to work."""

    acknowledged: int = 0
    not_written: int = 0
    unknown: int = 0
    counted: int = 0
    reads: int = 0
    gaps: int = 0
    lost: int = 0
    connections: int = 0
    recovery_s: float = 0.0


class Load:
    """Callers of two stores over one database: one is written to, the other reads and watches.

    `chance` decides who gives up when an answer is lost, and who sends the same transaction again until it is known.
    """

    def __init__(self, writing: Store, watching: Store, chance: random.Random) -> None:
        self.acknowledged: dict[str, Told] = {}
        self.not_written: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.told_unknown = 0
        self.counted: list[int] = []
        self.perhaps_counted = 0
        self.seen: set[Key] = set()
        self.gaps = 0
        self.reads = 0
        self.wrong: list[str] = []
        self.is_durable = writing.describe().durable
        self._writing = writing
        self._watching = watching
        self._chance = chance
        self._clock = SystemClock()
        self._stopped = False
        self._lasting = 0
        self._told = asyncio.Condition()
        self._failures: Counter[str] = Counter()
        self._callers: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    # -- The callers -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; whoever watches does so before the first is written."""
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._watch(ready)))
        await ready.wait()
        callers: dict[str, Coroutine[Any, Any, None]] = {
            **{name: self._write(name) for name in _names("writer", WRITERS)},
            **{name: self._count(name) for name in _names("counter", COUNTERS)},
            **{name: self._look(name) for name in _names("reader", READERS)},
        }
        self._callers = [*callers]
        self._tasks += [asyncio.create_task(work, name=name) for name, work in callers.items()]

    async def stop(self) -> None:
        """Let everybody finish what is in hand, and the watcher see all that was acknowledged."""
        self._stopped = True
        _, *others = self._tasks
        await asyncio.gather(*others)
        await self.until(lambda: not self.unseen())
        await self.end()

    async def end(self) -> None:
        """End everybody at once; ending twice is harmless."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reaches(self, more: int) -> None:
        """Wait until so many more transactions have been acknowledged, and each counter and reader is at it again."""
        goal = len(self.acknowledged) + more
        counted, reads = len(self.counted) + COUNTERS, self.reads + READERS
        await self.until(
            lambda: len(self.acknowledged) >= goal and len(self.counted) >= counted and self.reads >= reads
        )

    async def all_failed(self) -> None:
        """Wait until every caller has been told of a failure since now: nobody waits for an answer of before."""
        before = self._failures.copy()
        await self.until(lambda: all(self._failures[name] > before[name] for name in self._callers))

    def recovered(self) -> None:
        """Take note that the database is back: one that loses what it acknowledged loses nothing from here on."""
        if not self.is_durable:
            self._lasting = len(self.acknowledged)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds that what the callers are told can make true; a caller that ended ends this."""
        async with self._told:
            await self._told.wait_for(lambda: holds() or any(_failed(task) for task in self._tasks))
        for task in self._tasks:
            if _failed(task):
                task.result()

    def lasting(self) -> list[str]:
        """Return what was acknowledged and must be there for good."""
        return list(self.acknowledged)[self._lasting :]

    def unseen(self) -> list[str]:
        """Return what lasts and was neither shown to the watcher nor found by it when it looked again after a gap."""
        return [name for name in self.lasting() if key_of(name) not in self.seen]

    async def _write(self, caller: str) -> None:
        number = 0
        while not self._stopped:
            name = f"{caller}-{number:06}"
            number += 1
            transaction = pair(name)
            try:
                await self._commit(name, transaction)
            except UnavailableError as error:
                self.not_written[name] = str(error)
                await self._failed(caller)
            except CommitUnknownError:
                self.unknown.add(name)
                self.told_unknown += 1
                await self._failed(caller)
                if self._chance.random() < 1 / 2:
                    await self._settle(caller, name, transaction)

    async def _settle(self, caller: str, name: str, transaction: Transaction) -> None:
        """Send a transaction again whose answer was lost, until there is one."""
        while not self._stopped:
            try:
                await self._commit(name, transaction)
            except (UnavailableError, CommitUnknownError):
                await self._failed(caller)
            else:
                self.unknown.discard(name)
                return

    async def _commit(self, name: str, transaction: Transaction) -> None:
        done = await self._writing.commit(transaction)
        assert done.revision is not None
        self.acknowledged[name] = Told(transaction, done.revision)
        await self._tell()

    async def _count(self, caller: str) -> None:
        while not self._stopped:
            try:
                self.counted.append(await self._writing.run(_increment))
                await self._tell()
            except (UnavailableError, ConflictError):
                await self._failed(caller)
            except CommitUnknownError:
                self.perhaps_counted += 1
                await self._failed(caller)

    async def _look(self, caller: str) -> None:
        """Look for what was acknowledged a moment ago, by the store that did not write it."""
        await self.until(lambda: bool(self.acknowledged))
        while not self._stopped:
            name = next(reversed(self.acknowledged))
            try:
                (record,) = (await self._watching.read(Reads(keys=(key_of(name),)))).records.keys
            except UnavailableError:
                await self._failed(caller)
                continue
            if record is None and self.is_durable:
                self.wrong.append(f"{name} was acknowledged, and a read that began afterwards did not see it")
            self.reads += 1
            await self._tell()
            await asyncio.sleep(0)  # an engine that answers within one step of the loop leaves the others their turn

    async def _watch(self, ready: asyncio.Event) -> None:
        async with self._watching.watch(RECORDS) as changes:
            ready.set()
            async for change in changes:
                if isinstance(change, Changed):
                    self.seen |= change.keys
                else:
                    self.gaps += 1
                    self.seen |= await self._all_keys()
                await self._tell()

    async def _all_keys(self) -> set[Key]:
        while True:
            try:
                return {record.key async for record in self._watching.scan(RECORDS)}
            except UnavailableError:
                await self._clock.sleep(_PAUSE_S)

    async def _failed(self, caller: str) -> None:
        self._failures[caller] += 1
        await self._tell()
        await self._clock.sleep(_PAUSE_S)

    async def _tell(self) -> None:
        async with self._told:
            self._told.notify_all()

    # -- The comparison --------------------------------------------------------------------------------------------

    async def judge(self, store: Store) -> Sums:
        """Compare what the callers were told with what the store has.

        Raises:
            ViolationError: they differ.
        """
        records = {record.key.item.removeprefix("record/") async for record in store.scan(RECORDS)}
        log = Counter([record.value.decode() async for record in store.scan(LOG)])
        (counter,) = (await store.read(Reads(keys=(COUNTER,)))).records.keys
        total = 0 if counter is None else int(counter.value)
        _none(set(self.lasting()) - records, "acknowledged, and gone")
        _none(self.wrong, "reads that did not show what was there")
        written = [f"{name} ({why})" for name, why in self.not_written.items() if name in records]
        _none(written, "said not to have been written, and there")
        _none(records - self.acknowledged.keys() - self.unknown, "there, and never sent")
        _none([name for name, times in log.items() if times > 1], "applied twice")
        _none(self._fallen_back(), "with a revision no greater than that of the writer's one before")
        _none(records ^ log.keys(), "there by half")
        _none(self.unseen(), "changes that the watcher missed, without a gap")
        if self.is_durable:
            _none([str(number) for number, times in Counter(self.counted).items() if times > 1], "counted twice")
            if not len(self.counted) <= total <= len(self.counted) + self.perhaps_counted:
                raise ViolationError(f"{len(self.counted)} counted, {self.perhaps_counted} more perhaps: {total}")
            await self._judge_repeats(store, log)
        return Sums(
            acknowledged=len(self.acknowledged),
            not_written=len(self.not_written),
            unknown=self.told_unknown + self.perhaps_counted,
            counted=total,
            reads=self.reads,
            gaps=self.gaps,
            lost=len(self.acknowledged.keys() - records),
        )

    def _fallen_back(self) -> list[str]:
        in_order = pairwise(sorted(self.acknowledged.items()))
        return [
            name
            for (before, earlier), (name, later) in in_order
            if before.split("-")[0] == name.split("-")[0] and earlier.revision >= later.revision
        ]

    async def _judge_repeats(self, store: Store, log: Counter[str]) -> None:
        """Send some of the acknowledged transactions again: each answers as before, and writes nothing."""
        names = sorted(self.acknowledged)
        for name in self._chance.sample(names, min(_REPEATED, len(names))):
            told = self.acknowledged[name]
            again = await store.commit(told.transaction)
            if (again.repeated, again.revision) != (True, told.revision):
                raise ViolationError(f"{name} was sent again and not recognised: {again}")
        if Counter([record.value.decode() async for record in store.scan(LOG)]) != log:
            raise ViolationError("a repeat was recognised and yet applied")


def pair(name: str) -> Transaction:
    """Return a transaction of two writes: a record that can be looked for, and a line that would show a second time."""
    value = name.encode()
    return Transaction(ids.new(), writes=(Put(key_of(name), value), Append(SPACE, PARTITION, "log/", value)))


def key_of(name: str) -> Key:
    return Key(SPACE, PARTITION, f"record/{name}")


async def _increment(tx: Attempt) -> int:
    record = await tx.get(COUNTER)
    number = 1 if record is None else int(record.value) + 1
    tx.put(COUNTER, b"%d" % number)
    return number


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}{number}" for number in range(count)]


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _none(wrong: Collection[str], what: str) -> None:
    if wrong:
        raise ViolationError(f"{len(wrong)} {what}: {', '.join(sorted(wrong)[:5])}")
