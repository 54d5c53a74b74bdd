"""Live readings: what runs them again and what does not, what is sent, and that nothing is left behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ClosedError, InvalidError, LimitError, OverloadedError
from sojourn.kernel import Attempt, Delete, DeleteSpan, Put, RankSpan, Span, Store, Touch, Transaction
from sojourn.kernel.live import Reading, Update, Watch
from sojourn.testing import FaultyEngine, ManualClock

from .following import Eye, at, eye, items_of, put, remove, settled, value_of, write

SECOND = timedelta(seconds=1)


@pytest.fixture
async def memory(clock: ManualClock) -> AsyncIterator[Store]:
    """A store in memory: in it nothing is left to happen after some steps of the loop."""
    async with Store(MemoryEngine(clock=clock), clock=clock) as opened:
        yield opened


def is_idle(store: Store) -> bool:
    """Whether nothing is followed, evaluated or waited for."""
    live = store.live
    kept = (live._followed, live._seats, live._unsettled, live._waiting, live._running)
    return not any(kept) and live._interest.is_empty and live._task is None


async def evaluated(store: Store, change: Callable[[], object]) -> int:
    """How many evaluations something leads to."""
    await settled()
    before = store.live.evaluations
    pending = change()
    if asyncio.iscoroutine(pending):
        await pending
    await settled()
    return store.live.evaluations - before


# -- What runs a reading again -----------------------------------------------------------------------------------------

PAGE = Span("t", "p", "b", "e", limit=2)
BACK = Span("t", "p", "b", "e", limit=2, reverse=True)


@pytest.mark.row("F-L6", "F-C65", "F-C66", "F-C67")
@pytest.mark.parametrize(
    ("reading", "there", "touching", "beside"),
    [
        pytest.param(value_of(at("a")), ["a"], [Put(at("a"), b"2")], [Put(at("b"), b"")], id="a key"),
        pytest.param(value_of(at("a")), ["a"], [Delete(at("a"))], [Put(at("a\x01"), b"")], id="a key that goes"),
        pytest.param(
            value_of(at("a")), [], [Put(at("a"), b"2")], [Put(at("a", "q"), b"")], id="a key without a record"
        ),
        pytest.param(
            items_of(PAGE), [], [Put(at("b"), b"")], [Put(at("e"), b""), Put(at("a"), b"")], id="an empty span"
        ),
        pytest.param(items_of(PAGE), ["c"], [Put(at("d"), b"")], [Put(at("d", "q"), b"")], id="room on a page"),
        pytest.param(items_of(PAGE), ["c"], [Delete(at("c"))], [Delete(at("d"))], id="a record that leaves"),
        pytest.param(items_of(PAGE), ["b", "d"], [Put(at("c"), b"")], [Put(at("d\x01"), b"")], id="before a full page"),
        pytest.param(items_of(PAGE), ["b", "c", "d"], [Delete(at("b"))], [Delete(at("d"))], id="behind a full page"),
        pytest.param(items_of(BACK), ["b", "c", "d"], [Delete(at("d"))], [Delete(at("b"))], id="behind it, backwards"),
        pytest.param(
            items_of(PAGE),
            ["b"],
            [DeleteSpan(Span("t", "p"))],
            [DeleteSpan(Span("t", "p", "e"))],
            id="a span that goes",
        ),
    ],
)
async def test_a_reading_runs_again_for_a_change_inside_of_what_it_read_and_for_no_other(
    memory: Store, reading: Reading, there: list[str], touching: list[Put], beside: list[Put]
) -> None:
    await put(memory, ("z", b""), *((item, b"") for item in there))
    seen = eye(memory, {1: reading})
    await seen.until()
    assert await evaluated(memory, lambda: write(memory, *beside)) == 0
    shown = seen.shown[1]
    assert await evaluated(memory, lambda: write(memory, *touching)) == 1
    assert seen.shown[1] != shown


@pytest.mark.row("F-L6")
async def test_a_change_that_moves_what_a_page_shows_moves_what_it_follows(memory: Store) -> None:
    await put(memory, ("b", b""), ("c", b""), ("d", b""))
    seen = eye(memory, {1: items_of(PAGE)})
    assert await evaluated(memory, lambda: put(memory, ("d", b"1"))) == 0
    assert await evaluated(memory, lambda: remove(memory, "b")) == 1
    await seen.until(_1=b"c= d=1")
    assert await evaluated(memory, lambda: put(memory, ("d", b"2"))) == 1
    assert await evaluated(memory, lambda: put(memory, ("b", b""))) == 1
    assert await evaluated(memory, lambda: put(memory, ("d", b"3"))) == 0
    await seen.until(_1=b"b= c=")


@pytest.mark.row("F-L12")
async def test_time_runs_nothing_again_but_what_expires_without_any_write(memory: Store, clock: ManualClock) -> None:
    await write(memory, Put(at("a"), b"1", ttl=60 * SECOND), Put(at("b"), b"1"))
    seen = eye(memory, {1: value_of(at("a")), 2: value_of(at("b")), 3: items_of(Span("t", "p"))})
    await seen.until(_1=b"1")
    assert await evaluated(memory, lambda: clock.advance(59 * SECOND)) == 0
    assert await evaluated(memory, lambda: clock.advance(SECOND)) == 2
    await seen.until(_1=b"-", _2=b"1", _3=b"b=1")
    assert await evaluated(memory, lambda: clock.advance(3600 * SECOND)) == 0


@pytest.mark.row("F-L12")
async def test_an_expiry_that_is_put_off_is_waited_for_anew(memory: Store, clock: ManualClock) -> None:
    await write(memory, Put(at("a"), b"1", ttl=60 * SECOND))
    seen = eye(memory, {1: value_of(at("a"))})
    await seen.until(_1=b"1")
    assert await evaluated(memory, lambda: write(memory, Touch(at("a"), ttl=120 * SECOND))) == 0
    assert await evaluated(memory, lambda: clock.advance(60 * SECOND)) == 1
    assert (seen.shown, len(seen.seen)) == ({1: b"1"}, 1)
    assert await evaluated(memory, lambda: clock.advance(60 * SECOND)) == 1
    assert seen.shown == {1: b"-"}


# -- What is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-L7", "F-C68")
async def test_an_equal_result_sends_nothing(memory: Store) -> None:
    await put(memory, ("a", b"1"))
    seen = eye(memory, {1: value_of(at("a"))})
    await seen.until(_1=b"1")
    assert await evaluated(memory, lambda: put(memory, ("a", b"1"))) == 1
    assert len(seen.seen) == 1


@pytest.mark.row("F-L2", "F-C69")
async def test_one_commit_over_two_readings_is_one_transition(store: Store) -> None:
    await put(store, ("a", b"1"), ("b", b"1"))
    seen = eye(store, {1: value_of(at("a")), 2: items_of(Span("t", "p"))})
    await seen.until(_1=b"1")
    await put(store, ("a", b"2"), ("b", b"2"))
    await seen.until(_1=b"2", _2=b"a=2 b=2")
    assert [sorted(update.id for update in transition.updates) for transition in seen.seen] == [[1, 2], [1, 2]]


@pytest.mark.row("F-L8", "F-L3", "F-C72")
async def test_who_takes_nothing_gets_the_newest_in_the_end(memory: Store) -> None:
    watch = memory.live.watch()
    watch.change({number: value_of(at(str(number))) for number in range(3)})
    first = await anext(watch)
    for number in range(1_000):
        await put(memory, (str(number % 3), b"%d" % number))
    await settled()
    then = await anext(watch)
    assert sorted((update.id, update.result) for update in then.updates) == [(0, b"999"), (1, b"997"), (2, b"998")]
    assert then.version > first.version
    watch.sync(1)
    assert (await anext(watch)).updates == ()


@pytest.mark.row("F-L8", "F-C72")
async def test_a_burst_before_one_who_takes_nothing_costs_no_memory(memory: Store) -> None:
    watch = memory.live.watch()
    watch.change({1: value_of(at("a"))})
    await anext(watch)
    for number in range(200):
        await put(memory, ("a", b"%d" % number * 1_000))
        await settled()
    assert len(watch._seat._pending) == 1
    assert (await anext(watch)).updates == (Update(1, b"199" * 1_000),)


@pytest.mark.row("F-L3")
async def test_versions_grow_with_the_clock_of_the_engine(memory: Store, clock: ManualClock) -> None:
    seen = eye(memory, {1: value_of(at("a"))})
    for number in range(5):
        await put(memory, ("a", b"%d" % number))
        await seen.until(_1=b"%d" % number)
        assert seen.seen[-1].version // 1_000 == clock.now()
        clock.advance(SECOND)
    versions = [transition.version for transition in seen.seen]
    assert versions == sorted(set(versions))


# -- Errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-L9", "F-C73")
async def test_an_error_is_a_state_from_which_a_reading_recovers(memory: Store) -> None:
    async def strict(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        if record is None or record.value != b"good":
            raise InvalidError("a", "it is bad")
        return record.value

    seen = eye(memory, {1: Reading("strict", strict), 2: value_of(at("a"))})
    await seen.until(_1="InvalidError", _2=b"-")
    await put(memory, ("a", b"bad"))
    await seen.until(_2=b"bad")
    assert [update.id for update in seen.seen[-1].updates] == [2], "the same error is not sent again"
    await put(memory, ("a", b"good"))
    await seen.until(_1=b"good", _2=b"good")
    await remove(memory, "a")
    await seen.until(_1="InvalidError", _2=b"-")


@pytest.mark.row("F-L9", "F-L1")
async def test_an_error_over_a_state_that_never_was_is_not_shown(memory: Store) -> None:
    """A and b are equal in every state; the reading sees them at two instants, and says that they differ."""
    await put(memory, ("a", b"1"), ("b", b"1"))
    half, go_on = asyncio.Event(), asyncio.Event()

    async def compare(tx: Attempt) -> bytes:
        a = await tx.get(at("a"))
        half.set()
        await go_on.wait()
        b = await tx.get(at("b"))
        assert a is not None
        assert b is not None
        if a.value != b.value:
            raise InvalidError("b", "it is not as a")
        return a.value

    seen = eye(memory, {1: Reading("compare", compare)})
    await half.wait()
    await put(memory, ("a", b"2"), ("b", b"2"))
    go_on.set()
    await seen.until(_1=b"2")
    assert len(seen.seen) == 1


@pytest.mark.row("F-L8", "F-L9")
async def test_a_reading_that_takes_too_long_is_in_a_state_of_error(memory: Store, clock: ManualClock) -> None:
    async def slow(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        if record is None:
            await asyncio.Event().wait()
        return b"quick"

    slow_one, other = eye(memory, {1: Reading("slow", slow)}), eye(memory, {1: value_of(at("a"))})
    await settled()
    clock.advance(limits.LIVE_EVALUATION - SECOND)
    await settled()
    assert (slow_one.shown, other.shown) == ({}, {1: b"-"})
    clock.advance(SECOND)
    await slow_one.until(_1="CallTimeoutError")
    await put(memory, ("a", b"1"))
    await slow_one.until(_1=b"quick")


@pytest.mark.row("F-L8")
async def test_a_slow_reading_holds_up_its_own_watches_only(memory: Store) -> None:
    gate = asyncio.Event()

    async def slow(tx: Attempt) -> bytes:
        record = await tx.get(at("a"))
        await gate.wait()
        return b"-" if record is None else record.value

    held = eye(memory, {1: Reading("slow", slow), 2: value_of(at("a"))})
    free = eye(memory, {2: value_of(at("a")), 3: value_of(at("b"))})
    for number in range(5):
        await put(memory, ("a", b"%d" % number), ("b", b"%d" % number))
        await free.until(_2=b"%d" % number, _3=b"%d" % number)
    assert held.shown == {}
    gate.set()
    await held.until(_1=b"4", _2=b"4")


@pytest.mark.row("F-L8")
async def test_a_bounded_number_of_readings_runs_at_once(memory: Store) -> None:
    gate, running, most = asyncio.Event(), 0, 0

    async def slow(tx: Attempt) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return b""

    seen = eye(memory, {number: Reading(("slow", number), slow) for number in range(100)})
    await settled()
    assert most == limits.LIVE_PARALLEL
    gate.set()
    await seen.until(lambda: len(seen.shown) == 100)
    assert most == limits.LIVE_PARALLEL


# -- Sharing, and leaving ----------------------------------------------------------------------------------------------


@pytest.mark.row("F-L11", "F-C77")
async def test_a_hundred_alike_cost_one_evaluation_until_the_last_leaves(memory: Store) -> None:
    eyes = [eye(memory, {number: value_of(at("a"))}) for number in range(100)]
    await settled()
    assert await evaluated(memory, lambda: put(memory, ("a", b"1"))) == 1
    for one in eyes[:-1]:
        await one.close()
    assert await evaluated(memory, lambda: put(memory, ("a", b"2"))) == 1
    await eyes[-1].until(_99=b"2")
    await eyes[-1].close()
    assert await evaluated(memory, lambda: put(memory, ("a", b"3"))) == 0
    assert is_idle(memory)
    again = eye(memory, {1: value_of(at("a"))})
    await again.until(_1=b"3")


@pytest.mark.row("F-L11")
@pytest.mark.parametrize("how", ["break", "cancelled", "dropped", "dropped unused", "closed", "emptied"])
async def test_however_a_watch_ends_nothing_is_followed_any_more(memory: Store, how: str) -> None:
    async def look(watch: Watch) -> None:
        async for _ in watch:
            if how == "break":
                break

    before = asyncio.all_tasks()
    watch = memory.live.watch()
    watch.change({1: value_of(at("a")), 2: items_of(Span("t", "p"))})
    if how != "dropped unused":
        looking = asyncio.create_task(look(watch))
        await settled()
        assert memory.live.watches == 1
        if how == "closed":
            watch.close()
        elif how == "emptied":
            watch.change(remove=(1, 2, 3))
            await settled()
            assert not memory.live._followed
            watch.close()
        elif how != "break":
            looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        del looking
    del watch
    gc.collect()
    await settled()
    assert memory.live.watches == 0
    assert is_idle(memory)
    assert asyncio.all_tasks() == before


async def test_a_watch_that_another_thread_collects_ends_in_the_thread_of_its_loop(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list[int]()
    monkeypatch.setattr(memory.live, "leave", lambda _: left.append(threading.get_ident()))
    watch = memory.live.watch()
    watch.change({1: value_of(at("a"))})
    await anext(watch)
    holder = list[object]([watch])
    holder.append(holder)  # a circle, as an error and its frames are one
    del watch, holder
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert left == []
    await settled()
    assert left == [threading.get_ident()]


async def test_a_reading_that_runs_when_the_last_one_leaves_is_stopped(memory: Store) -> None:
    stopped = asyncio.Event()

    async def hang(tx: Attempt) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return b""

    seen = eye(memory, {1: Reading("hang", hang)})
    await settled()
    await seen.close()
    await asyncio.wait_for(stopped.wait(), 5)
    await settled()
    assert is_idle(memory)


@pytest.mark.row("F-L2")
async def test_what_is_watched_may_change_in_the_midst(memory: Store) -> None:
    await put(memory, ("a", b"1"), ("b", b"1"))
    watch = memory.live.watch()
    watch.change({1: value_of(at("a"))})
    await settled()
    watch.change({2: value_of(at("b"))}, remove=(1,))
    await put(memory, ("a", b"2"), ("b", b"2"))
    await settled()
    assert (await anext(watch)).updates == (Update(2, b"2"),)
    watch.change({2: value_of(at("a"))})
    assert (await anext(watch)).updates == (Update(2, b"2"),), "a replaced one is sent though it looks the same"
    watch.change({1: value_of(at("a")), 2: value_of(at("b"))})
    assert sorted(update.id for update in (await anext(watch)).updates) == [1, 2]


@pytest.mark.row("F-L2")
async def test_nothing_is_heard_of_what_was_removed_before_it_was_taken(memory: Store) -> None:
    await put(memory, ("a", b"1"), ("b", b"1"))
    watch = memory.live.watch()
    watch.change({1: value_of(at("a")), 2: value_of(at("b"))})
    await settled()
    watch.change(remove=(1,))
    assert (await anext(watch)).updates == (Update(2, b"1"),)


async def test_a_thousand_readings_are_watched_and_one_more_is_refused(memory: Store) -> None:
    seen = eye(memory, {number: value_of(at(str(number))) for number in range(limits.LIVE_READINGS)})
    await seen.until(lambda: len(seen.shown) == limits.LIVE_READINGS)
    with pytest.raises(LimitError):
        seen.watch.change({limits.LIVE_READINGS: value_of(at("a"))})
    seen.watch.change({limits.LIVE_READINGS: value_of(at("a"))}, remove=(0,))
    assert await evaluated(memory, lambda: put(memory, ("7", b"1"), ("a", b"1"))) == 2
    await seen.until(_7=b"1", _1000=b"1")


async def test_questions_for_what_was_committed_are_bounded(memory: Store) -> None:
    watch = memory.live.watch()
    for number in range(limits.LIVE_SYNCS):
        watch.sync(number)
    with pytest.raises(LimitError):
        watch.sync(limits.LIVE_SYNCS)
    await settled()
    assert sorted((await anext(watch)).synced) == list(range(limits.LIVE_SYNCS))
    watch.sync(0)
    assert (await anext(watch)).synced == (0,)


async def test_watches_of_a_process_are_bounded(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVE_WATCHES", 3)
    eyes = [eye(memory, {1: value_of(at("a"))}) for _ in range(3)]
    with pytest.raises(OverloadedError):
        memory.live.watch().change({1: value_of(at("a"))})
    await eyes[0].close()
    await eye(memory, {1: value_of(at("a"))}).until(_1=b"-")


# -- A store that goes away --------------------------------------------------------------------------------------------


@pytest.mark.row("F-L9")
@pytest.mark.parametrize("seed", range(5))
async def test_while_the_store_is_away_that_is_the_answer_and_then_all_is_right_again(
    clock: ManualClock, seed: int
) -> None:
    engine = FaultyEngine(MemoryEngine(clock=clock), seed, fail=0.4, delay=0.3)
    async with Store(engine, clock=clock) as store, clock.rushing():
        eyes = [eye(store, {1: value_of(at("a")), 2: value_of(at("b"))}, _equal_or_away) for _ in range(3)]
        for number in range(30):
            value = b"%d" % number
            await engine.inner.commit([_transaction(("a", value), ("b", value))])
            for one in eyes:
                await one.synced_with(number)
                await one.until(_1=value, _2=value)
        assert engine.faults.failed


def _equal_or_away(seen: Eye) -> None:
    assert len({shown for shown in seen.shown.values() if shown != "UnavailableError"}) <= 1


def _transaction(*writes: tuple[str, bytes]) -> Transaction:
    return Transaction(writes=tuple(Put(at(item), value) for item, value in writes))


async def test_a_store_that_is_closed_says_so_to_who_watches(clock: ManualClock) -> None:
    store = await Store(MemoryEngine(clock=clock), clock=clock).open()
    eyes = [eye(store, {1: value_of(at("a"))}) for _ in range(3)]
    await eyes[0].until(_1=b"-")
    await store.close()
    for one in eyes:
        await one.over()
        assert isinstance(one.ended, ClosedError)
        with pytest.raises(ClosedError):
            one.watch.change({2: value_of(at("b"))})
    assert is_idle(store)


async def test_a_store_that_is_not_open_is_not_watched(clock: ManualClock) -> None:
    with pytest.raises(ClosedError):
        Store(MemoryEngine(clock=clock)).live.watch().change({1: value_of(at("a"))})


# -- By rank -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-L6")
async def test_a_reading_by_rank_follows_the_space(store: Store) -> None:
    async def ranked(tx: Attempt) -> bytes:
        page = await store.rank(RankSpan("t", limit=2))
        return b" ".join(record.key.item.encode() for record in page.records)

    await write(store, Put(at("a"), b"", rank=2), Put(at("b"), b"", rank=1))
    seen = eye(store, {1: Reading("ranked", ranked)})
    await seen.until(_1=b"b a")
    await write(store, Put(at("c"), b"", rank=0))
    await seen.until(_1=b"c b")
    await remove(store, "b")
    await seen.until(_1=b"c a")
