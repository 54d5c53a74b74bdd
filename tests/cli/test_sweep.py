"""`sojourn sweep`: what has expired is removed, and summed up."""

import json
import sys
from datetime import timedelta
from io import StringIO

import pytest

from .conftest import Run, begin

KEYS = ["sessions", "records", "receipts", "log_rows"]


def test_what_has_expired_is_removed_and_summed_up(url: str, run: Run) -> None:
    """Proves that idle sessions and expired records go, live ones stay, and a second sweep finds nothing more."""
    begin(url)
    begin(url, ago=timedelta(minutes=40))
    begin(url, "ada", ago=timedelta(days=20))
    ran = run("sweep")
    sums = dict(line.rsplit("  ", 1) for line in ran.out.splitlines())
    removed = {name.strip(): int(count.replace(",", "")) for name, count in sums.items()}
    assert (ran.code, ran.err) == (0, "")
    assert removed["idle sessions ended"] == 1
    assert removed["expired records removed"] > 0
    again = json.loads(run("sweep", "--json").out)
    assert (list(again), again["sessions"], again["records"]) == (KEYS, 0, 0)
    assert len(json.loads(run("sessions", "list", "--json").out)["sessions"]) == 1


def test_a_bar_shows_on_a_terminal_only(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the bar is drawn on the standard error output of a terminal, and never mixes with the JSON."""
    begin(url, ago=timedelta(days=20))
    assert run("sweep").err == ""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    begin(url, ago=timedelta(days=20))
    ran = run("sweep", "--json")
    assert isinstance(sys.stderr, Terminal)
    assert " removed" in sys.stderr.getvalue()
    assert json.loads(ran.out)["records"] > 0
