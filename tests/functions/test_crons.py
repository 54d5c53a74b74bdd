"""Crons: what the clock calls, in one process at a time, through restarts, deploys and pauses."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import InvalidError, LimitError
from sojourn.functions import ActionCtx, Bound, Functions, MutationCtx, QueryCtx
from sojourn.functions.scheduling import CronState
from sojourn.kernel import Span, Store
from sojourn.kernel.clock import moment
from sojourn.sessions import SessionId, Sessions
from sojourn.testing import ManualClock

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Office:
    """An application that counts for all, in one process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.functions = functions = Functions(Sessions(store))
        self.crons = functions.crons
        self.totals = totals = functions.collection("totals", int, by=str)
        self.times = list[datetime]()

        @functions.mutation.sessionless
        async def count(ctx: MutationCtx, *, key: str = "tea") -> int:
            self.times.append(ctx.now)
            return await ctx.db(totals).update(key, lambda total: total + 1)

        @functions.query.sessionless
        async def total(ctx: QueryCtx, *, key: str = "tea") -> int:
            return await ctx.db(totals).get(key, default=0)

        self.count, self.total = count, total

    def bind(self) -> Bound:
        """Start one more process."""
        return self.functions.bind(self.store)


@pytest.fixture
async def office(store: Store) -> Office:
    return Office(store)


@pytest.fixture
async def here(clock: ManualClock) -> AsyncIterator[Office]:
    """The same in memory only, where the store does not matter."""
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        yield Office(store)


async def run_due(*processes: Bound) -> None:
    """Tick, and run what that has scheduled, in all of these at once."""
    for _ in range(2):
        await asyncio.gather(*(one.schedules.step() for one in processes))
        await asyncio.gather(*(one.schedules.settle() for one in processes))


async def state_of(bound: Bound, name: str = "count") -> CronState:
    """The cron of this name."""
    (state,) = (one for one in await bound.schedules.crons() if one.name == name)
    return state


async def test_an_interval_runs_at_its_deploy_and_then_at_fixed_instants_in_one_of_the_processes(
    office: Office, clock: ManualClock
) -> None:
    """Proves on each engine that two processes make one run of each tick, which is not put off by a late one."""
    office.crons.interval("count", office.count, seconds=10)
    processes = [office.bind(), office.bind()]
    first = clock.now()
    for pause in (0, 10, 13, 7, 9, 1):
        clock.advance(SECOND * pause)
        await run_due(*processes)
    assert await processes[0].run(office.total) == 5
    assert [int((at - moment(first)).total_seconds()) for at in dict.fromkeys(office.times)] == [0, 10, 23, 30, 40]
    state = await state_of(processes[1])
    assert state.next_at == moment(first) + 50 * SECOND
    assert state.last is not None
    assert (state.function, state.skipped, state.last.state, state.last.result) == ("count", 0, "success", 5)
    kept = [record async for record in office.store.scan(Span("function.scheduled", "cron"))]
    assert len(kept) == 1, "a cron of each second does not fill the store"


async def test_ticks_that_were_missed_while_nobody_was_there_are_one_run(here: Office, clock: ManualClock) -> None:
    here.crons.interval("count", here.count, minutes=1)
    here.crons.daily("nightly", here.count, hour=2, minute=30, arguments={"key": "salt"})
    await run_due(here.bind())
    clock.advance(timedelta(days=3, seconds=30))
    after = here.bind()
    await run_due(after)
    await run_due(after)
    assert await after.run(here.total) == 2
    assert await after.run(here.total, key="salt") == 1
    assert (await state_of(after)).next_at == moment(clock.now()) + 30 * SECOND


