"""What type checkers say of snapshots: right uses have exact types, wrong ones are errors.

mypy and pyright read this file; nothing runs it. A line marked as an error must be one, or the mark itself is.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncGenerator, Callable, Mapping, MutableSequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypedDict, assert_type

import msgspec
import pydantic

import sojourn
from sojourn.kernel import Attempt
from sojourn.snapshots import (
    NO_LEAF,
    AgentSession,
    Detached,
    Difference,
    Failure,
    FinishReason,
    Listing,
    Node,
    Page,
    Pruned,
    SessionInfo,
    SessionStore,
    Snapshot,
    SnapshotInfo,
    SnapshotInput,
    Snapshots,
    Status,
    Timeline,
    Tree,
    Turn,
    TurnContext,
)

store = sojourn.open("memory:")


class Chat(msgspec.Struct):
    messages: list[str] = []
    tokens: int = 0


@dataclass
class Plan:
    steps: tuple[str, ...] = ()


class Draft(pydantic.BaseModel):
    text: str = ""


class Notes(TypedDict):
    messages: list[str]


def tenant_of(context: Mapping[str, Any]) -> str:
    return str(context["tenant"])


def tenant_by_number(context: int) -> str:
    return str(context)


plain = Snapshots(store)
chats = Snapshots(store, Chat)
assert_type(plain, Snapshots[dict[str, Any]])
assert_type(chats, Snapshots[Chat])
assert_type(Snapshots(store, state=Plan), Snapshots[Plan])
assert_type(Snapshots(store, Draft), Snapshots[Draft])
assert_type(Snapshots(store, Notes), Snapshots[Notes])
assert_type(
    Snapshots(store, Chat, reject_branching=True, tenant=tenant_of, lease=timedelta(seconds=10), holder="worker 7"),
    Snapshots[Chat],
)
assert_type(Snapshots(store, tenant="acme"), Snapshots[dict[str, Any]])

Snapshots(store, Chat())  # type: ignore[call-overload]
Snapshots(store, "Chat")  # type: ignore[call-overload]
Snapshots(store, Chat, "acme")  # type: ignore[call-overload]
Snapshots(store, lease=30)  # type: ignore[call-overload]
Snapshots(store, tenant=7)  # type: ignore[call-overload]
Snapshots(store, tenant=tenant_by_number)  # type: ignore[arg-type]
Snapshots(store, rejectbranching=True)  # type: ignore[call-overload]
typed_wrongly: Snapshots[Plan] = Snapshots(store, Chat)  # type: ignore[arg-type]


async def looked_at(tx: Attempt) -> None:
    assert_type(await plain.get_snapshot(session_id="chat-1"), Snapshot[dict[str, Any]] | None)
    found = await chats.get_snapshot(snapshot_id="a", context={"tenant": "acme"}, reject_branching=True, tx=tx)
    assert_type(found, Snapshot[Chat] | None)
    assert found is not None
    assert_type(found.state, Chat | None)
    assert_type(found.status, Status)
    assert_type(found.finish_reason, FinishReason | None)
    assert_type(found.error, Failure | None)
    assert_type(await chats.get_info(session_id="chat-1", tx=tx), SnapshotInfo | None)
    assert_type(chats.history("chat-1"), Listing[SnapshotInfo])
    async for info in chats.history(snapshot_id="a", limit=5):
        assert_type(info, SnapshotInfo)
    assert_type(await chats.sessions(limit=5), Page[SessionInfo])
    assert_type(await chats.get_session("chat-1"), SessionInfo | None)
    known = await chats.get_info(snapshot_id="a")
    assert known is not None
    known.state.tokens += 1  # type: ignore[attr-defined]
    tree = await chats.tree("chat-1")
    assert_type(tree, Tree)
    assert_type(tree.nodes["a"], Node)
    assert_type(tree.newest, str | None)
    assert_type(await chats.diff("a", "b"), tuple[Difference, ...])
    assert_type(await chats.branches("chat-1"), dict[str, str])
    found.status = Status.FAILED  # type: ignore[misc]
    await chats.get_snapshot("a")  # type: ignore[call-arg]
    await chats.get_snapshot(snapshot_id=1)  # type: ignore[arg-type]
    await chats.get_snapshot(snapshot_id="a", context="acme")  # type: ignore[arg-type]
    await chats.get_info(id="a")  # type: ignore[call-arg]
    chats.history("chat-1", 5)  # type: ignore[call-arg, arg-type]
    await chats.diff("a")  # type: ignore[call-arg]


def longer(now: Snapshot[Chat] | None) -> SnapshotInput[Chat]:
    before = None if now is None else now.state
    return SnapshotInput(session_id="chat-1", state=Chat([*(before or Chat()).messages, "Hello"]))


def finished(now: Snapshot[Chat] | None) -> Snapshot[Chat] | None:
    return None if now is None else msgspec.structs.replace(now, status=Status.COMPLETED)


def in_words(now: Snapshot[Chat] | None) -> SnapshotInput[Chat] | None:
    return SnapshotInput(status="failed", finish_reason="length", created_at="2026-01-01T00:00:00Z") if now else None


def begun(now: Snapshot[dict[str, Any]] | None) -> SnapshotInput[dict[str, Any]]:
    return SnapshotInput(session_id="chat-1", state={"messages": []}, parent_id=None)


def always_there(now: Snapshot[Chat]) -> SnapshotInput[Chat]:
    return SnapshotInput(state=now.state)


def of_a_plan(now: Snapshot[Chat] | None) -> SnapshotInput[Plan]:
    return SnapshotInput(session_id="chat-1", state=Plan())


def bare(now: Snapshot[Chat] | None) -> Chat:
    return Chat()


async def late(now: Snapshot[Chat] | None) -> SnapshotInput[Chat]:
    return SnapshotInput(session_id="chat-1", state=Chat())


async def saved(tx: Attempt) -> None:
    assert_type(await chats.save_snapshot("a", longer), str | None)
    assert_type(await chats.save_snapshot(None, finished, expect_leaf=NO_LEAF, if_moved="branch", tx=tx), str | None)
    assert_type(await chats.save_snapshot("a", in_words, expect_leaf="b", if_moved="queue"), str | None)
    assert_type(await plain.save_snapshot("a", begun), str | None)
    await plain.save_snapshot(
        "a", lambda now: SnapshotInput(session_id="chat-1", state={} if now is None else now.state)
    )
    assert_type(Snapshots.reserve_snapshot_id(), str)
    await chats.save_snapshot(longer)  # type: ignore[call-arg, arg-type]
    await chats.save_snapshot("a", always_there)  # type: ignore[arg-type]
    await chats.save_snapshot("a", of_a_plan)  # type: ignore[arg-type]
    await chats.save_snapshot("a", bare)  # type: ignore[arg-type]
    await chats.save_snapshot("a", late)  # type: ignore[arg-type]
    await chats.save_snapshot("a", begun)  # type: ignore[arg-type]
    await plain.save_snapshot("a", longer)  # type: ignore[arg-type]
    await chats.save_snapshot("a", longer, if_moved="wait")  # type: ignore[arg-type]
    await chats.save_snapshot("a", longer, expect_leaf=0)  # type: ignore[arg-type]
    SnapshotInput[Chat](state=Chat(), parent="a")  # type: ignore[call-arg]
    SnapshotInput[Chat](state=Plan())  # type: ignore[arg-type]


async def kept(tx: Attempt) -> None:
    assert_type(await chats.abort("a", tx=tx), Status | None)
    assert_type(await chats.drop_branch("chat-1", "plan B"), bool)
    assert_type(await chats.delete("a"), bool)
    assert_type(await chats.delete_session("chat-1"), bool)
    assert_type(
        await chats.prune("chat-1", keep=20, older_than=timedelta(days=7), status={Status.FAILED}, dry_run=True), Pruned
    )
    assert_type(await chats.expire(limit=10), int)
    await chats.fork("a", "plan B", tx=tx)
    await chats.fork("a")  # type: ignore[call-arg]
    await chats.prune("chat-1", 20)  # type: ignore[call-arg]
    await chats.prune("chat-1", older_than=7)  # type: ignore[arg-type]
    await chats.prune("chat-1", status=Status.FAILED)  # type: ignore[arg-type]
    await chats.prune("chat-1", status=["failed"])  # type: ignore[list-item]


def told(info: SnapshotInfo) -> None: ...


async def told_later(info: SnapshotInfo) -> None: ...


def told_of_a_state(snapshot: Snapshot[Chat]) -> None: ...


async def watched() -> None:
    assert_type(chats.watch("a"), AsyncGenerator[SnapshotInfo, None])
    async for info in chats.watch("a"):
        assert_type(info, SnapshotInfo)
    assert_type(chats.on_snapshot_state_change("a", told), Callable[[], None])
    assert_type(chats.on_snapshot_state_change("a", told_later), Callable[[], None])
    chats.on_snapshot_state_change("a", told_of_a_state)  # type: ignore[arg-type]
    chats.on_snapshot_state_change("a")  # type: ignore[call-arg]


async def work(turn: Turn[Chat]) -> None:
    turn.state.tokens += 1


async def plain_work(turn: Turn[dict[str, Any]]) -> None:
    turn.state["tokens"] = 1


def at_once(turn: Turn[Chat]) -> None: ...


async def turns(tx: Attempt) -> None:
    assert_type(chats.turn("chat-1"), TurnContext[Chat])
    async with chats.turn("chat-1", if_busy="queue", branch="plan B", wait=2.5) as turn:
        assert_type(turn, Turn[Chat])
        assert_type(turn.snapshot_id, str)
        assert_type(turn.session_id, str)
        assert_type(turn.parent_id, str | None)
        assert_type(turn.messages, MutableSequence[Any])
        assert_type(turn.state, Chat)
        assert_type(turn.session, AgentSession[Chat])
        assert_type(turn.has_ended, bool)
        turn.state = Chat()
        turn.state.tokens = 7
        assert_type(turn.detach(work), Detached[Chat])
        await turn.store_partial()
        assert_type(await turn.complete("stop"), SnapshotInfo | None)
        assert_type(await turn.complete(FinishReason.LENGTH, tx=tx), SnapshotInfo | None)
        assert_type(await turn.fail(Failure("no answer", status="unavailable")), SnapshotInfo | None)
        assert_type(await turn.fail(ValueError("no answer"), tx=tx), SnapshotInfo | None)
        turn.state = Plan()  # type: ignore[assignment]
        turn.state.tokens = "seven"  # type: ignore[assignment]
        turn.snapshot_id = "a"  # type: ignore[misc]
        turn.messages = []  # type: ignore[misc]
        turn.detach(plain_work)  # type: ignore[arg-type]
        turn.detach(at_once)  # type: ignore[arg-type]
        turn.detach(work(turn))  # type: ignore[arg-type]
        await turn.fail()  # type: ignore[call-arg]
        await turn.fail(7)  # type: ignore[arg-type]
        await turn.complete(tx)  # type: ignore[arg-type]
    async with plain.turn("chat-1", after="a", wait=timedelta(seconds=2)) as turned:
        assert_type(turned, Turn[dict[str, Any]])
        turned.state["title"] = "Where to sleep"
    async with chats.regenerate("a", if_busy="reject") as again:
        assert_type(again, Turn[Chat])
    with chats.turn("chat-1"):  # type: ignore[attr-defined]
        pass
    async with await chats.turn("chat-1"):  # type: ignore[misc]
        pass
    chats.turn("chat-1", "queue")  # type: ignore[call-arg]
    chats.turn("chat-1", if_busy="wait")  # type: ignore[arg-type]
    chats.turn("chat-1", wait="long")  # type: ignore[arg-type]
    chats.regenerate("a", after="b")  # type: ignore[call-arg]


async def one_session(tx: Attempt) -> None:
    chat = chats.timeline("chat-1", context={"tenant": "acme"})
    assert_type(chat, Timeline[Chat])
    assert_type(chat.session_id, str)
    assert_type(await chat.get(), Snapshot[Chat] | None)
    assert_type(await chat.get("a", tx=tx), Snapshot[Chat] | None)
    assert_type(await chat.info("a"), SnapshotInfo | None)
    assert_type(await chat.save("a", longer, expect_leaf=NO_LEAF, tx=tx), str | None)
    assert_type(await chat.delete("a", "b"), int)
    assert_type(await chat.delete_all(), bool)
    assert_type(await chat.prune(keep=20), Pruned)
    assert_type(await chat.tree(), Tree)
    assert_type(await chat.ids(before="b", limit=5), tuple[str, ...])
    async for info in chat.history():
        assert_type(info, SnapshotInfo)
    assert_type(await plain.timeline("chat-1").get(), Snapshot[dict[str, Any]] | None)
    await chat.save("a", of_a_plan)  # type: ignore[arg-type]
    await chat.save("a", late)  # type: ignore[arg-type]
    await chat.get(session_id="chat-1")  # type: ignore[call-arg]
    await chat.delete(["a", "b"])  # type: ignore[arg-type]
    await chat.ids("b")  # type: ignore[call-arg]
    chats.timeline()  # type: ignore[call-arg]


def in_a_session() -> None:
    session: AgentSession[dict[str, Any]] = AgentSession({"messages": []}, session_id="chat-1")
    assert_type(session.get_state(), dict[str, Any])
    session.add_messages("Hello", {"role": "user"})
    assert_type(session.session_id, str)
    assert_type(session.version, int)
    assert_type(session.get_messages(), list[Any])
    assert_type(session.get_artifacts(), list[Any])
    assert_type(session.on_custom_changed(print), Callable[[], None])
    session.add_artifacts("a file")  # type: ignore[arg-type]
    session.update_custom({})  # type: ignore[arg-type]


class Theirs(Protocol):
    """A store that somebody else wrote."""

    async def get_snapshot(
        self, *, snapshot_id: str | None = None, session_id: str | None = None, context: Mapping[str, Any] | None = None
    ) -> Snapshot[Chat] | None: ...

    async def save_snapshot(
        self,
        snapshot_id: str | None,
        mutator: Callable[[Snapshot[Chat] | None], SnapshotInput[Chat] | Snapshot[Chat] | None],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> str | None: ...

    def on_snapshot_state_change(
        self,
        snapshot_id: str,
        callback: Callable[[SnapshotInfo], object],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> Callable[[], None]: ...


class Halved(Protocol):
    """One that cannot be watched, nor told whose snapshots these are."""

    async def get_snapshot(
        self, *, snapshot_id: str | None = None, session_id: str | None = None
    ) -> Snapshot[Chat] | None: ...

    async def save_snapshot(self, snapshot_id: str | None, mutator: Callable[[Any], Any]) -> str | None: ...


async def of_any_store(given: SessionStore[Chat]) -> None:
    assert_type(await given.get_snapshot(session_id="chat-1"), Snapshot[Chat] | None)
    assert_type(await given.save_snapshot("a", longer), str | None)
    assert_type(given.on_snapshot_state_change("a", told), Callable[[], None])
    await given.save_snapshot("a", of_a_plan)  # type: ignore[arg-type]


async def all_of_them(theirs: Theirs, halved: Halved) -> None:
    await of_any_store(chats)
    await of_any_store(theirs)
    await of_any_store(plain)  # type: ignore[arg-type]
    await of_any_store(halved)  # type: ignore[arg-type]
    await of_any_store(chats.timeline("chat-1"))  # type: ignore[arg-type]
