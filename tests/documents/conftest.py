"""Documents over the shared store, the servers that hold them, and what their tests wait with.

`players` makes documents over the test's own store; each call is a holder of its own. `holder` makes another process:
a store of its own to the same engine, whose way there can be cut, held up and made to fail, and which can crash.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import msgspec
import pytest

from sojourn import limits
from sojourn.documents import Documents
from sojourn.engines.memory import MemoryEngine
from sojourn.engines.sqlite import SqliteEngine
from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel import (
    Answer,
    Changes,
    Create,
    Engine,
    Key,
    Position,
    Put,
    RankSpan,
    Reads,
    Record,
    Snapshot,
    Span,
    Store,
    Transaction,
    Write,
    ids,
)
from sojourn.testing import FaultyEngine, ManualClock, Rates

R = TypeVar("R")

LEASE = limits.DOCUMENT_LEASE
RENEWAL = LEASE / limits.LEASE_RENEWALS
"""The longest pause between two renewals of a lease."""

_STEP = RENEWAL / 4
_PATIENCE_S = 30.0
"""After that much real time something that never happens is a failure, and not a run that hangs."""


class Pet(msgspec.Struct):
    """A part of a player that can change while the rest does not."""

    name: str = "Rex"
    tricks: list[str] = []


class Player(msgspec.Struct):
    """What most tests keep: mutable, so that drafts are written into, and with parts."""

    coins: int = 0
    items: list[str] = []
    bag: dict[str, int] = {}
    pet: Pet = msgspec.field(default_factory=Pet)


class Badge(msgspec.Struct, frozen=True):
    """A frozen schema."""

    level: int = 0
    marks: tuple[str, ...] = ()


def is_player(plain: Any) -> bool | tuple[bool, str]:
    """Check plain data as a schema that is a function: `coins` is there and not negative, other names may be."""
    if not isinstance(plain, dict) or not isinstance(plain.get("coins"), int):
        return False, "coins is no number"
    return plain["coins"] >= 0 or (False, "coins is below 0")


def players_over(store: Store, **options: Any) -> Documents[Player]:
    """Documents of players over any store; they save by themselves only where a test asks for it."""
    settings: dict[str, Any] = {"schema": Player, "template": Player(), "autosave": None} | options
    return Documents(store, "players", **settings)


class HastyClock(ManualClock):
    """A clock for which short pauses are over at once, where a test says so: so a back-off passes in no time.

    Unlike `rushing` it never moves for what waits long, so no lease ends while a database takes its time.
    """

    longest = 0.0

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by that much, or advance it if the pause is short enough."""
        if 0 < seconds <= self.longest:
            self.advance(timedelta(seconds=seconds))
            await asyncio.sleep(0)
        else:
            await super().sleep(seconds)

    @contextmanager
    def hasty(self, longest: float = 2.0) -> Iterator[None]:
        """Within, pauses of up to so many seconds are over at once."""
        self.longest = longest
        try:
            yield
        finally:
            self.longest = 0.0


class Wire(FaultyEngine):
    """The way from one process to an engine that others use too. It is cut, held up or told to fail, and counts."""

    def __init__(self, engine: Engine, seed: int = 0, **rates: Any) -> None:
        super().__init__(engine, seed, **rates)
        self.sent: list[Transaction] = []
        self.asked: list[Reads] = []
        self.refusals = 0
        """How many of the next commits are turned away: nothing is written."""
        self.losses = 0
        """How many of the next commits are made, and their answers lost."""
        self.drops = 0
        """How many of the next commits are lost on their way, which the caller cannot know."""
        self.held = 0
        """How many commits are held up now."""
        self.broken = asyncio.Event()
        """The wire has broken, as `break_after` asked for."""
        self._down = False
        self._free = asyncio.Event()
        self._free.set()
        self._awake = asyncio.Event()
        self._awake.set()
        self._left: int | None = None
        self._arrives = False

    async def open(self) -> None:
        """Do nothing: the engine is open."""

    async def close(self) -> None:
        """Do nothing: others still use it."""

    def cut(self) -> None:
        """Let nothing through any more, what is held up included, until `resume`. Who watches is told nothing."""
        self._down = True
        self._free.set()

    def hold(self) -> None:
        """Hold commits up until `resume`."""
        self._free.clear()

    def pause(self) -> None:
        """Hold up everything until `resume`, as for a process that was stopped: what it sent goes out in the end."""
        self.hold()
        self._awake.clear()

    def break_after(self, commits: int, *, arrives: bool) -> None:
        """Cut the wire while it carries the commit after so many; that one arrives or not, and nobody is told."""
        self._left, self._arrives = commits, arrives

    def resume(self) -> None:
        """Let everything through again."""
        self._down = False
        self._left = None
        self._free.set()
        self._awake.set()

    @property
    def saves(self) -> list[Transaction]:
        """The commits among those that were sent that write a document, its tombstone included."""
        return [each for each in self.sent if any(_is_document(write) for write in each.writes)]

    def clear(self) -> None:
        """Forget what was counted."""
        self.sent.clear()
        self.asked.clear()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Commit by the engine, unless the test wants it otherwise."""
        self.held += 1
        try:
            await self._free.wait()
        finally:
            self.held -= 1
        self.sent.extend(batch)
        if self._down:
            raise UnavailableError("the wire is cut on purpose")
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                await self._break(batch)
        if self.refusals:
            self.refusals -= 1
            raise UnavailableError("the wire turned the batch away on purpose")
        if self.drops:
            self.drops -= 1
            raise CommitUnknownError("the wire lost the batch on purpose")
        answers = await super().commit(batch)
        if self.losses:
            self.losses -= 1
            raise CommitUnknownError("the wire lost the answer on purpose")
        return answers

    async def read(self, reads: Reads) -> Snapshot:
        """Read by the engine, unless the wire is cut."""
        self.asked.append(reads)
        await self._awake.wait()
        if self._down:
            raise UnavailableError("the wire is cut on purpose")
        return await super().read(reads)

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Ask the engine for changes, unless everything is held up."""
        await self._awake.wait()
        return await super().changes(since, wait)

    async def _break(self, batch: Sequence[Transaction]) -> NoReturn:
        self.cut()
        if self._arrives:
            await self.inner.commit(batch)
        self.broken.set()
        raise CommitUnknownError("the wire broke on purpose")


