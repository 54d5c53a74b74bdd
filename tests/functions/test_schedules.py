"""Scheduled calls: with a mutation's commit or at once, exactly or at most once, and what is known of them."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ApplicationError, ConflictError, InvalidError, LimitError, RefusedError, UnavailableError
from sojourn.functions import ActionCtx, Bound, Caller, Extended, Functions, MutationCtx, Patch, QueryCtx, layer
from sojourn.functions.scheduling import Scheduled, ScheduledState, Scheduler
from sojourn.functions.scheduling.apart import Apart
from sojourn.functions.scheduling.running import Runs
from sojourn.kernel import Description, Put, Store, Transaction
from sojourn.kernel.clock import moment
from sojourn.sessions import SessionId, Sessions
from sojourn.testing import FaultyEngine, ManualClock

MINUTE = timedelta(minutes=1)


class World:
    """An application that counts, by session and for all; `bound` is it in one process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.functions = functions = Functions(Sessions(store))
        self.counts = counts = functions.collection("counts", int, by=SessionId)
        self.totals = totals = functions.collection("totals", int, by=str)

        @functions.mutation
        async def add(ctx: MutationCtx, session_id: SessionId, *, by: int = 1) -> int:
            return await ctx.db(counts).update(session_id, lambda count: count + by)

        @functions.mutation.sessionless
        async def add_to(ctx: MutationCtx, *, key: str) -> int:
            return await ctx.db(totals).update(key, lambda total: total + 1)

        self.add, self.add_to = add, add_to

    async def start(self) -> "World":
        """Bind the functions, and issue a session."""
        self.bound = self.functions.bind(self.store)
        self.session = (await self.functions.sessions.issue(subject="ada")).session
        return self

    @property
    def scheduler(self) -> Scheduler:
        """What an action of the session schedules by."""
        return Scheduler(self.store.run, self.session.id, moment(self.store.clock.now()))

    async def count(self) -> int:
        """What the session has counted."""
        return await self._value(self.counts.key(self.session.id))

    async def total(self, key: str) -> int:
        """What all have counted under a key."""
        return await self._value(self.totals.key(key))

    async def found(self, scheduled_id: str) -> Scheduled:
        """What is known of a call."""
        found = await self.bound.schedules.get(scheduled_id)
        assert found is not None
        return found

    async def _value(self, key: Any) -> int:
        record = await self.store.run(lambda tx: tx.get(key))
        return 0 if record is None else self.counts.codec.decode(record.value)


@pytest.fixture
async def world(store: Store) -> World:
    return await World(store).start()


@pytest.fixture
async def here(clock: ManualClock) -> AsyncIterator[World]:
    """The same in memory only, where the store does not matter."""
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        yield await World(store).start()


async def run_due(bound: Bound) -> None:
    """Run what is due, and what that has scheduled."""
    for _ in range(3):
        await bound.schedules.step()
        await bound.schedules.settle()


@pytest.mark.row("F-C62")
async def test_a_mutation_that_is_scheduled_runs_once_when_it_is_due(world: World, clock: ManualClock) -> None:
    @world.functions.mutation
    async def plan(ctx: MutationCtx, session_id: SessionId) -> str:
        return await ctx.scheduler.run_after(MINUTE, world.add, by=2)

    planned = await world.bound.run(plan, session=world.session, request_id="r")
    assert await world.bound.run(plan, session=world.session, request_id="r") == planned
    pending = await world.found(planned)
    assert (pending.state, pending.function, pending.session_id) == ("pending", "add", world.session.id)
    clock.advance(MINUTE - timedelta(milliseconds=1))
    await run_due(world.bound)
    assert await world.count() == 0
    clock.advance(timedelta(milliseconds=1))
    await run_due(world.bound)
    clock.advance(MINUTE)
    await run_due(world.bound)
    assert await world.count() == 2
    done = await world.found(planned)
    assert (done.state, done.result, done.error) == ("success", 2, None)
    assert done.started_at == done.ended_at == done.due_at == pending.due_at
    assert not await world.bound.schedules.cancel(planned)


