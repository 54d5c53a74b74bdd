"""Scheduled calls between real processes: killed between any two steps, and stopped for longer than their claim."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sojourn import limits
from sojourn.functions.scheduling import Scheduled, Scheduler
from sojourn.kernel import Space, Store
from sojourn.kernel.clock import moment
from sojourn.sessions import Session
from tests.proofs.calling import Calling
from tests.proofs.crew import PATIENCE_S, Crew, Worker
from tests.proofs.passing import SharedClock

NAMES = ("ada", "bob", "cid")
NOW = timedelta()
PEOPLE = 6
KILLS = 4
MINUTE = timedelta(minutes=1)

on_two_engines = pytest.mark.parametrize("shared_url", ["sqlite", "postgres18"], indirect=True)
in_one_commit_or_several = pytest.mark.parametrize(
    ("shared_url", "kind"),
    [("sqlite", "count"), ("postgres18", "count"), ("redis-cluster", "add")],
    indirect=["shared_url"],
)
"""On a cluster what is written for no session cannot be committed with the call."""
on_a_cluster_too = pytest.mark.parametrize("shared_url", ["sqlite", "postgres18", "redis-cluster"], indirect=True)


class Callers(Crew):
    """Processes that run calls, and the application in the test itself, which schedules and runs nothing."""

    session: Session

    def __init__(self, url: str, folder: Path, store: Store, clock: SharedClock) -> None:
        super().__init__(url, folder, store, clock)
        self._command = [sys.executable, "-m", "tests.proofs.calling", url, str(folder / "clock")]
        self.app = Calling(store)

    async def schedule(self, function: Any, name: str) -> str:
        """Schedule a call that is due at once."""
        session_id = self.session.id if function.takes_session else None
        scheduler = Scheduler(self.store.run, session_id, moment(self.clock.now()))
        return await scheduler.run_after(NOW, function, name=name)

    async def ended(self, call: str) -> Scheduled:
        """Wait until nothing more will come of a call, and return it."""
        async with asyncio.timeout(PATIENCE_S), self.store.watch(Space("function.scheduled")) as changes:
            while (found := await self.app.bound.schedules.get(call)) is None or not found.state.is_over:
                await anext(changes)
        return found

    async def counted(self) -> dict[str, int]:
        """How often each call has counted, for the session and for all."""
        record = await self.store.run(lambda tx: tx.get(self.app.counts.key(self.session.id)))
        return {} if record is None else self.app.counts.codec.decode(record.value)

    async def total(self, name: str) -> int:
        """How often the calls of a name have counted for all."""
        record = await self.store.run(lambda tx: tx.get(self.app.totals.key(name)))
        return 0 if record is None else self.app.totals.codec.decode(record.value)

    async def first_at(self, point: str, workers: list[Worker]) -> tuple[Worker, list[Worker]]:
        """Wait for who stops there first; the others stop nowhere any more."""
        name = await self.heard("at", point)
        (first,) = (worker for worker in workers if worker.name == name)
        await first.stopped(at=point)
        others = [worker for worker in workers if worker is not first]
        for worker in others:
            assert await worker.ask("forget") == "will"
        return first, others


@pytest.fixture
async def crew(shared_url: str, tmp_path: Path) -> AsyncIterator[Callers]:
    async with Callers.over(shared_url, tmp_path) as crew:
        assert isinstance(crew, Callers)
        crew.session = (await crew.app.functions.sessions.issue()).session
        yield crew


async def started(crew: Callers, point: str, *options: str) -> list[Worker]:
    """Start three processes, each of which stops there."""
    workers = [await crew.start(name, *options) for name in NAMES]
    for worker in workers:
        assert await worker.ask("stop", point) == "will"
    return workers


@pytest.mark.row("F-C62")
@in_one_commit_or_several
@pytest.mark.parametrize("point", ["handler", "ran", "committed"])
async def test_wherever_a_process_is_killed_its_mutation_counts_once(crew: Callers, point: str, kind: str) -> None:
    workers = await started(crew, point)
    call = await crew.schedule(getattr(crew.app, kind), "call")
    dead, others = await crew.first_at(point, workers)
    await dead.kill()
    crew.clock.advance(limits.DUE_CLAIM)
    assert (await crew.ended(call)).state == "success"
    after = await crew.schedule(getattr(crew.app, kind), "after")
    assert (await crew.ended(after)).state == "success"
    for worker in others:
        await worker.leave()
    counted = await crew.counted() if kind == "count" else {name: await crew.total(name) for name in ("call", "after")}
    assert counted == {"call": 1, "after": 1}
    assert len(crew.who("committed", "call")) == 1


@pytest.mark.row("F-C62")
@in_one_commit_or_several
async def test_who_was_stopped_beyond_its_claim_changes_nothing_late(crew: Callers, kind: str) -> None:
    workers = await started(crew, "ran")
    call = await crew.schedule(getattr(crew.app, kind), "call")
    late, others = await crew.first_at("ran", workers)
    crew.clock.advance(limits.DUE_CLAIM)
    done = await crew.ended(call)
    assert done.state == "success"
    late.go_on()
    for worker in (late, *others):
        await worker.leave()
    assert crew.who("committed", "call")[0] != late.name
    assert (await crew.total("call") if kind == "add" else (await crew.counted())["call"]) == 1
    assert await crew.app.bound.schedules.get(call) == done


@pytest.mark.row("F-C63")
@on_two_engines
@pytest.mark.parametrize(("how", "point"), [("killed", "acting"), ("stopped", "acted")])
async def test_an_action_whose_process_does_not_come_back_has_failed_and_is_not_repeated(
    crew: Callers, point: str, how: str
) -> None:
    workers = await started(crew, point)
    call = await crew.schedule(crew.app.act, "call")
    gone, others = await crew.first_at(point, workers)
    if how == "killed":
        await gone.kill()
    crew.clock.advance(limits.SCHEDULED_ACTION)
    found = await crew.app.bound.schedules.get(call)
    assert found is not None
    assert found.state == "in_progress"
    crew.clock.advance(limits.DUE_CLAIM)
    over = await crew.ended(call)
    assert over.error is not None
    assert (over.state, over.error.code) == ("failed", "call_timeout")
    if how == "stopped":
        gone.go_on()
        assert await gone.ask("hear") == "yes"
        others.append(gone)
    for worker in others:
        await worker.leave()
    assert await crew.app.bound.schedules.get(call) == over, "who comes late changes nothing"
    assert crew.who("acting", "call") == [gone.name]


@pytest.mark.row("F-C62", "F-C63")
@on_two_engines
@pytest.mark.parametrize("seed", [7])
async def test_each_call_counts_once_while_processes_are_killed_at_any_moment(crew: Callers, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    workers = [await crew.start(name) for name in NAMES]
    mutations, actions = dict[str, str](), dict[str, str]()
    kills = 0

    async def person() -> None:
        while kills < KILLS:
            number = len(mutations)
            mutations[name := f"mutation{number}"] = ""
            actions[f"action{number}"] = await crew.schedule(crew.app.act, f"action{number}")
            mutations[name] = await crew.schedule(crew.app.count, name)
            assert (await crew.ended(mutations[name])).state == "success"

    people = [asyncio.create_task(person()) for _ in range(PEOPLE)]
    while kills < KILLS:
        await crew.heard("committed", times=len(crew.who("committed")) + chance.randint(1, 10))
        workers.append(await crew.start(f"worker{kills}"))
        await workers.pop(0).kill()
        crew.clock.advance(limits.DUE_CLAIM)
        kills += 1
    await asyncio.gather(*people)
    crew.clock.advance(limits.SCHEDULED_ACTION + limits.DUE_CLAIM)
    became = {name: (await crew.ended(call)).state for name, call in actions.items()}
    for worker in workers:
        await worker.leave()
    counted = await crew.counted()
    assert [counted.pop(name) for name in mutations] == [1] * len(mutations)
    assert all(len(crew.who("acting", name)) <= 1 for name in became)
    assert set(counted.values()) <= {1}
    assert {name for name, state in became.items() if state == "success"} <= counted.keys() <= became.keys()


@pytest.mark.row("F-C96")
@on_a_cluster_too
async def test_of_three_processes_one_runs_each_tick_of_a_cron_also_when_it_is_killed(crew: Callers) -> None:
    workers = [await crew.start(name, "crons") for name in NAMES]
    for ticks in range(1, 4):
        await crew.heard("committed", "minute", times=ticks)
        crew.clock.advance(MINUTE)
    await crew.heard("committed", "minute", times=4)
    for worker in workers:
        assert await worker.ask("stop", "ran") == "will"
    crew.clock.advance(MINUTE)
    dead, others = await crew.first_at("ran", workers)
    await dead.kill()
    crew.clock.advance(limits.DUE_CLAIM)
    await crew.heard("committed", "minute", times=5)
    for worker in others:
        await worker.leave()
    assert await crew.total("minute") == 5 == len(crew.who("committed", "minute"))
