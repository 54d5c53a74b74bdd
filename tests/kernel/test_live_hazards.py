"""Live readings where it is narrow: between the snapshot and the log, while the store is away, under load, at the end.

Each of these went wrong once.
"""

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.errors import ClosedError, UnavailableError
from sojourn.kernel import Attempt, Put, Reads, Span, Store
from sojourn.kernel.live import Reading
from sojourn.testing import ManualClock

from .following import Eye, HookedEngine, at, eye, items_of, put, remove, settled, value_of, write

SECOND = timedelta(seconds=1)


@pytest.fixture
def engine(clock: ManualClock) -> HookedEngine:
    return HookedEngine(clock)


@pytest.fixture
async def store(engine: HookedEngine, clock: ManualClock) -> AsyncIterator[Store]:
    async with Store(engine, clock=clock) as opened:
        yield opened


@pytest.mark.row("F-L5")
async def test_what_moves_into_a_full_page_is_followed_before_it_is_read(store: Store, engine: HookedEngine) -> None:
    """The page showed a and b; c moves up, and is written between the snapshot and the evaluation from it."""
    await put(store, ("a", b"1"), ("b", b"1"), ("c", b"1"))
    seen = eye(store, {1: items_of(Span("t", "p", limit=2))})
    await seen.until(_1=b"a=1 b=1")
    await settled()

    async def rewrite(reads: Reads) -> None:
        if reads.spans:
            engine.after_read = None
            await engine.put(("c", b"2"))

    engine.after_read = rewrite
    await remove(store, "a")
    await seen.until(_1=b"b=1 c=2")


@pytest.mark.row("F-L5")
async def test_an_answer_comes_from_no_snapshot_that_was_read_for_another(store: Store, engine: HookedEngine) -> None:
    """A new reading of a key that an older one has just read, and that was written since."""
    await put(store, ("a", b"1"))
    old = eye(store, {1: value_of(at("a"), name="old")})
    await old.until(_1=b"1")
    await settled()
    new = store.live.watch()

    async def rewrite(reads: Reads) -> None:
        if at("a") in reads.keys:
            engine.after_read = None
            await engine.put(("a", b"3"))

    engine.after_read = rewrite
    await engine.put(("a", b"2"))
    await asyncio.sleep(0)
    new.change({1: value_of(at("a"), name="new")})
    await Eye(new).until(_1=b"3")
    await old.until(_1=b"3")


@pytest.mark.row("F-L8")
async def test_a_reading_that_hangs_is_overdue_although_nothing_else_happens(store: Store, clock: ManualClock) -> None:
    async def hang(tx: Attempt) -> bytes:
        await asyncio.Event().wait()
        return b""

    seen = eye(store, {1: Reading("hang", hang)})
    await settled()
    clock.advance(limits.LIVE_EVALUATION)
    await seen.until(_1="CallTimeoutError")


@pytest.mark.row("F-L12")
async def test_an_expiry_is_seen_although_the_work_never_ends(
    store: Store, engine: HookedEngine, clock: ManualClock
) -> None:
    """In the midst of each round somebody asks for the next."""
    await write(store, Put(at("a"), b"1", ttl=SECOND))
    seen, busy = eye(store, {1: value_of(at("a"))}), Eye(store.live.watch())
    await seen.until(_1=b"1")
    await settled()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        if asked - len(busy.synced) < limits.LIVE_SYNCS // 2:
            asked += 1
            busy.watch.sync(asked)

    engine.before_changes = ask
    await ask()
    await busy.until(lambda: asked > 10)
    clock.advance(SECOND)
    await settled()
    assert seen.shown == {1: b"-"}


async def test_what_waits_for_an_expiry_costs_no_memory_when_nobody_waits_any_more(store: Store) -> None:
    """A record that lives for a month, written often, and watched by many who leave."""
    month = timedelta(days=30)
    for number in range(300):
        await write(store, Put(at("a"), b"%d" % number, ttl=month + number * SECOND))
        seen = eye(store, {1: value_of(at("a"), name=str(number))})
        await seen.until(_1=b"%d" % number)
        await seen.close()
    staying = eye(store, {1: value_of(at("a"))})
    for number in range(300):
        await write(store, Put(at("a"), b"%d" % number, ttl=month + number * SECOND))
        await staying.until(_1=b"%d" % number)
    gc.collect()
    assert sum(isinstance(thing, Reading) for thing in gc.get_objects()) < 100
    assert len(store.live._alarms) < 100


@pytest.mark.row("F-L8")
async def test_an_equal_answer_of_a_slow_reading_lets_the_others_go_on(store: Store) -> None:
    gate, slow_runs = asyncio.Event(), 0

    async def slow(tx: Attempt) -> bytes:
        nonlocal slow_runs
        slow_runs += 1
        await tx.get(at("a"))
        await gate.wait()
        return b"same"

    gate.set()
    await put(store, ("a", b"1"), ("b", b"1"))
    watch = store.live.watch()
    watch.change({1: Reading("slow", slow)})
    seen = Eye(watch)
    await seen.until(_1=b"same")
    gate.clear()
    await put(store, ("a", b"2"))
    await settled()
    assert slow_runs == 2
    watch.change({2: value_of(at("b"))})
    watch.sync(7)
    await settled()
    gate.set()
    await seen.until(lambda: seen.synced == [7], _1=b"same", _2=b"1")


