"""The command line: what an operator asks at 3 a.m. Parsing and printing only; `sojourn --help` lists the commands.

It needs the extra `server`, so nothing of that is imported before `main` runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

from sojourn.errors import MissingExtraError, SojournError

__all__ = ["main"]

_INTERRUPTED: Final = 130
_EXTRA: Final = {"cyclopts", "rich", "starlette", "uvicorn"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; `arguments` are those of the process if none are given.

    An error is one line on the standard error output and, with `--json`, a JSON document on the standard output. An
    interrupt by the keyboard and a reader that has gone (`sojourn sessions list | head`) end it without a word.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a subject that the terminal has no letters for
    try:
        try:
            code = _run(given)
        except SojournError as error:
            from sojourn.cli import failures  # noqa: PLC0415  most runs do without

            code = failures.report(error, as_json="--json" in given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Python writes what is left at its exit, and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(arguments: list[str]) -> int:
    try:
        from sojourn.cli import program  # noqa: PLC0415  it needs the extra

        return program.run(arguments)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise MissingExtraError("server", error.name) from error
