"""A document is what its schema allows, it comes back from JSON as it was, or it is refused by name."""

import dataclasses
import operator
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.documents.frozen import thaw
from sojourn.documents.schema import Schema
from sojourn.errors import DocumentInvalidError, InvalidError, LimitError, SojournError


class Place(msgspec.Struct, frozen=True):
    x: int = 0


class Far(Place, frozen=True):
    y: int = 0


class Player(msgspec.Struct):
    coins: int = 0
    name: str = ""
    items: list[str] = []
    more: dict[str, Any] = {}
    at: Place = Place()


@dataclasses.dataclass
class Board:
    coins: int = 0
    name: str = ""
    more: dict[str, Any] = dataclasses.field(default_factory=dict)


class Model(pydantic.BaseModel):
    coins: int = 0
    name: str = ""
    more: dict[str, Any] = {}


class Typed(TypedDict):
    coins: int
    name: str
    more: NotRequired[dict[str, Any]]


class Colour(Enum):
    RED = "red"


def is_purse(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("coins"), int)


def schemas() -> list[Any]:
    return [
        pytest.param(Player, Player(coins=1), id="struct"),
        pytest.param(Board, Board(coins=1), id="dataclass"),
        pytest.param(Model, Model(coins=1), id="pydantic"),
        pytest.param(Typed, {"coins": 1, "name": ""}, id="typeddict"),
        pytest.param(is_purse, {"coins": 1, "name": ""}, id="function"),
        pytest.param(dict[str, Any], {"coins": 1, "name": ""}, id="dict"),
    ]


def put(draft: Any, name: str, value: object) -> None:
    if isinstance(draft, dict):
        draft[name] = value
    else:
        setattr(draft, name, value)


def get(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


@pytest.mark.parametrize(("kind", "template"), schemas())
def test_a_change_is_checked_frozen_and_comes_back_from_its_text(kind: Any, template: Any) -> None:
    schema = Schema[Any](kind, template)
    assert schema.template == template
    draft = thaw(schema.template)
    put(draft, "coins", 2)
    put(draft, "more", {"deep": [1, None, True, 1.5, "x"]})
    value = schema.changed(draft, schema.template, key="k")
    assert get(value, "coins") == 2
    assert get(schema.template, "coins") == 1
    again = schema.load(schema.dump(value), source="stored", key="k")
    assert again == value
    assert schema.changed(thaw(value), value, key="k") is value
    with pytest.raises(TypeError, match="read-only"):
        put(value, "coins", 3)
    with pytest.raises(TypeError, match="read-only"):
        get(value, "more")["deep"].append(1)


@pytest.mark.parametrize(("kind", "template"), schemas())
def test_plain_data_becomes_a_value(kind: Any, template: Any) -> None:
    schema = Schema[Any](kind, template)
    value = schema.load_plain({"coins": 5, "name": "n"}, source="import", key="k")
    assert get(value, "coins") == 5
    put(value, "coins", 6)
    if not isinstance(template, dict):
        assert type(value) is type(template)


@pytest.mark.parametrize(("kind", "template"), schemas()[:5])
def test_what_breaks_the_schema_is_refused_and_says_where_it_came_from(kind: Any, template: Any) -> None:
    schema = Schema[Any](kind, template)
    draft = thaw(schema.template)
    put(draft, "coins", "many")
    with pytest.raises(DocumentInvalidError) as changed:
        schema.changed(draft, schema.template, key="k")
    assert (changed.value.source, changed.value.key) == ("change", "k")
    with pytest.raises(DocumentInvalidError) as stored:
        schema.load(b'{"coins":"many","name":""}', source="stored", key="k")
    assert (stored.value.source, stored.value.key) == ("stored", "k")
    with pytest.raises(DocumentInvalidError) as plain:
        schema.load_plain({"coins": "many", "name": ""}, source="migration", key="k")
    assert (plain.value.source, plain.value.key) == ("migration", "k")
    if kind is not is_purse:
        assert "coins" in plain.value.problem
        assert "$.coins" in stored.value.problem
    with pytest.raises(DocumentInvalidError) as begun:
        Schema[Any](kind, draft)
    assert (begun.value.source, begun.value.key) == ("template", None)


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(("kind", "template"), schemas())
@pytest.mark.parametrize(
    "lossy",
    [
        b"bytes",
        bytearray(b"bytes"),
        float("nan"),
        float("inf"),
        (1, 2),
        {1: "a"},
        {1: "a", "1": "b"},
        {1, 2},
        frozenset({1}),
        datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 1),
        Decimal("1.5"),
        uuid.UUID(int=1),
        Colour.RED,
        Place(1),
        Board(),
        object(),
        "\ud800",
        lambda: None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_would_not_give_back_is_refused_not_changed(kind: Any, template: Any, lossy: object) -> None:
    schema = Schema[Any](kind, template)
    draft = thaw(schema.template)
    put(draft, "more", {"deep": [lossy]})
    with pytest.raises((InvalidError, DocumentInvalidError)):
        schema.changed(draft, schema.template, key="k")


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    ("lossy", "where"),
    [
        ({"a": [1, (2,)]}, r"\$\['a'\]\[1\]: tuple comes back as list"),
        ({"a": {"b": b"x"}}, r"\$\['a'\]\['b'\]: bytes comes back as str"),
        ({"a": {7: "x"}}, r"\$\['a'\]\[7\]: this name does not come back"),
        ({"a": {1, 2}}, r"\$\['a'\]: set comes back as list"),
    ],
)
def test_the_place_that_json_would_change_is_named(lossy: Any, where: str) -> None:
    schema = Schema[dict[str, Any]](dict, {})
    with pytest.raises(InvalidError, match=where):
        schema.changed(lossy, schema.template, key="k")
    with pytest.raises(DocumentInvalidError, match=where):
        schema.load_plain(lossy, source="import", key="k")
    struct = Schema(Player, Player())
    with pytest.raises(InvalidError, match=where.replace(r"\$", r"\$\.more", 1)):
        struct.changed(Player(more=lossy), struct.template, key="k")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.row("D-N19")
@given(plain)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    schema = Schema[Any](lambda _: True, {"before": [1]})
    changed = schema.changed(value, schema.template, key="k")
    assert repr(changed) == repr(value)
    assert repr(schema.load(schema.dump(changed), source="stored", key="k")) == repr(value)


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    "value",
    [
        {"-": 1, "1": 2, "": 3, "ключ": 4, "a.b": 5, "\x00": 6, "🗝": 7},
        {"a": {}},
        {"a": []},
        {"a": [2**63, 2**64, -(2**63) - 1]},
    ],
)
def test_names_of_any_text_and_empty_containers_come_back(value: Any) -> None:
    schema = Schema[Any](dict[str, Any], {})
    assert repr(schema.load(schema.dump(value), source="stored", key="k")) == repr(value)
    assert repr(schema.changed(value, schema.template, key="k")) == repr(value)


