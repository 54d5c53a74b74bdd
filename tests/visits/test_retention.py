"""How visitors end: cleanup under live heartbeats, the daily job, export and erasure."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.errors import InvalidError, UnavailableError
from sojourn.kernel import (
    Answer,
    Committed,
    Conflict,
    Delete,
    DeleteSpan,
    Engine,
    Key,
    Put,
    RankAtMost,
    RankPage,
    RankSpan,
    Reads,
    Span,
    Store,
    Timers,
    Transaction,
    ids,
    set_timer,
)
from sojourn.testing import ManualClock
from sojourn.visits import ActionInput, Batch, Visits, layout
from sojourn.visits.model import Terms
from sojourn.visits.retention import Retention

from .conftest import RETENTION, Beside, now

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
SPACES = (layout.VISIT, layout.ACTIVE, "visit.idle", layout.LOG, layout.ACTION, layout.CLIENT)


class Returning(Beside):
    """The engine of a process that cleans up: before each batch, some of those it is about come back elsewhere."""

    def __init__(self, inner: Engine, elsewhere: Visits) -> None:
        super().__init__(inner, 0)
        self._elsewhere = elsewhere
        self._batches = 0
        self.back = set[str]()

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Let them come back, and commit."""
        writes = [write for transaction in batch for write in transaction.writes]
        deleted = (write.at_most if isinstance(write, DeleteSpan) else isinstance(write, Delete) for write in writes)
        assert sum(deleted) <= 3 * limits.DELETE_SPAN_RECORDS, "nobody waits for more than that"
        guards = [guard for transaction in batch for guard in transaction.guards]
        due = [guard.key.partition for guard in guards if isinstance(guard, RankAtMost)]
        returning = set(due[self._batches % 25 :: 25]) - self.back
        self._batches += 1
        await asyncio.gather(*(self._elsewhere.track_session(name) for name in returning))
        self.back |= returning
        return await super().commit(batch)


