"""Applications whose types are printed: one small, one with everything that an annotation can be."""

SMALL = '''
import msgspec

import sojourn
from sojourn import ActionCtx, Functions, MutationCtx, QueryCtx, SessionId, Sessions
from sojourn.server import App


class Item(msgspec.Struct):
    """One line of a cart."""

    sku: str
    count: int = 1


store = sojourn.open("memory:")
functions = Functions(Sessions(store))


@functions.query
async def cart(ctx: QueryCtx, session_id: SessionId, *, limit: int = 20) -> list[Item]:
    """Show the cart.

    The newest /* lines */ first.
    """
    return []


@functions.mutation
async def add_item(ctx: MutationCtx, session_id: SessionId, *, item: Item) -> None: ...


@functions.query.sessionless
async def stock(ctx: QueryCtx) -> dict[str, int]:
    return {}


@functions.action
async def ship(ctx: ActionCtx, session_id: SessionId, *, to: str) -> str:
    return to


@functions.mutation.internal
async def restock(ctx: MutationCtx, session_id: SessionId) -> None: ...


app = App(store, functions=functions)
bare = App(store)
empty = Functions(Sessions(store))
print("this is printed while the module is imported")
'''

WIDE = '''
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
from msgspec import UNSET, Meta, UnsetType

import sojourn
from sojourn import ActionCtx, Functions, MutationCtx, QueryCtx, SessionId, Sessions
from sojourn.functions import Page, PageRequest, Patch, layer

T = TypeVar("T")
Sku = NewType("Sku", str)


class Colour(StrEnum):
    RED = "red"
    DARK = 'dark "blue"'


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Item(msgspec.Struct):
    sku: Sku
    count: Annotated[int, Meta(description="How many */ of them.", ge=0)] = 1
    colour: Colour | None = None
    note: str | UnsetType = UNSET


class Tree(msgspec.Struct):
    value: int
    children: list["Tree"] = []


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog", rename="camel"):
    good_boy: bool = True


class Row(msgspec.Struct, array_like=True):
    first: int
    second: str = ""


class Lean(msgspec.Struct, omit_defaults=True):
    depth: int = 0


class Box(msgspec.Struct, Generic[T]):
    value: T


class Query(msgspec.Struct):
    text: str


class Odd(msgspec.Struct):
    class_: int = msgspec.field(name="class")
    dashed: int = msgspec.field(name="dashed-name")


class Pair(NamedTuple):
    x: int
    y: str = "y"


class Options(TypedDict, total=False):
    deep: bool


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Player(pydantic.BaseModel):
    """Somebody who plays."""

    name: str
    level: Level = Level.LOW
    rivals: list["Player"] = []


class Team(pydantic.BaseModel):
    players: dict[str, Player]
    label: str = pydantic.Field(alias="the label", default="", description="What is shown.")
    pet: Literal["cat", "dog"] | None = None
    home: tuple[int, int] = (0, 0)


class Foreign: ...


def elsewhere() -> Any:
    class Item(msgspec.Struct):
        raw: bytes

    return Item


Other = elsewhere()


class TeamArg(msgspec.Struct):
    team: str
    role: str = "member"


@layer
async def in_team(ctx: QueryCtx, argument: TeamArg) -> Patch[QueryCtx]:
    return Patch(ctx)


functions = Functions(Sessions(sojourn.open("memory:")))


@functions.query
async def plain(
    ctx: QueryCtx,
    session_id: SessionId,
    *,
    moment: datetime,
    day: date,
    hour: time,
    pause: timedelta | None,
    price: Decimal,
    raw: bytes,
    number: UUID,
    real: float,
    sure: bool,
    mode: Literal["fast", 2, None] = None,
    whatever: Any = None,
) -> tuple[datetime, date, time, timedelta | None, Decimal, bytes, UUID, float, bool, Literal["fast", 2], Any]: ...


@functions.query
async def shapes(
    ctx: QueryCtx,
    session_id: SessionId,
    *,
    item: Item,
    pets: Sequence[Cat | Dog],
    row: Row,
    pair: Pair,
    point: Point,
    options: Options,
    tree: Tree,
    lean: Lean,
    odd: Odd,
    texts: frozenset[str] = frozenset(),
    numbers: tuple[int, ...] = (),
) -> tuple[Item, list[Cat | Dog], Row, Pair, Point, Options, Tree, Lean, Odd, frozenset[str], tuple[int, ...]]: ...


@functions.mutation
async def generics(
    ctx: MutationCtx, session_id: SessionId, *, box: Box[Item], query: Query
) -> tuple[Box[int], Box[list[Item]], Page[Item], Other, dict[Colour, Mapping[int, Level]]]: ...


@functions.query
async def teams(ctx: QueryCtx, session_id: SessionId, *, team: Team) -> list[Team]: ...


@functions.query
async def player(ctx: QueryCtx, session_id: SessionId) -> Player | None: ...


@functions.query.sessionless
async def listed(ctx: QueryCtx, *, name: str, page: PageRequest = PageRequest()) -> Page[Item]: ...


@functions.query
async def foreign(ctx: QueryCtx, session_id: SessionId) -> list[Foreign]: ...


@functions.query.using(in_team)
async def board(ctx: QueryCtx, session_id: SessionId, *, limit: int = 2, role: str) -> list[str]: ...


@functions.action
async def anything(ctx: ActionCtx, session_id: SessionId, **arguments: Any): ...


item = Item(Sku("a"), colour=Colour.DARK)
now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
team = Team(players={"a": Player(name="a", rivals=[Player(name="b")])})
many = ([Cat(9), Dog()], Row(1), Pair(1), Point(1.5), Options(), Tree(1, [Tree(2)]), Lean(), Odd(1, 2))
RESULTS = {
    "plain": (now, now.date(), now.time(), timedelta(1), Decimal("1.10"), b"a", UUID(int=1), 1.5, True, 2, [None]),
    "shapes": (item, *many, frozenset("a"), (1, 2)),
    "generics": (Box(1), Box([item]), Page((("a", item),), None), Other(b""), {Colour.RED: {1: Level.LOW}}),
    "teams": [team],
    "player": Player(name="a"),
    "board": ["a"],
    "listed": Page((("a", item),), "b", "a"),
    "anything": {"a": [1, None]},
}
ARGUMENTS = {
    "plain": dict(moment=now, day=now.date(), hour=now.time(), pause=None, price=Decimal(1), raw=b"a",
                  number=UUID(int=1), real=1.5, sure=False, mode="fast"),
    "shapes": {"item": {"sku": "a"}, "pets": [{"type": "cat", "lives": 9}, {"type": "dog"}], "row": [1], "pair": [1],
               "point": {"x": 1}, "options": {}, "tree": {"value": 1}, "lean": {},
               "odd": {"class": 1, "dashed-name": 2}, "texts": ["a"]},
    "generics": {"box": {"value": {"sku": "a", "colour": None}}, "query": {"text": "a"}},
    "teams": {"team": {"players": {"a": {"name": "a"}}, "the label": "x"}},
    "player": {},
    "board": {"team": "red", "role": "owner"},
    "listed": {"name": "all", "page": {"size": 2, "after": "a", "until": None}},
    "anything": {"a": 1, "b": [None]},
}
'''
