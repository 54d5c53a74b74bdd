"""The kinds of failure, and what any part of the library may raise."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

__all__ = [
    "CapabilityError",
    "ClosedError",
    "CommitUnknownError",
    "ConflictError",
    "CorruptError",
    "IncompatibleError",
    "InvalidError",
    "LeaseHeldError",
    "LeaseLostError",
    "LimitError",
    "MissingExtraError",
    "OverloadedError",
    "RefusedError",
    "Retry",
    "SojournError",
    "UnavailableError",
]


class Retry(StrEnum):
    """What a caller may do after an error."""

    AFTER_READING = "after_reading"
    """Read the state again, decide again, then commit under a new transaction."""
    SAME_ID = "same_id"
    """Repeat the very same transaction id; under a new id the work might be done twice."""
    LATER = "later"
    """Wait, then repeat unchanged."""
    NEVER = "never"
    """Repeating unchanged cannot succeed."""


class SojournError(Exception):
    """Anything that sojourn raises on purpose; catch it to catch all of them."""

    code: ClassVar[str] = "sojourn"
    retry: ClassVar[Retry] = Retry.NEVER
    written: ClassVar[Literal["no", "perhaps"]] = "no"


class ConflictError(SojournError):
    """A guard failed, so nothing was written: read again and decide again.

    `guard` is the guard that failed, `found` the record that stands at its key (None when there is none, or
    when the guard covers a span), `now` the engine's time in milliseconds: enough to decide without another read.
    """

    code: ClassVar[str] = "conflict"
    retry: ClassVar[Retry] = Retry.AFTER_READING

    def __init__(self, message: str, *, guard: object = None, found: object = None, now: int | None = None) -> None:
        super().__init__(message)
        self.guard = guard
        self.found = found
        self.now = now


class LeaseHeldError(ConflictError):
    """Somebody else holds the lease, and it was not released within the time given; nothing was written."""

    code: ClassVar[str] = "lease_held"
    retry: ClassVar[Retry] = Retry.LATER


class LeaseLostError(ConflictError):
    """The lease ended, was released or was taken by another holder; nothing was written.

    `unsaved` is what the holder had not saved, for faces that keep a value in memory; None elsewhere.
    """

    code: ClassVar[str] = "lease_lost"

    def __init__(
        self,
        message: str,
        *,
        guard: object = None,
        found: object = None,
        now: int | None = None,
        unsaved: object = None,
    ) -> None:
        super().__init__(message, guard=guard, found=found, now=now)
        self.unsaved = unsaved


class CommitUnknownError(SojournError):
    """The answer was lost: perhaps written, perhaps not. The kernel has already repeated the same id for a while.

    Repeat the same transaction id to find out; a new id might do the work twice.
    """

    code: ClassVar[str] = "commit_unknown"
    retry: ClassVar[Retry] = Retry.SAME_ID
    written: ClassVar[Literal["no", "perhaps"]] = "perhaps"


class UnavailableError(SojournError):
    """The store could not be reached or could not take more; nothing was written: wait and repeat."""

    code: ClassVar[str] = "unavailable"
    retry: ClassVar[Retry] = Retry.LATER


class OverloadedError(UnavailableError):
    """More transactions or bytes are waiting than `limits` allows; nothing was written: wait and repeat."""

    code: ClassVar[str] = "overloaded"


class RefusedError(SojournError):
    """Nothing was written, and repeating unchanged is useless: the caller must change something."""

    code: ClassVar[str] = "refused"


class InvalidError(RefusedError):
    """A value is not of the form asked for. `name` is the value's name."""

    code: ClassVar[str] = "invalid"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class LimitError(RefusedError):
    """A value is beyond a limit. `name` is the value's name, `limit` the most allowed, `found` what was given."""

    code: ClassVar[str] = "limit"

    def __init__(self, name: str, *, limit: int, found: int, unit: str) -> None:
        super().__init__(f"{name}: at most {limit} {unit} allowed, found {found}")
        self.name = name
        self.limit = limit
        self.found = found
        self.unit = unit


class ClosedError(RefusedError):
    """The store, or something that belongs to it, is closed or was never opened."""

    code: ClassVar[str] = "closed"


class IncompatibleError(RefusedError):
    """What stands where the store should be is not sojourn's, or was written by a newer release."""

    code: ClassVar[str] = "incompatible"


class CapabilityError(SojournError):
    """This engine cannot do that. `capability` is the name of what it lacks."""

    code: ClassVar[str] = "capability_missing"

    def __init__(self, capability: str, problem: str) -> None:
        super().__init__(f"this engine lacks {capability}: {problem}")
        self.capability = capability


class CorruptError(SojournError):
    """Stored bytes cannot be understood: damaged, or written by something else."""

    code: ClassVar[str] = "corrupt"


class MissingExtraError(SojournError, ImportError):
    """An optional dependency is not installed. `extra` is what to install it by."""

    code: ClassVar[str] = "extra_missing"

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'sojourn[{extra}]'")
        self.extra = extra
        self.package = package
