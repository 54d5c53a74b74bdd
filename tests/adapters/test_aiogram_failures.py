"""Dialogs in Telegram, when Telegram, the store or whoever clicks does not do what it should."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
)
from aiogram.methods import (
    AnswerCallbackQuery,
    EditMessageText,
    SendMessage,
)

from sojourn.dialogs import (
    Context,
    Dialog,
    End,
    Field,
    button,
)
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import UnavailableError
from sojourn.kernel import RankSpan, Store
from sojourn.testing import ManualClock
from tests.adapters.telegram import Choosing, Counter, Desk


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    made = Desk(store).register(Counter)
    async with made.dialogs:
        yield made


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
    clock.advance(timedelta(seconds=5))
    while await left_behind(store):
        await asyncio.sleep(0)
        clock.advance(timedelta(milliseconds=10))  # not so far that the dialog's own time is over meanwhile
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
