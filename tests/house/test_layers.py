"""The import contracts of pyproject.toml do break when they should."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = {
    "a driver in the kernel": ("kernel/planted.py", "import apsw", "drivers"),
    "a driver in a face, by way of a function": ("visits/planted.py", "def f():\n    import sqlite3", "drivers"),
    "a framework in a face": ("sessions/planted.py", "import starlette.routing", "frameworks"),
    "an engine in the kernel": ("kernel/planted.py", "import sojourn.engines.memory", "layers"),
    "an engine in functions": ("functions/planted.py", "import sojourn.engines.memory", "engines"),
    "a face in its sibling": ("visits/planted.py", "import sojourn.sessions.planted", "layers"),
    "another face than sessions in functions": ("functions/planted.py", "import sojourn.visits.planted", "functions"),
    "an engine in its sibling": ("engines/planted.py", "import sojourn.engines.memory", "siblings"),
    "an upward import": ("errors/planted.py", "import sojourn.kernel.keys", "layers"),
    "a folder without a place": ("toolbox/planted.py", "", "layers"),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the library to plant things in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "src" / "sojourn"
    shutil.copytree(ROOT / "src" / "sojourn", package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def plant(package: Path, name: str, code: str) -> None:
    """Append code to a module, which may be new, in a folder which may be new."""
    module = package / name
    module.parent.mkdir(exist_ok=True)
    (module.parent / "__init__.py").touch()
    with module.open("a", encoding="utf-8") as file:
        file.write(f"\n{code}\n")


def broken(package: Path, *contracts: str) -> bool:
    """Whether the linter finds a contract broken in the copy."""
    only = [argument for contract in contracts for argument in ("--contract", contract)]
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--no-logo", "--no-cache", *only],
        cwd=package.parents[1],
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Contracts: " in result.stdout, result.stdout + result.stderr
    return result.returncode != 0


def test_faces_yet_to_come_have_a_place(copy: Path) -> None:
    """Proves that a new face needs no edit, that functions may import sessions, and that the copy is clean."""
    plant(copy, "sessions/planted.py", "import sojourn.kernel.keys")
    plant(copy, "functions/planted.py", "import sojourn.sessions.planted")
    assert not broken(copy)


@pytest.mark.parametrize(("module", "code", "contract"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_seen(copy: Path, module: str, code: str, contract: str) -> None:
    """Proves for each contract that it is red when it is broken."""
    for face in ("sessions", "visits"):
        plant(copy, f"{face}/planted.py", "")
    plant(copy, module, code)
    assert broken(copy, contract)
