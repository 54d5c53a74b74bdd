"""Values survive their way through bytes, and what would not is refused."""

import dataclasses
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError
from sojourn.kernel.codec import codec

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Struct(msgspec.Struct):
    name: str
    note: str | None = None


@dataclasses.dataclass
class Data:
    name: str
    weight: float = 1.0


class Typed(TypedDict):
    name: str


class Model(pydantic.BaseModel):
    name: str
    note: str | None = None
    weight: float = 1.0


@given(plain)
def test_plain_data_comes_back_equal(value: Any) -> None:
    assert codec(object).decode(codec(object).encode(value)) == value


@pytest.mark.parametrize(
    "value", [Struct("a"), Data("a"), Typed(name="a"), Model(name="a")], ids=lambda value: type(value).__name__
)
def test_every_kind_of_type_comes_back_as_itself(value: Any) -> None:
    kind = Typed if isinstance(value, dict) else type(value)
    again = codec(kind).decode(codec(kind).encode(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_without_json_form_is_refused_not_turned_into_none(number: float) -> None:
    for kind, value in ((Any, {"deep": [number]}), (Data, Data("a", number)), (Model, Model(name="a", weight=number))):
        with pytest.raises(InvalidError, match="JSON"):
            codec(kind).encode(value)


def test_a_number_or_a_text_that_is_more_than_that_is_stored_as_what_it_is() -> None:
    class Count(int): ...

    class Amount(float): ...

    class Name(str):
        __slots__ = ()

    assert codec(list[object]).dump([Count(3), Amount(1.5), Name("tea")]) == b'[3,1.5,"tea"]'
    with pytest.raises(InvalidError, match="no JSON form"):
        codec(list[object]).dump([Amount("nan")])


class Many(pydantic.BaseModel):
    models: list[Model] = []
    numbers: list[int] = []


@pytest.mark.parametrize(
    "text",
    [
        b'{"models": [{"name": {"deep": "hunter2"}}]}',
        b'{"models": [{"name": "a", "weight": "hunter2"}]}',
        b'{"numbers": ["hunter2", "hunter2", "hunter2", "hunter2", "hunter2", "hunter2", "hunter2", "hunter2"]}',
        b'{"numbers": [1, "hunter2',
    ],
    ids=["of a wrong type", "deep within", "often", "cut"],
)
def test_a_wrong_value_of_a_model_is_named_and_not_shown(text: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        codec(Many).load(text)
    assert "hunter2" not in str(caught.value)
    assert "$" in str(caught.value), "where it stands is said"
    assert len(str(caught.value)) < 1_000


def test_a_model_with_a_wrong_value_is_refused_and_the_value_not_shown() -> None:
    wrong = Many.model_construct(models=[Model.model_construct(name="a", weight="hunter2")])
    with pytest.raises(InvalidError) as caught:
        codec(Many).encode(wrong)
    assert "hunter2" not in str(caught.value)


def test_a_foreign_type_is_refused() -> None:
    with pytest.raises(InvalidError, match="no JSON form"):
        codec(object).encode(object())


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidError):
        codec(list).encode(endless)


def test_a_large_value_is_compressed_and_a_small_one_is_readable() -> None:
    assert codec(str).encode("small") == b'j"small"'
    large = "a" * limits.COMPRESS_FROM_BYTES
    packed = codec(str).encode(large)
    assert packed[:1] == b"z"
    assert len(packed) < len(large) / 10
    assert codec(str).decode(packed) == large


@pytest.mark.parametrize(
    "data",
    [b"", b"?{}", b"j", b'j{"name": 1}', b"j{", b"z", b"znonsense", codec(str).encode("a" * 9_999)[:-4]],
    ids=["empty", "unknown format", "no text", "wrong type", "cut", "no frame", "no zstd", "cut frame"],
)
def test_bytes_that_cannot_be_understood_are_one_error(data: bytes) -> None:
    with pytest.raises(CorruptError):
        codec(Struct).decode(data)


def test_a_type_that_json_cannot_give_back_is_refused_by_name() -> None:
    with pytest.raises(InvalidError, match="type"):
        codec(Struct | Data)  # type: ignore[arg-type]  # two objects that nothing tells apart


def test_json_text_inside_a_value_is_kept_as_it_is() -> None:
    class Envelope(msgspec.Struct):
        inner: msgspec.Raw

    kept = codec(Envelope).decode(codec(Envelope).encode(Envelope(msgspec.Raw(b'{"a":null}'))))
    assert bytes(kept.inner) == b'{"a":null}'


def test_a_value_that_packs_small_is_still_measured_by_what_it_unpacks_to() -> None:
    with pytest.raises(LimitError, match="value"):
        codec(str).encode("a" * (limits.CHUNKED_BYTES + 1))
    most = "a" * (limits.CHUNKED_BYTES - 2)
    assert codec(str).decode(codec(str).encode(most)) == most
