"""Measure all rows, or those named, print them as they come, and write the page when it is whole."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from benchmarks import (
    actions,
    cleanup,
    click_trips,
    cluster,
    commits,
    counter,
    dialogs,
    documents,
    footprint,
    hand_over,
    held,
    histories,
    live,
    live_burst,
    live_mutations,
    live_processes,
    mutations,
    peers,
    postgres,
    redis,
    resolve,
    round_trips,
    slow_disk,
    slow_servers,
    snapshots,
    turn_trips,
    visits,
    waits,
    watch,
)
from benchmarks.figures import Pace, Row
from benchmarks.machine import this_machine
from benchmarks.page import lines_of, render
from tests.servers import sharing

ROWS: dict[str, Callable[[Pace], Awaitable[Row]]] = {
    "commits": commits.measure,
    "slow-disk": slow_disk.measure,
    "waits": waits.measure,
    "counter": counter.measure,
    "resolve": resolve.measure,
    "http": mutations.measure,
    "footprint": footprint.measure,
    "postgres": postgres.measure,
    "redis": redis.measure,
    "slow-servers": slow_servers.measure,
    "actions": actions.measure,
    "visits": visits.measure,
    "cleanup": cleanup.measure,
    "documents": documents.measure,
    "held": held.measure,
    "snapshots": snapshots.measure,
    "histories": histories.measure,
    "dialogs": dialogs.measure,
    "peers": peers.measure,
    "live": live.measure,
    "live-mutations": live_mutations.measure,
    "live-burst": live_burst.measure,
    # From here on servers are shared, and run until the end: nothing else is to be measured beside them.
    "round-trips": round_trips.measure,
    "turn-trips": turn_trips.measure,
    "click-trips": click_trips.measure,
    "hand-over": hand_over.measure,
    "watch": watch.measure,
    "live-processes": live_processes.measure,
    "cluster": cluster.measure,
}

FULL = Pace(seconds=1.0, rounds=5, sessions=10_000)
QUICK = Pace(seconds=0.05, rounds=1, sessions=100, fetches=False)
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "performance.md"


async def main() -> None:
    """Measure, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ROWS)}; without any, all")
    parser.add_argument("--quick", action="store_true", help="each row for a moment: proves that it runs")
    parser.add_argument("--json", action="store_true", help="print each row as a line of JSON")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    pace = QUICK if asked.quick else FULL
    machine = this_machine()
    found: list[Row] = []
    with sharing():
        for name in asked.rows or ROWS:
            row = await ROWS[name](pace)
            found.append(row)
            _say(msgspec.json.encode(row).decode() if asked.json else "\n".join(lines_of(row)))
    if not asked.quick and not asked.rows:
        PAGE.write_text(render(machine, found), encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
