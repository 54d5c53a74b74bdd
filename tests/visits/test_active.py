"""Who is here now: the listing, the number, and the joins and leaves, which no heartbeat disturbs."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

import sojourn
from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ClosedError, InvalidError, LimitError
from sojourn.kernel import Reads, Store
from sojourn.testing import FaultyEngine, ManualClock
from sojourn.visits import ActiveChange, ChangeKind, Visits, layout, visitor_of

from .conftest import ACTIVE_FOR, STEP, Trips, align

MINUTE, MILLISECOND = timedelta(minutes=1), timedelta(milliseconds=1)
SECRET = "browsers-own-secret-id-0123456789"  # noqa: S105  what a test shows to nobody


def join(*names: str) -> list[ActiveChange]:
    return [ActiveChange(ChangeKind.JOIN, name) for name in names]


def leave(*names: str) -> list[ActiveChange]:
    return [ActiveChange(ChangeKind.LEAVE, name) for name in names]


@asynccontextmanager
async def watching(visits: Visits, *here: str) -> AsyncIterator[AsyncIterator[ActiveChange]]:
    """Watch, from when those who are here have been told of."""
    async with aclosing(visits.watch_active()) as watch:
        assert {await anext(watch) for _ in here} == {*join(*here)}
        yield watch


async def names(visits: Visits, minutes: float | None = None) -> list[str]:
    return [visitor.anonymous_id async for visitor in visits.get_active_sessions(minutes, limit=2)]


@pytest.mark.row("F-W2")
async def test_who_is_here_is_listed_by_last_activity_in_pages(visits: Visits, clock: ManualClock) -> None:
    for name in ("ada", "bo", "cy", "di", "ada"):
        await visits.track_session(name)
        clock.advance(STEP)
    page = await visits.get_active_sessions(limit=3)
    assert [visitor.anonymous_id for visitor in page.items] == ["ada", "di", "cy"]
    rest = await visits.get_active_sessions(limit=3, after=page.next)
    assert [visitor.anonymous_id for visitor in rest.items] == ["bo"]
    assert rest.next is None
    assert await names(visits) == await names(visits, 15) == ["ada", "di", "cy", "bo"]
    assert page.items[0] == await visits.get("ada")


@pytest.mark.row("F-C85", "F-W3")
async def test_who_was_active_that_long_ago_no_longer_counts(visits: Visits, clock: ManualClock) -> None:
    align(clock)
    await visits.track_session("ada")
    clock.advance(ACTIVE_FOR - MILLISECOND)
    assert await names(visits) == await names(visits, 15) == ["ada"]
    assert await visits.count_active() == 1
    clock.advance(MILLISECOND)
    assert await names(visits) == await names(visits, 15) == []
    assert await visits.count_active() == 0
    assert await names(visits, 15.001) == ["ada"]


@pytest.mark.row("F-C85")
def test_the_active_are_those_of_fifteen_minutes_if_nothing_else_is_said(store: Store) -> None:
    assert Visits(store).terms.active_for == timedelta(minutes=15)


async def test_who_has_left_is_not_here_but_was_active_lately(visits: Visits) -> None:
    await visits.track_session("ada")
    await visits.leave("ada")
    assert await names(visits) == []
    assert await names(visits, 1) == ["ada"]


async def test_who_has_left_leaves_a_gap_on_the_page(visits: Visits) -> None:
    for name in ("ada", "bo", "cy"):
        await visits.track_session(name)
    await visits.leave("bo")
    sizes: list[int] = []
    after: str | None = None
    while after is not None or not sizes:
        page = await visits.get_active_sessions(limit=1, after=after)
        sizes.append(len(page.items))
        after = page.next
    assert sorted(sizes)[-2:] == [1, 1]
    assert sum(sizes) == 2
    assert sorted(await names(visits)) == ["ada", "cy"]


@pytest.mark.row("F-C85")
@pytest.mark.parametrize("precision", [1, 7, 60])
async def test_who_is_listed_is_who_has_a_mark_whatever_the_step(
    store: Store, clock: ManualClock, precision: int
) -> None:
    """An `active_for` that is no multiple of the step ends up to a step later than the last activity tells."""
    visits = Visits(store, precision=timedelta(seconds=precision), active_for=timedelta(seconds=100))
    everybody = [f"came in second {second}" for second in range(precision)]
    for name in everybody:
        await visits.track_session(name)
        clock.advance(timedelta(seconds=1))
    marks = Reads(tuple(layout.active(name) for name in everybody))
    clock.advance(timedelta(seconds=99 - precision))
    for _ in range(2 * precision + 1):
        found = (await store.read(marks)).records.keys
        here = {name for name, mark in zip(everybody, found, strict=True) if mark is not None}
        assert set(await names(visits)) == here
        assert await visits.count_active() == len(here)
        clock.advance(timedelta(seconds=1))
    assert not await names(visits)


@pytest.mark.row("F-C91", "F-W7")
async def test_a_listing_has_no_credential_and_no_action(visits: Visits) -> None:
    await visits.track_user_action(visitor_of(SECRET), "paid", resource_id="order 7", metadata={"card": "4711"})
    for minutes in (None, 15):
        page = await visits.get_active_sessions(minutes)
        shown = msgspec.to_builtins(page)
        assert [set(item) for item in shown["items"]] == [{"anonymous_id", "created_at", "last_active", "visit"}]
        assert not any(word in f"{shown} {page}" for word in (SECRET, "paid", "order 7", "4711"))


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e300, -0.0])
def test_minutes_that_are_none_are_refused(visits: Visits, minutes: float) -> None:
    with pytest.raises(InvalidError, match="minutes_active"):
        visits.get_active_sessions(minutes)


async def test_a_page_has_its_limits_and_a_cursor_its_listing(visits: Visits) -> None:
    for name in ("ada", "ada"):
        await visits.track_user_action(name, "click")
    actions = await visits.actions("ada", limit=1)
    assert actions.next is not None
    with pytest.raises(InvalidError, match="cursor"):
        visits.get_active_sessions(after=actions.next)
    with pytest.raises(InvalidError, match="cursor"):
        visits.get_active_sessions(after="nonsense")
    with pytest.raises(InvalidError, match="limit"):
        visits.get_active_sessions(limit=0)
    with pytest.raises(LimitError, match="limit"):
        visits.get_active_sessions(limit=limits.PAGE_MAX + 1)


@pytest.mark.parametrize(
    "place",
    [(10**30, "ada", ""), (-(10**30), "ada", ""), (0, "a\0", ""), (0, "ada", "\0"), (0, "x" * 3_000, "")],
    ids=["rank", "negative rank", "NUL in a visitor", "NUL in an item", "length"],
)
async def test_a_cursor_of_a_place_that_cannot_be_is_refused(visits: Visits, place: tuple[int, str, str]) -> None:
    await visits.track_session("ada")
    for minutes in (None, 15):
        forged = base64.urlsafe_b64encode(msgspec.json.encode((layout.VISIT, *place))).decode()
        with pytest.raises((InvalidError, LimitError)):
            await visits.get_active_sessions(minutes, after=forged.rstrip("="))


async def test_the_count_is_exact_up_to_its_limit(visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_MAX", 2)
    monkeypatch.setattr(limits, "ACTIVE_COUNT_MAX", 4)
    counts = []
    for name in ("ada", "bo", "cy", "di", "ed", "flo"):
        await visits.track_session(name)
        counts.append(await visits.count_active())
    assert [repr(count) for count in counts] == ["1", "2", "3", "4", "4+", "4+"]
    assert [count.more for count in counts] == [False] * 4 + [True] * 2


async def test_who_is_active_while_it_is_counted_counts_once(
    visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ascending, who moves up stands on two pages; descending, it would stand on none."""
    monkeypatch.setattr(limits, "PAGE_MAX", 2)
    for name in ("ada", "bo", "cy"):
        await visits.track_session(name)
        clock.advance(STEP)
    rank = visits.store.engine.rank

    async def busy(span: sojourn.kernel.RankSpan) -> sojourn.kernel.RankPage:
        page = await rank(span)
        await visits.track_session("ada")
        return page

    monkeypatch.setattr(visits.store.engine, "rank", busy)
    assert await visits.count_active() == 3