def test_an_empty_dict_and_an_empty_list_are_two_values() -> None:
    schema = Schema[Any](dict[str, Any], {"a": {}})
    changed = schema.changed({"a": []}, schema.template, key="k")
    assert changed is not schema.template
    assert changed["a"] == []


@pytest.mark.row("D-N19")
def test_types_that_say_what_they_keep_keep_it() -> None:
    class Rich(msgspec.Struct):
        raw: bytes = b""
        at: datetime | None = None
        price: Decimal = Decimal(0)
        seen: set[int] = set()
        pair: tuple[int, str] = (0, "")
        by_number: dict[int, str] = {}
        colour: Colour = Colour.RED
        weight: float = 0.0

    schema = Schema(Rich, Rich())
    draft = Rich(b"\x00", datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.50"), {1}, (1, "a"), {1: "a"}, Colour.RED, 3)
    value = schema.changed(draft, schema.template, key="k")
    assert value == draft
    assert type(value.weight) is float
    with pytest.raises(InvalidError, match=r"\$\.weight: int comes back as float"):
        schema.changed(Rich(weight=2**60 + 1), schema.template, key="k")
    with pytest.raises((InvalidError, DocumentInvalidError)):
        schema.changed(Rich(weight=10**400), schema.template, key="k")
    table = Schema[Any](dict[int, tuple[int, ...]], {1: (1, 2)})
    assert table.template == {1: (1, 2)}


def test_a_value_of_another_class_is_refused_even_where_its_fields_fit() -> None:
    schema = Schema(Player, Player())
    wrong: Any
    for wrong in ({"coins": 1}, Board(), None, [Player()]):
        with pytest.raises(DocumentInvalidError, match="not Player"):
            schema.changed(wrong, schema.template, key="k")
    with pytest.raises(InvalidError, match=r"\$\.at: Far comes back as Place"):
        schema.changed(Player(at=Far(1, 2)), schema.template, key="k")

    class Rich(Player): ...

    with pytest.raises(InvalidError, match=r"\$: Rich comes back as Player"):
        schema.changed(Rich(), schema.template, key="k")


def test_a_name_that_a_typed_dict_does_not_have_is_refused_not_dropped() -> None:
    schema = Schema[Any](Typed, {"coins": 1, "name": ""})
    with pytest.raises(InvalidError, match=r"\$\['extra'\]"):
        schema.changed({"coins": 1, "name": "", "extra": 2}, schema.template, key="k")


def test_a_nan_is_refused_as_what_has_no_json_form() -> None:
    class Weight(pydantic.BaseModel):
        kilograms: float = 0.0

    class Load(msgspec.Struct):
        kilograms: float = 0.0

    for kind in (Weight, Load):
        schema = Schema[Any](kind, kind())
        draft = thaw(schema.template)
        draft.kilograms = float("nan")
        with pytest.raises(InvalidError, match="no JSON form"):
            schema.changed(draft, schema.template, key="k")


def test_text_that_a_type_would_turn_into_something_else_is_refused_in_plain_data() -> None:
    schema = Schema[Any](dict[str, datetime], {})
    with pytest.raises(InvalidError, match=r"\$\['at'\]: str comes back as datetime"):
        schema.changed({"at": "2026-01-01T00:00:00Z"}, schema.template, key="k")


def test_an_object_may_put_itself_in_order() -> None:
    class Tidy(msgspec.Struct):
        name: str = ""
        items: list[int | str] = []

        def __post_init__(self) -> None:
            self.name = self.name.strip()
            self.items = sorted(set(self.items), key=str)

    schema = Schema(Tidy, Tidy())
    draft = thaw(schema.template)
    draft.name, draft.items = " tea ", ["b", 1, "b"]
    value = schema.changed(draft, schema.template, key="k")
    assert value == Tidy("tea", [1, "b"])


def test_what_a_class_raises_when_it_is_made_is_a_broken_schema() -> None:
    class Strict(msgspec.Struct):
        coins: int = 0

        def __post_init__(self) -> None:
            if self.coins < 0:
                raise KeyError("coins")
            if self.coins > 9:
                raise ValueError("too rich")

    schema = Schema(Strict, Strict())
    for text in (b'{"coins":-1}', b'{"coins":10}'):
        with pytest.raises(DocumentInvalidError):
            schema.load(text, source="stored", key="k")


def test_a_problem_of_a_model_says_where_and_does_not_repeat_the_value() -> None:
    schema = Schema(Model, Model())
    with pytest.raises(DocumentInvalidError) as refused:
        schema.load(b'{"coins":"secret","name":5,"more":{}}', source="stored", key="k")
    assert "`$.coins`" in refused.value.problem
    assert "`$.name`" in refused.value.problem
    assert "secret" not in refused.value.problem
    assert "http" not in refused.value.problem
    draft = Model()
    draft.coins = "secret"  # type: ignore[assignment]  # what is wrong
    with pytest.raises(DocumentInvalidError) as changed:
        schema.changed(draft, schema.template, key="k")
    assert "`$.coins`" in changed.value.problem
    assert "secret" not in str(changed.value)
    draft.coins = "5"  # type: ignore[assignment]  # what a load would mend in silence
    with pytest.raises(DocumentInvalidError, match="another type than it says"):
        schema.changed(draft, schema.template, key="k")


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (lambda value: value["coins"] >= 0, "the schema said no"),
        (lambda value: (value["coins"] >= 0, "no debts"), "no debts"),
        (lambda value: value["coins"] >= 0 or 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda value: value["coins"] >= 0 or None, "neither True nor False, but NoneType"),
        (lambda value: value["coins"] >= 0 or 7, "neither True nor False, but int"),
        (lambda value: value["coins"] >= 0 or {}, "neither True nor False, but dict"),
        (lambda value: value["coins"] >= 0 or (), "neither True nor False, but tuple"),
    ],
)
def test_a_function_says_what_is_good_and_why_not(check: Callable[[Any], object], problem: str) -> None:
    schema = Schema[Any](check, {"coins": 0})
    with pytest.raises(DocumentInvalidError) as refused:
        schema.changed({"coins": -1}, schema.template, key="k")
    assert problem in refused.value.problem
    with pytest.raises(DocumentInvalidError) as begun:
        Schema[Any](check, {"coins": -1})
    assert begun.value.source == "template"


