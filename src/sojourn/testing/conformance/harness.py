"""What an engine's author gives the suite: how to make an empty store, and how to put an engine over it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Engine

__all__ = ["Capability", "Harness"]


class Capability(StrEnum):
    """A promise that an engine may keep or not, but must declare.

    A test that needs one expects `CapabilityError` where it is not declared; it is never skipped.
    """

    DURABLE = "durable"
    """What was committed outlives the engine and every process: another engine over the same address finds it."""
    CROSS_PARTITION = "cross_partition"
    """One transaction may span partitions of any name."""
    CROSS_PROCESS = "cross_process"
    """Several engines, in one process or in many, work on one address at the same time."""
    CROSS_PROCESS_WATCH = "cross_process_watch"
    """`changes` also tells what the other processes changed."""


class Harness(Protocol):
    """The stores that an engine is tried on. Its class takes no arguments, since child processes make their own."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Return what the engine promises beyond the thirteen promises; `describe` must say the same."""
        ...

    async def create(self, folder: Path) -> str:
        """Make a new, empty store and return its address, by which any process can reach it.

        `folder` is empty and lives as long as the test; what lives elsewhere goes in `destroy`.
        """
        ...

    def engine(self, address: str, clock: Clock) -> Engine:
        """Return an engine over the store, not yet opened, that takes its time from the clock."""
        ...

    async def destroy(self, address: str) -> None:
        """Remove the store; every engine over it is closed by now."""
        ...
