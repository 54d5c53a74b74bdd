"""`sojourn types`: what a browser may call, for its compiler."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from sojourn.cli.targets import imported
from sojourn.errors import InvalidError
from sojourn.functions import Functions
from sojourn.functions.typescript import api_of
from sojourn.server import App

__all__ = ["show"]


def show(target: str) -> None:
    """Print the types of an application's functions.

    Raises:
        InvalidError: there is no such application, it has no functions that a browser may call, or an annotation of
            theirs has no form in JSON.
    """
    with redirect_stdout(sys.stderr):  # what the module says while it is imported is no part of the file
        found = imported(target)
    functions = found.functions if isinstance(found, App) else found
    if functions is None:
        raise InvalidError("APP", f"{target} serves no functions; they are given to it as App(..., functions=...)")
    if not isinstance(functions, Functions):
        kind = f"of type {type(found).__name__}"
        raise InvalidError("APP", f"{target} is no sojourn.server.App and no sojourn.Functions but {kind}; name one")
    sys.stdout.flush()
    sys.stdout.buffer.write(api_of(functions).encode())  # UTF-8, whatever the terminal is set to
