"""The SQL of this engine, read once from the files beside this module.

`queries.sql` holds named blocks. A statement is found in the connection's cache by its text, so each is kept short:
comments go, white space is folded.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

__all__ = ["SCHEMA", "query", "query_names"]

_NAME = re.compile(r"^-- name: (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"--.*$", re.MULTILINE)


def _text(name: str) -> str:
    return resources.files("sojourn.engines.sqlite").joinpath(name).read_text(encoding="utf-8")


def _named(text: str) -> dict[str, str]:
    _, *parts = _NAME.split(text)
    blocks = zip(parts[::2], parts[1::2], strict=True)
    return {name: " ".join(_COMMENT.sub("", block).split()).rstrip(";") for name, block in blocks}


SCHEMA: Final = _text("schema.sql")
"""What a new file is given: several statements."""

_QUERIES: Final = _named(_text("queries.sql"))


def query(name: str) -> str:
    """Return the statement of that name in `queries.sql`."""
    return _QUERIES[name]


def query_names() -> frozenset[str]:
    """Return the names of all statements."""
    return frozenset(_QUERIES)
