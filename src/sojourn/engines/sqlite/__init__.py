"""The SQLite engine, the embedded default: one file, any number of processes on one machine.

Beside the file at the path stand SQLite's own `-wal` and `-shm`, and `-turn` and `-next`, by which processes take
turns. Move or copy them together, and only while nobody has the store open.

An open engine must not be used in a forked child: open another one there. SQLite's locks belong to the process that
took them, so the child would write without any.
"""

from __future__ import annotations

from sojourn.engines.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
