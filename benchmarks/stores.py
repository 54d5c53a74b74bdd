"""Stores that several processes can reach, one of each kind: a file, and those on the servers of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.sharing import Name
from tests.servers.stores import fresh, remove

__all__ = ["SERVERS", "store_on", "store_on_sqlite"]

SERVERS: Final[dict[str, Name]] = {"PostgreSQL": "postgres18", "Redis": "valkey"}
"""The servers that rows share which measure no throughput, by what the page calls them."""


@contextmanager
def store_on(server: Name) -> Iterator[str]:
    """Give the URL of a store that nobody has used, and remove it afterwards."""
    url = fresh(server)
    try:
        yield url
    finally:
        remove(url)


@contextmanager
def store_on_sqlite() -> Iterator[str]:
    """Give the URL of a file that is not there yet, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'store.db'}"
