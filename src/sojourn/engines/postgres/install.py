"""The tables and functions in the database: finding them, making them, and bringing older ones up to date.

Each file of `migrations` is applied once, in the order of its number, and never changed after a release. All that are
due are applied in one transaction, under a lock, so any number of processes may open a new store at once.
"""

from __future__ import annotations

import re
from datetime import timedelta
from importlib import resources
from typing import Final, NamedTuple

from sojourn import limits
from sojourn.engines.postgres.connections import Connection, StatementError
from sojourn.errors import IncompatibleError, InvalidError, UnavailableError

__all__ = ["FLOOR", "MIGRATIONS", "Migration", "Settings", "install", "localized"]

FLOOR: Final = 14
"""The oldest major version of the server that has all we use; the suite runs on 16 and 18."""

_NAME: Final = re.compile(r"\bsojourn\.(?=[a-z])")

_MILLISECOND = timedelta(milliseconds=1)
_NO_RIGHT: Final = "42501"

_SETTINGS: Final = """
SELECT current_setting('server_version'), current_setting('server_encoding'), pg_is_in_recovery(),
    current_setting('default_transaction_read_only'),
    current_setting('fsync')::boolean AND current_setting('synchronous_commit') <> 'off'
"""

_FOUND: Final = """
SELECT count(*) FILTER (WHERE relname IN ('migrations', 'store', 'records', 'revisions', 'receipts', 'log')) = 6,
    count(*) > 0
FROM pg_class WHERE relnamespace = to_regnamespace('"{schema}"')
"""

_THERE: Final = """SELECT to_regnamespace('"{schema}"') IS NOT NULL"""

_BEGIN: Final = """
BEGIN;
SET LOCAL lock_timeout = {patience};
SET LOCAL statement_timeout = {patience};
SELECT pg_advisory_xact_lock(hashtext('sojourn.migrations'), hashtext('{schema}'))
"""


# A dump that was restored on another server brings a log whose transactions this one has not had. Nobody waits for what
# they tell; left there, they would be told again and again, and stand in the way of ours.
_ADOPT: Final = """
DELETE FROM sojourn.log WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
UPDATE sojourn.store SET floor = '0' WHERE floor >= pg_snapshot_xmax(pg_current_snapshot())
"""


class Migration(NamedTuple):
    """One file of `migrations`."""

    version: int
    name: str
    text: str


class Settings(NamedTuple):
    """What the server is set to, as far as it decides what we may promise."""

    version: str
    durable: bool


def _migrations() -> tuple[Migration, ...]:
    folder = resources.files("sojourn.engines.postgres").joinpath("migrations")
    found = sorted(
        (file.name, file.read_text(encoding="utf-8")) for file in folder.iterdir() if file.name[-4:] == ".sql"
    )
    return tuple(Migration(int(name[:4]), name[5:-4], text) for name, text in found)


MIGRATIONS: Final = _migrations()
"""All files of this release, in their order."""


async def install(connection: Connection, schema: str) -> Settings:
    """Make sure that a store of this release is in the schema, and return what the server is set to.

    What has begun when it fails is undone with the connection, which must be closed then.

    Raises:
        InvalidError: the server, the database or the role cannot hold a store; the message says what to change.
        IncompatibleError: what is in the schema is not a store, or one of a newer release.
        UnavailableError: the server takes no writes.
        StatementError: the server refused something else.
        LostError: the connection was lost.
    """
    settings = await _settings(connection)
    if await _version(connection, schema) < MIGRATIONS[-1].version:
        await _run(connection, _BEGIN.format(schema=schema, patience=limits.POSTGRES_INSTALL // _MILLISECOND))
        version = await _version(connection, schema)  # somebody else may have done it while we waited
        due = [_applying(migration, schema) for migration in MIGRATIONS if migration.version > version]
        if version == 0:
            await _create(connection, schema)
        await _run(connection, "".join([*due, "COMMIT"]))
    await _run(connection, localized(_ADOPT, schema))
    return settings


def localized(text: str, schema: str) -> str:
    """Return the text of a migration for a store in this schema."""
    return _NAME.sub(f'"{schema}".', text)


async def _settings(connection: Connection) -> Settings:
    """Look at the server and refuse one that cannot hold a store."""
    version, encoding, is_replica, reads_only, durable = await _row(connection, _SETTINGS)
    if connection.server_version < FLOOR * 10_000:
        raise InvalidError("url", f"the server is PostgreSQL {version}; sojourn needs {FLOOR} or newer")
    if encoding != "UTF8":
        problem = f"its encoding is {encoding}, which cannot hold every text; create one with ENCODING 'UTF8'"
        raise InvalidError("url", f"database: {problem}")
    if is_replica == "t":
        advice = "name the primary, or several hosts with target_session_attrs=read-write"
        raise UnavailableError(f"PostgreSQL: the server is a read-only replica; {advice}")
    if reads_only == "on":
        raise UnavailableError("PostgreSQL: default_transaction_read_only is on for this role or database; set it off")
    return Settings(version, durable=durable == "t")


async def _version(connection: Connection, schema: str) -> int:
    """Return the version of the store in the schema, 0 if there is none; refuse what is not ours or newer."""
    is_store, is_other = await _row(connection, _FOUND.format(schema=schema))
    if is_store != "t":
        if is_other == "t":
            problem = "holds tables of another program; name another one by ?schema="
            raise IncompatibleError(f"the schema {schema} {problem}")
        return 0
    (version,) = await _row(connection, localized("SELECT coalesce(max(version), 0) FROM sojourn.migrations", schema))
    if int(version) > MIGRATIONS[-1].version:
        problem = f"its format is {version}, and this release reads up to {MIGRATIONS[-1].version}; upgrade sojourn"
        raise IncompatibleError(f"the schema {schema} was written by a newer release: {problem}")
    return int(version)


async def _create(connection: Connection, schema: str) -> None:
    (is_there,) = await _row(connection, _THERE.format(schema=schema))
    if is_there == "t":  # made by somebody who may, for a role that may not
        return
    try:
        await _run(connection, f'CREATE SCHEMA "{schema}"')
    except StatementError as error:
        if error.sqlstate != _NO_RIGHT:
            raise
        advice = f"let the database's owner run: CREATE SCHEMA {schema} AUTHORIZATION, and the name of the role"
        raise InvalidError("url", f"user: the role may not create the schema {schema}; {advice}") from error


def _applying(migration: Migration, schema: str) -> str:
    # Both are from the name of a file of ours.
    noted = f"INSERT INTO sojourn.migrations (version, name) VALUES ({migration.version}, '{migration.name}');"  # noqa: S608  as the line above says
    return localized(f"{migration.text}{noted}\n", schema)


async def _run(connection: Connection, script: str) -> None:
    await connection.run(script, limits.POSTGRES_INSTALL)


async def _row(connection: Connection, query: str) -> list[str]:
    answer = await connection.run(query, limits.POSTGRES_ANSWER)
    return [(answer.get_value(0, column) or b"").decode() for column in range(answer.nfields)]
