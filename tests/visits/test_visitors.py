"""Heartbeats: who is known, what a heartbeat costs, and the visits that activity falls into."""

import asyncio
from datetime import datetime, timedelta

import pytest

import sojourn
from sojourn import limits
from sojourn.errors import InvalidError, LimitError, RefusedError, SojournError, UnavailableError, VisitorUnknownError
from sojourn.kernel import (
    Attempt,
    Committed,
    Conflict,
    Delete,
    Key,
    Put,
    RankSpan,
    Reads,
    Space,
    Store,
    Transaction,
    Write,
)
from sojourn.testing import FaultyEngine, ManualClock
from sojourn.visits import Visitor, Visits, layout
from sojourn.visits.visitor import visitor_from

from .conftest import ACTIVE_FOR, IDLE, LONGEST, RETENTION, STEP, Trips, align, now

KEYS = (layout.visitor("ada"), layout.active("ada"), layout.idle("ada"))

MALFORMED = {
    "empty": "",
    "NUL": "a\0b",
    "a line break": "a\nb",
    "half a character": "\ud800",
    "not text": b"ada",
}


async def indices(visits: Visits, anonymous_id: str = "ada") -> list[int]:
    """The visits in the log, the first one first."""
    return [visit.index async for visit in visits.history(anonymous_id)][::-1]


def begins(transaction: Transaction) -> bool:
    """Whether the transaction notes that a visit begins."""
    return any(isinstance(write, Put) and write.key.space == layout.LOG for write in transaction.writes)


@pytest.mark.row("F-C81", "P-R15")
async def test_the_first_heartbeat_makes_the_visitor_known(visits: Visits, clock: ManualClock) -> None:
    clock.advance(timedelta(milliseconds=123))
    visitor = await visits.track_session("ada")
    assert visitor.anonymous_id == "ada"
    assert visitor.created_at == visitor.last_active == visitor.visit.started_at == now(clock)
    assert (visitor.visit.index, visitor.visit.previous, visitor.visit.engaged) == (1, None, timedelta(0))
    assert await visits.get("ada") == visitor
    assert [visit async for visit in visits.history("ada")] == [visitor.visit]


@pytest.mark.row("F-C81")
async def test_a_later_heartbeat_moves_the_last_activity_only(visits: Visits, clock: ManualClock) -> None:
    first = await visits.track_session("ada")
    clock.advance(timedelta(minutes=10, milliseconds=7))
    later = await visits.track_session("ada")
    assert later.last_active == now(clock)
    assert (later.anonymous_id, later.created_at, later.visit) == (first.anonymous_id, first.created_at, first.visit)


async def test_what_is_read_later_is_exact_to_one_step_and_never_ahead(visits: Visits, clock: ManualClock) -> None:
    clock.advance(STEP / 4)
    beaten = await visits.track_session("ada")
    for _ in range(8):
        clock.advance(STEP / 4)
        read = await visits.get("ada")
        assert read is not None
        assert read.created_at == beaten.created_at
        assert read.last_active <= now(clock)
        assert timedelta(0) <= read.last_active - beaten.last_active <= STEP


@pytest.mark.row("F-C82", "F-W12")
async def test_first_heartbeats_at_the_same_time_make_one_visitor(store: Store, visits: Visits) -> None:
    visitors = await asyncio.gather(*(visits.track_session("ada") for _ in range(32)))
    assert {(visitor.created_at, visitor.visit.index) for visitor in visitors} == {
        (visitors[0].created_at, 1),
    }
    assert len((await store.rank(RankSpan(layout.VISIT))).records) == 1
    assert await indices(visits) == [1]


@pytest.mark.row("F-C82", "F-W12", "P-R15")
async def test_two_processes_at_once_make_one_visitor_and_one_visit(shared_url: str, clock: ManualClock) -> None:
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as two:
        both = [Visits(one), Visits(two)]
        for index in (1, 2, 3):
            async with clock.rushing():
                await asyncio.gather(*(visits.track_session("ada") for visits in both * 8))
            assert await indices(both[0]) == [*range(1, index + 1)]
            clock.advance(IDLE + STEP)
        assert len((await one.rank(RankSpan(layout.VISIT))).records) == 1