@pytest.mark.row("F-C86", "F-W3")
async def test_a_leave_is_told_by_no_other_write(visits: Visits, trips: Trips, clock: ManualClock) -> None:
    align(clock)
    await visits.track_session("ada")
    clock.advance(STEP)
    await visits.track_session("bo")
    async with watching(visits, "ada", "bo") as watch:
        trips.clear()
        for name in ("ada", "bo"):
            told = asyncio.ensure_future(anext(watch))
            await clock.until_sleeping()
            clock.advance(ACTIVE_FOR - STEP if name == "ada" else STEP)
            assert await told == leave(name)[0]
        assert not trips.commits


@pytest.mark.row("F-C86")
async def test_a_leave_is_told_in_time_to_who_comes_late_to_listen(visits: Visits, clock: ManualClock) -> None:
    align(clock)
    await visits.track_session("ada")
    async with watching(visits, "ada") as watch:
        clock.advance(ACTIVE_FOR - STEP)
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        clock.advance(STEP)
        assert await told == leave("ada")[0]


@pytest.mark.row("F-C86")
async def test_saying_so_and_coming_are_told_at_once(visits: Visits) -> None:
    async with watching(visits) as watch:
        for _ in range(3):
            await visits.track_session("ada")
            assert await anext(watch) == join("ada")[0]
            await visits.leave("ada")
            assert await anext(watch) == leave("ada")[0]


@pytest.mark.row("F-C87")
async def test_no_heartbeat_wakes_who_watches(visits: Visits, trips: Trips, clock: ManualClock) -> None:
    """A look is a read, and a heartbeat reads nothing: so reads count how often the watcher woke."""
    align(clock)
    await visits.track_session("ada")
    async with watching(visits, "ada") as watch:
        trips.clear()
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        for _ in range(14):
            clock.advance(STEP)
            await visits.track_session("ada")
        assert len(trips.reads) == 0
        await visits.track_session("bo")
        assert await told == join("bo")[0]
        assert len(trips.reads) == 1
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        clock.advance(STEP)
        await clock.until_sleeping()
        assert len(trips.reads) == 2, "at the end of the time that ada had at first: it had been prolonged"
        assert not told.done()
        clock.advance(ACTIVE_FOR - STEP)
        assert {await told, await anext(watch)} == {*leave("ada", "bo")}


