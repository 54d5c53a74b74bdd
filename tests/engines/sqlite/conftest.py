"""A file of its own for each test, an engine over it, and children that share it."""

import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sojourn.engines.sqlite import SqliteEngine
from sojourn.testing import ManualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def engine(path: Path, clock: ManualClock) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine(path, clock=clock)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
def spawn(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run Python in a child, with the path as its first argument. No child outlives the test."""
    children: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(source), str(path), *arguments]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()
