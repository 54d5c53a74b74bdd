"""Several processes on one store: nothing is lost between them, and nothing when one is killed."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from sojourn.kernel import ids
from sojourn.kernel.clock import SystemClock
from sojourn.kernel.keys import Span
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Reads
from sojourn.testing.child import COUNTER, increment, pair
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import PATIENCE_S, Conformance, Trial, at

__all__ = ["Processes"]

_INCREMENTS = 60
_KILLS = 3


class Processes(Conformance):
    """What holds between tasks holds between processes."""

    @pytest.mark.promise(2, 4)
    async def test_increments_of_two_processes_are_all_kept(self, trial: Trial) -> None:
        """Two children and this process increment one counter as fast as they can; every increment counts once."""
        with trial.needs(Capability.CROSS_PROCESS):
            address = trial.reach()
            async with (
                Store(trial.harness.engine(address, SystemClock())) as store,
                _child(trial, "increment", _INCREMENTS) as one,
                _child(trial, "increment", _INCREMENTS) as two,
            ):
                one.start()
                two.start()
                mine = [await store.run(increment) for _ in range(_INCREMENTS)]
                told = [*mine, *map(int, await one.rest()), *map(int, await two.rest())]
                (record,) = (await store.read(Reads(keys=(COUNTER,)))).records.keys
            assert sorted(told) == list(range(1, 3 * _INCREMENTS + 1))
            assert record is not None
            assert int(record.value) == 3 * _INCREMENTS

    @pytest.mark.promise(9, 3)
    async def test_changes_of_another_process_are_told(self, trial: Trial) -> None:
        """A question that waits here is answered by a commit there, whose records are then read here."""
        with trial.needs(Capability.CROSS_PROCESS, Capability.CROSS_PROCESS_WATCH):
            trial.reach()
            async with _child(trial, "pair", 7) as child:
                position = await trial.position()
                waiting = asyncio.create_task(trial.engine.changes(position, PATIENCE_S))
                child.start()
                answer = await waiting
                assert not answer.gap
                assert {at("left/7"), at("right/7")} <= answer.keys
                assert (await trial.got(at("right/7"))).value == b"7"
                await child.rest()

    @pytest.mark.promise(7, 1, 13)
    async def test_a_killed_process_loses_nothing_it_acknowledged(self, trial: Trial) -> None:
        """Killed in mid-commit, again and again: what it acknowledged is there, and what is there is whole."""
        with trial.needs(Capability.CROSS_PROCESS, Capability.DURABLE):
            trial.reach(Capability.DURABLE)
            for kill in range(_KILLS):
                address = await trial.create()
                async with _child(trial, "acknowledge", 0, address=address) as child:
                    child.start()
                    lines = [await child.line() for _ in range(25 + 40 * kill)]
                    lines += await child.kill()
                acknowledged = dict(line.split() for line in lines)
                async with Store(trial.harness.engine(address, SystemClock())) as store:
                    left, right, log = [await _values(store, prefix) for prefix in ("left/", "right/", "log/")]
                    assert set(acknowledged) <= left
                    assert left == right == log
                    for name, transaction_id in acknowledged.items():
                        assert (await store.commit(pair(name, bytes.fromhex(transaction_id)))).repeated
                    assert not (await store.commit(pair("after", ids.new()))).repeated


class _Child:
    """One child process, ready to start its job."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def start(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def line(self) -> str:
        """Return the next line it says."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line.endswith(b"\n"), f"the child has ended too early, with status {await self._process.wait()}"
        return line.decode().rstrip()

    async def rest(self) -> Sequence[str]:
        """Return what else it says until it has ended, and see that it ended well."""
        lines = await self._lines()
        assert await self._process.wait() == 0
        return lines

    async def kill(self) -> Sequence[str]:
        """Kill it without warning, and return what it had said by then."""
        self._process.kill()
        lines = await self._lines()
        await self._process.wait()
        return lines

    async def _lines(self) -> Sequence[str]:
        assert self._process.stdout is not None
        said = await self._process.stdout.read()
        # A line cut off by the kill was not acknowledged.
        return said.decode().split("\n")[:-1]


@asynccontextmanager
async def _child(trial: Trial, job: str, count: int, *, address: str | None = None) -> AsyncGenerator[_Child]:
    recipe = type(trial.harness)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sojourn.testing.child",
        recipe.__module__,
        recipe.__qualname__,
        inspect.getfile(recipe),
        address or trial.address,
        job,
        str(count),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        child = _Child(process)
        assert await child.line() == "ready"
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _values(store: Store, prefix: str) -> set[str]:
    span = Span("conformance", "home", prefix, prefix + "\U0010ffff", limit=1_000)
    return {record.value.decode() async for record in store.scan(span)}
