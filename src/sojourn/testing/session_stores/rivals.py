"""Several at once: what is acknowledged is there, and one step is one step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sojourn.errors import SnapshotSettledError
from sojourn.snapshots.model import Snapshot, SnapshotInput, Status
from sojourn.snapshots.protocol import SessionStore
from sojourn.testing.session_stores.trial import Capability, State, Trial, TrialCase, at, rewritten

__all__ = ["Rivals"]

_EACH = 50
_RACES = 20


async def _count_up(store: SessionStore[State]) -> None:
    """Add one to what a snapshot counts."""

    def counted(current: Snapshot[State] | None) -> SnapshotInput[State]:
        assert current is not None
        assert current.state is not None
        return rewritten(current, state={"custom": current.state["custom"] + 1})

    await store.save_snapshot("counter", counted)


class Rivals(TrialCase):
    """Reading, the mutator and writing are one step."""

    @pytest.mark.row("S-5.1")
    async def test_no_change_is_lost_that_was_made_at_the_same_time(self, trial: Trial) -> None:
        """So many tasks that count up end at that number."""
        await trial.save("counter", created_at=at(0), status="pending", state={"custom": 0})
        await asyncio.gather(*(_count_up(trial.store) for _ in range(_EACH)))
        assert (await trial.got("counter")).state == {"custom": _EACH}

    @pytest.mark.row("S-5.10", "S-5.18")
    async def test_no_change_is_lost_that_two_stores_made_at_the_same_time(self, trial: Trial) -> None:
        """Nor is one refused, however the two take turns."""
        with trial.needs(Capability.SHARED):
            other = await trial.beside(Capability.SHARED)
            await trial.save("counter", created_at=at(0), status="pending", state={"custom": 0})
            await asyncio.gather(*(_count_up(store) for _ in range(_EACH // 2) for store in (trial.store, other)))
            assert (await trial.got("counter")).state == {"custom": _EACH}

    @pytest.mark.row("S-5.10")
    async def test_children_that_are_saved_at_the_same_time_are_all_there(self, trial: Trial) -> None:
        """Each with its own state, and one of them is the newest leaf, for whoever asks."""
        await trial.save("root", created_at=at(0), state={"messages": ["root"]})
        names = [f"child {number}" for number in range(20)]
        await asyncio.gather(
            *(trial.save(name, "root", created_at=at(1), state={"messages": ["root", name]}) for name in names)
        )
        assert [(await trial.got(name)).state for name in names] == [{"messages": ["root", name]} for name in names]
        newest = await trial.newest()
        assert newest in names
        assert await trial.newest() == newest

    @pytest.mark.row("S-5.1")
    async def test_of_an_abort_and_a_completion_one_holds(self, trial: Trial) -> None:
        """Whoever comes second sees what the first stored, and is refused; the status never changes again."""
        for race in range(_RACES):
            await trial.save(f"turn {race}", created_at=at(race), status="pending", state={"custom": race})
            rivals: Sequence[Status] = (Status.ABORTED, Status.COMPLETED)
            moves = [trial.move(f"turn {race}", status) for status in rivals[:: 1 if race % 2 else -1]]
            refused = [each for each in await asyncio.gather(*moves, return_exceptions=True) if each is not None]
            assert [type(each) for each in refused] == [SnapshotSettledError]
            assert (await trial.got(f"turn {race}")).status in rivals
