"""The benchmarks run, and what they count holds; how fast anything is, is no test's business."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.__main__ import ROWS
from benchmarks.figures import Figure, Row, count
from benchmarks.machine import Machine
from benchmarks.page import render

ROOT = Path(__file__).parents[2]


VISITS = ["actions", "visits", "cleanup"]
DOCUMENTS = ["documents", "held"]
SNAPSHOTS = ["snapshots", "histories", "peers"]
DIALOGS = ["dialogs"]
LIVE = ["live", "live-mutations", "live-burst"]
WITH_SERVERS = [
    *("postgres", "redis", "slow-servers", "round-trips", "turn-trips", "click-trips"),
    *("hand-over", "watch", "live-processes", "cluster"),
]
ALONE = [name for name in ROWS if name not in VISITS + DOCUMENTS + SNAPSHOTS + DIALOGS + LIVE + WITH_SERVERS]


@pytest.mark.parametrize(
    "names",
    [ALONE, VISITS, DOCUMENTS, SNAPSHOTS, DIALOGS, LIVE, WITH_SERVERS],
    ids=["alone", "visits", "documents", "snapshots", "dialogs", "live", "with servers"],
)
def test_every_row_is_measured_and_its_counts_hold(names: list[str]) -> None:
    """Proves that nothing acknowledged is lost, that callers wait for so many trips only, and that nothing is left."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", *names]
    said = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=110).stdout
    rows = {row.name: row for row in (msgspec.json.decode(line, type=Row) for line in said.splitlines())}
    assert list(rows) == names
    measured = {name: row for name, row in rows.items() if not row.absent}
    assert measured.keys() >= set(names) - {"slow-disk", "slow-servers", "peers"}, "only those may be absent"
    counts = {(name, figure.what): figure for name, row in measured.items() for figure in row.figures if figure.exact}
    assert {name for name, _ in counts} == measured.keys() - {"waits"}
    assert [what for what, figure in counts.items() if not figure.keeps(figure.promise or 0)] == []


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure(what="w", rounds=(4.0, 6.0, 5.0), promise=5, aim=8), "met; the aim missed by 38%"),
        (Figure(what="w", rounds=(9.0,), promise=5, aim=8), "met, and the aim"),
        (Figure(what="w", rounds=(4.0,), promise=5, aim=8), "**missed by 20%**"),
        (Figure(what="w", rounds=(4.0, 60.0), promise=50, at_most=True), "**missed by 20%**"),
        (Figure(what="w", rounds=(4.0,)), ""),
        (Figure(what="w", rounds=(4.0,), aim=5), "the aim missed by 20%"),
        (Figure(what="w", rounds=(4.0,), aim=5, at_most=True), "the aim is met"),
        (count("w", (0, 3)), "**missed by 3**"),
        (count("w", (0, 0)), "met"),
    ],
)
def test_a_figure_says_whether_it_keeps_its_promise(figure: Figure, verdict: str) -> None:
    """Proves that the median decides, or the worst round where less is better, and that a miss is told in full."""
    assert figure.verdict() == verdict


def test_the_page_shows_what_could_not_be_measured() -> None:
    """Proves that a row without figures says why, and that one with figures shows promise and verdict."""
    machine = Machine(2, "a processor", "Linux", "CPython 3.11", "3.40.1", "3.54.1", 0.1, 0.0)
    figure = Figure(what="128 tasks", rounds=(6.0, 5.5), promise=5)
    page = render(
        machine, [Row(name="a", title="A", figures=(figure,)), Row(name="b", title="B", absent="it needs gcc.")]
    )
    assert "| 128 tasks | 5.75x | 5.50 to 6 | ≥ 5x |  | met |" in page
    assert "Not measured: it needs gcc." in page
