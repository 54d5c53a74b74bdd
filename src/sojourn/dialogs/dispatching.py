"""From an interaction to its dialog, and from what became of it to the person.

Never an exception to the platform, never silence to the person.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import msgspec

from sojourn import limits
from sojourn.dialogs import layout, stored
from sojourn.dialogs.events import DialogEvent, EventName
from sojourn.dialogs.failures import as_error, is_cancelled
from sojourn.dialogs.following import Done, follow
from sojourn.dialogs.house import House
from sojourn.dialogs.model import Cause, DialogInfo, Dispatched, Edit, EndCode, Handled, Kind, View
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.seats import BusyError, RepeatedError, ShutError
from sojourn.dialogs.stepping import DroppedError, Stepper
from sojourn.dialogs.tokens import Token
from sojourn.errors import ClosedError, SojournError
from sojourn.kernel import Reads

__all__ = ["Dispatcher", "Early", "MissingHandler"]

_log = logging.getLogger(__name__)

MissingHandler: TypeAlias = Callable[[Cause, Interaction, DialogInfo | None], object]
"""Answers an interaction for which there is no dialog; what is known of one that ended comes with it."""

_EARLY: Final = 0.7
"""The part of the time that a platform gives after which people are told to wait."""


class _Found(msgspec.Struct, frozen=True):
    dialog_id: str
    token: Token | None


class Dispatcher:
    """Brings interactions to the dialogs of one store, and answers to the people."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stepper = Stepper(house)
        self.missing: MissingHandler = self._say_missing

    async def dispatch(self, interaction: Interaction, meta: dict[str, Any]) -> Dispatched:
        """Handle an interaction; see `Dialogs.dispatch`."""
        house = self._house
        early = Early(house, interaction)
        try:
            found = await self.find(interaction)
            if found is None:
                return Dispatched("foreign")
            return await self._dispatched(found, interaction, meta)
        except SojournError as error:
            _log.warning("an interaction could not be handled: %s", error)
            if interaction.token is None:  # what somebody writes is most likely for nobody here
                return Dispatched("foreign", error=error)
            await self._say(interaction, house.words.unavailable)
            return Dispatched("unavailable", error=error)
        except (Exception, asyncio.CancelledError) as error:  # whatever it is, the platform is not to blame
            if is_cancelled(error):
                raise
            _log.exception("an interaction could not be handled")
            await self._say(interaction, house.words.failed)
            return Dispatched("failed", error=as_error(error))
        finally:
            early.is_over()

    async def turn_away(self, interaction: Interaction) -> Dispatched:
        """Answer an interaction that comes when these dialogs are closed."""
        error = ClosedError("these dialogs are closed")
        codec = self._house.codec(interaction.platform.name)
        if interaction.token is None or codec.decode(interaction.token) is None:
            return Dispatched("foreign", error=error)
        await self._say(interaction, self._house.words.unavailable)
        return Dispatched("unavailable", error=error)

    async def find(self, interaction: Interaction) -> _Found | None:
        """Return whose interaction it is, as its token says, or who takes what this person writes; None: not ours.

        Raises:
            UnavailableError: the store could not be reached.
        """
        house = self._house
        if interaction.token is not None:
            await house.keyring.prepare(interaction.platform)
            token = house.codec(interaction.platform.name).decode(interaction.token)
            return None if token is None else _Found(token.dialog_id, token)
        if interaction.kind is not Kind.MESSAGE:
            return None
        (record,) = (await house.store.read(Reads((layout.focus(interaction.known_at),)))).records.keys
        return None if record is None else _Found(record.value.decode(), None)

    async def _dispatched(self, found: _Found, interaction: Interaction, meta: dict[str, Any]) -> Dispatched:
        house = self._house
        address = house.address(found.dialog_id)
        try:
            done = await self._stepper.step(address, found.token, interaction, meta)
        except ShutError as shut:
            if found.token is None:
                return Dispatched("foreign")  # what somebody writes is not for a dialog that is over
            return await self._shut(found.dialog_id, shut, interaction)
        except RepeatedError:
            house.tell(self._event(EventName.DUPLICATE, found.dialog_id, interaction, meta))
            await self._answered(interaction)
            return Dispatched("duplicate", found.dialog_id)
        except BusyError:  # also where its own handler dispatches to it, and would wait for itself
            await self._say(interaction, house.words.busy)
            return Dispatched("busy", found.dialog_id)
        except DroppedError:
            await self._answered(interaction)
            return Dispatched("dropped", found.dialog_id)
        await follow(house, address, done, interaction, meta)
        await self._tell_person(done, interaction, found.dialog_id)
        outcome = cast("Handled", done.outcome)
        return Dispatched(outcome, found.dialog_id, done.cause, done.error, done.ended)

    async def _tell_person(self, done: Done, interaction: Interaction, dialog_id: str) -> None:
        words = self._house.words
        match done.outcome:
            case "denied":
                await self._say(interaction, words.denied)
            case "stale":
                await self._say(interaction, words.stale)
            case "failed" if not done.is_dealt_with:
                await self._say(interaction, words.failed)
            case "missing":
                if done.error is not None and done.failed_at is None:
                    _log.warning("dialog %s cannot be read here: %s", dialog_id, done.error)
                await self._missing(done.cause or Cause.UNKNOWN, interaction, None)
            case "foreign":
                pass
            case _:
                await self._answered(interaction)

    async def _shut(self, dialog_id: str, shut: ShutError, interaction: Interaction) -> Dispatched:
        if shut.found is None:
            await self._missing(Cause.UNKNOWN, interaction, None)
            return Dispatched("missing", dialog_id, Cause.UNKNOWN)
        row = stored.decode(shut.found)
        info = stored.info_of(shut.found, row, shut.now)
        is_expired = info.ended is not None and info.ended.code == EndCode.EXPIRED
        cause = Cause.EXPIRED if is_expired else Cause.ENDED
        await self._missing(cause, interaction, info)
        return Dispatched("missing", dialog_id, cause, ended=info.ended)

    # -- To the person ------------------------------------------------------------------------------------------------

    async def _missing(self, cause: Cause, interaction: Interaction, info: DialogInfo | None) -> None:
        async def handled() -> None:
            async with self._house.limited(limits.DIALOG_HANDLER):
                told = self.missing(cause, interaction, info)
                if inspect.isawaitable(told):
                    await told

        await self._house.contained(handled, "answering for a dialog that is not there")
        await self._answered(interaction)

    async def _say_missing(self, cause: Cause, interaction: Interaction, info: DialogInfo | None) -> None:
        """Say why, and take away what can be clicked, where the platform can."""
        words = self._house.words
        text = {
            Cause.UNKNOWN: words.unknown,
            Cause.EXPIRED: words.expired,
            Cause.ENDED: words.ended,
            Cause.VERSION: words.unreadable,
            Cause.UNREGISTERED: words.unreadable,
        }[cause]
        await self._say(interaction, text)
        if cause in {Cause.UNKNOWN, Cause.EXPIRED, Cause.ENDED} and interaction.place.message:
            shown = View() if info is None or info.view is None else info.view.without_components()
            closing = Edit(interaction.place, shown, closed=True)
            key = f"closed:{interaction.delivery_id or ''}"
            await self._house.contained(
                lambda: interaction.platform.perform(closing, key, interaction), "closing what a dialog has left behind"
            )

    async def _say(self, interaction: Interaction, text: str) -> None:
        await self._house.contained(
            lambda: interaction.responder.notify(text), "telling somebody what became of a click"
        )

    async def _answered(self, interaction: Interaction) -> None:
        await self._house.contained(interaction.responder.ack, "answering an interaction")

    def _event(self, name: EventName, dialog_id: str, interaction: Interaction, meta: dict[str, Any]) -> DialogEvent:
        return DialogEvent(name=name, dialog_id=dialog_id, type="", interaction=interaction, meta=meta)


class Early:
    """Says to wait when an interaction takes nearly as long as its platform allows."""

    def __init__(self, house: House, interaction: Interaction) -> None:
        self._house = house
        self._interaction = interaction
        within = interaction.platform.ack_within
        self._alarm = None if within is None else house.watchdog.set(within.total_seconds() * _EARLY, self._ring)

    def is_over(self) -> None:
        """Say nothing any more."""
        if self._alarm is not None:
            self._house.watchdog.clear(self._alarm)

    def _ring(self) -> None:
        self._house.store.spawn(self._house.contained(self._interaction.responder.defer, "telling somebody to wait"))
