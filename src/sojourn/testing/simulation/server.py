"""A virtual server: a host with a store, documents and a clock of its own, and what its application does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from typing import Final, Literal, TypeAlias

from sojourn.documents import Cause, Document, Documents, EndReason, Message
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    ConflictError,
    DocumentNotLoadedError,
    DocumentUnknownError,
    LeaseLostError,
    LoadCancelledError,
    LoadInProgressError,
    SojournError,
    UnavailableError,
    UnloadFailedError,
)
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.store import Store
from sojourn.testing.simulation.canon import Account, Canon, Name
from sojourn.testing.simulation.loop import Host, pause
from sojourn.testing.simulation.network import Line
from sojourn.testing.simulation.report import Telling
from sojourn.testing.simulation.witness import KINDS

__all__ = ["AUTOSAVE", "HostClock", "How", "LEASE", "START_MS", "Server"]

LEASE: Final = timedelta(seconds=10)
AUTOSAVE: Final = timedelta(seconds=4)
START_MS: Final = 1_000_000_000_000

How: TypeAlias = Literal["lease", "refuse", "within"]
"""What a trade does about documents that are not loaded, or that it is part of another transaction."""

_AGAIN_S: Final = 2.0
_WAIT_S: Final = 8.0

_FORESEEN: Final = (
    ClosedError,
    CommitUnknownError,
    ConflictError,
    DocumentNotLoadedError,
    DocumentUnknownError,
    LoadCancelledError,
    LoadInProgressError,
    UnavailableError,
    UnloadFailedError,
)

_TROUBLED: Final = (CommitUnknownError, LeaseLostError, UnavailableError, UnloadFailedError)


class HostClock:
    """The clock of one host. `jump` sets its wall clock; nothing that counts may go by that."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host
        self._off_ms = 0
        self._seen_ms = 0

    def jump(self, milliseconds: int) -> None:
        """Set the wall clock forward or back."""
        self._off_ms += milliseconds

    def now(self) -> int:
        """Return the host's wall clock, kept from stepping back."""
        self._seen_ms = seen = max(self._seen_ms, START_MS + self._off_ms + int(self.monotonic() * 1_000))
        return seen

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait for virtual seconds."""
        if self._host is not None and self._host.is_dead:
            raise asyncio.CancelledError
        if seconds > 0:
            await pause(seconds)


class Server:
    """One process of an application. What it does, and what it is told, the canon hears."""

    def __init__(self, host: Host, line: Line, canon: Canon, telling: Telling, *, is_calm: bool) -> None:
        self.host = host
        self.line = line
        self.clock = HostClock(host)
        self.disturbed_at = 0.0
        self.store = Store(line, clock=self.clock)
        self.documents = {kind: self._documents(kind) for kind in KINDS}
        self.handles: dict[Name, Document[Account]] = {}
        self._canon = canon
        self._telling = telling
        self._is_calm = is_calm
        self._doing: dict[int, str] = {}
        self._numbers = count()

    @property
    def name(self) -> str:
        """The name of the host."""
        return self.host.name

    @property
    def busy(self) -> int:
        """How many operations are under way."""
        return len(self._doing)

    @property
    def under_way(self) -> list[str]:
        """What these are."""
        return list(self._doing.values())

    def run(self, what: str, work: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Do something on the host, and note how it ended."""
        return self.host.start(self._run(what, work))

    async def _run(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        self._telling.sums[what.partition(" ")[0]] += 1
        number = next(self._numbers)
        self._doing[number] = what
        try:
            result = await work()
        except asyncio.CancelledError:
            if not self.host.is_dead:
                self._telling.accuse(f"{self.name} {what}: cancelled by nobody")
            raise
        except _FORESEEN as error:
            self._say(f"{what}: {type(error).__name__}")
            if self._is_calm and isinstance(error, _TROUBLED):
                self._telling.accuse(f"{self.name} {what}: where all is calm, it was told {error!r}")
        except Exception as error:  # noqa: BLE001  whatever else it is, a server should not have seen it
            self._say(f"{what}: {error!r}")
            if not self.host.is_dead:
                self._telling.accuse(f"{self.name} {what}: an error that nobody foresaw: {error!r}")
        else:
            self._say(what if result is None else f"{what}: {result}")
        finally:
            del self._doing[number]

    # -- What it does

    async def load(self, name: Name, *, wait: float | None, ask: bool, steal_after: float | None) -> None:
        """Load a document, and keep its handle."""
        loading = self.documents[name.kind].load(name.key, wait=wait, ask=ask, steal_after=steal_after)
        self.handles[name] = await loading

    async def unload(self, name: Name) -> None:
        """Unload a document; that its session has ended acknowledges its last value."""
        await self.handles[name].unload()

    async def save(self, name: Name) -> None:
        """Save a document; the value that it had is acknowledged."""
        document = self.handles[name]
        done = tuple(document.value.done)
        await document.save()
        self._canon.acknowledges(name, done)

    async def save_within(self, name: Name) -> None:
        """Save a document as part of a transaction of the application's own."""
        document = self.handles[name]
        done: tuple[str, ...] = ()

        async def work(tx: Attempt) -> None:
            nonlocal done
            done = tuple(document.value.done)
            await document.save(tx=tx)

        await self.store.run(work)
        self._canon.acknowledges(name, done)

    async def update(self, name: Name, what: str, *, crafts: bool) -> bool:
        """Change a document in memory."""

        def change(draft: Account) -> bool:
            draft.done.append(what)
            if crafts:
                draft.items.append(what)
            return True

        return await self._in_memory(name, what, self.handles[name].update(change))

    async def abandon(self, name: Name) -> bool:
        """Change a draft, and abandon it."""

        def change(draft: Account) -> bool:
            draft.items.clear()
            draft.done.append("abandoned")
            return False

        return await self.handles[name].update(change)

    async def grow(self, name: Name, bytes_: int) -> bool:
        """Make a document larger than a record, or small again."""

        def change(draft: Account) -> bool:
            draft.ballast = "x" * bytes_
            return True

        return await self.handles[name].update(change)

    async def edit(self, name: Name, what: str) -> None:
        """Change a document in a block."""
        with self.handles[name].edit() as draft:
            draft.done.append(what)

    async def trade(self, names: tuple[Name, ...], what: str, share: float, *, how: How, gives_up: bool) -> bool:
        """Move an item from the first document to the last, and write the trade into all of them."""
        self._canon.trade(what, names)

        def change(drafts: dict[str, Account]) -> bool:
            giver, taker = drafts[names[0].key], drafts[names[-1].key]
            if giver.items:
                taker.items.append(giver.items.pop(int(share * len(giver.items))))
            for draft in drafts.values():
                draft.trades.append(what)
                draft.done.append(what)
            return not gives_up

        documents, keys = self.documents[names[0].kind], [name.key for name in names]
        began = self.clock.monotonic()
        try:
            if how == "within":
                done = await self.store.run(lambda tx: documents.transact(keys, change, tx=tx))
            else:
                done = await documents.transact(keys, change, unloaded=how, wait=_WAIT_S)
        except SojournError as error:
            # That nobody holds a lease may be so again: a late call may then commit what its repeat could not.
            is_late = how == "within" and self.line.troubled_at >= began
            if error.written == "no" and not is_late:
                self._canon.fails(what)
            raise
        if not done:
            self._canon.fails(what)
            return False
        for name in names:
            self._canon.acknowledges(name, (what,))
        return True

    async def send(self, name: Name, message: str) -> bool:
        """Send a message, which makes an item of its id."""
        self._canon.tries(message)
        try:
            taken = await self.documents[name.kind].send(name.key, {"make": message}, id=message)
        except SojournError as error:
            if error.written == "no":
                self._canon.fails(message)
            raise
        self._canon.sends(message)
        return taken

    async def peek(self, name: Name) -> None:
        """Read what is stored."""
        expected = self._canon.expected(name)
        value = await self.documents[name.kind].peek(name.key)
        self._canon.shows(name, value, expected)

    async def revoke(self, name: Name) -> None:
        """Take a document from whoever holds it."""
        await self.documents[name.kind].revoke(name.key)

    async def rollback(self, name: Name, share: float) -> int | None:
        """Make an earlier revision the present one."""
        documents = self.documents[name.kind]
        versions = [version async for version in documents.history(name.key)]
        if not versions:
            return None
        return await documents.rollback(name.key, revision=versions[int(share * len(versions))].revision)

    async def erase(self, name: Name) -> bool:
        """Delete a document."""
        return await self.documents[name.kind].erase(name.key)

    async def close(self) -> None:
        """Give everything back, as before a deploy, and try again for as long as something cannot be given back."""
        for documents in self.documents.values():
            while not await self._closes(documents):
                await self.clock.sleep(_AGAIN_S)
        await self.store.close()
        if self._is_calm:
            for name in self.line.held():
                self._telling.accuse(f"{self.name} is closed, and still holds {name}")

    async def _closes(self, documents: Documents[Account]) -> bool:
        try:
            await documents.close()
        except UnloadFailedError as error:
            return all(isinstance(each, LeaseLostError) for each in error.failed.values())
        return True

    # -- What it is told

    def _documents(self, kind: str) -> Documents[Account]:
        def changed(key: str, new: Account, old: Account | None, cause: Cause) -> None:
            if self.host.is_dead:
                return
            name = Name(kind, key)
            if cause is Cause.LOAD:
                self._telling.sums["loads"] += 1
                self._canon.begins(self.name, name, self.line.token(name), new)
            elif cause is not Cause.TRANSACTION or self._canon.holds(self.name, name):  # or leased for it only
                self._canon.changes(self.name, name, old, new)

        def lost(key: str, unsaved: Account | None) -> None:
            if not self.host.is_dead:
                name = Name(kind, key)
                self._say(f"loses {name}")
                self._canon.loses(self.name, name, unsaved, endangered=self._was_endangered(name))

        def ended(key: str, reason: EndReason) -> None:
            if not self.host.is_dead:
                self._say(f"ends {kind}/{key}: {reason.value}")
                name = Name(kind, key)
                asked = self.line.was_asked(name, self._canon.token(self.name, name))
                self._canon.ends(self.name, name, reason, asked=asked)

        def handled(draft: Account, message: Message) -> bool:
            self._telling.sums["messages handled"] += 1
            draft.items.append(message.id)
            return True

        return Documents(
            self.store,
            kind,
            schema=Account,
            template=Account(),
            autosave=AUTOSAVE,
            lease=LEASE,
            holder=self.name,
            changed_callbacks=(changed,),
            on_session_end=ended,
            on_lease_lost=lost,
            on_message=handled if kind == "account" else None,
        )

    def _was_endangered(self, name: Name) -> bool:
        """Say whether anything has happened lately that may cost a server its lease."""
        lately = asyncio.get_running_loop().time() - 3 * LEASE.total_seconds()
        is_taken = not self.line.stands(name, self._canon.token(self.name, name))
        return is_taken or max(self.disturbed_at, self.line.troubled_at) >= lately

    async def _in_memory(self, name: Name, what: str, changing: Awaitable[bool]) -> bool:
        document = self.handles[name]
        changed = await changing
        if not document.closed and what not in document.value.done:
            self._telling.accuse(f"{self.name} was told that {what} has changed {name}, and it has not")
        return changed

    def _say(self, what: str) -> None:
        self._telling.say(self.name, what)
