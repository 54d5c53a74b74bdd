"""What a turn changes, recorded: appends that do not look at what is there, and a whole state that can be taken."""

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.snapshots.parts import Items, State
from sojourn.snapshots.recorded import Draft
from sojourn.snapshots.states import StateCodec

PLAIN: StateCodec[Any] = StateCodec(None)

item = st.none() | st.booleans() | st.integers(0, 9) | st.text("aé", max_size=2) | st.just({"text": [1, None]})
items = st.lists(item, max_size=4)
place = st.integers(-6, 6)
step = st.sampled_from([None, 1, -1, 2, -2, 3])
cut = st.builds(slice, st.none() | place, st.none() | place, step)

change = st.one_of(
    st.tuples(st.just("append"), item),
    st.tuples(st.just("extend"), items),
    st.tuples(st.just("insert"), place, item),
    st.tuples(st.just("__setitem__"), place, item),
    st.tuples(st.just("__setitem__"), cut, items),
    st.tuples(st.just("__delitem__"), place | cut),
    st.tuples(st.just("pop"), place),
    st.tuples(st.just("remove"), item),
    st.tuples(st.sampled_from(["clear", "reverse"])),
    st.tuples(st.just("open")),
    st.tuples(st.just("set")),
)


def draft_of(value: Any) -> Draft[Any]:
    return Draft(PLAIN, PLAIN.encode(value))


def result(draft: Draft[Any]) -> Any:
    """The value of a draft that has one."""
    state = draft.result()
    assert state is not None
    assert state.size == len(state.text())
    return draft_value(state)


def draft_value(state: State) -> Any:
    return msgspec.json.decode(state.text())


def does(what: Any, name: str, *given_: Any) -> Any:
    """What comes of a method, and the kind of its error."""
    try:
        return getattr(what, name)(*given_)
    except (IndexError, ValueError) as error:
        return type(error)


@given(items, st.lists(change, max_size=8))
def test_messages_behave_as_a_list_whether_the_state_was_taken_or_not(begun: list[Any], changes: list[Any]) -> None:
    draft = draft_of({"messages": begun, "custom": {"a": 1}})
    recorded, expected = draft.messages, copy.deepcopy(begun)
    for name, *arguments in changes:
        if name == "open":
            assert draft.state == {"messages": expected, "custom": {"a": 1}}
        elif name == "set":
            draft.state = {"messages": expected, "custom": {"a": 1}}
        else:
            assert does(recorded, name, *arguments) == does(expected, name, *copy.deepcopy(arguments))
        assert json.dumps(recorded[:]) == json.dumps(expected)
        assert json.dumps(result(draft)) == json.dumps({"messages": expected, "custom": {"a": 1}})


@given(items, cut, place)
def test_messages_are_read_as_a_list_is(begun: list[Any], where: slice, at: int) -> None:
    recorded = draft_of({"messages": begun}).messages
    recorded.append("last")
    expected = [*begun, "last"]
    assert recorded[where] == expected[where]
    assert does(recorded, "__getitem__", at) == does(expected, "__getitem__", at)
    assert list(recorded) == expected
    assert recorded == expected
    assert recorded != begun
    assert recorded != tuple(expected)
    assert recorded == draft_of({"messages": expected}).messages
    assert len(recorded) == len(expected)
    assert "last" in recorded


def test_a_cut_whose_end_lies_before_its_beginning_inserts_there() -> None:
    recorded = draft_of({"messages": [1, 2]}).messages
    recorded.extend([3, 4, 5])
    recorded[2:0] = ["x"]
    assert recorded == [1, 2, "x", 3, 4, 5]


def test_an_append_is_stored_as_itself_and_nothing_else_is_touched() -> None:
    base = PLAIN.encode({"messages": [{"n": number} for number in range(50)], "custom": {"a": [1]}})
    draft = Draft(PLAIN, base)
    draft.messages.append({"n": 50})
    state = draft.result()
    assert state is not None
    assert base.difference(state) == b'["of",{"messages":["+",50,0,[{"n":50}]]}]'
    assert isinstance(base.root, dict)
    assert isinstance(state.root, dict)
    assert state.root["custom"] is base.root["custom"]
    assert all(one is other for one, other in zip(messages_in(base), messages_in(state), strict=False))


def messages_in(state: State) -> tuple[bytes, ...]:
    """The texts of a state's messages."""
    assert isinstance(state.root, dict)
    found = state.root["messages"]
    assert isinstance(found, Items)
    return tuple(found)


def test_a_state_that_was_taken_shares_what_did_not_change_as_well() -> None:
    base = PLAIN.encode({"messages": [{"n": number} for number in range(50)], "custom": {"a": [1]}})
    draft = Draft(PLAIN, base)
    draft.state["custom"]["a"].append(2)
    draft.state["messages"].append("more")
    state = draft.result()
    assert state is not None
    assert all(one is other for one, other in zip(messages_in(base), messages_in(state), strict=False))
    assert draft_value(state)["custom"] == {"a": [1, 2]}


