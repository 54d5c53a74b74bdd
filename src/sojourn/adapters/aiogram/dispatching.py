"""Telegram as a platform of dialogs, through a router of aiogram's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from aiogram import Bot, F, Router
from aiogram.dispatcher.event.bases import SkipHandler
from aiogram.types import CallbackQuery, Message, Update
from aiogram.types import User as Account
from msgspec import UNSET, UnsetType

from sojourn.adapters.aiogram.chats import Answer, Chats
from sojourn.adapters.aiogram.rendering import BUDGET, Chosen, is_shown, split
from sojourn.dialogs import (
    NOBODY,
    Budget,
    Completion,
    Context,
    Dialog,
    Dialogs,
    Edit,
    Effect,
    Handle,
    Interaction,
    Kind,
    Notice,
    OpenForm,
    Phase,
    Place,
    Platform,
    Priority,
    Reply,
    TokenCodec,
    User,
)
from sojourn.errors import InvalidError, SojournError, UnsupportedError

__all__ = ["Roles", "Telegram"]

R = TypeVar("R")

Roles: TypeAlias = Callable[[Account], Awaitable[Collection[str] | None]]
"""Says which roles somebody has; None: no roles."""

_log = logging.getLogger(__name__)

_ACK_WITHIN: Final = timedelta(seconds=5)
"""How long people look at a button that still turns. Telegram itself waits longer."""


class Telegram(Platform):
    """Dialogs in the chats of one bot.

        telegram = Telegram(dialogs, bot)
        dispatcher.include_router(telegram.router)

        @dispatcher.message(Command("approve"))
        async def approve(message: Message) -> None:
            await telegram.start(Approve, message, data=Order("17"))

    The router takes clicks on the buttons of dialogs, and what people write while a dialog asks for it by `ctx.focus`.
    It leaves all else to the routers behind it, also what begins with a `/`. Each click of a dialog is answered, and an
    update that Telegram delivers again is not handled again.

    `name` is stored with each dialog; a second bot on the same store needs another one. With `signs` each token carries
    a MAC, which takes 17 bytes: a client of one's own can send anything in place of what a button carries. Who may use
    a dialog is looked at in any case; whether a chosen value was among those offered is up to the handler.

    `roles` is asked before each start and each use of a dialog, and for nothing else, which roles somebody has: those
    that the filter `role("admin")` looks for. When it raises, nobody gets through, as with any middleware.

    What a view has in `extras` becomes arguments of Telegram's `sendMessage` and `editMessageText`, `parse_mode` for
    example. There are no forms, and no choices of several at once. A message may come twice where a process died right
    behind sending it: Telegram knows no idempotency keys.
    """

    budget: Budget = BUDGET
    is_page: bool = False
    ack_within: timedelta | None = _ACK_WITHIN
    codec: TokenCodec | None = None

    def __init__(
        self, dialogs: Dialogs, bot: Bot, *, name: str = "telegram", signs: bool = False, roles: Roles | None = None
    ) -> None:
        self.name = name
        self.signs = signs
        self.router: Final = Router(name=f"sojourn.{name}")
        self.router.callback_query.register(self._click, F.data)
        self.router.message.register(self._write, F.text, ~F.text.startswith("/"))
        self._dialogs = dialogs
        self._chats = Chats(bot)
        dialogs.add_platform(self)
        if roles is not None:
            self._roles: Final = roles
            for phase in (Phase.START, Phase.UPDATE):
                dialogs.use(self._know_roles, at=phase, priority=Priority.HIGH_MONITOR)

    async def start(  # noqa: PLR0913  those of `Dialogs.start`
        self,
        kind: type[Dialog[R]],
        event: Message | CallbackQuery,
        *,
        data: object = UNSET,
        id: str | None = None,  # noqa: A002  as `Dialogs.start` has it
        ttl: timedelta | UnsetType | None = UNSET,
        on_end: Completion | str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Handle[R]:
        """Start a dialog where this was written or clicked, as `Dialogs.start` does. The click is answered.

        Do not wait for its end within a handler that holds a `LeaseIsolation`: the clicks would wait for the handler.

        Raises:
            DialogExistsError, InvalidError, LimitError, UnavailableError, CommitUnknownError: as `Dialogs.start` says.
        """
        interaction = self.interaction(event)
        try:
            return await self._dialogs.start(kind, interaction, data=data, id=id, ttl=ttl, on_end=on_end, meta=meta)
        finally:
            await _close(interaction)

    def interaction(self, event: Message | CallbackQuery) -> Interaction:
        """Return what was written or clicked as something to start a dialog by: for `Dialogs.start` and `ask`."""
        if isinstance(event, CallbackQuery):
            return self._interaction(event, Kind.COMMAND)
        command, *_ = (event.text or "").split(maxsplit=1) or [""]
        name = command[1:].partition("@")[0] if command.startswith("/") else ""
        return msgspec.structs.replace(self._interaction(event, Kind.COMMAND), command=name, text=event.text or "")

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:  # noqa: ARG002
        """Do what a dialog wants done, in its chat.

        Raises:
            UnsupportedError: Telegram cannot do it, or refuses it for good.
            TelegramAPIError: it failed, and may succeed another time.
        """
        match effect:
            case Reply(place=place, view=view):
                await self._chats.send(place, view)
            case Edit(place=place, view=view, closed=closed):
                await self._chats.edit(place, view.without_components() if closed else view)
            case Notice(user=user, text=text):
                if interaction is None:
                    await self._chats.whisper(user, text)
                else:
                    await interaction.responder.notify(text)
            case OpenForm():
                raise UnsupportedError("Telegram has no forms: ask by `ctx.focus`, and read the answer in `on_message`")

    # -- What aiogram brings ------------------------------------------------------------------------------------------

    async def _click(self, query: CallbackQuery, event_update: Update) -> None:
        token, chosen = split(query)
        kind = Kind.BUTTON if chosen is None else Kind.SELECT
        interaction = msgspec.structs.replace(
            self._interaction(query, kind), token=token, delivery_id=str(event_update.update_id)
        )
        if not self.signs and not is_shown(query):
            # It is an older button, or one that a client made up: no reason to close the message.
            interaction.place = msgspec.structs.replace(interaction.place, message="")
        if chosen is None or await self._chooses(interaction, chosen):
            await self._dispatch(interaction)
        await _close(interaction)

    async def _write(self, message: Message, event_update: Update) -> None:
        interaction = self._interaction(message, Kind.MESSAGE)
        await self._dispatch(
            msgspec.structs.replace(interaction, text=message.text or "", delivery_id=str(event_update.update_id))
        )

    async def _know_roles(self, ctx: Context) -> None:
        interaction = ctx.interaction
        account = None if interaction is None or interaction.platform is not self else interaction.raw.from_user
        if interaction is None or account is None:
            return
        roles = await self._roles(account)
        if isinstance(roles, str):
            raise InvalidError("roles", "it is a collection of texts, and not one text")
        interaction.user = msgspec.structs.replace(interaction.user, roles=frozenset(roles or ()))

    async def _dispatch(self, interaction: Interaction) -> None:
        dispatched = await self._dialogs.dispatch(interaction)
        if not dispatched.is_handled:
            raise SkipHandler  # others may know it

    async def _chooses(self, interaction: Interaction, chosen: Chosen) -> bool:
        """Find out which value was chosen; False: it cannot be found, and the person was told why."""
        value = chosen.value
        words = self._dialogs.words
        if value is None:
            try:
                info = await self._dialogs.resolve(interaction)
            except SojournError as error:
                _log.warning("what was chosen could not be looked up: %s", error)
                await interaction.responder.notify(words.unavailable)
                return False
            if info is None:
                return True  # none of ours, or not there any more: `dispatch` says which
            value = chosen.found_in(info.view)
        if value is None:
            await interaction.responder.notify(words.stale)
            return False
        interaction.values = (value,)
        return True

    def _interaction(self, event: Message | CallbackQuery, kind: Kind) -> Interaction:
        place, user = _place_of(event), _user_of(event.from_user)
        query = event if isinstance(event, CallbackQuery) else None
        return Interaction(
            platform=self,
            responder=Answer(self._chats, place, user, query),
            kind=kind,
            user=user,
            place=place,
            raw=event,
        )


async def _close(interaction: Interaction) -> None:
    assert isinstance(interaction.responder, Answer)
    await interaction.responder.close()


def _place_of(event: Message | CallbackQuery) -> Place:
    """Return where something was written, or which message was clicked: what people write is no message of ours."""
    message = event if isinstance(event, Message) else event.message
    if message is None:
        return Place()
    thread = ""
    if isinstance(message, Message) and message.is_topic_message and message.message_thread_id is not None:
        thread = str(message.message_thread_id)
    return Place(str(message.chat.id), thread, "" if message is event else str(message.message_id))


def _user_of(account: Account | None) -> User:
    return NOBODY if account is None else User(str(account.id), name=account.full_name)
