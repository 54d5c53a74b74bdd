"""Many tasks in several processes count up one session's counter: nothing is lost, nothing doubled, nobody refused.

    python -m tools.race                       16 tasks in each of 2 processes, 200 times each, on each database
    python -m tools.race --on postgres18 --tasks 4 --times 10

Then the same in one process over an engine that loses answers and doubles deliveries, with three seeds. The databases
are started for the race; `--store URL` races on one of your own instead.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from typing import Final, cast

import sojourn
from sojourn.engines.memory import MemoryEngine
from sojourn.kernel import Store
from sojourn.sessions import Session, Sessions
from sojourn.testing import FaultyEngine
from tests.servers import NAMES, Name, shared, sharing

SEEDS = (1, 2, 3)
BASES: Final = ("sqlite", "postgres18", "valkey", "redis-cluster")
KEY = b"the race needs one that all processes know"


async def count(session: Session, tasks: int, times: int) -> int:
    """Count up from `tasks` tasks, `times` each; return how many were acknowledged. A refusal ends the race."""
    counter = session.state("counter", int)
    acknowledged = 0

    async def task() -> None:
        nonlocal acknowledged
        for _ in range(times):
            await counter.update(lambda value: value + 1)
            acknowledged += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(task())
    return acknowledged


async def child(url: str, token: str, tasks: int, times: int) -> None:
    """Be one process of the race: say when ready, start when told, print what was acknowledged."""
    async with sojourn.open(url) as store:
        session = await Sessions(store, keys=[KEY]).resolve(token)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(await count(session, tasks, times), flush=True)


async def between_processes(url: str, processes: int, tasks: int, times: int) -> tuple[int, int, float]:
    """Race on one store; return what was acknowledged, what was kept, and the seconds it took."""
    async with sojourn.open(url) as store:
        issued = await Sessions(store, keys=[KEY]).issue()
        command = [sys.executable, "-m", "tools.race", "--child", url, issued.token, str(tasks), str(times)]
        pipe = asyncio.subprocess.PIPE
        running = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(processes)]
        for one in running:
            assert one.stdout is not None
            assert await one.stdout.readline() == b"ready\n"
        started = time.perf_counter()
        said = await asyncio.gather(*(one.communicate(b"go\n") for one in running))
        seconds = time.perf_counter() - started
        acknowledged = sum(int(out or b"0") for out, _ in said)
        return acknowledged, await issued.session.state("counter", int).get(), seconds


async def through_faults(seed: int, tasks: int, times: int) -> tuple[int, int, int]:
    """Race in one process over a faulty engine; return acknowledged, kept, and how many answers were lost."""
    engine = FaultyEngine(MemoryEngine(), seed, lose=0.1, repeat=0.1, delay=0.2)
    async with Store(engine) as store:
        session = (await Sessions(store).issue()).session
        acknowledged = await count(session, tasks, times)
        return acknowledged, await session.state("counter", int).get(), engine.faults.lost


def address(name: str, folder: str) -> str:
    """Return where to race: a new file, or a server that is started for it."""
    return f"sqlite:///{folder}/race.db" if name == "sqlite" else shared(cast("Name", name))


def main() -> None:
    """Run the race and report; exit 1 when anything was lost, doubled or refused."""
    if sys.argv[1:2] == ["--child"]:
        url, token, tasks, times = sys.argv[2:]
        return asyncio.run(child(url, token, int(tasks), int(times)))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--on", action="append", choices=["sqlite", *NAMES], help="race on this one only")
    parser.add_argument("--store", help="race on this store")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--times", type=int, default=200)
    asked = parser.parse_args()
    wanted = asked.processes * asked.tasks * asked.times
    sound = True
    with sharing(), tempfile.TemporaryDirectory() as folder:
        stores = (
            {"the store": asked.store} if asked.store else {name: address(name, folder) for name in asked.on or BASES}
        )
        for name, store in stores.items():
            acknowledged, kept, seconds = asyncio.run(
                between_processes(store, asked.processes, asked.tasks, asked.times)
            )
            sound = sound and acknowledged == kept == wanted
            print(f"{name}: {acknowledged} acknowledged, {kept} kept, {kept / seconds:,.0f} a second", flush=True)
    for seed in SEEDS:
        acknowledged, kept, lost = asyncio.run(through_faults(seed, asked.tasks, asked.times))
        print(f"seed {seed}: {acknowledged} acknowledged, {kept} kept, {lost} answers lost")
        sound = sound and acknowledged == kept == asked.tasks * asked.times and lost > 0
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
