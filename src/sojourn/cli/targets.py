"""What is named as module:name, found and imported."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from sojourn.errors import InvalidError

__all__ = ["imported"]


def imported(target: str) -> Any:  # noqa: ANN401  whatever has the name
    """Return what the name stands for in the module, which is looked for in the current folder too.

    Raises:
        InvalidError: there is no such module or name, or the module cannot be imported.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not all(name.isidentifier() for name in (*module_name.split("."), *path.split("."))):
        raise InvalidError("APP", f"{target[:64]!r} is not of the form module:name, as in shop:app")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as text, which is what the path holds
    found: Any = _module(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise InvalidError("APP", f"{module_name} has no {path!r}; its file is {_file(module_name)}")
        found = getattr(found, name)
    return found


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            looked = f"looked for {name.replace('.', '/')}.py in {os.getcwd()} and among what is installed"  # noqa: PTH109
            raise InvalidError("APP", f"there is no module {name!r}; {looked}") from error
        raise _failed_import(name, error) from error
    except ImportError as error:
        raise _failed_import(name, error) from error


def _failed_import(name: str, error: ImportError) -> InvalidError:
    """Say where the import of the module stopped: at the last line that is not Python's own machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return InvalidError(
        "APP", f"{name} cannot be imported: {error} (line {frames[-1].lineno} of {frames[-1].filename})"
    )


def _file(module_name: str) -> str:
    return str(getattr(sys.modules[module_name], "__file__", None) or "built in")
