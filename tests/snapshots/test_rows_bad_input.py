"""Bad input: each is one named error, as early as it can be known, and nothing is written."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError, SnapshotSettledError
from sojourn.kernel import Store
from sojourn.snapshots import Failure, Snapshot, SnapshotInput, Snapshots, Status
from tests.snapshots.conftest import add, chain, history, message, newest, records, said, state_of
from tests.snapshots.elsewhere import Start, elsewhere, saying

__all__ = ["elsewhere"]

NO_IDS = ["", " ", "\t", "a/b", "..", ".", "a\\b", "\0", "\ud800", 7]


class Chat(msgspec.Struct):
    """A type of states."""

    messages: list[str] = []
    tokens: int = 0


# == Names


@pytest.mark.row("S-5.17", "S-4.3.1")
@pytest.mark.parametrize("name", [name for name in NO_IDS if name != ""], ids=repr)
async def test_no_verb_takes_what_is_no_snapshot_id(elsewhere: Start, name: Any) -> None:
    here = await elsewhere()
    here.wire.clear()
    verbs: list[Callable[[], Any]] = [
        lambda: here.snapshots.get_snapshot(snapshot_id=name),
        lambda: here.snapshots.get_info(snapshot_id=name),
        lambda: here.snapshots.save_snapshot(name, saying("hello")),
        lambda: here.snapshots.save_snapshot(None, saying("hello", snapshot_id=name)),
        lambda: here.snapshots.save_snapshot(None, saying("hello", parent_id=name)),
        lambda: here.snapshots.abort(name),
        lambda: here.snapshots.delete(name),
        lambda: here.snapshots.fork(name, "branch"),
        lambda: here.snapshots.diff(name, "other"),
        lambda: here.snapshots.diff("other", name),
        lambda: here.snapshots.history(snapshot_id=name),
        lambda: here.snapshots.watch(name),
        lambda: here.snapshots.on_snapshot_state_change(name, print),
        lambda: here.snapshots.turn("chat", after=name),
        lambda: here.snapshots.regenerate(name),
    ]
    for verb in verbs:
        with pytest.raises(InvalidError) as caught:
            await verb()
        assert caught.value.name in {"snapshot_id", "parent_id", "after", "old_id", "new_id"}
    assert here.wire.asked == []
    assert here.wire.sent == []


@pytest.mark.row("S-5.17", "S-4.3.1")
@pytest.mark.parametrize("name", ["", " ", "\t", "\0", "\x01", "\ud800", 7], ids=repr)
async def test_no_verb_takes_what_is_no_session_id(elsewhere: Start, name: Any) -> None:
    here = await elsewhere()
    here.wire.clear()
    verbs: list[Callable[[], Any]] = [
        lambda: here.snapshots.get_snapshot(session_id=name),
        lambda: here.snapshots.get_info(session_id=name),
        lambda: here.snapshots.save_snapshot("mine", saying("hello", session_id=name)),
        lambda: here.snapshots.history(name),
        lambda: here.snapshots.tree(name),
        lambda: here.snapshots.get_session(name),
        lambda: here.snapshots.delete_session(name),
        lambda: here.snapshots.branches(name),
        lambda: here.snapshots.drop_branch(name, "branch"),
        lambda: here.snapshots.prune(name, keep=1),
        lambda: here.snapshots.turn(name),
        lambda: here.snapshots.timeline(name),
    ]
    for verb in verbs:
        with pytest.raises(InvalidError) as caught:
            await verb()
        assert caught.value.name == "session_id"
    assert here.wire.sent == []


@pytest.mark.row("S-4.3.1")
async def test_a_name_that_is_too_long_is_refused_by_its_limit(snapshots: Snapshots[Any]) -> None:
    with pytest.raises(LimitError):
        await snapshots.get_snapshot(snapshot_id="ж" * (limits.SNAPSHOT_ID_BYTES // 2 + 1))
    with pytest.raises(LimitError):
        await snapshots.get_snapshot(session_id="s" * (limits.SNAPSHOT_SESSION_BYTES + 1))
    with pytest.raises(LimitError):
        await snapshots.save_snapshot("a", saying("hello", session_id="s" * (limits.SNAPSHOT_SESSION_BYTES + 1)))
    with pytest.raises(LimitError):
        await snapshots.drop_branch("chat", "b" * (limits.SNAPSHOT_NAME_BYTES + 1))


@pytest.mark.row("S-4.3.1")
async def test_the_longest_names_that_are_allowed_work(snapshots: Snapshots[Any]) -> None:
    """Proves it together with an id that is made here, which quotes that of its session."""
    session, snapshot_id = "ж" * (limits.SNAPSHOT_SESSION_BYTES // 2), "x" * limits.SNAPSHOT_ID_BYTES
    await add(snapshots, snapshot_id, None, said("hello"), session=session)
    assert await newest(snapshots, session) == snapshot_id
    async with snapshots.turn(session) as turn:
        turn.messages.append(message("there"))
    assert len(turn.snapshot_id.encode()) <= limits.SNAPSHOT_ID_BYTES
    assert await state_of(snapshots, turn.snapshot_id) == said("hello", "there")
    await snapshots.fork(turn.snapshot_id, "b" * limits.SNAPSHOT_NAME_BYTES)


@pytest.mark.row("S-4.3.7")
async def test_an_id_of_another_session_is_taken(snapshots: Snapshots[Any]) -> None:
    """Proves that an id stands once, so that by it alone a snapshot is found."""
    await add(snapshots, "mine", None, said("hello"), session="one")
    with pytest.raises(SnapshotSettledError):
        await add(snapshots, "mine", None, said("hello"), session="two")
    assert await newest(snapshots, "two") is None
    assert await history(snapshots, "one") == ["mine"]


async def test_an_id_of_the_form_that_is_made_here_cannot_be_chosen(snapshots: Snapshots[Any]) -> None:
    async with snapshots.turn("chat"):
        pass
    with pytest.raises(InvalidError):
        await add(snapshots, "chat.0-9-0123456789ab", None, said("hello"))
    assert await snapshots.get_snapshot(snapshot_id="chat.0-1-0123456789ab") is None


# == Mutators


def giving(something: object) -> Callable[[object], object]:
    """What returns this, whatever is stored."""
    return lambda _: something


async def nothing(_: Snapshot[Any] | None) -> None:
    """A coroutine, which is no mutator."""


@pytest.mark.row("S-4.3.3")
@pytest.mark.parametrize("mutator", [nothing, giving("text"), giving({"session_id": "chat"}), giving([]), None, 7])
async def test_what_is_no_mutator_is_refused(snapshots: Snapshots[Any], store: Store, mutator: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        await snapshots.save_snapshot("mine", mutator)
    assert caught.value.name == "mutator"
    assert await records(store) == []


async def test_what_a_mutator_raises_reaches_the_caller_and_nothing_is_written(
    snapshots: Snapshots[Any], store: Store
) -> None:
    await add(snapshots, "mine", None, said("hello"))
    before = await records(store)
    with pytest.raises(ZeroDivisionError):
        await snapshots.save_snapshot("mine", lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    assert await records(store) == before


@pytest.mark.row("S-4.3.3")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"snapshot_id": "another"}, SnapshotSettledError),
        ({"session_id": "another"}, SnapshotSettledError),
        ({"parent_id": "another"}, SnapshotSettledError),
        ({"parent_id": "b"}, SnapshotSettledError),
        ({"status": "pending"}, SnapshotSettledError),
        ({"status": "failed"}, SnapshotSettledError),
        ({"status": "expired"}, InvalidError),
        ({"status": "sleeping"}, InvalidError),
        ({"status": None}, InvalidError),
        ({"finish_reason": "detached"}, InvalidError),
        ({"error": Failure("x", details={"when": print})}, InvalidError),
        ({"error": "x"}, InvalidError),
        ({"updated_at": "noon"}, InvalidError),
        ({"heartbeat_at": 7}, InvalidError),
        ({"state": said("changed")}, SnapshotSettledError),
    ],
    ids=repr,
)
async def test_a_rewrite_that_may_not_be_leaves_all_as_it_was(
    snapshots: Snapshots[Any], store: Store, changes: dict[str, Any], error: type[Exception]
) -> None:
    await chain(snapshots, "a", "b")
    before = await records(store)
    with pytest.raises(error):
        await snapshots.save_snapshot("a", lambda _: SnapshotInput(**changes))
    assert await records(store) == before


# == States


@pytest.mark.parametrize(
    "state",
    [
        {"n": float("nan")},
        {"n": float("-inf")},
        {"n": {1, 2}},
        {"n": print},
        {"n": "\ud800"},
        {7: "n"},
        {"n": b"bytes"},
        ["a list"],
        "text",
    ],
    ids=repr,
)
async def test_a_state_that_would_not_come_back_as_it_is_is_refused(
    snapshots: Snapshots[Any], store: Store, state: Any
) -> None:
    with pytest.raises(InvalidError) as caught:
        await add(snapshots, "mine", None, state)
    assert caught.value.name == "state"
    assert await records(store) == []


async def test_a_state_that_holds_itself_is_refused(snapshots: Snapshots[Any], store: Store) -> None:
    state: dict[str, Any] = {}
    state["self"] = state
    with pytest.raises(InvalidError):
        await add(snapshots, "mine", None, state)
    assert await records(store) == []


async def test_a_state_over_the_limit_is_refused_by_its_size(
    snapshots: Snapshots[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STATE_BYTES", 1_000)
    await add(snapshots, "a", None, {"messages": ["x" * 900]})
    with pytest.raises(LimitError) as caught:
        await add(snapshots, "b", "a", {"messages": ["x" * 900, "y" * 100]})
    assert (caught.value.name, caught.value.limit, caught.value.unit) == ("state", 1_000, "bytes")
    assert caught.value.found > 1_000
    with pytest.raises(LimitError):
        async with snapshots.turn("chat") as turn:
            turn.messages.append("y" * 100)
    failed, before = [info async for info in snapshots.history("chat")]
    assert (failed.status, before.snapshot_id) == (Status.FAILED, "a")


async def test_a_state_of_a_type_is_checked(store: Store) -> None:
    typed = Snapshots(store, Chat)
    with pytest.raises(InvalidError):
        await typed.save_snapshot("a", lambda _: SnapshotInput(session_id="chat", state=Chat(tokens="many")))  # type: ignore[arg-type]
    await typed.save_snapshot("a", lambda _: SnapshotInput(session_id="chat", state=Chat(["hello"], 3)))
    found = await typed.get_snapshot(snapshot_id="a")
    assert found is not None
    assert found.state == Chat(["hello"], 3)


# == Settings and choices


@pytest.mark.row("S-4.3.14")
@pytest.mark.parametrize(
    "settings",
    [
        {"tenant": ""},
        {"tenant": " "},
        {"tenant": "a/b"},
        {"tenant": ".."},
        {"tenant": 7},
        {"lease": timedelta(0)},
        {"lease": timedelta(seconds=-1)},
        {"state": print},
    ],
    ids=repr,
)
async def test_settings_that_cannot_be_are_refused_when_they_are_given(store: Store, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Snapshots(store, **settings)


@pytest.mark.row("S-4.3.14")
@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"keep": 0},
        {"keep": -1},
        {"keep": "3"},
        {"keep": 1.5},
        {"keep": True},
        {"older_than": timedelta(seconds=-1)},
        {"older_than": 5},
        {"status": []},
        {"status": ["sleeping"]},
        {"status": 5},
        {"status": "completed"},
    ],
    ids=repr,
)
async def test_a_prune_without_a_rule_or_with_one_that_cannot_be_is_refused(
    snapshots: Snapshots[Any], rules: dict[str, Any]
) -> None:
    await chain(snapshots, "a", "b")
    with pytest.raises(InvalidError):
        await snapshots.prune("chat", **rules)
    assert await history(snapshots) == ["b", "a"]


@pytest.mark.row("S-4.3.14")
async def test_limits_and_cursors_that_cannot_be_are_refused(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    for limit in (0, -1):
        with pytest.raises(InvalidError):
            await snapshots.history("chat", limit=limit)
        with pytest.raises(InvalidError):
            await snapshots.sessions(limit=limit)
    with pytest.raises(LimitError):
        await snapshots.history("chat", limit=limits.PAGE_MAX + 1)
    sessions = await snapshots.sessions(limit=1)
    for cursor in ("nonsense", "", sessions.next or "x"):
        with pytest.raises(InvalidError):
            await snapshots.history("chat", after=cursor)
    with pytest.raises(InvalidError):
        await snapshots.history("chat", snapshot_id="a")
    with pytest.raises(InvalidError):
        await snapshots.history()


async def test_a_policy_is_one_of_the_three(snapshots: Snapshots[Any], store: Store) -> None:
    policy: Any = "wait"
    with pytest.raises(InvalidError) as caught:
        await snapshots.save_snapshot("a", saying("hello"), expect_leaf="b", if_moved=policy)
    assert caught.value.name == "if_moved"
    with pytest.raises(InvalidError) as caught:
        await snapshots.turn("chat", if_busy=policy).__aenter__()
    assert caught.value.name == "if_busy"
    assert await records(store) == []


@pytest.mark.parametrize("wait", ["soon", None, [1]], ids=repr)
async def test_a_wait_is_a_time(snapshots: Snapshots[Any], store: Store, wait: Any) -> None:
    for taking in (snapshots.turn, snapshots.regenerate):
        with pytest.raises(InvalidError) as caught:
            await taking("chat", wait=wait).__aenter__()
        assert caught.value.name == "wait"
    assert await records(store) == []


@pytest.mark.parametrize("leaf", [5, b"a", ["a"], False], ids=repr)
async def test_the_leaf_expected_is_an_id(snapshots: Snapshots[Any], leaf: Any) -> None:
    await chain(snapshots, "a")
    with pytest.raises(InvalidError) as caught:
        await snapshots.save_snapshot("b", saying("hello"), expect_leaf=leaf)
    assert caught.value.name == "expect_leaf"
    assert await newest(snapshots) == "a"


# == What is not shown


class Strict(pydantic.BaseModel):
    """A type of states that Pydantic checks."""

    model_config = pydantic.ConfigDict(extra="forbid")
    messages: list[int] = []
    tokens: int = 0


SECRET = "hunter2"  # noqa: S105  what must not be shown


@pytest.mark.parametrize("kind", [Chat, Strict], ids=["msgspec", "pydantic"])
@pytest.mark.parametrize(
    "state", [{"messages": [{"text": SECRET}]}, {"messages": [], "tokens": SECRET}], ids=["in a message", "in a field"]
)
async def test_a_state_that_is_not_of_its_type_is_not_shown(
    snapshots: Snapshots[Any], store: Store, kind: type[Any], state: dict[str, Any]
) -> None:
    """Proves it of a save, of a turn, and of what was stored without the type."""
    typed: Snapshots[Any] = Snapshots(store, kind)
    wrong = kind()
    for name, value in state.items():
        setattr(wrong, name, value)
    await snapshots.save_snapshot("plain", saying("hello", session_id="plain", state=state))

    async def save() -> None:
        await typed.save_snapshot("a", saying("hello", state=wrong))

    async def draft() -> None:
        async with typed.turn("chat") as turn:
            turn.state = wrong

    async def append() -> None:
        async with typed.turn("chat", if_busy="branch") as turn:
            turn.messages.append({"text": SECRET})
            turn.state  # noqa: B018  it is decoded here

    async def read() -> None:
        await typed.get_snapshot(snapshot_id="plain")

    async def go_on() -> None:
        async with typed.turn("plain") as turn:
            turn.state  # noqa: B018  it is decoded here

    for verb in (save, draft, append, read, go_on):
        with pytest.raises((InvalidError, CorruptError)) as caught:
            await verb()
        assert SECRET not in f"{caught.value} {caught.value!r}", verb.__name__
    failures = [node.info.error for node in (await typed.tree("chat")).nodes.values()]
    assert SECRET not in repr(failures), "nor is it stored with the turn that failed of it"
