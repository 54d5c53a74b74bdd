"""Mutations: serializable, re-run on conflict, and once per request id whatever becomes of the answers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

import sojourn
from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import InvalidError, RequestReusedError, SessionRevokedError
from sojourn.functions import Bound, Call, Functions, MutationCtx, QueryCtx
from sojourn.kernel import Outcome, Reads, Snapshot, Store, Transaction
from sojourn.sessions import Session, SessionId, Sessions
from sojourn.testing import FaultyEngine, ManualClock

from .conftest import Shop


def counting(store: Store) -> tuple[Sessions, Bound, Any, Any, list[int]]:
    """A shop that does nothing but count: calls of the handler, and what is kept."""
    sessions = Sessions(store)
    functions = Functions(sessions)
    counts = functions.collection("counts", int, by=SessionId)
    attempts: list[int] = []

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, by: int = 1) -> int:
        attempts.append(by)
        return await ctx.db(counts).update(session_id, lambda count: count + by)

    @functions.query
    async def total(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).get(session_id)

    return sessions, functions.bind(store), add, total, attempts


@pytest.mark.row("F-C58")
async def test_concurrent_mutations_are_all_kept(store: Store, clock: ManualClock) -> None:
    sessions, bound, add, total, _ = counting(store)
    session = (await sessions.issue()).session
    async with clock.rushing(), asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(bound.run(add, session=session))
    assert await bound.run(total, session=session) == 40


@pytest.mark.row("F-C60")
async def test_a_request_that_comes_twice_is_applied_once(store: Store) -> None:
    sessions, bound, add, total, attempts = counting(store)
    session = (await sessions.issue()).session
    first = await bound.run(add, session=session, request_id="r1", by=2)
    await bound.run(add, session=session, by=10)
    assert await bound.run(add, session=session, request_id="r1", by=2) == first == 2
    assert await bound.run(total, session=session) == 12
    assert len(attempts) == 2


@pytest.mark.row("F-C60")
async def test_a_request_is_recognised_after_a_restart(url: str, clock: ManualClock) -> None:
    if not sojourn.open(url).describe().durable:
        return  # an engine that forgets with its process has no restart to survive: it declares so
    async with sojourn.open(url, clock=clock) as store:
        sessions, bound, add, _, _ = counting(store)
        session = (await sessions.issue()).session
        await bound.run(add, session=session, request_id="r1")
    async with sojourn.open(url, clock=clock) as store:
        sessions, bound, add, total, attempts = counting(store)
        again = await sessions.get(session.id)
        assert again is not None
        assert await bound.run(add, session=again, request_id="r1") == 1
        assert await bound.run(total, session=again) == 1
        assert attempts == []


@pytest.mark.row("F-C60")
async def test_a_request_that_comes_twice_at_once_is_applied_once(store: Store, clock: ManualClock) -> None:
    sessions, bound, add, total, _ = counting(store)
    session = (await sessions.issue()).session
    async with clock.rushing():
        results = await asyncio.gather(*(bound.run(add, session=session, request_id="r1") for _ in range(10)))
    assert results == [1] * 10
    assert await bound.run(total, session=session) == 1


async def test_a_request_id_used_for_another_call_is_refused(store: Store) -> None:
    sessions, bound, add, total, _ = counting(store)
    session = (await sessions.issue()).session
    await bound.run(add, session=session, request_id="r1", by=2)
    with pytest.raises(RequestReusedError):
        await bound.run(add, session=session, request_id="r1", by=3)
    assert await bound.run(total, session=session) == 2
    assert await bound.answer(Call(add, session, b'{ "by" : 2 }', "r1")) == b"2", "spelled otherwise, it is the same"


async def test_a_call_goes_by_the_session_that_was_just_read(clock: ManualClock) -> None:
    """One read, of the value that it changes, and the commit. What it wrongly went by costs a second attempt."""
    asked = list[str]()

    class Counted(MemoryEngine):
        async def read(self, reads: Reads) -> Snapshot:
            asked.append("read")
            return await super().read(reads)

        async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
            asked.append("commit")
            return await super().commit(batch)

    async with Store(Counted(clock=clock), clock=clock) as store:
        sessions, bound, add, _, attempts = counting(store)
        session = (await sessions.issue()).session
        asked.clear()
        assert await bound.answer(Call(add, session, b"{}", "r1")) == b"1"
        assert asked == ["read", "commit"]
        assert await bound.answer(Call(add, session, b"{}", "r1")) == b"1"
        assert attempts == [1, 1], "the repeat went by there being no such request, and the commit knew better"
        await sessions.revoke(session.id)
        with pytest.raises(SessionRevokedError):
            await bound.answer(Call(add, session, b"{}", "r2"))


async def test_requests_of_two_sessions_have_nothing_to_do_with_each_other(store: Store) -> None:
    sessions, bound, add, _, _ = counting(store)
    first, second = [(await sessions.issue()).session for _ in range(2)]
    assert await bound.run(add, session=first, request_id="r1", by=2) == 2
    assert await bound.run(add, session=second, request_id="r1", by=3) == 3


async def test_a_request_is_forgotten_after_its_time(store: Store, clock: ManualClock) -> None:
    sessions, bound, add, _, _ = counting(store)
    issued = await sessions.issue()
    await bound.run(add, session=issued.session, request_id="r1")
    for _ in range(int(limits.REQUEST_KEEP / timedelta(minutes=20))):
        clock.advance(timedelta(minutes=20))
        await sessions.resolve(issued.token)
    assert await bound.run(add, session=issued.session, request_id="r1") == 2


@pytest.mark.parametrize("request_id", ["", "a" * 65, "a\0b"])
async def test_a_request_id_out_of_form_is_refused(store: Store, request_id: str) -> None:
    sessions, bound, add, _, _ = counting(store)
    with pytest.raises(InvalidError):
        await bound.run(add, session=(await sessions.issue()).session, request_id=request_id)


@pytest.mark.row("F-C60", "F-C58")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_lost_or_doubled_when_answers_are_lost(seed: int) -> None:
    """Sixteen tasks on one session's counter, one answer in ten lost, one delivery in ten doubled."""
    engine = FaultyEngine(MemoryEngine(), seed, lose=0.1, repeat=0.1, delay=0.2)
    async with Store(engine) as store:
        sessions, bound, add, total, _ = counting(store)
        session = (await sessions.issue()).session

        async def count() -> None:
            for _ in range(20):
                await bound.run(add, session=session)

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(count())
        assert await bound.run(total, session=session) == 320
    assert engine.faults.lost


