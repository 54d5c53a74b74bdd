"""Documents: state that one process holds for a while, changes in memory, saves, and hands on.

players = Documents(store, "players", schema=Player, template=Player())
async with players.open("player_1") as player:          # load: the lease and the value in one commit
    with player.edit() as draft:
        draft.coins += 100                              # in memory, checked against the schema
    await player.save()                                 # one commit, fenced by the lease
                                                        # unload: save and release in one
await players.transact(["player_1", "player_2"], trade) # all or nothing, durable when it returns

Each document has one holder at a time. Whoever lost its lease cannot write any more: the data refuses it, and what it
had not saved is handed to the application.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from sojourn import limits
from sojourn.documents.archive import Archive
from sojourn.documents.callbacks import Callbacks
from sojourn.documents.change import by_drafts, by_values, refuse_waiting
from sojourn.documents.document import Document
from sojourn.documents.holdings import Holdings
from sojourn.documents.kind import Kind
from sojourn.documents.loading import Wanted
from sojourn.documents.mailbox import Mailbox
from sojourn.documents.migration import Chain, MigrationStep
from sojourn.documents.model import (
    Cause,
    EndReason,
    Info,
    Message,
    Terms,
    Version,
    checked_keys,
    checked_subjects,
    seconds,
)
from sojourn.documents.reading import read
from sojourn.documents.schema import Schema
from sojourn.errors import InvalidError
from sojourn.kernel import Attempt, LeaseInfo, Leases, Listing, Store
from sojourn.kernel.difference import Difference
from sojourn.kernel.turns import Turns

__all__ = ["Documents"]

T = TypeVar("T")


class Documents(Generic[T]):
    """The documents of one name in a store.

    `schema` is a type (a struct, a dataclass, a Pydantic model, a TypedDict), or a function that is given plain data
    and says whether it is good: True or False, `(False, "why")`, or by raising. `template` is what a document begins
    as. `migrations` brings stored values up to date. `import_legacy(key)` gives old data from elsewhere for a document
    that was never saved, or None, while the lease is held; it may be a coroutine. With `fill`, what a stored value
    lacks of the template is added. `repair(key, plain, problem)` may mend a stored value that breaks the schema.

    `autosave` is the pause between two saves of a changed document (None: never), `lease` how long a holder that says
    nothing more keeps one, `history` how many saved revisions are kept. `partition` names, for a key, the partition it
    is kept in: documents that are changed together share one, where the engine asks for that. `holder` is shown to
    people; by default it names host and process.

    Callbacks are told in the order given, and what they raise is logged. `changed_callbacks` get key, new value, old
    value (None at a load) and cause; `before_save` and `after_save` the document; `on_session_end` key and reason;
    `on_lease_lost` key and unsaved value (None: all was saved), exactly once for each loss; `on_hand_over` the document
    that somebody asks for: without it, the document is unloaded. `on_message` gets a draft and a message, and says
    True when it has handled it: change and acknowledgement are one commit. `on_session_end`, `on_lease_lost` and
    `on_hand_over` may be coroutines.

    Raises:
        InvalidError: a name, duration, callback or migration is out of form. LimitError: it is beyond a limit.
        DocumentInvalidError: the template breaks the schema.
    """

    def __init__(  # noqa: PLR0913  each is one independent setting
        self,
        store: Store,
        name: str,
        *,
        schema: type[T] | Callable[[Any], bool | tuple[bool, str]],
        template: T,
        migrations: Sequence[MigrationStep] = (),
        import_legacy: Callable[[str], object] | None = None,
        fill: bool = False,
        repair: Callable[[str, Any, str], object] | None = None,
        autosave: timedelta | None = limits.DOCUMENT_AUTOSAVE,
        lease: timedelta = limits.DOCUMENT_LEASE,
        history: int = limits.DOCUMENT_HISTORY,
        partition: Callable[[str], str] | None = None,
        holder: str | None = None,
        changed_callbacks: Sequence[Callable[[str, T, T | None, Cause], object]] = (),
        before_save: Callable[[Document[T]], object] | None = None,
        after_save: Callable[[Document[T]], object] | None = None,
        on_session_end: Callable[[str, EndReason], object] | None = None,
        on_lease_lost: Callable[[str, T | None], object] | None = None,
        on_hand_over: Callable[[Document[T]], object] | None = None,
        on_message: Callable[[T, Message], bool] | None = None,
    ) -> None:
        self._terms = Terms(
            name=name,
            holder=_host_and_process() if holder is None else holder,
            lease=lease,
            autosave=autosave,
            history=history,
            partition=partition,
        )
        if callable(changed_callbacks):
            raise InvalidError("changed_callbacks", "it is a list of functions")
        self._kind = Kind(
            store=store,
            terms=self._terms,
            schema=Schema(schema, template),
            chain=Chain(migrations),
            callbacks=Callbacks(
                changed=tuple(changed_callbacks),
                before_save=before_save,
                after_save=after_save,
                on_session_end=on_session_end,
                on_lease_lost=on_lease_lost,
                on_hand_over=on_hand_over,
            ),
            leases=Leases(store),
            turns=Turns(),
            fill=fill,
            import_legacy=import_legacy,
            repair=repair,
        )
        self._archive = Archive(store, name)
        self._mailbox = Mailbox(self._kind, on_message)
        self._holdings = Holdings(self._kind, self._mailbox)

    async def load(
        self,
        key: str,
        *,
        subjects: Sequence[str] = (),
        wait: timedelta | float | None = None,
        ask: bool = False,
        steal_after: timedelta | float | None = None,
    ) -> Document[T]:
        """Take the document's lease and read it, in one commit, and return it. Loaded already: return that.

        Waits up to `wait` for another holder (default: the lease and `limits.DOCUMENT_WAIT`), is woken when it gives
        the document back, and gets it when a holder that crashed would have had to renew. `ask` requests the holder to
        hand it over. `steal_after` takes it from one that has kept it for so much longer, and fences it out. `subjects`
        says to whom it belongs, besides those it belongs to already. Cancelled, the lease is given back.

        Raises:
            InvalidError: the key or a subject is out of form. LimitError: it is too long, or there are too many.
            LeaseHeldError: somebody else still holds it when the wait is over.
            LoadInProgressError: it is being loaded here already.
            LoadCancelledError: it was unloaded meanwhile, or these documents were closed.
            ImportFailedError, MigrationFailedError: nothing was written.
            DocumentInvalidError: the stored, imported or migrated value breaks the schema.
            IncompatibleError: it was saved by a program with a breaking migration that this one does not know.
            CorruptError: what is stored cannot be read.
            LeaseLostError: the lease ended while it was being loaded.
            ClosedError: these documents, or the store, are closed.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; if the lease was taken it ends when its time is over.
        """
        wanted = Wanted(self._wait(wait), ask, None if steal_after is None else seconds("steal_after", steal_after))
        return await self._holdings.load(key, wanted, checked_subjects(subjects))

    @asynccontextmanager
    async def open(
        self,
        key: str,
        *,
        subjects: Sequence[str] = (),
        wait: timedelta | float | None = None,
        ask: bool = False,
        steal_after: timedelta | float | None = None,
    ) -> AsyncGenerator[Document[T]]:
        """Load a document as `load` does, and unload it at the end of the block, whatever happens in it.

        Raises:
            LeaseHeldError: as `load`, with all that it raises.
            LeaseLostError: as `Document.unload`, at the end. UnavailableError, CommitUnknownError: likewise.
        """
        document = await self.load(key, subjects=subjects, wait=wait, ask=ask, steal_after=steal_after)
        try:
            yield document
        finally:
            await document.unload()

    def loaded(self, key: str) -> Document[T]:
        """Return the document of this key that is loaded here.

        Raises:
            DocumentNotLoadedError: it is not.
            ClosedError: these documents are closed.
        """
        return self._holdings.loaded(key)

    async def get(self, key: str) -> T:
        """Return the value of a document that is loaded here, as `Document.get` does; waits for a load in progress.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
            LeaseLostError: as `Document.get`. DocumentClosedError: likewise.
        """
        return await (await self._holdings.awaited(key)).get()

    def update(self, key: str, change: Callable[[T], bool]) -> Coroutine[Any, Any, bool]:
        """Change a document that is loaded here, as `Document.update` does; waits for a load in progress.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
            TransformInvalidError: as `Document.update`. DocumentInvalidError, InvalidError, LimitError: likewise.
            LeaseLostError: as `Document.update`. DocumentClosedError: likewise.
        """
        refuse_waiting(change)
        self._holdings.refuse_reentry(key)
        return self._update(key, change)

    def update_immutable(self, key: str, change: Callable[[T], T | Literal[False]]) -> Coroutine[Any, Any, bool]:
        """Change a document that is loaded here, as `Document.update_immutable` does; waits for a load in progress.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
            TransformInvalidError: as `Document.update`. DocumentInvalidError, InvalidError, LimitError: likewise.
            LeaseLostError: as `Document.update`. DocumentClosedError: likewise.
        """
        refuse_waiting(change)
        self._holdings.refuse_reentry(key)
        return self._update_immutable(key, change)

    def edit(self, key: str) -> AbstractContextManager[T]:
        """Give a draft of a document that is loaded here, as `Document.edit` does.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
            ConflictError: as `Document.edit`. DocumentInvalidError, InvalidError, LimitError: likewise.
            LeaseLostError: as `Document.edit`. DocumentClosedError: likewise.
        """
        return self.loaded(key).edit()

    async def save(self, key: str, *, tx: Attempt | None = None) -> None:
        """Store a document that is loaded here, as `Document.save` does; waits for a load in progress.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
            LeaseLostError: as `Document.save`. UnavailableError, CommitUnknownError, DocumentClosedError: likewise.
        """
        await (await self._holdings.awaited(key)).save(tx=tx)

    async def unload(self, key: str) -> None:
        """Save a document and give it back, as `Document.unload` does. Not loaded here: does nothing.

        One that is being loaded is not loaded then: whoever waits for it gets `LoadCancelledError`.

        Raises:
            ClosedError: these documents are closed.
            LeaseLostError: as `Document.unload`. UnavailableError, CommitUnknownError: likewise.
        """
        await self._holdings.unload(key)

    def start_autosaving(self, key: str) -> None:
        """Save a document that is loaded here now and then, as `Document.start_autosaving` does.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
        """
        self.loaded(key).start_autosaving()

    def stop_autosaving(self, key: str) -> None:
        """Save a document that is loaded here only when asked, as `Document.stop_autosaving` does.

        Raises:
            DocumentNotLoadedError: it is not loaded here. ClosedError: these documents are closed.
        """
        self.loaded(key).stop_autosaving()

    async def transact(
        self,
        keys: Collection[str],
        change: Callable[[dict[str, T]], bool],
        *,
        unloaded: Literal["lease", "refuse"] = "lease",
        wait: timedelta | float | None = None,
        tx: Attempt | None = None,
    ) -> bool:
        """Change several documents in one commit: all or none, durable when it returns, also for one key.

        `change` gets a draft for each key, writes into them, and says True, or False to abandon. Keys that are not
        loaded here are leased for the duration (or refused, with `unloaded="refuse"`); one that somebody else holds is
        waited for. Two transactions over the same keys come one after the other, in whatever order the keys are given.
        With `tx` it is part of that transaction: values in memory change once that has committed, keys not loaded here
        must be held by nobody, and nothing is waited for outside. Cancelled while it waits for a document, it is given
        up; after that it is finished in the background.

        Raises:
            KeysChangedError: `change` added or dropped a key.
            DocumentNotLoadedError: with `unloaded="refuse"`, or under `tx` where old data has to be imported first.
            LeaseHeldError: somebody else still holds one of them when the wait is over.
            CapabilityError: the engine cannot commit over the partitions of these keys.
            InvalidError: no keys, or one twice; or a draft holds what has no JSON form; or it would wait for the
                transaction in which it is called: give `tx`.
            DocumentInvalidError: a draft breaks the schema.
            LimitError: a draft is too large, or there are more than `limits.DOCUMENT_TRANSACTION` keys.
            TransformInvalidError: `change` is a coroutine, or gave something else than True or False.
            LeaseLostError: the lease of one of them ended or was taken. DocumentClosedError: one was unloaded.
            ConflictError: under `tx`, another change of one of them took longer than `limits.DOCUMENT_TURN`.
            IncompatibleError, MigrationFailedError, ImportFailedError, CorruptError: as `load`, for what is leased.
            ClosedError: these documents, or the store, are closed.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost, and it was not known within `limits.UNLOAD_PATIENCE` what became of
                it; the documents are lost here, and loaded anew they show it.
        """
        refuse_waiting(change)
        schema = self._kind.schema
        return await self._transact(keys, lambda values: by_drafts(schema, values, change), unloaded, wait, tx)

    async def transact_immutable(
        self,
        keys: Collection[str],
        change: Callable[[Mapping[str, T]], Mapping[str, T] | Literal[False]],
        *,
        unloaded: Literal["lease", "refuse"] = "lease",
        wait: timedelta | float | None = None,
        tx: Attempt | None = None,
    ) -> bool:
        """Change several documents as `transact` does; `change` gets the frozen values and returns new ones, or False.

        Raises:
            KeysChangedError: `change` added or dropped a key.
            TransformInvalidError: `change` is a coroutine, or gave neither a mapping nor False.
            LeaseHeldError: as `transact`, with all else that it raises.
        """
        refuse_waiting(change)
        schema = self._kind.schema
        return await self._transact(keys, lambda values: by_values(schema, values, change), unloaded, wait, tx)

    async def send(
        self,
        key: str,
        body: object,
        *,
        id: str | None = None,  # noqa: A002  what everybody calls it
        tx: Attempt | None = None,
    ) -> bool:
        """Send a message to a document, whoever holds it or nobody; False: one of this id has been taken already.

        It is kept until a holder's `on_message` has handled it, in one commit with the change it makes: each message
        takes effect once. `body` is plain JSON data. An id is remembered for `limits.MESSAGE_KEEP`; without one each
        call is a message of its own. With `tx` it is sent if that transaction commits. Cancelled, it is sent or not.

        Raises:
            InvalidError: the key or the id is out of form, or the body is no plain JSON data.
            LimitError: the body is larger than `limits.MESSAGE_BYTES`, or the key or the id is too long.
            OverloadedError: about `limits.MESSAGES` wait for the document; nothing was kept.
            ClosedError: these documents, or the store, are closed.
            UnavailableError: the store could not be reached; nothing was kept.
            CommitUnknownError: the answer was lost; send it again under the same id.
        """
        self._holdings.check_open()
        return await self._mailbox.send(self._terms.place(key), body, id, tx)

    async def peek(self, key: str, *, tx: Attempt | None = None) -> T | None:
        """Return the value as it stands in the store, up to date by the migrations, or None. Takes no lease.

        With `tx` it is the value as that transaction sees it. Works after `close`.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            MigrationFailedError: a step raised, or returned nothing.
            DocumentInvalidError: the stored or migrated value breaks the schema.
            IncompatibleError: it was saved by a program with a breaking migration that this one does not know.
            CorruptError: what is stored cannot be read.
            UnavailableError: the store could not be reached.
        """
        place = self._terms.place(key)
        if tx is not None:
            return await self._holdings.joining.peek(tx, key)
        found = await self._archive.find(place)
        return None if found is None else read(self._kind, key, found[1]).value

    async def probe_lease(self, key: str) -> LeaseInfo | None:
        """Return who holds the document, or None. Works after `close`.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            UnavailableError: the store could not be reached.
        """
        return await self._kind.leases.probe(self._terms.place(key).lease)

    async def revoke(self, key: str) -> LeaseInfo | None:
        """Take the document from whoever holds it, and return who did, or None: that holder is fenced out and told.

        Cancelled, it is taken or not.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            ClosedError: these documents, or the store, are closed.
            ConflictError: it met rivals again and again; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        self._holdings.check_open()
        holder = await self._kind.leases.revoke(self._terms.place(key).lease)
        await self._holdings.look(key)
        return holder

    def list(self, *, limit: int = limits.PAGE, after: str | None = None) -> Listing[Info]:
        """List the stored documents, the one saved longest ago first.

        One that is saved meanwhile goes to the end, and may be listed twice. Works after `close`.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
            CorruptError: a page has a document that cannot be read.
            UnavailableError: the store could not be reached for a page.
        """
        return self._archive.list(limit, after)

    def list_for(self, subject: str, *, limit: int = limits.PAGE, after: str | None = None) -> Listing[Info]:
        """List the stored documents of a subject, in the order of their keys. Works after `close`.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
            CorruptError: a page has a document that cannot be read.
            UnavailableError: the store could not be reached for a page.
        """
        return self._archive.list_for(subject, limit, after)

    def history(self, key: str, *, limit: int = limits.PAGE, after: str | None = None) -> Listing[Version]:
        """List the saved revisions that are kept of a document, the latest first. Works after `close`.

        Raises:
            InvalidError: the key is out of form, the limit below 1, or the cursor none of this listing.
            LimitError: the key is too long, or the limit above `limits.PAGE_MAX`.
            CorruptError: a page has an entry that cannot be read.
            UnavailableError: the store could not be reached for a page.
        """
        return self._archive.history(self._terms.place(key), limit, after)

    async def read(self, key: str, *, revision: int) -> T:
        """Return the value of a saved revision, up to date by the migrations. Works after `close`.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            DocumentUnknownError: the history has no such revision, or no more.
            MigrationFailedError: a step raised, or returned nothing.
            DocumentInvalidError: the stored or migrated value breaks the schema.
            IncompatibleError: it was saved by a program with a breaking migration that this one does not know.
            CorruptError: what is stored cannot be read.
            UnavailableError: the store could not be reached.
        """
        return read(self._kind, key, await self._archive.entry(self._terms.place(key), revision)).value

    async def diff(self, key: str, old: int, new: int) -> tuple[Difference, ...]:
        """Return the places at which two saved revisions differ, as they were stored. Works after `close`.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            DocumentUnknownError: the history has no such revision, or no more.
            CorruptError: one of them cannot be read.
            UnavailableError: the store could not be reached.
        """
        return await self._archive.diff(self._terms.place(key), old, new)

    async def rollback(self, key: str, *, revision: int, tx: Attempt | None = None) -> int | None:
        """Make a saved revision the present one, in one commit that fences out whoever holds the document.

        It is saved anew, with the migrations it had been through; the subjects stay. Returns the new revision, None
        under `tx`. Cancelled, it is done or not.

        Raises:
            InvalidError: the key is out of form, or with `tx` the document takes part in that transaction already.
            LimitError: the key is too long.
            DocumentUnknownError: the history has no such revision, or no more; nothing was written.
            CorruptError: that revision cannot be read; nothing was written.
            ClosedError: these documents, or the store, are closed.
            ConflictError: it met rivals again and again; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        self._holdings.check_open()
        place, terms = self._terms.place(key), self._terms
        if tx is not None:
            self._holdings.joining.claim(tx, key)
        saved = await self._archive.rollback(place, revision, holder=terms.holder, history=terms.history, tx=tx)
        if tx is None:
            await self._holdings.look(key)
        return saved

    async def erase(self, key: str) -> bool:
        """Delete all that is kept of a document but a tombstone; whoever holds it is fenced out. False: nothing was.

        The tombstone says that old data is not to be imported again; a later load begins from the template. It comes
        first, in one commit with the end of the lease; all else follows in bounded steps. Cancelled or failed, some of
        it is still there; called again, it goes on.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            ClosedError: these documents, or the store, are closed.
            ConflictError: it was saved anew again and again; call it once more.
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        self._holdings.check_open()
        is_erased = await self._archive.erase(self._terms.place(key))
        await self._holdings.look(key)
        return is_erased

    async def export(self, key: str) -> dict[str, Any]:
        """Return all that is kept of a document as plain data: value, facts, history, messages, subjects, lease.

        Empty when nothing is kept. All of it is in memory at once. It is read page by page, so what comes meanwhile may
        be in it or not. Works after `close`.

        Raises:
            InvalidError: the key is out of form. LimitError: it is too long.
            CorruptError: something of it cannot be read.
            UnavailableError: the store could not be reached.
        """
        return await self._archive.export(self._terms.place(key))

    async def close(self, *, patience: timedelta | float | None = None) -> None:
        """Unload every document, side by side; loads in progress are cancelled. Twice is once.

        From the call on only those verbs work that read what is stored: `peek`, `probe_lease`, `list`, `list_for`,
        `history`, `read`, `diff` and `export`. `patience` bounds the wait. Cancelled, it goes on in the background.
        Closing the store does not close them: documents that are still loaded then are not saved.

        Raises:
            UnloadFailedError: some could not be unloaded; `failed` says which and why. Call it again for those.
        """
        await self._holdings.close(None if patience is None else seconds("patience", patience))

    async def __aenter__(self) -> Self:
        """Give these documents, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them, as `close` does."""
        await self.close()

    def __repr__(self) -> str:
        return f"<Documents {self._terms.name!r}>"

    async def _update(self, key: str, change: Callable[[T], bool]) -> bool:
        return await (await self._holdings.awaited(key)).update(change)

    async def _update_immutable(self, key: str, change: Callable[[T], T | Literal[False]]) -> bool:
        return await (await self._holdings.awaited(key)).update_immutable(change)

    async def _transact(
        self,
        keys: Collection[str],
        make: Callable[[Mapping[str, T]], Mapping[str, T] | None],
        unloaded: Literal["lease", "refuse"],
        wait: timedelta | float | None,
        tx: Attempt | None,
    ) -> bool:
        if unloaded not in {"lease", "refuse"}:
            raise InvalidError("unloaded", "it is 'lease' or 'refuse'")
        self._holdings.check_open()
        names, is_refused = checked_keys(keys), unloaded == "refuse"
        if tx is not None:
            return await self._holdings.joining.transact(tx, names, make, is_refused=is_refused)
        return await self._holdings.transactor.transact(names, make, None if is_refused else Wanted(self._wait(wait)))

    def _wait(self, wait: timedelta | float | None) -> float:
        """Return how many seconds to wait for a holder; by default until one that crashed would have had to renew."""
        return seconds("wait", self._terms.lease + limits.DOCUMENT_WAIT if wait is None else wait)


def _host_and_process() -> str:
    """Return what names this process to people who ask who holds a document."""
    return f"{socket.gethostname()}:{os.getpid()}"
