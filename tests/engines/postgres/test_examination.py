"""The examination: advice where something should be changed, and only there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest

from sojourn.engines.postgres import PostgresEngine, examination
from sojourn.errors import UnavailableError
from sojourn.kernel import Finding
from tests.servers.process import free_port


@pytest.fixture
def role(sql: psycopg.Connection) -> Iterator[str]:
    name = f"r{secrets.token_hex(8)}"
    sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'".encode())
    yield name
    sql.execute(f"DROP ROLE {name}".encode())


async def findings(url: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in await PostgresEngine(url).examine()}


async def test_a_good_server_gets_no_advice(url: str, engine: PostgresEngine) -> None:
    found = {finding.name: finding for finding in await engine.examine()}
    assert {name: finding.advice for name, finding in found.items()} == dict.fromkeys(found)
    assert found["version"].found == f"PostgreSQL {engine.describe().version}"
    assert "t" not in found["pooler"].found or found["pooler"].found == "none"
    assert (await findings(f"{url}&pooled=true"))["pooler"].advice is not None


async def test_what_promises_less_gets_advice(
    url: str, engine: PostgresEngine, sql: psycopg.Connection, role: str
) -> None:
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'"):
        sql.execute(f"ALTER ROLE {role} SET {setting}".encode())
    found = await findings(url.replace("//postgres@", f"//{role}:p@") + "&pooled=true")
    assert {name for name, finding in found.items() if finding.advice} == {
        "synchronous_commit",
        "isolation",
        "rights",
        "pooler",
    }
    assert role in found["rights"].found


@pytest.mark.parametrize(
    ("finding", "advised"),
    [
        (examination._connections(most=100, used=10), False),
        (examination._connections(most=100, used=95), True),
        (examination._replication(is_replica=True, replicas=0, synchronous=""), True),
        (examination._replication(is_replica=False, replicas=1, synchronous=""), True),
        (examination._replication(is_replica=False, replicas=1, synchronous="*"), False),
        (examination._replication(is_replica=False, replicas=0, synchronous=""), False),
        (examination._pooler(is_direct=False, pooled=False), True),
        (examination._pooler(is_direct=False, pooled=True), False),
        (examination._expected("fsync", "off", "on", "set it on"), True),
    ],
    ids=str,
)
def test_each_finding_judges_one_thing(finding: Finding, *, advised: bool) -> None:
    assert (finding.advice is not None) == advised


async def test_a_server_that_is_not_there_cannot_be_examined() -> None:
    with pytest.raises(UnavailableError):
        await PostgresEngine(f"postgresql://127.0.0.1:{free_port()}/d").examine()
