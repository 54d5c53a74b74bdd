"""Layers: what they add, hide and consume, in which order they run, and what follows success."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import msgspec
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import (
    ApplicationError,
    CommitUnknownError,
    InvalidError,
    LimitError,
    RequestReusedError,
    ResultInvalidError,
)
from sojourn.functions import (
    ActionCtx,
    Bound,
    Call,
    Caller,
    Done,
    Extended,
    Functions,
    MutationCtx,
    Patch,
    Presented,
    QueryCtx,
    layer,
    run_session_functions,
)
from sojourn.kernel import Outcome, Store, Transaction
from sojourn.sessions import Session, SessionId, Sessions
from sojourn.testing import ManualClock

from .conftest import Cart, Shop


class TeamArg(msgspec.Struct, frozen=True):
    team: str


class MaybeTeamArg(msgspec.Struct, frozen=True):
    team: str = "none"


class SizeArg(msgspec.Struct, frozen=True):
    size: int

    def __post_init__(self) -> None:
        if self.size > 100:
            raise ValueError("size is 100 at most")


@dataclass(frozen=True)
class TeamCtx(Extended[QueryCtx], QueryCtx):
    team: str
    now: Any = "never"  # stands over the context's own

    def shouted(self) -> str:
        return self.team.upper()


@dataclass(frozen=True)
class BlindCtx(Extended[QueryCtx], QueryCtx):
    hides = frozenset({"db", "uuid"})


@layer
async def in_team(ctx: QueryCtx, argument: TeamArg) -> Patch[TeamCtx]:
    return Patch(TeamCtx(ctx, argument.team), added=len(argument.team))


@layer
def handing_on(ctx: QueryCtx, argument: TeamArg) -> Patch[QueryCtx]:
    return Patch(ctx, hands_on=True)


@layer
def maybe(ctx: QueryCtx, argument: MaybeTeamArg) -> Patch[QueryCtx]:
    return Patch(ctx, added=argument.team, hands_on=True)


@layer
def sized(ctx: QueryCtx, argument: SizeArg) -> Patch[QueryCtx]:
    return Patch(ctx, added=argument.size)


@layer
def blind(ctx: QueryCtx) -> Patch[BlindCtx]:
    return Patch(BlindCtx(ctx))


@layer
def plain(ctx: QueryCtx) -> Patch[QueryCtx]:
    return Patch(ctx)


async def sent(bound: Bound, function: Any, session: Session, text: bytes) -> Any:
    """Call as a browser does: all arguments in one object."""
    return msgspec.json.decode(await bound.answer(Call(function, session, text)))


async def items(shop: Shop, session: Session) -> tuple[str, ...]:
    """What the session's cart holds."""
    record = await shop.sessions.store.run(lambda tx: tx.get(shop.carts.key(session.id)))
    return () if record is None else shop.carts.codec.decode(record.value).items


def writing(shop: Shop, trace: list[str], **after: Any) -> Any:
    """A layer that writes into the cart, and so does a handler behind it."""

    @layer
    async def noting(ctx: MutationCtx) -> Patch[MutationCtx]:
        trace.append("layer")
        await ctx.db(shop.carts).update(ctx.session_id, lambda cart: cart.plus("layer"))
        return Patch(ctx, **after)

    return noting


def telling(trace: list[str], word: str) -> Callable[[Done[Any]], None]:
    """Note that success was told."""
    return lambda _: trace.append(word)


