"""docs/reference/performance.md, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.figures import Figure, Row
from benchmarks.machine import Machine

__all__ = ["lines_of", "render"]

_HEAD = """# Performance

Made by `make bench`. An `x` is a ratio to a baseline that ran in the same minute: the two take turns, round by round, a
ratio is taken within a round, and the figure is the median. Where less is better, and where a count has to hold, the
figure is that of the worst round. What is promised is the floor; the aim is what we work towards. All else is there to
understand them by, and holds for this machine only.

    make bench                                   # all of it, about twenty minutes; leave the machine alone meanwhile
    python -m benchmarks commits http            # some rows, printed only
    python -m benchmarks --quick                 # every row for a moment: the counts hold, the figures say little
"""


def render(machine: Machine, rows: Iterable[Row]) -> str:
    """Return the page."""
    return (
        "\n".join((_HEAD, *_machine_lines(machine), *(line for row in rows for line in lines_of(row)))).rstrip() + "\n"
    )


def lines_of(row: Row) -> Iterator[str]:
    """Give the part of the page that one row is."""
    yield f"## {row.name}"
    yield ""
    yield f"{row.title}."
    yield ""
    if row.absent:
        yield f"Not measured: {row.absent}"
        yield ""
        return
    yield "| what | figure | rounds | promise | aim | |"
    yield "|---|---|---|---|---|---|"
    for figure in row.figures:
        yield f"| {' | '.join(_cells(figure))} |"
    yield ""
    for remark in row.remarks:
        yield remark
        yield ""


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.what,
        figure.shown_value(),
        figure.shown_spread(),
        figure.shown_bound(figure.promise),
        figure.shown_bound(figure.aim),
        figure.verdict(),
    )


def _machine_lines(machine: Machine) -> Iterator[str]:
    yield "## The machine"
    yield ""
    yield "| what | |"
    yield "|---|---|"
    yield f"| processor | {machine.cores} cores, {machine.processor}, {machine.system} |"
    yield f"| Python | {machine.python} |"
    yield f"| SQLite | {machine.sqlite_apsw} in sojourn (apsw), {machine.sqlite_stdlib} in the plain loop (sqlite3) |"
    yield f"| disk | {machine.fdatasync_ms:.2f} ms for the fdatasync of 4 KiB written in place (median of 500) |"
    yield f"| load before the first row | {machine.load:.1f} |"
    yield ""