def test_a_function_that_writes_into_what_it_checks_changes_nothing() -> None:
    def check(value: Any) -> bool:
        value["seen"] = True
        return True

    assert Schema[Any](check, {"coins": 0}).template == {"coins": 0}


def test_any_plain_call_may_be_a_schema() -> None:
    class Check:
        def __call__(self, value: Any) -> tuple[bool, str]:
            return isinstance(value, dict), "a dict is wanted"

        def method(self, value: Any) -> bool:
            return isinstance(value, dict)

    for check in (Check(), Check().method, partial(operator.contains, [{}])):
        assert Schema[Any](check, {}).template == {}
        with pytest.raises(DocumentInvalidError):
            Schema[Any](check, [])


@pytest.mark.parametrize("wrong", [5, "Player", None, {}, object(), complex])
def test_what_is_neither_a_type_that_can_be_stored_nor_a_function_is_refused(wrong: Any) -> None:
    with pytest.raises(SojournError) as refused:
        Schema[Any](wrong, {})
    assert isinstance(refused.value, InvalidError | DocumentInvalidError)


def test_a_function_that_waits_is_refused() -> None:
    async def check(value: Any) -> bool:
        return True

    class Check:
        async def __call__(self, value: Any) -> bool:
            return value is not None

    for wrong in (check, Check(), partial(check)):
        with pytest.raises(InvalidError, match="cannot wait"):
            Schema[Any](wrong, {})
    with pytest.raises(DocumentInvalidError, match="neither True nor False, but coroutine"):
        Schema[Any](lambda value: check(value), {})  # noqa: PLW0108  only the call shows that it waits


