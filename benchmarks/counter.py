"""One session's counter, from many tasks and from two processes: `make race` with a watch in its hand."""

from __future__ import annotations

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.stores import store_on_sqlite
from tools.race import between_processes

__all__ = ["measure"]

_TASKS = 16
_TIMES_A_SECOND = 150


async def measure(pace: Pace) -> Row:
    """Count up from 16 tasks of one process, then of two, round by round."""
    times = max(1, round(pace.seconds * _TIMES_A_SECOND))
    lost: list[int] = []
    one: list[float] = []
    two: list[float] = []
    for _ in range(pace.rounds):
        for processes, rates in ((1, one), (2, two)):
            with store_on_sqlite() as url:
                acknowledged, kept, seconds = await between_processes(url, processes, _TASKS, times)
            # A refusal would end the race early, so what is not acknowledged counts as well.
            lost.append(max(processes * _TASKS * times - acknowledged, abs(acknowledged - kept)))
            rates.append(kept / seconds)
    return Row(
        name="counter",
        title="Updates of one session's counter on SQLite, all of one value",
        figures=(
            Figure(what="16 tasks", rounds=tuple(one), unit="/s", promise=1_000, aim=3_000),
            Figure(what="2 processes of 16 tasks", rounds=tuple(two), unit="/s", promise=500),
            count("lost, doubled or refused", tuple(lost)),
        ),
    )