@pytest.mark.row("F-L4", "F-C70")
async def test_a_failing_read_of_one_watch_lets_no_other_believe_that_it_caught_up(
    store: Store, engine: HookedEngine, clock: ManualClock
) -> None:
    """Another process has committed, and the log does not say so yet."""
    await put(store, ("a", b"1"), ("b", b"1"))
    failing, asking = eye(store, {1: value_of(at("a"))}), eye(store, {1: value_of(at("b"))})
    await failing.until(_1=b"1")
    await asking.until(_1=b"1")
    await settled()
    told = asyncio.Event()

    async def late() -> None:
        await told.wait()

    async def fail(reads: Reads) -> None:
        raise UnavailableError("away")

    engine.after_changes = late
    await engine.put(("b", b"2"))
    engine.before_read = fail
    store.live.offer(at("a"))
    asking.watch.sync(1)
    await settled()
    assert failing.shown == {1: "UnavailableError"}
    assert (asking.synced, asking.shown) == ([], {1: b"1"})
    engine.before_read = None
    told.set()
    async with clock.rushing():
        await asking.until(lambda: asking.synced == [1], _1=b"2")
        await failing.until(_1=b"1")


@pytest.mark.row("F-L1", "F-L2")
async def test_a_torn_answer_is_not_shown_because_something_else_could_not_be_read(
    store: Store, engine: HookedEngine, clock: ManualClock
) -> None:
    """X and y are always equal; one reading sees them at two instants, just before the store goes away."""
    await put(store, ("x", b"1"), ("y", b"1"), ("a", b"1"))
    half, go_on = asyncio.Event(), asyncio.Event()

    async def both(tx: Attempt) -> bytes:
        x = await tx.get(at("x"))
        half.set()
        await go_on.wait()
        y = await tx.get(at("y"))
        assert x is not None
        assert y is not None
        return x.value + y.value

    def check(one: Eye) -> None:
        assert one.shown.get(1) in {None, b"11", b"22", "UnavailableError"}

    other = eye(store, {1: value_of(at("a"))})
    await other.until(_1=b"1")
    seen = eye(store, {1: Reading("both", both)}, check)
    await half.wait()

    async def fail(reads: Reads) -> None:
        if at("a") in reads.keys:
            raise UnavailableError("away")

    async def late() -> None:
        await gate.wait()

    gate = asyncio.Event()
    engine.before_changes = late  # the log is slow: nobody hears of anything yet
    await engine.put(("x", b"2"), ("y", b"2"))
    engine.before_read = fail
    async with clock.rushing():
        go_on.set()
        store.live.offer(at("a"))  # as if another change had come before that one
        await settled()
        engine.before_read = None
        gate.set()
        await seen.until(_1=b"22")
        await other.until(_1=b"1")


