"""A store restored from a dump, on a server that has not had the transactions which its change log names."""

import psycopg
import pytest

from sojourn.engines.postgres import PostgresEngine
from sojourn.kernel import Committed, Key, Put, Transaction, ids

AHEAD = 10**15
"""The number of a transaction that no server of the tests will ever have."""


@pytest.mark.promise(9)
async def test_the_log_of_another_server_is_not_told(url: str, schema: str, sql: psycopg.Connection) -> None:
    key = Key("test", "p", "a")
    for _ in range(2):  # once to make the store, then over what a restored dump would have brought
        engine = PostgresEngine(url)
        await engine.open()
        position = (await engine.changes(None, 0)).position
        (outcome,) = await engine.commit([Transaction(ids.new(), writes=(Put(key, b""),))])
        assert isinstance(outcome, Committed)
        found = await engine.changes(position, 0)
        assert (found.keys, found.gap) == (frozenset({key}), False)
        again = await engine.changes(found.position, 0)
        assert (again.keys, again.gap) == (frozenset(), False)
        await engine.close()
        sql.execute(f"UPDATE {schema}.log SET xid = '{AHEAD}'".encode())  # noqa: S608  the schema is the test's own
        sql.execute(f"UPDATE {schema}.store SET floor = '{AHEAD}'".encode())  # noqa: S608  as above
