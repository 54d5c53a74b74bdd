"""The documents of one name that this process holds, and those that it is about to hold."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Generic, TypeVar

from sojourn.documents.document import Document
from sojourn.documents.editing import Editor
from sojourn.documents.holding import Holding
from sojourn.documents.joining import Joining
from sojourn.documents.keeping import Autosaver
from sojourn.documents.kind import Kind
from sojourn.documents.loading import Loader, Wanted
from sojourn.documents.mailbox import Mailbox
from sojourn.documents.model import Cause, checked_key, not_loaded
from sojourn.documents.transacting import Transactor
from sojourn.errors import (
    LoadCancelledError,
    LoadInProgressError,
    SojournError,
    UnavailableError,
    UnloadFailedError,
)
from sojourn.kernel import Leases
from sojourn.kernel.waiting import first_of, seen

__all__ = ["Holdings"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Load(Generic[T]):
    """A load on its way. `is_cancelled`: by an unload or by closing, and not by its caller."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.task: asyncio.Task[Document[T]] | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Give it up; whoever waits for it is told."""
        if self.is_cancelled:
            return  # a second cancellation would end the giving back
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()

    async def ended(self) -> None:
        """Wait until it has ended, one way or the other, and the lease is given back."""
        if self.task is not None:
            await asyncio.wait((self.task,))
            await self._leases.settled()

    async def document(self, key: str) -> Document[T]:
        """Wait for what it loads.

        Raises:
            LoadCancelledError: it was given up.
        """
        assert self.task is not None
        try:
            document = await asyncio.shield(self.task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if waiter is None or not waiter.cancelling():
                raise _cancelled(key) from None
            raise
        if self.is_cancelled:
            raise _cancelled(key)
        return document


class Holdings(Generic[T]):
    """Which documents are loaded here. One that was lost stays, to say so, until it is unloaded or loaded anew."""

    def __init__(self, kind: Kind[T], mailbox: Mailbox[T]) -> None:
        self._kind = kind
        self._mailbox = mailbox
        self._loader = Loader(kind)
        self._autosaver = Autosaver(kind.store, kind.terms.autosave)
        self._held: dict[str, Holding[T]] = {}
        self._loading: dict[str, _Load[T]] = {}
        self._is_closed = False
        self._guard: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.joining = Joining(kind, self._loader, self._open_here)
        self.transactor = Transactor(kind, self._loader, self._found)

    def check_open(self) -> None:
        """Refuse whatever is asked after closing.

        Raises:
            ClosedError: these documents are closed.
        """
        if self._is_closed:
            raise self._kind.terms.closed_error()

    async def load(self, key: str, wanted: Wanted, subjects: tuple[str, ...]) -> Document[T]:
        """Load a document, or return the one that is loaded."""
        self.check_open()
        self._kind.terms.place(key)  # out of form: said before anything is waited for
        while (holding := await self._present(key)) is not None and holding.handle is not None:
            await self._loader.note_subjects(holding, subjects)
            if not holding.closed:
                return holding.handle  # else it was unloaded meanwhile, and is loaded anew
        if key in self._loading:
            raise LoadInProgressError(f"the document {key!r} is being loaded here already")
        load = self._loading[key] = _Load[T](self._kind.leases)
        load.task = self._kind.store.spawn(self._load(key, wanted, subjects))
        load.task.add_done_callback(lambda task: self._loaded(key, load, task))
        try:
            return await load.document(key)
        except asyncio.CancelledError:
            load.cancel()
            self._unload_unwanted(load.task)
            raise

    def loaded(self, key: str) -> Document[T]:
        """Return the document that is loaded here, or was until its lease was lost."""
        self.check_open()
        holding = self._held.get(checked_key(key))
        if holding is None or holding.handle is None:
            raise not_loaded(key)
        return holding.handle

    async def awaited(self, key: str) -> Document[T]:
        """Return it likewise, but wait for a load in progress."""
        self.check_open()
        load = self._loading.get(checked_key(key))
        return self.loaded(key) if load is None else await load.document(key)

    async def unload(self, key: str) -> None:
        """Give a document back, if it is loaded here; give up loading it, if it is being loaded."""
        self.check_open()
        load = self._loading.get(checked_key(key))
        if load is not None:
            load.cancel()
            await load.ended()
        holding = self._held.get(key)
        if holding is not None:
            if holding.is_ended:
                del self._held[key]
            await holding.unload()

    def refuse_reentry(self, key: str) -> None:
        """Refuse a change of a document from within a change of it."""
        holding = self._held.get(checked_key(key))
        if holding is not None:
            holding.gate.refuse_reentry()

    async def look(self, key: str) -> None:
        """Note that a document held here was just taken by this process itself."""
        holding = self._held.get(key)
        if holding is not None and not holding.is_ended:
            await holding.look()

    async def close(self, patience: float | None) -> None:
        """Unload everything, side by side."""
        self._is_closed = True
        if self._closing is None:
            self._closing = self._kind.store.spawn(self._close(patience), finish=True)
            self._closing.add_done_callback(seen)
        try:
            await asyncio.shield(self._closing)
        except UnloadFailedError:
            self._closing = None
            raise

    async def _close(self, patience: float | None) -> None:
        clock = self._kind.store.clock
        until = None if patience is None else clock.monotonic() + patience
        loads = tuple(self._loading.values())
        for load in loads:
            load.cancel()
        rest = (*(load.ended() for load in loads), self.transactor.close())
        await self._until(until, map(asyncio.ensure_future, rest))
        self._mailbox.close()
        held = {key: holding for key, holding in self._held.items() if not holding.is_unsaved_told}
        ends = {key: asyncio.ensure_future(holding.unload()) for key, holding in held.items()}
        await self._until(until, ends.values())
        failed: dict[str, Exception] = {}
        for key, end in ends.items():
            if not end.done():
                failed[key] = UnavailableError("it was not unloaded in time, and goes on")
                end.add_done_callback(seen)
            elif (error := end.exception()) is not None:
                failed[key] = error if isinstance(error, Exception) else UnavailableError(str(error))
        if failed:
            raise UnloadFailedError(failed)
        if self._guard is not None:
            self._guard.cancel()

    async def _until(self, until: float | None, ends: Iterable[asyncio.Future[None]]) -> None:
        """Wait for all of these, or until that monotonic time."""
        waited_for = tuple(ends)
        clock = self._kind.store.clock
        if not waited_for:
            return
        if until is None:
            await asyncio.wait(waited_for)
        else:
            await first_of(asyncio.wait(waited_for), clock.sleep(until - clock.monotonic()))

    async def _load(self, key: str, wanted: Wanted, subjects: tuple[str, ...]) -> Document[T]:
        holding = await self._loader.load(key, wanted, subjects)
        holding.on_end = self._ended
        document = Document(holding, Editor(self._kind.schema, holding), self.joining)
        holding.attend(document)
        self._held[key] = holding
        if self._guard is None:
            self._guard = self._kind.store.spawn(self._watch_over())
        self._autosaver.add(holding)
        holding.herald.changed(holding.value, None, Cause.LOAD)
        self._mailbox.deliver(holding, self.transactor)
        return document

    async def _watch_over(self) -> None:
        """Do nothing until the store is closed; then say what is lost, because these documents were not closed."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            unsaved = sum(not holding.is_ended and not holding.is_saved for holding in self._held.values())
            if unsaved:
                name = self._kind.terms.name
                _log.warning(
                    "the store is closed with %d unsaved documents of %s; close the documents first", unsaved, name
                )

    def _loaded(self, key: str, load: _Load[T], task: asyncio.Task[Document[T]]) -> None:
        if self._loading.get(key) is load:
            del self._loading[key]
        seen(task)
        if load.is_cancelled:
            self._unload_unwanted(task)

    def _unload_unwanted(self, task: asyncio.Task[Document[T]]) -> None:
        """Give back what was loaded although nobody waited for it any more."""
        if task.done() and not task.cancelled() and task.exception() is None:
            _ = self._kind.store.spawn(self._unload_quietly(task.result()), finish=True)

    async def _unload_quietly(self, document: Document[T]) -> None:
        try:
            await document.unload()
        except SojournError as error:
            _log.warning("the document %s was loaded for nobody, and not unloaded: %s", document.key, error)

    async def _present(self, key: str) -> Holding[T] | None:
        """Return the document that is loaded here; waits for one that is just being given back."""
        while True:
            self.check_open()
            load = self._loading.get(key)
            if load is not None and load.is_cancelled:
                await load.ended()
                continue
            holding = self._held.get(key)
            if holding is None or holding.is_ended:
                self._held.pop(key, None)
                return None
            if not holding.closed:
                return holding
            await holding.ended()

    async def _found(self, key: str) -> Holding[T] | None:
        """Return what a transaction is to change: the document that is loaded here, or None."""
        load = self._loading.get(key)
        if load is not None:
            await load.ended()
        holding = self._held.get(key)
        return None if holding is None else holding.checked_open()

    def _open_here(self, key: str) -> Holding[T] | None:
        return self._held.get(key)

    def _ended(self, holding: Holding[T]) -> None:
        """Forget a document that is no longer held, unless it has something left to hand over."""
        self._autosaver.remove(holding)
        self._mailbox.forget(holding)
        if holding.unsaved is None and self._held.get(holding.key) is holding:
            del self._held[holding.key]


def _cancelled(key: str) -> LoadCancelledError:
    return LoadCancelledError(f"the document {key!r} was unloaded while it was being loaded")
