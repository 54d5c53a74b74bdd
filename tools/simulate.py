"""`make simulate`: live through worlds of the simulation, and say what broke.

    make simulate SEED=7                    every event of one world
    make simulate SEEDS=5000 [FROM=1000]    many worlds on all cores: which of them broke, and what happened in all

A seed gives the same world each time, in whatever process. To see that a fault of the library would be found, run
`make planted`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from sojourn.testing import simulation
from sojourn.testing.simulation import Report

__all__ = ["main"]

SHARE = 25
"""Seeds that a worker takes at a time."""


def main() -> int:
    """Run what is asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, help="show this one")
    parser.add_argument("--seeds", type=int, default=200, help="run so many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--steps", type=int, default=simulation.STEPS, help="events of each")
    parser.add_argument("--stop", action="store_true", help="at the first that breaks")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _show(simulation.run(asked.seed, steps=asked.steps))
    return _sum_up(range(asked.first, asked.first + asked.seeds), asked.steps, stop=asked.stop)


def _show(report: Report) -> int:
    print("\n".join(report.trace))
    print(_shown(Counter(report.sums)))
    for violation in report.violations:
        print(f"seed {report.seed}: {violation}")
    return 0 if report.is_sound else 1


def _sum_up(seeds: range, steps: int, *, stop: bool) -> int:
    began, sums, broken = time.perf_counter(), Counter[str](), 0
    for report in _reports(seeds, steps):
        sums.update(report.sums)
        if not report.is_sound:
            broken += 1
            print(f"make simulate SEED={report.seed}    # {report.violations[0]}", flush=True)
            if stop:
                break
    print(_shown(sums))
    print(f"seeds {seeds.start} to {seeds.stop - 1} in {time.perf_counter() - began:.0f} s: {broken or 'none'} broke")
    return 1 if broken else 0


def _reports(seeds: range, steps: int) -> Iterator[Report]:
    shares = [(seeds[at : at + SHARE], steps) for at in range(0, len(seeds), SHARE)]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        try:
            for reports in workers.map(_run, shares):
                yield from reports
        finally:
            workers.shutdown(cancel_futures=True)


def _run(share: tuple[range, int]) -> list[Report]:
    """Run some seeds; what happened in them is told only where something broke."""
    seeds, steps = share
    reports = (simulation.run(seed, steps=steps) for seed in seeds)
    return [report if not report.is_sound else msgspec.structs.replace(report, trace=()) for report in reports]


def _shown(sums: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(sums.items()))


if __name__ == "__main__":
    sys.exit(main())
