"""Watching queries in Python: who is asking is part of the question, and alike questions are asked once."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from sojourn.engines.memory import MemoryEngine
from sojourn.errors import (
    ApplicationError,
    ClosedError,
    FunctionUnknownError,
    InvalidError,
    SessionExpiredError,
    SessionInvalidError,
    SessionRevokedError,
)
from sojourn.functions import Bound, Call, Caller, MutationCtx, QueryCtx, Watching
from sojourn.kernel import Store
from sojourn.sessions import Session, SessionId
from sojourn.testing import ManualClock
from tests.kernel.following import settled

from .conftest import Shop


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[Store]:
    """In memory: what is followed, and when, is the same on every engine."""
    async with Store(MemoryEngine(clock=clock), clock=clock) as opened:
        yield opened


@pytest.fixture
def bound(shop: Shop) -> Bound:
    return shop.bind()


@pytest.fixture
def runs() -> list[str]:
    """The subject of each run of a query."""
    return []


@pytest.fixture
def cart(shop: Shop, runs: list[str]) -> Any:
    @shop.functions.query
    async def cart(ctx: QueryCtx, session_id: SessionId, *, first: int = 10, last: int = 0) -> list[str]:
        runs.append(str(ctx.session.subject))
        found = await ctx.db(shop.carts).get(session_id)
        return [str(ctx.session.subject), *found.items[:first]]

    return cart


@pytest.fixture
def add(shop: Shop) -> Any:
    @shop.functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, sku: str) -> None:
        carts = ctx.db(shop.carts)
        await carts.put(session_id, (await carts.get(session_id)).plus(sku))

    return add


@pytest.fixture
def deliver(shop: Shop) -> Any:
    @shop.functions.mutation.sessionless
    async def deliver(ctx: MutationCtx, *, sku: str, count: int) -> None:
        await ctx.db(shop.stock).put(sku, count)

    return deliver


@pytest.fixture
def left(shop: Shop, runs: list[str]) -> Any:
    @shop.functions.query.sessionless
    async def left(ctx: QueryCtx, *, sku: str) -> int:
        runs.append("left")
        found = await ctx.db(shop.stock).get(sku)
        return found or 0

    return left


class Latest:
    """Iterates over a watching all the time; `seen` is what it gave, errors by the name of their class."""

    def __init__(self, watching: Watching[Any]) -> None:
        self.seen: list[Any] = []
        self.watching = watching
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            try:
                async for value in self.watching:
                    self.seen.append(value)
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001  it is what is looked at
                self.seen.append(type(error).__name__)
            else:
                return

    async def end(self) -> None:
        self.watching.close()
        await self._task


async def test_a_loop_gives_the_present_and_then_each_change(
    bound: Bound, session: Session, cart: Any, add: Any
) -> None:
    seen = list[list[str]]()
    async for items in bound.watch(cart, session=session):
        seen.append(items)
        if len(seen) == 3:
            break
        await bound.run(add, session=session, sku=str(len(seen)))
    assert seen == [["None"], ["None", "1"], ["None", "1", "2"]]
    gc.collect()
    await settled()
    assert bound.store.live.watches == 0


@pytest.mark.row("F-L11", "F-C77")
async def test_the_same_question_however_asked_is_one(
    bound: Bound, session: Session, cart: Any, add: Any, runs: list[str], shop: Shop
) -> None:
    """Arguments in another order, those that are the defaults, another object of the same session."""
    again = await shop.sessions.get(session.id)
    assert again is not None
    eyes = [
        Latest(bound.watch(cart, session=session, first=1, last=2)),
        Latest(bound.watch(cart, session=again, last=2, first=1)),
        *[Latest(bound.acting_as(session).watch(cart, first=1, last=2)) for _ in range(20)],
    ]
    await settled()
    assert all(one.seen == [["None"]] for one in eyes)
    once = len(runs)
    assert once <= 2
    other = Latest(bound.watch(cart, session=session, first=2, last=2))
    await settled()
    assert len(runs) > once
    runs.clear()
    await bound.run(add, session=session, sku="book")
    await settled()
    assert len(runs) == 2, "one for each question"
    for one in (*eyes, other):
        await one.end()


@pytest.mark.row("F-L10", "F-C78")
async def test_who_signs_in_is_asked_for_anew(bound: Bound, cart: Any, add: Any, shop: Shop, runs: list[str]) -> None:
    issued = await shop.sessions.issue()
    await bound.run(add, session=issued.session, sku="book")
    seen = Latest(bound.watch(cart, session=issued.session))
    await settled()
    issued = await shop.sessions.rotate(issued.token, subject="ada")
    await settled()
    assert seen.seen == [["None", "book"], ["ada", "book"]]
    issued = await shop.sessions.rotate(issued.token, subject=None)
    await settled()
    assert seen.seen[-1] == ["None", "book"]
    await seen.end()


@pytest.mark.row("F-L10", "F-C78", "P-R14")
async def test_who_is_signed_out_is_told_and_gets_nothing_any_more(
    bound: Bound, cart: Any, left: Any, deliver: Any, shop: Shop, session: Session
) -> None:
    seen = Latest(bound.watch(cart, session=session))
    everybody = Latest(bound.watch(left, sku="book"))
    await settled()
    await shop.sessions.revoke(session.id)
    await settled()
    assert seen.seen == [["None"], "SessionRevokedError"]
    assert issubclass(SessionRevokedError, SessionInvalidError)
    await bound.run(deliver, sku="book", count=3)
    await settled()
    assert len(seen.seen) == 2
    assert everybody.seen == [0, 3]
    with pytest.raises(SessionInvalidError):
        async for _ in bound.watch(cart, session=session):
            pass
    await seen.end()
    await everybody.end()


@pytest.mark.row("F-L12", "F-L10")
async def test_a_session_that_expires_says_so_without_any_write(
    bound: Bound, cart: Any, session: Session, clock: ManualClock, shop: Shop
) -> None:
    seen = Latest(bound.watch(cart, session=session))
    await settled()
    clock.advance(timedelta(minutes=31))
    await settled()
    assert seen.seen == [["None"], SessionExpiredError.__name__]
    await seen.end()


@pytest.mark.row("F-L10", "F-C78")
async def test_no_result_of_one_reaches_another(bound: Bound, cart: Any, add: Any, shop: Shop) -> None:
    """Each of many has a basket of its own, all change at once, and all watch."""
    sessions = [(await shop.sessions.issue(f"user{number}")).session for number in range(10)]
    eyes = [Latest(bound.watch(cart, session=session)) for session in sessions]
    for turn in range(5):
        await asyncio.gather(
            *(bound.run(add, session=one, sku=f"{number}.{turn}") for number, one in enumerate(sessions))
        )
        await settled()
    for number, one in enumerate(eyes):
        assert one.seen[-1] == [f"user{number}", *(f"{number}.{turn}" for turn in range(5))]
        owners = {item.split(".")[0] for items in one.seen for item in items[1:]}
        assert owners == {str(number)}
        assert {items[0] for items in one.seen} == {f"user{number}"}
        await one.end()


@pytest.mark.row("F-L10")
async def test_another_caller_is_another_question(bound: Bound, shop: Shop, session: Session) -> None:
    @shop.functions.query
    async def who(ctx: QueryCtx, session_id: SessionId) -> str:
        return str(ctx.caller.subject)

    eyes = {
        name: Latest(bound.watch(who, session=session, caller=None if name is None else Caller(name)))
        for name in ("ada", "bob", None)
    }
    await settled()
    assert {name: one.seen for name, one in eyes.items()} == {"ada": ["ada"], "bob": ["bob"], None: ["None"]}
    for one in eyes.values():
        await one.end()


@pytest.mark.row("F-L10", "F-L11")
async def test_all_sessions_share_what_is_sessionless(
    bound: Bound, shop: Shop, left: Any, deliver: Any, runs: list[str]
) -> None:
    sessions = [(await shop.sessions.issue()).session for _ in range(10)]
    eyes = [Latest(bound.watch(left, session=one, sku="book")) for one in (*sessions, None)]
    await settled()
    runs.clear()
    await bound.run(deliver, sku="book", count=3)
    await settled()
    assert [one.seen for one in eyes] == [[0, 3]] * 11
    assert runs == ["left"]
    await bound.run(deliver, sku="pen", count=1)
    await shop.sessions.revoke(sessions[0].id)
    await settled()
    assert runs == ["left"]
    for one in eyes:
        await one.end()


async def test_what_is_sessionless_knows_no_session(bound: Bound, shop: Shop, session: Session) -> None:
    @shop.functions.query.sessionless
    async def nosy(ctx: QueryCtx) -> str:
        return str(ctx.session.subject)

    with pytest.raises(InvalidError):
        async for _ in bound.watch(nosy, session=session):
            pass


@pytest.mark.row("F-L9", "F-C73")
async def test_a_query_that_raises_ends_the_loop_and_the_next_one_goes_on(
    bound: Bound, shop: Shop, session: Session, add: Any
) -> None:
    @shop.functions.query
    async def strict(ctx: QueryCtx, session_id: SessionId) -> int:
        items = (await ctx.db(shop.carts).get(session_id)).items
        if len(items) == 1:
            raise ApplicationError("too few", {"found": 1})
        return len(items)

    seen = list[Any]()
    watching = bound.watch(strict, session=session)
    while len(seen) < 3:
        try:
            async for count in watching:
                seen.append(count)
                await bound.run(add, session=session, sku="x")
                if len(seen) == 3:
                    break
        except ApplicationError as error:
            seen.append(error.data)
            await bound.run(add, session=session, sku="x")
    assert seen == [0, {"found": 1}, 2]
    watching.close()


async def test_only_a_query_with_good_arguments_is_watched(bound: Bound, session: Session, cart: Any, add: Any) -> None:
    """All of it is refused at once, before any I/O."""
    with pytest.raises(FunctionUnknownError):
        bound.watch(add, session=session, sku="x")
    with pytest.raises(InvalidError):
        bound.watch(cart, session=session, first="ten")
    with pytest.raises(InvalidError):
        bound.watch(cart, session=session, surplus=1)
    with pytest.raises(InvalidError):
        bound.watch(cart)
    with pytest.raises(FunctionUnknownError):
        bound.reading(Call(add, session, b'{"sku": "x"}'))
    assert bound.store.live.watches == 0


async def test_a_watching_that_was_closed_ends_its_loop(bound: Bound, session: Session, cart: Any) -> None:
    before = bound.watch(cart, session=session)
    before.close()
    assert [items async for items in before] == []
    seen = Latest(bound.watch(cart, session=session))
    await settled()
    await seen.end()
    assert seen.seen == [["None"]]


@pytest.mark.row("F-L2", "F-L5")
async def test_whatever_a_query_reads_by_other_verbs_is_followed_too(
    bound: Bound, shop: Shop, session: Session, add: Any
) -> None:
    """It runs another query, and asks the sessions themselves."""

    @shop.functions.query
    async def inner(ctx: QueryCtx, session_id: SessionId) -> int:
        return len((await ctx.db(shop.carts).get(session_id)).items)

    @shop.functions.query
    async def outer(ctx: QueryCtx, session_id: SessionId) -> list[Any]:
        other = await shop.sessions.get(other_id)
        return [await ctx.run_query(inner), other is not None]

    other_id = (await shop.sessions.issue()).session.id
    seen = Latest(bound.watch(outer, session=session))
    await settled()
    await bound.run(add, session=session, sku="x")
    await settled()
    await shop.sessions.revoke(other_id)
    await settled()
    assert seen.seen == [[0, True], [1, True], [1, False]]
    await seen.end()
