"""Kill, freeze and cut off real databases while they are used, again and again, with new seeds.

    python -m tools.soak --times 10
    python -m tools.soak --times 1 --server postgres --scenario killed --seed 17

The scenarios are those that the tests run once. The first promise that is broken ends it, with the command that does
the same again. What a seed decides is repeatable; what the machine decides may need a few times.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, TypeAlias, TypeVar

import msgspec

from tests.engines.redis import test_cluster_failures as cluster
from tests.failures import scenarios as single
from tests.failures.load import Sums
from tests.servers.cluster import ClusterServers

S = TypeVar("S")

Run: TypeAlias = Callable[[int], Sums]
"""One scenario on a new server, by its seed."""


def _on_a_new(make: Callable[[], AbstractContextManager[S]], scenario: Callable[[S, int], Awaitable[Sums]]) -> Run:
    async def run(seed: int) -> Sums:
        with make() as server:
            return await scenario(server, seed)

    return lambda seed: asyncio.run(run(seed))


RUNS: Final[Mapping[str, Mapping[str, Run]]] = {
    **{
        kind: {name: _on_a_new(make, scenario) for name, scenario in single.SCENARIOS.items()}
        for kind, make in single.SERVERS.items()
    },
    "redis-cluster": {name: _on_a_new(ClusterServers, scenario) for name, scenario in cluster.SCENARIOS.items()},
}


def soak(server: str, scenario: str, seed: int) -> None:
    """Run one scenario on a new server, and say what happened.

    Raises:
        Exception: whatever went wrong; a note on it says how to repeat it.
    """
    began = time.perf_counter()
    try:
        sums = RUNS[server][scenario](seed)
    except Exception as error:
        command = f"python -m tools.soak --times 1 --server {server} --scenario {scenario} --seed {seed}"
        error.add_note(f"to repeat it: {command}")
        raise
    print(f"{server} {scenario}: {time.perf_counter() - began:.1f} s {msgspec.json.encode(sums).decode()}", flush=True)


def main() -> None:
    """Run everything so many times; what is broken ends it with its traceback, and status 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of the first time")
    parser.add_argument("--server", choices=tuple(RUNS), help="all, unless given")
    parser.add_argument(
        "--scenario", choices=sorted({name for runs in RUNS.values() for name in runs}), help="all, unless given"
    )
    asked = parser.parse_args()
    logging.getLogger("sojourn").setLevel(logging.ERROR)  # that a watcher has to try again is what is wanted here
    for seed in range(asked.seed, asked.seed + asked.times):
        print(f"seed {seed}", flush=True)
        for server, runs in RUNS.items():
            for scenario in runs:
                if asked.server in {None, server} and asked.scenario in {None, scenario}:
                    soak(server, scenario, seed)


if __name__ == "__main__":
    main()
