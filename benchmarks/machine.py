"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.plain import sqlite_versions

__all__ = ["Machine", "fdatasync_ms", "resident_bytes", "this_machine"]

_BLOCK = os.urandom(4_096)


class Machine(msgspec.Struct, frozen=True):
    """What the figures depend on."""

    cores: int
    processor: str
    system: str
    python: str
    sqlite_stdlib: str
    sqlite_apsw: str
    fdatasync_ms: float
    load: float


def this_machine() -> Machine:
    """Look at this machine, and measure its disk."""
    stdlib, apsw = sqlite_versions()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cores,
        _processor(),
        platform.system(),
        f"{platform.python_implementation()} {platform.python_version()}",
        stdlib,
        apsw,
        fdatasync_ms(times=500),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def fdatasync_ms(times: int) -> float:
    """Return the median milliseconds that the disk needs to keep 4 KiB, written over what was there."""
    force = getattr(os, "fdatasync", os.fsync)
    took: list[float] = []
    with tempfile.TemporaryFile() as file:
        file.write(_BLOCK)
        force(file.fileno())
        for _ in range(times):
            before = time.perf_counter()
            os.pwrite(file.fileno(), _BLOCK, 0)
            force(file.fileno())
            took.append(1_000 * (time.perf_counter() - before))
    return statistics.median(took)


def resident_bytes() -> int:
    """Return the memory of this process, 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
