"""What an application wants to be told of its documents. What it raises is logged, and changes nothing."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from sojourn.documents.model import Cause, EndReason
from sojourn.errors import InvalidError
from sojourn.kernel import Store

if TYPE_CHECKING:
    from sojourn.documents.document import Document

__all__ = ["Callbacks", "Herald", "check_callback"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Callbacks(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The callbacks of one `Documents`, as its docstring describes them.

    Raises:
        InvalidError: one cannot be called, or is a coroutine where nothing can wait for it.
    """

    changed: tuple[Callable[[str, T, T | None, Cause], object], ...] = ()
    before_save: Callable[[Document[T]], object] | None = None
    after_save: Callable[[Document[T]], object] | None = None
    on_session_end: Callable[[str, EndReason], object] | None = None
    on_lease_lost: Callable[[str, T | None], object] | None = None
    on_hand_over: Callable[[Document[T]], object] | None = None

    def __post_init__(self) -> None:
        for at, callback in enumerate(self.changed):
            check_callback(f"changed_callbacks[{at}]", callback, waits=False)
        for name, callback in msgspec.structs.asdict(self).items():
            if name != "changed" and callback is not None:
                check_callback(name, callback, waits=name.startswith("on_"))


def check_callback(name: str, callback: object, *, waits: bool) -> None:
    """Refuse what cannot be called, or would have to be waited for where nothing can.

    Raises:
        InvalidError: it is such.
    """
    if not callable(callback):
        raise InvalidError(name, "it cannot be called")
    if not waits and inspect.iscoroutinefunction(callback):
        raise InvalidError(name, "it is a coroutine; give a plain function, which cannot wait")


class Herald(Generic[T]):
    """Tells whoever wants to know what becomes of one document: nobody, while it has no handle."""

    def __init__(self, store: Store, callbacks: Callbacks[T], key: str) -> None:
        self.handle: Document[T] | None = None
        self._store = store
        self._callbacks = callbacks
        self._key = key
        self._untold = deque[tuple[T, T | None, Cause]]()

    def changed(self, value: T, old: T | None, cause: Cause) -> None:
        """Tell of a new value; of one that a callback makes, once all have been told of the change before."""
        if self.handle is None:
            return
        self._untold.append((value, old, cause))
        if len(self._untold) > 1:
            return  # within a callback
        while self._untold:
            for callback in self._callbacks.changed:
                _tell(self._store, callback, self._key, *self._untold[0])
            self._untold.popleft()

    def before_save(self) -> None:
        """Tell that it is about to be saved."""
        self._tell_handle(self._callbacks.before_save)

    def after_save(self) -> None:
        """Tell that it was saved."""
        self._tell_handle(self._callbacks.after_save)

    def asked_for(self) -> bool:
        """Tell that somebody else wants it; False: the application leaves that to us."""
        self._tell_handle(self._callbacks.on_hand_over)
        return self._callbacks.on_hand_over is not None

    def lost(self, unsaved: T | None) -> bool:
        """Tell that its lease was lost, and what was not saved; False: nobody wants to know."""
        if self.handle is None or self._callbacks.on_lease_lost is None:
            return False
        _tell(self._store, self._callbacks.on_lease_lost, self._key, unsaved)
        return True

    def ended(self, reason: EndReason) -> None:
        """Tell that it is no longer held here."""
        if self.handle is not None:
            _tell(self._store, self._callbacks.on_session_end, self._key, reason)

    def _tell_handle(self, callback: Callable[[Document[T]], object] | None) -> None:
        if self.handle is not None:
            _tell(self._store, callback, self.handle)


def _tell(store: Store, callback: Callable[..., object] | None, *facts: Any) -> None:
    """Call a callback, and let what it waits for go on as a task of the store."""
    if callback is None:
        return
    try:
        result = callback(*facts)
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  whatever the application raises: a document is no worse
        _log.exception("a callback of documents failed")
        return
    if inspect.isawaitable(result):
        _ = store.spawn(_awaited(result), finish=True)


async def _awaited(result: Awaitable[object]) -> None:
    try:
        await result
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  as above; nobody cancels a task that is to finish
        _log.exception("a callback of documents failed")
