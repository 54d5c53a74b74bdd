"""A pytest plugin that writes what became of each test into the file that `SOJOURN_UPSTREAM_RESULTS` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import pytest

__all__ = ["RESULTS", "STORE", "pytest_runtest_logreport", "pytest_sessionfinish"]

RESULTS: Final = "SOJOURN_UPSTREAM_RESULTS"
STORE: Final = "SOJOURN_UPSTREAM_STORE"
"""Names the store that a suite runs on: `memory` and `sqlite` for a fresh one each time, else a URL."""

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test went; whatever of it fails, its setup too, makes it failed."""
    if report.when == "call" or not report.passed:
        before = _outcomes.get(report.nodeid)
        _outcomes[report.nodeid] = report.outcome if before in {None, "passed"} else before or report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was noted, once, in the process that began the run."""
    if not hasattr(session.config, "workerinput"):
        Path(os.environ[RESULTS]).write_bytes(msgspec.json.encode(_outcomes))