@pytest.mark.row("F-C62")
async def test_what_a_mutation_schedules_that_raises_is_not_scheduled(world: World, clock: ManualClock) -> None:
    planned = list[str]()

    @world.functions.mutation
    async def plan(ctx: MutationCtx, session_id: SessionId, *, fails: bool) -> None:
        planned.append(await ctx.scheduler.run_after(timedelta(), world.add))
        planned.append(await ctx.scheduler.run_at(ctx.now, world.add))
        if fails:
            raise ApplicationError("no")

    @world.functions.mutation
    async def outer(ctx: MutationCtx, session_id: SessionId) -> None:
        planned.append(await ctx.scheduler.run_after(timedelta(), world.add, by=10))
        with pytest.raises(ApplicationError):
            await ctx.run_mutation(plan, fails=True)

    with pytest.raises(ApplicationError):
        await world.bound.run(plan, session=world.session, fails=True)
    assert [await world.bound.schedules.get(one) for one in planned] == [None, None]
    planned.clear()
    await world.bound.run(outer, session=world.session)
    states = [await world.bound.schedules.get(one) for one in planned]
    assert [state is None for state in states] == [False, True, True]
    await run_due(world.bound)
    assert await world.count() == 10


@pytest.mark.row("F-C63")
async def test_what_an_action_schedules_that_raises_stands(world: World, clock: ManualClock) -> None:
    @world.functions.action
    async def plan(ctx: ActionCtx, session_id: SessionId) -> None:
        await ctx.scheduler.run_after(MINUTE, world.add, by=3)
        raise ApplicationError("no")

    with pytest.raises(ApplicationError):
        await world.bound.run(plan, session=world.session)
    clock.advance(MINUTE)
    await run_due(world.bound)
    assert await world.count() == 3


@pytest.mark.row("F-C63")
async def test_an_action_that_is_scheduled_runs_once_and_what_became_of_it_is_kept(
    world: World, clock: ManualClock
) -> None:
    runs, go = list[Caller](), asyncio.Event()

    @world.functions.action
    async def work(ctx: ActionCtx, session_id: SessionId, *, fails: bool) -> str:
        runs.append(ctx.caller)
        await go.wait()
        await ctx.run_mutation(world.add)
        if fails:
            raise ApplicationError("no", {"left": 0})
        return "done"

    ids = [await world.scheduler.run_after(MINUTE, work, fails=fails) for fails in (False, True)]
    clock.advance(MINUTE)
    await world.bound.schedules.step()
    begun = [await world.found(one) for one in ids]
    assert [one.state for one in begun] == ["in_progress"] * 2
    assert all(one.started_at == moment(clock.now()) and one.ended_at is None for one in begun)
    clock.advance(MINUTE)
    go.set()
    await run_due(world.bound)
    done, failed = [await world.found(one) for one in ids]
    assert (done.state, done.result, done.error) == ("success", "done", None)
    assert failed.error is not None
    assert (failed.state, failed.error.code, failed.error.data) == ("failed", "application", {"left": 0})
    assert done.ended_at == moment(clock.now())
    assert runs == [Caller(None)] * 2, "the session's, and nobody's call"
    assert await world.count() == 2
    clock.advance(limits.SCHEDULED_ACTION + MINUTE)
    await run_due(world.bound)
    assert (await world.found(ids[0])).state == "success", "its deadline went with it"


async def test_a_mutation_for_no_session_runs_once_wherever_it_writes(world: World, clock: ManualClock) -> None:
    """Proves it also on a cluster, where its writes and what is known of it cannot be one commit."""
    ids = [await world.scheduler.run_after(MINUTE, world.add_to, key=key) for key in ("tea", "salt", "tea")]
    clock.advance(MINUTE)
    await run_due(world.bound)
    assert [await world.total(key) for key in ("tea", "salt")] == [2, 1]
    found = [await world.found(one) for one in ids]
    assert [one.state for one in found] == ["success"] * 3
    assert sorted(one.result for one in found) == [1, 1, 2]


async def test_on_any_engine_a_mutation_for_no_session_schedules_beside_what_it_writes(
    world: World, clock: ManualClock
) -> None:
    @world.functions.mutation.sessionless
    async def plan(ctx: MutationCtx, *, key: str, more: int) -> str | None:
        await ctx.db(world.totals).update(key, lambda total: total + 10)
        if not more:
            return None
        return await ctx.scheduler.beside(key).run_after(MINUTE, plan, key=key, more=more - 1)

    planned = await world.bound.run(plan, key="tea", more=2)
    assert planned is not None
    for _ in range(2):
        clock.advance(MINUTE)
        await run_due(world.bound)
    assert await world.total("tea") == 30
    assert (await world.found(planned)).state == "success"


