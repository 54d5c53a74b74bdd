"""Taking turns: a courtesy between the processes that write to one file.

SQLite lets one process write at a time and tells the others to try again later. Who tries at the right moment wins,
and that is mostly the one who has just finished: without more, one process gets most of the commits and another waits
for seconds. So before each batch a writer passes a turnstile of two locks:

    take `next`, take `main`, give `next` back, write the batch, give `main` back

Whoever holds `next` is the only one who waits for `main`, so he follows the present writer. The writer, coming back
for another batch, finds `next` taken and queues behind him.

It is a courtesy only. What keeps the data sound is SQLite's own lock, taken afterwards in any case; a process that has
been stopped with a lock in its hand delays the others by `limits.SQLITE_TURN`, and is then passed by. Whoever passes
by, and finds that the file is being written after all, comes back to the place that he had reached.

The locks are those of flock(2), each on an empty file of its own. They belong to the open file, not to the process as
byte ranges do, so two engines of one process take turns as well; and the system gives them back when a process dies.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from sojourn import limits
from sojourn.engines.sqlite.patience import Patience

__all__ = ["Turn"]

if sys.platform == "win32":

    class Turn:
        """No courtesy: this platform has no flock, and SQLite's own lock has to do."""

        def __init__(self, path: Path) -> None:
            pass

        def wait(self) -> None:
            """Do nothing."""

        def leave(self) -> None:
            """Do nothing."""

        def close(self) -> None:
            """Do nothing."""

else:
    import fcntl

    class Turn:
        """The turn of one writer at one file. Used by one thread."""

        def __init__(self, path: Path) -> None:
            self._path = path
            self._files: tuple[int, int] | None = None
            self._has_next = False
            self._has_main = False

        def wait(self) -> None:
            """Wait for the turn, `limits.SQLITE_TURN` at most; called again, it goes on from the place reached."""
            files = self._files or self._open()
            if files is None or self._has_main:
                return
            following, main = files
            patience = Patience(limits.SQLITE_TURN)
            self._has_next = self._has_next or _take(following, patience)
            if self._has_next and _take(main, patience):
                self._has_main = True
                self._has_next = False
                fcntl.flock(following, fcntl.LOCK_UN)

        def leave(self) -> None:
            """Give back what was had of the turn."""
            if self._files is not None:
                for lock, is_held in zip(self._files, (self._has_next, self._has_main), strict=True):
                    if is_held:
                        fcntl.flock(lock, fcntl.LOCK_UN)
            self._has_next = self._has_main = False

        def close(self) -> None:
            """Close the two files. They stay: removing one that another process has open would make two of it."""
            files, self._files = self._files, None
            for file in files or ():
                os.close(file)

        def _open(self) -> tuple[int, int] | None:
            with contextlib.suppress(OSError):  # without the files there is no courtesy, and nothing else is lost
                # Whoever may open the database may open these.
                mode = self._path.stat().st_mode & 0o777
                following = os.open(f"{self._path}-next", os.O_RDONLY | os.O_CREAT, mode)
                try:
                    self._files = (following, os.open(f"{self._path}-turn", os.O_RDONLY | os.O_CREAT, mode))
                except OSError:
                    os.close(following)
            return self._files

    def _take(lock: int, patience: Patience) -> bool:
        """Take the lock; say whether that was possible in time."""
        patience.hurry()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not patience.pause():
                    return False
            except OSError:  # no such locks on this file system
                return False
            else:
                return True
