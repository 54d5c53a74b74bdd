"""What goes wrong with documents."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import ClassVar, Literal

from sojourn.errors.kinds import ClosedError, RefusedError, Retry, SojournError

__all__ = [
    "DocumentClosedError",
    "DocumentInvalidError",
    "DocumentNotLoadedError",
    "DocumentUnknownError",
    "ImportFailedError",
    "KeysChangedError",
    "LoadCancelledError",
    "LoadInProgressError",
    "MigrationFailedError",
    "TransformInvalidError",
    "UnloadFailedError",
]


class DocumentClosedError(ClosedError):
    """The document was unloaded, or is being unloaded: it takes no change any more."""

    code: ClassVar[str] = "document_closed"


class DocumentUnknownError(RefusedError):
    """No such document, or no such revision of it, is stored; nothing was written."""

    code: ClassVar[str] = "document_unknown"


class DocumentNotLoadedError(RefusedError):
    """The document is not loaded by this process, so it cannot be used here; nothing was written."""

    code: ClassVar[str] = "document_not_loaded"


class DocumentInvalidError(RefusedError):
    """A document's value breaks its schema; nothing was written, and what was there stands.

    `key` is the document's, None for a template. `source` says where the value came from: `template`, `stored`,
    `migration`, `import` or `change`.
    """

    code: ClassVar[str] = "document_invalid"

    def __init__(self, problem: str, *, source: str, key: str | None = None) -> None:
        where = source if key is None else f"the document {key!r} ({source})"
        super().__init__(f"{where}: {problem}")
        self.problem = problem
        self.source = source
        self.key = key


class TransformInvalidError(RefusedError):
    """A change of a document is a coroutine, calls back to its document, or does not say yes or no; nothing changed."""

    code: ClassVar[str] = "transform_invalid"


class KeysChangedError(RefusedError):
    """A change of several documents gave back other keys than it was given; nothing changed."""

    code: ClassVar[str] = "keys_changed"


class MigrationFailedError(RefusedError):
    """A migration step raised, or returned nothing; nothing was written. `step` is its name."""

    code: ClassVar[str] = "migration_failed"

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class ImportFailedError(RefusedError):
    """What brings old data in raised; nothing was written, and the next load asks it again."""

    code: ClassVar[str] = "import_failed"


class LoadInProgressError(RefusedError):
    """The document is being loaded by this process already; wait for that one."""

    code: ClassVar[str] = "load_in_progress"


class LoadCancelledError(RefusedError):
    """The document was unloaded, or the documents were closed, while it was being loaded; the lease was given back."""

    code: ClassVar[str] = "load_cancelled"


class UnloadFailedError(SojournError):
    """Some documents could not be saved and given back. `failed` has the error of each, by key.

    What lost its lease has its unsaved value in `LeaseLostError.unsaved`; the others are still loaded, so that closing
    can be tried again.
    """

    code: ClassVar[str] = "unload_failed"
    retry: ClassVar[Retry] = Retry.LATER
    written: ClassVar[Literal["no", "perhaps"]] = "perhaps"

    def __init__(self, failed: Mapping[str, Exception]) -> None:
        shown = [f"{key}: {error}" for key, error in islice(failed.items(), 5)]
        if len(failed) > len(shown):
            shown.append(f"and {len(failed) - len(shown)} more")
        super().__init__(f"{len(failed)} could not be unloaded: {'; '.join(shown)}")
        self.failed = failed
