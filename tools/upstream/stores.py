"""Stores for a suite that asks for one again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

__all__ = ["unused"]


@contextmanager
def unused(engine: str) -> Iterator[str]:
    """Give the URL of a store on this engine that nobody has used, and leave nothing of it behind."""
    if engine == "memory":
        yield "memory:"
    elif engine == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/upstream.db"
    else:
        from tests.servers import fresh, remove  # noqa: PLC0415  a suite that has `tests` of its own does not come here

        url = fresh(cast("Any", engine))
        try:
            yield url
        finally:
            remove(url)
