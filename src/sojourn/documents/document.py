"""A document that this process holds: the handle that `Documents.load` gives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, TypeVar

from sojourn.documents.editing import Editor
from sojourn.documents.holding import Holding
from sojourn.documents.joining import Joining
from sojourn.documents.model import Info
from sojourn.kernel import Attempt

__all__ = ["Document"]

T = TypeVar("T")


class Document(Generic[T]):
    """One document, held by this process and by no other until it is unloaded or its lease is lost.

    After that each verb raises: `DocumentClosedError`, or `LeaseLostError` with the unsaved value.
    """

    def __init__(self, holding: Holding[T], editor: Editor[T], joining: Joining[T]) -> None:
        self._holding = holding
        self._editor = editor
        self._joining = joining

    def __repr__(self) -> str:
        state = "closed" if self.closed else "held"
        return f"<Document {self.key!r}: {state}, {'saved' if self.is_saved else 'not saved'}>"

    @property
    def key(self) -> str:
        """The document's key."""
        return self._holding.key

    @property
    def value(self) -> T:
        """The present value, frozen: whoever writes into it gets an error. What did not change stays the same object.

        It is the last one known when the document is closed.
        """
        return self._holding.value

    @property
    def last_saved(self) -> T | None:
        """The value as it was last saved, frozen; None before the first save, or where loading had to change it."""
        return self._holding.ledger.last_saved

    @property
    def is_saved(self) -> bool:
        """Say whether the store has all that the value is. A document that was just loaded is saved."""
        return self._holding.is_saved

    @property
    def closed(self) -> bool:
        """Say whether the document is no longer held here, or is being unloaded."""
        return self._holding.closed

    @property
    def info(self) -> Info:
        """What is known of the document as of its last save."""
        return self._holding.ledger.info

    async def get(self) -> T:
        """Return the present value, frozen; waits for a transaction that is changing it.

        Raises:
            LeaseLostError: the lease ended or was taken. DocumentClosedError: it was unloaded.
            InvalidError: the caller runs in a transaction of the store that is changing it.
        """
        await self._holding.gate.settled()
        return self._holding.checked_open().value

    def update(self, change: Callable[[T], bool]) -> Coroutine[Any, Any, bool]:
        """Change the value in memory: `change` gets a draft, writes into it, and says True, or False to abandon it.

        The draft is checked against the schema and swapped in at once; an equal one changes nothing. What `change`
        raises comes back as it is, and nothing is changed. `change` cannot wait. While a transaction is changing the
        document, the update waits for it. The change is stored by the next save, autosave or unload.

        Raises:
            DocumentInvalidError: the draft breaks the schema.
            InvalidError: the draft holds what has no JSON form, a NaN for example; or the caller runs in a transaction
                of the store that is changing it.
            LimitError: the draft is larger than `limits.DOCUMENT_BYTES`.
            TransformInvalidError: `change` is a coroutine, gave something else than True or False, or came back here.
            LeaseLostError: the lease ended or was taken. DocumentClosedError: it was unloaded.
        """
        return self._editor.update(change)

    def update_immutable(self, change: Callable[[T], T | Literal[False]]) -> Coroutine[Any, Any, bool]:
        """Change the value in memory: `change` gets the frozen value and returns a new one, or False to abandon.

        Otherwise as `update`.

        Raises:
            DocumentInvalidError: as `update`. InvalidError, LimitError, TransformInvalidError: likewise.
            LeaseLostError: the lease ended or was taken. DocumentClosedError: it was unloaded.
        """
        return self._editor.update_immutable(change)

    def edit(self) -> AbstractContextManager[T]:
        """Give a draft to write into; at the end of the block it is checked and swapped in. Raise to abandon it.

        Raises:
            ConflictError: the document was changed by somebody else during the block, or a transaction is changing it;
                nothing is changed.
            DocumentInvalidError: as `update`. InvalidError, LimitError: likewise.
            LeaseLostError: the lease ended or was taken. DocumentClosedError: it was unloaded.
        """
        return self._editor.edit()

    async def save(self, *, tx: Attempt | None = None) -> None:
        """Store the value, in one commit that holds only if this process still has the lease. Saved: does nothing.

        What is changed meanwhile stays to be saved. While the store cannot be reached it is tried again for a while.
        With `tx` it is part of that transaction, and counts as saved once that has committed. Cancelled, the save is
        finished in the background.

        Raises:
            LeaseLostError: the lease ended or was taken; nothing was written, and `unsaved` is the value.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; the next save finds out.
            DocumentClosedError: it was unloaded.
            InvalidError: without `tx`, the caller runs in a transaction of the store that is changing it.
        """
        if tx is None:
            await self._holding.save()
        else:
            await self._joining.save(tx, self._holding)

    async def unload(self) -> None:
        """Save what is not saved and give the lease back, in one commit. Twice is once.

        From the call on it takes no change. While the store cannot be reached it is tried again, for
        `limits.UNLOAD_PATIENCE`; then the document is open again, so that it can be tried later. Cancelled, it is
        finished in the background. Where the lease was lost and nothing was unsaved, it returns.

        Raises:
            LeaseLostError: the lease ended or was taken; nothing was written, and `unsaved` is the value.
            UnavailableError: the store could not be reached in that time; the document is still loaded.
            CommitUnknownError: likewise, and perhaps it was written.
        """
        await self._holding.unload()

    def start_autosaving(self) -> None:
        """Save the document now and then from now on, as `Documents` was told; it does from the start."""
        self._holding.is_autosaving = True

    def stop_autosaving(self) -> None:
        """Save the document only when it is asked for; its unload still saves it."""
        self._holding.is_autosaving = False
