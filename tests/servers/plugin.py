"""What pytest does about servers: it shares them for the length of a run, and says in the end which it used."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.servers.sharing import Started, sharing
from tests.servers.stores import forget

_STARTED = pytest.StashKey[list[Started]]()
_SHARING = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to share, unless an outer run does: the workers of a run are within it."""
    stack = config.stash[_SHARING] = ExitStack()
    config.stash[_STARTED] = stack.enter_context(sharing())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing in servers of others, and kill what was started."""
    forget()
    config.stash[_SHARING].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers the tests ran on."""
    started = config.stash[_STARTED]
    if started:
        terminalreporter.section("servers")
        for server in started:
            terminalreporter.line(f"{server.name}: {server.version}, started in {server.seconds:.2f} s")
