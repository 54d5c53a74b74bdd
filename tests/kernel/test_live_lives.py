"""Watches through everything that may befall them, in any order, beside a model that reads all of it anew."""

import asyncio
import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from sojourn.kernel import Attempt, Delete, Put, Reads, Store
from sojourn.kernel.live import Reading
from sojourn.testing import ManualClock

from .following import HookedEngine, at, settled, write
from .looking import Asked, Look, State, both, page, pointed, value

R = TypeVar("R")

SECOND = timedelta(seconds=1)
ITEMS = ["a", "b", "c", "d"]
READINGS = [
    *map(value, ITEMS),
    both("a", "c"),
    both("d", "b"),
    pointed("a"),
    pointed("c"),
    page(2),
    page(2, reverse=True),
    page(1, "c"),
    page(9, "e"),
]
WATCHES = 4

items = st.sampled_from(ITEMS)
values = st.sampled_from([b"a", b"b", b"c", None])
writes = st.dictionaries(items, values, min_size=1, max_size=3)
lives = st.sampled_from([None, None, None, SECOND, 5 * SECOND])
readings = st.dictionaries(st.integers(1, 4), st.sampled_from(READINGS), max_size=3)
watches = st.integers(0, WATCHES - 1)


class Lives(RuleBasedStateMachine):
    """A store with some watches, and what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        chance = random.Random(0)  # noqa: S311  it must be repeatable, not secret
        engine = HookedEngine(self.clock)

        async def linger(reads: Reads) -> None:
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)

        engine.before_read = engine.after_read = linger
        self.store = Store(engine, clock=self.clock)
        self.expiries: dict[str, int] = {}
        self.states: list[State] = [{}]
        self.gate = asyncio.Event()
        self.run(self.store.__aenter__())
        self.looks: list[Look | None] = [None] * WATCHES

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        async def bounded() -> R:
            async with asyncio.timeout(20):
                return await work

        return self.runner.run(bounded())

    def teardown(self) -> None:
        try:
            self.run(self.end())
        finally:
            self.runner.close()

    def reading(self, asked: Asked) -> Reading:
        async def work(tx: Attempt) -> bytes:
            result = await asked.read(tx)
            if asked in READINGS[4:8]:
                await self.gate.wait()
            return result

        return Reading(asked, work)

    @rule(writes=writes, ttl=lives)
    def somebody_commits(self, writes: dict[str, bytes | None], ttl: timedelta | None) -> None:
        async def commit() -> None:
            state = dict(self.states[-1])
            for item, written in writes.items():
                state.pop(item, None)
                self.expiries.pop(item, None)
                if written is not None:
                    state[item] = written
                    if ttl is not None:
                        self.expiries[item] = self.clock.now() + ttl // timedelta(milliseconds=1)
            # Before the commit: who watches may be told of it before this goes on.
            self.states.append(state)
            await write(
                self.store,
                *(Delete(at(i)) if what is None else Put(at(i), what, ttl=ttl) for i, what in writes.items()),
            )

        self.run(commit())

    @rule(number=watches, add=readings, remove=st.sets(st.integers(1, 4)))
    def a_watch_changes(self, number: int, add: dict[int, Asked], remove: set[int]) -> None:
        async def change() -> None:
            look = self.looks[number]
            if look is None:
                look = self.looks[number] = Look(self.store.live.watch(), self.states)
            look.change({place: self.reading(asked) for place, asked in add.items()}, add, tuple(remove))

        self.run(change())

    @rule(number=watches)
    def a_watch_asks(self, number: int) -> None:
        async def ask() -> None:
            look = self.looks[number]
            if look is not None:
                look.sync()

        self.run(ask())

    @rule(number=watches)
    def a_watch_ends(self, number: int) -> None:
        look, self.looks[number] = self.looks[number], None
        if look is not None:
            self.run(look.close())

    @rule(steps=st.integers(1, 12))
    def a_little_happens(self, steps: int) -> None:
        async def wait() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.run(wait())

    @rule(is_open=st.booleans())
    def the_slow_ones_wait_or_go_on(self, is_open: bool) -> None:  # noqa: FBT001  drawn
        if is_open:
            self.gate.set()
        else:
            self.gate.clear()

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        async def advance() -> None:
            for _ in range(seconds):
                self.tick(SECOND)
                await asyncio.sleep(0)

        self.run(advance())

    def tick(self, duration: timedelta) -> None:
        self.clock.advance(duration)
        gone = [item for item, at in self.expiries.items() if at <= self.clock.now()]
        for item in gone:
            del self.expiries[item]
        if gone:
            self.states.append({item: what for item, what in self.states[-1].items() if item not in gone})

    @precondition(lambda self: any(self.looks))
    @rule()
    def all_comes_to_rest(self) -> None:
        async def rest() -> None:
            self.gate.set()
            for _ in range(3):
                await settled()
                self.tick(timedelta(milliseconds=10))  # the least that is waited for
            await settled()
            for look in self.looks:
                if look is not None:
                    look.check_end()

        self.run(rest())

    async def end(self) -> None:
        for look in self.looks:
            if look is not None:
                await look.close()
        await settled()
        assert self.store.live.watches == 0
        assert self.store.live._interest.is_empty
        await self.store.close()


@pytest.mark.row("F-L1", "F-L2", "F-L4", "F-L5", "F-L12")
@pytest.mark.parametrize("number", range(4))
def test_whatever_befalls_watches_they_show_what_is_there(number: int) -> None:
    # Not shrunk, which would take minutes: `phases` can be left out to have the shortest life that fails.
    chosen = settings(
        phases=[Phase.generate],
        max_examples=40,
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Lives), settings=chosen)
