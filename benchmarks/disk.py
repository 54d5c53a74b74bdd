"""A slower disk: `slow_fsync.c`, compiled on the spot, to be preloaded into a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias

__all__ = ["SLOW", "USUAL", "Environment", "NoSlowDiskError", "slow_disk"]

SLOW = 2_000
"""Microseconds that a network volume may take to say that something is safe."""

USUAL = 100
"""Microseconds that a good local disk takes. That of a virtual machine may answer sooner, from its host's memory."""

Environment: TypeAlias = dict[str, str]
"""Variables that a process gets besides its usual ones."""

_SOURCE = Path(__file__).with_name("slow_fsync.c")


class NoSlowDiskError(Exception):
    """This machine cannot be given a slower disk; the message says why."""


@asynccontextmanager
async def slow_disk() -> AsyncGenerator[Callable[[int], Environment]]:
    """Give what makes the variables of a process whose disk takes so many microseconds longer.

    Raises:
        NoSlowDiskError: it needs Linux and gcc.
    """
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise NoSlowDiskError("it needs Linux and gcc")
    with _open_folder() as folder:
        library = folder / "slow_fsync.so"
        command = (compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl")
        if await (await asyncio.create_subprocess_exec(*command)).wait():
            raise NoSlowDiskError("gcc could not compile the library")

        def environment(microseconds: int) -> Environment:
            return {"LD_PRELOAD": str(library), "SLOW_FSYNC_MICROSECONDS": str(microseconds)}

        yield environment


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Give a folder that a server which runs as somebody else can read as well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
