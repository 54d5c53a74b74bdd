"""What was saved is what is read: exactly that, whole, and as a copy."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest

from sojourn.snapshots.model import Failure, FinishReason, Snapshot, SnapshotInput, Status
from sojourn.testing.session_stores.trial import Capability, State, Trial, TrialCase, at

__all__ = ["Reading"]

_DEEP = 50


def _nested(levels: int) -> dict[str, Any]:
    state: dict[str, Any] = {"level": 0}
    for level in range(1, levels):
        state = {"level": level, "inner": [state]}
    return state


def _noise(seed: int, characters: int) -> str:
    """Return text that cannot be made much smaller."""
    return hashlib.shake_128(f"{seed}".encode()).hexdigest(characters // 2)


class Reading(TrialCase):
    """What `get_snapshot` returns by the id of a snapshot."""

    @pytest.mark.row("S-4.1.1")
    async def test_a_snapshot_is_read_as_it_was_saved_and_nothing_is_added(self, trial: Trial) -> None:
        """What was not given is not there, but for the status of one that is settled."""
        given = SnapshotInput(session_id="session", created_at=at(0), state={"custom": {"n": 1}})
        assert await trial.store.save_snapshot("first", lambda _: given) == "first"
        found = await trial.got("first")
        read = {name: getattr(found, name) for name in SnapshotInput.__struct_fields__}
        assert read == {
            "snapshot_id": "first",
            "session_id": "session",
            "created_at": at(0),
            "state": {"custom": {"n": 1}},
            "status": Status.COMPLETED,
            "parent_id": None,
            "updated_at": None,
            "heartbeat_at": None,
            "finish_reason": None,
            "error": None,
        }

    @pytest.mark.row("S-4.2.16")
    async def test_every_field_comes_back(self, trial: Trial) -> None:
        """What was given is there, and each instant is the one that was given."""
        failure = Failure("the model is away", "UNAVAILABLE", {"code": 14, "hosts": ["a", None]})
        await trial.save("root", created_at=at(0), state={})
        given: dict[str, Any] = {
            "status": Status.FAILED,
            "created_at": at(1.5),
            "updated_at": at(2.25),
            "heartbeat_at": at(2),
            "finish_reason": FinishReason.FAILED,
            "error": failure,
            "state": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]},
        }
        await trial.save("full", "root", **given)
        found = await trial.got("full")
        assert {name: getattr(found, name) for name in given} == given
        assert found.parent_id == "root"

    @pytest.mark.row("S-4.1.2", "S-4.2.2")
    async def test_what_is_unknown_is_none(self, trial: Trial) -> None:
        """A store without the snapshot, or the session, says so by None and by no error."""
        await trial.save("known", session="known")
        assert await trial.get("unknown") is None
        assert await trial.newest("unknown") is None

    @pytest.mark.row("S-4.1.3")
    async def test_what_the_caller_does_to_its_own_objects_changes_nothing_stored(self, trial: Trial) -> None:
        """Neither to what it gave, nor to what it was given, be it by a read or as the mutator's argument."""
        given: State = {"messages": [{"text": "kept"}], "custom": {"n": 1}}
        await trial.save("mine", created_at=at(0), state=given, status="pending")
        given["messages"].append({"text": "later"})
        given["custom"]["n"] = 2

        read = await trial.got("mine")
        assert read.state == {"messages": [{"text": "kept"}], "custom": {"n": 1}}
        assert read.state is not None
        read.state["messages"].pop()

        def spoil(current: Snapshot[State] | None) -> None:
            assert current is not None
            assert current.state is not None
            current.state["custom"]["n"] = 3

        assert await trial.store.save_snapshot("mine", spoil) is None
        assert (await trial.got("mine")).state == {"messages": [{"text": "kept"}], "custom": {"n": 1}}

    @pytest.mark.row("S-4.1.33")
    async def test_a_uuid_is_an_id(self, trial: Trial) -> None:
        """It is returned as it was given, and its state reads back."""
        snapshot_id = str(uuid.uuid4())
        assert await trial.save(snapshot_id, state={"custom": {"theme": "dark"}}) == snapshot_id
        assert (await trial.got(snapshot_id)).state == {"custom": {"theme": "dark"}}

    @pytest.mark.row("S-4.2.3")
    async def test_each_of_a_chain_of_growing_states_is_read_exactly(self, trial: Trial) -> None:
        """However the store keeps them, the one in the middle is what it was, and not what became of it."""
        texts = ["one", "two", "three"]
        for place in range(3):
            state = {"messages": [{"text": text} for text in texts[: place + 1]], "custom": {"turn": place}}
            await trial.save(f"turn {place}", f"turn {place - 1}" if place else None, created_at=at(place), state=state)
        for place in range(3):
            state = {"messages": [{"text": text} for text in texts[: place + 1]], "custom": {"turn": place}}
            assert (await trial.got(f"turn {place}")).state == state

    @pytest.mark.row("S-4.2.17")
    async def test_messages_and_artifacts_that_grow_are_read_exactly(self, trial: Trial) -> None:
        """So is what shrinks, changes in place, or goes."""
        states: list[State] = [
            {"messages": ["a"], "artifacts": []},
            {"messages": ["a", "b"], "artifacts": [{"name": "plan", "parts": [{"text": "1"}]}]},
            {"messages": ["a", "b", "c"], "artifacts": [{"name": "plan", "parts": [{"text": "2"}]}, {"parts": []}]},
            {"messages": ["c"], "artifacts": [{"parts": []}], "custom": None},
            {"messages": []},
            {},
        ]
        for place, state in enumerate(states):
            await trial.save(f"n{place}", f"n{place - 1}" if place else None, created_at=at(place), state=state)
        assert [(await trial.got(f"n{place}")).state for place in range(len(states))] == states

    @pytest.mark.row("S-4.2.10")
    async def test_a_large_state_is_read_exactly(self, trial: Trial) -> None:
        """As a root, as what is added to one, and after it was replaced by a large one that shares nothing with it."""
        first = {"messages": [_noise(number, 1_000) for number in range(600)]}
        second = {"messages": [*first["messages"], _noise(1_000, 800_000)]}
        third = {"messages": [_noise(1_001, 800_000)]}
        await trial.save("first", created_at=at(0), state=first)
        await trial.save("second", "first", created_at=at(1), state=second)
        await trial.save("third", "second", created_at=at(2), state=third)
        for snapshot_id, state in (("first", first), ("second", second), ("third", third)):
            assert (await trial.got(snapshot_id)).state == state

    @pytest.mark.row("S-4.3.17")
    async def test_nulls_any_text_and_deep_nesting_are_read_exactly(self, trial: Trial) -> None:
        """Also where they appear, change and vanish from one snapshot to the next."""
        text = "ж\U0001f600\u0000\u2028é" * 5_000
        states: list[State] = [
            {"custom": {"gone": None, "kept": 1, "": [None]}},
            {"custom": {"kept": None, "": [None, None], "text": text}},
            {"custom": {"kept": [], "": {}, "text": f"{text}{text}"}},
            {"custom": _nested(_DEEP), "numbers": [0, -1, 2**53, 1.5, 1e300, -0.5], "flags": [True, False]},
        ]
        for place, state in enumerate(states):
            await trial.save(f"n{place}", f"n{place - 1}" if place else None, created_at=at(place), state=state)
        assert [(await trial.got(f"n{place}")).state for place in range(len(states))] == states

    @pytest.mark.row("S-4.2.3")
    async def test_a_snapshot_may_have_no_state(self, trial: Trial) -> None:
        """None is not an empty object, and what follows builds on nothing."""
        await trial.save("none", created_at=at(0), status="pending")
        await trial.save("empty", "none", created_at=at(1), state={})
        assert (await trial.got("none")).state is None
        assert (await trial.got("empty")).state == {}

    @pytest.mark.row("S-4.1.5")
    async def test_another_store_reads_what_one_saved(self, trial: Trial) -> None:
        """What is saved is kept where every other store over the same data finds it, by its id and by its session."""
        with trial.needs(Capability.SHARED):
            await trial.chain("a", "b")
            await trial.use(Capability.SHARED)
            assert await trial.newest() == "b"
            assert (await trial.got("a")).state == {"custom": "a"}
