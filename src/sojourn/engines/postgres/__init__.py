"""The PostgreSQL engine: one schema of a database, any number of processes on any number of machines."""

from __future__ import annotations

from sojourn.errors import MissingExtraError

try:
    from sojourn.engines.postgres.engine import PostgresEngine
except ImportError as error:
    if error.name is not None and not error.name.startswith("psycopg"):
        raise  # without a name it is psycopg that misses a library
    raise MissingExtraError("postgres", "psycopg") from error

__all__ = ["PostgresEngine"]
