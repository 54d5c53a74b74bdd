"""No wake-up is lost: a search through the orders in which reads, the log, commits and evaluations can come.

Each call of the engine waits until the search lets it go on, before the database does it and once more before the
answer arrives; so do evaluations at their end, the commits of other processes, and what is asked of the watch. Usually
who came first goes first, and something new is done when all is still; the search takes every schedule that departs
from this a bounded number of times, and then some that chance makes, by fixed seeds. At the end of each, all that was
let go, what is shown must be the final state. On the way each transition must have been a state that the store really
had, one not older than the last, and one that has what was committed before a `sync`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from sojourn.engines.memory import MemoryEngine
from sojourn.kernel import Attempt, Delete, Put, Reads, Snapshot, Store, Transaction
from sojourn.kernel.engine import Answer, Changes, Description, Finding, Position, RankPage, Swept
from sojourn.kernel.keys import RankSpan
from sojourn.kernel.live import Reading
from sojourn.kernel.transaction import Write
from sojourn.testing import ManualClock
from sojourn.testing.simulation.loop import VirtualLoop, pause

from .following import at
from .looking import Asked, Look, State, both, page, pointed, value

OFTEN = (0.1, 0.2, 0.4, 0.8)
"""How often a schedule by chance departs from who came first goes first."""

LONGEST = 100
"""Choices of a schedule by chance; from there on who came first goes first."""


class Stage:
    """Those who wait to go on, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._new: dict[asyncio.Future[None], None] = {}

    async def enter(self, may_go: Callable[[], bool] = lambda: True, *, is_new: bool = False) -> None:
        """Wait for one's turn, behind all others if it is for something new. Who is cancelled meanwhile has left."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = may_go
        if is_new:
            self._new[turn] = None
        try:
            await turn
        finally:
            self._waiting.pop(turn, None)
            self._new.pop(turn, None)

    @property
    def ready(self) -> list[asyncio.Future[None]]:
        """Those who may go on now."""
        ready = [turn for turn, may_go in self._waiting.items() if may_go()]
        return sorted(ready, key=self._new.__contains__)


class StagedEngine:
    """A store in memory. A question for changes that would only wait is not let go before there are some."""

    def __init__(self, clock: ManualClock, stage: Stage) -> None:
        self.inner = MemoryEngine(clock=clock)
        self._stage = stage
        self.commits = 0

    async def write(self, *writes: Write) -> None:
        await self.inner.commit([Transaction(writes=writes)])
        self.commits += 1

    async def read(self, reads: Reads) -> Snapshot:
        await self._stage.enter()
        snapshot = await self.inner.read(reads)
        await self._stage.enter()
        return snapshot

    async def changes(self, since: Position | None, wait: float) -> Changes:
        newest = (await self.inner.changes(None, 0)).position
        asked = self.commits
        await self._stage.enter(lambda: wait <= 0 or since != newest or self.commits > asked)
        changes = await self.inner.changes(since, 0)
        await self._stage.enter()
        return changes

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        return await self.inner.commit(batch)

    async def rank(self, span: RankSpan) -> RankPage:
        return await self.inner.rank(span)

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def sweep(self, limit: int) -> Swept:
        return await self.inner.sweep(limit)

    async def examine(self) -> Sequence[Finding]:
        return await self.inner.examine()

    def describe(self) -> Description:
        return self.inner.describe()


class Commit(NamedTuple):
    """Somebody else commits: a key without a value is deleted."""

    writes: dict[str, bytes | None]


class Change(NamedTuple):
    """A watch (by its number) has other readings."""

    watch: int
    add: dict[int, Asked]
    remove: tuple[int, ...] = ()


class Sync(NamedTuple):
    """A watch asks for all that was committed before."""

    watch: int


Step = Commit | Change | Sync


class Scene(NamedTuple):
    """What is there, and what each of several actors does, in this order, whenever the schedule has it."""

    name: str
    before: dict[str, bytes]
    watched: list[dict[int, Asked]]
    actors: list[list[Step]]
    departures: int
    seeds: int = 100


SCENES = [
    Scene(
        "one key, read and written",
        {"a": b"0"},
        [{1: value("a")}],
        [[Commit({"a": b"1"}), Commit({"a": b"2"})]],
        2,
    ),
    Scene(
        "a full page that moves",
        {"a": b"0", "b": b"0", "c": b"0"},
        [{1: page(2)}],
        [[Commit({"a": None}), Commit({"c": b"1"})]],
        2,
    ),
    Scene(
        "the end of a page that grows and shrinks",
        {"b": b"0", "c": b"0"},
        [{1: page(2, reverse=True), 2: page(1)}],
        [[Commit({"d": b"1"}), Commit({"b": b"1"}), Commit({"d": None})]],
        1,
        seeds=300,
    ),
    Scene(
        "an empty span, and what is put into it and taken out again",
        {"a": b"0"},
        [{1: page(5, "m"), 2: value("a")}],
        [[Commit({"n": b"1", "a": b"1"}), Commit({"n": None, "a": b"2"})]],
        1,
    ),
    Scene(
        "two watches of one key, of which the second comes later",
        {"a": b"0"},
        [{1: value("a")}, {}],
        [[Commit({"a": b"1"}), Commit({"a": b"2"})], [Change(1, {1: both("a", "a")})]],
        1,
    ),
    Scene(
        "one who comes while others are busy, to a key that is written",
        {"a": b"0", "b": b"0"},
        [{1: value("a")}, {1: value("b")}],
        [[Commit({"b": b"1"}), Commit({"a": b"1"}), Commit({"a": b"2"})], [Change(1, {2: both("a", "a")})]],
        1,
        seeds=900,
    ),
    Scene(
        "two readings of one watch, and what is moved from the one to the other",
        {"a": b"0", "b": b"2"},
        [{1: value("a"), 2: value("b"), 3: both("a", "b")}],
        [[Commit({"a": b"1", "b": b"1"}), Commit({"a": b"2", "b": b"0"})]],
        1,
    ),
    Scene(
        "a reading whose keys depend on what it reads",
        {"p": b"a", "a": b"0", "b": b"0"},
        [{1: pointed("p"), 2: value("b")}],
        [[Commit({"p": b"b"}), Commit({"b": b"1"})], [Commit({"a": b"1"})]],
        1,
    ),
    Scene(
        "readings that come, go and are replaced, and a sync behind each commit",
        {"a": b"0", "b": b"0"},
        [{1: value("a")}],
        [
            [Commit({"a": b"1", "b": b"1"}), Sync(0)],
            [Change(0, {2: both("a", "b")}), Change(0, {1: value("b")}, (2,)), Sync(0)],
        ],
        1,
        seeds=300,
    ),
    Scene(
        "a sync while another watch is slow",
        {"a": b"0", "b": b"0"},
        [{1: value("a")}, {1: both("a", "b")}],
        [[Commit({"a": b"1"}), Sync(0), Sync(1)]],
        1,
    ),
]


class Run:
    """One schedule of a scene."""

    def __init__(self, scene: Scene, schedule: Sequence[int]) -> None:
        self._scene = scene
        self._schedule = schedule
        self._stage = Stage()
        self._states: list[State] = [scene.before]
        self._looks: list[Look] = []
        self.choices: list[int] = []

    async def go(self) -> None:
        """Let everything happen, in the order that the schedule says, and check it."""
        clock = ManualClock()
        engine = StagedEngine(clock, self._stage)
        await engine.write(*(Put(at(item), value) for item, value in self._scene.before.items()))
        engine.commits = 0
        async with Store(engine, clock=clock) as store:
            self._looks = [Look(store.live.watch(), self._states) for _ in self._scene.watched]
            for look, asked in zip(self._looks, self._scene.watched, strict=True):
                if asked:
                    look.change(self._readings(asked), asked, ())
            actors = [asyncio.create_task(self._act(engine, steps)) for steps in self._scene.actors]
            while True:
                await pause(1)  # until nobody can go on by himself
                ready = self._stage.ready
                if not ready:
                    break
                place = len(self.choices)
                chosen = self._schedule[place] % len(ready) if place < len(self._schedule) else 0
                self.choices.append(len(ready))
                ready[chosen].set_result(None)
            await asyncio.gather(*actors)
            for look in self._looks:
                look.check_end()
                await look.close()

    def _readings(self, asked: Mapping[int, Asked]) -> dict[int, Reading]:
        def reading(one: Asked) -> Reading:
            async def work(tx: Attempt) -> bytes:
                result = await one.read(tx)
                await self._stage.enter()
                return result

            return Reading(one, work)

        return {number: reading(one) for number, one in asked.items()}

    async def _act(self, engine: StagedEngine, steps: list[Step]) -> None:
        for step in steps:
            await self._stage.enter(is_new=True)
            if isinstance(step, Commit):
                await engine.write(
                    *(Delete(at(i)) if value is None else Put(at(i), value) for i, value in step.writes.items())
                )
                after = {**self._states[-1], **step.writes}
                self._states.append({item: value for item, value in after.items() if value is not None})
            elif isinstance(step, Change):
                self._looks[step.watch].change(self._readings(step.add), step.add, step.remove)
            else:
                self._looks[step.watch].sync()


def systematic(scene: Scene, run: Callable[[Run], None]) -> int:
    """Run every schedule of the scene with at most so many departures; return how many there are."""
    left: list[tuple[tuple[int, ...], int]] = [((), scene.departures)]
    visited = 0
    while left:
        prefix, budget = left.pop()
        choices = _noted(scene, prefix, run, Run(scene, prefix))
        visited += 1
        for place in range(len(prefix), len(choices)):
            departed = (*prefix, *[0] * (place - len(prefix)))
            others = range(1, choices[place] if budget else 0)
            left.extend(((*departed, chosen), budget - 1) for chosen in others)
    return visited


def by_chance(scene: Scene, run: Callable[[Run], None], seeds: range) -> int:
    """Run a schedule for each seed; return how many that were."""
    for seed in seeds:
        chance = random.Random(seed)  # noqa: S311  it must be repeatable, not secret
        often = chance.choice(OFTEN)
        schedule = [chance.randrange(6) if chance.random() < often else 0 for _ in range(LONGEST)]
        _noted(scene, seed, run, Run(scene, schedule))
    return len(seeds)


def _noted(scene: Scene, which: object, run: Callable[[Run], None], this: Run) -> list[int]:
    try:
        run(this)
    except BaseException as error:
        error.add_note(f"{scene.name}, schedule or seed {which}")
        raise
    return this.choices


@pytest.mark.row("F-L1", "F-L2", "F-L4", "F-L5", "F-C71")
def test_no_schedule_loses_a_change_or_shows_what_never_was() -> None:
    visited = 0
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        for scene in SCENES:
            taken = systematic(scene, lambda run: runner.run(run.go()))
            drawn = by_chance(scene, lambda run: runner.run(run.go()), range(scene.seeds))
            visited += taken + drawn
            print(f"{taken:>7,} schedules, and {drawn} by chance: {scene.name}")  # noqa: T201  how much was searched
    print(f"{visited:>7,} schedules in all")  # noqa: T201
    assert visited > 2_500