async def test_what_only_schedules_goes_on_on_any_engine(world: World, clock: ManualClock) -> None:
    """Proves that its place is found, though it writes where nothing else is."""

    @world.functions.mutation.sessionless
    async def plan(ctx: MutationCtx, *, more: int) -> str | None:
        if not more:
            return None
        return await ctx.scheduler.run_after(MINUTE, plan, more=more - 1)

    planned = await world.bound.run(plan, request_id="1", more=3)
    for _ in range(3):
        clock.advance(MINUTE)
        await run_due(world.bound)
        assert planned is not None
        found = await world.found(planned)
        assert found.state == "success"
        planned = found.result
    assert planned is None


@pytest.mark.parametrize(
    ("raised", "code"), [(ApplicationError("no"), "application"), (KeyError("secret"), "internal")], ids=["own", "bug"]
)
async def test_a_mutation_that_raises_has_failed_and_is_not_tried_again(
    here: World, clock: ManualClock, raised: Exception, code: str
) -> None:
    runs = list[int]()

    @here.functions.mutation
    async def fail(ctx: MutationCtx, session_id: SessionId) -> None:
        runs.append(1)
        await ctx.db(here.counts).put(session_id, 7)
        await ctx.scheduler.run_after(timedelta(), here.add)
        raise raised

    failed = await here.scheduler.run_after(MINUTE, fail)
    for _ in range(20):
        clock.advance(MINUTE)
        await run_due(here.bound)
    found = await here.found(failed)
    assert found.error is not None
    assert (found.state, found.error.code, len(runs)) == ("failed", code, 1)
    assert "secret" not in repr(found)
    assert await here.count() == 0


TOO_LONG = random.Random(1).randbytes(3 * limits.RESULT_BYTES).hex()  # noqa: S311  what cannot be compressed


@pytest.mark.parametrize("data", [object(), TOO_LONG], ids=["without a form", "too long"])
async def test_a_failure_whose_data_cannot_be_kept_is_a_failure_all_the_same(
    here: World, clock: ManualClock, data: object
) -> None:
    @here.functions.mutation
    async def fail(ctx: MutationCtx, session_id: SessionId) -> None:
        raise ApplicationError("no", data)

    failed = await here.scheduler.run_after(timedelta(), fail)
    await run_due(here.bound)
    assert (await here.found(failed)).state == "failed"


