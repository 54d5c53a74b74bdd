"""Stores of a test's own on the servers of the run: made by their name, and removed without a trace."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tests.servers.sharing import Name, shared


def fresh(name: Name) -> str:
    """Name a store that nobody has used, on the run's server of that name, and return its URL."""
    url = shared(name)
    word = "schema" if _is_postgres(url) else "prefix"
    return f"{url}{'&' if urlsplit(url).query else '?'}{word}=test_{secrets.token_hex(6)}"


def remove(url: str) -> None:
    """Remove a store that `fresh` has named, if it was ever made."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if _is_postgres(url):
        _drop(urlunsplit(parts._replace(query="")), *query["schema"])
    else:
        _delete(url, *query["prefix"])


# The drivers are imported where they are needed: every run of the tests imports this module, and few need both.


def _drop(url: str, schema: str) -> None:
    import psycopg  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _delete(url: str, prefix: str) -> None:
    for server in _servers(url):
        with server:
            for key in server.scan_iter(match=f"{prefix}:*", count=1_000):
                server.delete(key)


def _servers(url: str) -> list[Any]:
    """Return a client of the server, or of each master of the cluster."""
    import redis  # noqa: PLC0415

    parts = urlsplit(url)
    host = parts.netloc.split(",")[0]
    first: Any = redis.Redis.from_url(f"redis://{host}", protocol=2)
    if not parts.scheme.endswith("+cluster"):
        return [first]
    with first:
        slots = first.execute_command("CLUSTER SLOTS")
    masters = {(host.decode(), port) for _, _, (host, port, *_), *_ in slots}
    return [redis.Redis(host, port, protocol=2) for host, port in masters]


def _is_postgres(url: str) -> bool:
    return urlsplit(url).scheme in {"postgres", "postgresql"}