async def test_a_process_whose_clock_is_behind_shows_nobody_who_was_active_before_it_was_created(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    await visits.track_session("ada")
    record = (await store.read(Reads(KEYS))).records.keys[0]
    assert record is not None
    visitor = visitor_from(record, clock.now() - 5_000)
    assert visitor.created_at == visitor.last_active == now(clock) - timedelta(seconds=5)


async def test_a_steady_heartbeat_is_one_commit_and_no_read(visits: Visits, trips: Trips, clock: ManualClock) -> None:
    await visits.track_session("ada")
    assert (len(trips.commits), len(trips.reads)) == (2, 0), "a new visit is noted in a second commit"
    trips.clear()
    for beats in range(1, 6):
        clock.advance(STEP)
        await visits.track_session("ada")
        assert (len(trips.commits), len(trips.reads)) == (beats, 0)


async def test_within_a_step_a_heartbeat_writes_nothing_and_beyond_it_wakes_nobody(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    align(clock)
    clock.advance(timedelta(milliseconds=1))
    await visits.track_session("ada")
    before = (await store.read(Reads(KEYS))).records
    marker = Key("test", "marker", "")
    async with store.watch(*map(Space, ("visit", "visit.active", "visit.idle", "visit.log", "test"))) as changes:
        for _ in range(9):
            clock.advance(STEP / 10)
            await visits.track_session("ada")
        assert (await store.read(Reads(KEYS))).records == before
        for _ in range(9):
            clock.advance(STEP)
            await visits.track_session("ada")
        after = (await store.read(Reads(KEYS))).records
        assert [record and record.revision for record in after.keys] == [
            record and record.revision for record in before.keys
        ]
        assert after != before, "it was touched"
        await store.commit(Transaction(writes=(Put(marker, b""),)))
        assert (await anext(changes)).keys == {marker}  # type: ignore[union-attr]


@pytest.mark.row("P-R15", "F-W8")
async def test_a_pause_begins_a_new_visit_that_names_the_one_before(visits: Visits, clock: ManualClock) -> None:
    first = await visits.track_session("ada")
    clock.advance(IDLE - timedelta(milliseconds=1))
    assert (await visits.track_session("ada")).visit == first.visit
    clock.advance(IDLE + STEP)
    second = await visits.track_session("ada")
    assert (second.visit.index, second.visit.previous, second.visit.started_at) == (2, 1, now(clock))
    assert second.created_at == first.created_at
    assert [visit async for visit in visits.history("ada")] == [second.visit, first.visit]
    assert await visits.get("ada") == second


@pytest.mark.row("P-R15", "F-W8")
async def test_a_visit_ends_at_its_longest_however_active(visits: Visits, clock: ManualClock) -> None:
    first = await visits.track_session("ada")
    for _ in range(int(LONGEST / (IDLE / 2)) - 1):
        clock.advance(IDLE / 2)
        assert (await visits.track_session("ada")).visit == first.visit
    clock.advance(IDLE / 2)
    assert (await visits.track_session("ada")).visit.index == 2
    clock.advance(IDLE / 2)
    assert (await visits.track_session("ada")).visit.index == 2
    assert await indices(visits) == [1, 2]


@pytest.mark.row("P-R15")
async def test_visits_without_a_longest_time_begin_and_end_by_pauses(store: Store, clock: ManualClock) -> None:
    visits = Visits(store, longest=limits.TTL_MAX)
    for index in (1, 2):
        for _ in range(2):
            visitor = await visits.track_session("ada")
            assert (visitor.visit.index, visitor.visit.started_at) == (index, now(clock))
        assert await indices(visits) == [*range(1, index + 1)]
        clock.advance(IDLE + STEP)


@pytest.mark.row("P-R15")
async def test_a_new_visit_is_noted_once_whoever_sees_it(visits: Visits, trips: Trips, clock: ManualClock) -> None:
    await visits.track_session("ada")
    clock.advance(IDLE + STEP)
    trips.clear()
    visitors = await asyncio.gather(*(visits.track_session("ada") for _ in range(16)))
    assert {visitor.visit.index for visitor in visitors} == {2}
    assert await indices(visits) == [1, 2]


@pytest.mark.row("P-R15")
async def test_who_sees_a_new_visit_that_another_notes_first_is_told_what_is_noted(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    submit, overtaken, faster = store.submit, False, list[Visitor]()

    async def held_up(transaction: Transaction) -> Committed | Conflict:
        nonlocal overtaken
        if begins(transaction) and not overtaken:
            overtaken = True
            clock.advance(timedelta(seconds=5))
            faster.append(await Visits(store).track_session("ada"))
        return await submit(transaction)

    store.submit = held_up  # type: ignore[method-assign]
    visitor = await visits.track_session("ada")
    assert [visitor.visit] == [one.visit for one in faster] == [visit async for visit in visits.history("ada")]


@pytest.mark.row("P-R15")
async def test_a_visit_that_is_over_before_it_was_noted_leaves_it_to_the_next_heartbeat(
    store: Store, visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = store.submit

    async def far_too_late(transaction: Transaction) -> Committed | Conflict:
        if begins(transaction):
            clock.advance(IDLE + STEP)
        return await submit(transaction)

    monkeypatch.setattr(store, "submit", far_too_late)
    assert (await visits.track_session("ada")).visit.index == 1
    monkeypatch.undo()
    assert await indices(visits) == []
    assert (await visits.track_session("ada")).visit.started_at == now(clock)
    assert await indices(visits) == [1]


@pytest.mark.row("P-R15")
async def test_the_log_of_visits_ends_with_the_retention_and_the_counting_goes_on(
    visits: Visits, clock: ManualClock
) -> None:
    created = (await visits.track_session("ada")).created_at
    clock.advance(RETENTION)
    visitor = await visits.track_session("ada")
    assert (visitor.created_at, visitor.visit.index) == (created, 2)
    assert await indices(visits) == [2]


@pytest.mark.row("P-R15")
async def test_history_comes_by_page(visits: Visits, clock: ManualClock) -> None:
    for _ in range(5):
        await visits.track_session("ada")
        clock.advance(IDLE + STEP)
    pages: list[list[int]] = []
    after: str | None = None
    while after is not None or not pages:
        page = await visits.history("ada", limit=2, after=after)
        pages.append([visit.index for visit in page.items])
        after = page.next
    assert pages == [[5, 4], [3, 2], [1]]
    await visits.track_session("bob")
    with pytest.raises(InvalidError, match="cursor"):
        visits.history("bob", after=(await visits.history("ada", limit=1)).next)
    for cursor in ("", "x", "AAAA", "a" * 5_000):
        with pytest.raises(InvalidError, match="cursor"):
            visits.history("ada", after=cursor)
    with pytest.raises(InvalidError, match="limit"):
        visits.history("ada", limit=0)
    with pytest.raises(LimitError):
        visits.history("ada", limit=limits.PAGE_MAX + 1)


@pytest.mark.row("P-R15", "F-W10")
async def test_who_dies_before_a_visit_is_noted_leaves_it_to_the_next_heartbeat(url: str, clock: ManualClock) -> None:
    engine = sojourn.open(url, clock=clock).engine
    await engine.open()
    healthy = Visits(Store(engine, clock=clock))
    dying = Visits(Store(FaultyEngine(engine, 1, poisoned=begins), clock=clock))
    created: datetime | None = None
    async with healthy.store, dying.store:
        for index in (1, 2):
            with pytest.raises(RefusedError):
                await dying.track_session("ada")
            half = await dying.get("ada")
            assert half is not None
            assert half.visit.index == 1, "what is not noted has not begun"
            assert half.last_active == now(clock)
            assert half.created_at == half.visit.started_at == (now(clock) if index == 1 else created)
            clock.advance(STEP)
            visitor = await healthy.track_session("ada")
            assert (visitor.visit.index, visitor.visit.started_at) == (index, now(clock))
            created = visitor.created_at
            assert await indices(healthy) == [*range(1, index + 1)]
            clock.advance(IDLE + STEP)


@pytest.mark.row("P-R15")
async def test_when_a_visit_cannot_be_noted_the_heartbeat_holds_all_the_same(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    """Whoever is told that nothing was written would repeat an action that was."""
    submit = store.submit

    async def cut_off(transaction: Transaction) -> Committed | Conflict:
        if begins(transaction):
            raise UnavailableError("cut off on purpose")
        return await submit(transaction)

    store.submit = cut_off  # type: ignore[method-assign]
    await visits.track_user_action("ada", "click")
    visitor = await visits.track_session("ada")
    assert (visitor.visit.index, visitor.last_active) == (1, now(clock))
    assert await indices(visits) == []
    store.submit = submit  # type: ignore[method-assign]
    await visits.track_session("ada")
    assert await indices(visits) == [1]
    assert len((await visits.actions("ada")).items) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.row("P-R15", "F-C82")
async def test_no_visit_is_lost_or_doubled_by_a_faulty_engine(url: str, clock: ManualClock, seed: int) -> None:
    engine = FaultyEngine(
        sojourn.open(url, clock=clock).engine, seed, lose=0.2, drop=0.2, repeat=0.2, refuse=0.2, delay=0.2
    )
    async with Store(engine, clock=clock) as store:
        visits = Visits(store)

        async def beat() -> bool:
            try:
                await visits.track_session("ada")
            except SojournError:
                return False
            return True

        for index in range(1, 6):
            async with clock.rushing():
                while not any(await asyncio.gather(*(beat() for _ in range(4)))):
                    pass
                while (await indices(visits))[-1:] != [index]:
                    await beat()
                await asyncio.gather(*(beat() for _ in range(4)))
            assert await indices(visits) == [*range(1, index + 1)]
            clock.advance(IDLE + STEP)
        assert engine.faults.lost
        assert engine.faults.dropped


@pytest.mark.row("F-C81")
async def test_a_cancelled_heartbeat_leaves_nothing_half(visits: Visits, clock: ManualClock) -> None:
    for rounds in range(12):
        beat = asyncio.create_task(visits.track_session("ada"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        visitor = await visits.track_session("ada")
        assert await indices(visits) == [*range(1, visitor.visit.index + 1)]
        assert visitor.visit.index == rounds + 1
        clock.advance(IDLE + STEP)


async def test_a_heartbeat_joins_a_commit_of_the_application(store: Store, visits: Visits, clock: ManualClock) -> None:
    beside = Key("test", "ada", "")

    async def work(tx: Attempt) -> int:
        first = await visits.track_session("ada", tx=tx)
        again = await visits.track_session("ada", tx=tx)
        assert again == first
        tx.put(beside, b"")
        return first.visit.index

    for index in (1, 2):
        assert await store.run(work) == index
        assert await store.run(work) == index
        visitor = await visits.track_session("ada")
        assert (visitor.visit.index, visitor.last_active) == (index, now(clock))
        assert await indices(visits) == [*range(1, index + 1)]
        clock.advance(IDLE + STEP)

    async def fail(tx: Attempt) -> None:
        await visits.track_session("bob", tx=tx)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(fail)
    assert await visits.get("bob") is None


@pytest.mark.row("F-C83")
async def test_only_who_is_known_can_be_tracked_as_known(store: Store, visits: Visits, trips: Trips) -> None:
    with pytest.raises(VisitorUnknownError):
        await visits.track_known_session("ada")
    assert (await store.read(Reads(KEYS))).records.keys == (None, None, None)
    assert await visits.get("ada") is None
    await visits.track_session("ada")
    trips.clear()
    assert (await visits.track_known_session("ada")).visit.index == 1
    assert (len(trips.commits), len(trips.reads)) == (1, 0)


async def test_leaving_ends_the_presence_and_not_the_visit(store: Store, visits: Visits, clock: ManualClock) -> None:
    await visits.leave("ada")
    first = await visits.track_session("ada")
    await visits.leave("ada")
    await visits.leave("ada")
    active = Reads((layout.active("ada"),))
    assert (await store.read(active)).records.keys == (None,)
    clock.advance(STEP)
    assert (await visits.track_session("ada")).visit == first.visit
    assert (await store.read(active)).records.keys != (None,)
    await store.run(lambda tx: visits.leave("ada", tx=tx))
    assert (await store.read(active)).records.keys == (None,)


async def test_the_presence_ends_when_it_is_told_to(store: Store, visits: Visits, clock: ManualClock) -> None:
    await visits.track_session("ada")
    clock.advance(ACTIVE_FOR + STEP)
    records = (await store.read(Reads(KEYS))).records.keys
    assert [record is not None for record in records] == [True, False, True]


async def test_an_erased_visitor_begins_anew(store: Store, visits: Visits, clock: ManualClock) -> None:
    """Also where only some of its records are gone, as while it is being erased."""
    for gone in (KEYS[:1], KEYS[2:], KEYS):
        await visits.track_session("ada")
        deletions: tuple[Write, ...] = tuple(map(Delete, gone))
        await store.commit(Transaction(writes=deletions))
        visitor = await visits.track_session("ada")
        assert visitor.last_active == now(clock)
        assert await visits.get("ada") == visitor


async def test_who_is_erased_between_the_two_commits_stays_erased(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    submit = store.submit

    async def erase_first(transaction: Transaction) -> Committed | Conflict:
        if begins(transaction):
            await submit(Transaction(writes=tuple(map(Delete, KEYS))))
        return await submit(transaction)

    store.submit = erase_first  # type: ignore[method-assign]
    assert (await visits.track_session("ada")).last_active == now(clock)
    assert await visits.get("ada") is None
    assert await indices(visits) == []


@pytest.mark.parametrize("anonymous_id", MALFORMED.values(), ids=MALFORMED.keys())
async def test_an_id_out_of_form_is_refused_and_leaves_nothing(visits: Visits, trips: Trips, anonymous_id: str) -> None:
    with pytest.raises(InvalidError, match="anonymous_id"):
        await visits.track_session(anonymous_id)
    with pytest.raises(InvalidError, match="anonymous_id"):
        await visits.track_user_action(anonymous_id, "click")
    with pytest.raises(InvalidError, match="anonymous_id"):
        visits.history(anonymous_id)
    assert trips.commits == []


async def test_an_id_may_be_as_long_as_the_limit_in_any_letters(visits: Visits) -> None:
    longest = "\U00020000" * limits.VISITOR_CHARS
    assert (await visits.track_session(longest)).anonymous_id == longest
    assert await visits.get(longest) is not None
    with pytest.raises(LimitError):
        await visits.track_session(longest + "x")
