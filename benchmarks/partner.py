"""A module of these benchmarks as a process of its own, which is spoken with line by line.

Both sides note moments by `time.perf_counter`, which all processes of a machine share on Linux and on macOS.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Partner", "partner", "say", "told"]

_LINE_BYTES: Final = 4_000_000


class Partner:
    """The other process, from the side that started it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def tell(self, line: str) -> None:
        """Send it a line."""
        self._in.write(f"{line}\n".encode())

    async def hear(self) -> str:
        """Return the next line that it says.

        Raises:
            ConnectionError: it has ended; what it died of stands on its error output.
        """
        line = await self._out.readline()
        if not line:
            raise ConnectionError("the other process has ended")
        return line.decode().rstrip("\n")

    def leave(self) -> None:
        """Let it end: it hears no more lines."""
        self._in.close()


@asynccontextmanager
async def partner(module: str, *arguments: str) -> AsyncGenerator[Partner]:
    """Start a module, wait for its first line, which says that it is ready, and let it end with the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdin=pipe, stdout=pipe, limit=_LINE_BYTES
    )
    other = Partner(process)
    try:
        await other.hear()
        yield other
    finally:
        other.leave()
        await process.wait()


def say(line: str) -> None:
    """Say a line, as the process that was started."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def told() -> str:
    """Return the next line that the process was told; an empty one says that it shall end."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.rstrip("\n")
