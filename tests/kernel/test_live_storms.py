"""What a watch shows is one state that the store really had, however much is written meanwhile, on every engine."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

import sojourn
from sojourn.kernel import Attempt, Put, RankSpan, Span, Store
from sojourn.kernel.live import Reading
from sojourn.testing import ManualClock

from .following import Eye, at, eye, put, write

KEYS = [f"{number:02}" for number in range(20)]
EACH = 100
TOTAL = EACH * len(KEYS)
TRANSFERS = 60

Way = Callable[[Attempt, list[str]], Awaitable[list[int]]]


async def by_keys(tx: Attempt, items: list[str]) -> list[int]:
    """Read them one after the other."""
    return [int(await _there(tx, item)) for item in items]


async def at_once(tx: Attempt, items: list[str]) -> list[int]:
    """Read them in one trip."""
    await tx.fetch([at(item) for item in items])
    return await by_keys(tx, items)


async def by_span(tx: Attempt, items: list[str]) -> list[int]:
    """Read them as a page."""
    span = Span("t", "p", items[0], items[-1] + "\x01")
    return [int(record.value) for record in await tx.scan(span)]


async def slowly(tx: Attempt, items: list[str]) -> list[int]:
    """Let others do a lot in between."""
    found = list[int]()
    for item in items:
        for _ in range(3):
            await asyncio.sleep(0)
        found += await by_keys(tx, [item])
    return found


async def in_another_order(tx: Attempt, items: list[str]) -> list[int]:
    """Read first what says in which order to read: what is read moves."""
    first = int(await _there(tx, items[0]))
    chosen = items[1:] if first % 2 else items[:0:-1]
    return [first, *await by_keys(tx, chosen)]


async def _there(tx: Attempt, item: str) -> bytes:
    record = await tx.get(at(item))
    assert record is not None
    return record.value


def sum_of(items: list[str], way: Way) -> Reading:
    """The sum of some, read in some way."""

    async def work(tx: Attempt) -> bytes:
        return b"%d" % sum(await way(tx, items))

    return Reading((way, tuple(items)), work)


def checks(number: int) -> Callable[[Eye], None]:
    """The sums of disjoint parts are the whole, in each transition."""

    def check(seen: Eye) -> None:
        assert len(seen.shown) == number, "they come together"
        found = [int(shown) for shown in seen.shown.values() if not isinstance(shown, str)]
        assert len(found) == number, seen.shown
        assert sum(found) == TOTAL, "no state was so"

    return check


@pytest.mark.row("F-L1", "F-L2", "F-L5", "F-C69")
async def test_readings_of_a_watch_are_of_one_instant_in_a_storm(store: Store) -> None:
    """Every commit moves something from one half to the other, and the sum is always the same."""
    await put(store, *((item, b"%d" % EACH) for item in KEYS))
    left, right = KEYS[::2], KEYS[1::2]
    pairs = [(way, other) for way in (by_keys, at_once, slowly, in_another_order) for other in (by_keys, at_once)]
    eyes = [eye(store, {1: sum_of(left, one), 2: sum_of(right, other)}, checks(2)) for one, other in pairs]
    halves = KEYS[:10], KEYS[10:]
    eyes.append(eye(store, {1: sum_of(halves[0], by_span), 2: sum_of(halves[1], by_span)}, checks(2)))
    eyes.append(eye(store, {number: sum_of([item], by_keys) for number, item in enumerate(KEYS)}, checks(len(KEYS))))
    chance = random.Random(5)  # noqa: S311  repeatable
    balance = dict.fromkeys(KEYS, EACH)
    for number in range(TRANSFERS):
        giver, taker = chance.sample(KEYS, 2)
        balance[giver] -= 1
        balance[taker] += 1
        await put(store, (giver, b"%d" % balance[giver]), (taker, b"%d" % balance[taker]))
        if number % 20 == 0:
            for one in eyes:
                one.watch.sync(number)
    for one in eyes:
        await one.synced_with(TRANSFERS)
    for one in eyes[:-2]:
        await one.until(_1=b"%d" % sum(balance[i] for i in left), _2=b"%d" % sum(balance[i] for i in right))
    await eyes[-1].until(**{f"_{number}": b"%d" % balance[item] for number, item in enumerate(KEYS)})
    for one in eyes:
        await one.close()
        assert one.ended is None


@pytest.mark.row("F-L2", "F-L6")
async def test_a_listing_by_rank_is_of_the_same_instant_as_a_key(store: Store) -> None:
    """How many there are is written with each of them."""

    async def ranked(tx: Attempt) -> bytes:
        return b"%d" % len((await store.rank(RankSpan("t", low=1))).records)

    async def counted(tx: Attempt) -> bytes:
        record = await tx.get(at("count"))
        return b"0" if record is None else record.value

    def check(seen: Eye) -> None:
        assert seen.shown[1] == seen.shown[2], seen.shown

    seen = eye(store, {1: Reading("ranked", ranked), 2: Reading("counted", counted)}, check)
    await seen.until(_1=b"0", _2=b"0")
    for number in range(1, 20):
        await write(store, Put(at(str(number)), b"", rank=number), Put(at("count"), b"%d" % number))
        if number % 3 == 0:
            await seen.synced_with(number)
    await seen.until(_1=b"19", _2=b"19")
    await seen.close()
    assert seen.ended is None


@pytest.mark.row("F-L4", "F-L5", "F-C70", "F-C71")
async def test_after_a_sync_one_sees_what_another_process_had_committed(shared_url: str, clock: ManualClock) -> None:
    """Nothing is waited for in between: whoever was answered by the one sees it in the other."""

    async def value(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        return b"-" if record is None else record.value

    async with sojourn.open(shared_url, clock=clock) as writer, sojourn.open(shared_url, clock=clock) as reader:
        seen = eye(reader, {1: Reading("value", value)})
        for number in range(20):
            await put(writer, ("a", b"%d" % number))
            await seen.synced_with(number)
            assert int(seen.shown[1]) == number
            late = reader.live.watch()
            late.change({1: Reading("value", value)})
            assert [update.result for update in (await anext(late)).updates] == [b"%d" % number]
            late.close()
            clock.advance(timedelta(seconds=1))
        await seen.close()
        assert seen.ended is None


@pytest.mark.row("F-L5", "F-L11", "F-C77")
async def test_the_last_commit_reaches_everybody_whenever_it_comes(store: Store) -> None:
    """Watches come, change and go while somebody writes; whatever the order, the last value is what all show."""

    async def value(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        return b"-" if record is None else record.value

    chance = random.Random(11)  # noqa: S311  repeatable
    for turn in range(15):
        eyes = [eye(store, {1: Reading(("value", chance.randint(1, 2)), value)}) for _ in range(3)]
        for number in range(4):
            for _ in range(chance.randint(0, 6)):
                await asyncio.sleep(0)
            await put(store, ("a", b"%d %d" % (turn, number)))
            eyes[chance.randrange(3)].watch.change({2: Reading(("value", chance.randint(1, 2)), value)})
        eyes[0].watch.change({2: Reading(("value", 1), value)})
        for one in eyes:
            await one.until(_1=b"%d 3" % turn)
        await eyes[0].until(_2=b"%d 3" % turn)
        for one in eyes[turn % 2 :]:  # one goes on into the next turn, now and then
            await one.close()
