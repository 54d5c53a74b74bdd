"""Dialogs: sessions of questions and answers that outlive every process.

    dialogs = Dialogs(store)

    @dialogs.register("approve", version=1)
    class Approve(Dialog[bool]): ...

    handle = await dialogs.start(Approve, interaction, data=Order("17"))
    await dialogs.dispatch(interaction)                         # any process, after any restart
    ended = await handle.wait(timeout=60)                       # from any process, also after the end
    approved = await dialogs.ask(Approve, interaction, data=Order("17"), timeout=timedelta(hours=1))

Between interactions nothing lives in memory: what a dialog is stands in the store. One interaction at a time changes
it, each delivery at most once, and all that a handler has done is one commit.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast, overload

from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.caretaking import Caretaker
from sojourn.dialogs.closing import Closer
from sojourn.dialogs.context import made_end
from sojourn.dialogs.dialog import Dialog
from sojourn.dialogs.dispatching import Dispatcher, MissingHandler
from sojourn.dialogs.events import Bus, DialogEvent, EventFilter, EventName, Subscriber
from sojourn.dialogs.failures import Errors
from sojourn.dialogs.handle import Handle
from sojourn.dialogs.house import House
from sojourn.dialogs.keyring import Keyring
from sojourn.dialogs.middleware import Middleware, MiddlewareList, Phase, Priority
from sojourn.dialogs.model import (
    DialogInfo,
    Dispatched,
    EndCode,
    Ended,
    User,
    Words,
    checked_id,
    checked_name,
)
from sojourn.dialogs.performing import Completion, Performer
from sojourn.dialogs.platform import Interaction, Platform
from sojourn.dialogs.presence import present
from sojourn.dialogs.registry import Registry
from sojourn.dialogs.seats import Seats
from sojourn.dialogs.starting import Starter, Wish
from sojourn.dialogs.waiting import Waiter, checked_timeout
from sojourn.dialogs.watchdog import Watchdog
from sojourn.errors import (
    ClosedError,
    CorruptError,
    DialogGoneError,
    DialogStateError,
    DialogUnansweredError,
    InvalidError,
    LeaseHeldError,
)
from sojourn.kernel import Attempt, Cursor, Leases, Listing, Page, RankSpan, Reads, Record, Store
from sojourn.kernel.listing import checked_limit
from sojourn.kernel.waiting import first_of

__all__ = ["Dialogs"]

_log = logging.getLogger(__name__)

R = TypeVar("R")
D = TypeVar("D", bound=Dialog[Any])
C = TypeVar("C", bound=Completion)
M = TypeVar("M", bound=MissingHandler)
W = TypeVar("W", bound=Middleware)


class Dialogs:
    """The dialogs of a store. Making it does no I/O; register types, platforms and completions before using it.

    `keys`, newest first, are what tokens are signed with where people could forge them; without, one is made and kept
    in the store. `retain` is how long the end of a dialog is remembered, `wait` how long an interaction waits for those
    before it. `words` is what people are told when nothing else answers them. `partition` names, for a dialog's id, the
    partition of its records, for engines on which only what stands together can be committed together. With
    `end_on_stop`, closing ends the dialogs that were started here.

    From its first use on a process ends what is overdue and performs what was left behind, until it is closed.

    Raises:
        InvalidError: a duration, or the keys, are out of form.
    """

    def __init__(  # noqa: PLR0913  each is one independent choice of the application
        self,
        store: Store,
        *,
        keys: Sequence[bytes] | None = None,
        retain: timedelta = limits.DIALOG_RETAIN,
        wait: timedelta = limits.DIALOG_WAIT,
        words: Words = Words(),  # noqa: B008  it never changes
        partition: Callable[[str], str] | None = None,
        end_on_stop: bool = False,
    ) -> None:
        for name, given, least in (("retain", retain, timedelta(milliseconds=1)), ("wait", wait, timedelta())):
            if not isinstance(cast("object", given), timedelta) or given < least:
                raise InvalidError(name, f"it is a timedelta of at least {least}")
        self.store = store
        self.words = words
        self.errors = Errors()
        self.events = Bus(store.clock)
        registry, watchdog = Registry(), Watchdog(store)
        self._house = House(
            store=store,
            seats=Seats(store, Leases(store)),
            keyring=Keyring(store, keys),
            performer=Performer(store, registry, watchdog),
            watchdog=watchdog,
            words=words,
            retain=retain,
            wait=wait.total_seconds(),
            partition=partition,
            registry=registry,
            middleware={Phase.START: MiddlewareList(), Phase.UPDATE: MiddlewareList()},
            errors=self.errors,
            bus=self.events,
        )
        self._closer = Closer(self._house)
        self._caretaker = Caretaker(self._house, self._closer)
        self._waiter = Waiter(self._house, self._caretaker.settle)
        self._starter = Starter(self._house)
        self._dispatcher = Dispatcher(self._house)
        self._end_on_stop = end_on_stop
        self._started_here: dict[str, None] = {}
        self._working = 0
        self._idle = asyncio.Event()
        self._is_closed = False
        if end_on_stop:
            self.events.subscribe(self._forget, EventName.ENDED, locked=True)

    # -- What is known here -------------------------------------------------------------------------------------------

    def register(self, name: str, *, version: int = 1) -> Callable[[type[D]], type[D]]:
        """Return a decorator that makes a class known as the type of dialogs of this name.

        Name and version are stored with each dialog. A newer version reads older data by `Dialog.migrate`.

        Raises:
            InvalidError: name, version or class are out of form, or known already. LimitError: the name is too long.
        """
        frame = inspect.currentframe()
        # Annotations of a class within a function name what that function knows.
        checked_name("name", name)
        scope = {} if frame is None or frame.f_back is None else frame.f_back.f_locals

        def registered(kind: type[D]) -> type[D]:
            self._house.registry.add(kind, name, version, scope)
            return kind

        return registered

    def add_platform(self, platform: Platform) -> None:
        """Perform what dialogs want done on this platform, also what another process has left behind.

        Adapters do so when they are made; whoever starts or dispatches an interaction of one does so too.
        """
        self._house.performer.add_platform(platform)

    @overload
    def use(
        self, middleware: Middleware, *, at: Phase, priority: Priority = ..., skips_filter: bool = ...
    ) -> Callable[[], bool]: ...
    @overload
    def use(
        self, middleware: None = None, *, at: Phase, priority: Priority = ..., skips_filter: bool = ...
    ) -> Callable[[W], W]: ...
    def use(
        self,
        middleware: Middleware | None = None,
        *,
        at: Phase,
        priority: Priority = Priority.NORMAL,
        skips_filter: bool = False,
    ) -> Callable[[], bool] | Callable[[W], W]:
        """Ask a middleware before each start, or each use, of a dialog; return what takes it away again.

        Without one, return a decorator for it.

        From high to low priority, equal ones in the order in which they came. The dialog's own filter is asked in any
        case, unless one with `skips_filter` has forced the interaction through.

        Raises:
            InvalidError: it cannot be called, is there already, or phase or priority are none.
        """
        listed = self._house.middleware.get(at)
        if listed is None:
            raise InvalidError("at", "it is Phase.START or Phase.UPDATE")

        def used(one: W) -> W:
            listed.add(one, priority, skips_filter=skips_filter)
            return one

        if middleware is None:
            return used
        listed.add(middleware, priority, skips_filter=skips_filter)
        return lambda: listed.remove(middleware)

    def on_missing(self, handler: M) -> M:
        """Have a function answer what comes for dialogs that are not there; it takes the place of the one before.

        It gets the cause, the interaction, and what is known of a dialog that has ended. Without one, people are told
        why, and what they clicked is disabled where the platform can do that.
        """
        self._dispatcher.missing = handler
        return handler

    @overload
    def on_end(self, function: C, /) -> C: ...
    @overload
    def on_end(self, function: None = None, /, *, name: str) -> Callable[[C], C]: ...
    def on_end(self, function: C | None = None, /, *, name: str | None = None) -> C | Callable[[C], C]:
        """Register a function that may be given to `start(on_end=...)`: it is told of the end, whatever died meanwhile.

        It is told at least once, in any process that has it registered, after the commit that ended the dialog: with
        how it ended, its result typed where the dialog's type is registered there, and what was known of the dialog.
        What it raises is logged, and it is told again later, as it is when it takes longer than
        `limits.DIALOG_COMPLETION`. Its name, `module:function` unless another is given, is stored with the dialog.

        Raises:
            InvalidError: the name is taken.
        """

        def registered(completion: C) -> C:
            chosen = name or f"{completion.__module__}:{getattr(completion, '__qualname__', '')}"
            self._house.performer.add_completion(chosen, completion)
            return completion

        return registered if function is None else registered(function)

    def subscribe(  # noqa: PLR0913  each says one thing of a subscription
        self,
        subscriber: Subscriber,
        *events: EventName,
        id: str | None = None,  # noqa: A002  the word for it
        priority: Priority = Priority.NORMAL,
        once: bool = False,
        filter: EventFilter | None = None,  # noqa: A002  the word for it
        ignores_handled: bool = True,
        locked: bool = False,
    ) -> Callable[[], None]:
        """Have somebody told what happens to dialogs in this process, after each commit; return what stops that.

        Without `events`, of all. Nobody waits for them; what they raise is logged. `Dialogs.events` says more.

        Raises:
            InvalidError: the id is taken, or something is out of form.
        """
        return self.events.subscribe(
            subscriber,
            *events,
            id=id,
            priority=priority,
            once=once,
            filter=filter,
            ignores_handled=ignores_handled,
            locked=locked,
        )

    # -- From start to end --------------------------------------------------------------------------------------------

    async def start(  # noqa: PLR0913  each says one thing of a start
        self,
        kind: type[Dialog[R]],
        interaction: Interaction,
        *,
        data: object = UNSET,
        id: str | None = None,  # noqa: A002  the word for it
        ttl: timedelta | UnsetType | None = UNSET,
        on_end: Completion | str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Handle[R]:
        """Start a dialog for whoever interacts, and return its handle, whose `outcome` says what became of it.

        "denied" or "failed": middleware or filter did not let it start, or its `start` hook raised; the error handlers
        were told, the person too, and nothing is kept. Else its first message is out, and it runs, in the store.
        `data` begins as the empty value of its type; `id` is made unless it is given; `ttl` takes the place of the
        type's, None: it does not end by itself; `on_end` is told of its end, whatever dies meanwhile.

        It takes two commits with the first message between them, so it cannot join a transaction. Cancelled, or when
        the process dies in between, what was begun ends by itself.

        Raises:
            DialogExistsError: there is a dialog of this id, open or remembered; it is untouched.
            InvalidError: something is out of form; nothing was stored. LimitError: beyond a limit, likewise.
            UnavailableError: the store could not be reached; the dialog does not run.
            CommitUnknownError: the answer was lost; `get` tells whether it runs.
            ClosedError: these dialogs, or the store, are closed.
        """
        if self._is_closed:
            raise ClosedError("these dialogs are closed; nothing can be started any more")
        registered = self._house.registry.of_kind(kind)
        self._begin(interaction.platform)
        wish = Wish(interaction=interaction, data=data, dialog_id=id, ttl=ttl, on_end=on_end, meta=_meta(meta))
        self._working += 1
        try:
            dialog_id, outcome = await self._starter.start(registered, wish)
        finally:
            self._done()
        if self._end_on_stop and outcome == "started":
            self._started_here[dialog_id] = None
        return Handle(self, dialog_id, outcome)

    async def dispatch(self, interaction: Interaction, *, meta: dict[str, Any] | None = None) -> Dispatched:
        """Handle an interaction with a dialog, whichever process started it, and say what became of it.

        It never raises but for a cancellation, and the person always gets an answer: whatever goes wrong is in the
        result, in the log, and with the error handlers. A delivery that was handled before is not handled again, and
        an interaction that is for no dialog is left alone ("foreign"). All that the handler has done is one commit; it
        may run again when that meets a rival. Cancelled, the interaction was handled or not, never half.
        """
        if self._is_closed:
            return await self._dispatcher.turn_away(interaction)
        self._begin(interaction.platform)
        self._working += 1
        try:
            return await self._dispatcher.dispatch(interaction, _meta(meta))
        finally:
            self._done()

    async def ask(  # noqa: PLR0913  each says one thing of a start
        self,
        kind: type[Dialog[R]],
        interaction: Interaction,
        *,
        timeout: timedelta,  # noqa: ASYNC109  by the store's clock
        data: object = UNSET,
        id: str | None = None,  # noqa: A002  the word for it
        on_end: Completion | str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> R:
        """Start a dialog that lives as long as `timeout`, wait for a handler to end it, and return its result.

        Nobody answers in time: the dialog is ended, so that nobody answers later. The caller dies, or is cancelled: the
        dialog goes on, and whoever has its id can wait for it; `on_end` is told in any case.

        Raises:
            DialogUnansweredError: it was denied, failed, expired, or was ended without an answer.
            DialogExistsError, InvalidError, LimitError, UnavailableError, CommitUnknownError: as for `start`.
        """
        seconds = checked_timeout(timeout)
        handle = await self.start(kind, interaction, data=data, id=id, ttl=timeout, on_end=on_end, meta=meta)
        if handle.outcome != "started":
            raise DialogUnansweredError(f"dialog {handle.id} was not started: {handle.outcome}")
        try:
            ended = await handle.wait(seconds)
        except TimeoutError:
            try:
                ended = await handle.end(code=EndCode.EXPIRED, reason="nobody answered in time")
            except LeaseHeldError:  # somebody answers at this moment, and is not cut off
                ended = await handle.wait()
        if ended.code in _UNANSWERED:
            raise DialogUnansweredError(f"dialog {handle.id} was not answered: {ended.code}, {ended.reason}", ended)
        return cast("R", ended.result)

    async def end(
        self,
        dialog_id: str,
        *,
        code: str | int = EndCode.CANCELLED,
        reason: str = "",
        result: object = UNSET,
        tx: Attempt | None = None,
    ) -> Ended[Any]:
        """End a dialog, and return how it ended: one that has ended already keeps its first outcome.

        Its `end` hook runs within the commit, unless its type is not registered here. Without `tx` this waits for
        interactions before it; with `tx` it is part of that transaction, and what is being handled meanwhile will find
        it ended. Called in the dialog's own handler it ends with that handler's commit; in its `end` hook, nothing is
        done.

        Raises:
            DialogGoneError: there is no such dialog. DialogStateError: it is still starting.
            InvalidError: something is out of form, or the result cannot be stored. LimitError: beyond a limit.
            LeaseHeldError: others had it all the time; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; ending it again tells.
        """
        self._begin(None)
        return await self._closer.end(self._house.address(checked_id(dialog_id)), made_end(result, code, reason), tx)

    async def wait(self, dialog_id: str, timeout: timedelta | float | None = None) -> Ended[Any]:  # noqa: ASYNC109
        """Wait for the end of a dialog, up to so many seconds by the store's clock, and return how it ended.

        In any process, also after the end, as long as that is remembered. When these dialogs are closed, it returns at
        once with the code `suspended`: the dialog goes on. Timed out or cancelled, the dialog is unaffected.

        Raises:
            DialogGoneError: there is no such dialog, or its end is forgotten.
            DialogStateError: the caller is a handler of this dialog. TimeoutError: it has not ended in time.
            InvalidError: id or timeout are out of form. ClosedError: the store was closed.
        """
        seconds = checked_timeout(timeout)
        if present(self.store, checked_id(dialog_id)) is not None:
            raise DialogStateError(dialog_id, "being handled", "its own handler cannot wait for its end")
        self._begin(None)
        return await self._waiter.wait(dialog_id, seconds)

    # -- Looking ------------------------------------------------------------------------------------------------------

    @overload
    def handle(self, dialog_id: str) -> Handle[Any]: ...
    @overload
    def handle(self, dialog_id: str, kind: type[Dialog[R]]) -> Handle[R]: ...
    def handle(self, dialog_id: str, kind: type[Dialog[Any]] | None = None) -> Handle[Any]:  # noqa: ARG002
        """Return a handle of a dialog, without looking whether it is there. `kind` says of what type its result is.

        Raises:
            InvalidError: the id is out of form. LimitError: it is too long.
        """
        return Handle(self, checked_id(dialog_id), None)

    async def resolve(self, interaction: Interaction) -> DialogInfo | None:
        """Return the dialog that an interaction is for, None where there is none; nothing happens to it.

        Raises:
            UnavailableError: the store could not be reached. CorruptError: its record is damaged.
        """
        self.add_platform(interaction.platform)
        found = await self._dispatcher.find(interaction)
        return None if found is None else await self.get(found.dialog_id)

    async def get(self, dialog_id: str, *, tx: Attempt | None = None) -> DialogInfo | None:
        """Return what is known of a dialog, open or ended; None: nothing. With `tx` it is guarded.

        Raises:
            InvalidError: the id is out of form. CorruptError: its record is damaged.
            UnavailableError: the store could not be reached.
        """
        key = self._house.address(checked_id(dialog_id)).dialog
        if tx is not None:
            record, now = await tx.get(key), await tx.now()
        else:
            snapshot = await self.store.read(Reads((key,)))
            (record,), now = snapshot.records.keys, snapshot.now
        return None if record is None else stored.info_of(record, stored.decode(record), now)

    def list(
        self,
        *,
        type: str | None = None,  # noqa: A002  the word for it
        owner: User | None = None,
        limit: int = limits.PAGE,
        after: str | None = None,
    ) -> Listing[DialogInfo]:
        """List the open dialogs, by their deadlines, those without one last; of one type, or of one owner.

        A page may hold fewer than `limit` where only some are wanted. A damaged record is logged and left out.

        Raises:
            InvalidError, LimitError: limit or cursor are out of form.
            UnavailableError: the store could not be reached.
        """
        checked_limit(limit)

        async def read(after: str | None) -> Page[DialogInfo]:
            cursor = None if after is None else Cursor.decode(after, layout.DIALOGS)
            page = await self.store.rank(RankSpan(layout.DIALOGS, after=cursor, limit=limit))
            shown = [_shown(record, page.now) for record in page.records]
            items = tuple(one for one in shown if one is not None and _is_wanted(one, type, owner))
            return Page(items, None if page.cursor is None else page.cursor.encode(layout.DIALOGS))

        return Listing(read, after)

    async def expire(self, limit: int = limits.PAGE_MAX) -> int:
        """End up to so many dialogs whose time is over, and return how many; this happens by itself, too.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._caretaker.expire(limit)

    async def keys(self) -> tuple[bytes, ...]:
        """Return what tokens are signed with, newest first, so that an adapter can sign what belongs to them.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._house.keyring.keys()

    # -- Coming and going ---------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Look after what is due in this process, also before anything is asked of it. The store has to be open."""
        self._begin(None)
        return self

    async def __aenter__(self) -> Self:
        """Look after what is due in this process, as `open` does."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close these dialogs."""
        await self.close()

    async def close(self) -> None:
        """Take nothing new, finish what is being handled, and let waiters go; the dialogs themselves go on.

        Waits up to `limits.DIALOG_STOP_GRACE` for handlers. Whoever waits here is told `suspended` at once. Closing
        twice is harmless. The store stays open.

        Raises:
            UnavailableError: with `end_on_stop`, the store could not be reached to end those started here.
        """
        self._is_closed = True
        if not self._end_on_stop:
            self._waiter.close()
        try:
            await self._caretaker.stop()
            if self._working:
                self._idle.clear()
                await first_of(self._idle.wait(), self.store.clock.sleep(limits.DIALOG_STOP_GRACE.total_seconds()))
            await self._end_those_started_here()
        finally:
            self._waiter.close()

    async def _end_those_started_here(self) -> None:
        started, self._started_here = self._started_here, {}
        for dialog_id in started:
            with suppress(DialogGoneError, DialogStateError, LeaseHeldError):
                stopped = made_end(UNSET, EndCode.STOPPED, "the process stops")
                await self._closer.end(self._house.address(dialog_id), stopped, None)

    def _forget(self, event: DialogEvent) -> None:
        self._started_here.pop(event.dialog_id, None)

    def _begin(self, platform: Platform | None) -> None:
        if platform is not None and self._house.performer.platform(platform.name) is not platform:
            self.add_platform(platform)
        if not self._is_closed:
            self._caretaker.begin()

    def _done(self) -> None:
        self._working -= 1
        if not self._working:
            self._idle.set()


_UNANSWERED: Final = frozenset({EndCode.EXPIRED, EndCode.CANCELLED, EndCode.STOPPED, EndCode.SUSPENDED})


def _meta(meta: dict[str, Any] | None) -> dict[str, Any]:
    return {} if meta is None else meta


def _shown(record: Record, now: int) -> DialogInfo | None:
    try:
        return stored.info_of(record, stored.decode(record), now)
    except CorruptError as error:
        _log.error("a dialog is left out of the list: %s", error)
        return None


def _is_wanted(info: DialogInfo, type_name: str | None, owner: User | None) -> bool:
    if type_name is not None and info.type != type_name:
        return False
    return owner is None or (info.owner.id, info.owner.tenant) == (owner.id, owner.tenant)
