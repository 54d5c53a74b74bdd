"""The session of an agent while it works."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.snapshots.recorded import Draft
from sojourn.snapshots.session import AgentSession
from sojourn.snapshots.states import StateCodec

PLAIN: StateCodec[Any] = StateCodec(None)


def session_of(**state: Any) -> AgentSession[Any]:
    return AgentSession(state, session_id="chat")


def test_without_an_id_a_session_makes_a_new_one_and_its_state_carries_it() -> None:
    session, other = AgentSession[Any](), AgentSession[Any]()
    assert UUID(session.session_id).version == 4
    assert session.session_id != other.session_id
    assert session.get_state() == {"sessionId": session.session_id}
    assert session.version == 0


def test_a_session_takes_its_id_from_the_state_or_the_argument() -> None:
    assert AgentSession({"sessionId": "a"}).session_id == "a"
    assert AgentSession({"sessionId": "a"}, session_id="a").session_id == "a"
    assert AgentSession({"messages": []}, session_id="b").get_state() == {"messages": [], "sessionId": "b"}


@pytest.mark.parametrize(
    ("state", "session_id"),
    [({"sessionId": "a"}, "b"), ({"sessionId": 5}, None), ({}, " "), ({}, ""), ([], "a"), ({"x": b"bytes"}, "a")],
)
def test_an_id_or_a_state_that_cannot_be_is_refused(state: Any, session_id: str | None) -> None:
    with pytest.raises(InvalidError):
        AgentSession(state, session_id=session_id)


def test_what_goes_in_and_out_is_a_copy() -> None:
    given: dict[str, Any] = {"messages": [{"n": 1}], "custom": {"a": [1]}, "artifacts": [{"name": "x", "parts": []}]}
    session = AgentSession(given, session_id="chat")
    message = {"n": 2}
    session.add_messages(message)
    message["n"] = 9
    given["messages"][0]["n"] = 9
    session.get_messages()[0]["n"] = 9
    session.get_custom()["a"].append(9)
    session.get_artifacts()[0]["parts"].append(9)
    session.get_state()["messages"].clear()
    assert session.get_state() == {
        "messages": [{"n": 1}, {"n": 2}],
        "custom": {"a": [1]},
        "artifacts": [{"name": "x", "parts": []}],
        "sessionId": "chat",
    }


def test_messages_are_added_and_replaced() -> None:
    session = session_of()
    assert session.get_messages() == []
    session.add_messages("one", "two")
    session.add_messages("three")
    assert session.get_messages() == ["one", "two", "three"]
    session.set_messages(["four"])
    assert session.get_messages() == ["four"]
    session.set_messages([])
    assert session.get_messages() == []


def test_the_version_rises_with_every_change_and_with_no_other_call() -> None:
    session = session_of(messages=["one"], custom=1, artifacts=[])
    version = session.version
    session.get_state(), session.get_messages(), session.get_custom(), session.get_artifacts()
    session.add_messages()
    session.set_messages(["one"])
    session.update_custom(lambda _: 1)
    session.add_artifacts()
    assert session.version == version
    changes: list[Callable[[], None]] = [
        lambda: session.add_messages("two"),
        lambda: session.set_messages([]),
        lambda: session.update_custom(lambda custom: custom + 1),
        lambda: session.add_artifacts({"name": "x"}),
        lambda: session.add_artifacts({"name": "x", "parts": [1]}),
    ]
    for change in changes:
        change()
        assert session.version > version
        version = session.version


def test_custom_is_updated_by_a_function_of_a_copy_of_it() -> None:
    session = session_of()
    session.update_custom(lambda custom: {"was": custom})
    assert session.get_custom() == {"was": None}

    def spoil(custom: Any) -> Any:
        custom["was"] = "spoilt"
        raise KeyError

    with pytest.raises(KeyError):
        session.update_custom(spoil)
    assert session.get_custom() == {"was": None}


async def _later(custom: Any) -> Any:
    return custom


@pytest.mark.parametrize("change", [_later, lambda _: None, lambda _: {1, 2}, lambda _: {"a": float("nan")}])
def test_a_function_that_gives_nothing_that_can_be_kept_changes_nothing(change: Any) -> None:
    session = session_of(custom={"a": 1})
    told: list[Any] = []
    session.on_custom_changed(told.append)
    with pytest.raises(InvalidError):
        session.update_custom(change)
    assert session.get_custom() == {"a": 1}
    assert session.version == 0
    assert not told


def test_an_artifact_takes_the_place_of_the_one_with_its_name() -> None:
    session = session_of()
    session.add_artifacts({"name": "a", "n": 1}, {"n": 2}, {"name": "", "n": 3}, {"name": "", "n": 4})
    session.add_artifacts({"n": 5}, {"name": "a", "n": 6}, {"name": "", "n": 7}, {"name": "c", "n": 8})
    session.add_artifacts({"name": "c", "n": 9})
    found = [artifact["n"] for artifact in session.get_artifacts()]
    assert found == [6, 2, 3, 4, 5, 7, 9]


def test_artifacts_are_added_all_or_none() -> None:
    session = session_of(artifacts=[{"name": "a", "n": 1}])
    told: list[Any] = []
    session.on_artifact_added(told.append)
    session.on_artifact_updated(told.append)
    for bad in ("text", {"name": "b", "n": {1}}):
        with pytest.raises(InvalidError, match="artifacts"):
            session.add_artifacts({"name": "a", "n": 2}, bad)  # type: ignore[arg-type]
    assert session.get_artifacts() == [{"name": "a", "n": 1}]
    assert not told


def test_listeners_are_told_what_changed() -> None:
    session = session_of(artifacts=[{"name": "old", "n": 1}])
    told: list[Any] = []
    session.on_custom_changed(lambda custom: told.append(("custom", custom)))
    session.on_artifact_added(lambda artifact: told.append(("added", artifact["n"])))
    session.on_artifact_updated(lambda artifact: told.append(("updated", artifact["n"])))
    session.update_custom(lambda _: {"a": 1})
    session.update_custom(lambda custom: custom)
    session.add_artifacts({"name": "new", "n": 2}, {"name": "old", "n": 3}, {"name": "new", "n": 4}, {"n": 5})
    session.add_messages("said")
    assert told == [("custom", {"a": 1}), ("added", 2), ("updated", 3), ("updated", 4), ("added", 5)]


def test_what_a_listener_does_with_what_it_is_given_reaches_nobody() -> None:
    session = session_of()
    told: list[Any] = []
    session.on_custom_changed(lambda custom: custom.clear())
    session.on_custom_changed(told.append)
    session.update_custom(lambda _: {"a": 1})
    assert told == [{"a": 1}]
    assert session.get_custom() == {"a": 1}


def test_a_listener_that_raises_is_logged_and_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    session = session_of()
    told: list[Any] = []

    def fail(_: Any) -> None:
        raise RuntimeError("on purpose")

    session.on_custom_changed(fail)
    session.on_custom_changed(told.append)
    with caplog.at_level(logging.ERROR):
        session.update_custom(lambda _: 1)
    assert told == [1]
    assert session.get_custom() == 1
    assert "on purpose" in caplog.text


def test_a_listener_that_stops_itself_costs_its_neighbours_nothing() -> None:
    session = session_of()
    told: list[str] = []
    stops: dict[str, Any] = {}

    def once(name: str) -> Any:
        def listen(_: Any) -> None:
            told.append(name)
            stops[name]()
            stops[name]()

        return listen

    for name in ("a", "b", "c"):
        stops[name] = session.on_custom_changed(once(name))
    session.update_custom(lambda _: 1)
    session.update_custom(lambda _: 2)
    assert told == ["a", "b", "c"]
    stops["a"]()


def test_a_listener_that_another_one_stopped_is_told_no_more() -> None:
    session = session_of()
    told: list[Any] = []
    session.on_custom_changed(lambda _: stop())
    stop = session.on_custom_changed(told.append)
    session.update_custom(lambda _: 1)
    assert not told


def test_a_listener_that_two_registered_is_told_until_both_stop() -> None:
    session = session_of()
    told: list[Any] = []
    first = session.on_custom_changed(told.append)
    session.on_custom_changed(told.append)
    session.update_custom(lambda _: 1)
    first()
    session.update_custom(lambda _: 2)
    assert told == [1, 1, 2]


@pytest.mark.parametrize("listener", [_later, None, 5])
def test_a_listener_is_an_ordinary_function(listener: Any) -> None:
    session = session_of()
    for register in (session.on_custom_changed, session.on_artifact_added, session.on_artifact_updated):
        with pytest.raises(InvalidError, match="listener"):
            register(listener)


def test_a_state_over_the_limit_is_refused_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STATE_BYTES", 200)
    session = session_of(messages=["x"])
    changes: list[Callable[[], None]] = [
        lambda: session.add_messages("y" * 200),
        lambda: session.set_messages(["y" * 200]),
        lambda: session.update_custom(lambda _: "y" * 200),
        lambda: session.add_artifacts({"parts": "y" * 200}),
    ]
    for change in changes:
        with pytest.raises(LimitError, match="state"):
            change()
    assert session.get_state() == {"messages": ["x"], "sessionId": "chat"}
    assert session.version == 0


def test_a_session_over_a_draft_is_another_way_to_the_same_state() -> None:
    draft = Draft(PLAIN, PLAIN.encode({"messages": ["one"]}))
    session = AgentSession.over(draft, session_id="chat")
    session.add_messages("two")
    draft.messages.append("three")
    draft.state["messages"].append("four")
    session.add_messages("five")
    session.update_custom(lambda _: {"a": 1})
    session.add_artifacts({"name": "x"})
    said = ["one", "two", "three", "four", "five"]
    assert session.get_messages() == draft.messages == said
    assert session.get_state() == draft.state == {"messages": said, "custom": {"a": 1}, "artifacts": [{"name": "x"}]}
    assert session.version == draft.version


class Talk(msgspec.Struct):
    messages: list[str] = []


def test_a_session_over_a_state_with_a_type_has_its_messages_only() -> None:
    session: AgentSession[Talk] = AgentSession.over(Draft(StateCodec(Talk), None), session_id="chat")
    session.add_messages("one")
    assert session.get_messages() == ["one"]
    assert session.get_state() == Talk(["one"])
    for reach in (session.get_custom, session.get_artifacts, lambda: session.add_artifacts({})):
        with pytest.raises(InvalidError, match="type of its own"):
            reach()


async def test_sessions_of_several_tasks_have_nothing_in_common() -> None:
    async def talk(number: int) -> list[Any]:
        session = AgentSession[Any]()
        for turn in range(3):
            session.add_messages(number * 10 + turn)
            await asyncio.sleep(0)
        return session.get_messages()

    found = await asyncio.gather(*(talk(number) for number in range(3)))
    assert found == [[0, 1, 2], [10, 11, 12], [20, 21, 22]]