def _is_document(write: Write) -> bool:
    return isinstance(write, Put | Create) and write.key.space == "document.players"


class Holder:
    """Another process, with documents of its own."""

    def __init__(self, store: Store, wire: Wire, players: Documents[Player]) -> None:
        self.store = store
        self.wire = wire
        self.players = players

    async def crash(self) -> None:
        """End it as a kill does: nothing more of it reaches the engine, and nothing is given back."""
        self.wire.cut()
        await self.store.close()


Players: TypeAlias = Callable[..., Documents[Player]]
Holders: TypeAlias = Callable[..., Awaitable[Holder]]


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def players(store: Store) -> Players:
    """Make documents of players over the test's store, with any options of `Documents`."""
    return lambda **options: players_over(store, **options)


@pytest.fixture
async def holder(store: Store, clock: HastyClock) -> AsyncIterator[Holders]:
    """Start another process, on a host with a clock of its own or not, with any options of `Documents`."""
    started: list[Holder] = []

    async def start(host: ManualClock | None = None, **options: Any) -> Holder:
        wire = Wire(store.engine)
        beside = await Store(wire, clock=host or clock)
        started.append(Holder(beside, wire, players_over(beside, **options)))
        return started[-1]

    yield start
    with clock.hasty(60):
        for each in started:
            each.wire.resume()
            await each.store.close()


FAULTS: Rates = {"lose": 0.1, "drop": 0.05, "repeat": 0.1, "refuse": 0.1, "fail": 0.05, "delay": 0.2}


@pytest.fixture(params=[f"{engine}-{seed}" for engine in ("memory", "sqlite") for seed in (1, 2, 3)])
async def faulty_store(request: pytest.FixtureRequest, tmp_path: Path, clock: HastyClock) -> AsyncIterator[Store]:
    """A store that loses answers and turns commits away, by three seeds; pauses are short.

    The faults must have happened, or the test has proved nothing.
    """
    name, seed = request.param.split("-")
    inner: Engine = MemoryEngine(clock=clock) if name == "memory" else SqliteEngine(tmp_path / "app.db", clock=clock)
    engine = FaultyEngine(inner, int(seed), **FAULTS)
    with clock.hasty():
        async with Store(engine, clock=clock) as store:
            yield store
    assert engine.faults.lost
    assert engine.faults.refused


async def insist(call: Callable[[], Awaitable[R]]) -> R:
    """Call until it is acknowledged: what a caller may do with all that is the same when it is done twice."""
    while True:
        try:
            return await call()
        except (UnavailableError, CommitUnknownError):
            continue


async def until(condition: Callable[[], object]) -> None:
    """Let whatever runs in the background go on until this is so. No time passes by the clock of the test."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what is waited for may lie in another process
            await asyncio.sleep(0)


async def settled(store: Store) -> None:
    """Let whatever runs in the background get as far as it comes without time: for what must not happen.

    Its own commits stand behind those of the background, so they take as long as the engine does.
    """
    for _ in range(3):
        await store.commit(Transaction(ids.new(), writes=(Put(Key("t", "t", "settled"), b""),)))
        for _ in range(20):
            await asyncio.sleep(0)


async def pass_time(store: Store, clock: ManualClock, duration: timedelta) -> None:
    """Let time pass in steps that leave every lease its renewals, and wait a while for one that is late."""
    for _ in range(-(-duration // _STEP)):
        clock.advance(_STEP)
        for _ in range(10):
            await settled(store)
            if not await _is_one_late(store):
                break


async def in_time(store: Store, clock: ManualClock, work: asyncio.Task[R]) -> R:
    """Let time pass until this is done, and return what it gives."""
    async with asyncio.timeout(_PATIENCE_S):
        while not work.done():
            await pass_time(store, clock, _STEP)
    return await work


async def _is_one_late(store: Store) -> bool:
    page = await store.rank(RankSpan("document.players.lease"))
    half = LEASE // timedelta(milliseconds=2)
    return any(each.expires_at is not None and each.expires_at - page.now < half for each in page.records)


async def records(store: Store, partition: str, name: str = "players") -> list[Record]:
    """Every record that is kept in one partition, pieces and history included, without leases."""
    spaces = [f"document.{name}{kind}" for kind in ("", ".past", ".body", ".inbox", ".sent")]
    return [record for space in spaces async for record in store.scan(Span(space, partition))]
