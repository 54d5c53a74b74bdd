"""What is said in chats: messages, what they are changed to, and answers to clicks."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from aiogram import Bot
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
)
from aiogram.methods import AnswerCallbackQuery, EditMessageReplyMarkup, EditMessageText, SendMessage
from aiogram.types import CallbackQuery

from sojourn.adapters.aiogram.rendering import keyboard
from sojourn.dialogs import Place, Responder, User, View
from sojourn.errors import UnsupportedError

__all__ = ["Answer", "Chats"]

_log = logging.getLogger(__name__)

_ANSWER_CHARS: Final = 200
"""What Telegram shows of the answer to a click."""

_FOR_GOOD: Final = (
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
)
"""Refusals that no repeat turns into anything else: the chat is gone, the bot is blocked, the text is too long."""

_NOTHING_NEW: Final = "message is not modified"


class Chats:
    """The chats of one bot.

    Each verb raises `TelegramAPIError` where it failed and may succeed another time, and each but `answer`
    `UnsupportedError` where Telegram cannot do it, or refuses it for good.
    """

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def send(self, place: Place, view: View) -> Place:
        """Send a message, and return where it stands."""
        if not view.text:
            raise UnsupportedError("a message of Telegram has a text")
        thread = int(place.thread) if place.thread else None
        with _in_words_of_dialogs():
            sent = await self._bot(SendMessage(**_content(view, chat_id=int(place.chat), message_thread_id=thread)))
            return Place(place.chat, place.thread, str(sent.message_id))

    async def edit(self, place: Place, view: View) -> None:
        """Change a message, or what stands under it where the view has no text. That it is so already is fine."""
        if not place.message:
            raise UnsupportedError("the dialog has no message of its own that could be changed")
        chat, message = int(place.chat), int(place.message)
        try:
            with _in_words_of_dialogs():
                if view.text:
                    await self._bot(EditMessageText(**_content(view, chat_id=chat, message_id=message)))
                else:
                    markup = keyboard(view)
                    await self._bot(EditMessageReplyMarkup(chat_id=chat, message_id=message, reply_markup=markup))
        except UnsupportedError as error:
            if _NOTHING_NEW not in str(error):
                raise

    async def answer(self, query: CallbackQuery, text: str | None) -> None:
        """Answer a click, with a text to be read or without a word."""
        await self._bot(AnswerCallbackQuery(callback_query_id=query.id, text=text, show_alert=text is not None))

    async def whisper(self, user: User, text: str) -> None:
        """Say something to one person only: in the chat that the bot has with them, if they have opened one."""
        await self.send(Place(user.id), View(text))


class Answer(Responder):
    """How one message or click is answered. A click is answered once, by the first of these that is done."""

    def __init__(self, chats: Chats, place: Place, user: User, query: CallbackQuery | None) -> None:
        self._chats = chats
        self._place = place
        self._user = user
        self._open = query

    async def ack(self) -> None:
        """Answer the click, without a word."""
        await self.close()

    async def defer(self) -> None:
        """Answer the click, without a word: what is to be said later becomes a message."""
        await self.close()

    async def reply(self, view: View) -> Place:
        """Send a dialog's first message, and return where it stands."""
        return await self._chats.send(self._place, view)

    async def notify(self, text: str) -> None:
        """Say something to whoever interacted: as the answer to the click, or in the chat with that person.

        Raises:
            UnsupportedError: the person has opened no chat with the bot.
            TelegramAPIError: it failed, and may succeed another time.
        """
        if len(text) <= _ANSWER_CHARS and await self._answered(text):
            return
        await self._chats.whisper(self._user, text)

    async def close(self) -> None:
        """Answer the click if it has not been; that it cannot be any more is logged."""
        try:
            await self._answered(None)
        except TelegramAPIError as error:
            _log.warning("a click was not answered: %s", error)

    async def _answered(self, text: str | None) -> bool:
        """Answer the click; False where there is none, it has been answered, or its time is over."""
        query, self._open = self._open, None
        if query is None:
            return False
        try:
            await self._chats.answer(query, text)
        except TelegramBadRequest as error:
            _log.info("a click could not be answered any more: %s", error)
            return False
        return True


def _content(view: View, **where: int | None) -> dict[str, Any]:
    content: dict[str, Any] = {**view.extras, "text": view.text, **where}
    markup = keyboard(view)
    if markup is not None:
        content["reply_markup"] = markup
    return content


@contextmanager
def _in_words_of_dialogs() -> Generator[None]:
    try:
        yield
    except _FOR_GOOD as error:
        raise UnsupportedError(f"Telegram refuses it: {error.message}") from error
