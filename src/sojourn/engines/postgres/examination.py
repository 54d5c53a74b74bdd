"""What an operator should know of the server: its version, its settings, and our rights in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sojourn import limits
from sojourn.engines.postgres.connections import Connection
from sojourn.engines.postgres.url import Target
from sojourn.kernel.engine import Finding

__all__ = ["examine"]

_QUESTION: Final = """
SELECT current_setting('server_version'), current_setting('server_encoding'), current_user,
    coalesce(has_schema_privilege(to_regnamespace('"{schema}"'), 'USAGE'), false),
    coalesce(has_table_privilege((
        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('"{schema}"') AND relname = 'records'
    ), 'INSERT') AND has_sequence_privilege((
        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('"{schema}"') AND relname = 'revisions'
    ), 'USAGE'), false),
    current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
    current_setting('autovacuum'), current_setting('default_transaction_isolation'), pg_is_in_recovery(),
    (SELECT count(*) FROM pg_stat_replication), current_setting('synchronous_standby_names'),
    current_setting('max_connections'), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    pg_backend_pid()
"""

_CONNECTIONS: Final = limits.POSTGRES_WRITERS + limits.POSTGRES_READERS + 1
_SPARE_CONNECTIONS: Final = 4 * _CONNECTIONS  # of four more processes

_LOSES: Final = "a crash of the server may lose commits that were acknowledged"


async def examine(connection: Connection, target: Target) -> Sequence[Finding]:
    """Ask the server one question, and judge the answer.

    Raises:
        StatementError: the server refused it.
        LostError: the connection was lost.
    """
    answer = await connection.run(_QUESTION.format(schema=target.schema), limits.POSTGRES_ANSWER)
    told = iter([(answer.get_value(0, column) or b"").decode() for column in range(answer.nfields)])
    return (
        Finding("version", f"PostgreSQL {next(told)}"),
        _expected("encoding", next(told), "UTF8", "text beyond this encoding is refused; use a database with UTF8"),
        _rights(next(told), may_enter=next(told) == "t", may_write=next(told) == "t", schema=target.schema),
        _expected("fsync", next(told), "on", f"{_LOSES}, or the whole database; set it on"),
        _flushing(next(told)),
        _expected("full_page_writes", next(told), "on", "a crash of the system may tear pages; set it on"),
        _expected("autovacuum", next(told), "on", "tables grow without end; set it on"),
        _expected(
            "isolation", next(told), "read committed", "commits are refused; reset default_transaction_isolation"
        ),
        _replication(is_replica=next(told) == "t", replicas=int(next(told)), synchronous=next(told)),
        _connections(most=int(next(told)), used=int(next(told))),
        _pooler(is_direct=int(next(told)) == connection.backend, pooled=target.pooled),
    )


def _expected(name: str, found: str, wanted: str, advice: str) -> Finding:
    return Finding(name, found, None if found == wanted else advice)


def _rights(role: str, *, may_enter: bool, may_write: bool, schema: str) -> Finding:
    if may_enter and may_write:
        return Finding("rights", f"{role} may use the schema {schema}")
    advice = "let a role open it that may create it, or its owner grant USAGE, and all on its tables and sequences"
    return Finding("rights", f"{role} may not use the schema {schema}, or it is not there", advice)


def _flushing(setting: str) -> Finding:
    return Finding("synchronous_commit", setting, f"{_LOSES}; set it on" if setting == "off" else None)


def _replication(*, is_replica: bool, replicas: int, synchronous: str) -> Finding:
    if is_replica:
        return Finding("replication", "this is a read-only replica", "name the primary in the URL")
    if replicas and not synchronous:
        advice = "a failover may lose the last commits that were acknowledged; set synchronous_standby_names"
        return Finding("replication", f"{replicas} asynchronous", advice)
    return Finding("replication", f"{replicas}, of them synchronous: {synchronous}" if replicas else "none")


def _connections(*, most: int, used: int) -> Finding:
    advice = None
    if most - used < _SPARE_CONNECTIONS:
        advice = f"a process needs up to {_CONNECTIONS}; raise max_connections, or put a pooler between (pooled=true)"
    return Finding("connections", f"{used} of {most} are used", advice)


def _pooler(*, is_direct: bool, pooled: bool) -> Finding:
    if is_direct:
        return Finding("pooler", "none, though pooled=true" if pooled else "none", _UNPOOLED if pooled else None)
    return Finding("pooler", "one stands between", None if pooled else "add pooled=true to the URL")


_UNPOOLED: Final = "take pooled=true out of the URL: watchers are then told of changes, and statements prepared"