async def test_who_left_and_came_back_between_two_looks_is_told_as_both(visits: Visits, clock: ManualClock) -> None:
    await visits.track_session("ada")
    async with watching(visits, "ada") as watch:
        await visits.leave("ada")
        await visits.track_session("ada")
        assert [await anext(watch), await anext(watch)] == leave("ada") + join("ada")
        clock.advance(2 * ACTIVE_FOR)
        await visits.track_session("ada")
        assert [await anext(watch), await anext(watch)] == leave("ada") + join("ada")


async def test_after_a_gap_the_difference_is_told(visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "bo"):
        await visits.track_session(name)
    async with watching(visits, "ada", "bo") as watch:
        monkeypatch.setattr(limits, "SUBSCRIPTION_KEYS", 2)
        await visits.leave("bo")
        for number in range(5):
            await visits.track_session(f"new {number}")
        expected = [*leave("bo"), *join(*(f"new {number}" for number in range(5)))]
        assert {await anext(watch) for _ in expected} == {*expected}


async def test_two_stores_see_the_same(shared_url: str, clock: ManualClock) -> None:
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as two:
        here, there = Visits(one), Visits(two)
        await here.track_session("ada")
        async with watching(here, "ada") as first, watching(there, "ada") as second:
            await there.track_session("bo")
            assert await anext(first) == await anext(second) == join("bo")[0]
            await here.leave("ada")
            assert await anext(first) == await anext(second) == leave("ada")[0]
            told = [asyncio.ensure_future(anext(watch)) for watch in (first, second)]
            await clock.until_sleeping(2)
            clock.advance(ACTIVE_FOR + STEP)
            assert await asyncio.gather(*told) == leave("bo", "bo")


async def test_beyond_its_limit_a_watcher_learns_of_an_end_by_the_sweep(
    visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ACTIVE_WATCHED", 2)
    for name in ("ada", "bo", "cy"):
        await visits.track_session(name)
        clock.advance(STEP)
    async with watching(visits, "ada", "bo", "cy") as watch:
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        clock.advance(2 * ACTIVE_FOR)
        assert [await told, await anext(watch)] == leave("ada", "bo")
        await visits.track_session("di")
        assert await anext(watch) == join("di")[0], "and not yet that cy is gone"
        await visits.store.sweep()
        assert await anext(watch) == leave("cy")[0]


@pytest.mark.parametrize("seed", range(5))
async def test_a_store_that_goes_away_costs_no_join_and_no_leave(seed: int, clock: ManualClock) -> None:
    """Whatever fails in between, joins and leaves take turns, and in the end it is known who is here."""
    engine = FaultyEngine(MemoryEngine(clock=clock), seed, fail=0.4, delay=0.3)
    draw = random.Random(seed)  # noqa: S311  it must be repeatable, not secret
    here, seen = set[str](), set[str]()

    async def follow(visits: Visits) -> None:
        async for change in visits.watch_active():
            assert (change.kind is ChangeKind.LEAVE) == (change.name in seen)
            seen.symmetric_difference_update({change.name})

    async with Store(engine, clock=clock) as store, asyncio.TaskGroup() as group:
        visits = Visits(store)
        following = group.create_task(follow(visits))
        for step in range(300):
            if step < 100:
                name = draw.choice("abcdef") if step < 99 else "the last"
                await (visits.leave(name) if name in here else visits.track_session(name))
                here.symmetric_difference_update({name})
            clock.advance(limits.DUE_POLL)
            for _ in range(draw.randrange(20)):
                await asyncio.sleep(0)
        assert seen == here >= {"the last"}
        following.cancel()
    assert engine.faults.failed


@pytest.mark.parametrize("moment", ["before", "told", "waiting"])
async def test_closing_frees_everything(visits: Visits, clock: ManualClock, moment: str) -> None:
    tasks = asyncio.all_tasks()
    await visits.track_session("ada")
    watch = visits.watch_active()
    if moment != "before":
        assert await anext(watch) == join("ada")[0]
    if moment == "waiting":
        waiting = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await watch.aclose()
    assert clock.sleepers == 0
    assert not visits.store._subscriptions._all
    assert asyncio.all_tasks() <= tasks


async def test_closing_the_store_ends_who_watches(url: str, clock: ManualClock) -> None:
    store = sojourn.open(url, clock=clock)
    with pytest.raises(ClosedError):
        await anext(Visits(store).watch_active())
    async with store:
        await Visits(store).track_session("ada")
        watch = Visits(store).watch_active()
        assert await anext(watch) == join("ada")[0]
        waiting = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
    with pytest.raises(ClosedError):
        await waiting
