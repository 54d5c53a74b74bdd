"""Kill whoever holds a document, again and again: the next one has it in time, with all that was acknowledged in it.

    python -m tools.holders --times 100                 100 times on each database
    python -m tools.holders --on sqlite --times 20

Documents are held side by side, each by a process that changes it and saves, without a pause, while another process
waits for it. At a random moment the holder is killed; the one that waited goes on with what it found, and says so. The
databases are started for this; `--store URL` does it on one of your own instead.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import signal
import sys
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from typing import Final

import msgspec

import sojourn
from sojourn.documents import Documents
from sojourn.errors import LeaseLostError
from tests.servers import NAMES, sharing
from tools.race import address

BASES: Final = ("sqlite", "postgres18", "valkey")
LEASE: Final = timedelta(seconds=2)
GRACE: Final = timedelta(seconds=1)
"""How long after the end of the lease the next holder may say that it has the document."""
SIDE_BY_SIDE: Final = 10
PATIENCE: Final = timedelta(minutes=1)


class Sums(msgspec.Struct):
    """What happened, in numbers. `missing` and `doubled` count kills after which something was.

    `starved` counts those that came too late: the holder had not been able to renew its lease, and was told so.
    """

    kills: int = 0
    starved: int = 0
    acknowledged: int = 0
    missing: int = 0
    doubled: int = 0
    late: int = 0
    slowest_s: float = 0.0

    def add(self, acknowledged: int, found: int, seconds: float) -> None:
        """Count one kill: the last save that the killed one has told, what the next one found, and how soon."""
        self.kills += 1
        self.missing += found < acknowledged
        self.doubled += found > acknowledged + 1  # one may have been stored, and not been told any more
        self.late += seconds > (LEASE + GRACE).total_seconds()
        self.slowest_s = max(self.slowest_s, round(seconds, 3))


async def hold(url: str, key: str) -> None:
    """Be one process: wait for the document, say what it is, and then each change of it that was saved."""
    async with sojourn.open(url) as store:
        counts = Documents(store, "counts", schema=int, template=0, lease=LEASE, autosave=None)
        print("waiting", flush=True)
        count = await counts.load(key, wait=PATIENCE)
        with suppress(LeaseLostError):  # on a machine that lets it starve; the next one goes on then too
            while True:
                print(count.value, flush=True)
                await count.update_immutable(lambda value: value + 1)
                await count.save()


class Holder:
    """A process that waits for a document and then holds it, until it is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.found: asyncio.Future[tuple[int, float]] = asyncio.get_running_loop().create_future()
        self.last = 0
        self._process = process
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, url: str, key: str) -> Holder:
        """Start it, and return when it is about to wait."""
        command = [sys.executable, "-m", "tools.holders", "--hold", url, key]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"waiting\n", "it says on stderr why it did not start"
        return cls(process)

    @property
    def was_killed(self) -> bool:
        """Say whether it has ended by being killed, and not by itself."""
        return self._process.returncode == -signal.SIGKILL

    async def kill(self) -> int:
        """Kill it; return the last value that it had saved and told."""
        if self._process.returncode is None:
            self._process.kill()
        await self._listening
        await self._process.wait()
        return self.last

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.last = int(line)
            if not self.found.done():
                self.found.set_result((self.last, time.monotonic()))
        if not self.found.done():
            self.found.set_exception(AssertionError("it has ended without the document; it says on stderr why"))


async def prove(url: str, times: int, seed: int) -> Sums:
    """Kill holders so many times; return the sums."""
    sums = Sums()
    async with asyncio.TaskGroup() as group:
        for number in range(min(times, SIDE_BY_SIDE)):
            chance = random.Random(f"{seed} {number}")  # noqa: S311  repeatable by its seed
            kills = len(range(number, times, SIDE_BY_SIDE))
            group.create_task(_one_after_another(url, f"count {number}", kills, chance, sums))
    return sums


async def _one_after_another(url: str, key: str, times: int, chance: random.Random, sums: Sums) -> None:
    holder = await Holder.start(url, key)
    try:
        await holder.found
        for _ in range(times):
            waiting = await Holder.start(url, key)
            try:
                await asyncio.sleep(chance.uniform(0, LEASE.total_seconds()))  # at any age of the lease
                killed_at = time.monotonic()
                acknowledged = await holder.kill()
                found, found_at = await waiting.found
                sums.starved += not holder.was_killed
                sums.add(acknowledged, found, found_at - killed_at)
            finally:
                await holder.kill()
                holder = waiting
    finally:
        sums.acknowledged += await holder.kill()


def main() -> None:
    """Run the proof and report; exit 1 when anything was lost or doubled, or a loader came late."""
    if sys.argv[1:2] == ["--hold"]:
        url, key = sys.argv[2:]
        return asyncio.run(hold(url, key))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--on", action="append", choices=["sqlite", *NAMES], help="on this one only")
    parser.add_argument("--store", help="on this store")
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    is_sound = True
    with sharing(), tempfile.TemporaryDirectory() as folder:
        stores = (
            {"the store": asked.store} if asked.store else {name: address(name, folder) for name in asked.on or BASES}
        )
        for name, store in stores.items():
            sums = asyncio.run(prove(store, asked.times, asked.seed))
            print(f"{name}: {msgspec.json.encode(sums).decode()}", flush=True)
            is_sound = is_sound and not (sums.missing or sums.doubled or sums.late)
    sys.exit(0 if is_sound else 1)


if __name__ == "__main__":
    main()
