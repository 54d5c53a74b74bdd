"""Errors on the command line: one line for a person, a JSON document for a program, an exit code for a script."""

from __future__ import annotations

import sys
from typing import Final

import msgspec
from msgspec import UNSET

from sojourn.cli import output
from sojourn.errors import (
    ApplicationError,
    CommitUnknownError,
    ConflictError,
    InvalidError,
    LimitError,
    SojournError,
    UnavailableError,
)
from sojourn.wire import Failure, FailureAnswer

__all__ = ["EXIT_CODES", "OTHERWISE", "exit_code", "report"]

EXIT_CODES: Final[tuple[tuple[type[SojournError], int], ...]] = (
    (InvalidError, 2),
    (LimitError, 2),
    (UnavailableError, 3),
    (ConflictError, 4),
    (CommitUnknownError, 5),
)
"""The exit code of each kind of error, children included."""

OTHERWISE: Final = 1
"""The exit code of every other error, and of a `doctor` that found something failed."""

_LINE_CHARS: Final = 500


def report(error: SojournError, *, as_json: bool) -> int:
    """Tell of the error in one line on stderr, with `as_json` on stdout too, and return its exit code."""
    words = " ".join(output.redacted(str(error)).split("\n"))
    message = output.printable(words if len(words) <= _LINE_CHARS else f"{words[:_LINE_CHARS]}…")
    sys.stderr.write(f"sojourn: {error.code}: {message}\n")
    if as_json:
        output.document(FailureAnswer(_failure(error, message)))
    return exit_code(error)


def exit_code(error: SojournError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), OTHERWISE)


def _failure(error: SojournError, message: str) -> Failure:
    # Not `wire.failure_of`: that one hides from the outside world what an operator must know.
    return Failure(
        error.code,
        message,
        error.retry.value,
        error.written,
        name=error.name if isinstance(error, InvalidError | LimitError) else UNSET,
        data=msgspec.to_builtins(error.data) if isinstance(error, ApplicationError) else UNSET,
    )
