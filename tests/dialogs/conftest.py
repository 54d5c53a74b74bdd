"""Dialogs over the shared store, the desk of who uses them, and other processes over the same engine.

`counter` is a type of dialog made anew for each test: it counts clicks, and its `diary` says which hook ran when.
`make` returns the dialogs of one process, with that type and whatever a test adds to `kinds`; `desk` sits before one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias, TypeVar

import msgspec
import pytest

from sojourn import limits
from sojourn.dialogs import (
    KEEP,
    REFRESH,
    Answer,
    Context,
    Dialog,
    DialogEvent,
    Dialogs,
    End,
    Ended,
    EventName,
    Option,
    button,
    modal,
    select,
)
from sojourn.dialogs.layout import Address, completions, effects
from sojourn.kernel import Reads, Record, Span, Store
from sojourn.testing.dialogs import Desk
from tests.documents.conftest import HastyClock, Wire, settled, until

__all__ = ["settled", "until"]

R = TypeVar("R")

MINUTES: timedelta = timedelta(minutes=3)
"""How long a counter lives."""

BRIEF_S = 0.05
"""Pauses up to this are over at once where a test says so: those between two attempts, and none of the background."""

PATIENCE_S = 30.0
"""After that much real time something that never happens is a failure, and not a run that hangs."""


class Gate:
    """Where handlers wait while it is closed. `entered` counts those that came, `crowd` how many were in at once."""

    def __init__(self) -> None:
        self.entered = 0
        self.inside = 0
        self.crowd = 0
        self._free = asyncio.Event()
        self._free.set()

    def close(self) -> None:
        """Hold who comes."""
        self._free.clear()

    def open(self) -> None:
        """Let all go on."""
        self._free.set()

    async def go_through(self) -> None:
        """Go on when the gate is open."""
        self.entered += 1
        self.inside += 1
        self.crowd = max(self.crowd, self.inside)
        try:
            await self._free.wait()
            await asyncio.sleep(0)
        finally:
            self.inside -= 1


class Count(msgspec.Struct):
    """What a counter keeps."""

    clicks: int = 0
    words: list[str] = []


class Oops(Exception):  # noqa: N818  what an application raises is called as it likes
    """What handlers of these tests raise."""


class Counter(Dialog[int]):
    """Counts clicks, and notes in its diary whatever happens to it."""

    data: Count
    ttl = MINUTES
    diary: ClassVar[list[str]] = []
    gate: ClassVar[Gate] = Gate()

    async def start(self, ctx: Context) -> None:
        self.diary.append("start")
        await ctx.reply("0", *self.buttons(ctx))

    def buttons(self, ctx: Context) -> tuple[Any, ...]:
        """What a counter shows below its number."""
        return (
            ctx.button("More", self.more),
            ctx.button("Refresh", self.refresh),
            ctx.button("Break", self.breaks),
            ctx.button("Done", self.done),
        )

    async def count(self, ctx: Context, by: int = 1) -> None:
        """Count on, and show it."""
        self.data.clicks += by
        await self.gate.go_through()
        await ctx.edit_origin(str(self.data.clicks), *self.buttons(ctx))

    @button
    async def more(self, ctx: Context, by: int = 1) -> Answer:
        self.diary.append("more")
        await self.count(ctx, by)
        return KEEP

    @button
    async def refresh(self, ctx: Context) -> Answer:
        self.diary.append("refresh")
        await self.count(ctx)
        return REFRESH

    @button
    async def breaks(self, ctx: Context) -> Answer:
        """Fail after everything has been changed that a handler can change."""
        self.diary.append("breaks")
        self.page, self.result = 7, 7
        await self.count(ctx)
        await ctx.notify("said by who failed")
        raise Oops("on purpose")

    @button
    async def done(self, ctx: Context) -> End:
        self.diary.append("done")
        return ctx.end(self.data.clicks)

    @button
    async def ask(self, ctx: Context) -> Answer:
        """Ask for everything that can be asked for."""
        await ctx.reply("Choose", ctx.select(self.chosen, [Option("Red", "r"), "blue"]))
        return KEEP

    @select
    async def chosen(self, ctx: Context) -> Answer:
        self.data.words.extend(ctx.values)
        return KEEP

    @modal
    async def filled(self, ctx: Context) -> Answer:
        self.data.words.extend(ctx.fields.values())
        return KEEP

    async def end(self, ctx: Context, ended: Ended[int]) -> None:
        self.diary.append(f"end {ended.code}")
        await ctx.edit_origin(f"Closed: {ended.code}")


Kind: TypeAlias = type[Counter]
Kinds: TypeAlias = dict[str, type[Any]]
Make: TypeAlias = Callable[[Store], Dialogs]


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def counter() -> Kind:
    """The type of this test's counters, with a diary and a gate of its own."""

    class Fresh(Counter):
        diary: ClassVar[list[str]] = []
        gate: ClassVar[Gate] = Gate()

    return Fresh


