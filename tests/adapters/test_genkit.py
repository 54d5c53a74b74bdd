"""Genkit's agents on a store of sojourn. `make test-upstream` runs Genkit's own tests on the same."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from genkit import GenkitError, Message, Part, RuntimeErrorReason
from genkit.exp import (
    AgentFinishReason,
    AgentInput,
    AgentResult,
    Artifact,
    Genkit,
    SessionRunner,
    SessionSnapshot,
    SessionState,
    SnapshotStatus,
    SnapshotStatusStream,
    SnapshotSubscriber,
    TurnContext,
    TurnResult,
)

import sojourn
from sojourn import limits
from sojourn.adapters.genkit import SojournSessionStore
from sojourn.engines.memory import MemoryEngine
from sojourn.kernel import Store
from sojourn.snapshots import SnapshotInput
from sojourn.testing import FaultyEngine, ManualClock

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)


def says(*texts: str) -> SessionState:
    return SessionState(
        session_id="chat", messages=[Message(role="user", content=[Part.from_text(text)]) for text in texts]
    )


def row(snapshot_id: str = "one", *, at: int = 0, **given: Any) -> SessionSnapshot:
    """Return a row of the session `chat`, made so many seconds after noon."""
    created_at = (NOON + timedelta(seconds=at)).isoformat()
    return SessionSnapshot(**{"snapshot_id": snapshot_id, "created_at": created_at, "state": says("hi"), **given})


async def save(agents: SojournSessionStore, wanted: SessionSnapshot) -> SessionSnapshot:
    saved = await agents.save_snapshot(wanted.snapshot_id, lambda _: wanted)
    assert saved is not None
    return saved


async def load(agents: SojournSessionStore, snapshot_id: str) -> SessionSnapshot:
    found = await agents.get_snapshot(snapshot_id=snapshot_id)
    assert found is not None
    return found


def changed(**values: Any) -> Callable[[SessionSnapshot | None], SessionSnapshot | None]:
    """Return a mutator that changes these fields of a row that is there."""
    return lambda found: None if found is None else found.model_copy(update=values)


@pytest.fixture
def agents(store: Store) -> SojournSessionStore:
    return SojournSessionStore(store)


class UnwillingError(Exception):
    """What a mutator of a test raises."""


@pytest.mark.row("S-4.1.1", "S-4.2.16")
async def test_a_row_comes_back_as_it_was_given(agents: SojournSessionStore) -> None:
    given = SessionSnapshot.model_validate(
        {
            "snapshotId": "one",
            "sessionId": "chat",
            "parentId": "never stored",
            "createdAt": "2026-06-18T14:00:00.5+02:00",
            "updatedAt": "2026-06-18T12:00:01Z",
            "heartbeatAt": "2026-06-18T12:00:02.000003+00:00",
            "status": "failed",
            "finishReason": "failed",
            "error": {"status": "INTERNAL", "message": "no luck", "details": {"tries": [1, None]}},
            "state": {
                "sessionId": "chat",
                "messages": [{"role": "user", "content": [{"text": "né\u2028☃"}], "metadata": {"seen": None}}],
                "custom": {"row": None, "deep": [{"a": {"b": {"c": [[]]}}}]},
                "artifacts": [{"name": "plan", "parts": [{"text": "1"}]}, {"parts": []}],
            },
        }
    )
    assert await save(agents, given) == given
    assert await load(agents, "one") == given
    assert await agents.get_snapshot(session_id="chat") == given


@pytest.mark.parametrize("created_at", ["2026-06-18T12:00:00+00:00", "2026-06-18T12:00:00Z"])
async def test_a_row_without_state_comes_back_without(agents: SojournSessionStore, created_at: str) -> None:
    given = row(state=None, session_id="chat", created_at=created_at, status=SnapshotStatus.PENDING)
    await save(agents, given)
    assert await load(agents, "one") == given
    await save(agents, row("two", created_at=created_at, state=SessionState(), session_id="chat"))
    assert (await load(agents, "two")).state == SessionState()


async def test_what_an_agent_stores_is_a_snapshot_like_any_other(agents: SojournSessionStore) -> None:
    await save(agents, row())
    snapshot = await agents.snapshots.get_snapshot(session_id="chat")
    assert snapshot is not None
    assert snapshot.created_at == NOON
    assert snapshot.state == {
        "sessionId": "chat",
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    }
    async with agents.snapshots.turn("chat") as turn:
        turn.messages.append({"role": "model", "content": [{"text": "ho"}]})
    found = await load(agents, turn.snapshot_id)
    assert found.status is SnapshotStatus.COMPLETED
    assert found.parent_id == "one"
    assert found.state is not None
    assert [message.text for message in found.state.messages or ()] == ["hi", "ho"]


@pytest.mark.parametrize("state", [None, says("hi")])
async def test_a_turn_behind_a_row_has_its_own_times(agents: SojournSessionStore, state: SessionState | None) -> None:
    given = row(created_at="2001-01-01T00:00:00Z", updated_at="2001-01-01T00:00:01Z", session_id="chat", state=state)
    await save(agents, given)
    async with agents.snapshots.turn("chat") as turn:
        turn.messages.append({"role": "model", "content": [{"text": "ho"}]})
    info = await agents.snapshots.get_info(snapshot_id=turn.snapshot_id)
    assert info is not None
    assert info.updated_at is not None
    found = await load(agents, turn.snapshot_id)
    assert (found.created_at, found.updated_at) == (info.created_at.isoformat(), info.updated_at.isoformat())
    assert found.state is not None
    assert [message.text for message in found.state.messages or ()][-1] == "ho"


@pytest.mark.row("S-4.2.17")
async def test_a_turn_costs_what_it_adds(agents: SojournSessionStore) -> None:
    said = ["x" * 1_000]
    await save(agents, row("0", state=says(*said)))
    for turn in range(1, 10):
        said.append("x" * 1_000)
        await save(agents, row(str(turn), at=turn, parent_id=str(turn - 1), state=says(*said)))
    session = await agents.snapshots.get_session("chat")
    assert session is not None
    assert session.stored_bytes < 2 * 10 * 1_000


@pytest.mark.row("S-4.3.11")
async def test_a_sign_of_life_stores_no_state(agents: SojournSessionStore) -> None:
    await save(agents, row(status=SnapshotStatus.PENDING, heartbeat_at=NOON.isoformat(), state=says("x" * 1_000)))
    before = await agents.snapshots.get_session("chat")
    beats = [(NOON + timedelta(seconds=beat)).isoformat() for beat in range(1, 5)]
    for beat in beats:
        await agents.save_snapshot("one", changed(heartbeat_at=beat))
    assert (await load(agents, "one")).heartbeat_at == beats[-1]
    assert await agents.snapshots.get_session("chat") == before


@pytest.mark.row("S-4.2.16")
async def test_times_of_the_first_save_stand(agents: SojournSessionStore, clock: ManualClock) -> None:
    await save(agents, row(created_at="2026-06-18T12:00:00Z", status=SnapshotStatus.PENDING))
    again = await agents.save_snapshot("one", changed(created_at="2027-01-01T00:00:00Z", state=says("hi", "ho")))
    assert again == await load(agents, "one")
    assert again is not None
    assert again.created_at == "2026-06-18T12:00:00Z"

    def moves(found: SessionSnapshot | None) -> SessionSnapshot | None:
        assert found is not None
        found.created_at = "2027-01-01T00:00:00Z"
        return found

    assert await agents.save_snapshot("one", moves) == again == await load(agents, "one")
    unsaid = await save(agents, row("two", created_at=""))
    assert unsaid == await load(agents, "two")
    assert abs(datetime.fromisoformat(unsaid.created_at).timestamp() * 1_000 - clock.now()) < 1_000


async def test_what_a_row_does_not_say_is_filled_in_or_stays(agents: SojournSessionStore) -> None:
    await save(agents, row("root"))
    saved = await save(agents, row("one", at=1, parent_id="root"))
    assert (saved.session_id, saved.status) == ("chat", SnapshotStatus.COMPLETED)
    bare = SessionSnapshot(snapshot_id="other", created_at="", status=SnapshotStatus.COMPLETED)
    again = await agents.save_snapshot("one", lambda _: bare)
    assert again == saved == await load(agents, "one")
    silent = await save(agents, row("three", state=None, session_id="chat"))
    assert await agents.save_snapshot("three", changed(session_id=None)) == silent == await load(agents, "three")


@pytest.mark.row("S-4.2.12", "S-4.3.7")
async def test_a_row_belongs_to_a_session(agents: SojournSessionStore) -> None:
    for nowhere in (row(state=None), row(state=SessionState()), row(session_id=""), row(session_id="  ")):
        with pytest.raises(GenkitError, match="sessionId") as caught:
            await save(agents, nowhere)
        assert caught.value.status == "INVALID_ARGUMENT"
        assert caught.value.reason is RuntimeErrorReason.SESSION_ID_REQUIRED
    assert await agents.get_snapshot(snapshot_id="one") is None


@pytest.mark.row("S-4.3.1")
@pytest.mark.parametrize(
    ("ids", "text", "reason"),
    [
        ({}, "exactly one", RuntimeErrorReason.INVALID_INPUT),
        ({"snapshot_id": "a", "session_id": "b"}, "exactly one", RuntimeErrorReason.INVALID_INPUT),
        ({"snapshot_id": " "}, "snapshot_id must not be empty", RuntimeErrorReason.INVALID_SNAPSHOT_ID),
        ({"session_id": ""}, "session_id must not be empty", RuntimeErrorReason.SESSION_ID_REQUIRED),
        ({"snapshot_id": "../escape"}, "snapshot_id", RuntimeErrorReason.INVALID_SNAPSHOT_ID),
        ({"session_id": "\0"}, "session_id", RuntimeErrorReason.INVALID_SESSION_ID),
        ({"session_id": "x" * 1_000}, "session_id", RuntimeErrorReason.INVALID_SESSION_ID),
    ],
)
async def test_ids_are_refused_with_the_reasons_of_genkit(
    agents: SojournSessionStore, ids: dict[str, Any], text: str, reason: RuntimeErrorReason
) -> None:
    with pytest.raises(GenkitError, match=text) as caught:
        await agents.get_snapshot(**ids)
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", reason)
    assert reason.value not in caught.value.original_message


@pytest.mark.row("S-5.17")
@pytest.mark.parametrize("snapshot_id", ["", " ", "../escape", "a/b", "a\\b", ".", ".."])
async def test_a_row_is_not_saved_under_what_is_no_id(agents: SojournSessionStore, snapshot_id: str) -> None:
    with pytest.raises(GenkitError) as caught:
        await agents.save_snapshot(snapshot_id, lambda _: row())
    assert caught.value.reason is RuntimeErrorReason.INVALID_SNAPSHOT_ID
    with pytest.raises(GenkitError) as caught:
        await anext(aiter(await agents.on_snapshot_status_change(snapshot_id)))
    assert caught.value.reason is RuntimeErrorReason.INVALID_SNAPSHOT_ID


@pytest.mark.row("S-4.3.15")
async def test_the_newest_leaf_is_the_latest_by_instant(agents: SojournSessionStore) -> None:
    await save(agents, row("root"))
    await save(agents, row("late", parent_id="root", created_at="2026-06-18T09:30:00-04:00"))
    await save(agents, row("early", parent_id="root", created_at="2026-06-18T13:00:00Z"))
    found = await agents.get_snapshot(session_id="chat")
    assert found is not None
    assert found.snapshot_id == "late"


@pytest.mark.row("S-4.1.8")
async def test_a_session_with_branches_is_refused_where_that_is_asked_for(store: Store) -> None:
    agents = SojournSessionStore(store, reject_ambiguous_session=True)
    await save(agents, row("root"))
    await save(agents, row("a", parent_id="root", at=1))
    found = await agents.get_snapshot(session_id="chat")
    assert found is not None
    await save(agents, row("b", parent_id="root", at=2))
    with pytest.raises(GenkitError, match=r"branching snapshots \(2 leaves\)") as caught:
        await agents.get_snapshot(session_id="chat")
    assert caught.value.status == "FAILED_PRECONDITION"
    assert (await load(agents, "a")).snapshot_id == "a"


@pytest.mark.row("S-4.3.3", "S-4.3.16")
@pytest.mark.parametrize(
    "change",
    [
        {"status": SnapshotStatus.COMPLETED},
        {"session_id": "another"},
        {"parent_id": "another"},
        {"state": says("what others build on")},
    ],
)
async def test_what_is_settled_stays(agents: SojournSessionStore, change: dict[str, Any]) -> None:
    before = await save(agents, row("one", status=SnapshotStatus.ABORTED, session_id="chat"))
    await save(agents, row("two", parent_id="one", at=1))
    with pytest.raises(GenkitError) as caught:
        await agents.save_snapshot("one", changed(**change))
    assert caught.value.status == "FAILED_PRECONDITION"
    assert await load(agents, "one") == before


@pytest.mark.row("S-4.3.16")
async def test_a_parent_is_another_row_of_the_session(agents: SojournSessionStore) -> None:
    await save(agents, row("foreign", state=None, session_id="another"))
    for parent_id in ("one", "foreign"):
        with pytest.raises(GenkitError) as caught:
            await save(agents, row("one", parent_id=parent_id))
        assert caught.value.status == "FAILED_PRECONDITION"
    assert await agents.get_snapshot(snapshot_id="one") is None


@pytest.mark.row("S-4.2.5", "S-4.3.3")
async def test_a_mutator_that_does_not_return_a_row_writes_nothing(agents: SojournSessionStore) -> None:
    async def waits(_: SessionSnapshot | None) -> SessionSnapshot | None:
        return row()

    def refuses(_: SessionSnapshot | None) -> SessionSnapshot | None:
        raise UnwillingError

    for wrong in (waits, lambda _: "a row"):
        with pytest.raises(GenkitError) as caught:
            await agents.save_snapshot("one", wrong)  # type: ignore[arg-type]  # what no type checker lets pass
        assert caught.value.status == "INVALID_ARGUMENT"
    with pytest.raises(UnwillingError):
        await agents.save_snapshot("one", refuses)
    assert await agents.save_snapshot("one", lambda found: found) is None
    assert await agents.get_snapshot(snapshot_id="one") is None


@pytest.mark.parametrize(
    "unstorable",
    [
        {"state": SessionState(session_id="chat", custom="half of \ud83d")},
        {"created_at": "yesterday"},
        {"heartbeat_at": "2026-06-18T12:00:00"},
        {"status": SnapshotStatus.EXPIRED},
        {"status": SnapshotStatus.ABORTING},
        {"finish_reason": AgentFinishReason.DETACHED},
    ],
)
async def test_what_cannot_be_stored_is_refused(agents: SojournSessionStore, unstorable: dict[str, Any]) -> None:
    with pytest.raises(GenkitError) as caught:
        await save(agents, row(**unstorable))
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", RuntimeErrorReason.INVALID_INPUT)
    assert await agents.get_snapshot(snapshot_id="one") is None


@pytest.mark.row("S-4.1.3")
async def test_what_comes_out_and_what_went_in_are_the_callers_own(agents: SojournSessionStore) -> None:
    given = row(status=SnapshotStatus.PENDING)
    await save(agents, given)
    found = await load(agents, "one")

    def spoils(copy: SessionSnapshot | None) -> SessionSnapshot | None:
        for mine in (given, found, copy):
            assert mine is not None
            assert mine.state is not None
            assert mine.state.messages is not None
            mine.state.messages.clear()
            mine.created_at = mine.snapshot_id = "spoilt"
        return None

    assert await agents.save_snapshot("one", spoils) is None
    assert await load(agents, "one") == row(status=SnapshotStatus.PENDING, session_id="chat")


@pytest.mark.row("S-5.1")
async def test_of_many_who_change_a_row_at_once_none_is_lost(agents: SojournSessionStore, clock: ManualClock) -> None:
    await save(agents, row(state=SessionState(session_id="chat", custom=0)))

    def count(found: SessionSnapshot | None) -> SessionSnapshot | None:
        assert found is not None
        assert found.state is not None
        found.state.custom = (found.state.custom or 0) + 1
        return found

    async with clock.rushing():
        await asyncio.gather(*(agents.save_snapshot("one", count) for _ in range(12)))
    state = (await load(agents, "one")).state
    assert state is not None
    assert state.custom == 12


@pytest.mark.row("S-4.3.5", "S-5.13")
async def test_whoever_follows_a_row_hears_of_each_status_until_the_last(agents: SojournSessionStore) -> None:
    assert isinstance(agents, SnapshotSubscriber)
    statuses = await agents.on_snapshot_status_change("one")
    assert isinstance(statuses, SnapshotStatusStream)
    first = asyncio.ensure_future(anext(aiter(statuses)))
    await asyncio.sleep(0)
    await save(agents, row(status=SnapshotStatus.PENDING))
    assert await first is SnapshotStatus.PENDING
    await agents.save_snapshot("one", changed(heartbeat_at=NOON.isoformat()))
    await agents.save_snapshot("one", changed(status=SnapshotStatus.ABORTED))
    assert [status async for status in statuses] == [SnapshotStatus.ABORTED]
    again = await agents.on_snapshot_status_change("one")
    assert [status async for status in again] == [SnapshotStatus.ABORTED]


@pytest.mark.row("S-4.1.18")
async def test_whoever_stops_following_hears_no_more(agents: SojournSessionStore) -> None:
    await save(agents, row(status=SnapshotStatus.PENDING))
    statuses = await agents.on_snapshot_status_change("one")
    assert await anext(aiter(statuses)) is SnapshotStatus.PENDING
    await statuses.aclose()
    await agents.save_snapshot("one", changed(status=SnapshotStatus.ABORTED))
    assert [status async for status in statuses] == []


async def test_following_ends_without_a_word_when_the_store_is_closed(
    agents: SojournSessionStore, store: Store
) -> None:
    await save(agents, row(status=SnapshotStatus.PENDING))
    statuses = await agents.on_snapshot_status_change("one")
    assert await anext(aiter(statuses)) is SnapshotStatus.PENDING
    rest = asyncio.ensure_future(anext(aiter(statuses), None))
    await asyncio.sleep(0)
    await store.close()
    assert await rest is None


@pytest.mark.row("S-4.3.13")
async def test_another_process_sees_a_row_and_its_end(shared_url: str) -> None:
    async with sojourn.open(shared_url) as here, sojourn.open(shared_url) as there:
        worker, window = SojournSessionStore(here), SojournSessionStore(there)
        await save(worker, row(status=SnapshotStatus.PENDING))
        statuses = await window.on_snapshot_status_change("one")
        assert await anext(aiter(statuses)) is SnapshotStatus.PENDING
        await worker.save_snapshot("one", changed(status=SnapshotStatus.COMPLETED))
        assert [status async for status in statuses] == [SnapshotStatus.COMPLETED]
        assert await load(window, "one") == await load(worker, "one")


@pytest.mark.row("S-4.1.9")
async def test_a_tenant_sees_its_own_rows_only(store: Store) -> None:
    agents = SojournSessionStore(store, tenant=lambda context: str(context["auth"]["uid"]))
    alice, bob = {"auth": {"uid": "alice"}}, {"auth": {"uid": "bob"}}
    await agents.save_snapshot("one", lambda _: row("one", status=SnapshotStatus.PENDING), context=alice)
    assert await agents.get_snapshot(snapshot_id="one", context=bob) is None
    assert await agents.get_snapshot(session_id="chat", context=bob) is None
    await agents.save_snapshot("one", lambda found: found or row("one", state=says("bob")), context=bob)
    hers = await agents.get_snapshot(session_id="chat", context=alice)
    assert hers == row("one", status=SnapshotStatus.PENDING, session_id="chat")
    statuses = await agents.on_snapshot_status_change("one", context=bob)
    assert [status async for status in statuses] == [SnapshotStatus.COMPLETED]


async def test_a_worker_that_was_given_up_does_not_complete_its_row(
    agents: SojournSessionStore, clock: ManualClock
) -> None:
    now = datetime.fromtimestamp(clock.now() / 1_000, UTC).isoformat()
    await save(agents, row(status=SnapshotStatus.PENDING, created_at=now, heartbeat_at=now))
    clock.advance(limits.SNAPSHOT_STALE + timedelta(seconds=1))
    assert (await load(agents, "one")).status is SnapshotStatus.EXPIRED
    with pytest.raises(GenkitError) as caught:
        await agents.save_snapshot("one", changed(status=SnapshotStatus.COMPLETED))
    assert caught.value.status == "FAILED_PRECONDITION"
    assert (await load(agents, "one")).status is SnapshotStatus.EXPIRED


async def test_what_is_no_row_of_genkit_is_said_to_be_lost(agents: SojournSessionStore) -> None:
    for odd in ({"sheep": 1}, {"row": ["what is not of this kind"]}, {"messages": [{"role": "secret"}]}):
        state: dict[str, Any] = dict(odd)
        await agents.snapshots.save_snapshot(None, lambda _: SnapshotInput(session_id="chat", state=state))  # noqa: B023
        with pytest.raises(GenkitError, match="no row of Genkit") as caught:
            await agents.get_snapshot(session_id="chat")
        assert caught.value.status == "DATA_LOSS"
        assert "secret" not in str(caught.value)


async def test_a_store_that_is_away_is_told_from_an_answer_that_is_lost(clock: ManualClock) -> None:
    away = FaultyEngine(MemoryEngine(clock=clock), seed=1, refuse=1)
    mute = FaultyEngine(MemoryEngine(clock=clock), seed=1, drop=1)
    for engine, status in ((away, "UNAVAILABLE"), (mute, "UNKNOWN")):
        async with Store(engine, clock=clock) as store, clock.rushing():
            with pytest.raises(GenkitError) as caught:
                await save(SojournSessionStore(store), row())
            assert caught.value.status == status
            assert isinstance(caught.value.__cause__, sojourn.SojournError)


async def test_a_store_that_is_not_open_refuses() -> None:
    agents = SojournSessionStore(sojourn.open("memory:"))
    with pytest.raises(GenkitError) as caught:
        await agents.get_snapshot(session_id="chat")
    assert caught.value.status == "FAILED_PRECONDITION"
    with pytest.raises(GenkitError) as caught:
        await save(agents, row())
    assert caught.value.status == "FAILED_PRECONDITION"


@pytest.mark.row("S-4.2.20")
async def test_an_agent_talks_detaches_is_aborted_and_resumes(agents: SojournSessionStore) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def answer(runner: SessionRunner, _: Any) -> AgentResult:
        async def turn(asked: AgentInput, _: TurnContext) -> TurnResult:
            if asked.message is not None and asked.message.text == "slow":
                begun.set()
                await never.wait()
            await runner.add_messages([Message(role="model", content=[Part.from_text("yes")])])
            await runner.add_artifacts([Artifact(name="plan", parts=[Part.from_text("done")])])
            return TurnResult(finish_reason=AgentFinishReason.STOP)

        await runner.run(turn)
        return await runner.result()

    agent = Genkit().define_custom_agent(name="yes", fn=answer, store=agents)
    chat = agent.chat()
    first = await chat.send("hello")
    second = await chat.send("again")
    assert second.snapshot_id is not None
    found = await load(agents, second.snapshot_id)
    assert found.parent_id == first.snapshot_id
    assert found.state is not None
    assert [message.text for message in found.state.messages or ()] == ["hello", "yes", "again", "yes"]
    task = await chat.detach("slow")
    await begun.wait()
    assert await task.abort() is SnapshotStatus.PENDING
    assert (await load(agents, task.snapshot_id)).status is SnapshotStatus.ABORTED
    third = await agent.chat(session_id=chat.session_id).send("still there?")
    assert third.snapshot_id is not None
    assert (await load(agents, third.snapshot_id)).parent_id == second.snapshot_id
    never.set()