@pytest.mark.row("F-C96")
async def test_a_tick_that_comes_while_the_last_run_goes_on_is_skipped_and_logged(
    office: Office, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    running, most, go = list[int](), list[int](), asyncio.Event()

    @office.functions.action.sessionless
    async def work(ctx: ActionCtx) -> None:
        running.append(1)
        most.append(len(running))
        await go.wait()
        await ctx.run_mutation(office.count)
        running.pop()

    office.crons.interval("work", work, minutes=1)
    processes = [office.bind(), office.bind()]
    for _ in range(3):
        await asyncio.gather(*(one.schedules.step() for one in processes))
        await asyncio.gather(*(one.schedules.step() for one in processes))
        clock.advance(MINUTE)
    state = await state_of(processes[0], "work")
    assert state.last is not None
    assert (state.last.state, state.skipped) == ("in_progress", 2)
    assert caplog.text.count("skipped") == 2
    go.set()
    await asyncio.gather(*(one.schedules.settle() for one in processes))
    await run_due(*processes)
    assert most == [1, 1], "never two at once"
    assert await processes[0].run(office.total) == 2
    state = await state_of(processes[0], "work")
    assert state.last is not None
    assert (state.last.state, state.skipped) == ("success", 0)


@pytest.mark.row("F-C96")
async def test_a_run_whose_process_died_holds_up_its_cron_until_its_deadline(here: Office, clock: ManualClock) -> None:
    @here.functions.action.sessionless
    async def work(ctx: ActionCtx) -> None:
        await asyncio.Event().wait()

    here.crons.interval("work", work, minutes=1)
    bound = here.bind()
    await bound.schedules.step()
    await bound.schedules.step()
    clock.advance(limits.SCHEDULED_ACTION - MINUTE)
    await bound.schedules.step()
    assert (await state_of(bound, "work")).skipped == 1
    clock.advance(MINUTE)
    await bound.schedules.settle()
    await bound.schedules.step()
    state = await state_of(bound, "work")
    assert state.last is not None
    assert (state.last.state, state.skipped) == ("in_progress", 0)


async def test_a_cron_that_fails_goes_on(here: Office, clock: ManualClock) -> None:
    @here.functions.mutation.sessionless
    async def fail(ctx: MutationCtx) -> None:
        here.times.append(ctx.now)
        raise KeyError

    here.crons.interval("count", fail, hours=1)
    bound = here.bind()
    for _ in range(3):
        await run_due(bound)
        state = await state_of(bound)
        assert state.last is not None
        assert state.last.state == "failed"
        clock.advance(HOUR)
    assert len(here.times) == 3


async def test_a_cron_calls_in_the_minutes_that_its_fields_name_in_utc(here: Office, clock: ManualClock) -> None:
    """The clock begins on Sunday, 9 September 2001, at 01:46:40."""
    here.crons.daily("daily", here.count, hour=2, minute=30, arguments={"key": "daily"})
    here.crons.cron("mondays", "15 */12 * * MON", here.count, arguments={"key": "mondays"})
    bound = here.bind()
    await run_due(bound)
    next_at = {one.name: one.next_at for one in await bound.schedules.crons()}
    assert next_at == {
        "daily": datetime(2001, 9, 9, 2, 30, tzinfo=UTC),
        "mondays": datetime(2001, 9, 10, 0, 15, tzinfo=UTC),
    }
    for _ in range(96):
        clock.advance(MINUTE * 30)
        await run_due(bound)
    assert [await bound.run(here.total, key=key) for key in next_at] == [2, 2]


async def test_the_newer_definition_counts_and_an_older_process_does_not_undo_it(
    here: Office, clock: ManualClock
) -> None:
    here.crons.interval("count", here.count, minutes=1, arguments={"key": "old"})
    old = here.bind()
    await run_due(old)
    newer = Office(here.store)
    newer.crons.interval("count", newer.count, minutes=2, arguments={"key": "new"})
    new = newer.bind()
    await run_due(new)
    for _ in range(4):
        clock.advance(MINUTE)
        await run_due(old)
    assert [await new.run(newer.total, key=key) for key in ("old", "new")] == [1, 3]
    again = newer.bind()
    await run_due(again)
    assert [await new.run(newer.total, key=key) for key in ("old", "new")] == [1, 3], "the same is no change"


async def test_a_cron_that_went_with_a_deploy_stops_and_one_whose_process_is_there_goes_on(
    here: Office, clock: ManualClock
) -> None:
    """Proves that a process without a cron ticks for those that have it, and not for nobody."""
    here.crons.interval("count", here.count, minutes=1)
    old, new = here.bind(), Office(here.store).bind()
    await run_due(old)
    for _ in range(5):
        await old.schedules.step()
        clock.advance(MINUTE)
        await run_due(new)
    assert await new.run(here.total) == 6
    clock.advance(limits.CRON_SEEN + timedelta(milliseconds=1))
    for _ in range(limits.SCHEDULED_UNKNOWN):
        await run_due(new)
        assert await new.schedules.crons()
        clock.advance(limits.DUE_BACKOFF_MAX)
    assert await new.run(here.total) == 6
    await run_due(new)
    assert await new.schedules.crons() == ()
    await run_due(old)
    assert await new.run(here.total) == 7, "it begins anew with a process that has it"


async def test_a_cron_that_is_back_after_a_pause_of_all_is_not_forgotten_meanwhile(
    here: Office, clock: ManualClock
) -> None:
    here.crons.daily("count", here.count, hour=2)
    await run_due(here.bind())
    clock.advance(timedelta(days=2))
    await run_due(Office(here.store).bind())
    clock.advance(MINUTE)
    back = here.bind()
    await run_due(back)
    assert await back.run(here.total) == 1, "for the two that were missed"


async def test_while_it_runs_a_process_says_that_its_crons_are_there(here: Office, clock: ManualClock) -> None:
    here.crons.interval("count", here.count, minutes=1)
    bound, other = here.bind(), Office(here.store).bind()
    running = asyncio.create_task(bound.schedules.run())
    try:
        for _ in range(12):
            await clock.until_sleeping(3)
            clock.advance(30 * SECOND)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    clock.advance(MINUTE)
    await run_due(other)
    assert (await state_of(other)).next_at > moment(clock.now())


def bad_crons(office: Office) -> dict[str, Any]:
    """Definitions that are refused."""

    @office.functions.mutation
    async def of_session(ctx: MutationCtx, session_id: SessionId) -> None: ...

    crons: Any = office.crons
    count = office.count
    crons.interval("taken", count, seconds=1)
    return {
        "0 s": lambda: crons.interval("x", count, seconds=0),
        "-1 s": lambda: crons.interval("x", count, seconds=-1),
        "half a second": lambda: crons.interval("x", count, seconds=0.5),
        "true minutes": lambda: crons.interval("x", count, minutes=True),
        "two units": lambda: crons.interval("x", count, seconds=1, minutes=1),
        "no unit": lambda: crons.interval("x", count),
        "hour 24": lambda: crons.daily("x", count, hour=24),
        "hour -1": lambda: crons.daily("x", count, hour=-1),
        "minute 60": lambda: crons.daily("x", count, hour=0, minute=60),
        "hour 2.5": lambda: crons.daily("x", count, hour=2.5),
        "field of hour 24": lambda: crons.cron("x", "0 24 * * *", count),
        "four fields": lambda: crons.cron("x", "0 0 * *", count),
        "six fields": lambda: crons.cron("x", "0 0 0 * * *", count),
        "no field": lambda: crons.cron("x", "", count),
        "a word": lambda: crons.cron("x", "@daily", count),
        "foreign digits": lambda: crons.cron("x", "\u0663 * * * *", count),
        "no such day": lambda: crons.cron("x", "0 0 31 2 *", count),
        "never": lambda: crons.cron("x", "0 0 */31 2 MON#5", count),
        "a step of 0": lambda: crons.cron("x", "*/0 * * * *", count),
        "taken": lambda: crons.daily("taken", count, hour=1),
        "no name": lambda: crons.interval("", count, seconds=1),
        "not ASCII": lambda: crons.interval("t\u00e9", count, seconds=1),
        "a tab in it": lambda: crons.interval("a\tb", count, seconds=1),
        "too long": lambda: crons.interval("x" * (limits.CRON_NAME_CHARS + 1), count, seconds=1),
        "a query": lambda: crons.interval("x", office.total, seconds=1),
        "of a session": lambda: crons.interval("x", of_session, seconds=1),
        "a wrong argument": lambda: crons.interval("x", count, seconds=1, arguments={"key": 1}),
        "an unknown argument": lambda: crons.interval("x", count, seconds=1, arguments={"by": 1}),
    }


BAD = [
    "0 s",
    "-1 s",
    "half a second",
    "true minutes",
    "two units",
    "no unit",
    "hour 24",
    "hour -1",
    "minute 60",
    "hour 2.5",
    "field of hour 24",
    "four fields",
    "six fields",
    "no field",
    "a word",
    "foreign digits",
    "no such day",
    "never",
    "a step of 0",
    "taken",
    "no name",
    "not ASCII",
    "a tab in it",
    "too long",
    "a query",
    "of a session",
    "a wrong argument",
    "an unknown argument",
]


@pytest.mark.row("F-C97")
@pytest.mark.parametrize("bad", BAD)
async def test_a_cron_out_of_form_is_refused_when_it_is_defined(here: Office, bad: str) -> None:
    define = bad_crons(here)[bad]
    with pytest.raises(InvalidError):
        define()
    assert [name for name, _ in here.crons] == ["taken"]


@pytest.mark.row("F-C97")
async def test_an_interval_is_bounded_and_so_is_the_number_of_crons(here: Office) -> None:
    with pytest.raises(LimitError):
        here.crons.interval("x", here.count, hours=24 * 365 * 6)
    for number in range(limits.CRONS):
        here.crons.interval(f"cron {number}", here.count, seconds=1)
    with pytest.raises(LimitError):
        here.crons.interval("one more", here.count, seconds=1)
    await run_due(here.bind())


def test_what_reads_fields_is_loaded_by_who_has_a_cron() -> None:
    code = "import sys, sojourn, sojourn.functions; sys.exit('cronsim' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