@pytest.fixture
def kinds(counter: Kind) -> Kinds:
    """The types of each process of this test, by name; a test may add to them before its first process."""
    return {"counter": counter}


@pytest.fixture
def options() -> dict[str, Any]:
    """What each process of this test gives to `Dialogs`."""
    return {}


@pytest.fixture
def make(kinds: Kinds, options: dict[str, Any]) -> Make:
    """Make the dialogs of one process."""

    def made(store: Store) -> Dialogs:
        dialogs = Dialogs(store, **options)
        for name, kind in kinds.items():
            dialogs.register(name)(kind)
        return dialogs

    return made


@pytest.fixture
async def desk(store: Store, make: Make, counter: Kind) -> AsyncIterator[Desk]:
    async with Desk(store, make) as sat_at:
        yield sat_at
        counter.gate.open()  # a test that failed with its gate closed shall not hang


class Elsewhere(Desk):
    """The desk of another process, whose way to the engine can be cut, held up and made to fail."""

    def __init__(self, store: Store, make: Make, wire: Wire, here: Desk) -> None:
        super().__init__(store, make, screen=here.screen)
        self.wire = wire
        self.here = here

    async def crash(self) -> None:
        """End it as a kill does: nothing more of it reaches the engine, and nothing is given back. Time passes."""
        clock = self.store.clock
        assert isinstance(clock, HastyClock)
        self.wire.cut()
        await in_time(self.here.store, clock, asyncio.create_task(self.store.close()), limits.REPEAT_BACKOFF_MAX)


Start: TypeAlias = Callable[..., Awaitable[Elsewhere]]


@pytest.fixture
async def elsewhere(desk: Desk, clock: HastyClock, make: Make) -> AsyncIterator[Start]:
    """Start another process before the same screen, with other dialogs if they are given."""
    started: list[Elsewhere] = []

    async def start(make: Make = make) -> Elsewhere:
        wire = Wire(desk.store.engine)
        beside = await Store(wire, clock=clock)
        started.append(Elsewhere(beside, make, wire, desk))
        return started[-1]

    yield start
    with clock.hasty(60):
        for each in started:
            each.wire.resume()
            await each.store.close()


def telling(dialogs: Dialogs) -> list[DialogEvent]:
    """Return the list to which every event of these dialogs comes."""
    told: list[DialogEvent] = []

    async def tell(event: DialogEvent) -> None:
        told.append(event)

    dialogs.subscribe(tell, *EventName)
    return told


async def heard(told: list[DialogEvent], *names: str) -> bool:
    """Whether these events have come, in this order, and no other."""
    await until(lambda: len(told) >= len(names))
    for _ in range(20):
        await asyncio.sleep(0)
    return [event.name.value for event in told] == list(names)


async def soon(work: Awaitable[R]) -> R:
    """Return what comes without time passing by the clock of the test."""
    async with asyncio.timeout(PATIENCE_S):
        return await work


async def in_time(store: Store, clock: HastyClock, work: asyncio.Task[R], step: timedelta) -> R:
    """Let time pass in such steps until this is done, and return what it gives."""
    async with asyncio.timeout(PATIENCE_S):
        while not work.done():
            clock.advance(step)
            await settled(store)
    return await work


async def records(store: Store, dialog_id: str, platform: str = "test", *names: str) -> list[Record]:
    """Every record of one dialog, completions of these names included."""
    address = Address(dialog_id, dialog_id)
    found = (await store.read(Reads((address.dialog, address.lease)))).records.keys
    spaces = ["dialog.delivery", effects(platform), *map(completions, names)]
    beside = [record for space in spaces async for record in store.scan(Span(space, dialog_id))]
    return [record for record in found if record is not None] + beside


def variant(kind: Kind, **attributes: object) -> Kind:
    """Return a type that differs from another in these attributes, and shares its diary and its gate."""
    return type("Variant", (kind,), attributes)