@pytest.mark.parametrize("error", [ConflictError("taken"), UnavailableError("away")], ids=["conflict", "unavailable"])
async def test_what_meets_a_conflict_or_an_absence_is_tried_again_and_counts_once(
    here: World, clock: ManualClock, error: Exception
) -> None:
    runs = list[int]()

    @here.functions.mutation
    async def stumble(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(here.add)
        runs.append(1)
        if len(runs) < 3:
            raise error

    stumbled = await here.scheduler.run_after(timedelta(), stumble)
    for expected in (1, 2, 3, 3):
        await run_due(here.bound)
        assert len(runs) == expected
        clock.advance(MINUTE)
    assert (await here.found(stumbled)).state == "success"
    assert await here.count() == 1


async def test_what_never_stops_to_be_in_conflict_fails_in_the_end(here: World, clock: ManualClock) -> None:
    @here.functions.mutation.sessionless
    async def stumble(ctx: MutationCtx) -> None:
        raise ConflictError("taken")

    stumbled = await here.scheduler.run_after(timedelta(), stumble)
    for _ in range(limits.SCHEDULED_TRIES):
        await here.bound.schedules.step()
        assert (await here.found(stumbled)).state == "pending"
        clock.advance(limits.DUE_BACKOFF_MAX)
    await here.bound.schedules.step()
    found = await here.found(stumbled)
    assert found.error is not None
    assert (found.state, found.error.code) == ("failed", "conflict")


@pytest.mark.row("F-C62")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_of_many_calls_none_is_lost_or_doubled_when_answers_are_lost(clock: ManualClock, seed: int) -> None:
    """Two processes over one engine that loses and repeats what it is told, and refuses some of it."""
    inner = MemoryEngine(clock=clock)
    engine = FaultyEngine(inner, seed, lose=0.1, drop=0.05, repeat=0.1, delay=0.2, refuse=0.1, fail=0.05)
    async with Store(inner, clock=clock) as store, Store(engine, clock=clock) as faulty:
        world, here = await World(store).start(), World(faulty)
        calls = [await world.scheduler.run_after(timedelta(), world.add) for _ in range(20)]
        processes = [here.functions.bind(faulty) for _ in range(2)]
        async with clock.rushing():
            for _ in range(40):
                await asyncio.gather(*(one.schedules.step() for one in processes), return_exceptions=True)
                clock.advance(limits.DUE_CLAIM)
        found = [await world.found(call) for call in calls]
        assert {one.state for one in found} == {ScheduledState.SUCCESS}
        assert await world.count() == 20
    assert engine.faults.lost


async def test_a_call_that_is_cancelled_before_it_is_due_never_runs(world: World, clock: ManualClock) -> None:
    @world.functions.mutation
    async def change_of_mind(ctx: MutationCtx, session_id: SessionId, *, call: str, fails: bool) -> bool:
        canceled = await ctx.scheduler.cancel(call)
        if fails:
            raise ApplicationError("no")
        return canceled

    @world.functions.action
    async def work(ctx: ActionCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(world.add)

    ids = [await world.scheduler.run_after(MINUTE, one) for one in (world.add, work, world.add)]
    assert await world.bound.schedules.cancel(ids[0])
    assert not await world.bound.schedules.cancel(ids[0])
    assert await world.bound.run(change_of_mind, session=world.session, call=ids[1], fails=False)
    with pytest.raises(ApplicationError):
        await world.bound.run(change_of_mind, session=world.session, call=ids[2], fails=True)
    clock.advance(MINUTE)
    await run_due(world.bound)
    assert [(await world.found(one)).state for one in ids] == ["canceled", "canceled", "success"]
    assert await world.count() == 1
    assert (await world.found(ids[0])).started_at is None


@pytest.mark.parametrize(
    "name",
    ["", "x", "x.y", "a." + "0" * 32, "." + "0" * 32, "x" * 2_000]
    + [f"{partition}.{'0' * 32}" for partition in ("é" * 300, "a\0b", "\ud800")],
)
async def test_what_was_never_scheduled_is_neither_found_nor_cancelled(here: World, name: str) -> None:
    assert await here.bound.schedules.get(name) is None
    assert not await here.bound.schedules.cancel(name)
    assert not await here.scheduler.cancel(name)


async def test_a_cancel_that_comes_while_a_mutation_runs_undoes_it(world: World, clock: ManualClock) -> None:
    """Proves that one of the two wins: nothing is written that was cancelled."""
    attempts = list[str]()

    @world.functions.mutation
    async def slow(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(world.add)
        attempts.append("slow")
        assert await world.bound.schedules.cancel(call)

    call = await world.scheduler.run_after(timedelta(), slow)
    await run_due(world.bound)
    assert attempts == ["slow"]
    assert (await world.found(call)).state == "canceled"
    assert await world.count() == 0


@pytest.mark.parametrize("how", ["itself", "by a mutation", "elsewhere"])
async def test_an_action_that_is_cancelled_while_it_runs_goes_on_but_schedules_nothing(
    world: World, clock: ManualClock, how: str
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    other = (await world.functions.sessions.issue()).session

    @world.functions.mutation
    async def plan(ctx: MutationCtx, session_id: SessionId) -> str:
        return await ctx.scheduler.run_after(timedelta(), world.add, by=100)

    async def schedule(ctx: ActionCtx) -> str:
        match how:
            case "itself":
                return await ctx.scheduler.run_after(timedelta(), world.add, by=100)
            case "by a mutation":
                return await ctx.run_mutation(plan)
            case _:
                return await ctx.runner.acting_as(other).run(plan)

    @world.functions.action
    async def work(ctx: ActionCtx, session_id: SessionId) -> str:
        first = await schedule(ctx)
        begun.set()
        await go.wait()
        await ctx.run_mutation(world.add)
        with pytest.raises(RefusedError):
            await schedule(ctx)
        return first

    call = await world.scheduler.run_after(timedelta(), work)
    await world.bound.schedules.step()
    await begun.wait()
    assert await world.bound.schedules.cancel(call)
    go.set()
    await world.bound.schedules.settle()
    found = await world.found(call)
    assert (found.state, found.result) == ("canceled", None)
    assert await world.count() == 1
    await run_due(world.bound)
    assert await world.count() == (1 if how == "elsewhere" else 101), "what it had scheduled before stands"


@pytest.mark.parametrize("kind", ["mutation", "action"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_call_for_a_session_that_has_ended_fails(here: World, kind: str, when: str) -> None:
    @here.functions.mutation
    async def slow(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(here.totals).put("ran", 1)
        if when == "meanwhile":
            await here.functions.sessions.revoke(session_id)

    @here.functions.action
    async def work(ctx: ActionCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(slow)

    call = await here.scheduler.run_after(timedelta(), slow if kind == "mutation" else work)
    if when == "before":
        await here.functions.sessions.revoke(here.session.id)
    await run_due(here.bound)
    found = await here.found(call)
    assert found.error is not None
    assert (found.state, found.error.code) == ("failed", "session_invalid")
    assert await here.total("ran") == 0


@pytest.mark.parametrize("kind", ["mutation", "action"])
async def test_a_function_that_went_with_a_deploy_is_left_to_others_for_a_while(
    here: World, clock: ManualClock, kind: str
) -> None:
    newer = World(here.store)

    @here.functions.mutation
    async def old(ctx: MutationCtx, session_id: SessionId) -> str:
        return "by the old one"

    @here.functions.action
    async def older(ctx: ActionCtx, session_id: SessionId) -> str:
        return "by the old one"

    scheduled = [await here.scheduler.run_after(timedelta(), old if kind == "mutation" else older) for _ in range(2)]
    bound = newer.functions.bind(here.store)
    await run_due(bound)
    assert (await here.found(scheduled[0])).state == "pending"
    clock.advance(MINUTE)
    assert await here.bound.schedules.cancel(scheduled[1])
    await run_due(here.bound)
    assert (await here.found(scheduled[0])).result == "by the old one"
    last = await here.scheduler.run_after(timedelta(), old if kind == "mutation" else older)
    for _ in range(limits.SCHEDULED_UNKNOWN):
        await run_due(bound)
        assert (await here.found(last)).state == "pending"
        clock.advance(limits.DUE_BACKOFF_MAX)
    await run_due(bound)
    found = await here.found(last)
    assert found.error is not None
    assert (found.state, found.error.code) == ("failed", "function_unknown")


@pytest.mark.parametrize("how", ["it dies", "it hangs", "it is stopped"])
async def test_an_action_that_does_not_come_back_has_failed_and_is_not_repeated(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    engine, runs = MemoryEngine(clock=clock), list[int]()
    async with Store(engine, clock=clock) as store:
        world = await World(store).start()
        async with Store(engine, clock=clock) as there:
            dying = World(there)

            @dying.functions.action
            async def work(ctx: ActionCtx, session_id: SessionId) -> None:
                runs.append(1)
                await asyncio.Event().wait()

            async def nothing(*_: object, **__: object) -> None: ...

            call = await world.scheduler.run_after(timedelta(), work)
            if how == "it dies":
                monkeypatch.setattr(Runs, "_end", nothing)
            schedules = dying.functions.bind(there).schedules
            await schedules.step()
            await clock.until_sleeping()
            assert (await world.found(call)).state == "in_progress"
            if how == "it hangs":
                clock.advance(limits.SCHEDULED_ACTION)
                await schedules.settle()
        if how == "it dies":
            clock.advance(limits.SCHEDULED_ACTION + limits.DUE_CLAIM - timedelta(milliseconds=1))
            await run_due(world.bound)
            assert (await world.found(call)).state == "in_progress"
            clock.advance(timedelta(milliseconds=1))
            await run_due(world.bound)
        found = await world.found(call)
        assert found.error is not None
        assert (found.state, found.error.written) == ("failed", "perhaps")
        assert found.error.code == ("commit_unknown" if how == "it is stopped" else "call_timeout")
        clock.advance(limits.SCHEDULED_ACTION * 2)
        await run_due(world.bound)
        assert runs == [1]


async def test_a_mutation_that_hangs_has_failed_and_holds_up_nothing_else(here: World, clock: ManualClock) -> None:
    @here.functions.mutation
    async def hang(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(here.add)
        await asyncio.Event().wait()

    call, next_one = [await here.scheduler.run_after(timedelta(), one) for one in (hang, here.add)]
    for _ in range(limits.SCHEDULED_LATE):
        await step_beyond(here.bound, clock, limits.CALL_TIMEOUT)
        assert (await here.found(next_one)).state == "success"
        assert (await here.found(call)).state == "pending", "perhaps its process was paused"
        clock.advance(MINUTE)
    await step_beyond(here.bound, clock, limits.CALL_TIMEOUT)
    found = await here.found(call)
    assert found.error is not None
    assert (found.state, found.error.code) == ("failed", "call_timeout")
    assert await here.count() == 1


async def step_beyond(bound: Bound, clock: ManualClock, limit: timedelta) -> None:
    """Run what is due, of which something takes longer than it may."""
    stepping = asyncio.create_task(bound.schedules.step())
    await clock.until_sleeping(2)  # who keeps the claim, and who looks at the time
    clock.advance(limit)
    await stepping


async def test_who_waits_for_what_is_cancelled_has_failed_and_ends_no_worker(here: World) -> None:
    @here.functions.mutation
    async def wait(ctx: MutationCtx, session_id: SessionId) -> None:
        raise asyncio.CancelledError

    call, next_one = [await here.scheduler.run_after(timedelta(), one) for one in (wait, here.add)]
    await run_due(here.bound)
    assert [(await here.found(one)).state for one in (call, next_one)] == ["failed", "success"]


async def test_actions_run_side_by_side_but_not_without_bound(
    here: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCHEDULED_ACTIONS", 2)
    running, most, begun, go = set[int](), list[int](), asyncio.Event(), asyncio.Event()

    @here.functions.action
    async def work(ctx: ActionCtx, session_id: SessionId, *, number: int) -> None:
        running.add(number)
        most.append(len(running))
        if len(running) == limits.SCHEDULED_ACTIONS:
            begun.set()
        await go.wait()
        running.remove(number)

    for number in range(5):
        await here.scheduler.run_after(timedelta(), work, number=number)
    await here.scheduler.run_after(timedelta(), here.add)
    async with asyncio.TaskGroup() as tasks:
        schedules = here.functions.bind(here.store).schedules
        stepping = tasks.create_task(schedules.step())
        await begun.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert (len(running), await here.count()) == (2, 1)
        go.set()
        await stepping
    await schedules.settle()
    assert (max(most), len(most)) == (2, 5)


def bad_calls(world: World) -> dict[str, Any]:
    """Calls of a scheduler that are refused."""

    @world.functions.query
    async def look(ctx: QueryCtx, session_id: SessionId) -> None: ...

    now, far = moment(world.store.clock.now()), limits.SCHEDULE_RANGE + timedelta(milliseconds=1)
    nobody = world.scheduler.sessionless()
    soon = timedelta()
    any_: Any = world.scheduler
    return {
        "a negative delay": lambda: any_.run_after(timedelta(milliseconds=-1), world.add),
        "no duration": lambda: any_.run_after(5, world.add),
        "beyond five years": lambda: any_.run_after(far, world.add),
        "no time zone": lambda: any_.run_at(now.replace(tzinfo=None), world.add),
        "no instant": lambda: any_.run_at(soon, world.add),
        "five years ahead": lambda: any_.run_at(now + far, world.add),
        "five years ago": lambda: any_.run_at(now - far, world.add),
        "a query": lambda: any_.run_after(soon, look),
        "an unknown argument": lambda: any_.run_after(soon, world.add, to=1),
        "a wrong argument": lambda: any_.run_after(soon, world.add, by="1"),
        "a missing argument": lambda: any_.run_after(soon, world.add_to),
        "no session": lambda: nobody.run_after(soon, world.add),
    }


BAD = [
    "a negative delay",
    "no duration",
    "beyond five years",
    "no time zone",
    "no instant",
    "five years ahead",
    "five years ago",
    "a query",
    "an unknown argument",
    "a wrong argument",
    "a missing argument",
    "no session",
]


@pytest.mark.parametrize("bad", BAD)
async def test_what_cannot_be_scheduled_is_refused_before_any_io(clock: ManualClock, bad: str) -> None:
    engine = FaultyEngine(MemoryEngine(clock=clock), 1)
    async with Store(engine, clock=clock) as store:
        world = await World(store).start()
        call, before = bad_calls(world)[bad], engine.faults
        with pytest.raises(InvalidError):
            await call()
        assert (engine.faults.commits, engine.faults.reads) == (before.commits, before.reads)


async def test_the_edges_of_what_can_be_scheduled_are_taken(here: World) -> None:
    now = moment(here.store.clock.now())
    last = await here.scheduler.run_after(limits.SCHEDULE_RANGE, here.add)
    past = await here.scheduler.run_at(now - limits.SCHEDULE_RANGE, here.add)
    fine = await here.scheduler.run_after(timedelta(microseconds=1), here.add)
    await run_due(here.bound)
    assert [(await here.found(one)).state for one in (last, past, fine)] == ["pending", "success", "pending"]
    assert (await here.found(last)).due_at == now + limits.SCHEDULE_RANGE
    assert (await here.found(fine)).due_at == now + timedelta(milliseconds=1)


async def test_one_call_schedules_a_bounded_number(world: World) -> None:
    """Proves that as many as are allowed fit one commit on every engine, also with a request id."""

    @world.functions.mutation
    async def plan(ctx: MutationCtx, session_id: SessionId, *, number: int) -> list[str]:
        return [await ctx.scheduler.run_after(MINUTE, world.add) for _ in range(number)]

    with pytest.raises(LimitError):
        await world.bound.run(plan, session=world.session, request_id="1", number=limits.SCHEDULED_CALLS + 1)
    planned = await world.bound.run(plan, session=world.session, request_id="2", number=limits.SCHEDULED_CALLS)
    assert len({*planned}) == limits.SCHEDULED_CALLS


async def test_what_became_of_a_call_is_forgotten_after_a_week(world: World, clock: ManualClock) -> None:
    call = await world.scheduler.run_after(timedelta(), world.add)
    await run_due(world.bound)
    clock.advance(limits.SCHEDULED_KEEP - timedelta(milliseconds=1))
    assert (await world.found(call)).state == "success"
    clock.advance(timedelta(milliseconds=1))
    assert await world.bound.schedules.get(call) is None


async def test_the_clock_of_the_store_decides_what_is_due() -> None:
    """Proves that a process whose clock is ahead runs nothing early."""
    theirs, ours = ManualClock(), ManualClock()
    engine = MemoryEngine(clock=theirs)
    async with Store(engine, clock=ours) as store:
        world = await World(store).start()
        call = await world.scheduler.run_after(MINUTE, world.add)
        ours.advance(timedelta(days=1))
        await run_due(world.bound)
        assert (await world.found(call)).state == "pending"
        theirs.advance(MINUTE)
        await run_due(world.bound)
        assert (await world.found(call)).state == "success"


async def test_layers_stand_around_a_scheduled_call_and_a_scheduler_shows_through_them(
    here: World, clock: ManualClock
) -> None:
    told = list[str]()

    class Tag(msgspec.Struct):
        tag: str

    class Tagged(Extended[MutationCtx], MutationCtx):
        pass

    @layer
    async def tagging(ctx: MutationCtx, consumed: Tag) -> Patch[Tagged]:
        return Patch(ctx=Tagged(ctx), after_commit=lambda _: told.append(consumed.tag))

    @here.functions.mutation.using(tagging)
    async def tagged(ctx: Tagged, session_id: SessionId, *, again: bool = True) -> str | None:
        return await ctx.scheduler.run_after(MINUTE, tagged, Tag("second"), again=False) if again else None

    first = await here.scheduler.run_after(MINUTE, tagged, Tag("first"))
    for _ in range(2):
        clock.advance(MINUTE)
        await run_due(here.bound)
    assert told == ["first", "second"]
    assert (await here.found((await here.found(first)).result)).state == "success"


async def test_what_a_mutation_runs_without_a_session_schedules_with_it(world: World, clock: ManualClock) -> None:
    """Proves on each engine that it is the same commit, and that the session is not to be had on this way."""

    @world.functions.mutation.sessionless
    async def inner(ctx: MutationCtx) -> str:
        with pytest.raises(InvalidError):
            await ctx.scheduler.run_after(MINUTE, world.add)
        return await ctx.scheduler.run_after(MINUTE, world.add_to, key="tea")

    @world.functions.mutation
    async def outer(ctx: MutationCtx, session_id: SessionId) -> str:
        await ctx.db(world.counts).put(session_id, 1)
        return await ctx.run_mutation(inner)

    await world.bound.run(outer, session=world.session)
    clock.advance(MINUTE)
    await run_due(world.bound)
    assert await world.total("tea") == 1


class Parted(MemoryEngine):
    """An engine that says it cannot commit over partitions, as a cluster does."""

    def describe(self) -> Description:
        """Describe it so."""
        return msgspec.structs.replace(super().describe(), cross_partition=False)


@pytest.mark.parametrize("change", ["the same place", "another place", "nowhere", "it fails"])
@pytest.mark.parametrize("dies", ["before it writes", "after it wrote"])
async def test_on_a_cluster_whoever_takes_a_call_over_neither_doubles_nor_loses_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, change: str, dies: str
) -> None:
    """Proves it for one that is late: it goes on after another took the call over, which perhaps writes elsewhere."""
    engine, still = Parted(clock=clock), ManualClock()  # who stands still does not renew what it has claimed
    async with Store(engine, clock=clock) as store, Store(engine, clock=still) as paused:
        world, late = await World(store).start(), World(paused)
        place, waits, go = ["tea"], asyncio.Event(), asyncio.Event()
        for one in (world, late):
            one.functions.mutation.sessionless(counting(one, place))
        call = await world.scheduler.run_after(timedelta(), next(one for one in world.functions if one.name == "count"))
        submit = Store.submit

        async def stopping(self: Store, transaction: Transaction) -> Any:
            writes = [write for write in transaction.writes if isinstance(write, Put)]
            if self is store or waits.is_set() or not any(write.key.space == "function.ran" for write in writes):
                return await submit(self, transaction)
            outcome = await submit(self, transaction) if dies == "after it wrote" else None
            waits.set()
            await go.wait()
            return outcome or await submit(self, transaction)

        monkeypatch.setattr(Store, "submit", stopping)
        stopped = asyncio.create_task(late.functions.bind(paused).schedules.step())
        await waits.wait()
        place[0] = {"the same place": "tea", "another place": "salt"}.get(change, change)
        clock.advance(limits.DUE_CLAIM)
        await run_due(world.bound)
        go.set()
        async with still.rushing():
            await stopped
        clock.advance(limits.DUE_CLAIM)
        await run_due(world.bound)
        written = [await world.total(key) for key in ("tea", "salt")]
        found = await world.found(call)
        if dies == "after it wrote" or change == "the same place":
            assert (written, found.state) == ([1, 0], "success")
        elif change == "another place":
            assert (written, found.state) == ([0, 1], "success")
        else:
            assert (written, found.state) == ([0, 0], "success" if change == "nowhere" else "failed")


async def test_on_a_cluster_a_call_goes_on_where_a_process_died_that_was_about_to_write_elsewhere(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that it is done once, also at a place that was given up before, and is not cancelled meanwhile."""
    async with Store(Parted(clock=clock), clock=clock) as store:
        world = await World(store).start()
        place = ["tea"]
        world.functions.mutation.sessionless(counting(world, place))
        call = await world.scheduler.run_after(timedelta(), next(one for one in world.functions if one.name == "count"))
        note, notes = Apart._note, list[str]()

        async def dying(self: Apart, claimed: Any, where: str) -> None:
            notes.append(where)
            if len(notes) == 2:
                raise UnavailableError("it died")
            await note(self, claimed, where)
            if len(notes) == 1:
                raise UnavailableError("it died")

        monkeypatch.setattr(Apart, "_note", dying)
        for there in ("tea", "salt", "tea"):
            place[0] = there
            await run_due(world.bound)
            clock.advance(MINUTE)
            if there != "tea":
                assert not await world.bound.schedules.cancel(call), "it may have been done"
        assert notes == ["tea", "salt", "tea"]
        assert (await world.found(call)).state == "success"
        assert [await world.total(key) for key in ("tea", "salt")] == [1, 0]


def counting(world: World, place: list[str]) -> Any:
    """A mutation that counts where it is told to by then."""

    async def count(ctx: MutationCtx) -> None:
        if place[0] == "it fails":
            raise ApplicationError("no")
        if place[0] != "nowhere":
            await ctx.db(world.totals).update(place[0], lambda total: total + 1)

    return count
