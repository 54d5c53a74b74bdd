"""What a call may say, and what it gets: arguments and results are checked, kinds keep to what they may do."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

import sojourn
from sojourn import limits
from sojourn.errors import (
    ApplicationError,
    CapabilityError,
    FunctionUnknownError,
    InvalidError,
    LimitError,
    ResultInvalidError,
    SessionRevokedError,
    SessionUnknownError,
)
from sojourn.functions import ActionCtx, Call, Functions, Kind, MutationCtx, Presented, QueryCtx, run_session_functions
from sojourn.kernel import Reads, Store
from sojourn.sessions import Session, SessionId, Sessions
from sojourn.testing import ManualClock
from tests.capabilities import needs

from .conftest import Cart, Shop


class Address(pydantic.BaseModel):
    street: str
    floor: int = 0


Small = Annotated[int, msgspec.Meta(ge=1, le=100)]


@pytest.fixture
def echo(shop: Shop) -> Any:
    @shop.functions.query
    async def echo(
        ctx: QueryCtx,
        session_id: SessionId,
        *,
        text: str,
        count: Small = 20,
        home: Address | None = None,
        tags: list[str] | None = None,
    ) -> list[Any]:
        return [session_id, text, count, home and home.street, tags]

    return echo


@pytest.mark.row("F-C1")
async def test_the_handler_gets_the_session_and_the_arguments(shop: Shop, session: Session, echo: Any) -> None:
    bound = shop.bind()
    assert await bound.run(echo, session=session, text="a") == [session.id, "a", 20, None, None]
    home = Address(street="Elm")
    assert await bound.run(echo, session=session, text="a", count=3, home=home, tags=["x"]) == [
        session.id,
        "a",
        3,
        "Elm",
        ["x"],
    ]


@pytest.mark.row("F-C4", "F-C57")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (b"{}", "text"),
        (b'{"text": 1}', "text"),
        (b'{"text": "a", "count": "3"}', "count"),
        (b'{"text": "a", "count": true}', "count"),
        (b'{"text": "a", "count": 0}', "count"),
        (b'{"text": "a", "count": 101}', "count"),
        (b'{"text": "a", "surplus": 1}', "surplus"),
        (b'{"text": "a", "session_id": "mine"}', "session_id"),
        (b'{"text": "a", "home": {"floor": 1}}', "street"),
        (b"[]", "object"),
        (b"", "truncated"),
        (b'{"text": "a"', "truncated"),
        (b'{"text": NaN}', "malformed"),
        (b'{"text": "\xff"}', "utf-8"),
        (b"[" * 1_000, ""),
        (b'{"tags": ' + b"[" * 1_000, ""),
    ],
)
async def test_wrong_arguments_are_refused_by_name_before_any_io(
    shop: Shop, session: Session, echo: Any, arguments: bytes, named: str
) -> None:
    with pytest.raises(InvalidError, match="arguments") as caught:
        await shop.bind().answer(Call(echo, session, arguments))
    assert named.lower() in str(caught.value).lower()


async def test_arguments_without_a_json_form_are_refused(shop: Shop, session: Session) -> None:
    @shop.functions.query
    async def anything(ctx: QueryCtx, session_id: SessionId, *, value: Any) -> None: ...

    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), {"a": 1j}, float("nan"), [float("inf")], endless):
        with pytest.raises(InvalidError, match="no JSON form"):
            await shop.bind().run(anything, session=session, value=value)


async def test_arguments_beyond_the_limit_are_refused(shop: Shop, session: Session, echo: Any) -> None:
    with pytest.raises(LimitError):
        await shop.bind().run(echo, session=session, text="x" * limits.ARGUMENTS_BYTES)


@pytest.mark.row("F-C56")
async def test_a_result_that_is_not_as_declared_fails_the_call_and_undoes_its_writes(
    shop: Shop, session: Session
) -> None:
    @shop.functions.mutation
    async def wrong(ctx: MutationCtx, session_id: SessionId) -> int:
        await ctx.db(shop.carts).put(session_id, Cart(("book",)))
        return "three"  # type: ignore[return-value]

    @shop.functions.query
    async def cart(ctx: QueryCtx, session_id: SessionId) -> Cart:
        return await ctx.db(shop.carts).get(session_id)

    with pytest.raises(ResultInvalidError, match="wrong"):
        await shop.bind().run(wrong, session=session)
    assert await shop.bind().run(cart, session=session) == Cart()


@pytest.mark.row("F-C80")
async def test_an_error_of_the_application_keeps_its_data(shop: Shop, session: Session) -> None:
    @shop.functions.mutation
    async def refuse(ctx: MutationCtx, session_id: SessionId) -> None:
        raise ApplicationError("sold out", {"left": 0})

    with pytest.raises(ApplicationError) as caught:
        await shop.bind().run(refuse, session=session)
    assert caught.value.data == {"left": 0}


@pytest.mark.row("F-C64")
async def test_time_and_chance_are_frozen_for_a_call(shop: Shop, session: Session, clock: ManualClock) -> None:
    seen: list[tuple[datetime, float, float, uuid.UUID]] = []

    @shop.functions.mutation
    async def draw(ctx: MutationCtx, session_id: SessionId) -> None:
        found = await ctx.db(shop.carts).get(session_id)
        seen.append((ctx.now, ctx.random.random(), ctx.random.random(), ctx.uuid()))
        if len(seen) == 1:  # a rival makes this attempt one of two
            await session.state("x", int).put(1)
            await shop.bind().run(rival, session=session)
        await ctx.db(shop.carts).put(session_id, found.plus("book"))

    @shop.functions.mutation
    async def rival(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(shop.carts).put(session_id, Cart(("rival",)))

    await shop.bind().run(draw, session=session)
    (_, first, second, drawn), again = seen
    assert again[1:] == (first, second, drawn)
    assert first != second
    clock.advance(timedelta(minutes=1))
    await shop.bind().run(draw, session=session)
    assert seen[2][1:] != seen[0][1:]
    assert seen[2][0] - seen[1][0] == timedelta(minutes=1)


@pytest.mark.row("F-C64")
async def test_chance_goes_on_in_what_a_call_runs(shop: Shop, session: Session) -> None:
    @shop.functions.query
    async def draw(ctx: QueryCtx, session_id: SessionId) -> str:
        return str(ctx.uuid())

    @shop.functions.mutation
    async def outer(ctx: MutationCtx, session_id: SessionId) -> list[str]:
        return [str(ctx.uuid()), await ctx.run_query(draw), await ctx.run_query(draw), str(ctx.uuid())]

    drawn = [one for _ in range(2) for one in await shop.bind().run(outer, session=session)]
    assert len(set(drawn)) == 8


async def test_a_query_cannot_write(shop: Shop, session: Session) -> None:
    @shop.functions.query
    async def sly(ctx: QueryCtx, session_id: SessionId) -> None:
        await session.state("x", int).put(1, tx=ctx.tx)

    with pytest.raises(InvalidError, match="mutation"):
        await shop.bind().run(sly, session=session)
    assert await session.state("x", int).get() == 0


@pytest.mark.row("F-C61")
async def test_a_nested_mutation_that_raises_and_is_caught_undoes_only_its_own_writes(
    shop: Shop, session: Session
) -> None:
    balances = shop.functions.collection("balances", int, by=SessionId)

    @shop.functions.mutation(internal=True)
    async def inner(ctx: MutationCtx, session_id: SessionId, *, fail: bool) -> int:
        left = await ctx.db(balances).update(session_id, lambda balance: balance - 1, default=5)
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("inner"))
        if fail:
            raise LookupError
        return left

    @shop.functions.mutation
    async def outer(ctx: MutationCtx, session_id: SessionId) -> list[int]:
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("outer"))
        with pytest.raises(LookupError):
            await ctx.run_mutation(inner, fail=True)
        return [0, await ctx.run_mutation(inner, fail=False), await ctx.run_query(left)]

    @shop.functions.query
    async def left(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(balances).get(session_id)

    @shop.functions.query
    async def cart(ctx: QueryCtx, session_id: SessionId) -> Cart:
        return await ctx.db(shop.carts).get(session_id)

    assert await shop.bind().run(outer, session=session) == [0, 4, 4]
    assert await shop.bind().run(cart, session=session) == Cart(("outer", "inner"))


@pytest.mark.row("F-C31", "F-C32", "F-C2")
async def test_an_action_runs_public_and_internal_functions_for_its_session(shop: Shop, session: Session) -> None:
    @shop.functions.mutation(internal=True)
    async def add(ctx: MutationCtx, session_id: SessionId, *, sku: str = "book") -> SessionId:
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus(sku))
        return session_id

    @shop.functions.query
    async def cart(ctx: QueryCtx, session_id: SessionId) -> Cart:
        return await ctx.db(shop.carts).get(session_id)

    @shop.functions.action
    async def buy(ctx: ActionCtx, session_id: SessionId, *, other: str) -> list[Any]:
        mine = run_session_functions(ctx, session_id)
        theirs = run_session_functions(ctx, SessionId(other))
        await ctx.run_mutation(add, sku="pen")
        return [
            await mine.run_session_mutation(add),
            await theirs.run_session_mutation(add, sku="cup"),
            (await ctx.run_query(cart)).items,
            (await theirs.run_session_query(cart)).items,
        ]

    @shop.functions.action
    async def twice(ctx: ActionCtx, session_id: SessionId, *, other: str) -> list[Any]:
        return [
            await ctx.run_action(buy, other=other),
            await run_session_functions(ctx, session_id).run_session_action(buy, other=other),
        ]

    other = (await shop.sessions.issue()).session
    bound = shop.bind()
    assert await bound.run(buy, session=session, other=other.id) == [session.id, other.id, ["pen", "book"], ["cup"]]
    first, second = await bound.run(twice, session=session, other=other.id)
    assert first[3:] == [["cup", "cup"]]
    assert second[3:] == [["cup", "cup", "cup"]]
    with pytest.raises(FunctionUnknownError):
        bound.public(Kind.MUTATION, "add")
    with pytest.raises(SessionUnknownError):
        await bound.run(buy, session=session, other="nobody")


async def test_a_function_of_another_kind_is_refused(shop: Shop, session: Session, echo: Any) -> None:
    @shop.functions.action
    async def confused(ctx: ActionCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(echo, text="a")

    with pytest.raises(FunctionUnknownError, match="query"):
        await shop.bind().run(confused, session=session)
    for kind, name in ((Kind.MUTATION, "echo"), (Kind.QUERY, "nothing"), (Kind.QUERY, "x" * 10_000)):
        with pytest.raises(FunctionUnknownError):
            shop.bind().public(kind, name)
    assert shop.bind().public(Kind.QUERY, "echo") is echo


async def test_signing_in_from_an_action_needs_the_callers_token(shop: Shop) -> None:
    @shop.functions.action
    async def sign_in(ctx: ActionCtx, session_id: SessionId, *, name: str) -> str | None:
        return (await ctx.rotate(name)).subject

    issued = await shop.sessions.issue()
    bound = shop.bind()
    presented = Presented(issued.token)
    await bound.answer(Call(sign_in, issued.session, b'{"name": "ada"}', presented=presented))
    assert presented.issued is not None
    assert (await shop.sessions.resolve(presented.issued.token)).subject == "ada"
    assert await shop.sessions.find(issued.token) is None
    with pytest.raises(CapabilityError, match="token"):
        await bound.run(sign_in, session=presented.issued.session, name="ada")


@pytest.mark.row("P-R3")
async def test_a_query_for_a_session_that_has_ended_is_refused(shop: Shop, session: Session, echo: Any) -> None:
    await shop.sessions.revoke(session.id)
    with pytest.raises(SessionRevokedError):
        await shop.bind().run(echo, session=session, text="a")


async def test_a_call_in_this_process_sees_the_time_of_the_call(
    shop: Shop, session: Session, clock: ManualClock
) -> None:
    @shop.functions.query
    async def now(ctx: QueryCtx, session_id: SessionId) -> datetime:
        return ctx.now

    first = await shop.bind().run(now, session=session)
    clock.advance(timedelta(minutes=5))
    assert await shop.bind().run(now, session=session) - first == timedelta(minutes=5)


async def test_only_a_mutation_takes_a_request_id(shop: Shop, session: Session, echo: Any) -> None:
    with pytest.raises(InvalidError, match="only a mutation"):
        await shop.bind().run(echo, session=session, request_id="r1", text="a")


@pytest.mark.row("P-R3")
async def test_a_mutation_for_a_revoked_session_writes_nothing(shop: Shop, session: Session, store: Store) -> None:
    @shop.functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        for key in ("book", "pen"):  # two partitions, whatever the session's is
            await ctx.db(shop.stock).update(key, lambda stock: stock + 1, default=0)
        if ctx.session.subject is None:
            await shop.sessions.revoke(session_id)

    @shop.functions.query
    async def stock(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(shop.stock).get("book")

    with needs(store, "cross_partition"), pytest.raises(SessionRevokedError):
        await shop.bind().run(add, session=session)
    other = (await shop.sessions.issue()).session
    assert await shop.bind().run(stock, session=other) == 0


async def test_what_a_session_keeps_in_a_collection_ends_with_it(shop: Shop, store: Store) -> None:
    @shop.functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(shop.carts).put(session_id, Cart(("book",)))

    session = (await shop.sessions.issue()).session
    await shop.bind().run(add, session=session)
    await shop.sessions.revoke(session.id)
    assert (await store.read(Reads((shop.carts.key(session.id),)))).records.keys == (None,)


async def test_a_process_that_knows_no_collection_ends_them_all_the_same(shop: Shop, store: Store) -> None:
    """The command line revokes without importing the application; the store tells it what sessions own."""

    @shop.functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(shop.carts).put(session_id, Cart(("book",)))

    session = (await shop.sessions.issue()).session
    await shop.bind().run(add, session=session)
    assert await Sessions(store).revoke(session.id)
    assert (await store.read(Reads((shop.carts.key(session.id),)))).records.keys == (None,)


async def _positional(ctx: QueryCtx, session_id: SessionId, limit: int) -> None: ...
async def _reserved(ctx: QueryCtx, session_id: SessionId, *, request_id: int) -> None: ...
async def _passed_on(ctx: QueryCtx, session_id: SessionId, *, function: str) -> None: ...
async def _own(ctx: QueryCtx, session_id: SessionId, *, self: str) -> None: ...
async def _no_session(ctx: QueryCtx) -> None: ...
async def _open_ended(ctx: QueryCtx, session_id: SessionId, **arguments: int) -> None: ...


@pytest.mark.parametrize("handler", [_positional, _reserved, _passed_on, _own, _no_session, _open_ended])
def test_a_handler_of_the_wrong_form_is_refused_when_it_is_defined(shop: Shop, handler: Callable[..., Any]) -> None:
    with pytest.raises(InvalidError, match=handler.__name__):
        shop.functions.query(handler)


async def test_a_name_is_taken_once(shop: Shop, echo: Any) -> None:
    with pytest.raises(InvalidError, match="already"):
        shop.functions.query(echo.handler)
    with pytest.raises(InvalidError, match="already"):
        shop.functions.collection("carts", Cart, by=SessionId)
    for name in ("", "two words", "a" * 49, "päivä"):
        with pytest.raises(InvalidError):
            shop.functions.collection(name, Cart, by=SessionId)


async def test_functions_are_bound_to_the_store_of_their_sessions(shop: Shop) -> None:
    async with sojourn.open("memory:") as other:
        with pytest.raises(InvalidError, match="store"):
            shop.functions.bind(other)
        with pytest.raises(InvalidError, match="store"):
            Functions(Sessions(other)).bind(shop.sessions.store)


async def test_a_collection_kept_together_is_read_by_page(shop: Shop, session: Session, store: Store) -> None:
    cards = shop.functions.collection("cards", str, by=str, partition=lambda key: key.split("/")[0])

    @shop.functions.mutation
    async def fill(ctx: MutationCtx, session_id: SessionId) -> list[list[Any]]:
        for key in ("b/1", "b/2", "b/3", "c/1"):
            await ctx.db(cards).put(key, key.upper())
        first = await ctx.db(cards).scan("b", limit=2)
        rest = await ctx.db(cards).scan("b", limit=2, after=first.next)
        await ctx.db(cards).delete("b/1")
        return [list(first.items), list(rest.items), [rest.next, await ctx.db(cards).find("b/1")]]

    with needs(store, "cross_partition"):
        first, rest, end = await shop.bind().run(fill, session=session)
        assert first == [["b/1", "B/1"], ["b/2", "B/2"]]
        assert rest == [["b/3", "B/3"]]
        assert end == [None, None]
