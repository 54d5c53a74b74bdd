"""Transaction ids: unique everywhere, made without asking anybody, and neighbours in an index.

An id is eight random bytes of this process followed by a counter. Ids of one process are neighbours, so a receipt
costs no page of its own; a forked child draws new random bytes, so that it never speaks in its parent's name.
"""

from __future__ import annotations

import itertools
import os

from sojourn.kernel.transaction import TransactionId

__all__ = ["new"]


class _Source:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._prefix = os.urandom(8)
        self._count = itertools.count(1)

    def next(self) -> bytes:
        return self._prefix + next(self._count).to_bytes(8, "big")


_source = _Source()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_source.renew)


def new() -> TransactionId:
    """Return an id that no other transaction has. Make it once, before any retry."""
    return _source.next()
