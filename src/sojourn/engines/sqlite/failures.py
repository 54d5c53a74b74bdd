"""From SQLite's errors to sojourn's: what happened, whether anything was written, and what to do about it.

No error of the driver leaves the engine. Which of ours it becomes depends on when it was raised, so there is one
function for each moment.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from sojourn import limits
from sojourn.errors import (
    CommitUnknownError,
    CorruptError,
    IncompatibleError,
    InvalidError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel.engine import BatchRefusedError

__all__ = ["at_commit", "before_commit", "while_opening", "while_reading"]

# What the surroundings can cause, and may cure: the file, the disk, the memory, another process.
_SURROUNDINGS = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.ConnectionClosedError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoLFSError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)

_DAMAGED = (apsw.CorruptError, apsw.NotADBError)

_ADVICE: dict[type[apsw.Error], str] = {
    apsw.BusyError: (
        f"another process has kept the file locked for {limits.SQLITE_BUSY.total_seconds():g} s; "
        "find out which program writes to it for so long, then repeat"
    ),
    apsw.CantOpenError: "the file cannot be opened; see whether it, and its folder, are still there",
    apsw.FullError: "the disk, or a quota on it, is full; make room, then repeat",
    apsw.IOError: "the disk reports an error; look at the system's log",
    apsw.NoMemError: "memory has run out",
    apsw.ReadOnlyError: "the file can no longer be written; see to its permissions, and to those of its folder",
}


def while_opening(error: apsw.Error, path: Path) -> SojournError:
    """Explain why the file at this path cannot be opened or made a store."""
    if isinstance(error, _DAMAGED):
        return IncompatibleError(f"{path} is not an SQLite database, or is damaged: {error}")
    if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
        return _unusable(path) or UnavailableError(f"{path} cannot be opened: {error}")
    return UnavailableError(_sentence(error, path))


def while_reading(error: apsw.Error, path: Path) -> SojournError:
    """Explain why a read failed."""
    if isinstance(error, _DAMAGED):
        return CorruptError(_damage(error, path))
    return UnavailableError(_sentence(error, path))


def before_commit(error: Exception, path: Path) -> SojournError | BatchRefusedError:
    """Explain an error met before COMMIT was asked for: the database has been rolled back, nothing was written."""
    if isinstance(error, _SURROUNDINGS):
        return UnavailableError(_sentence(error, path))
    if isinstance(error, _DAMAGED):
        return CorruptError(_damage(error, path))
    return BatchRefusedError(f"{type(error).__name__}: {error}")


def at_commit(error: apsw.Error, path: Path) -> SojournError:
    """Explain an error met by COMMIT itself.

    A full disk refuses bytes before the last page is there, and a log without its last page counts for nothing: that
    commit has not happened. After any other error it may have: when the disk fails to confirm what it was given, the
    pages can be in the file all the same, and whoever opens it after a crash would find them complete.
    """
    if isinstance(error, apsw.FullError | apsw.BusyError):
        return UnavailableError(_sentence(error, path))
    return CommitUnknownError(_sentence(error, path))


def _unusable(path: Path) -> InvalidError | None:
    """Return what is wrong with the path, if it is something that the caller must change."""
    folder = path.parent
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:  # too long a name, for example, which every question below would raise
        return InvalidError("path", f"it cannot be a file here ({error.strerror}); name another")
    if path.is_dir():
        return InvalidError("path", f"{path} is a folder; name a file in it")
    if not folder.is_dir():
        return InvalidError("path", f"the folder {folder} does not exist; create it, or name another")
    if path.exists() and not _allows(path, os.R_OK | os.W_OK):
        return InvalidError("path", f"{path} is read-only for this process; make it writable, or name another file")
    if not _allows(folder, os.W_OK | os.X_OK):
        problem = f"the folder {folder} is read-only for this process; SQLite keeps files beside the database"
        return InvalidError("path", f"{problem}, so make it writable, or name another")
    return None


def _allows(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _sentence(error: apsw.Error, path: Path) -> str:
    advice = next((advice for kind, advice in _ADVICE.items() if isinstance(error, kind)), None)
    return f"{path}: {error}" if advice is None else f"{path}: {advice} ({error})"


def _damage(error: apsw.Error, path: Path) -> str:
    return f"{path} is damaged ({error}); restore a copy, or save what can be saved with sqlite3's .recover"
