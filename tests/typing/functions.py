"""What type checkers say of sessions and functions: right calls have exact types, wrong ones are errors.

mypy and pyright read this file; nothing runs it. A line marked as an error must be one, or the mark itself is.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

import sojourn
from sojourn import ActionCtx, Functions, MutationCtx, QueryCtx, SessionId, Sessions, run_session_functions
from sojourn.functions import Function, Page
from sojourn.sessions import Issued, Session

store = sojourn.open("memory:")
sessions = Sessions(store)
functions = Functions(sessions)
carts = functions.collection("carts", list[str], by=SessionId)
stock = functions.collection("stock", int, by=str)


@functions.query
async def cart(ctx: QueryCtx, session_id: SessionId, *, limit: int = 20) -> list[str]:
    assert_type(await ctx.db(carts).get(session_id), list[str])
    assert_type(await ctx.db(stock).scan("books"), Page[int])
    await ctx.db(carts).get("not a session id")  # type: ignore[arg-type]
    await ctx.db(carts).put(session_id, [])  # type: ignore[attr-defined]
    await ctx.run_mutation(add)  # type: ignore[attr-defined]
    return (await ctx.db(carts).get(session_id))[:limit]


@functions.mutation(internal=True)
async def add(ctx: MutationCtx, session_id: SessionId, *, sku: str) -> int:
    await ctx.db(carts).update(session_id, lambda cart: [*cart, sku])
    await ctx.db(stock).update(sku, lambda left: left - 1)
    await ctx.db(stock).update(sku, str)  # type: ignore[arg-type]
    await ctx.db(stock).put(sku, "many")  # type: ignore[arg-type]
    return len(await ctx.run_query(cart, limit=5))


@functions.action
async def buy(ctx: ActionCtx, session_id: SessionId) -> None:
    assert_type(await ctx.run_query(cart), list[str])
    assert_type(await ctx.run_mutation(add, sku="book"), int)
    run = run_session_functions(ctx, session_id)
    assert_type(await run.run_session_query(cart, limit=5), list[str])
    assert_type(await run.run_session_mutation(add, sku="book"), int)
    await run.run_session_query(cart, limit="5")  # type: ignore[arg-type]
    await run.run_session_mutation(add)  # type: ignore[call-arg]
    await run.run_session_mutation(add, sku="book", session_id="mine")  # type: ignore[call-arg]
    await ctx.run_mutation(add, sku=1)  # type: ignore[arg-type]
    ctx.db(carts)  # type: ignore[attr-defined]


@functions.query  # type: ignore[arg-type]
async def wrong_context(ctx: MutationCtx, session_id: SessionId) -> None: ...


@functions.query  # type: ignore[arg-type]
async def no_session(ctx: QueryCtx) -> None: ...


async def in_process(token: str) -> None:
    issued = await sessions.issue()
    assert_type(issued, Issued)
    session = await sessions.resolve(token)
    assert_type(session, Session)
    assert_type(await sessions.find(token), Session | None)
    state = session.state("cart", list[str])
    assert_type(await state.update(lambda cart: [*cart, "book"]), list[str])
    await state.update(len)  # type: ignore[arg-type]
    bound = functions.bind(store)
    assert_type(await bound.run(cart, session=session, limit=5), list[str])
    await bound.run(cart)  # type: ignore[call-overload]
    named: Function[..., list[str]] = cart
    assert_type(await bound.run(named, session=session), list[str])


@functions.query.sessionless
async def left(ctx: QueryCtx, *, sku: str) -> int:
    return await ctx.db(stock).get(sku)


@functions.mutation.sessionless.internal
def tidy(ctx: MutationCtx) -> None: ...


@functions.query.sessionless  # type: ignore[arg-type]
async def not_its_context(ctx: MutationCtx) -> None: ...


async def watched(session: Session) -> None:
    bound = functions.bind(store)
    watching = bound.watch(cart, session=session, limit=5)
    async for items in watching:
        assert_type(items, list[str])
    async for number in bound.acting_as(None).watch(left, sku="book"):
        assert_type(number, int)
    bound.watch(cart)  # type: ignore[call-overload]
    assert_type(await bound.run(left, sku="book"), int)
    bound.acting_as(session).watch(left)  # type: ignore[call-arg]
    bound.acting_as(session).watch(left, sku=1)  # type: ignore[arg-type]
