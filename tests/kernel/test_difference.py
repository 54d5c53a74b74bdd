"""Where two pieces of plain data differ."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sojourn.kernel.difference import Difference, differences

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.text("a/~0-", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~01-", max_size=2), inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Say whether they are the same JSON: 1, 1.0 and true are not."""
    return repr(one) == repr(other)


def ordered(value: Any) -> Any:
    """The same value with the names in every dict in one order."""
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value)}
    return [ordered(each) for each in value] if isinstance(value, list) else value


def applied(value: Any, found: tuple[Difference, ...]) -> Any:
    """What becomes of the old value when each difference is made true of it."""
    root = {"": deepcopy(value)}
    for each in reversed(found):  # from the end, so that what is taken out of a list moves nothing
        *steps, last = ["", *(step.replace("~1", "/").replace("~0", "~") for step in each.path.split("/")[1:])]
        parent: Any = root
        for step in steps:
            parent = parent[int(step) if isinstance(parent, list) else step]
        place: Any = int(last) if isinstance(parent, list) else last
        if each.new is UNSET:
            del parent[place]
        elif each.old is UNSET and isinstance(parent, list):
            parent[len(parent) :] = [None] * (place + 1 - len(parent))
            parent[place] = each.new
        else:
            parent[place] = each.new
    return root[""]


@given(plain, plain)
def test_the_differences_make_the_new_value_of_the_old_and_back(old: Any, new: Any) -> None:
    assert same(ordered(applied(old, differences(old, new))), ordered(new))
    assert same(ordered(applied(new, differences(new, old))), ordered(old))


@given(plain)
def test_what_is_the_same_has_no_difference(value: Any) -> None:
    assert differences(value, deepcopy(value)) == ()


@given(plain, plain)
def test_no_difference_lies_within_another_and_none_is_empty(old: Any, new: Any) -> None:
    found = differences(old, new)
    assert not any(same(each.old, each.new) for each in found)
    paths = [each.path for each in found]
    assert len(set(paths)) == len(paths)
    assert not any(longer.startswith(f"{path}/") for path in paths for longer in paths)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, True, [("", 1, True)]),
        (1, 1.0, [("", 1, 1.0)]),
        ({}, [], [("", {}, [])]),
        ({"a": None}, {}, [("/a", None, UNSET)]),
        ({}, {"a": {"b": 1}}, [("/a", UNSET, {"b": 1})]),
        ({"a": {"b": 1}}, {"a": 1}, [("/a", {"b": 1}, 1)]),
        ([1, 2, 3], [1, 3], [("/1", 2, 3), ("/2", 3, UNSET)]),
        ([], ["x"], [("/0", UNSET, "x")]),
        ({"a/b~c": 1, "": 2}, {"a/b~c": 2, "": 3}, [("/a~1b~0c", 1, 2), ("/", 2, 3)]),
        ({"b": 1, "a": 1}, {"c": 1, "a": 2}, [("/b", 1, UNSET), ("/a", 1, 2), ("/c", UNSET, 1)]),
    ],
)
def test_a_difference_names_its_place_and_both_sides(
    old: object, new: object, expected: list[tuple[str, object, object]]
) -> None:
    found = [(each.path, each.old, each.new) for each in differences(old, new)]
    assert repr(found) == repr(expected)


def test_depth_is_no_limit() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(10_000):
        old, new = [old], [new]
    (found,) = differences(old, new)
    assert (found.path, found.old, found.new) == ("/0" * 10_000, 1, 2)
