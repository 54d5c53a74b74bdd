"""What a run tells: its events, what broke, and how much happened, so that nobody trusts one that did nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

__all__ = ["Report", "Telling"]


class Report(msgspec.Struct, frozen=True):
    """One run of the simulation. `violations` is empty when every promise was kept; `sums` counts what happened."""

    seed: int
    violations: tuple[str, ...]
    sums: dict[str, int]
    trace: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Say whether every promise was kept."""
        return not self.violations


class Telling:
    """The report while it is being written."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.violations: list[str] = []
        self.trace: list[str] = []

    def say(self, who: str, what: str) -> None:
        """Add an event to the trace."""
        self.trace.append(f"{asyncio.get_running_loop().time():10.3f}  {who:6} {what}")

    def accuse(self, what: str) -> None:
        """Say that a promise is broken."""
        self.violations.append(what)
        self.say("CANON", what)

    def report(self, seed: int) -> Report:
        """Return it as a value."""
        return Report(seed, tuple(self.violations), dict(sorted(self.sums.items())), tuple(self.trace))