@pytest.mark.row("F-C59")
async def test_conflicts_beyond_the_budget_are_one_error_and_nothing_is_written(
    shop: Shop, session: Session, clock: ManualClock
) -> None:
    balances = shop.functions.collection("balances", int, by=SessionId)

    @shop.functions.mutation
    async def outrun(ctx: MutationCtx, session_id: SessionId) -> None:
        before = await ctx.db(balances).get(session_id)
        await shop.bind().run(refill, session=session)
        await ctx.db(balances).put(session_id, -before)

    @shop.functions.mutation
    async def refill(ctx: MutationCtx, session_id: SessionId) -> int:
        return await ctx.db(balances).update(session_id, lambda balance: balance + 1)

    async with clock.rushing():
        with pytest.raises(sojourn.ConflictError):
            await shop.bind().run(outrun, session=session)
    assert await shop.bind().run(refill, session=session) == limits.RUN_ATTEMPTS + 1


@pytest.mark.row("F-C60")
@pytest.mark.parametrize("result", [None, [None], {"a": None, "b": "null"}], ids=["none", "in a list", "in an object"])
async def test_a_result_with_nothing_in_it_is_kept_by_its_request(shop: Shop, session: Session, result: Any) -> None:
    @shop.functions.mutation
    async def give(ctx: MutationCtx, session_id: SessionId) -> Any:
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("book"))
        return result

    for _ in range(2):
        assert await shop.bind().run(give, session=session, request_id="r1") == result


async def test_a_client_does_not_choose_what_chance_brings(store: Store) -> None:
    """Two sessions may use one request id; what each call draws is its own, and the caller cannot know it."""
    sessions = Sessions(store)
    functions = Functions(sessions)

    @functions.mutation
    async def draw(ctx: MutationCtx, session_id: SessionId) -> str:
        return str(ctx.uuid())

    bound = functions.bind(store)
    first, second = [(await sessions.issue()).session for _ in range(2)]
    drawn = await bound.run(draw, session=first, request_id="1")
    assert await bound.run(draw, session=second, request_id="1") != drawn
    assert await bound.run(draw, session=first, request_id="1") == drawn
