"""The driver, typed as far as this engine uses it: apsw's own stub needs a newer Python than we do.

What a row holds is decided by the statement, which no type checker reads; so rows are `Any`, and are taken apart at
once, where the statement is.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import apsw

__all__ = ["Cursor", "Execute", "Rows", "blobs", "new_cursor", "numbers"]


class Rows(Protocol):
    """What a statement answers."""

    @property
    def get(self) -> Any:  # noqa: ANN401  see above
        """Return the only row, or its value if it has one column; None when there is no row."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows; the statement runs only as far as it is asked to."""
        ...


class Execute(Protocol):
    """Run a statement with what it is bound to."""

    def __call__(self, statement: str, bindings: Sequence[object] = (), /) -> Rows:
        """Return its rows."""
        ...


class Cursor(Protocol):
    """A cursor, kept as long as its connection. It runs one statement at a time; the next one ends the last."""

    @property
    def connection(self) -> apsw.Connection:
        """Return the connection that it belongs to."""
        ...

    @property
    def execute(self) -> Execute:
        """Run a statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[object]], /) -> object:
        """Run a statement once for each row of bindings."""
        ...


def new_cursor(connection: apsw.Connection) -> Cursor:
    """Return a cursor of the connection."""
    return cast(Cursor, connection.cursor())


def blobs(values: Sequence[bytes]) -> object:
    """Bind many blobs, at least one, as a table."""
    return apsw.carray(tuple(values))  # pyright: ignore[reportUnknownMemberType]  see above


def numbers(values: Sequence[int]) -> object:
    """Bind many integers, at least one, as a table."""
    return apsw.carray(array("q", values))  # pyright: ignore[reportUnknownMemberType]  see above
