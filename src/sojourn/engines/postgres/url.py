"""The URL of a store: what is ours in it, and what is the driver's.

    postgresql://user:password@host:5432/database?schema=sojourn&pooled=true&sslmode=verify-full

`schema` and `pooled` are taken out; the rest goes to libpq as it is, with several hosts, sockets and certificates if
need be. No message repeats any of it: a mistyped URL shows the password in the most surprising places.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import conninfo, pq

from sojourn import limits
from sojourn.errors import InvalidError

__all__ = ["Target", "parse"]

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}", re.ASCII)
_WORD: Final = re.compile(r"[a-z_]{1,32}", re.ASCII)
_PORTS: Final = re.compile(r"[0-9,]*", re.ASCII)
_HALF_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_FORM: Final = "postgresql://user:password@host:5432/database"
_ENCODE: Final = "write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25 in a user or a password"

_MILLISECOND = timedelta(milliseconds=1)
_DEFAULTS: Final[dict[str, str]] = {
    "fallback_application_name": "sojourn",
    "connect_timeout": str(limits.POSTGRES_CONNECT // timedelta(seconds=1)),
    # A server that is gone without a word is noticed as soon as something is sent to it.
    "tcp_user_timeout": str(limits.POSTGRES_ANSWER // _MILLISECOND),
}
_SETTINGS: Final = " ".join(
    f"-c {name}={value}"
    for name, value in (
        ("default_transaction_isolation", r"read\ committed"),
        ("statement_timeout", limits.POSTGRES_ANSWER // _MILLISECOND),
    )
)
"""What a connection of ours is started with; a pooler would hand it on to others, so there it is left out."""


class Target(NamedTuple):
    """Where a store is."""

    conninfo: str
    schema: str
    pooled: bool

    def __repr__(self) -> str:
        """Say nothing of how it is reached, which includes the password."""
        return f"Target(schema={self.schema!r}, pooled={self.pooled!r})"


def parse(url: str) -> Target:
    """Take the URL apart.

    Raises:
        InvalidError: it is not the URL of a PostgreSQL database, or a parameter is none that is known.
    """
    try:
        parts = urlsplit(url)
        given = _parameters(parts.query)
        decoded = unquote(url, errors="strict").encode()
    except ValueError:
        raise InvalidError("url", f"its form is {_FORM}?parameter=value; {_ENCODE}") from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise InvalidError("url", f"its form is {_FORM}")
    # What libpq would take for another part of the URL, and print; or for the end of all.
    if (
        b"\0" in decoded
        or parts.fragment
        or parts.netloc.count("@") > 1
        or "@" in parts.path
        or _HALF_ENCODED.search(url)
    ):
        raise InvalidError("url", _ENCODE)
    schema, pooled = given.pop("schema", "sojourn"), given.pop("pooled", "false")
    if not _SCHEMA.fullmatch(schema):
        raise InvalidError(
            "schema", "its name has up to 48 of the characters a-z, 0-9 and _, and begins with none of 0-9"
        )
    if pooled not in {"true", "false"}:
        raise InvalidError("pooled", "it is true or false")
    try:
        options = conninfo.conninfo_to_dict(url.partition("?")[0])
    except psycopg.Error:
        raise InvalidError("url", f"libpq cannot read it; its form is {_FORM}; {_ENCODE}") from None
    own = {} if pooled == "true" else {"options": f"{_SETTINGS} {given.pop('options', '')}"}
    if not _PORTS.fullmatch(str({**options, **given}.get("port", ""))):
        raise InvalidError("url", f"its port is not a number; {_ENCODE}")
    whole = {**_DEFAULTS, **options, **given, **own, "client_encoding": "UTF8"}
    return Target(conninfo.make_conninfo("", **whole), schema, pooled == "true")


def _parameters(query: str) -> dict[str, str]:
    """Take the parameters apart, as libpq does, where a plus stands for itself."""
    if not query:
        return {}
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True, errors="strict")
    known = {"pooled", "schema", *(option.keyword.decode() for option in pq.Conninfo.get_defaults())}
    for name, _ in pairs:
        if name not in known:
            shown = repr(name) if _WORD.fullmatch(name) else "one of them"
            problem = f"{shown} is none that is known; ours are schema and pooled, all others are libpq's"
            raise InvalidError("url", f"parameters: {problem}; {_ENCODE}")
    return dict(pairs)
