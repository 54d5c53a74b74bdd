"""`sojourn doctor`: examine a store, one line for each check."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from statistics import median
from typing import Final, Literal, TypeAlias

import msgspec

from sojourn.cli import output
from sojourn.cli.failures import OTHERWISE
from sojourn.cli.stores import existing
from sojourn.errors import ConflictError, SojournError
from sojourn.kernel import Absent, Delete, Key, Put, Reads, RevisionIs, Store, Transaction, ids

__all__ = ["Check", "Diagnosis", "checks", "examine"]

SPACE: Final = "cli.doctor"
"""Where the trial records stand. They expire by themselves if the command is killed before it deletes them."""

COMMITS: Final = 9
"""How many commits are timed."""

CLOCKS_APART: Final = timedelta(seconds=1)
"""From where on the two clocks are worth a warning: people who compare logs would see it."""

_LIFE: Final = timedelta(minutes=1)
_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}

Status: TypeAlias = Literal["ok", "warning", "failed"]


class Check(msgspec.Struct, frozen=True):
    """One check: what was found, what to do about it unless it is ok, and the figures in it for programs."""

    name: str
    status: Status
    found: str
    advice: str | None = None
    figures: dict[str, float | str] = {}


class Diagnosis(msgspec.Struct, frozen=True):
    """What `doctor` prints; `healthy` says that nothing has failed."""

    healthy: bool
    checks: list[Check]


async def examine(url: str | None, *, as_json: bool) -> int:
    """Print what every check finds, as it comes, and return the exit code."""
    made = list[Check]()
    try:
        async with existing(url) as store:
            async for check in checks(store):
