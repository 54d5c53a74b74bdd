"""What follows a commit: effects on a platform, and telling who waits for the end of a dialog.

Both are stored with the state that they follow. The process that has committed them performs them at once; when it dies
before, whichever process knows the platform, or the completion, finds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.failures import as_error, is_cancelled
from sojourn.dialogs.layout import Address
from sojourn.dialogs.model import DialogInfo, Edit, Effect, Ended, effect_of, effect_text
from sojourn.dialogs.platform import Interaction, Platform
from sojourn.dialogs.presence import apart
from sojourn.dialogs.registry import Registry
from sojourn.dialogs.stored import Row
from sojourn.dialogs.watchdog import Watchdog
from sojourn.errors import InvalidError, SojournError, UnsupportedError
from sojourn.kernel import Effect as Stored
from sojourn.kernel import Key, Outbox, Put, Reads, Record, Store, effect

__all__ = ["Completion", "Following", "Performer"]

_log = logging.getLogger(__name__)

Completion: TypeAlias = Callable[[Ended[Any], DialogInfo], Awaitable[object]]
"""Is told of the end of a dialog: at least once, in whichever process knows it."""

_KIND: Final = "effect"


class _Wanted(msgspec.Struct, frozen=True, array_like=True):
    """An effect as it is stored: of which dialog, and how many views that had shown with it."""

    dialog_id: str
    partition: str
    renders: int
    effect: msgspec.Raw


_WANTED: Final = msgspec.json.Decoder(_Wanted)


class _End(msgspec.Struct, frozen=True, array_like=True):
    dialog_id: str
    partition: str
    row: Row


_ENDS: Final = msgspec.json.Decoder(_End)


class Following(msgspec.Struct, frozen=True):
    """One thing that follows a commit, and the write that stores it. `is_ours`: this process performs it at once."""

    space: str
    put: Put
    payload: bytes
    is_ours: bool
    is_completion: bool = False


class Performer:
    """Performs effects and completions of one store in this process."""

    def __init__(self, store: Store, registry: Registry, watchdog: Watchdog) -> None:
        self._store = store
        self._registry = registry
        self._watchdog = watchdog
        self._platforms: dict[str, Platform] = {}
        self._completions: dict[str, Completion] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._live: dict[str, Interaction] = {}
        self._first = set[str]()

    def add_platform(self, platform: Platform) -> None:
        """Perform what is to be done on this platform from now on. The last of one name counts."""
        self._platforms[platform.name] = platform
        space = layout.effects(platform.name)
        if space not in self._outboxes:
            self._outboxes[space] = Outbox(self._store, space, {_KIND: self._on(platform.name)})

    def add_completion(self, name: str, completion: Completion) -> None:
        """Tell this function of ends from now on.

        Raises:
            InvalidError: there is one of this name.
        """
        if name in self._completions:
            raise InvalidError("name", f"a completion {name!r} is registered already")
        self._completions[name] = completion
        space = layout.completions(name)
        self._outboxes[space] = Outbox(self._store, space, {_KIND: self._telling(name)})

    def platform(self, name: str) -> Platform | None:
        """Return the platform of this name, None where this process does not know it."""
        return self._platforms.get(name)

    def name_of(self, completion: Completion | str) -> str:
        """Return the name under which a completion is registered.

        Raises:
            InvalidError: it is not.
        """
        for name, known in self._completions.items():
            if completion in (name, known):
                return name
        shown = completion if isinstance(completion, str) else getattr(completion, "__qualname__", completion)
        raise InvalidError("on_end", f"{shown!r} is not registered; put `@dialogs.on_end` before it")

    def effects(self, address: Address, row: Row, wanted: Sequence[Effect]) -> list[Following]:
        """Return what stores these effects of a dialog, which is then as the row says."""
        space, is_ours = layout.effects(row.platform), row.platform in self._platforms
        stored_as = (
            _Wanted(address.dialog_id, address.partition, row.renders, msgspec.Raw(effect_text(one))) for one in wanted
        )
        return [self._following(space, address, msgspec.json.encode(one), is_ours) for one in stored_as]

    def completion(self, address: Address, row: Row) -> list[Following]:
        """Return what stores that somebody has to be told of this end, if anybody has."""
        if row.completion is None:
            return []
        payload = msgspec.json.encode(_End(address.dialog_id, address.partition, row))
        is_ours = row.completion in self._completions
        told = self._following(layout.completions(row.completion), address, payload, is_ours)
        return [msgspec.structs.replace(told, is_completion=True)]

    async def perform(self, following: Sequence[Following], token: int, interaction: Interaction | None) -> None:
        """Perform the effects that were committed under this revision, and have completions told in the background.

        What fails is tried again later, by whoever is there.
        """
        for one in following:
            if not one.is_ours:
                continue
            if one.is_completion:
                apart(self._store, self._finish(one, token), finish=False)
                continue
            key = one.put.key
            self._first.add(key.item)
            if interaction is not None:
                self._live[key.item] = interaction
            try:
                await self._finish(one, token)
            finally:
                self._first.discard(key.item)
                self._live.pop(key.item, None)

    async def _finish(self, one: Following, token: int) -> None:
        try:
            await self._outboxes[one.space].finish(one.put.key, _KIND, one.payload, token)
        except SojournError as error:
            _log.warning("what follows %s is performed later: %s", one.put.key.partition, error)

    async def step(self) -> float:
        """Perform what others have left behind; return the seconds until there may be something to do.

        Raises:
            UnavailableError: the store could not be reached.
        """
        pauses = [await outbox.step() for outbox in tuple(self._outboxes.values())]
        return min(pauses, default=float("inf"))

    def _following(self, space: str, address: Address, payload: bytes, is_ours: bool) -> Following:  # noqa: FBT001
        return Following(space, effect(space, address.partition, _KIND, payload, claimed=is_ours), payload, is_ours)

    def _on(self, name: str) -> Callable[[Stored], Awaitable[None]]:
        async def perform(one: Stored) -> None:
            kept = _WANTED.decode(one.payload)
            wanted = effect_of(bytes(kept.effect))
            interaction = self._live.get(one.idempotency_key)
            if one.idempotency_key not in self._first and await self._is_too_late(kept, wanted):
                return
            try:
                async with self._watchdog.limited(limits.DIALOG_HANDLER):
                    await self._platforms[name].perform(wanted, one.idempotency_key, interaction)
            except UnsupportedError as error:
                _log.warning("%s was dropped: %s", type(wanted).__name__, error)
            except asyncio.CancelledError as error:
                _check_own(error)

        return perform

    async def _is_too_late(self, kept: _Wanted, wanted: Effect) -> bool:
        """Say whether an effect that was left behind means nothing any more.

        The dialog is forgotten, so trying again has an end; or it has shown something newer, whose place it must not
        take.
        """
        key = Key(layout.DIALOGS, kept.partition, kept.dialog_id)
        (record,) = (await self._store.read(Reads((key,)))).records.keys
        if record is None:
            _log.warning("%s of dialog %s was dropped: the dialog is forgotten", type(wanted).__name__, kept.dialog_id)
            return True
        return isinstance(wanted, Edit) and stored.decode(record).renders > kept.renders

    def _telling(self, name: str) -> Callable[[Stored], Awaitable[None]]:
        async def tell(one: Stored) -> None:
            end = _ENDS.decode(one.payload)
            key = Key(layout.DIALOGS, end.partition, end.dialog_id)
            assert end.row.closed is not None
            info = stored.info_of(Record(key, b"", 0), end.row, end.row.closed.at)
            registered = self._registry.named(end.row.type)
            typed = msgspec.UNSET if registered is None else registered.result_of(end.row.closed.result)
            try:
                async with self._watchdog.limited(limits.DIALOG_COMPLETION):
                    await self._completions[name](stored.ended_of(end.dialog_id, end.row.closed, typed), info)
            except asyncio.CancelledError as error:
                _check_own(error)

        return tell


def _check_own(error: asyncio.CancelledError) -> None:
    """Let a cancellation of this task on; that of something else, which was waited for, is an error like others."""
    if is_cancelled(error):
        raise error
    raise as_error(error) from error
