"""Telegram for the tests of aiogram's adapter: a session that reaches nobody, and a bot that people sit before."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.base import BaseSession
from aiogram.exceptions import (
    TelegramAPIError,
)
from aiogram.filters import Command
from aiogram.methods import (
    AnswerCallbackQuery,
    EditMessageReplyMarkup,
    EditMessageText,
    SendMessage,
    TelegramMethod,
)
from aiogram.types import CallbackQuery, Chat, InlineKeyboardMarkup, Message, Update
from aiogram.types import User as Account

from sojourn.adapters.aiogram import Roles, Telegram
from sojourn.dialogs import (
    Context,
    Dialog,
    Dialogs,
    End,
    Ended,
    Handle,
    Option,
    button,
    select,
)
from sojourn.kernel import Store

ANN, BOB = (Account(id=number, is_bot=False, first_name=name) for number, name in ((7, "Ann"), (8, "Bob")))
WHEN = datetime(2026, 6, 18, tzinfo=UTC)
PROSE = "a sentence that is much longer than sixty-four bytes, and not quite plain: né ☃"


class Session(BaseSession):
    """What Telegram would be: it shows messages, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[TelegramMethod[Any]] = []
        self.shown: dict[int, Message] = {}
        self.refusals: list[Callable[[TelegramMethod[Any]], TelegramAPIError | None]] = []
        self.last_id = 100
        self.was_asked = asyncio.Event()
        """Set with each thing that is asked."""

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], *_: Any, **__: Any) -> Any:  # noqa: ARG002
        for refusal in self.refusals:
            if (error := refusal(method)) is not None:
                raise error
        self.asked.append(method)
        self.was_asked.set()
        match method:
            case SendMessage():
                self.last_id += 1
                return self.show(self.last_id, int(method.chat_id), method.text, method.reply_markup)
            case EditMessageText():
                assert method.message_id is not None
                assert method.chat_id is not None
                return self.show(method.message_id, int(method.chat_id), method.text, method.reply_markup)
            case EditMessageReplyMarkup():
                assert method.message_id is not None
                before = self.shown[method.message_id]
                return self.show(before.message_id, before.chat.id, before.text or "", method.reply_markup)
        return True

    def show(self, message_id: int, chat: int, text: str | None, markup: Any) -> Message:
        keyboard = markup if isinstance(markup, InlineKeyboardMarkup) else None
        kind = "private" if chat > 0 else "supergroup"
        message = Message(
            message_id=message_id, date=WHEN, chat=Chat(id=chat, type=kind), text=text, reply_markup=keyboard
        )
        self.shown.pop(message_id, None)
        self.shown[message_id] = message
        return message

    def of(self, kind: type[Any]) -> list[Any]:
        return [method for method in self.asked if isinstance(method, kind)]

    @property
    def alerts(self) -> list[str | None]:
        return [method.text for method in self.of(AnswerCallbackQuery)]

    async def close(self) -> None:
        pass

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        yield b""


class Desk:
    """One process of a bot, and people before it."""

    def __init__(
        self,
        store: Store,
        session: Session | None = None,
        *,
        signs: bool = False,
        roles: Roles | None = None,
        **defaults: Any,
    ) -> None:
        self.session = session or Session()
        self.bot = Bot("42:TEST", session=self.session, default=DefaultBotProperties(**defaults))
        self.dialogs = Dialogs(store)
        self.telegram = Telegram(self.dialogs, self.bot, signs=signs, roles=roles)
        self.dispatcher = Dispatcher()
        self.handles: list[Handle[Any]] = []
        self.others: list[str] = []
        commands, others = Router(), Router()
        self.starts: type[Dialog[Any]] = Dialog
        commands.message.register(self._start, Command("start"))
        commands.callback_query.register(self._start, F.data == "start")
        others.message.register(self._other)
        others.callback_query.register(self._other)
        self.dispatcher.include_routers(commands, self.telegram.router, others)
        self.updates = 0

    def register(self, *kinds: type[Dialog[Any]]) -> "Desk":
        for kind in kinds:
            self.dialogs.register(kind.__name__)(kind)
            self.starts = kind
        return self

    async def _start(self, event: Message | CallbackQuery) -> None:
        self.handles.append(await self.telegram.start(self.starts, event))

    async def _other(self, event: Message | CallbackQuery) -> None:
        self.others.append((event.text if isinstance(event, Message) else event.data) or "")

    @property
    def shown(self) -> Message:
        """The message that changed last."""
        return next(reversed(self.session.shown.values()))

    @property
    def labels(self) -> list[list[str]]:
        markup = self.shown.reply_markup
        return [] if markup is None else [[one.text for one in row] for row in markup.inline_keyboard]

    async def write(self, text: str, who: Account = ANN, chat: int = 7, **more: Any) -> Update:
        kind = "private" if chat > 0 else "supergroup"
        message = Message(message_id=1, date=WHEN, chat=Chat(id=chat, type=kind), from_user=who, text=text, **more)
        return await self.feed(message=message)

    async def start(self, chat: int = 7, **more: Any) -> Handle[Any]:
        await self.write("/start 17", chat=chat, **more)
        return self.handles[-1]

    async def click(self, label: str, who: Account = ANN, at: Message | None = None) -> Update:
        return await self.feed(callback_query=self.query(label, who, at))

    def query(self, label: str, who: Account = ANN, at: Message | None = None) -> CallbackQuery:
        message = at or self.shown
        assert message.reply_markup is not None
        (data,) = [
            one.callback_data for row in message.reply_markup.inline_keyboard for one in row if one.text == label
        ]
        return CallbackQuery(id=str(self.updates), from_user=who, chat_instance="", data=data, message=message)

    async def feed(self, **event: Any) -> Update:
        self.updates += 1
        update = Update(update_id=self.updates, **event)
        await self.dispatcher.feed_update(self.bot, update)
        return update

    async def again(self, update: Update) -> None:
        """Have Telegram deliver it once more."""
        await self.dispatcher.feed_update(self.bot, update)


class Counter(Dialog[int]):
    """Counts clicks."""

    data: dict[str, int]

    async def start(self, ctx: Context) -> None:
        await ctx.reply("0", ctx.button("More", self.more, style="success"), ctx.button("Enough", self.enough))

    @button
    async def more(self, ctx: Context) -> None:
        self.data["count"] = self.data.get("count", 0) + 1
        again = ctx.button("More", self.more, style="success")
        await ctx.edit_origin(str(self.data["count"]), again, ctx.button("Enough", self.enough))

    @button
    async def enough(self, ctx: Context) -> End:
        await ctx.notify("Thank you.")
        return ctx.end(self.data.get("count", 0))

    async def end(self, ctx: Context, ended: Ended[int]) -> None:
        await ctx.edit_origin(f"Counted {ended.result}.")


class Choosing(Dialog[str]):
    """Has one thing chosen, and says what."""

    options: tuple[Option, ...] = (
        Option("Red", "red"),
        Option("Nothing", ""),
        Option("Odd", "#%*~ né"),
        Option("A long one", PROSE),
    )

    async def start(self, ctx: Context) -> None:
        more = ctx.button("Other", self.other)
        await ctx.reply("Which?", ctx.select(self.choose, self.options, "what for"), more)

    @select
    async def choose(self, ctx: Context, purpose: str) -> End:
        return ctx.end(f"{ctx.values[0]} {purpose}")

    @button
    async def other(self, ctx: Context) -> None:
        await ctx.edit_origin("Which, then?", ctx.select(self.choose, ["blue"], "what for"))