class Killing:
    """A store that ends the task which uses it after so many commits, as a kill of the process would."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
        self._left = after
        self._submit = store.submit
        monkeypatch.setattr(store, "submit", self.submit)

    async def submit(self, transaction: Transaction) -> Committed | Conflict:
        self._left -= 1
        if self._left < 0:
            raise asyncio.CancelledError
        return await self._submit(transaction)


@pytest.fixture
async def beside(store: Store, clock: ManualClock) -> AsyncIterator[Store]:
    """The store as another process has it."""
    async with Store(Beside(store.engine, 0), clock=clock) as opened:
        yield opened


async def names(store: Store) -> set[str]:
    """Every visitor there is."""
    found = set[str]()
    span = RankSpan(layout.VISIT, limit=limits.PAGE_MAX)
    while True:
        page = await store.rank(span)
        found.update(record.key.partition for record in page.records)
        if page.cursor is None:
            return found
        span = msgspec.structs.replace(span, after=page.cursor)


async def crowd(store: Store, visits: Visits, size: int) -> list[str]:
    """Make as many visitors who are active now, all but the first by hand."""
    await visits.track_session("v0")
    (record,) = (await store.read(Reads((layout.visitor("v0"),)))).records.keys
    assert record is not None
    made = [f"v{number}" for number in range(size)]
    for start in range(1, size, 1_000):
        puts = (Put(layout.visitor(name), record.value, rank=record.rank) for name in made[start : start + 1_000])
        await asyncio.gather(*(store.commit(Transaction(writes=(put,))) for put in puts))
    return made


async def owned(store: Store, name: str) -> dict[str, int]:
    """How many records a visitor owns in each space where it owns any."""
    spans = tuple(Span(space, name, limit=limits.PAGE_MAX) for space in SPACES)
    pages = (await store.read(Reads(spans=spans))).records.spans
    return {space: len(page) for space, page in zip(SPACES, pages, strict=True) if page}


@pytest.mark.row("F-C88")
async def test_a_cleanup_deletes_what_is_older_than_30_days_or_than_was_said(
    visits: Visits, clock: ManualClock
) -> None:
    await visits.track_session("old")
    clock.advance(20 * DAY)
    await visits.track_session("middle")
    clock.advance(20 * DAY)
    await visits.track_session("new")
    cleaned = await visits.cleanup_old_sessions()
    assert (cleaned.deleted_count, cleaned.oldest_date) == (1, now(clock) - 30 * DAY)
    assert await visits.get("old") is None
    cleaned = await visits.cleanup_old_sessions(19.5)
    assert (cleaned.deleted_count, cleaned.oldest_date) == (1, now(clock) - 19.5 * DAY)
    assert await visits.get("middle") is None
    assert await visits.get("new") is not None
    assert (await visits.cleanup_old_sessions(timedelta(hours=1))).deleted_count == 0


@pytest.mark.row("F-C88")
async def test_a_visitor_of_exactly_that_age_stays(store: Store, clock: ManualClock) -> None:
    visits = Visits(store, precision=MILLISECOND)
    await visits.track_session("ada")
    clock.advance(DAY)
    for dry_run in (True, False):
        assert (await visits.cleanup_old_sessions(1, dry_run=dry_run)).deleted_count == 0
    clock.advance(MILLISECOND)
    for dry_run in (True, False):
        assert (await visits.cleanup_old_sessions(1, dry_run=dry_run)).deleted_count == 1


@pytest.mark.row("F-C88", "F-W4")
async def test_a_cleanup_leaves_nothing_of_a_visitor_and_touches_nobody_else(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    action = ActionInput(sequence=1, at=0, action="click", engaged_ms=5)
    for name in ("old", "new"):
        await visits.track_batch(name, Batch("page", 0, (action,)))
        clock.advance(timedelta(minutes=10))
    before = await owned(store, "new")
    assert set(before) == set(SPACES)
    cleaned = await visits.cleanup_old_sessions(timedelta(minutes=15))
    assert cleaned.deleted_count == 1
    assert await owned(store, "old") == {}
    assert await owned(store, "new") == before


@pytest.mark.row("F-C90", "F-W5")
@pytest.mark.parametrize(
    "age",
    [
        0,
        -1,
        -0.0,
        float("nan"),
        float("inf"),
        1e300,
        36_526,
        1e-12,
        timedelta(0),
        -DAY,
        timedelta.max,
        True,
        "30",
        None,
    ],
)
async def test_an_age_that_is_none_is_refused_and_deletes_nothing(visits: Visits, clock: ManualClock, age: Any) -> None:
    await visits.track_session("ada")
    clock.advance(40 * DAY)
    for dry_run in (True, False):
        with pytest.raises(InvalidError, match="days_inactive"):
            await visits.cleanup_old_sessions(age, dry_run=dry_run)
    assert await visits.get("ada") is not None


@pytest.mark.row("F-W5")
async def test_a_cleanup_can_be_tried_without_deleting(store: Store, visits: Visits, clock: ManualClock) -> None:
    made = await crowd(store, visits, 120)
    clock.advance(31 * DAY)
    await visits.track_session("v7")
    tried = await visits.cleanup_old_sessions(dry_run=True)
    assert tried.deleted_count == 119
    assert await names(store) == set(made)
    assert await visits.cleanup_old_sessions() == tried


@pytest.mark.row("F-C89", "F-W4")
async def test_a_cleanup_of_many_under_live_heartbeats_is_killed_twice_resumes_and_spares_who_comes_back(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    made = await crowd(store, visits, 10_000)
    await asyncio.gather(*(visits.track_user_action(name, "click") for name in made[:200]))
    clock.advance(31 * DAY)
    engine = Returning(store.engine, visits)
    left = 10_000
    for kill_after in (1_234, 5_678):
        async with Store(engine, clock=clock) as dying:
            with pytest.MonkeyPatch.context() as patch:
                Killing(dying, patch, after=kill_after)
                with pytest.raises(asyncio.CancelledError):
                    await Visits(dying).cleanup_old_sessions()
        assert len(await names(store)) < left
        left = len(await names(store))
    async with Store(engine, clock=clock) as cleaning:
        cleaned = await Visits(cleaning).cleanup_old_sessions()
    assert len(engine.back) > 100
    assert await names(store) == engine.back
    assert cleaned.deleted_count == left - len(engine.back)
    assert not [name for name in made[:200] if name not in engine.back and await owned(store, name)]


@pytest.mark.row("F-C89", "F-W4")
async def test_a_visitor_with_very_many_actions_is_deleted_in_bounded_steps(
    store: Store, visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELETE_SPAN_RECORDS", 30)
    await crowd(store, visits, 60)
    for _ in range(5):
        await asyncio.gather(*(visits.track_user_action("v3", "click") for _ in range(20)))
    clock.advance(2 * DAY)
    cleaned = await visits.cleanup_old_sessions(1)
    assert cleaned.deleted_count == 60
    assert await owned(store, "v3") == {}


@pytest.mark.row("F-C89", "F-W4")
async def test_who_comes_back_before_anything_was_deleted_keeps_everything(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(store, retention=60 * DAY)
    await visits.track_user_action("ada", "click")
    clock.advance(31 * DAY)
    rank = store.rank

    async def listed(span: RankSpan) -> RankPage:
        page = await rank(span)
        await visits.track_session("ada")
        return page

    monkeypatch.setattr(store, "rank", listed)
    assert (await visits.cleanup_old_sessions()).deleted_count == 0
    assert [action.action async for action in visits.actions("ada")] == ["click"]
    assert [visit.index async for visit in visits.history("ada")] == [2, 1]


@pytest.mark.row("F-C89")
async def test_who_comes_back_in_the_midst_of_it_is_spared_as_the_same_visitor(
    store: Store, visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await visits.track_session("ada")
    clock.advance(31 * DAY)
    emptied = visits._retention._empties

    async def come_back(*arguments: Any) -> bool:
        more = await emptied(*arguments)
        await visits.track_session("ada")
        return more

    monkeypatch.setattr(visits._retention, "_empties", come_back)
    assert (await visits.cleanup_old_sessions()).deleted_count == 0
    found = await visits.get("ada")
    assert found is not None
    assert (found.created_at, found.visit.index) == (first.created_at, 2)


async def test_a_deletion_whose_answer_is_lost_is_counted_once(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    await crowd(store, visits, 200)
    clock.advance(31 * DAY)
    engine = Beside(store.engine, seed=5, lose=0.3, repeat=0.3, drop=0.1)
    async with Store(engine, clock=clock) as unreliable, clock.rushing():
        cleaned = await Visits(unreliable).cleanup_old_sessions()
    assert engine.faults.lost
    assert engine.faults.repeated
    assert cleaned.deleted_count == 200


@pytest.mark.row("F-C88", "F-C96")
async def test_of_several_processes_one_does_the_daily_cleanup_by_the_retention(
    store: Store, beside: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [Retention(which, Terms(), time(2, 30)) for which in (store, beside)]
    timers = [Timers(store, layout.TIMER, jobs[0]._clean_daily), Timers(beside, layout.TIMER, jobs[1]._clean_daily)]
    visits = Visits(store)
    await asyncio.gather(*(job._begin() for job in jobs))
    await visits.track_session("old")
    clock.advance(RETENTION - DAY + timedelta(hours=1))
    await visits.track_session("new")
    with caplog.at_level(logging.INFO, "sojourn.visits.retention"):
        for expected in ({"old", "new"}, {"new"}, {"new"}):
            await asyncio.gather(*(worker.step() for worker in timers))
            await asyncio.gather(*(worker.step() for worker in timers))
            assert await names(store) == expected
            assert await due(store) == datetime(2001, 9, 9, 2, 30, tzinfo=UTC) + _days_since(clock)
            clock.advance(DAY)
    assert [record.levelname for record in caplog.records].count("INFO") == 3
    assert "ERROR" not in caplog.text


def _days_since(clock: ManualClock) -> timedelta:
    """How long after the first cleanup is due the next one is."""
    return timedelta(days=(now(clock) - datetime(2001, 9, 9, 2, 30, tzinfo=UTC)) // DAY + 1)


async def due(store: Store) -> datetime:
    """When the next cleanup is due."""
    (timer,) = (await store.read(Reads((layout.daily(),)))).records.keys
    assert timer is not None
    assert timer.rank is not None
    return datetime.fromtimestamp(timer.rank / 1_000, UTC)


@pytest.mark.row("F-C96")
async def test_a_day_that_comes_while_the_cleanup_runs_is_left_out_and_logged(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = Retention(store, Terms(), time(2, 30))
    timers = Timers(store, layout.TIMER, job._clean_daily)
    await job._begin()
    assert await due(store) == datetime(2001, 9, 9, 2, 30, tzinfo=UTC)
    rank = store.rank

    async def slow(span: RankSpan) -> RankPage:
        if span.space == layout.VISIT:
            clock.advance(2 * DAY + timedelta(hours=1))
        return await rank(span)

    monkeypatch.setattr(store, "rank", slow)
    clock.advance(timedelta(hours=1))
    await timers.step()
    assert await due(store) == datetime(2001, 9, 12, 2, 30, tzinfo=UTC)
    assert "2 left out" in caplog.text


@pytest.mark.row("F-C96")
async def test_a_process_that_was_held_up_stops_when_another_has_taken_over(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visits = Visits(store, cleanup_at=time(2, 30))
    await crowd(store, visits, 120)
    await visits._retention._begin()
    clock.advance(20 * DAY)
    rank, pages = store.rank, list[RankSpan]()

    async def taken_over(span: RankSpan) -> RankPage:
        pages.append(span)
        if span.space == layout.VISIT and span.after is not None:
            again = set_timer(layout.daily(), b"null", at=clock.now())
            await store.commit(Transaction(ids.new(), writes=(again,)))
        return await rank(span)

    monkeypatch.setattr(store, "rank", taken_over)
    await Timers(store, layout.TIMER, visits._retention._clean_daily).step()
    assert len(await names(store)) == 120 - limits.CLEANUP_VISITORS
    assert "taken over" in caplog.text


async def test_the_daily_job_waits_for_a_store_that_is_away_and_works_until_cancelled(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await Visits(store).track_session("old")
    clock.advance(20 * DAY)
    # With this seed the very first read fails.
    engine = Beside(store.engine, seed=9, fail=0.2, refuse=0.2)
    soon = (now(clock) + timedelta(seconds=5)).time()
    async with Store(engine, clock=clock) as unreliable, store.watch(layout.visitor("old")) as changes:
        running = asyncio.create_task(Visits(unreliable, cleanup_at=soon).run())
        async with clock.rushing():
            await anext(changes)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert await names(store) == set()
    assert "the daily cleanup waits for the store" in caplog.text


async def test_without_a_time_of_day_there_is_no_daily_cleanup(store: Store, clock: ManualClock) -> None:
    await Visits(store).track_session("old")
    running = asyncio.create_task(Visits(store, cleanup_at=None).run())
    await asyncio.sleep(0)
    clock.advance(1_000 * DAY)
    assert clock.sleepers == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert await names(store) == {"old"}


@pytest.mark.parametrize(
    ("at", "first"),
    [
        (time(1, 46, 40), datetime(2001, 9, 10, 1, 46, 40, tzinfo=UTC)),
        (time(1, 46, 40, 1_000), datetime(2001, 9, 9, 1, 46, 40, 1_000, tzinfo=UTC)),
        (time(0, 0), datetime(2001, 9, 10, tzinfo=UTC)),
        (time(23, 59, 59, tzinfo=UTC), datetime(2001, 9, 9, 23, 59, 59, tzinfo=UTC)),
    ],
)
async def test_a_cleanup_is_due_at_the_next_such_time_after_now(store: Store, at: time, first: datetime) -> None:
    await Retention(store, Terms(), at)._begin()
    await Retention(store, Terms(), time(12))._begin()
    assert await due(store) == first, "the timer that stands is left alone"


class Zulu(tzinfo):
    """UTC by another name, as a database of time zones gives it."""

    def utcoffset(self, _when: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _when: datetime | None) -> None:
        return None

    def tzname(self, _when: datetime | None) -> str:
        return "Zulu"


async def test_a_time_in_utc_by_another_name_is_one_in_utc(store: Store) -> None:
    await Retention(store, Terms(), time(2, 30, tzinfo=Zulu()))._begin()
    assert await due(store) == datetime(2001, 9, 9, 2, 30, tzinfo=UTC)


def test_a_time_in_another_zone_is_refused(store: Store) -> None:
    with pytest.raises(InvalidError, match="cleanup_at"):
        Visits(store, cleanup_at=time(2, 30, tzinfo=timezone(timedelta(hours=2))))


@pytest.mark.row("F-W15", "P-R20")
async def test_an_export_has_all_that_is_kept_as_plain_data(visits: Visits, clock: ManualClock) -> None:
    await visits.track_user_action("ada", "look", "tea", {"price": 3, "tags": ["new"]})
    clock.advance(timedelta(hours=2))
    await visits.track_batch("ada", Batch("page", 1_000, (ActionInput(4, 500, "click", engaged_ms=7),)))
    exported = await visits.export("ada")
    assert json.loads(json.dumps(exported, allow_nan=False)) == exported
    assert exported.keys() == {"visitor", "visits", "actions"}
    assert exported["visitor"]["anonymous_id"] == "ada"
    assert [visit["index"] for visit in exported["visits"]] == [1, 2]
    look, click = exported["actions"]
    assert (look["action"], look["resource_id"], look["metadata"]) == ("look", "tea", {"price": 3, "tags": ["new"]})
    assert (click["action"], click["client"], click["sequence"]) == ("click", "page", 4)
    assert datetime.fromisoformat(click["timestamp"]) == now(clock)


@pytest.mark.row("F-W15", "P-R20")
async def test_an_export_of_many_actions_has_all_of_them_in_order(store: Store, visits: Visits) -> None:
    for start in range(0, limits.PAGE_MAX + 100, 100):
        await asyncio.gather(
            *(visits.track_user_action("ada", "click", str(number)) for number in range(start, start + 100))
        )
    exported = await visits.export("ada")
    assert sorted(int(action["resource_id"]) for action in exported["actions"]) == list(range(limits.PAGE_MAX + 100))
    timestamps = [action["timestamp"] for action in exported["actions"]]
    assert timestamps == sorted(timestamps)


@pytest.mark.row("F-W15", "P-R20")
async def test_an_export_of_nobody_is_empty(visits: Visits) -> None:
    await visits.track_session("bob")
    assert await visits.export("ada") == {}


@pytest.mark.row("F-W15", "P-R20")
async def test_an_erased_visitor_leaves_nothing_and_is_counted(
    store: Store, visits: Visits, clock: ManualClock
) -> None:
    for name in ("ada", "bob"):
        await visits.track_batch(name, Batch("page", 0, (ActionInput(1, 0, "click"), ActionInput(2, 0, "buy"))))
        await visits.track_batch(name, Batch("other page", 0, (ActionInput(1, 0, "click"),)))
    kept, bob = await owned(store, "ada"), await owned(store, "bob")
    assert await visits.erase("ada") == sum(kept.values()) == 9
    assert await owned(store, "ada") == {}
    assert await visits.export("ada") == {}
    assert await owned(store, "bob") == bob
    assert await visits.erase("ada") == 0


@pytest.mark.row("F-W15", "P-R20")
async def test_erasing_goes_in_bounded_steps_and_on_after_a_kill(
    store: Store, visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = 3 * limits.DELETE_SPAN_RECORDS
    keys = [Key(layout.ACTION, "ada", f"{number:08x}") for number in range(actions)]
    await visits.track_session("ada")
    for start in range(0, actions, 500):
        puts = tuple(Put(key, b"{}") for key in keys[start : start + 500])
        await store.commit(Transaction(ids.new(), writes=puts))
    with pytest.MonkeyPatch.context() as patch:
        Killing(store, patch, after=1)
        with pytest.raises(asyncio.CancelledError):
            await visits.erase("ada")
    assert await visits.get("ada") is not None, "the visitor goes last, so that the rest can still be found"
    assert await visits.erase("ada") == 2 * limits.DELETE_SPAN_RECORDS + 3
    assert await owned(store, "ada") == {}


async def test_erasing_counts_and_deletes_what_comes_meanwhile(
    store: Store, beside: Store, visits: Visits, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await visits.track_user_action("ada", "click")
    submit, came = store.submit, list[str]()

    async def overtaken(transaction: Transaction) -> Committed | Conflict:
        if len(came) < 3:
            came.append("click")
            await Visits(beside).track_user_action("ada", "click")
        return await submit(transaction)

    monkeypatch.setattr(store, "submit", overtaken)
    async with clock.rushing():
        assert await visits.erase("ada") == 8
    assert await owned(store, "ada") == {}


async def test_a_store_that_is_away_is_said_to_be(store: Store, clock: ManualClock) -> None:
    async with Store(Beside(store.engine, seed=1, fail=1.0), clock=clock) as away:
        visits = Visits(away)
        for asked in (visits.cleanup_old_sessions(), visits.export("ada"), visits.erase("ada")):
            with pytest.raises(UnavailableError):
                await asked