# -- The context ------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-C34")
async def test_what_a_layer_adds_is_there_behind_it_and_nowhere_else(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(in_team)
    async def within(ctx: TeamCtx, session_id: SessionId) -> list[Any]:
        cart = await ctx.db(shop.carts).get(session_id)
        return [
            ctx.team,
            ctx.shouted(),
            ctx.now,
            ctx.session.id == session_id,
            cart.items,
            await ctx.run_query(outside),
        ]

    @shop.functions.query
    async def outside(ctx: QueryCtx, session_id: SessionId) -> bool:
        return hasattr(ctx, "team") or ctx.now == "never"

    bound = shop.bind()
    assert await bound.run(within, TeamArg("red"), session=session) == ["red", "RED", "never", True, [], False]


async def test_chance_goes_on_through_a_view(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(in_team)
    async def drawn(ctx: TeamCtx, session_id: SessionId) -> list[float]:
        below: Any = object.__getattribute__(ctx, "_over")
        return [ctx.random.random(), below.random.random(), ctx.random.random()]

    assert len(set(await shop.bind().run(drawn, TeamArg("red"), session=session))) == 3


async def test_what_stands_over_a_verb_may_use_it_by_super_and_nested_functions_see_nothing_of_it(shop: Shop) -> None:
    trace: list[str] = []

    @dataclass(frozen=True)
    class TracedQueryCtx(Extended[QueryCtx], QueryCtx):
        async def run_query(self, *function: Any, **arguments: Any) -> Any:
            trace.append("query")
            return await super().run_query(*function, **arguments)

    @dataclass(frozen=True)
    class TracedMutationCtx(Extended[MutationCtx], MutationCtx):
        async def run_mutation(self, *function: Any, **arguments: Any) -> Any:
            trace.append("mutation")
            return await super().run_mutation(*function, **arguments)

    @dataclass(frozen=True)
    class TracedActionCtx(Extended[ActionCtx], ActionCtx):
        async def rotate(self, *subject: Any, **label: Any) -> Session:
            trace.append("rotate")
            return await super().rotate(*subject, **label)

    @shop.functions.query
    async def read(ctx: QueryCtx, session_id: SessionId) -> str:
        return type(ctx).__name__

    @shop.functions.query.using(layer(lambda ctx: Patch(TracedQueryCtx(ctx))))
    async def reading(ctx: QueryCtx, session_id: SessionId) -> str:
        return await ctx.run_query(read)

    @shop.functions.mutation
    async def write(ctx: MutationCtx, session_id: SessionId) -> str:
        return type(ctx).__name__

    @shop.functions.mutation.using(layer(lambda ctx: Patch(TracedMutationCtx(ctx))))
    async def writing(ctx: MutationCtx, session_id: SessionId) -> str:
        return await ctx.run_mutation(write)

    @shop.functions.action.using(layer(lambda ctx: Patch(TracedActionCtx(ctx))))
    async def sign_in(ctx: ActionCtx, session_id: SessionId) -> list[str | None]:
        await ctx.rotate("ada")
        return [ctx.session.subject, ctx.caller.subject, await ctx.run_query(reading), await ctx.run_mutation(writing)]

    issued = await shop.sessions.issue()
    call = Call(sign_in, issued.session, b"{}", presented=Presented(issued.token))
    assert await shop.bind().answer(call) == b'["ada","ada","QueryCtx","MutationCtx"]'
    assert trace == ["rotate", "query", "mutation"]


@pytest.mark.row("F-C35")
async def test_what_a_layer_hides_cannot_be_reached(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(blind)
    async def look(ctx: BlindCtx, session_id: SessionId) -> list[bool]:
        return [hasattr(ctx, name) for name in ("db", "uuid", "random", "session", "missing")]

    @shop.functions.query.using(blind)
    async def read(ctx: BlindCtx, session_id: SessionId) -> Cart:
        return await ctx.db(shop.carts).get(session_id)

    bound = shop.bind()
    assert await bound.run(look, session=session) == [False, False, True, True, False]
    with pytest.raises(AttributeError, match="BlindCtx hides 'db'"):
        await bound.run(read, session=session)


@pytest.mark.row("F-C35")
def test_a_view_hides_what_the_view_that_it_is_made_of_adds() -> None:
    @dataclass(frozen=True)
    class NamelessCtx(TeamCtx):
        hides = frozenset({"team"})

    view = NamelessCtx(BlindCtx("the context"), "red")  # type: ignore[arg-type]  # any object will do to be hidden
    with pytest.raises(AttributeError, match="NamelessCtx hides 'team'"):
        str(view.team)
    assert view.now == "never"


async def test_a_layer_further_out_cannot_reach_what_is_hidden_either(shop: Shop, session: Session) -> None:
    @layer
    async def needing(ctx: BlindCtx) -> Patch[BlindCtx]:
        await ctx.db(shop.carts).get(ctx.session_id)
        return Patch(ctx)

    @shop.functions.query.using(blind).using(needing)
    async def read(ctx: BlindCtx, session_id: SessionId) -> None: ...

    with pytest.raises(AttributeError, match="BlindCtx hides 'db'"):
        await shop.bind().run(read, session=session)


def test_a_view_is_frozen_and_shows_nothing_of_what_it_stands_over() -> None:
    view = TeamCtx("the context", "red")  # type: ignore[arg-type]  # any object will do to be hidden
    with pytest.raises(AttributeError):
        view.team = "blue"  # type: ignore[misc]
    assert "the context" not in repr(view)


# -- Arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-C36", "F-C41", "F-C57")
async def test_a_consumed_argument_must_be_sent_and_does_not_reach_the_handler(shop: Shop, session: Session) -> None:
    seen: list[dict[str, Any]] = []

    @shop.functions.query.using(in_team)
    async def board(ctx: TeamCtx, session_id: SessionId, *, limit: int = 20) -> str:
        seen.append({"limit": limit})
        return ctx.team

    bound = shop.bind()
    assert await bound.run(board, TeamArg("red"), session=session, limit=5) == "red"
    assert await sent(bound, board, session, b'{"limit": 6, "team": "blue"}') == "blue"
    assert seen == [{"limit": 5}, {"limit": 6}]
    for text, named in (
        (b"{}", "missing required field `team`"),
        (b'{"team": 1}', "team"),
        (b'{"team": "red", "colour": 1}', "colour"),
    ):
        with pytest.raises(InvalidError, match=named):
            await sent(bound, board, session, text)
    assert len(seen) == 2


async def test_in_this_process_what_is_consumed_is_given_as_the_struct_that_it_is(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(in_team)
    async def board(ctx: TeamCtx, session_id: SessionId) -> str:
        return ctx.team

    @shop.functions.query
    async def free(ctx: QueryCtx, session_id: SessionId) -> None: ...

    bound: Any = shop.bind()
    for given, keywords in (((), {"team": "red"}), ((), {}), ((SizeArg(1),), {}), ((TeamArg("a"), TeamArg("a")), {})):
        with pytest.raises(InvalidError, match="board takes TeamArg before its keywords"):
            await bound.run(board, *given, session=session, **keywords)
    with pytest.raises(InvalidError, match="free takes nothing before its keywords"):
        await bound.run(free, TeamArg("red"), session=session)


@pytest.mark.row("F-C37", "F-C38")
async def test_what_a_layer_makes_of_an_argument_reaches_the_handler_behind_the_session_id(
    shop: Shop, session: Session
) -> None:
    @shop.functions.query.using(maybe).using(sized)
    @sized.added(int)
    @maybe.added(str)
    async def passed(ctx: QueryCtx, session_id: SessionId, team: str, size: int, *, limit: int = 20) -> list[Any]:
        return [team, size, limit]

    @shop.functions.query.using(in_team)
    @in_team.added(int)
    async def replaced(ctx: TeamCtx, session_id: SessionId, team: int) -> int:
        return team

    bound = shop.bind()
    assert await bound.run(passed, MaybeTeamArg("red"), SizeArg(3), session=session) == ["red", 3, 20]
    assert await sent(bound, passed, session, b'{"size": 4, "limit": 1}') == ["none", 4, 1]
    assert await bound.run(replaced, TeamArg("red"), session=session) == 3
    for text in (b'{"team": 3}', b'{"team": "red", "size": 3}'):
        with pytest.raises(InvalidError):
            await sent(bound, replaced, session, text)
    with pytest.raises(InvalidError, match="size is 100 at most"):
        await sent(bound, passed, session, b'{"size": 101}')


async def test_a_layer_that_is_around_twice_consumes_twice_and_the_outer_adds(shop: Shop, session: Session) -> None:
    numbers = itertools.count()

    @layer
    def counting(ctx: QueryCtx, argument: TeamArg) -> Patch[QueryCtx]:
        return Patch(ctx, added=next(numbers))

    @shop.functions.query.using(counting).using(counting)
    @counting.added(int)
    async def twice(ctx: QueryCtx, session_id: SessionId, number: int) -> int:
        return number

    bound = shop.bind()
    assert await bound.run(twice, TeamArg("red"), TeamArg("red"), session=session) == 1
    assert await sent(bound, twice, session, b'{"team": "red"}') == 3


@pytest.mark.row("F-C39")
async def test_a_caller_cannot_send_what_a_layer_adds(shop: Shop, session: Session) -> None:
    @layer
    async def counting(ctx: QueryCtx) -> Patch[QueryCtx]:
        return Patch(ctx, added=[1, 2])

    @shop.functions.query.using(counting)
    @counting.added(list[int])
    async def total(ctx: QueryCtx, session_id: SessionId, numbers: list[int], *, more: int = 0) -> int:
        return sum(numbers) + more

    bound = shop.bind()
    assert await bound.run(total, session=session, more=1) == 4
    with pytest.raises(InvalidError, match="numbers"):
        await sent(bound, total, session, b'{"numbers": [5]}')


@pytest.mark.row("F-C40", "F-C37")
async def test_a_handler_that_declares_a_consumed_argument_gets_it_if_the_layer_hands_it_on(
    shop: Shop, session: Session
) -> None:
    @shop.functions.query.using(in_team)
    async def without(ctx: TeamCtx, session_id: SessionId, *, team: str = "default") -> str:
        return team

    @shop.functions.query.using(handing_on)
    async def handed(ctx: QueryCtx, session_id: SessionId, *, team: str = "default") -> str:
        return team

    @shop.functions.query.using(in_team)
    async def helpless(ctx: TeamCtx, session_id: SessionId, *, team: str) -> str:
        return team

    bound = shop.bind()
    assert await bound.run(without, TeamArg("red"), session=session) == "default"
    assert await bound.run(handed, TeamArg("red"), session=session) == "red"
    assert await bound.run(handed, TeamArg("red"), session=session, team="red") == "red"
    with pytest.raises(InvalidError, match="two values for 'team'"):
        await bound.run(handed, TeamArg("red"), session=session, team="blue")
    with pytest.raises(InvalidError, match=r"helpless.*needs 'team'"):
        await bound.run(helpless, TeamArg("red"), session=session, team="red")


@pytest.mark.row("F-C41")
async def test_an_argument_required_anywhere_is_required(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(maybe)
    async def by_handler(ctx: QueryCtx, session_id: SessionId, *, team: str) -> str:
        return team

    @shop.functions.query.using(maybe).using(handing_on)
    async def by_layer(ctx: QueryCtx, session_id: SessionId, *, team: str = "default") -> str:
        return team

    @shop.functions.query.using(maybe)
    async def by_none(ctx: QueryCtx, session_id: SessionId, *, team: str = "default") -> str:
        return team

    bound = shop.bind()
    for function in (by_handler, by_layer):
        assert await sent(bound, function, session, b'{"team": "red"}') == "red"
        with pytest.raises(InvalidError, match="team"):
            await sent(bound, function, session, b"{}")
    assert await sent(bound, by_none, session, b"{}") == "default"
    assert await bound.run(by_none, MaybeTeamArg(), session=session) == "none"


async def _number(ctx: QueryCtx, session_id: SessionId, *, team: int = 0) -> None: ...
async def _optional(ctx: QueryCtx, session_id: SessionId, *, team: str | None = None) -> None: ...
async def _nothing(ctx: QueryCtx, session_id: SessionId) -> None: ...


class NumberArg(msgspec.Struct):
    team: int


@layer
def by_number(ctx: QueryCtx, argument: NumberArg) -> Patch[QueryCtx]:
    return Patch(ctx)


@pytest.mark.row("F-C42", "F-C43")
@pytest.mark.parametrize(("layers", "handler"), [([plain], _number), ([plain], _optional), ([by_number], _nothing)])
def test_an_argument_of_two_types_is_an_error_when_the_function_is_defined(
    shop: Shop, layers: list[Any], handler: Callable[..., Any]
) -> None:
    builder: Any = shop.functions.query.using(handing_on)
    for one in layers:
        builder = builder.using(one)
    with pytest.raises(InvalidError, match=rf"{handler.__name__}.*'team'.*str.*handing_on|'team'.*str.*by_number"):
        builder(handler)


async def _positional(ctx: QueryCtx, session_id: SessionId, limit: int) -> None: ...
async def _surplus(ctx: QueryCtx, session_id: SessionId, *arguments: Any) -> None: ...
async def _typed(ctx: QueryCtx, session_id: SessionId, **arguments: int) -> None: ...
async def _both(ctx: QueryCtx, session_id: SessionId, *, limit: int, **arguments: Any) -> None: ...


@pytest.mark.row("F-C45")
@pytest.mark.parametrize("handler", [_positional, _surplus, _typed, _both])
def test_a_handler_whose_arguments_are_not_named_is_an_error_when_it_is_defined(
    shop: Shop, handler: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidError, match=handler.__name__):
        shop.functions.query.using(plain)(handler)


@pytest.mark.row("F-C46")
def test_arguments_are_not_consumed_of_a_handler_that_names_none(shop: Shop) -> None:
    with pytest.raises(InvalidError, match=r"anything.*in_team"):

        @shop.functions.query.using(in_team)
        async def anything(ctx: TeamCtx, session_id: SessionId, /, **arguments: Any) -> None: ...


@pytest.mark.row("F-C47")
async def test_a_handler_that_takes_anything_runs_unchecked_and_a_layer_may_see_it_all(
    shop: Shop, session: Session
) -> None:
    seen: list[Mapping[str, object]] = []

    @layer
    def watching(ctx: QueryCtx, arguments: Mapping[str, object]) -> Patch[QueryCtx]:
        with pytest.raises(TypeError):
            arguments["more"] = 1  # type: ignore[index]
        seen.append(arguments)
        return Patch(ctx)

    @shop.functions.query.using(watching)
    async def anything(ctx: QueryCtx, session_id: SessionId, /, **arguments: Any) -> dict[str, Any]:
        return arguments

    @shop.functions.query.using(watching)
    async def something(ctx: QueryCtx, session_id: SessionId, *, limit: int) -> int:
        return limit

    bound = shop.bind()
    whatever = {"a": [1, {"b": None}], "limit": "many", "arguments": 1}
    assert await sent(bound, anything, session, msgspec.json.encode(whatever)) == whatever
    assert await bound.run(anything, session=session, a=1) == {"a": 1}
    assert await bound.run(something, session=session, limit=3) == 3
    assert seen == [whatever, {"a": 1}, {"limit": 3}]
    for text in (b'{"session_id": "mine"}', b'{"request_id": 1}', b'{"caller": 1}', b"[]", b'{"a": ' + b"[" * 1_000):
        with pytest.raises(InvalidError):
            await sent(bound, anything, session, text)


# -- Success and failure ----------------------------------------------------------------------------------------------


@pytest.mark.row("F-C48")
async def test_when_a_layer_raises_nothing_behind_it_runs_and_nothing_is_written(shop: Shop, session: Session) -> None:
    trace: list[str] = []

    @layer
    def refusing(ctx: MutationCtx) -> Patch[MutationCtx]:
        raise ApplicationError("no")

    told: Any = {
        "on_success": telling(trace, "success"),
        "after_commit": telling(trace, "commit"),
    }

    @shop.functions.mutation.using(writing(shop, trace, **told)).using(refusing)
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        trace.append("handler")

    with pytest.raises(ApplicationError):
        await shop.bind().run(add, session=session)
    assert (trace, await items(shop, session)) == (["layer"], ())


@pytest.mark.row("F-C49", "F-C56")
@pytest.mark.parametrize("result", ["raises", "wrong"])
async def test_when_the_handler_fails_no_success_is_told(shop: Shop, session: Session, result: str) -> None:
    trace: list[str] = []
    told: Any = {
        "on_success": telling(trace, "success"),
        "after_commit": telling(trace, "commit"),
    }

    @shop.functions.mutation.using(writing(shop, trace, **told))
    async def add(ctx: MutationCtx, session_id: SessionId) -> int:
        if result == "raises":
            raise LookupError
        return result  # type: ignore[return-value]

    with pytest.raises((LookupError, ResultInvalidError)):
        await shop.bind().run(add, session=session)
    assert (trace, await items(shop, session)) == (["layer"], ())


@pytest.mark.row("F-C50")
async def test_when_what_follows_success_raises_all_is_undone(shop: Shop, session: Session) -> None:
    def disagree(done: Done[MutationCtx]) -> None:
        raise ApplicationError("not like this")

    trace: list[str] = []
    told: Any = {"after_commit": telling(trace, "commit")}

    @shop.functions.mutation.using(writing(shop, trace, on_success=disagree)).using(writing(shop, trace, **told))
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        trace.append("handler")
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("handler"))

    with pytest.raises(ApplicationError):
        await shop.bind().run(add, session=session)
    assert (trace, await items(shop, session)) == (["layer", "layer", "handler"], ())


@pytest.mark.row("F-C51")
async def test_what_follows_success_is_told_the_layers_own_context_the_arguments_and_the_result(
    shop: Shop, session: Session
) -> None:
    told: list[Done[Any]] = []
    given: list[Any] = []

    @layer
    async def watching(ctx: MutationCtx, argument: TeamArg, *, role: str) -> Patch[WriterCtx]:
        given.append(ctx)
        return Patch(WriterCtx(ctx, argument.team), added=1, on_success=told.append, after_commit=told.append)

    @layer
    async def outer(ctx: WriterCtx, argument: SizeArg) -> Patch[WriterCtx]:
        return Patch(ctx, on_success=noted)

    async def noted(done: Done[WriterCtx]) -> None:
        await done.ctx.db(shop.carts).update(done.ctx.session_id, lambda cart: cart.plus(done.ctx.member))

    @shop.functions.mutation.using(watching).using(outer)(role="any")
    @watching.added(int)
    async def add(
        ctx: WriterCtx, session_id: SessionId, found: int, *, sku: str, limit: int = 3, team: str = ""
    ) -> tuple[str, int]:
        return sku, limit

    assert await shop.bind().run(add, TeamArg("red"), SizeArg(1), session=session, sku="tea") == ("tea", 3)
    first, second = told
    assert (first.ctx, first.arguments, first.result) == (given[0], {"sku": "tea"}, ("tea", 3))
    assert second == first
    assert await items(shop, session) == ("red",), "and it may write"


@dataclass(frozen=True)
class WriterCtx(Extended[MutationCtx], MutationCtx):
    member: str


def later(act: Callable[[], Any], *, waits: bool) -> Any:
    """Do it now, or when it is awaited."""

    async def waited() -> Any:
        await asyncio.sleep(0)
        return act()

    return waited() if waits else act()


@pytest.mark.row("F-C52")
async def test_each_part_may_wait_or_not(shop: Shop, session: Session) -> None:
    trace: list[str] = []

    def parts(layers: bool, handlers: bool, successes: bool, commits: bool) -> tuple[Any, Any]:  # noqa: FBT001
        def around(ctx: QueryCtx) -> Any:
            patch = Patch(ctx, on_success=success, after_commit=commit)
            return later(lambda: patch, waits=layers)

        def success(_: Done[Any]) -> Any:
            return later(lambda: trace.append("success"), waits=successes)

        def commit(_: Done[Any]) -> Any:
            return later(lambda: trace.append("commit"), waits=commits)

        def handler(ctx: QueryCtx, session_id: SessionId, *, by: int) -> Any:
            return later(lambda: by, waits=handlers)

        handler.__name__ = f"handler{layers}{handlers}{successes}{commits}"
        return layer(around), handler

    for waits in itertools.product([False, True], repeat=4):
        around, handler = parts(*waits)
        assert await shop.bind().run(shop.functions.query.using(around)(handler), session=session, by=2) == 2
        assert trace == ["success", "commit"], waits
        trace.clear()

    @shop.functions.query
    def alone(ctx: QueryCtx, session_id: SessionId, *, by: int) -> int:
        return by

    assert await shop.bind().run(alone, session=session, by=2) == 2


@pytest.mark.row("F-C53")
async def test_of_nested_layers_the_inner_enters_first_and_hears_of_success_last(shop: Shop, session: Session) -> None:
    trace: list[str] = []

    def tracing(name: str) -> Any:
        @layer
        async def traced(ctx: QueryCtx) -> Patch[QueryCtx]:
            trace.append(f"{name} enters")
            return Patch(
                ctx,
                on_success=telling(trace, f"{name} succeeds"),
                after_commit=telling(trace, f"{name} follows"),
            )

        return traced

    @shop.functions.query.using(tracing("inner")).using(tracing("outer"))
    async def traced(ctx: QueryCtx, session_id: SessionId) -> None:
        trace.append("handler")

    await shop.bind().run(traced, session=session)
    assert trace == [
        *("inner enters", "outer enters", "handler", "outer succeeds", "inner succeeds"),
        *("outer follows", "inner follows"),
    ]


# -- Extras -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("F-C54", "F-C55")
async def test_each_layer_gets_the_extras_that_it_asks_for_and_no_others_are_taken(
    shop: Shop, session: Session
) -> None:
    seen: list[Any] = []

    @layer
    def by_role(ctx: QueryCtx, *, role: str) -> Patch[QueryCtx]:
        seen.append(role)
        return Patch(ctx)

    @layer
    def by_count(ctx: QueryCtx, *, role: str, count: int = 1) -> Patch[QueryCtx]:
        seen.append((role, count))
        return Patch(ctx)

    builder: Any = shop.functions.query.using(by_role).using(by_count)

    async def first(ctx: QueryCtx, session_id: SessionId) -> None: ...
    async def second(ctx: QueryCtx, session_id: SessionId) -> None: ...

    bound = shop.bind()
    await bound.run(builder(role="admin")(first), session=session)
    await bound.run(builder(role="guest", count=2)(second), session=session)
    assert seen == ["admin", ("admin", 1), "guest", ("guest", 2)]
    with pytest.raises(InvalidError, match=r"colour.*count, role"):
        builder(role="admin", colour="red")
    for incomplete in (builder, builder(count=3)):
        with pytest.raises(InvalidError, match=r"role.*by_role"):
            incomplete(_nothing)
    with pytest.raises(InvalidError, match="rol"):
        shop.functions.query(rol="admin")  # type: ignore[call-overload]  # what is tested


async def test_a_builder_never_changes(shop: Shop, session: Session) -> None:
    hidden: Any = shop.functions.query.using(in_team).internal.using(plain)
    assert hidden(_nothing).internal

    @shop.functions.query(internal=False)
    async def public(ctx: QueryCtx, session_id: SessionId) -> None: ...

    async def given_at_once(ctx: QueryCtx, session_id: SessionId) -> None: ...

    builder: Any = shop.functions.query
    assert builder(given_at_once, internal=True).internal
    assert (public.internal, public.layers) == (False, ())
    await shop.bind().run(public, session=session)


# -- After the commit -------------------------------------------------------------------------------------------------


async def test_after_commit_is_called_once_for_the_attempt_that_was_committed(
    shop: Shop, session: Session, clock: ManualClock
) -> None:
    trace: list[Any] = []
    attempts: list[int] = []

    @layer
    async def noting(ctx: MutationCtx) -> Patch[MutationCtx]:
        attempts.append(len(attempts))
        number = len(attempts)
        return Patch(ctx, after_commit=lambda done: trace.append((number, done.result)))

    @shop.functions.mutation.using(noting)
    async def add(ctx: MutationCtx, session_id: SessionId) -> int:
        cart = await ctx.db(shop.carts).get(session_id)
        if len(attempts) == 1:  # a rival makes this attempt one of two
            await shop.bind().run(rival, session=session)
        await ctx.db(shop.carts).put(session_id, cart.plus("book"))
        assert trace == [], "before the commit nothing follows"
        return len(cart.items)

    @shop.functions.mutation
    async def rival(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(shop.carts).put(session_id, Cart(("rival",)))

    bound = shop.bind()
    async with clock.rushing():
        assert await bound.run(add, session=session, request_id="r1") == 1
    assert (trace, attempts) == ([(2, 1)], [0, 1])
    assert await bound.run(add, session=session, request_id="r1") == 1
    assert (trace, attempts) == ([(2, 1)], [0, 1]), "a repeat runs nothing"


async def test_after_commit_of_an_action_is_called_when_it_has_succeeded(shop: Shop, session: Session) -> None:
    trace: list[str] = []
    told: Any = {"after_commit": lambda done: trace.append(done.result)}

    @shop.functions.mutation.using(writing(shop, [], **told))
    async def add(ctx: MutationCtx, session_id: SessionId) -> str:
        return "mutation"

    @shop.functions.action.using(layer(lambda ctx: Patch(ctx, **told)))
    async def act(ctx: ActionCtx, session_id: SessionId, *, fails: bool) -> str:
        await ctx.run_mutation(add)
        trace.append("action goes on")
        if fails:
            raise LookupError
        return "action"

    with pytest.raises(LookupError):
        await shop.bind().run(act, session=session, fails=True)
    assert trace == ["mutation", "action goes on"]
    assert await shop.bind().run(act, session=session, fails=False) == "action"
    assert trace[2:] == ["mutation", "action goes on", "action"]


async def test_what_fails_after_the_commit_is_logged_and_fails_nothing(
    shop: Shop, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[str] = []

    async def fail(done: Done[Any]) -> None:
        raise LookupError("the mail server is away")

    told: Any = {"after_commit": telling(trace, "told")}

    @shop.functions.mutation.using(writing(shop, [], **told)).using(writing(shop, [], after_commit=fail))
    async def add(ctx: MutationCtx, session_id: SessionId) -> str:
        return "done"

    with caplog.at_level(logging.ERROR, "sojourn.functions.performing"):
        assert await shop.bind().run(add, session=session) == "done"
    assert trace == ["told"]
    assert "noting" in caplog.text
    assert "mail server" in caplog.text
    assert await items(shop, session) == ("layer", "layer")


async def test_what_was_cancelled_within_after_commit_fails_nothing_and_who_cancels_the_call_cancels_it(
    shop: Shop, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    trace: list[str] = []
    awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waits = asyncio.Event()

    async def wait(done: Done[Any]) -> None:
        waits.set()
        await awaited

    told: Any = {"after_commit": telling(trace, "told")}

    @shop.functions.mutation.using(writing(shop, [], **told)).using(writing(shop, [], after_commit=wait))
    async def add(ctx: MutationCtx, session_id: SessionId) -> str:
        return "done"

    call = asyncio.ensure_future(shop.bind().run(add, session=session))
    await waits.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (trace, await items(shop, session)) == ([], ("layer", "layer")), "committed all the same"
    assert awaited.cancelled()
    with caplog.at_level(logging.ERROR, "sojourn.functions.performing"):
        assert await shop.bind().run(add, session=session) == "done"
    assert trace == ["told"]
    assert "noting" in caplog.text


async def test_when_the_outcome_is_unknown_nothing_follows(clock: ManualClock) -> None:
    class Deaf(MemoryEngine):
        is_deaf = False

        async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
            outcomes = await super().commit(batch)
            if self.is_deaf:
                raise CommitUnknownError("the answer was lost")
            return outcomes

    trace: list[str] = []
    engine = Deaf(clock=clock)
    async with Store(engine, clock=clock) as store, clock.rushing():
        sessions = Sessions(store)
        functions = Functions(sessions)
        counts = functions.collection("counts", int, by=SessionId)
        told: Any = {"after_commit": telling(trace, "told")}

        @functions.mutation.using(layer(lambda ctx: Patch(ctx, **told)))
        async def add(ctx: MutationCtx, session_id: SessionId) -> int:
            return await ctx.db(counts).update(session_id, lambda count: count + 1)

        session = (await sessions.issue()).session
        bound = functions.bind(store)
        engine.is_deaf = True
        with pytest.raises(CommitUnknownError):
            await bound.run(add, session=session, request_id="r1")
        engine.is_deaf = False
        assert await bound.run(add, session=session, request_id="r1") == 1
        assert trace == [], "not for the repeat either"
        assert await bound.run(add, session=session, request_id="r2") == 2
    assert trace == ["told"]


async def test_within_another_function_it_follows_the_outermost_commit(shop: Shop, session: Session) -> None:
    trace: list[str] = []
    told: Any = {"after_commit": lambda done: trace.append(done.result)}

    @shop.functions.mutation.using(writing(shop, [], **told))
    async def inner(ctx: MutationCtx, session_id: SessionId, *, name: str) -> str:
        return name

    @shop.functions.query.using(layer(lambda ctx: Patch(ctx, **told)))
    async def seen(ctx: QueryCtx, session_id: SessionId) -> str:
        return "seen"

    @shop.functions.mutation
    async def failing(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(inner, name="undone")
        raise LookupError

    @shop.functions.mutation
    async def outer(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.run_mutation(inner, name="kept")
        await ctx.run_query(seen)
        with pytest.raises(LookupError):
            await ctx.run_mutation(failing)
        assert trace == []

    await shop.bind().run(outer, session=session)
    assert (trace, await items(shop, session)) == (["kept", "seen"], ("layer",))


@pytest.mark.row("F-C58", "F-C64")
async def test_a_mutation_that_runs_again_runs_its_layers_again_and_nothing_of_before_is_there(
    shop: Shop, session: Session, clock: ManualClock
) -> None:
    seen: list[Any] = []

    @layer
    async def drawing(ctx: MutationCtx, arguments: Mapping[str, Any]) -> Patch[WriterCtx]:
        seen.append((ctx.uuid(), list(arguments["names"])))
        cart = await ctx.db(shop.carts).get(ctx.session_id)
        return Patch(WriterCtx(ctx, str(len(cart.items))))

    @shop.functions.mutation.using(drawing)
    async def add(ctx: WriterCtx, session_id: SessionId, *, names: list[str]) -> str:
        names.append("changed by the handler")
        if len(seen) == 1:
            await shop.bind().run(rival, session=session)
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("book"))
        return ctx.member

    @shop.functions.mutation
    async def rival(ctx: MutationCtx, session_id: SessionId) -> None:
        await ctx.db(shop.carts).put(session_id, Cart(("rival",)))

    async with clock.rushing():
        assert await shop.bind().run(add, session=session, names=["a"]) == "1"
    first, second = seen
    assert first == second
    assert first[1] == ["a"]
    assert await items(shop, session) == ("rival", "book")


# -- Wherever a function is called from -------------------------------------------------------------------------------


@pytest.mark.row("F-C61")
async def test_layers_run_wherever_the_function_is_called_from(shop: Shop, session: Session) -> None:
    @shop.functions.query.using(in_team)
    async def team(ctx: TeamCtx, session_id: SessionId, *, mark: str = "!") -> str:
        return ctx.team + mark

    @shop.functions.mutation.using(writing(shop, []))
    async def relay(ctx: MutationCtx, session_id: SessionId, *, fail: bool = False) -> str:
        found = await ctx.run_query(team, TeamArg("blue"))
        if fail:
            raise LookupError
        return found

    @shop.functions.mutation
    async def twice(ctx: MutationCtx, session_id: SessionId) -> str:
        with pytest.raises(LookupError):
            await ctx.run_mutation(relay, fail=True)
        return await ctx.run_mutation(relay)

    @layer
    async def signing(ctx: ActionCtx) -> Patch[ActionCtx]:
        return Patch(ctx, on_success=lambda done: done.result.append("success"))

    @shop.functions.action.using(signing)
    async def act(ctx: ActionCtx, session_id: SessionId) -> list[str]:
        mine = run_session_functions(ctx, session_id)
        return [
            await ctx.run_query(team, TeamArg("red"), mark="?"),
            await mine.run_session_query(team, TeamArg("red")),
            await ctx.run_mutation(relay),
            await mine.run_session_mutation(twice),
        ]

    bound = shop.bind()
    assert await bound.run(act, session=session) == ["red?", "red!", "blue!", "blue!"]
    assert await items(shop, session) == ("layer", "layer")
    assert await bound.acting_as(session).run(team, TeamArg("red")) == "red!"


async def test_the_caller_stays_the_same_in_all_that_a_call_runs(shop: Shop, session: Session) -> None:
    @shop.functions.query
    async def who(ctx: QueryCtx, session_id: SessionId) -> Caller:
        return ctx.caller

    @shop.functions.mutation
    async def relay(ctx: MutationCtx, session_id: SessionId) -> Caller:
        assert await ctx.run_query(who) == ctx.caller
        return ctx.caller

    @shop.functions.action
    async def act(ctx: ActionCtx, session_id: SessionId) -> list[Caller]:
        mine, theirs = run_session_functions(ctx, session_id), run_session_functions(ctx, other.id)
        return [
            ctx.caller,
            await ctx.run_mutation(relay),
            await mine.run_session_query(who),
            await theirs.run_session_mutation(relay),
        ]

    other = (await shop.sessions.issue("grace")).session
    bound = shop.bind()
    operator = Caller("root", is_operator=True)
    assert await bound.run(act, session=session, caller=operator) == [operator] * 4
    assert await bound.run(act, session=session) == [Caller(None)] * 4, "to run for grace is not to be her"
    assert await bound.run(who, session=other) == Caller("grace")
    assert await bound.run(relay, session=session) == Caller(None)


async def test_a_mutation_goes_by_the_session_as_its_attempt_finds_it(
    shop: Shop, session: Session, clock: ManualClock
) -> None:
    seen: list[Any] = []

    @shop.functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId) -> None:
        seen.append((ctx.session.subject, ctx.caller))
        if len(seen) == 1:
            issued.append(await shop.sessions.rotate(issued[-1].token, subject=None))
        await ctx.db(shop.carts).update(session_id, lambda cart: cart.plus("book"))

    @shop.functions.mutation
    async def held(ctx: MutationCtx, session_id: SessionId) -> tuple[str | None, str | None]:
        return ctx.session.subject, ctx.caller.subject

    issued = [await shop.sessions.issue("ada")]
    bound = shop.bind()
    async with clock.rushing():
        await bound.answer(Call(add, issued[0].session, b"{}", is_operator=True))
    assert seen == [("ada", Caller("ada", is_operator=True)), (None, Caller(None, is_operator=True))]
    assert await bound.run(held, session=issued[0].session) == (None, None), "it was read while ada was signed in"


async def test_who_signs_in_during_an_action_is_the_caller_from_then_on(shop: Shop) -> None:
    @shop.functions.query
    async def who(ctx: QueryCtx, session_id: SessionId) -> str | None:
        return ctx.caller.subject

    @shop.functions.action
    async def sign_in(ctx: ActionCtx, session_id: SessionId) -> list[str | None]:
        before = await ctx.run_query(who)
        await ctx.rotate("ada")
        signed_in = await ctx.run_query(who)
        await ctx.rotate()
        return [before, signed_in, await ctx.run_query(who)]

    issued = await shop.sessions.issue()
    call = Call(sign_in, issued.session, b"{}", presented=Presented(issued.token))
    assert await shop.bind().answer(call) == b'[null,"ada","ada"]'


async def test_a_request_id_covers_what_is_consumed(shop: Shop, session: Session) -> None:
    @layer
    def teamed(ctx: MutationCtx, argument: TeamArg) -> Patch[MutationCtx]:
        return Patch(ctx)

    @shop.functions.mutation.using(teamed)
    async def add(ctx: MutationCtx, session_id: SessionId) -> None: ...

    bound = shop.bind()
    await bound.run(add, TeamArg("red"), session=session, request_id="r1")
    with pytest.raises(RequestReusedError):
        await bound.run(add, TeamArg("blue"), session=session, request_id="r1")


# -- Layers that are not in order -------------------------------------------------------------------------------------


async def _a_patch(ctx: QueryCtx) -> Patch[QueryCtx]:
    return Patch(ctx)


def _forgets(ctx: Any) -> Any: ...
def _returns_the_context(ctx: Any) -> Any:
    return ctx


def _forgets_to_await(ctx: Any) -> Any:
    return Patch(_a_patch(ctx))


def _adds_a_promise(ctx: Any) -> Any:
    return Patch(ctx, added=_a_patch(ctx))


async def _returns_a_future(ctx: Any) -> Any:
    return Patch(ctx, added=asyncio.get_running_loop().create_future())


async def _returns_a_coroutine(ctx: Any) -> Any:
    return _a_patch(ctx)


def _yields(ctx: Any) -> Any:
    yield Patch(ctx)


@pytest.mark.parametrize(
    "broken",
    [
        *(_forgets, _returns_the_context, _forgets_to_await, _adds_a_promise),
        *(_returns_a_future, _returns_a_coroutine, _yields),
    ],
)
async def test_a_layer_that_returns_something_else_is_named(
    shop: Shop, session: Session, broken: Callable[..., Any]
) -> None:
    function: Any = shop.functions.query.using(layer(broken))(_nothing)
    with pytest.raises(InvalidError, match=rf"{broken.__name__}.*Patch"):
        await shop.bind().run(function, session=session)


async def test_what_a_handler_takes_must_be_there(shop: Shop, session: Session) -> None:
    with pytest.raises(InvalidError, match=r"lost.*in_team.*not around"):

        @shop.functions.query
        @in_team.added(int)
        async def lost(ctx: QueryCtx, session_id: SessionId, found: int) -> None: ...

    with pytest.raises(InvalidError, match="crowded"):

        @shop.functions.query.using(in_team)
        @in_team.added(int)  # type: ignore[arg-type]  # what is tested
        async def crowded(ctx: QueryCtx, session_id: SessionId) -> None: ...

    @shop.functions.query.using(plain)
    @plain.added(int)
    async def nothing(ctx: QueryCtx, session_id: SessionId, found: int) -> None: ...

    @shop.functions.query.using(in_team)
    @in_team.added(str)
    async def other(ctx: TeamCtx, session_id: SessionId, found: str) -> None: ...

    bound = shop.bind()
    with pytest.raises(InvalidError, match=r"plain.*adds nothing, and nothing takes"):
        await bound.run(nothing, session=session)
    with pytest.raises(InvalidError, match=r"in_team.*adds int, and other takes str"):
        await bound.run(other, TeamArg("red"), session=session)


class Upper(Protocol):
    def upper(self) -> str: ...


class Titled(TypedDict):
    title: str


@pytest.mark.parametrize("kind", [SessionId, Upper, Titled, Any, "str"])
def test_what_a_layer_adds_is_told_by_a_class(kind: Any) -> None:
    with pytest.raises(InvalidError, match=r"plain.*none"):
        plain.added(kind)


class Tagged(msgspec.Struct, tag=True):
    team: str


class Renamed(msgspec.Struct, rename="camel"):
    team_name: str


class Listed(msgspec.Struct, array_like=True):
    team: str


class Reserved(msgspec.Struct):
    session_id: str


def _tagged(ctx: QueryCtx, argument: Tagged) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _renamed(ctx: QueryCtx, argument: Renamed) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _listed(ctx: QueryCtx, argument: Listed) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _of_the_session(ctx: QueryCtx, argument: Reserved) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _text(ctx: QueryCtx, argument: str) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _untyped(ctx: QueryCtx, argument) -> Patch[QueryCtx]: ...  # type: ignore[empty-body, no-untyped-def]  # noqa: ANN001
def _no_context() -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _two_arguments(ctx: QueryCtx, one: TeamArg, two: SizeArg) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _open_extras(ctx: QueryCtx, **extras: Any) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _own_extra(ctx: QueryCtx, *, internal: bool) -> Patch[QueryCtx]: ...  # type: ignore[empty-body]
def _unknown(ctx: QueryCtx, argument: "NoSuchArg") -> Patch[QueryCtx]: ...  # type: ignore[empty-body, name-defined]  # noqa: F821


@pytest.mark.row("F-C5")
@pytest.mark.parametrize(
    "handler",
    [
        *(_tagged, _renamed, _listed, _of_the_session, _text, _untyped),
        *(_no_context, _two_arguments, _open_extras, _own_extra, _unknown),
    ],
)
def test_a_layer_of_the_wrong_form_is_refused_when_it_is_made(handler: Callable[..., Any]) -> None:
    with pytest.raises(InvalidError, match=handler.__name__):
        layer(handler)


def test_only_layers_are_put_around_functions_and_not_too_many(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="decorator"):
        shop.functions.query.using(_a_patch)  # type: ignore[call-overload]
    builder: Any = shop.functions.query
    for _ in range(limits.LAYERS):
        builder = builder.using(plain)
    with pytest.raises(LimitError):
        builder.using(plain)
