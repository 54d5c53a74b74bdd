"""Dialogs in Telegram, through aiogram's own dispatcher and a session that reaches nobody."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiogram import Dispatcher
from aiogram.methods import (
    EditMessageText,
    SendMessage,
)
from aiogram.types import CallbackQuery, Chat, InaccessibleMessage, Message
from aiogram.types import User as Account

from sojourn.adapters.aiogram import DurableStorage, LeaseIsolation, Roles
from sojourn.dialogs import (
    Answer,
    Button,
    Context,
    Dialog,
    Dialogs,
    Edit,
    End,
    Place,
    Reply,
    Style,
    User,
    View,
    anyone,
    button,
    owner,
    role,
)
from sojourn.errors import UnsupportedError
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from sojourn.testing import dialogs as person
from tests.adapters.telegram import ANN, BOB, PROSE, WHEN, Choosing, Counter, Desk


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


async def test_a_button_that_never_was_closes_no_message(desk: Desk) -> None:
    await desk.start()
    query = desk.query("More").model_copy(update={"data": "s1.unknown.more"})
    await desk.feed(callback_query=query)
    assert desk.session.alerts == ["This is not open any more."]
    assert desk.labels == [["More", "Enough"]]


async def test_a_click_is_handled_though_its_message_has_changed_meanwhile(store: Store) -> None:
    class Paging(Counter):
        async def more(self, ctx: Context, seen: int = 0) -> None:
            await ctx.edit_origin(str(seen + 1), ctx.button("More", self.more, seen + 1))

        more = button(more)

    desk = Desk(store).register(Paging)
    async with desk.dialogs:
        await desk.start()
        first = desk.query("More")
        for _ in range(2):
            await desk.click("More")
        await desk.feed(callback_query=first.model_copy(update={"message": desk.shown}))
        assert desk.shown.text == "1"
        assert desk.session.alerts == [None, None, None]


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


class Voting(Counter):
    """Counts what its owner and admins click, where an admin has started it."""

    start_filter = role("admin")
    update_filter = owner | role("admin")


async def test_roles_are_those_that_the_bot_says_somebody_has(store: Store) -> None:
    """Proves that they are asked for anew with each use, and not for what is for no dialog."""
    asked = list[str]()
    admins = {"Ann", "Bob"}

    async def roles(account: Account) -> set[str] | None:
        asked.append(account.first_name)
        return {"admin", "member"} if account.first_name in admins else None

    desk = Desk(store, roles=roles).register(Voting)
    async with desk.dialogs:
        await desk.start()
        await desk.click("More", who=BOB)
        assert desk.shown.text == "1"
        await desk.write("hello")
        assert (asked, desk.others) == (["Ann", "Bob"], ["hello"])

        admins.clear()
        await desk.click("More", who=BOB)
        await desk.click("More")
        assert desk.shown.text == "2"
        assert desk.session.alerts == [None, "This is not for you.", None]
        handle = await desk.start()
        assert handle.outcome == "denied"


async def test_roles_of_people_on_another_platform_are_not_asked_for(store: Store) -> None:
    desk = Desk(store, roles=_no_roles).register(Voting)
    async with desk.dialogs:
        boss = User("boss", roles=frozenset({"admin"}))
        handle = await desk.dialogs.start(Voting, person.command(user=boss))
        assert (await desk.dialogs.dispatch(person.button(handle.id, Counter.more, user=boss))).result == "kept"


async def _no_roles(_: Account) -> set[str]:
    raise LookupError


async def _one_role(_: Account) -> str:
    return "admin"


@pytest.mark.parametrize("roles", [_no_roles, _one_role])
async def test_nobody_gets_through_whose_roles_cannot_be_told(store: Store, roles: Roles) -> None:
    desk = Desk(store).register(Counter)
    other = Desk(store, desk.session, roles=roles).register(Counter)
    async with desk.dialogs, other.dialogs:
        await desk.start()
        await other.click("More")
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
            styles: tuple[Style, ...] = ("primary", "secondary", "success", "danger")
            row = [ctx.button(style, None, style=style) for style in styles]
            off = ctx.button("off", None, disabled=True)
            await ctx.reply("?", [*row, off], [off], ctx.select(None, ["a"], disabled=True))

    desk = Desk(store).register(Styled)
    async with desk.dialogs:
        await desk.start()
        assert desk.labels == [["primary", "secondary", "success", "danger"]]
        (sent,) = desk.session.of(SendMessage)
        assert [one.style for one in sent.reply_markup.inline_keyboard[0]] == [
            "primary", None, "success", "danger",
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
