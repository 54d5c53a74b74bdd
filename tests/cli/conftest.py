"""The command line in this process, over a SQLite file that the test made itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

import sojourn
from sojourn.cli import main
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock

T = TypeVar("T")


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def within(url: str, work: Callable[[Sessions], Awaitable[T]], ago: timedelta = timedelta()) -> T:
    """Do some work on the sessions of a store, as of some time ago."""

    async def opened() -> T:
        clock = ManualClock(time.time_ns() // 1_000_000 - ago // timedelta(milliseconds=1))
        async with sojourn.open(url, clock=clock) as store:
            return await work(Sessions(store))

    return asyncio.run(opened())


def begin(url: str, subject: str | None = None, *, label: str | None = None, ago: timedelta = timedelta()) -> str:
    """Begin a session and return its token."""

    async def issue(sessions: Sessions) -> str:
        return (await sessions.issue(subject, label=label)).token

    return within(url, issue, ago)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, and a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "PYTHONUNBUFFERED", "SOJOURN_STORE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store, also in the environment."""
    url = f"sqlite:///{folder}/app.db"

    async def nothing(sessions: Sessions) -> None: ...

    within(url, nothing)
    monkeypatch.setenv("SOJOURN_STORE", url)
    return url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run_main(*arguments: str) -> Ran:
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return run_main
