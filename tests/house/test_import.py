"""`import sojourn` is quick, and brings in no driver."""

import subprocess
import sys

IMPORT_MS = 100
ROUNDS = 5
LATER = ["apsw", "sqlite3", "psycopg", "redis", "starlette", "uvicorn", "pydantic", "cyclopts", "rich"]

TIMED = "import time; start = time.process_time(); import sojourn; print((time.process_time() - start) * 1000)"
LOADED = "from sojourn import *; import sys; print(*sys.modules)"


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_quick() -> None:
    """Proves that the best of five imports takes under 100 ms of processor time, so that a busy machine cannot lie."""
    assert min(float(python(TIMED)) for _ in range(ROUNDS)) < IMPORT_MS


def test_import_loads_no_driver() -> None:
    """Proves that engines and frameworks wait until they are asked for, even when every public name is used."""
    assert [name for name in LATER if name in python(LOADED).split()] == []