@pytest.mark.parametrize("taken", [False, True])
def test_what_is_put_in_or_read_is_a_copy(*, taken: bool) -> None:
    draft = draft_of({"messages": [{"n": 0}]})
    if taken:
        _ = draft.state
    message = {"n": 1}
    draft.messages.append(message)
    message["n"] = 9
    draft.messages[0]["n"] = 9
    next(iter(draft.messages))["n"] = 9
    draft.messages[:][1]["n"] = 9
    draft.copy()["messages"].clear()
    assert draft.messages == [{"n": 0}, {"n": 1}]


def test_a_state_that_is_set_is_copied() -> None:
    draft = draft_of({"messages": [1]})
    mine = {"messages": [2]}
    draft.state = mine
    mine["messages"].append(3)
    assert result(draft) == {"messages": [2]}
    draft.state["messages"].append(4)
    assert result(draft) == {"messages": [2, 4]}


def test_a_state_can_be_taken_in_the_middle_and_a_list_handed_out_before_follows() -> None:
    draft = draft_of({"messages": [1]})
    messages = draft.messages
    messages.append(2)
    draft.state["messages"].append(3)
    messages.append(4)
    draft.state["custom"] = {"seen": True}
    assert messages == [1, 2, 3, 4]
    assert draft.state["messages"] == [1, 2, 3, 4]
    assert result(draft) == {"messages": [1, 2, 3, 4], "custom": {"seen": True}}


@pytest.mark.parametrize("begun", [None, {}, {"messages": None}, {"custom": 1}])
@pytest.mark.parametrize("taken", [False, True])
def test_messages_that_are_only_read_are_not_added(begun: Any, *, taken: bool) -> None:
    draft = Draft(PLAIN, None if begun is None else PLAIN.encode(begun))
    if taken:
        assert draft.state == (begun or {})
    assert draft.messages == []
    assert not draft.messages
    draft.messages.extend([])
    draft.messages.clear()
    assert draft.version == 0
    found = draft.result()
    assert found is None if begun is None else found == PLAIN.encode(begun)
    draft.messages.append("first")
    assert draft.messages == ["first"]
    assert result(draft)["messages"] == ["first"]


def test_an_empty_state_that_is_set_is_given() -> None:
    draft: Draft[Any] = Draft(PLAIN, None)
    assert draft.messages == []
    draft.state = {}
    assert result(draft) == {}


@pytest.mark.parametrize("found", ["text", 1, {"a": 1}])
@pytest.mark.parametrize("taken", [False, True])
def test_messages_that_are_no_list_are_refused(found: Any, *, taken: bool) -> None:
    draft = draft_of({"messages": found})
    if taken:
        _ = draft.state
    with pytest.raises(InvalidError, match="messages"):
        draft.messages.append(1)
    with pytest.raises(InvalidError, match="messages"):
        len(draft.messages)
    assert result(draft) == {"messages": found}


@pytest.mark.parametrize("bad", [{1}, float("nan"), {"a": float("inf")}, b"bytes", {1: 2}, object(), "\ud800"])
@pytest.mark.parametrize("taken", [False, True])
def test_what_is_no_json_is_refused_where_it_is_given(bad: Any, *, taken: bool) -> None:
    draft = draft_of({"messages": [1]})
    if taken:
        _ = draft.state
    attempts: list[Callable[[], object]] = [
        lambda: draft.messages.append(bad),
        lambda: draft.messages.extend([2, bad]),
        lambda: draft.messages.__setitem__(0, bad),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidError, match="messages"):
            attempt()
    assert draft.messages == [1]
    assert draft.version == 0


def test_a_state_over_the_limit_is_refused_at_the_append_that_makes_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STATE_BYTES", 200)
    draft = draft_of({"messages": ["x" * 50]})
    draft.messages.append("y" * 100)
    with pytest.raises(LimitError, match="state"):
        draft.messages.append("z" * 50)
    with pytest.raises(LimitError, match="state"):
        draft.put("custom", "z" * 50)
    assert draft.messages == ["x" * 50, "y" * 100]
    del draft.messages[0]
    draft.messages.append("z" * 50)
    assert result(draft) == {"messages": ["y" * 100, "z" * 50]}
    draft.state["custom"] = "z" * 50
    with pytest.raises(LimitError, match="state"):
        draft.result()


@pytest.mark.parametrize("taken", [False, True])
def test_the_version_rises_with_every_change_and_with_no_other_call(*, taken: bool) -> None:
    draft = draft_of({"messages": [1]})
    if taken:
        _ = draft.state
    messages = draft.messages
    versions = [draft.version]
    changes: list[Callable[[], object]] = [
        lambda: messages.append(2),
        lambda: messages.__setitem__(0, 9),
        messages.clear,
        lambda: draft.put("custom", 1),
        lambda: setattr(draft, "state", {"messages": [1]}),
    ]
    for made in changes:
        made()
        versions.append(draft.version)
    assert versions == sorted(set(versions))
    others: list[Callable[[], object]] = [
        lambda: messages.__setitem__(0, 1),
        lambda: messages[:],
        lambda: draft.state,
        lambda: draft.put("messages", [1]),
        draft.result,
        draft.copy,
    ]
    for made in others:
        made()
    assert draft.version == versions[-1]


