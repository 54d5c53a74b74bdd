"""A value in memory cannot be written into, a draft of it can, and what did not change stays the same object."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.documents.frozen import freeze, reconcile, thaw

T = TypeVar("T")

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.datetimes()
    | st.decimals(allow_nan=False)
)


class Point(msgspec.Struct, frozen=True):
    """A struct that is frozen by itself."""

    x: int = 0
    tags: list[str] = []


class Player(msgspec.Struct):
    coins: int = 0
    items: list[Any] = []
    at: Point = Point()

    def earn(self, coins: int) -> None:
        self.coins += coins


@dataclasses.dataclass
class Board:
    title: str = ""
    cells: dict[str, Any] = dataclasses.field(default_factory=dict)

    @cached_property
    def size(self) -> int:
        return len(self.cells)


@dataclasses.dataclass(slots=True, frozen=True)
class Tile:
    title: str = ""
    cells: list[Any] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    title: str = ""
    cells: list[Any] = []
    _hidden: int = pydantic.PrivateAttr(default=7)


class Still(pydantic.BaseModel, frozen=True):
    title: str = ""
    cells: list[Any] = []


class Pair(NamedTuple):
    left: Any
    right: Any


class Colour(Enum):
    RED = "red"


def trees(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(max_size=4)
    some = st.lists(inner, max_size=4)
    return (
        some
        | some.map(tuple)
        | st.dictionaries(names, inner, max_size=4)
        | st.sets(st.integers(), max_size=3)
        | st.builds(Point, st.integers(), some)
        | st.builds(Player, st.integers(), some)
        | st.builds(Board, names, st.dictionaries(names, inner, max_size=3))
        | st.builds(Tile, names, some)
        | st.builds(Pair, inner, inner)
    )


values = st.recursive(leaves, trees, max_leaves=25)

OBJECTS = [
    Player(3, [{"a": [1]}], Point(1, ["t"])),
    Board("b", {"a": {"b": [1, 2]}}),
    Tile("t", [{"a": 1}]),
    Model(title="m", cells=[{"a": 1}]),
    Still(title="s", cells=[{"a": 1}]),
    Point(1, ["x"]),
]


def parts(value: Any) -> list[Any]:
    """Return everything within a value that could be written into."""
    if isinstance(value, dict):
        return [value, *(inner for part in value.values() for inner in parts(part))]
    if isinstance(value, list | tuple):
        return [value, *(inner for part in value for inner in parts(part))]
    if isinstance(value, set):
        return [value]
    if isinstance(value, msgspec.Struct | pydantic.BaseModel) or dataclasses.is_dataclass(value):
        names = [name for name in ("coins", "items", "at", "x", "tags", "title", "cells") if hasattr(value, name)]
        return [value, *(inner for name in names for inner in parts(getattr(value, name)))]
    return []


def write_into(part: Any) -> None:
    if isinstance(part, dict):
        part["new"] = 1
    elif isinstance(part, list):
        part.append(1)
    elif isinstance(part, set):
        part.add(-1)
    elif not isinstance(part, tuple):
        name = "title" if hasattr(part, "title") else "coins" if hasattr(part, "coins") else "x"
        setattr(part, name, getattr(part, name))


@given(values)
def test_a_frozen_value_equals_what_it_was_made_of_and_so_does_its_draft(value: Any) -> None:
    frozen = freeze(value)
    assert frozen == value
    assert value == frozen
    assert repr(frozen) == repr(value)
    draft = thaw(frozen)
    assert draft == value
    assert value == draft
    assert repr(draft) == repr(value)
    assert freeze(frozen) is frozen or not parts(value)


@given(values)
def test_no_part_of_a_frozen_value_can_be_written_into(value: Any) -> None:
    for part in parts(freeze(value)):
        if not isinstance(part, tuple):
            with pytest.raises((TypeError, AttributeError, pydantic.ValidationError)):
                write_into(part)


@given(values)
def test_each_part_of_a_draft_can_be_written_into_and_the_value_does_not_notice(value: Any) -> None:
    frozen = freeze(value)
    shown = repr(frozen)
    for part in parts(thaw(frozen)):
        write_into(part)
    assert repr(frozen) == shown


@given(values, values)
def test_what_is_reconciled_equals_the_new_value_and_is_frozen(old: Any, new: Any) -> None:
    before = freeze(old)
    after = reconcile(before, thaw(freeze(new)))
    assert after == new
    assert repr(after) == repr(new)
    assert type(after) is type(freeze(new))
    for part in parts(after):
        if not isinstance(part, tuple):
            with pytest.raises((TypeError, AttributeError, pydantic.ValidationError)):
                write_into(part)


@given(values)
def test_a_value_that_did_not_change_stays_the_same_object(value: Any) -> None:
    frozen = freeze(value)
    assert reconcile(frozen, ordinary(value)) is frozen


@given(values, values, values)
def test_the_parts_that_did_not_change_stay_the_same_objects(one: Any, two: Any, other: Any) -> None:
    old = freeze({"kept": one, "within": [two, one], "changed": two})
    new = reconcile(old, ordinary({"kept": one, "within": [two, one, other], "changed": ["new", other]}))
    assert new["kept"] is old["kept"]
    assert new["within"][0] is old["within"][0]
    assert new["within"][1] is old["within"][1]
    assert new == {"kept": one, "within": [two, one, other], "changed": ["new", other]}


def ordinary(value: Any) -> Any:
    """Return a copy of instances of the classes themselves, as a load makes them."""
    return copy.deepcopy(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.append(1),
        lambda value: value.extend([1]),
        lambda value: value.insert(0, 1),
        lambda value: value.pop(),
        lambda value: value.remove(1),
        lambda value: value.clear(),
        lambda value: value.sort(),
        lambda value: value.reverse(),
        lambda value: value.__setitem__(0, 1),
        lambda value: value.__delitem__(0),
        lambda value: value.__iadd__([1]),
        lambda value: value.__imul__(2),
    ],
)
def test_a_frozen_list_refuses_each_change(change: Callable[[Any], object]) -> None:
    frozen = freeze([2, 1])
    with pytest.raises(TypeError, match="read-only; change a document by update or edit"):
        change(frozen)
    assert frozen == [2, 1]


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.__setitem__("a", 1),
        lambda value: value.__delitem__("a"),
        lambda value: value.pop("a"),
        lambda value: value.popitem(),
        lambda value: value.clear(),
        lambda value: value.update(a=1),
        lambda value: value.setdefault("b", 1),
        lambda value: value.__ior__({"b": 1}),
    ],
)
def test_a_frozen_dict_refuses_each_change(change: Callable[[Any], object]) -> None:
    frozen = freeze({"a": 2})
    with pytest.raises(TypeError, match="read-only"):
        change(frozen)
    assert frozen == {"a": 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.add(1),
        lambda value: value.discard(2),
        lambda value: value.remove(2),
        lambda value: value.pop(),
        lambda value: value.clear(),
        lambda value: value.update({1}),
        lambda value: value.difference_update({2}),
        lambda value: value.intersection_update(set()),
        lambda value: value.symmetric_difference_update({2}),
        lambda value: value.__ior__({1}),
        lambda value: value.__iand__(set()),
        lambda value: value.__isub__({2}),
        lambda value: value.__ixor__({2}),
    ],
)
def test_a_frozen_set_refuses_each_change(change: Callable[[Any], object]) -> None:
    frozen = freeze({2})
    with pytest.raises(TypeError, match="read-only"):
        change(frozen)
    assert frozen == {2}


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_an_object_keeps_its_class_for_whoever_looks(value: Any) -> None:
    for made in (freeze(value), thaw(freeze(value))):
        assert isinstance(made, type(value))
        assert type(made).__name__ == type(value).__name__
        assert type(made).__qualname__ == type(value).__qualname__
        assert type(made).__module__ == type(value).__module__
        assert made == value
        assert value == made
        assert (made != value) is False
        name = "coins" if isinstance(value, Player) else "title" if hasattr(value, "title") else "x"
        assert made != copy_with(value, name)
        assert repr(made) == repr(value)
    with pytest.raises((TypeError, AttributeError, pydantic.ValidationError)):
        delattr(freeze(value), "cells")


def copy_with(value: Any, name: str) -> Any:
    draft = thaw(value)
    setattr(draft, name, "another" if name == "title" else 99)
    return draft


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_a_copy_of_a_frozen_object_is_an_ordinary_one(value: Any) -> None:
    for made in (freeze(value), thaw(value)):
        for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301  our own
            assert type(again) is type(value)
            assert again == value
    deep = copy.deepcopy(freeze(value))
    inner = next(getattr(deep, name) for name in ("items", "cells", "tags") if hasattr(deep, name))
    assert type(inner) in {list, dict}


def test_replacing_a_field_of_a_frozen_object_gives_an_ordinary_one() -> None:
    player = msgspec.structs.replace(freeze(Player(1, [1])), coins=2)
    assert type(player) is Player
    assert player == Player(2, [1])
    board = dataclasses.replace(freeze(Board("a", {"x": 1})), title="b")
    assert type(board) is Board
    assert board == Board("b", {"x": 1})
    tile = dataclasses.replace(thaw(Tile("a")), title="b")
    assert type(tile) is Tile
    model = freeze(Model(title="a")).model_copy(update={"title": "b"})
    assert type(model) is Model
    assert model == Model(title="b")


def test_a_copy_of_a_frozen_container_is_an_ordinary_one() -> None:
    for value in ([1, {"a": [2]}], {"a": [1]}, {1, 2}):
        frozen = freeze(value)
        for again in (copy.copy(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):  # noqa: S301
            assert type(again) is type(value)
            assert again == value
    assert type(copy.deepcopy(freeze([{"a": [2]}]))[0]["a"]) is list


def test_frozen_values_have_a_json_form() -> None:
    frozen = freeze(Player(1, [{"a": [1, None]}, {"b"}], Point(2, ["t"])))
    assert json.loads(msgspec.json.encode(frozen)) == {
        "coins": 1,
        "items": [{"a": [1, None]}, ["b"]],
        "at": {"x": 2, "tags": ["t"]},
    }
    assert json.dumps(freeze({"a": [1]})) == '{"a": [1]}'
    model = freeze(Model(title="m", cells=[{"a": 1}]))
    assert pydantic.TypeAdapter(Model).dump_json(model, warnings="error") == b'{"title":"m","cells":[{"a":1}]}'


def test_a_method_that_changes_its_object_works_on_a_draft_only() -> None:
    frozen = freeze(Player(1))
    with pytest.raises(TypeError, match="Player of a document is read-only"):
        frozen.earn(2)
    draft = thaw(frozen)
    draft.earn(2)
    assert draft.coins == 3
    assert frozen.coins == 1


def test_a_draft_of_a_frozen_class_takes_changes_and_the_class_does_not() -> None:
    for value in (Point(1), Tile("a"), Still(title="a")):
        draft: Any = thaw(value)
        setattr(draft, "x" if isinstance(value, Point) else "title", 5)
        with pytest.raises((AttributeError, pydantic.ValidationError)):
            setattr(value, "x" if isinstance(value, Point) else "title", 5)
        assert draft != value


def test_what_a_class_does_when_it_is_subclassed_or_made_is_not_done_for_twins() -> None:
    known: list[str] = []

    class Watched(msgspec.Struct):
        coins: int = 0

        def __init_subclass__(cls, *, kind: str) -> None:
            known.append(kind)

        def __post_init__(self) -> None:
            known.append("made")

    frozen = freeze(Watched(1))
    draft = thaw(frozen)
    assert known == ["made"]
    assert draft == frozen == Watched(1)
    assert type(msgspec.structs.replace(frozen, coins=2)) is Watched


def test_what_an_object_computed_of_itself_is_computed_anew_in_a_draft() -> None:
    frozen = freeze(Board("b", {"a": 1}))
    assert frozen.size == 1
    draft = thaw(frozen)
    draft.cells["b"] = 2
    assert draft.size == 2


def test_private_attributes_of_a_model_go_along() -> None:
    model = Model(title="m")
    model._hidden = 9
    assert thaw(freeze(model))._hidden == 9


def test_an_object_without_fields_is_copied_both_ways() -> None:
    class Foreign:
        def __init__(self) -> None:
            self.inner = [1]

    value = {"foreign": Foreign(), "colour": Colour.RED, "id": UUID(int=1)}
    frozen = freeze(value)
    draft: Any = thaw(frozen)
    draft["foreign"].inner.append(2)
    assert frozen["foreign"].inner == [1]  # type: ignore[attr-defined]  # a dict of three kinds
    assert draft["colour"] is Colour.RED


def test_an_empty_struct_has_a_twin_too() -> None:
    class Empty(msgspec.Struct): ...

    @dataclasses.dataclass
    class Bare: ...

    assert freeze(Empty()) == Empty()
    assert freeze(Bare()) == Bare()
    assert type(thaw(freeze(Empty()))) is Empty


EAST = timezone(timedelta(hours=1))


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        (None, 0),
        ({}, []),
        ({"a": 1}, {"a": True}),
        ([1], [1.0]),
        ([1], (1,)),
        ({1}, {1.0}),
        ({1}, frozenset({1})),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Decimal("1.0"), Decimal("1.00")),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=EAST)),
        ((1, 2), Pair(1, 2)),
        (Player(1), Player(1, at=Point(2))),
        ({"-": 1}, {"1": 1}),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ({"a": 1}, {"a": 1, "b": None}),
        ({"a": 1, "b": None}, {"a": 1}),
    ],
)
def test_values_that_only_look_alike_count_as_a_change(old: Any, new: Any) -> None:
    before = freeze([old])
    after = reconcile(before, [copy.deepcopy(new)])
    assert after is not before
    assert repr(after) == repr([new])


@pytest.mark.row("D-N19")
def test_a_nan_is_never_the_same() -> None:
    before = freeze([float("nan")])
    assert reconcile(before, [float("nan")]) is not before


def test_a_deep_change_leaves_every_sibling_the_same_object() -> None:
    old = freeze(Player(1, [{"id": "a"}, {"id": "b"}, Point(1)], Point(3, ["t"])))
    new = reconcile(old, Player(1, [{"id": "a"}, {"id": "c"}, Point(1)], Point(3, ["t"])))
    assert new.items[0] is old.items[0]
    assert new.items[1] == {"id": "c"}
    assert new.items[2] is old.items[2]
    assert new.at is old.at
    assert old.items[1] == {"id": "b"}


class Sword(msgspec.Struct, tag=True):
    sharp: list[int] = []


class Shield(msgspec.Struct, tag="shield", kw_only=True, rename="camel", omit_defaults=True):
    hit_points: int = 1
    marks: list[int] = []


class Row(msgspec.Struct, array_like=True, order=True, weakref=True, forbid_unknown_fields=True):
    at: int = 0
    marks: list[int] = []


class Alone(msgspec.Struct, eq=False):
    at: int = 0


class Box(msgspec.Struct, Generic[T]):
    inner: T


class Hold(msgspec.Struct):
    things: list[Sword | Shield] = []
    rows: list[Row] = []
    box: Box[int] | None = None
    alone: Alone | None = None


def test_structs_of_each_form_stay_what_they_are() -> None:
    hold = Hold([Sword([1]), Shield(hit_points=2, marks=[1])], [Row(2), Row(1)], Box(3), Alone(1))
    frozen = freeze(hold)
    assert msgspec.json.encode(frozen) == msgspec.json.encode(hold)
    assert msgspec.json.encode(thaw(frozen)) == msgspec.json.encode(hold)
    assert [type(thing) for thing in thaw(frozen).things] == [Sword, Shield]
    assert sorted(frozen.rows) == [Row(1), Row(2)]
    assert len({frozen.alone, frozen.alone}) == 1
    again = reconcile(frozen, msgspec.json.decode(msgspec.json.encode(hold), type=Hold))
    assert again is frozen
    with pytest.raises(TypeError, match="read-only"):
        frozen.rows[0].marks.append(2)
    match frozen.things[1]:
        case Shield(hit_points=found):
            assert found == 2
        case _:
            pytest.fail("it is a shield")


class Open(pydantic.BaseModel, extra="allow"):
    title: str = ""


class Nest(pydantic.BaseModel):
    model: Model = Model()
    either: Model | Open = Open()


def test_what_a_model_holds_besides_its_fields_is_frozen_too_and_counts() -> None:
    frozen = freeze(Open.model_validate({"title": "a", "more": [1]}))
    draft: Any = thaw(frozen)
    draft.more.append(2)
    draft.other = 1
    assert frozen == Open.model_validate({"title": "a", "more": [1]})
    assert frozen.model_fields_set == {"title", "more"}
    after = reconcile(frozen, draft)
    assert after == Open.model_validate({"title": "a", "more": [1, 2], "other": 1})
    assert reconcile(frozen, Open.model_validate({"title": "a", "more": [1]})) is frozen
    with pytest.raises(TypeError, match="read-only"):
        after.more.append(3)
    with pytest.raises(TypeError, match="read-only"):
        frozen.other = 1  # type: ignore[attr-defined]  # none of its fields


def test_frozen_models_within_models_have_the_json_form_of_ordinary_ones() -> None:
    nest = Nest(model=Model(title="x", cells=[1]), either=Open(title="y"))
    adapter = pydantic.TypeAdapter(Nest)
    assert adapter.dump_json(freeze(nest), warnings="error") == adapter.dump_json(nest)
    mixed = nest.model_copy(update={"model": freeze(nest).model})
    assert adapter.dump_json(mixed, warnings="error") == adapter.dump_json(nest)
