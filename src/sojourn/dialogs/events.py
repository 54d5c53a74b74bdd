"""What happened to dialogs, told after the commit that made it so.

    async def count(event: DialogEvent) -> None:
        ...

    dialogs.subscribe(count, EventName.ENDED, EventName.EXPIRED)

Subscribers live in this process, and are told by the process in which it happened: once where that goes on, not at all
where it dies before. What must happen in any case is a completion: see `Dialogs.on_end`.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from sojourn import limits
from sojourn.dialogs.failures import is_cancelled
from sojourn.dialogs.middleware import Priority, checked_priority
from sojourn.dialogs.model import Ended
from sojourn.dialogs.platform import Interaction
from sojourn.errors import InvalidError
from sojourn.kernel.clock import Clock
from sojourn.kernel.waiting import first_of

__all__ = ["Bus", "DialogEvent", "EventFilter", "EventName", "Subscriber"]

C = TypeVar("C")

_log = logging.getLogger(__name__)


class EventName(StrEnum):
    """What happened to a dialog."""

    STARTED = "started"
    DENIED = "denied"
    """Its filter or a middleware did not let somebody start it, or use it."""
    START_FAILED = "start_failed"
    """Its start came to nothing."""
    UPDATED = "updated"
    """An interaction was handled, and the dialog goes on."""
    DUPLICATE = "duplicate"
    """A platform delivered again what had been handled."""
    UPDATE_FAILED = "update_failed"
    """An interaction failed, and the dialog is as it was."""
    ENDED = "ended"
    EXPIRED = "expired"
    """It ended by its deadline; this follows on ENDED."""


class DialogEvent(msgspec.Struct, kw_only=True, eq=False):
    """One thing that happened. The events of one dialog are in the order of `revision`, None where none is known.

    `interaction` led to it, where one did, `ended` says how the dialog ended, `error` what failed; `meta` is what was
    handed along with the interaction.
    """

    name: EventName
    dialog_id: str
    type: str
    revision: int | None = None
    interaction: Interaction | None = None
    ended: Ended[Any] | None = None
    error: BaseException | None = None
    meta: dict[str, Any] = {}
    is_handled: bool = False

    def handle(self) -> None:
        """Have it passed over by the subscribers behind this one, but for those that want to know all the same."""
        self.is_handled = True


Subscriber: TypeAlias = Callable[[DialogEvent], Awaitable[object] | object]
"""Is told of an event. What it returns is ignored, and what it raises is logged."""

EventFilter: TypeAlias = Callable[[DialogEvent], bool | Awaitable[bool]]
"""Says whether a subscriber is to be told of an event."""


class _Entry(msgspec.Struct, kw_only=True, eq=False):
    """One subscription. Who goes while an event is being told is not told of it any more."""

    id: str
    subscriber: Subscriber
    names: frozenset[EventName]
    priority: Priority
    once: bool
    filter: EventFilter | None
    ignores_handled: bool
    locked: bool
    is_there: bool = True


class Bus:
    """Tells subscribers of events, one after another, from high to low priority, and among equals as they came.

    Each has `limits.DIALOG_HANDLER` for an event; then it is logged, cancelled, and the next one is told.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._told: Mapping[EventName, tuple[_Entry, ...]] = dict.fromkeys(EventName, ())
        self._shown: Mapping[str, Subscriber] = MappingProxyType({})
        self._numbers = itertools.count(1)

    @property
    def subscribers(self) -> Mapping[str, Subscriber]:
        """Who is subscribed at present, by id, in the order in which they are told."""
        return self._shown

    def wants(self, name: EventName) -> bool:
        """Say whether anybody is told of this event, so that it need not be made for nobody."""
        return bool(self._told[name])

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
        """Tell this subscriber of these events from now on, of all where none is named; return what ends that.

        With `once` it is told of one event only. The filter says of which events it is told. Unless it does not ignore
        what is handled, it is not told of what a subscriber before it has handled. A locked one cannot be removed by
        its id, but only by what this returns.

        Raises:
            InvalidError: somebody of this id is subscribed, one of these cannot be called, or there is no such event.
        """
        if id is None:
            id = next(free for free in map(str, self._numbers) if free not in self._entries)  # noqa: A001
        if not id or id in self._entries:
            raise InvalidError("id", f"a subscriber has one of its own, and {id!r} is taken or empty")
        entry = _Entry(
            id=id,
            subscriber=_callable("subscriber", subscriber),
            names=_names(events),
            priority=checked_priority(priority),
            once=once,
            filter=None if filter is None else _callable("filter", filter),
            ignores_handled=ignores_handled,
            locked=locked,
        )
        self._entries[id] = entry
        self._sort()
        return lambda: self._take_away(entry)

    def unsubscribe(self, id: str) -> bool:  # noqa: A002  the word for it
        """Tell the subscriber of this id nothing any more; False: there is none.

        Raises:
            InvalidError: it is locked.
        """
        entry = self._entries.get(id)
        if entry is None:
            return False
        if entry.locked:
            raise InvalidError("id", f"the subscriber {id!r} is locked, so only who subscribed it can remove it")
        self._take_away(entry)
        return True

    def swap(self, id: str, subscriber: Subscriber) -> Subscriber:  # noqa: A002  the word for it
        """Tell another in the place of the subscriber of this id, and return that; all else of it stays.

        Raises:
            InvalidError: there is none of this id, or the new one cannot be called.
        """
        entry = self._entries.get(id)
        if entry is None:
            raise InvalidError("id", f"there is no subscriber {id!r}")
        before, entry.subscriber = entry.subscriber, _callable("subscriber", subscriber)
        self._sort()
        return before

    async def emit(self, event: DialogEvent) -> None:
        """Tell all who want to know, and wait for each. Never raises but for a cancellation, which stops it."""
        for entry in self._told[event.name]:
            if event.is_handled and entry.ignores_handled:
                continue
            try:
                await self._tell(entry, event)
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled(error):
                    raise
                _log.exception("subscriber %r failed at %s of dialog %s", entry.id, event.name, event.dialog_id)

    async def _tell(self, entry: _Entry, event: DialogEvent) -> None:
        if entry.filter is not None and not await self._within_limit(entry.filter(event)):
            return
        if not entry.is_there:  # it went meanwhile, or was told by another event of the one that it wants
            return
        if entry.once:
            self._take_away(entry)
        await self._within_limit(entry.subscriber(event))

    async def _within_limit(self, told: object) -> object:
        """Return what somebody told said.

        Raises:
            TimeoutError: that did not come in time.
        """
        if not inspect.isawaitable(told):
            return told
        said = await first_of(told, self._clock.sleep(limits.DIALOG_HANDLER.total_seconds()), default=_LATE)
        if said is _LATE:
            raise TimeoutError(f"it took longer than {limits.DIALOG_HANDLER}, and was cancelled")
        return said

    def _take_away(self, entry: _Entry) -> None:
        if entry.is_there:
            entry.is_there = False
            del self._entries[entry.id]
            self._sort()

    def _sort(self) -> None:
        entries = sorted(self._entries.values(), key=lambda one: -one.priority)  # stable: equals stay as they came
        self._shown = MappingProxyType({one.id: one.subscriber for one in entries})
        self._told = {name: tuple(one for one in entries if name in one.names) for name in EventName}


_LATE: Final = object()


def _callable(name: str, given: C) -> C:
    if not callable(given):
        raise InvalidError(name, "it can be called with an event")
    return given


def _names(events: tuple[EventName, ...]) -> frozenset[EventName]:
    try:
        return frozenset(map(EventName, events or EventName))
    except ValueError as error:
        raise InvalidError("events", str(error)) from error
