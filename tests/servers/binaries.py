"""Where the programs of the servers are: in the wheels of the tests, on the path, or where Debian keeps versions."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


class NotInstalledError(Exception):
    """A server's program was not found; the message has the command that installs it."""


def find(program: str, places: Iterable[Path], install: str, version: str = "") -> Path:
    """Return the first such program, of this major version if one is given: in one of the places, or on the path.

    Raises:
        NotInstalledError: there is none.
    """
    on_path = shutil.which(program)
    candidates = [*places] if on_path is None else [*places, Path(on_path)]
    for place in candidates:
        if place.is_file() and version in {"", version_of(place).split(".")[0]}:
            return place
    raise NotInstalledError(f"the tests need {program} {version}".rstrip() + f"; install it with: {install}")


def version_of(program: Path) -> str:
    """Return the version that a program says it has: the first word that begins with a digit."""
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    words = (word.removeprefix("v=") for word in said.split())
    return next((word for word in words if word[:1].isdigit()), "")


def package(name: str) -> Path:
    """Return the folder of an installed package without importing it, or one that does not exist."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path("/nonexistent")
