"""What the documents of one name have in common in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from sojourn.documents.callbacks import Callbacks, check_callback
from sojourn.documents.migration import Chain
from sojourn.documents.model import Terms
from sojourn.documents.schema import Schema
from sojourn.kernel import Leases, Store
from sojourn.kernel.turns import Turns

__all__ = ["Kind"]

T = TypeVar("T")


class Kind(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """How documents of one name are checked and kept, and whom to tell of them.

    `turns` has one turn for each key: saves, unloads and transactions of one document come one after the other.

    Raises:
        InvalidError: one of the functions cannot be called, or is a coroutine where nothing can wait for it.
    """

    store: Store
    terms: Terms
    schema: Schema[T]
    chain: Chain
    callbacks: Callbacks[T]
    leases: Leases
    turns: Turns[str]
    fill: bool = False
    import_legacy: Callable[[str], object] | None = None
    repair: Callable[[str, object, str], object] | None = None

    def __post_init__(self) -> None:
        if self.import_legacy is not None:
            check_callback("import_legacy", self.import_legacy, waits=True)
        if self.repair is not None:
            check_callback("repair", self.repair, waits=False)
        if self.terms.partition is not None:
            check_callback("partition", self.terms.partition, waits=False)
