"""One session's counter, from many tasks and from two processes: `make race` with a watch in its hand."""

from __future__ import annotations

from benchmarks.figures import Figure, Pace, Row
from tools.race import between_processes

__all__ = ["measure"]

_TASKS = 16
_TIMES_A_SECOND = 150


async def measure(pace: Pace) -> Row:
    """Count up from 16 tasks of one process, then of two, round by round."""
    times = max(1, round(pace.seconds * _TIMES_A_SECOND))
    lost: list[int] = []
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(pace.rounds):
        for processes in rates:
            acknowledged, kept, seconds = await between_processes(processes, _TASKS, times)
            # A refusal would end the race early, so what is not acknowledged counts as well.
            lost.append(max(processes * _TASKS * times - acknowledged, abs(acknowledged - kept)))
            rates[processes].append(kept / seconds)
    return Row(
        name="counter",
        title="Updates of one session's counter on SQLite, all of one value",
        figures=(
            Figure(what="16 tasks", rounds=tuple(rates[1]), unit="/s", promise=1_000, aim=3_000),
            Figure(what="2 processes of 16 tasks", rounds=tuple(rates[2]), unit="/s", promise=500),
            Figure(what="lost, doubled or refused", rounds=tuple(lost), unit="", promise=0, at_most=True, exact=True),
        ),
    )
