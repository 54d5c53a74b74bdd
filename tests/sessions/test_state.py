"""State of a session: typed, never lost, never brought back."""

import asyncio
import dataclasses
import random
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CorruptError, InvalidError, LimitError
from sojourn.kernel import Span, Store
from sojourn.sessions import Session, Sessions, State
from sojourn.testing import FaultyEngine, ManualClock


class Cart(msgspec.Struct, frozen=True):
    items: tuple[str, ...] = ()

    def plus(self, sku: str) -> "Cart":
        return Cart((*self.items, sku))


@dataclasses.dataclass
class Seen:
    pages: list[str] = dataclasses.field(default_factory=list)


class Address(pydantic.BaseModel):
    street: str
    floor: int | None = None


class Note(TypedDict):
    text: str


@pytest.fixture
async def session(sessions: Sessions) -> Session:
    return (await sessions.issue()).session


@pytest.mark.row("P-R1")
async def test_parallel_updates_of_one_state_are_all_kept(session: Session, clock: ManualClock) -> None:
    carts = session.state("cart", Cart)
    async with clock.rushing(), asyncio.TaskGroup() as group:
        for sku in range(50):
            group.create_task(carts.update(lambda cart, sku=sku: cart.plus(str(sku))))  # type: ignore[misc]
    assert sorted((await carts.get()).items, key=int) == [str(sku) for sku in range(50)]


@pytest.mark.row("P-R1")
async def test_parallel_writes_of_different_states_both_survive(session: Session, clock: ManualClock) -> None:
    """The hole of every peer: the request that finishes last writes back what it had loaded."""
    async with clock.rushing(), asyncio.TaskGroup() as group:
        for name in ("x", "y", "z"):
            group.create_task(session.state(name, int).put(1))
    assert [await session.state(name, int).get() for name in ("x", "y", "z")] == [1, 1, 1]


@pytest.mark.row("P-R1")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_update_is_lost_or_doubled_when_answers_are(seed: int) -> None:
    engine = FaultyEngine(MemoryEngine(), seed, lose=0.1, repeat=0.1, delay=0.2)
    async with Store(engine) as store:
        session = (await Sessions(store).issue()).session
        counter = session.state("counter", int)
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(counter.update(lambda count: count + 1))
        assert await counter.get() == 50
    assert engine.faults.lost
    assert engine.faults.repeated


@pytest.mark.row("P-R2")
async def test_reading_writes_nothing_and_neither_does_an_equal_value(store: Store, session: Session) -> None:
    carts = session.state("cart", Cart)
    await carts.put(Cart(("book",)))
    async with store.watch(Span("session.state", session.id)) as changes:
        assert await carts.get() == Cart(("book",))
        assert await carts.update(lambda cart: cart) == Cart(("book",))
        await session.state("other", int).put(1)
        assert {key.item for key in (await anext(changes)).keys} == {"other"}  # type: ignore[union-attr]


@pytest.mark.row("P-R11")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Cart, Cart(("book",))),
        (Seen, Seen(["/"])),
        (Address, Address(street="Elm")),
        (Note, Note(text="hi")),
        (dict[str, Any], {"a": [1, {"b": None}]}),
        (int, 3),
    ],
    ids=["struct", "dataclass", "pydantic", "typed dict", "dict", "int"],
)
async def test_state_of_every_kind_comes_back_as_it_was(session: Session, kind: type[Any], value: Any) -> None:
    state = session.state("any", kind)
    await state.put(value)
    again = await state.get()
    assert again == value
    assert type(again) is type(value)


@pytest.mark.row("P-R11")
async def test_a_nested_change_is_noticed(session: Session) -> None:
    state = session.state("seen", Seen)

    def visit(seen: Seen) -> Seen:
        seen.pages.append("/about")
        return seen

    await state.update(visit)
    assert (await state.get()).pages == ["/about"]


@pytest.mark.row("P-R11")
async def test_older_shapes_are_brought_up_to_date_and_newer_ones_are_not_guessed_at(session: Session) -> None:
    first = session.state("cart", list[str])
    await first.put(["book"])

    def to_struct(plain: list[str]) -> dict[str, Any]:
        return {"skus": plain}

    def to_items(plain: dict[str, Any]) -> dict[str, Any]:
        return {"items": plain["skus"]}

    current = session.state("cart", Cart, migrations=[to_struct, to_items])
    assert await current.get() == Cart(("book",))
    await current.update(lambda cart: cart.plus("pen"))
    assert await current.get() == Cart(("book", "pen"))
    with pytest.raises(CorruptError, match="newer"):
        await first.get()


async def test_without_a_value_the_default_or_the_type_speaks(session: Session) -> None:
    assert await session.state("cart", Cart).get() == Cart()
    assert await session.state("cart", Cart).get(default=Cart(("gift",))) == Cart(("gift",))
    assert await session.state("cart", Cart).update(lambda cart: cart.plus("pen"), default=Cart(("gift",))) == Cart(
        ("gift", "pen")
    )
    with pytest.raises(InvalidError, match="needs arguments"):
        await session.state("home", Address).get()


async def _waits(cart: Cart) -> Cart:
    return cart


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: None, "returned None"),
        (_waits, "coroutine"),
        (lambda _: {"items": float("nan")}, "JSON"),
        (lambda _: object(), "JSON"),
    ],
    ids=["forgotten return", "coroutine", "NaN", "foreign type"],
)
async def test_a_change_that_gives_no_value_is_one_clear_error(
    session: Session, change: Callable[[Cart], Cart], problem: str
) -> None:
    with pytest.raises(InvalidError, match=problem):
        await session.state("cart", Cart).update(change)
    assert await session.state("cart", Cart).get() == Cart()


async def test_none_is_a_value_where_the_type_says_so(session: Session) -> None:
    state: State[str | None] = session.state("choice", str | None)  # type: ignore[arg-type]
    await state.put(None)
    assert await state.get() is None


async def test_a_session_has_no_more_states_than_the_limit(session: Session) -> None:
    for place in range(limits.SESSION_STATES):
        await session.state(str(place), int).put(place)
    with pytest.raises(LimitError, match="states of a session"):
        await session.state("one more", int).put(1)
    await session.state("0", int).delete()
    await session.state("one more", int).put(1)
    assert await session.state("0", int).get() == 0


async def test_a_state_that_is_too_large_is_refused_whole(session: Session) -> None:
    noise = random.Random(1).randbytes(limits.VALUE_BYTES).hex()  # noqa: S311
    with pytest.raises(LimitError, match="value"):
        await session.state("cart", str).put(noise)
    assert await session.state("cart", str).get() == ""


async def test_states_of_one_commit_hold_together(session: Session, store: Store) -> None:
    async def checkout(tx: Any) -> None:
        items = (await session.state("cart", Cart).get(tx=tx)).items
        await session.state("orders", list[list[str]]).update(lambda orders: [*orders, list(items)], tx=tx)
        await session.state("cart", Cart).delete(tx=tx)
        raise_if_empty(items)

    def raise_if_empty(items: tuple[str, ...]) -> None:
        if not items:
            raise LookupError

    with pytest.raises(LookupError):
        await store.run(checkout)
    await session.state("cart", Cart).put(Cart(("book",)))
    await store.run(checkout)
    assert await session.state("orders", list[list[str]]).get() == [["book"]]
    assert await session.state("cart", Cart).get() == Cart()
