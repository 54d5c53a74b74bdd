"""What the tests of live readings share: readings of keys and spans, an eye on a watch, an engine to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sojourn.engines.memory import MemoryEngine
from sojourn.kernel import Attempt, Key, Reads, Snapshot, Span, Store, Transaction
from sojourn.kernel.engine import Answer, Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.live import Reading, Transition, Watch
from sojourn.kernel.transaction import Delete, Put, Write
from sojourn.testing import ManualClock

PATIENCE_S = 20
"""After that much real time something that never happens is a failure, and not a run that hangs."""

SETTLED = 100
"""Steps of the loop in which a store in memory has done all that there is to do, many times over."""


def at(item: str, partition: str = "p") -> Key:
    """A key of the tests."""
    return Key("t", partition, item)


def value_of(key: Key, *, name: str | None = None) -> Reading:
    """The value at a key, or nothing."""

    async def work(tx: Attempt) -> bytes:
        record = await tx.get(key)
        return b"-" if record is None else record.value

    return Reading(("value", key, name), work)


def items_of(span: Span) -> Reading:
    """The items and values of a page."""

    async def work(tx: Attempt) -> bytes:
        return b" ".join(record.key.item.encode() + b"=" + record.value for record in await tx.scan(span))

    return Reading(("items", span), work)


async def put(store: Store, *writes: tuple[str, bytes]) -> None:
    """Write these items in one commit."""
    await write(store, *(Put(at(item), value) for item, value in writes))


async def remove(store: Store, *items: str) -> None:
    """Delete these items in one commit."""
    await write(store, *(Delete(at(item)) for item in items))


async def write(store: Store, *writes: Write) -> None:
    """Do these in one commit."""
    await store.commit(Transaction(writes=writes))


async def settled() -> None:
    """Let everything happen that needs no time to pass: of a store in memory only."""
    for _ in range(SETTLED):
        await asyncio.sleep(0)


class Eye:
    """Looks at a watch all the time. `shown` is what it shows now, `seen` every transition."""

    def __init__(self, watch: Watch, check: "Callable[[Eye], None] | None" = None) -> None:
        self.watch = watch
        self.shown: dict[int, bytes | str] = {}
        self.seen: list[Transition] = []
        self.synced: list[int] = []
        self.ended: Exception | None = None
        self._check = check
        self._news = asyncio.Event()
        self._looking = asyncio.create_task(self._look())

    @property
    def is_over(self) -> bool:
        """Whether the iteration has ended."""
        return self._looking.done()

    async def until(self, *conditions: Callable[[], bool], **shown: bytes | str) -> None:
        """Wait until the readings of these numbers (`_1=b"x"`) show this, and all else holds too."""
        wanted = {int(name[1:]): what for name, what in shown.items()}
        async with asyncio.timeout(PATIENCE_S):
            while not (wanted.items() <= self.shown.items() and all(condition() for condition in conditions)):
                if self.is_over:
                    await self._looking
                    raise AssertionError(f"the iteration has ended and shows {self.shown}") from self.ended
                self._news.clear()
                await self._news.wait()

    async def synced_with(self, number: int) -> None:
        """Ask for all that was committed, and wait until it is shown."""
        self.watch.sync(number)
        await self.until(lambda: number in self.synced)

    async def over(self) -> None:
        """Wait for the end of the iteration."""
        async with asyncio.timeout(PATIENCE_S):
            await self._looking

    async def close(self) -> None:
        """Look away, and end the watch."""
        self.watch.close()
        await self.over()

    async def _look(self) -> None:
        try:
            async for transition in self.watch:
                assert not self.seen or transition.version > self.seen[-1].version
                self.seen.append(transition)
                self.synced += transition.synced
                for update in transition.updates:
                    assert (update.result is None) == (update.error is not None)
                    self.shown[update.id] = type(update.error).__name__ if update.result is None else update.result
                if self._check is not None:
                    self._check(self)
                self._news.set()
        except Exception as error:
            self.ended = error
            if isinstance(error, AssertionError):
                raise
        finally:
            self._news.set()


def eye(store: Store, readings: dict[int, Reading], check: Callable[[Eye], None] | None = None) -> Eye:
    """Look at a new watch of these readings."""
    watch = store.live.watch()
    watch.change(readings)
    return Eye(watch, check)


Hook = Callable[[Reads], Awaitable[None]]


class HookedEngine:
    """A store in memory whose reads can be stopped, and be followed by something else before they are answered."""

    def __init__(self, clock: ManualClock) -> None:
        self.inner = MemoryEngine(clock=clock)
        self.before_read: Hook | None = None
        self.after_read: Hook | None = None
        self.before_changes: Callable[[], Awaitable[None]] | None = None
        self.after_changes: Callable[[], Awaitable[None]] | None = None
        self.reads = 0

    async def put(self, *writes: tuple[str, bytes]) -> None:
        """Write as another process would: at once, whatever this store is at."""
        await self.write(*(Put(at(item), value) for item, value in writes))

    async def write(self, *writes: Write) -> None:
        """Do these as another process would."""
        await self.inner.commit([Transaction(writes=writes)])

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        return await self.inner.commit(batch)

    async def read(self, reads: Reads) -> Snapshot:
        self.reads += 1
        if self.before_read is not None:
            await self.before_read(reads)
        snapshot = await self.inner.read(reads)
        if self.after_read is not None:
            await self.after_read(reads)
        return snapshot

    async def rank(self, span: RankSpan) -> RankPage:
        return await self.inner.rank(span)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        if self.before_changes is not None:
            await self.before_changes()
        changes = await self.inner.changes(since, wait)
        if self.after_changes is not None:
            await self.after_changes()
        return changes

    async def sweep(self, limit: int) -> Swept:
        return await self.inner.sweep(limit)

    async def examine(self) -> Sequence[Finding]:
        return await self.inner.examine()

    def describe(self) -> Description:
        return self.inner.describe()