@pytest.mark.row("F-L2", "F-L12")
async def test_all_readings_of_a_watch_see_an_expiry_together(store: Store, clock: ManualClock) -> None:
    """Also one whose evaluation took long, so that it sets its timer late."""
    await write(store, Put(at("a"), b"1", ttl=10 * SECOND))
    gate = asyncio.Event()

    async def slow(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        await gate.wait()
        return b"-" if record is None else record.value

    def check(one: Eye) -> None:
        assert len(set(one.shown.values())) == 1, one.shown

    watch = store.live.watch()
    watch.change({1: value_of(at("a")), 2: Reading("slow", slow)})
    seen = Eye(watch, check)
    await settled()
    for _ in range(5):
        clock.advance(SECOND)
        await settled()
    gate.set()
    await seen.until(_1=b"1", _2=b"1")
    for _ in range(20):
        clock.advance(SECOND)
        await settled()
    await seen.until(_1=b"-", _2=b"-")
    assert not seen.is_over


@pytest.mark.row("F-L1", "F-L12")
async def test_an_answer_is_not_of_before_and_after_an_expiry(store: Store, clock: ManualClock) -> None:
    """It reads one record before both expire, and the other after that."""
    await write(store, Put(at("a"), b"1", ttl=SECOND), Put(at("b"), b"1", ttl=SECOND))
    half, go_on = asyncio.Event(), asyncio.Event()

    async def both(tx: Attempt) -> bytes:
        a = await tx.get(at("a"))
        half.set()
        await go_on.wait()
        return b"%d%d" % (a is not None, await tx.get(at("b")) is not None)

    seen = eye(store, {1: Reading("both", both)})
    await half.wait()
    clock.advance(2 * SECOND)
    go_on.set()
    await settled()
    for _ in range(5):
        clock.advance(SECOND)
        await settled()
    await seen.until(_1=b"00")
    assert [update.result for transition in seen.seen for update in transition.updates] == [b"00"]


@pytest.mark.row("F-L7", "F-C68")
async def test_what_is_again_as_it_was_taken_is_not_sent_again(store: Store) -> None:
    await put(store, ("a", b"1"), ("b", b"1"))
    watch = store.live.watch()
    watch.change({1: value_of(at("a")), 2: value_of(at("b"))})
    assert len((await anext(watch)).updates) == 2
    for value in (b"2", b"1"):
        await put(store, ("a", value))
        await settled()
    await put(store, ("b", b"2"))
    assert [(update.id, update.result) for update in (await anext(watch)).updates] == [(2, b"2")]


@pytest.mark.row("F-L9")
async def test_a_reading_that_awaits_what_was_cancelled_has_failed(store: Store) -> None:
    await put(store, ("a", b"1"))

    async def awaits(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        assert record is not None
        if record.value == b"1":
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        return record.value

    seen = eye(store, {1: Reading("awaits", awaits), 2: value_of(at("a"))})
    await seen.until(_1="UnavailableError", _2=b"1")
    await put(store, ("a", b"2"))
    await seen.until(_1=b"2", _2=b"2")


async def test_nothing_is_followed_for_a_reading_that_was_left_when_it_was_overdue(
    store: Store, clock: ManualClock
) -> None:
    """Or that does not mind being cancelled, and goes on reading."""

    async def stubborn(tx: Attempt) -> bytes:
        await tx.get(at("a"))
        try:
            await asyncio.Event().wait()
        finally:
            await tx.get(at("b"))
            return b"here I am"  # noqa: B012  it swallows the cancellation, which is the point

    for is_overdue in (False, True):
        seen = eye(store, {1: Reading(("stubborn", is_overdue), stubborn)})
        await settled()
        if is_overdue:
            store.live._woken.set()
            await settled()
            clock.advance(limits.LIVE_EVALUATION)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await seen.close()
        await settled()
        assert store.live._interest.is_empty


async def test_nothing_is_followed_for_a_reading_that_was_left_while_it_could_not_be_read(
    store: Store, engine: HookedEngine, clock: ManualClock
) -> None:
    await put(store, ("a", b"1"))
    staying = eye(store, {1: value_of(at("other"))})
    seen = eye(store, {1: value_of(at("a"))})
    await seen.until(_1=b"1")
    await settled()
    stopped, go_on = asyncio.Event(), asyncio.Event()

    async def fail(reads: Reads) -> None:
        if at("a") in reads.keys:
            stopped.set()
            await go_on.wait()
            raise UnavailableError("away")

    engine.before_read = fail
    await put(store, ("a", b"2"))
    await stopped.wait()
    await seen.close()
    go_on.set()
    await settled()
    await staying.close()
    await settled()
    assert store.live._interest.is_empty


caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


@pytest.mark.row("F-L10")
async def test_an_evaluation_does_not_run_in_the_context_of_who_watched_first(store: Store) -> None:
    async def who(tx: Attempt) -> bytes:
        await tx.get(at("a"))
        return caller.get().encode()

    token = caller.set("ada")
    first = eye(store, {1: value_of(at("b"))})
    caller.reset(token)
    await first.until(_1=b"-")
    token = caller.set("bob")
    seen = eye(store, {1: Reading("who", who)})
    caller.reset(token)
    await seen.until(_1=b"nobody")


async def test_after_the_log_could_not_be_read_one_can_watch_again_at_once(
    store: Store, engine: HookedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, ("a", b"1"))
    watch = store.live.watch()
    watch.change({1: value_of(at("a"))})
    await anext(watch)
    await settled()

    async def break_down() -> None:
        engine.before_changes = None
        raise RuntimeError("the log is broken")

    engine.before_changes = break_down
    await put(store, ("a", b"2"))
    with pytest.raises(RuntimeError, match="broken"):
        await anext(watch)
    seen = eye(store, {1: value_of(at("a"))})
    await seen.until(_1=b"2")
    await put(store, ("a", b"3"))
    await seen.until(_1=b"3")
    assert "cannot be read any more" in caplog.text


async def test_closing_a_watch_wakes_who_waits_for_it(store: Store) -> None:
    seen = eye(store, {1: value_of(at("a"))})
    await seen.until(_1=b"-")
    seen.watch.close()
    await seen.over()
    assert seen.ended is None
    with pytest.raises(ClosedError):
        seen.watch.change({1: value_of(at("b"))})
    assert store.live.watches == 0


@pytest.mark.row("F-L9")
async def test_who_begins_to_watch_while_the_log_cannot_be_read_is_told_so(
    store: Store, engine: HookedEngine, clock: ManualClock
) -> None:
    """Nobody knows then what was committed before. Who watches already keeps what he has, until it may be different."""
    await put(store, ("a", b"1"))
    old = eye(store, {1: value_of(at("a"))})
    await old.until(_1=b"1")
    await settled()

    async def fail() -> None:
        raise UnavailableError("away")

    engine.before_changes = fail
    new = eye(store, {1: value_of(at("a"), name="new")})
    await new.until(_1="UnavailableError")
    assert old.shown == {1: b"1"}
    await engine.put(("a", b"2"))
    engine.before_changes = None
    async with clock.rushing():
        await new.until(_1=b"2")
        await old.until(_1=b"2")
