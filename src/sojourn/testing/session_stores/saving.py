"""What `save_snapshot` stores, under which id, and what it refuses; a refusal writes nothing."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from sojourn.errors import InvalidError, SnapshotSettledError
from sojourn.snapshots.model import Snapshot, SnapshotInput, Status
from sojourn.testing.session_stores.trial import State, Trial, TrialCase, at, rewritten

__all__ = ["Refusals", "Saving"]

_TERMINAL = (Status.COMPLETED, Status.FAILED, Status.ABORTED)


def _kind(value: object) -> str:
    return type(value).__name__


class Saving(TrialCase):
    """What is written, and what the mutator sees."""

    @pytest.mark.row("S-4.2.1")
    async def test_without_an_argument_the_id_is_that_of_the_input(self, trial: Trial) -> None:
        """An argument comes before it."""
        given = SnapshotInput[State](snapshot_id="inside", session_id="session", state={})
        assert await trial.store.save_snapshot(None, lambda _: given) == "inside"
        assert (await trial.got("inside")).state == {}
        given = msgspec.structs.replace(given, snapshot_id="ignored")
        assert await trial.store.save_snapshot("outside", lambda _: given) == "outside"
        assert (await trial.got("outside")).state == {}
        assert await trial.get("ignored") is None

    @pytest.mark.row("S-4.2.1")
    async def test_without_any_id_a_uuid_is_made(self, trial: Trial) -> None:
        """It is a new one each time, and the snapshot is read by it."""
        made = [await trial.save(state={"custom": n}) for n in range(2)]
        assert [uuid.UUID(each).version for each in made] == [4, 4]
        assert [(await trial.got(each)).state for each in made] == [{"custom": 0}, {"custom": 1}]

    @pytest.mark.row("S-4.2.4")
    async def test_a_pending_snapshot_is_rewritten_from_what_it_was(self, trial: Trial) -> None:
        """The mutator sees what is stored; its status, state and instant of change are then those of the input."""
        await trial.save("turn", created_at=at(0), status="pending", state={"messages": ["question"]})
        seen: list[Snapshot[State]] = []

        def finish(current: Snapshot[State] | None) -> SnapshotInput[State]:
            assert current is not None
            seen.append(current)
            state: State = {"messages": ["question", "answer"]}
            return rewritten(current, status=Status.COMPLETED, state=state, updated_at=at(5))

        assert await trial.store.save_snapshot("turn", finish) == "turn"
        assert (seen[-1].status, seen[-1].state) == (Status.PENDING, {"messages": ["question"]})
        found = await trial.got("turn")
        assert (found.status, found.updated_at) == (Status.COMPLETED, at(5))
        assert found.state == {"messages": ["question", "answer"]}

    @pytest.mark.row("S-4.2.4")
    async def test_a_rewrite_keeps_the_state_that_it_does_not_give(self, trial: Trial) -> None:
        """Session and parent likewise; all else is what the input says."""
        await trial.save("root", created_at=at(0))
        await trial.save("turn", "root", created_at=at(1), status="pending", state={"custom": 1}, heartbeat_at=at(1))
        await trial.save("turn", session=None, status="failed", finish_reason="failed")
        found = await trial.got("turn")
        assert (found.session_id, found.parent_id, found.state) == ("session", "root", {"custom": 1})
        assert (found.status, found.finish_reason, found.heartbeat_at) == (Status.FAILED, "failed", None)

    @pytest.mark.row("S-4.3.9", "S-5.8")
    async def test_created_at_never_moves(self, trial: Trial) -> None:
        """Not when the input names another instant, and not when it names none."""
        await trial.save("turn", created_at=at(7), status="pending")
        await trial.save("turn", created_at=at(9), status="pending")
        assert (await trial.got("turn")).created_at == at(7)
        await trial.save("turn", status="completed")
        assert (await trial.got("turn")).created_at == at(7)

    @pytest.mark.row("S-4.2.5")
    async def test_a_mutator_that_returns_none_leaves_everything_as_it_is(self, trial: Trial) -> None:
        """Of an unknown id nothing is stored, of a known one nothing is changed."""
        seen: list[Snapshot[State] | None] = []
        assert await trial.store.save_snapshot("unknown", seen.append) is None
        assert seen == [None]
        assert await trial.store.save_snapshot(None, lambda _: None) is None
        assert await trial.get("unknown") is None
        await trial.save("known", created_at=at(0), state={"custom": 1})
        before = await trial.got("known")
        assert await trial.store.save_snapshot("known", lambda _: None) is None
        assert await trial.got("known") == before

    @pytest.mark.row("S-4.2.5")
    async def test_what_a_mutator_raises_comes_back_as_it_is(self, trial: Trial) -> None:
        """The very object, with nothing written."""
        problem = LookupError("no such tool")

        def fail(_: Snapshot[State] | None) -> None:
            raise problem

        with pytest.raises(LookupError) as caught:
            await trial.store.save_snapshot("unknown", fail)
        assert caught.value is problem
        assert await trial.get("unknown") is None

    @pytest.mark.row("S-4.2.15")
    async def test_a_parent_that_is_unknown_makes_a_root(self, trial: Trial) -> None:
        """It keeps the name of its parent, and its state is whole."""
        await trial.save("orphan", "never seen", state={"custom": "whole"})
        found = await trial.got("orphan")
        assert (found.parent_id, found.state) == ("never seen", {"custom": "whole"})
        assert await trial.newest() == "orphan"

    @pytest.mark.row("S-4.1.4")
    async def test_a_session_may_be_named_by_the_state_only(self, trial: Trial) -> None:
        """Then the snapshot belongs to that one."""
        await trial.save("mine", session=None, state={"sessionId": "from state", "custom": 1})
        assert (await trial.got("mine")).session_id == "from state"
        assert await trial.newest("from state") == "mine"

    @pytest.mark.row("S-4.2.4")
    async def test_what_was_read_may_be_saved_as_it_is(self, trial: Trial) -> None:
        """A mutator may return the snapshot that it was given; then nothing has changed."""
        await trial.save("same", created_at=at(0), updated_at=at(1), state={"custom": [1, 2]})
        before = await trial.got("same")
        assert await trial.store.save_snapshot("same", lambda current: current) == "same"
        assert await trial.got("same") == before


class Refusals(TrialCase):
    """What may not be saved: each is one named error, and what was stored before stands."""

    @pytest.mark.row("S-4.2.12", "S-4.3.7", "S-5.6")
    async def test_a_snapshot_without_a_session_is_refused(self, trial: Trial) -> None:
        """Whether it has a state or not; nothing of it is stored."""
        for state in (None, {}, {"custom": 1}, {"sessionId": "  "}, {"sessionId": 7}):
            with pytest.raises(InvalidError) as caught:
                await trial.save("homeless", session=None, state=state)
            assert caught.value.name == "session_id"
            assert await trial.get("homeless") is None

    @pytest.mark.row("S-4.3.3", "S-4.3.7")
    async def test_a_snapshot_stays_in_its_session(self, trial: Trial) -> None:
        """One that is rewritten may leave its session out, and may not name another one."""
        await trial.save("mine", session="ours", status="pending", created_at=at(0))
        with pytest.raises(SnapshotSettledError):
            await trial.save("mine", session="theirs", status="pending")
        await trial.save("mine", session=None, status="completed")
        assert (await trial.got("mine")).session_id == "ours"
        assert await trial.newest("ours") == "mine"
        assert await trial.newest("theirs") is None

    @pytest.mark.row("S-4.3.3")
    @pytest.mark.parametrize("settled", _TERMINAL)
    async def test_a_terminal_status_stands(self, trial: Trial, settled: Status) -> None:
        """Every other one is refused, and what is stored stays as it is; the same one is no change."""
        await trial.save("done", created_at=at(0), status=settled, state={"custom": 1})
        before = await trial.got("done")
        for other in {Status.PENDING, *_TERMINAL} - {settled}:
            with pytest.raises(SnapshotSettledError):
                await trial.move("done", other)
            assert await trial.got("done") == before
        await trial.save("done", status=settled, state={"custom": 1}, finish_reason="other")
        assert (await trial.got("done")).finish_reason == "other"

    @pytest.mark.row("S-4.3.3")
    async def test_a_coroutine_is_no_mutator(self, trial: Trial) -> None:
        """It is refused, and nothing is written."""

        async def wait(_: Snapshot[State] | None) -> SnapshotInput[State]:
            return SnapshotInput(session_id="session")

        mutator: Any = wait
        with pytest.raises(InvalidError) as caught:
            await trial.store.save_snapshot("mine", mutator)
        assert caught.value.name == "mutator"
        assert await trial.get("mine") is None

    @pytest.mark.row("S-4.3.3")
    @pytest.mark.parametrize("returned", [True, "mine", {"session_id": "session"}, [], object()], ids=_kind)
    async def test_a_mutator_that_returns_something_else_is_refused(self, trial: Trial, returned: object) -> None:
        """A snapshot, an input or None: there is nothing else to return."""

        def mutator(_: Snapshot[State] | None) -> Any:  # noqa: ANN401  it is no mutator, which a type would show
            return returned

        with pytest.raises(InvalidError) as caught:
            await trial.store.save_snapshot("mine", mutator)
        assert caught.value.name == "mutator"
        assert await trial.get("mine") is None

    @pytest.mark.row("S-4.3.3")
    @pytest.mark.parametrize(
        "given",
        [
            {"status": "expired"},
            {"status": "running"},
            {"finish_reason": "tired"},
            {"created_at": "yesterday"},
            {"updated_at": "2026-01-01T00:00:00"},
            {"error": {"message": "plain"}},
        ],
        ids=repr,
    )
    async def test_a_field_of_no_known_form_is_refused(self, trial: Trial, given: dict[str, Any]) -> None:
        """The error names it."""
        with pytest.raises(InvalidError) as caught:
            await trial.save("mine", **given)
        assert caught.value.name in given
        assert await trial.get("mine") is None

    @pytest.mark.row("S-4.3.3")
    @pytest.mark.parametrize(
        "custom",
        [float("nan"), float("inf"), object(), {1: "a number as a name"}, "\ud800", {"\udfff": 1}],
        ids=["nan", "infinity", "object", "number as name", "half a character", "half a character as name"],
    )
    async def test_a_state_that_is_no_json_is_refused(self, trial: Trial, custom: object) -> None:
        """Whether it is new or a rewrite; what was stored stands."""
        await trial.save("mine", created_at=at(0), state={"custom": "kept"})
        for snapshot_id in ("mine", "new"):
            with pytest.raises(InvalidError):
                await trial.save(snapshot_id, state={"custom": custom})
        assert (await trial.got("mine")).state == {"custom": "kept"}
        assert await trial.get("new") is None

    @pytest.mark.row("S-4.3.16")
    async def test_a_snapshot_keeps_its_parent(self, trial: Trial) -> None:
        """Another one is refused, and so is one for a root; to name none is no change."""
        await trial.chain("a", "b")
        await trial.save("c", "b", created_at=at(2), status="pending")
        for snapshot_id, parent in (("c", "a"), ("c", "unknown"), ("a", "unknown")):
            with pytest.raises(SnapshotSettledError):
                await trial.save(snapshot_id, parent, status="pending" if snapshot_id == "c" else "completed")
        await trial.save("c", None, status="pending")
        assert (await trial.got("c")).parent_id == "b"
        assert (await trial.got("a")).parent_id is None

    @pytest.mark.row("S-4.3.16")
    async def test_the_state_of_one_that_others_build_on_stands(self, trial: Trial) -> None:
        """Its child would change with it; the state of a leaf, and of one at work, may be rewritten."""
        await trial.chain("a", "b")
        with pytest.raises(SnapshotSettledError):
            await trial.save("a", state={"custom": "another"})
        await trial.save("b", "a", state={"custom": "another"})
        assert (await trial.got("a")).state == {"custom": "a"}
        assert (await trial.got("b")).state == {"custom": "another"}

    @pytest.mark.row("S-4.3.16")
    async def test_a_parent_of_another_session_is_refused(self, trial: Trial) -> None:
        """A session's history is its own."""
        await trial.save("theirs", session="theirs")
        with pytest.raises(InvalidError) as caught:
            await trial.save("mine", "theirs", session="ours")
        assert caught.value.name == "parent_id"
        assert await trial.get("mine") is None

    @pytest.mark.row("S-5.2", "S-5.4")
    async def test_nothing_is_its_own_ancestor(self, trial: Trial) -> None:
        """Neither its parent, nor, where children were saved before their parents, one of its heirs."""
        with pytest.raises(InvalidError) as caught:
            await trial.save("loop", "loop")
        assert caught.value.name == "parent_id"
        await trial.save("child", "late", created_at=at(0))
        await trial.save("grandchild", "child", created_at=at(1))
        await trial.save("late", "later still", created_at=at(2))
        for parent in ("late", "child", "grandchild"):
            with pytest.raises(InvalidError) as caught:
                await trial.save("later still", parent)
            assert caught.value.name == "parent_id"
        assert await trial.get("loop") is None
        assert await trial.get("later still") is None
        assert await trial.newest() == "grandchild"
