"""The SQL: each statement is used, and none walks through a table."""

import re
from pathlib import Path

import apsw
import pytest

from sojourn.engines import sqlite
from sojourn.engines.sqlite.database import prepare
from sojourn.engines.sqlite.statements import query, query_names

# What may be walked through: bound values, tables of one row, and what a subquery has bounded.
SMALL = {"asked", "carray", "store", "sqlite_schema", "pragma_application_id", "pragma_user_version", "(subquery-1)"}


def test_every_statement_is_used() -> None:
    folder = Path(sqlite.__file__).parent
    used = {name for module in folder.glob("*.py") for name in re.findall(r'query\("([^"]+)"\)', module.read_text())}
    assert used == query_names()


@pytest.mark.parametrize("name", sorted(query_names()))
def test_every_statement_finds_its_rows_by_an_index(name: str, path: Path) -> None:
    connection = prepare(path)
    cursor = connection.cursor()
    cursor.execute(f"EXPLAIN QUERY PLAN {query(name)}", (None,) * parameters(name))
    steps = [str(detail) for *_, detail in cursor.fetchall()]
    connection.close()
    walked = {step.split()[1] for step in steps if step.startswith("SCAN")}
    assert walked - SMALL <= ({"log"} if name == "newest" else set())  # its last row, from the end
    assert not [step for step in steps if "TEMP B-TREE" in step]


def parameters(name: str) -> int:
    return max(map(int, re.findall(r"\?(\d)", query(name))), default=0)


def test_the_driver_can_bind_arrays() -> None:
    """Builds of other makers may lack it; the ones that our dependency names have it."""
    assert "ENABLE_CARRAY" in apsw.compile_options