@pytest.mark.parametrize("taken", [False, True])
def test_a_list_says_how_much_is_in_it_and_not_what(*, taken: bool) -> None:
    draft = draft_of({"messages": ["secret"]})
    if taken:
        _ = draft.state
    assert repr(draft.messages) == "<1 recorded messages>"


class Message(msgspec.Struct, frozen=True):
    role: str
    text: str = ""


class Frozen(msgspec.Struct, frozen=True):
    title: str = ""
    messages: tuple[Message, ...] = ()


class Renamed(msgspec.Struct, rename="pascal"):
    title: str = ""
    messages: list[Message] | None = None


@dataclasses.dataclass
class Chat:
    title: str = ""
    messages: list[Message] = dataclasses.field(default_factory=list)


class Line(pydantic.BaseModel):
    role: str
    text: str = ""


class Talk(pydantic.BaseModel):
    title: str = ""
    messages: list[Line] = []


class Typed(TypedDict):
    title: NotRequired[str]
    messages: NotRequired[list[Message]]


class Titled(msgspec.Struct):
    title: str


class Needed(TypedDict):
    title: str


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Frozen, Message), (Renamed, Message), (Chat, Message), (Talk, Line), (Typed, Message)],
)
def test_a_state_with_a_type_has_messages_of_its_type(kind: type[Any], message: type[Any]) -> None:
    codec = StateCodec(kind)
    draft: Draft[Any] = Draft(codec, None)
    messages = draft.messages
    messages.append(message(role="user", text="one"))
    assert messages[0] == message(role="user", text="one")
    _ = draft.state
    messages.append(message(role="model", text="two"))
    both = [message(role="user", text="one"), message(role="model", text="two")]
    assert messages[:] == both
    found = draft.state["messages"] if isinstance(draft.state, dict) else draft.state.messages
    assert list(found) == both
    messages[0] = message(role="user", text="three")
    state = draft.result()
    assert state is not None
    again = Draft(codec, state)
    assert again.messages[:] == [message(role="user", text="three"), both[1]]
    again.messages.append(message(role="user"))
    assert len(again.copy()["messages"] if kind is Typed else again.copy().messages) == 3


@pytest.mark.parametrize("kind", [Frozen, Renamed, Chat, Talk, Typed])
def test_a_message_of_another_type_is_refused(kind: type[Any]) -> None:
    draft: Draft[Any] = Draft(StateCodec(kind), None)
    with pytest.raises(InvalidError, match="messages"):
        draft.messages.append({"text": "no role"})
    assert draft.messages == []


def test_a_message_of_a_type_is_stored_as_its_type_stores_it() -> None:
    """Else a state that is taken and not changed would differ in every message."""
    draft: Draft[Any] = Draft(StateCodec(Chat), None)
    draft.messages.append({"text": "t", "role": "r"})
    state = draft.result()
    assert state is not None
    again = Draft(StateCodec(Chat), state)
    _ = again.state
    assert again.result() is state


def test_a_frozen_state_is_changed_by_setting_it_between_appends() -> None:
    draft: Draft[Frozen] = Draft(StateCodec(Frozen), None)
    draft.messages.append(Message("user", "one"))
    draft.state = msgspec.structs.replace(draft.state, title="named")
    draft.messages.append(Message("model", "two"))
    assert draft.state == Frozen("named", (Message("user", "one"), Message("model", "two")))


def test_a_type_without_messages_has_none() -> None:
    draft = Draft(StateCodec(Titled), StateCodec(Titled).encode(Titled("t")))
    with pytest.raises(InvalidError, match="messages"):
        _ = draft.messages
    draft.state.title = "new"
    assert result(draft) == {"title": "new"}


@pytest.mark.parametrize(("kind", "first"), [(Titled, Titled("t")), (Needed, {"title": "t"})])
def test_a_type_that_needs_arguments_is_set_first(kind: type[Any], first: Any) -> None:
    draft: Draft[Any] = Draft(StateCodec(kind), None)
    with pytest.raises(InvalidError, match="state"):
        _ = draft.state
    assert draft.result() is None
    draft.state = first
    assert draft.state == first


def test_a_state_that_is_no_object_has_no_messages() -> None:
    codec: StateCodec[Any] = StateCodec(list[int])
    with pytest.raises(InvalidError, match="messages"):
        _ = Draft(codec, codec.encode([1])).messages


@pytest.mark.parametrize("taken", [False, True])
def test_a_member_is_put_and_read_as_a_copy(*, taken: bool) -> None:
    draft = draft_of({"messages": [1]})
    draft.messages.append(2)
    if taken:
        _ = draft.state
    mine = {"a": [1]}
    draft.put("custom", mine)
    mine["a"].append(2)
    draft.get("custom")["a"].append(3)
    assert draft.get("custom") == {"a": [1]}
    assert draft.get("none") is None
    draft.messages.append(3)
    assert result(draft) == {"messages": [1, 2, 3], "custom": {"a": [1]}}
    draft.put("messages", ["other"])
    assert draft.messages == ["other"]
    assert result(draft)["messages"] == ["other"]
