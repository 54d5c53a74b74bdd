"""Stores of a test's own on the servers of the run: made by their name, and removed without a trace.

To make a schema of PostgreSQL takes longer than most tests do with it. So one that a test leaves is emptied and given
to a later test, which cannot tell it from a new one; `forget` removes what is left when the run ends. Who cleans up
stays connected, for the same reason.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tests.servers.sharing import Name, shared

_KEPT: Final = 4
"""How many schemas of a server are kept: the oldest is used again, so that who has left it has long disconnected."""

_EMPTY: Final = """
    DELETE FROM {0}.log;
    DELETE FROM {0}.receipts;
    DELETE FROM {0}.records;
    UPDATE {0}.store SET identity = md5(gen_random_uuid()::text), floor = '0';
    SELECT setval('{0}.revisions', 1, false), setval(pg_get_serial_sequence('{0}.log', 'number'), 1, false)
"""
_USERS: Final = """
    SELECT pid FROM pg_stat_activity WHERE strpos(query, %s) > 0 AND pid <> pg_backend_pid()
"""

_left: Final[dict[str, deque[str]]] = {}
"""The schemas that tests have left, by the URL of their server."""
_connections: Final[dict[str, Any]] = {}
_masters: Final[dict[str, list[Any]]] = {}


def fresh(name: Name) -> str:
    """Name a store that nobody has used, on the run's server of that name, and return its URL."""
    url = shared(name)
    if not _is_postgres(url):
        return _with(url, "prefix", _unheard_of())
    left = _left.setdefault(url, deque())
    while len(left) >= _KEPT:
        schema = left.popleft()
        if _is_made_anew(url, schema):
            return _with(url, "schema", schema)
        _drop(url, schema)
    return _with(url, "schema", _unheard_of())


def leave(url: str) -> None:
    """Give up a store that `fresh` has named: it is removed, or made fresh again when somebody wants one."""
    if _is_postgres(url):
        place, schema = _parted(url, "schema")
        _left.setdefault(place, deque()).append(schema)
    else:
        remove(url)


def remove(url: str) -> None:
    """Remove a store that `fresh` has named, if it was ever made."""
    if _is_postgres(url):
        _drop(*_parted(url, "schema"))
    else:
        _delete(*_parted(url, "prefix"))


def forget() -> None:
    """Remove what was left, and disconnect."""
    for url, schemas in _left.items():
        for schema in schemas:
            _drop(url, schema)
    for connection in (*_connections.values(), *(master for masters in _masters.values() for master in masters)):
        connection.close()
    for kept in (_left, _connections, _masters):
        kept.clear()


def _unheard_of() -> str:
    return f"test_{secrets.token_hex(6)}"


def _with(url: str, word: str, name: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{word}={name}"


def _parted(url: str, word: str) -> tuple[str, str]:
    """Return the URL of the server, and the name of the store there."""
    parts = urlsplit(url)
    (name,) = parse_qs(parts.query)[word]
    return urlunsplit(parts._replace(query="")), name


def _is_postgres(url: str) -> bool:
    return urlsplit(url).scheme in {"postgres", "postgresql"}


# The drivers are imported where they are needed: every run of the tests imports this module, and few need both.


def _connected(url: str) -> Any:
    import psycopg  # noqa: PLC0415

    if url not in _connections:
        _connections[url] = psycopg.connect(url, autocommit=True)
        _connections[url].execute("SET client_min_messages = warning")
    return _connections[url]


def _is_made_anew(url: str, schema: str) -> bool:
    """Empty a schema, and say whether it can be used again: nobody is connected to it, and it holds a store."""
    import psycopg  # noqa: PLC0415

    connection = _connected(url)
    if connection.execute(_USERS, [schema]).fetchone() is not None:
        return False
    try:
        connection.execute(_EMPTY.format(schema))
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable):
        return False
    return True


def _drop(url: str, schema: str) -> None:
    from psycopg import sql  # noqa: PLC0415

    _connected(url).execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _delete(url: str, prefix: str) -> None:
    for master in _servers(url):
        names = master.keys(f"{prefix}:*")
        if names:
            # One by one, since those of a cluster may stand in different slots; and all in one trip.
            commands = master.pipeline(transaction=False)
            for name in names:
                commands.delete(name)
            commands.execute()


def _servers(url: str) -> list[Any]:
    """Return a client of the server, or of each master of the cluster."""
    import redis  # noqa: PLC0415

    if url not in _masters:
        parts = urlsplit(url)
        host = parts.netloc.split(",")[0]
        first: Any = redis.Redis.from_url(f"redis://{host}", protocol=2)
        if parts.scheme.endswith("+cluster"):
            with first:
                slots = first.execute_command("CLUSTER SLOTS")
            places = {(host.decode(), port) for _, _, (host, port, *_), *_ in slots}
            _masters[url] = [redis.Redis(host, port, protocol=2) for host, port in places]
        else:
            _masters[url] = [first]
    return _masters[url]
