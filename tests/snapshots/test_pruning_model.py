"""Random sessions, from which snapshots are taken away: what stays reads as before, and nothing else is kept."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

import sojourn
from sojourn import limits
from sojourn.errors import InvalidError, NotResumableError, SnapshotSettledError
from sojourn.kernel import Store
from sojourn.snapshots import SnapshotInput, Snapshots, Status
from tests.documents.conftest import HastyClock
from tests.snapshots.audit import check
from tests.snapshots.conftest import noise

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class OnPurposeError(Exception):
    """What a turn fails of here."""


class Life:
    """A session that random things happen to, and what it must hold."""

    def __init__(self, seed: int, store: Store, clock: HastyClock) -> None:
        self.random = Random(seed)  # noqa: S311  it must be repeatable, not secret
        self.store = store
        self.clock = clock
        self.snapshots: Snapshots[Any] = Snapshots(store)
        self.states: dict[str, Any] = {}
        self.used: set[str] = set()
        self.names = 0

    def any_id(self) -> str | None:
        """A snapshot that is there, or was, or may come; or none."""
        known = [*self.states, *sorted(self.used)[-3:], f"later-{self.random.randrange(4)}"]
        return self.random.choice([*known, None])

    def grown(self, parent: str | None) -> dict[str, Any]:
        """A state that says one thing more than that of its parent, or something else altogether."""
        before = self.states.get(parent or "")
        said = list(before["messages"]) if before and self.random.random() < 0.9 else []
        said.append(noise(self.random.random(), self.random.choice([20, 200, 2_000])))
        return {"messages": said[-self.random.choice([30, 40]) :], "custom": {"n": self.random.randrange(5)}}

    async def save(self) -> None:
        """Save a new snapshot behind any other, or another version of one."""
        parent, state = self.any_id(), None
        snapshot_id = self.random.choice([f"later-{self.random.randrange(4)}", f"s{len(self.used)}"])
        if snapshot_id in self.states and self.random.random() < 0.8:
            return
        if self.random.random() < 0.9:
            state = self.grown(parent)
        created = BEGINNING + timedelta(days=self.random.randrange(5)) if self.random.random() < 0.3 else None
        status = self.random.choice([Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.PENDING])
        wanted = SnapshotInput(session_id="chat", parent_id=parent, state=state, created_at=created, status=status)
        with suppress(InvalidError, SnapshotSettledError):
            await self.snapshots.save_snapshot(snapshot_id, lambda _: wanted)
            if state is not None or snapshot_id not in self.states:
                self.states[snapshot_id] = state
            self.used.add(snapshot_id)

    async def turn(self) -> None:
        """Take a turn somewhere, which fails or not."""
        how: dict[str, Any] = {"if_busy": "branch"}
        roll = self.random.random()
        if roll < 0.3 and self.states:
            how["after"] = self.random.choice(list(self.states))
        elif roll < 0.5:
            how["branch"] = f"name-{self.random.randrange(3)}"
        with suppress(NotResumableError, OnPurposeError):
            async with self.snapshots.turn("chat", **how) as turn:
                parent = self.states.get(turn.parent_id or "")
                turn.messages.append(noise(self.random.random(), 200))
                state: dict[str, Any] = {
                    **(parent or {}),
                    "messages": [*(parent or {"messages": []})["messages"], turn.messages[-1]],
                }
                self.states[turn.snapshot_id] = state
                if self.random.random() < 0.2:
                    raise OnPurposeError

    async def fork(self) -> None:
        """Name a branch, or forget one."""
        if self.random.random() < 0.3:
            await self.snapshots.drop_branch("chat", f"name-{self.random.randrange(3)}")
        elif self.states:
            with suppress(InvalidError):
                await self.snapshots.fork(self.random.choice(list(self.states)), f"name-{self.random.randrange(3)}")

    async def delete(self) -> None:
        """Take some away by their ids."""
        chosen = {snapshot_id for _ in range(self.random.randrange(1, 5)) if (snapshot_id := self.any_id()) is not None}
        timeline = self.snapshots.timeline("chat")
        there = chosen & set(self.states)
        assert await timeline.delete(*chosen) == len(there)
        for snapshot_id in there:
            del self.states[snapshot_id]

    async def prune(self) -> None:
        """Take away what some rules name."""
        rules: dict[str, Any] = {}
        if self.random.random() < 0.7:
            rules["keep"] = self.random.randrange(1, 6)
        if self.random.random() < 0.3:
            rules["older_than"] = timedelta(seconds=self.random.randrange(60))
        if self.random.random() < 0.3 or not rules:
            rules["status"] = self.random.sample(list(Status), self.random.randrange(1, 4))
        planned = await self.snapshots.prune("chat", **rules, dry_run=True)
        newest = await self.snapshots.get_info(session_id="chat")
        pruned = await self.snapshots.prune("chat", **rules)
        assert planned == pruned
        there = set((await self.snapshots.tree("chat")).nodes)
        assert (pruned.removed, pruned.kept) == (len(self.states) - len(there), len(there))
        assert newest is None or newest.snapshot_id in there
        self.states = {snapshot_id: state for snapshot_id, state in self.states.items() if snapshot_id in there}


@pytest.mark.row("S-4.1.10", "S-4.3.6")
@pytest.mark.parametrize("seed", range(30))
async def test_what_stays_of_a_random_session_reads_as_before(
    seed: int, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STEP", 3)
    async with sojourn.open("memory:", clock=clock) as store:
        life = Life(seed, store, clock)
        often: list[Callable[[], Any]] = [life.save] * 6 + [life.turn] * 6 + [life.fork] + [life.delete, life.prune]
        for _ in range(60):
            clock.advance(timedelta(seconds=1))
            step = life.random.choice(often)
            await step()
            await check(store, life.snapshots, life.states, life.used)
        await check(store, Snapshots(store), life.states, life.used)
