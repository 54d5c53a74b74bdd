"""A pytest plugin for tests of engines and session stores: `pytest -p sojourn.testing.plugin`, or `pytest_plugins`."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the conformance suite."""
    group = parser.getgroup("sojourn", "sojourn's engine conformance suite")
    group.addoption(
        "--promise", type=int, action="append", help="run only the tests of this promise of the engine port"
    )
    group.addoption("--history-seed", type=int, action="append", help="run the random history with this seed instead")
    group.addoption("--history-batches", type=int, help="let the random history be so many batches long")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers by which a test cites what it proves."""
    config.addinivalue_line("markers", "promise(*numbers): the promises of the engine port that this test proves")
    config.addinivalue_line("markers", "row(*ids): the rows of the conformance page that this test proves")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not prove one of the promises asked for."""
    wanted = set(config.getoption("--promise") or ())
    if not wanted:
        return
    kept, left_out = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        proved = {number for mark in item.iter_markers("promise") for number in mark.args}
        (kept if wanted & proved else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
