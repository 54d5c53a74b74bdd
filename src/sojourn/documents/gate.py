"""Who may change a document now: one function of the application, or one transaction, and nobody from within either."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from sojourn.errors import ConflictError, InvalidError, TransformInvalidError
from sojourn.kernel.store import is_within

__all__ = ["Gate"]


class Gate:
    """Lets the changes of one document through: while a transaction is changing it, the others wait. No I/O."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._is_changing = False
        self._transaction: asyncio.Future[None] | None = None
        self._owner: object = None

    @contextmanager
    def changing(self) -> Generator[None]:
        """Within, a function of the application decides on the value; it may not come back here."""
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False

    def refuse_reentry(self) -> None:
        """Refuse a change from within a change.

        Raises:
            TransformInvalidError: a function of the application is deciding on the value.
        """
        if self._is_changing:
            raise TransformInvalidError(
                f"a change of the document {self._key!r} calls back to it; write into the draft"
            )

    def begin(self, owner: object = None) -> None:
        """Let updates wait for a transaction, until `end`. Called with the document's turn.

        `owner` is the attempt of the store's transaction that the document takes part in.
        """
        self._transaction = asyncio.get_running_loop().create_future()
        self._owner = owner

    def end(self) -> None:
        """Let updates go on."""
        waiting, self._transaction, self._owner = self._transaction, None, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def check_free(self) -> None:
        """Refuse to wait for a transaction from within that transaction.

        Raises:
            InvalidError: the document takes part in the transaction of the store in which the caller runs.
        """
        if self._owner is not None and is_within(self._owner):
            raise InvalidError("tx", f"the document {self._key!r} takes part in this transaction; use `transact(tx=)`")

    def check_settled(self) -> None:
        """Refuse what cannot wait for a transaction.

        Raises:
            ConflictError: one is changing the document.
        """
        if self._transaction is not None:
            raise ConflictError(f"the document {self._key!r} is in a transaction or a message; `update` waits for it")

    async def settled(self) -> None:
        """Wait until no transaction is changing the document.

        Raises:
            InvalidError: the caller runs in that transaction.
        """
        self.check_free()
        while self._transaction is not None:
            await asyncio.shield(self._transaction)
