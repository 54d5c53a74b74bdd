"""A state as a tree of JSON text: taken apart, compared, changed and put together."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.errors import CorruptError
from sojourn.snapshots.parts import Items, State

names = st.text('ab/"\\~ é\n😀', max_size=2)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0]) | st.text('a"\\ é😀\n', max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=4),
    max_leaves=30,
)


def state(value: Any) -> State:
    return State.of(msgspec.json.encode(value))


def value(of: State) -> Any:
    return msgspec.json.decode(of.text())


def exact(value: Any) -> str:
    """The value as text in which 1, 1.0 and true differ, and the order of names does not matter."""
    return json.dumps(value, sort_keys=True)


def changed(old: Any, new: Any) -> Any:
    """The change between two values, decoded."""
    change = state(old).difference(state(new))
    return None if change is None else msgspec.json.decode(change)


@given(plain)
def test_what_is_taken_apart_is_put_together_again(any_value: Any) -> None:
    text = msgspec.json.encode(any_value)
    assert State.of(text).text() == text
    assert State.of(text).size == len(text)


@pytest.mark.row("S-4.3.17")
@given(plain, plain)
def test_a_difference_makes_the_new_state_of_the_old_one(old: Any, new: Any) -> None:
    before, after = state(old), state(new)
    change = before.difference(after)
    if exact(old) == exact(new):
        assert change is None
        return
    assert change is not None
    made = before.after([change])
    assert exact(value(made)) == exact(new)
    assert made == after
    assert made.size == after.size == len(made.text())
    assert exact(value(before)) == exact(old)


@pytest.mark.row("S-4.3.17")
@given(st.integers(1, 200), st.sampled_from([None, "é😀", []]))
def test_a_difference_deep_inside_is_made_exactly(depth: int, found: Any) -> None:
    old: Any = 0
    new: Any = found
    for level in range(depth):
        old, new = ({"in": old, "as": 1}, {"in": new, "as": 1}) if level % 3 else ([old], [new])
    change = state(old).difference(state(new))
    assert change is not None
    assert value(state(old).after([change])) == new


@given(st.lists(plain, min_size=1, max_size=6))
def test_changes_one_behind_the_other_give_what_they_give_one_by_one(values: list[Any]) -> None:
    states = [state(each) for each in values]
    changes = [change for old, new in pairwise(states) if (change := old.difference(new))]
    assert states[0].after(changes) == states[-1]
    assert states[0].after(changes).size == states[-1].size


@given(plain, plain)
def test_a_new_state_shares_with_an_old_one_what_is_alike(old: Any, new: Any) -> None:
    before, after = state({"same": old, "other": old}), state({"same": old, "other": new})
    shared = before.sharing(after)
    assert shared == after
    assert isinstance(shared.root, dict)
    assert isinstance(before.root, dict)
    assert shared.root["same"] is before.root["same"]


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": 1}, {"a": 1.0}, ["of", {"a": ["=", 1.0]}]),
        ({"a": 1}, {"a": None}, ["of", {"a": ["=", None]}]),
        ({"a": 1}, {}, ["of", {"a": ["-"]}]),
        ({}, {"a": {}}, ["of", {"a": ["=", {}]}]),
        ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 1}}}, ["of", {"a": ["of", {"b": ["of", {"d": ["-"]}]}]}]),
        ({"m": [1, 2]}, {"m": [1, 2, 3]}, ["of", {"m": ["+", 2, 0, [3]]}]),
        ({"m": [1, 2, 3]}, {"m": [1, 9, 3]}, ["of", {"m": ["+", 1, 1, [9]]}]),
        ({"m": [1, 2, 3]}, {"m": [3]}, ["of", {"m": ["+", 0, 2, []]}]),
        ({"m": [1, 1]}, {"m": [1, 1, 1]}, ["of", {"m": ["+", 2, 0, [1]]}]),
        ({"m": [1, 1, 1]}, {"m": [1, 1]}, ["of", {"m": ["+", 2, 1, []]}]),
        ([1], [2, 1], ["+", 0, 0, [2]]),
        ([], {}, ["=", {}]),
        (1, 2, ["=", 2]),
    ],
)
def test_a_change_says_what_is_different_and_no_more(old: Any, new: Any, change: Any) -> None:
    assert changed(old, new) == change


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_one_run_of_items_that_differs_is_found_exactly(start: int, gone: int, end: int) -> None:
    old = [f"s{i}" for i in range(start)] + [f"g{i}" for i in range(gone)] + [f"e{i}" for i in range(end)]
    new = [*old[:start], "new", *old[start + gone :]]
    assert changed(old, new) == ["+", start, gone, ["new"]]


def test_spacing_makes_no_difference() -> None:
    spaced = State.of(b' { "a" : [ 1 , { "b" : "x  y" } ] , "c" : { "d" : 1.50 } }\n')
    assert spaced.text() == b'{"a":[1,{"b":"x  y"}],"c":{"d":1.50}}'
    assert spaced.difference(State.of(b'{"a":[1,{"b":"x  y"}],"c":{"d":1.50}}')) is None


def test_what_lies_deeper_than_is_compared_is_replaced_as_a_whole() -> None:
    def nested(inner: Any) -> Any:
        for _ in range(limits.SNAPSHOT_PARTS_DEPTH):
            inner = {"in": inner}
        return inner

    change = state(nested({"a": 1, "b": 1})).difference(state(nested({"a": 1, "b": 2})))
    assert change is not None
    assert change.endswith(b'["=",{"a":1,"b":2}]' + b"}]" * limits.SNAPSHOT_PARTS_DEPTH)
    assert change.count(b'"in"') == limits.SNAPSHOT_PARTS_DEPTH


@pytest.mark.parametrize("depth", range(limits.SNAPSHOT_PARTS_DEPTH + 2))
def test_what_a_change_brings_is_taken_apart_as_what_is_read_whole(depth: int) -> None:
    new: Any = {"text": "t", "list": [{"a": {"b": 1}}], "object": {}}
    old: Any = {}
    for _ in range(depth):
        old, new = {"in": old}, {"in": new}
    change = state(old).difference(state(new))
    assert change is not None
    assert state(old).after([change]).root == state(new).root


def test_a_list_shares_its_items_with_the_one_it_was_made_of() -> None:
    old = state({"messages": [{"n": number} for number in range(100)]})
    new = old.after([b'["of",{"messages":["+",100,0,[{"n":100}]]}]'])
    assert isinstance(old.root, dict)
    assert isinstance(new.root, dict)
    before, after = old.root["messages"], new.root["messages"]
    assert isinstance(before, Items)
    assert isinstance(after, Items)
    assert all(one is other for one, other in zip(before, after, strict=False))
    assert len(after) == 101


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b"[1,]",
        b"nul",
        b'{"a":1}x',
        b'"\xff"',
        b'{"a":"\xff"}',
        b"1 2",
        b"[" * 9_999,
    ],
)
def test_what_is_no_json_is_no_state(text: bytes) -> None:
    with pytest.raises(CorruptError):
        State.of(text)


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"null",
        b"[]",
        b'["?"]',
        b'["-"]',
        b'["="]',
        b'["+",0,0]',
        b'["+",0,0,[1]]',
        b'["of",{"m":["+",-1,0,[1]]}]',
        b'["of",{"m":["+",2,-1,[1]]}]',
        b'["of",{"m":["+",3,0,[1]]}]',
        b'["of",{"m":["+",1,2,[]]}]',
        b'["of",{"m":["of",{}]}]',
        b'["of",{"m":["of",{"x":["=",1]}]}]',
        b'["of",{"o":["+",0,0,[1]]}]',
        b'["of",{"s":["of",{"x":["=",1]}]}]',
        b'["of",{"no":["-"]}]',
        b'["of",{"no":["+",0,0,[1]]}]',
        b'["of",{"o":["of",{"no":["-"]}]}]',
        b'["of",{"o":["=","\xff"]}]',
        b'["of",{"m":["+",2,0,[{"cut":',
        b'["of",{"o":' * 5_000,
    ],
)
def test_a_change_that_is_damaged_or_of_another_state_is_refused(change: bytes) -> None:
    with pytest.raises(CorruptError):
        state({"m": [1, 2], "o": {"in": 1}, "s": "text"}).after([b'["of",{"new":["=",1]}]', change])


@given(plain, st.sampled_from(["a", "é", '"']), plain)
def test_a_member_is_read_and_put_by_its_name(inner: Any, name: str, other: Any) -> None:
    before = state({"kept": inner, "a": 1})
    after = before.with_member(name, msgspec.json.encode(other))
    assert after == state({"kept": inner, "a": 1, name: other})
    assert after.member(name) == msgspec.json.encode(other)
    assert after.member("none") is None
    assert state([inner]).member(name) is None


def test_a_member_is_put_into_an_object_only() -> None:
    with pytest.raises(CorruptError):
        state([1]).with_member("a", b"1")
    with pytest.raises(CorruptError):
        state({}).with_member("a", b"{")


def test_lists_that_grow_from_one_another_keep_their_items_once() -> None:
    """Else the time, and the memory, would grow with the square of their number."""
    none = Items()
    begun = State({"messages": none})
    changes = [b'["of",{"messages":["+",%d,0,[%d]]}]' % (place, place) for place in range(1_000)]
    made = begun.after(changes)
    assert value(made) == {"messages": list(range(1_000))}
    assert isinstance(made.root, dict)
    grown = made.root["messages"]
    assert isinstance(grown, Items)
    assert grown.shared is none.shared
    assert value(begun) == {"messages": []}


def test_lists_that_part_leave_each_other_alone() -> None:
    begun = Items([b"1", b"2"])
    one, other = begun.plus([b"3"]), begun.plus([b"4", b"5"])
    further = one.plus([b"6"])
    assert [[*items] for items in (begun, one, other, further)] == [
        [b"1", b"2"],
        [b"1", b"2", b"3"],
        [b"1", b"2", b"4", b"5"],
        [b"1", b"2", b"3", b"6"],
    ]
    assert [items.size for items in (begun, one, other, further)] == [2, 3, 4, 4]
    assert one.common(other) == 2
    assert one.common(further) == 3


def test_a_state_says_its_size_and_not_what_is_in_it() -> None:
    assert repr(state({"secret": "x"})) == "State(14 bytes)"
    assert state([1]) != [1]
