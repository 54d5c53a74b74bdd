"""Dialogs in Telegram, through aiogram's own dispatcher and a session that reaches nobody."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.base import BaseSession
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
)
from aiogram.filters import Command
from aiogram.methods import (
    AnswerCallbackQuery,
    EditMessageReplyMarkup,
    EditMessageText,
    SendMessage,
    TelegramMethod,
)
from aiogram.types import CallbackQuery, Chat, InaccessibleMessage, InlineKeyboardMarkup, Message, Update
from aiogram.types import User as Account

from sojourn.adapters.aiogram import DurableStorage, LeaseIsolation, Telegram
from sojourn.dialogs import (
    Answer,
    Button,
    Closing,
    Context,
    Dialog,
    Dialogs,
    Edit,
    End,
    Field,
    Handle,
    Option,
    Place,
    Reply,
    View,
    anyone,
    button,
    select,
)
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import UnavailableError, UnsupportedError
from sojourn.kernel import RankSpan, Store
from sojourn.testing import ManualClock

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

    def __init__(self, store: Store, session: Session | None = None, *, signs: bool = False, **defaults: Any) -> None:
        self.session = session or Session()
        self.bot = Bot("42:TEST", session=self.session, default=DefaultBotProperties(**defaults))
        self.dialogs = Dialogs(store)
        self.telegram = Telegram(self.dialogs, self.bot, signs=signs)
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

    async def end(self, ctx: Context, ended: Closing) -> None:
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


class Asking(Dialog[str]):
    """Asks for something to be written."""

    update_filter = anyone

    async def start(self, ctx: Context) -> None:
        ctx.focus()
        await ctx.reply("What is your name?")

    async def on_message(self, ctx: Context) -> Answer:
        if ctx.text == "secret":
            await ctx.notify("I will not tell.")
            return None
        await ctx.reply(f"Hello, {ctx.text}.")
        return ctx.end(ctx.text)


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    made = Desk(store).register(Counter)
    async with made.dialogs:
        yield made


async def test_a_dialog_lives_in_a_chat_from_its_command_to_its_end(desk: Desk) -> None:
    handle = await desk.start()
    assert (desk.shown.text, desk.labels) == ("0", [["More", "Enough"]])
    await desk.click("More")
    await desk.click("More")
    assert desk.shown.text == "2"
    await desk.click("Enough")
    assert (await handle.wait()).result == 2
    assert (desk.shown.text, desk.labels) == ("Counted 2.", [])
    assert desk.session.alerts == [None, None, "Thank you."]
    assert len(desk.session.shown) == 1


async def test_no_click_of_a_flood_is_lost_and_none_counts_twice(desk: Desk) -> None:
    handle = await desk.start()
    message = desk.shown
    clicks = await asyncio.gather(*(desk.click("More", at=message) for _ in range(20)))
    await asyncio.gather(*(desk.again(click) for click in clicks))
    assert len(desk.session.alerts) == 40
    await desk.click("Enough", at=message)
    assert (await handle.wait()).result == 20


async def test_a_click_finds_its_dialog_after_a_restart(desk: Desk, store: Store) -> None:
    handle = await desk.start()
    await desk.click("More")
    await desk.dialogs.close()
    fresh = Desk(store, desk.session).register(Counter)
    fresh.updates = desk.updates
    async with fresh.dialogs:
        await fresh.click("More")
        await fresh.click("Enough")
        assert (await fresh.dialogs.wait(handle.id)).result == 2


async def test_an_update_that_comes_again_is_answered_and_not_handled_again(desk: Desk) -> None:
    await desk.start()
    click = await desk.click("More")
    await desk.again(click)
    assert desk.shown.text == "1"
    assert desk.session.alerts == [None, None]


@pytest.mark.row("I-C72")
async def test_what_is_for_no_dialog_is_left_to_others(desk: Desk) -> None:
    await desk.start()
    foreign = ["s1", "s1.x", "menu#3", "#", "#*abcdef", "s1..#*", "x" * 64, "a:b:c"]
    for data in foreign:
        query = CallbackQuery(id="1", from_user=ANN, chat_instance="", data=data, message=desk.shown)
        await desk.feed(callback_query=query)
    await desk.feed(callback_query=CallbackQuery(id="1", from_user=ANN, chat_instance="", game_short_name="chess"))
    await desk.write("hello")
    assert desk.others == [*foreign, "", "hello"]
    assert desk.session.alerts == []


@pytest.mark.row("I-C31")
async def test_a_click_on_what_is_not_there_any_more_is_answered_and_its_buttons_go(
    desk: Desk, clock: ManualClock
) -> None:
    handle = await desk.start()
    message = desk.shown
    await handle.end()
    await desk.click("More", at=message)
    assert desk.session.alerts == ["This has been dealt with already."]
    clock.advance(timedelta(days=1))
    desk.session.show(message.message_id, 7, "0", message.reply_markup)
    await desk.click("More")
    assert desk.session.alerts[1:] == ["This is not open any more."]
    assert (desk.shown.text, desk.labels) == ("0", [])


async def test_a_click_on_a_message_too_old_to_be_seen_is_handled(desk: Desk) -> None:
    await desk.start()
    query = desk.query("More")
    old = InaccessibleMessage(chat=desk.shown.chat, message_id=desk.shown.message_id, date=0)
    await desk.feed(callback_query=query.model_copy(update={"message": old}))
    assert desk.shown.text == "1"


async def test_somebody_else_is_told_that_it_is_not_for_them(desk: Desk) -> None:
    await desk.start()
    await desk.click("More", who=BOB)
    assert desk.shown.text == "0"
    assert desk.session.alerts == ["This is not for you."]


@pytest.mark.parametrize(
    ("label", "value"), [("Red", "red"), ("Nothing", ""), ("Odd", "#%*~ né"), ("A long one", PROSE)]
)
async def test_each_option_is_a_button_and_brings_its_value(store: Store, label: str, value: str) -> None:
    desk = Desk(store).register(Choosing)
    async with desk.dialogs:
        handle = await desk.start()
        assert desk.labels == [["Red"], ["Nothing"], ["Odd"], ["A long one"], ["Other"]]
        await desk.click(label)
        assert (await handle.wait()).result == f"{value} what for"
        assert desk.session.alerts == [None]


async def test_a_long_value_that_is_offered_no_more_is_not_taken_for_another(store: Store) -> None:
    desk = Desk(store).register(Choosing)
    async with desk.dialogs:
        handle = await desk.start()
        message = desk.shown
        await desk.click("Other")
        await desk.click("A long one", at=message)
        assert desk.session.alerts == [None, "This has changed meanwhile. Please look again."]
        await desk.click("blue")
        assert (await handle.wait()).result == "blue what for"
        await desk.click("A long one", at=message)
        assert len(desk.session.alerts) == 4


async def test_a_long_value_that_is_its_own_label_is_found_in_any_message(store: Store) -> None:
    class Later(Choosing):
        async def start(self, ctx: Context) -> None:
            await ctx.reply("Which?", ctx.button("Other", self.other))

        @button
        async def other(self, ctx: Context) -> None:
            await ctx.reply("Which, then?", ctx.select(self.choose, [PROSE], "what for"))

    desk = Desk(store).register(Later)
    async with desk.dialogs:
        handle = await desk.start()
        await desk.click("Other")
        await desk.click(PROSE)
        assert (await handle.wait()).result == f"{PROSE} what for"


async def test_all_that_buttons_carry_fits_and_what_does_not_is_kept_with_the_dialog(store: Store) -> None:
    class Wordy(Dialog[str]):
        async def start(self, ctx: Context) -> None:
            choice = ctx.select("one_or_the_other", [PROSE, "☃" * 9, "x" * 60])
            await ctx.reply("Which?", [ctx.button("This", self.take, PROSE, PROSE)], choice)

        @button
        async def take(self, ctx: Context, one: str, other: str) -> End:
            return ctx.end(one + other)

    desk = Desk(store, signs=True).register(Wordy)
    async with desk.dialogs:
        handle = await desk.start()
        markup = desk.shown.reply_markup
        assert markup is not None
        assert all(1 <= len((one.callback_data or "").encode()) <= 64 for row in markup.inline_keyboard for one in row)
        await desk.click("This")
        assert (await handle.wait()).result == PROSE + PROSE


async def test_a_signed_token_that_was_changed_is_none(store: Store) -> None:
    desk = Desk(store, signs=True).register(Counter)
    async with desk.dialogs:
        await desk.start()
        query = desk.query("Enough")
        forged = (query.data or "").replace("enough", "more")
        await desk.feed(callback_query=query.model_copy(update={"data": forged}))
        assert desk.others == [forged]
        await desk.click("More")
        assert desk.shown.text == "1"


async def test_what_is_disabled_is_left_out_and_styles_are_those_of_telegram(store: Store) -> None:
    class Styled(Dialog[None]):
        async def start(self, ctx: Context) -> None:
            styles = ("primary", "secondary", "success", "danger", "odd")
            row = [ctx.button(style, None, style=style) for style in styles]
            off = ctx.button("off", None, disabled=True)
            await ctx.reply("?", [*row, off], [off], ctx.select(None, ["a"], disabled=True))

    desk = Desk(store).register(Styled)
    async with desk.dialogs:
        await desk.start()
        assert desk.labels == [["primary", "secondary", "success", "danger", "odd"]]
        (sent,) = desk.session.of(SendMessage)
        assert [one.style for one in sent.reply_markup.inline_keyboard[0]] == [
            "primary", None, "success", "danger", None,
        ]  # fmt: skip


async def test_extras_go_to_telegram(store: Store) -> None:
    class Bold(Dialog[None]):
        async def start(self, ctx: Context) -> None:
            await ctx.reply(View("<b>now</b>", extras={"parse_mode": "HTML", "chat_id": 666}))
            await ctx.edit_origin(View("*then*", extras={"parse_mode": "MarkdownV2"}))

    desk = Desk(store, parse_mode="Markdown").register(Bold)
    async with desk.dialogs:
        await desk.start()
        (sent,), (edited,) = desk.session.of(SendMessage), desk.session.of(EditMessageText)
        assert (sent.parse_mode, sent.chat_id, edited.parse_mode) == ("HTML", 7, "MarkdownV2")


async def test_what_people_write_goes_to_the_dialog_that_asked_for_it(store: Store) -> None:
    desk = Desk(store).register(Asking)
    async with desk.dialogs:
        await desk.write("before")
        handle = await desk.start()
        await desk.write("/cancel")
        await desk.write("Bob", who=BOB)
        update = await desk.write("secret")
        await desk.again(update)
        await desk.write("Ann")
        await desk.write("after")
        assert (await handle.wait()).result == "Ann"
        assert desk.others == ["before", "/cancel", "Bob", "after"]
        said = [sent.text for sent in desk.session.of(SendMessage)]
        assert said == ["What is your name?", "I will not tell.", "Hello, Ann."]


async def test_a_topic_of_a_group_is_a_place_of_its_own(store: Store) -> None:
    desk = Desk(store).register(Asking)
    async with desk.dialogs:
        await desk.start(chat=-5, message_thread_id=3, is_topic_message=True)
        await desk.write("Ann", chat=-5)
        await desk.write("secret", chat=-5, message_thread_id=3, is_topic_message=True)
        await desk.write("Ann", chat=-5, message_thread_id=3, is_topic_message=True)
        assert desk.others == ["Ann"]
        assert [(sent.chat_id, sent.message_thread_id, sent.text) for sent in desk.session.of(SendMessage)] == [
            (-5, 3, "What is your name?"),
            (7, None, "I will not tell."),
            (-5, 3, "Hello, Ann."),
        ]


async def test_a_word_too_long_for_an_answer_is_a_message_to_that_person_only(store: Store) -> None:
    class Talker(Counter):
        async def enough(self, ctx: Context) -> End:
            await ctx.notify("and so on, " * 30)
            await ctx.notify("and so forth")
            return ctx.end(0)

        enough = button(enough)

    desk = Desk(store).register(Talker)
    async with desk.dialogs:
        await desk.start(chat=-5)
        await desk.click("Enough")
        assert desk.session.alerts == ["and so forth"]
        assert [sent.chat_id for sent in desk.session.of(SendMessage)] == [-5, 7]


async def test_a_click_starts_a_dialog_too_and_is_answered(desk: Desk) -> None:
    message = Message(message_id=1, date=WHEN, chat=Chat(id=7, type="private"))
    await desk.feed(
        callback_query=CallbackQuery(id="1", from_user=ANN, chat_instance="", data="start", message=message)
    )
    assert desk.shown.text == "0"
    assert desk.session.alerts == [None]


async def test_a_click_that_starts_a_dialog_by_other_verbs_is_answered_too(desk: Desk) -> None:
    message = Message(message_id=1, date=WHEN, chat=Chat(id=7, type="private"))
    query = CallbackQuery(id="1", from_user=ANN, chat_instance="", data="menu", message=message)
    asking = asyncio.ensure_future(
        desk.dialogs.ask(Counter, desk.telegram.interaction(query), timeout=timedelta(hours=1))
    )
    while not desk.session.alerts:
        desk.session.was_asked.clear()
        await desk.session.was_asked.wait()
    await desk.click("Enough")
    assert await asking == 0
    assert desk.session.alerts == [None, "Thank you."]


async def test_a_closed_message_has_nothing_to_click(desk: Desk) -> None:
    await desk.start()
    view = View("0", ((Button("More", "s1.x.more"),),))
    place = Place("7", message=str(desk.shown.message_id))
    await desk.telegram.perform(Edit(place, view), "key", None)
    assert desk.labels == [["More"]]
    await desk.telegram.perform(Edit(place, view, closed=True), "key", None)
    assert (desk.shown.text, desk.labels) == ("0", [])


async def test_what_stands_nowhere_cannot_be_changed(desk: Desk) -> None:
    with pytest.raises(UnsupportedError):
        await desk.telegram.perform(Edit(Place("7"), View("0")), "key", None)
    with pytest.raises(UnsupportedError):
        await desk.telegram.perform(Reply(Place("7"), View()), "key", None)


async def test_a_command_says_what_it_is(store: Store) -> None:
    seen: list[tuple[str, str, str, str]] = []

    class Curious(Dialog[None]):
        async def start(self, ctx: Context) -> None:
            assert ctx.interaction is not None
            seen.append((ctx.interaction.command, ctx.text, ctx.user.name, ctx.place.message))
            await ctx.reply("?")

    desk = Desk(store).register(Curious)
    async with desk.dialogs:
        await desk.start()
        for text in ("/buy@tbot two", "hello there", "/", " ", None):
            message = Message(message_id=1, date=WHEN, chat=Chat(id=7, type="private"), from_user=ANN, text=text)
            await desk.telegram.start(Curious, message)
        await desk.telegram.start(
            Curious, Message(message_id=1, date=WHEN, chat=Chat(id=-5, type="channel"), text="/post")
        )
    assert seen == [
        ("start", "/start 17", "Ann", ""),
        ("buy", "/buy@tbot two", "Ann", ""),
        ("", "hello there", "Ann", ""),
        ("", "/", "Ann", ""),
        ("", " ", "Ann", ""),
        ("", "", "Ann", ""),
        ("post", "/post", "", ""),
    ]


# -- What goes wrong --------------------------------------------------------------------------------------------------


def refusing(kind: type[Any], error: type[TelegramAPIError], text: str = "no") -> Callable[[Any], Any]:
    return lambda method: error(method, text) if isinstance(method, kind) else None


async def left_behind(store: Store) -> int:
    return len((await store.rank(RankSpan("dialog.out.telegram"))).records)


async def test_that_nothing_would_change_is_fine(desk: Desk, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await desk.start()
    desk.session.refusals.append(
        refusing(EditMessageText, TelegramBadRequest, "Bad Request: message is not modified: specified new ...")
    )
    await desk.click("More")
    assert "dropped" not in caplog.text
    assert await left_behind(store) == 0


async def test_what_telegram_refuses_for_good_is_dropped(
    desk: Desk, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await desk.start()
    desk.session.refusals.append(refusing(EditMessageText, TelegramForbiddenError))
    await desk.click("More")
    await desk.click("Enough")
    assert (await handle.wait()).result == 1
    assert "Edit was dropped: Telegram refuses it: no" in caplog.text
    assert await left_behind(store) == 0


async def test_what_fails_on_the_way_is_done_later(desk: Desk, store: Store, clock: ManualClock) -> None:
    await desk.start()
    desk.session.refusals.append(refusing(EditMessageText, TelegramNetworkError))
    await desk.click("More")
    assert desk.session.alerts == [None]
    assert await left_behind(store) == 1
    desk.session.refusals.clear()
    clock.advance(timedelta(minutes=5))
    while await left_behind(store):
        await asyncio.sleep(0)
        clock.advance(timedelta(seconds=1))
    assert desk.shown.text == "1"


async def test_a_start_that_telegram_refuses_leaves_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.session.refusals.append(refusing(SendMessage, TelegramForbiddenError))
    handle = await desk.start()
    assert handle.outcome == "failed"
    assert await desk.dialogs.get(handle.id) is None
    assert "Telegram refuses it" in caplog.text


async def test_a_click_whose_time_to_be_answered_is_over_is_handled(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await desk.start()
    desk.session.refusals.append(refusing(AnswerCallbackQuery, TelegramBadRequest, "query is too old"))
    await desk.click("More")
    await desk.click("Enough")
    assert (await handle.wait()).result == 1
    assert [sent.text for sent in desk.session.of(SendMessage)] == ["0", "Thank you."]


async def test_a_click_that_cannot_be_answered_is_handled(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    await desk.start()
    desk.session.refusals.append(refusing(AnswerCallbackQuery, TelegramNetworkError))
    await desk.click("More")
    assert desk.shown.text == "1"
    assert "a click was not answered" in caplog.text


@pytest.mark.row("I-C81")
async def test_a_click_that_takes_long_is_answered_before_its_handler_is_done(store: Store, clock: ManualClock) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Counter):
        async def enough(self, ctx: Context) -> End:
            begun.set()
            await go_on.wait()
            await ctx.notify("at last")
            return ctx.end(1)

        enough = button(enough)

    desk = Desk(store).register(Slow)
    async with desk.dialogs:
        await desk.start()
        click = asyncio.ensure_future(desk.click("Enough"))
        await begun.wait()
        desk.session.was_asked.clear()
        clock.advance(timedelta(seconds=4))
        await desk.session.was_asked.wait()
        go_on.set()
        await click
        assert desk.session.alerts == [None]
        assert [sent.text for sent in desk.session.of(SendMessage)] == ["0", "at last"]


@pytest.mark.row("I-C72")
async def test_there_are_no_forms_and_no_choices_of_several(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Formal(Dialog[None]):
        async def start(self, ctx: Context) -> None:
            await ctx.reply("?", ctx.button("Form", self.form), ctx.button("Several", self.several))

        @button
        async def form(self, ctx: Context) -> None:
            await ctx.open_form(ctx.form("Name", "on_modal", Field("name", "Name")))

        @button
        async def several(self, ctx: Context) -> None:
            await ctx.reply("Which?", ctx.select(None, ["a", "b", "c"], at_least=2, at_most=3))

    desk = Desk(store).register(Formal)
    async with desk.dialogs:
        await desk.start()
        await desk.click("Form")
        await desk.click("Several")
        assert "OpenForm was dropped: Telegram has no forms" in caplog.text
        assert "Reply was dropped: Telegram's buttons choose one option" in caplog.text
        assert await left_behind(store) == 0
        assert desk.session.alerts == [None, None]


async def test_what_another_process_has_ended_is_shown_by_the_one_that_has_the_bot(desk: Desk, store: Store) -> None:
    handle = await desk.start()
    await desk.dialogs.close()
    desk.session.was_asked.clear()
    elsewhere = Dialogs(store)
    elsewhere.register("Counter")(Counter)
    async with elsewhere:
        await elsewhere.end(handle.id, result=9)
    fresh = Desk(store, desk.session).register(Counter)
    async with fresh.dialogs:
        await desk.session.was_asked.wait()
    assert (fresh.shown.text, fresh.labels) == ("Counted 9.", [])


async def test_people_are_told_that_the_store_is_away(clock: ManualClock) -> None:
    class Wavering(MemoryEngine):
        is_away = False

        async def commit(self, batch: Any) -> Any:
            if self.is_away:
                raise UnavailableError("away")
            return await super().commit(batch)

        async def read(self, reads: Any) -> Any:
            if self.is_away:
                raise UnavailableError("away")
            return await super().read(reads)

    engine = Wavering(clock=clock)
    async with Store(engine, clock=clock) as store:
        desk = Desk(store).register(Choosing)
        await desk.start()
        engine.is_away = True
        for label in ("Red", "A long one"):
            await desk.click(label)
        engine.is_away = False
        assert len(desk.session.alerts) == 2
        assert all("cannot be reached" in (alert or "") for alert in desk.session.alerts)
        await desk.dialogs.close()


async def test_dialogs_live_beside_states_and_isolation(store: Store) -> None:
    desk = Desk(store).register(Counter)
    whole = Dispatcher(storage=DurableStorage(store), events_isolation=LeaseIsolation(store))
    for router in list(desk.dispatcher.sub_routers):
        router._parent_router = None
        whole.include_router(router)
    desk.dispatcher = whole
    async with desk.dialogs:
        handle = await desk.start()
        message = desk.shown
        await asyncio.gather(*(desk.click("More", at=message) for _ in range(5)))
        await desk.click("Enough")
        assert (await handle.wait()).result == 5
