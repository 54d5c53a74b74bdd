"""The newest leaf: which snapshot of a session is meant when only the session is named. One rule, see `Snapshots`."""

from __future__ import annotations

import pytest

from sojourn.errors import BranchedError
from sojourn.snapshots.model import Status
from sojourn.testing.session_stores.trial import Capability, Trial, TrialCase, at

__all__ = ["Leaves"]


class Leaves(TrialCase):
    """What `get_snapshot` returns by the id of a session."""

    @pytest.mark.row("S-4.1.4", "S-4.1.6")
    async def test_of_a_chain_it_is_the_last(self, trial: Trial) -> None:
        """With its own state, whether its session was named beside the state or in it."""
        await trial.save("a", session=None, created_at=at(0), state={"sessionId": "s", "messages": [1]})
        await trial.save("b", "a", session=None, created_at=at(1), state={"sessionId": "s", "messages": [1, 2]})
        found = await trial.store.get_snapshot(session_id="s")
        assert found is not None
        assert (found.snapshot_id, found.session_id, found.parent_id) == ("b", "s", "a")
        assert found.state == {"sessionId": "s", "messages": [1, 2]}

    @pytest.mark.row("S-4.1.7", "S-4.2.6")
    async def test_of_two_children_it_is_the_later_created(self, trial: Trial) -> None:
        """The other one is still read by its id, with its own state."""
        await trial.chain("root", "a")
        await trial.save("b", "root", created_at=at(2), state={"custom": "b"})
        assert await trial.newest() == "b"
        assert (await trial.got("a")).state == {"custom": "a"}
        assert (await trial.got("root")).state == {"custom": "root"}
        await trial.save("aa", "a", created_at=at(3), state={"custom": "aa"})
        assert await trial.newest() == "aa"
        assert (await trial.got("b")).state == {"custom": "b"}

    @pytest.mark.row("S-4.3.8", "S-5.15")
    async def test_the_instant_decides_and_not_the_order_of_writing_or_of_ids(self, trial: Trial) -> None:
        """A sibling that was saved last, and is said to be older, does not come before the other."""
        await trial.save("root", created_at=at(0))
        await trial.save("m", "root", created_at=at(20))
        await trial.save("a", "root", created_at=at(10))
        assert await trial.newest() == "m"
        await trial.save("z", "root", created_at=at(15))
        assert await trial.newest() == "m"
        await trial.save("b", "root", created_at=at(30))
        assert await trial.newest() == "b"

    @pytest.mark.row("S-4.3.15")
    async def test_instants_are_compared_and_not_their_texts(self, trial: Trial) -> None:
        """Ten o'clock in Karachi is earlier than six in Greenwich; which is written in which order does not matter."""
        await trial.save("root", created_at="2050-01-01T00:00:00Z")
        await trial.save("greenwich", "root", created_at="2050-01-01T06:00:00Z")
        await trial.save("karachi", "root", created_at="2050-01-01T10:00:00+05:00")
        assert await trial.newest() == "greenwich"
        await trial.save("new york", "root", created_at="2050-01-01T01:30:00-05:00")
        assert await trial.newest() == "new york"
        assert (await trial.got("karachi")).created_at == at(5 * 3_600)

    @pytest.mark.row("S-5.15")
    async def test_of_equal_instants_it_is_the_one_that_was_stored_last(self, trial: Trial) -> None:
        """Whatever their ids are; rewriting the other one does not store it anew."""
        await trial.save("root", created_at=at(0))
        for snapshot_id in ("m", "z", "a"):
            await trial.save(snapshot_id, "root", created_at=at(1), state={"custom": 1})
            assert await trial.newest() == snapshot_id
        await trial.save("z", "root", created_at=at(1), state={"custom": 2})
        assert await trial.newest() == "a"

    @pytest.mark.row("S-4.3.9")
    async def test_to_finish_an_older_one_does_not_make_it_newer(self, trial: Trial) -> None:
        """A pending snapshot that is completed after a newer sibling came stays the older."""
        await trial.save("root", created_at=at(0))
        await trial.save("slow", "root", created_at=at(1), status="pending")
        await trial.save("quick", "root", created_at=at(2))
        await trial.save("slow", "root", created_at=at(9), updated_at=at(9), status="completed", state={"custom": 1})
        assert await trial.newest() == "quick"

    @pytest.mark.row("S-4.3.10")
    @pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED, Status.ABORTED])
    async def test_it_is_the_newest_whatever_its_status(self, trial: Trial, status: Status) -> None:
        """From which of them to go on is for the caller to decide."""
        await trial.save("done", created_at=at(0), state={"custom": 1})
        await trial.save("tip", "done", created_at=at(1), status=status)
        found = await trial.store.get_snapshot(session_id="session")
        assert found is not None
        assert (found.snapshot_id, found.status) == ("tip", status)

    @pytest.mark.row("S-4.2.7")
    async def test_an_abort_does_not_change_it(self, trial: Trial) -> None:
        """The one that was aborted is still the newest, and says so."""
        await trial.save("done", created_at=at(0))
        await trial.save("turn", "done", created_at=at(1), status="pending", state={"custom": 1})
        await trial.move("turn", Status.ABORTED)
        assert await trial.newest() == "turn"
        found = await trial.got("turn")
        assert (found.status, found.state) == (Status.ABORTED, {"custom": 1})

    @pytest.mark.row("S-4.2.15")
    async def test_a_parent_that_comes_late_is_no_leaf(self, trial: Trial) -> None:
        """Its child was there before it, and stays the newest, however late the parent is said to be created."""
        await trial.save("child", "late", created_at=at(0))
        await trial.save("late", created_at=at(9))
        assert await trial.newest() == "child"
        await trial.save("grandchild", "child", created_at=at(1))
        assert await trial.newest() == "grandchild"

    @pytest.mark.row("S-4.3.8")
    async def test_sessions_do_not_touch_each_other(self, trial: Trial) -> None:
        """Each has a newest leaf of its own."""
        await trial.chain("a", "b", session="one")
        await trial.chain("c", "d", session="two")
        assert (await trial.newest("one"), await trial.newest("two")) == ("b", "d")

    @pytest.mark.row("S-4.1.8")
    async def test_more_than_one_leaf_is_refused_where_that_is_asked_for(self, trial: Trial) -> None:
        """By an error that says how many there are; a single one is found, and an id is no question."""
        with trial.needs(Capability.REJECTS_BRANCHING):
            await trial.use(Capability.REJECTS_BRANCHING, reject_branching=True)
            await trial.chain("root", "a")
            assert await trial.newest() == "a"
            await trial.save("b", "root", created_at=at(2))
            with pytest.raises(BranchedError, match="branch") as caught:
                await trial.newest()
            assert caught.value.leaves == 2
            assert (await trial.got("a")).parent_id == "root"
