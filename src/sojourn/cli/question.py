"""Asking before something is deleted for good."""

from __future__ import annotations

import sys

from sojourn.errors import InvalidError

__all__ = ["confirm"]


def confirm(name: str, question: str) -> None:
    """Ask at the terminal whether to go on. Call it outside of a loop, under which Ctrl-C would not end the wait.

    Raises:
        InvalidError: the answer was not yes, or there is nobody to ask; `name` is what it was about.
    """
    if not sys.stdin.isatty():
        raise InvalidError(name, "there is no terminal to ask at; add --yes if you mean it")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = ""
    try:
        answer = sys.stdin.readline()
    finally:
        if not answer:  # Ctrl-C and Ctrl-D leave the cursor behind the question
            sys.stderr.write("\n")
    if answer.strip().lower() not in {"y", "yes"}:
        raise InvalidError(name, "the answer was not yes; nothing was done")
