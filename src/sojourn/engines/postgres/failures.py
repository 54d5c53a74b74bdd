"""From PostgreSQL's errors to sojourn's: what happened, whether anything was written, and what to do about it.

No error of the driver leaves the engine. Which of ours it becomes depends on when it was raised, so there is one
function for each moment. What the server and the driver say is repeated; it may name host, database and user.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sojourn import limits
from sojourn.engines.postgres.connections import ConnectError, LostError, StatementError
from sojourn.errors import CommitUnknownError, CorruptError, InvalidError, SojournError, UnavailableError
from sojourn.kernel.engine import BatchRefusedError

__all__ = ["Failure", "while_committing", "while_opening", "while_reading"]

Failure: TypeAlias = ConnectError | LostError | StatementError
"""What can go wrong on the way to the server and back."""

_GONE: Final = "the tables or functions are gone, or another release's; open the store again"

# What the surroundings can cause, and may cure, by the beginning of the SQLSTATE; the longest that fits counts.
_SURROUNDINGS: Final = {
    "08": "the connection failed; repeat",
    "23505": "another delivery of a transaction was committed at the same time; repeat",
    "25000": "the role or the database sets another isolation level; set default_transaction_isolation back",
    "25006": "the server is a read-only replica, or set to read only; name the primary in the URL",
    "3F000": _GONE,
    "40": "the server let another transaction go first; repeat",
    "42501": "the role lacks a right; let the owner of the schema grant it, or connect as the owner",
    "42883": _GONE,
    "42P01": _GONE,
    "53": "the server has run out of something; see its log",
    "53100": "the server's disk is full; make room",
    "53300": "the server has no connection left; raise max_connections, or let fewer processes share it",
    "55": "what is asked for is in use; repeat",
    "55P03": f"another commit has kept a partition locked for {limits.POSTGRES_LOCK.total_seconds():g} s; repeat",
    "57": "an operator, or a limit of the server, ended the statement; repeat",
    "58": "the server's system or disk reports an error; see its log",
}

_DAMAGED: Final = frozenset({"XX001", "XX002"})

# The server's words for why it lets nobody in, which the driver hands on without a code, and what to change.
_TURNED_AWAY: Final = (
    (("password authentication failed",), "user, password: the server refuses this password for this user"),
    (("no password supplied",), "password: the server asks for one"),
    (("no pg_hba.conf entry",), "user, database, host: the server's pg_hba.conf does not let this user in from here"),
    (("authentication failed",), "user: the server does not let it in from here"),
    (("is not permitted to log in",), "user: the server does not let this role log in"),
    (("database", "does not exist"), "database: there is none of this name; create it with encoding UTF8"),
    (("role", "does not exist"), "user: the server has no role of this name"),
    (("unsupported startup parameter",), "pooled: a pooler stands between, so add pooled=true"),
    (("'idna' codec",), "host: it is no name that a host can have"),
    (("certificate",), "sslmode: the server's certificate is not trusted, or is for another host name"),
    (("does not support ssl",), "sslmode: the server offers no TLS"),
)


def while_opening(error: Failure) -> SojournError:
    """Explain why the store cannot be opened."""
    if isinstance(error, ConnectError):
        said = str(error).lower()
        for words, problem in _TURNED_AWAY:
            if all(word in said for word in words):
                return InvalidError("url", f"{problem} ({error})")
    if isinstance(error, StatementError) and error.sqlstate == "42501":
        return InvalidError("url", f"user: the role lacks a right in the database ({error})")
    return _damage(error) or _unavailable(error)


def while_reading(error: Failure) -> SojournError:
    """Explain why a read failed."""
    return _damage(error) or _unavailable(error)


def while_committing(error: Failure) -> SojournError | BatchRefusedError:
    """Explain why a batch failed: never sent, refused and rolled back, or without an answer."""
    if isinstance(error, LostError):
        return CommitUnknownError(f"PostgreSQL did not confirm a commit: {error}")
    if isinstance(error, ConnectError) or _advice(error.sqlstate) is not None:
        return _unavailable(error)
    return _damage(error) or BatchRefusedError(f"{error} (SQLSTATE {error.sqlstate})")


def _unavailable(error: Failure) -> UnavailableError:
    advice = _advice(error.sqlstate) if isinstance(error, StatementError) else None
    return UnavailableError(f"PostgreSQL: {error}" if advice is None else f"PostgreSQL: {advice} ({error})")


def _damage(error: Failure) -> CorruptError | None:
    if isinstance(error, StatementError) and error.sqlstate in _DAMAGED:
        return CorruptError(f"PostgreSQL reports damaged data; see its log, and restore a copy ({error})")
    return None


def _advice(sqlstate: str) -> str | None:
    fitting = [state for state in _SURROUNDINGS if sqlstate.startswith(state)]
    return _SURROUNDINGS[max(fitting, key=len)] if fitting else None