@pytest.mark.parametrize(("kind", "template"), schemas()[:4])
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 5_000])
def test_damaged_or_foreign_text_is_refused(kind: Any, template: Any, text: bytes) -> None:
    with pytest.raises(DocumentInvalidError):
        Schema[Any](kind, template).load(text, source="stored", key="k")


def test_a_value_that_is_too_large_or_too_deep_is_refused() -> None:
    schema = Schema[Any](dict[str, Any], {})
    with pytest.raises(LimitError) as large:
        schema.changed({"a": "x" * limits.DOCUMENT_BYTES}, schema.template, key="k")
    assert (large.value.name, large.value.limit) == ("document", limits.DOCUMENT_BYTES)
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(InvalidError):
        schema.changed(circle, schema.template, key="k")
    with pytest.raises(DocumentInvalidError):
        Schema[Any](dict[str, Any], circle)
    deep: dict[str, Any] = {}
    for _ in range(limits.JSON_DEPTH - 1):
        deep = {"a": deep}
    assert schema.changed(deep, schema.template, key="k") == deep
    deep = {"a": deep}
    with pytest.raises(InvalidError, match="levels deep"):
        schema.changed(deep, schema.template, key="k")
    with pytest.raises(DocumentInvalidError):
        schema.load_plain(deep, source="import", key="k")
    with pytest.raises(DocumentInvalidError):
        Schema[Any](dict[str, Any], deep)


@pytest.mark.parametrize(("kind", "template"), schemas())
def test_the_template_is_nobody_elses(kind: Any, template: Any) -> None:
    mine = thaw(template)
    put(mine, "more", {"a": []})
    schema = Schema[Any](kind, mine)
    get(mine, "more")["a"].append(1)
    assert get(schema.template, "more") == {"a": []}
    with pytest.raises(TypeError, match="read-only"):
        get(schema.template, "more")["a"].append(1)


@pytest.mark.parametrize(("kind", "template"), schemas())
def test_a_new_value_may_be_made_of_parts_of_the_frozen_one(kind: Any, template: Any) -> None:
    schema = Schema[Any](kind, template)
    draft = thaw(schema.template)
    put(draft, "more", {"deep": [1]})
    old = schema.changed(draft, schema.template, key="k")
    assert schema.changed(old, old, key="k") is old
    new = thaw(schema.template)
    put(new, "coins", 7)
    put(new, "more", get(old, "more"))
    value = schema.changed(new, old, key="k")
    assert get(value, "coins") == 7
    assert get(value, "more") is get(old, "more")
