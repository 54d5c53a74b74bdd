"""Handlers, filters, hooks and platforms at their worst, on every engine: the dialog is as it was, and goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from sojourn.dialogs import (
    KEEP,
    Answer,
    Cause,
    Context,
    DialogInfo,
    Dispatched,
    End,
    Ended,
    Field,
    Interaction,
    Phase,
    Place,
    View,
)
from sojourn.errors import ClosedError, DialogStateError, InvalidError, LimitError
from sojourn.testing.dialogs import Desk, Screen, button, command
from tests.dialogs.conftest import (
    MINUTES,
    Counter,
    Kind,
    Kinds,
    Oops,
    Start,
    heard,
    in_time,
    records,
    settled,
    soon,
    telling,
    variant,
)
from tests.dialogs.hostile import LONE, LONG, STEP, UNSTORABLE, Handler, at_last, dump, lives_on, with_handler
from tests.documents.conftest import HastyClock

# -- What cannot be stored or shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [timedelta(), -MINUTES, timedelta.max, "3m", 0], ids=str)
async def test_a_time_to_live_that_a_handler_sets_is_checked_as_one_given(
    desk: Desk, counter: Kind, kinds: Kinds, ttl: Any
) -> None:
    async def on_button(self: Counter, _: Context) -> bool:
        self.ttl = ttl
        return True

    handle = await with_handler(desk, kinds, counter, on_button)
    before = await dump(desk, handle.id)
    assert (await desk.dispatch(button(handle.id))).result == "failed"
    assert desk.last.notices
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


@UNSTORABLE
@pytest.mark.parametrize("where", ["data", "result", "extra", "end"])
async def test_what_a_handler_leaves_that_cannot_be_stored_is_a_failure_that_changes_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, where: str, value: Any
) -> None:
    async def on_button(self: Counter, ctx: Context) -> Answer:
        match where:
            case "data":
                self.data = value
            case "result":
                self.result = value
            case "extra":
                self.extra["value"] = value
            case _:
                return ctx.end(value)
        return KEEP

    handle = await with_handler(desk, kinds, counter, on_button)
    before = await dump(desk, handle.id)
    clicked = await desk.dispatch(button(handle.id, platform=desk.screen))
    assert clicked.result == "failed"
    assert isinstance(clicked.error, InvalidError | LimitError)
    assert desk.last.notices
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


@pytest.mark.parametrize("page", [-1, 1.5, "1", None, 10**12, True])
@pytest.mark.parametrize("stage", ["", 7, LONG, "a b"], ids=ascii)
async def test_a_page_and_a_stage_that_are_none_are_failures(
    desk: Desk, counter: Kind, kinds: Kinds, page: Any, stage: Any
) -> None:
    async def on_button(self: Counter, ctx: Context) -> None:
        if ctx.page:
            self.page = page
        else:
            self.stage = stage

    handle = await with_handler(desk, kinds, counter, on_button)
    for at in (0, 1):
        assert (await desk.dispatch(button(handle.id, page=at, platform=desk.screen))).result == "failed"
        assert desk.last.notices
    await lives_on(desk, handle)


SHOWN: list[Callable[[Context], Awaitable[Any]]] = [
    lambda ctx: ctx.edit_origin(LONE),
    lambda ctx: ctx.edit_origin("x" * 1_000_000),
    lambda ctx: ctx.edit_origin(cast("str", None)),
    lambda ctx: ctx.edit_origin("text", cast("Any", "no button")),
    lambda ctx: ctx.edit_origin(View("text", extras={"odd": object()})),
    lambda ctx: ctx.reply(View(cast("str", 7))),
    lambda ctx: ctx.reply("text", ctx.button(LONE, "more")),
    lambda ctx: ctx.reply("text", ctx.button("label", "more", LONE)),
    lambda ctx: ctx.reply("text", ctx.button("label", "no such name!")),
    lambda ctx: ctx.reply("text", ctx.button("label", "more", object())),
    lambda ctx: ctx.reply("text", ctx.button("label", "more", page=-1)),
    lambda ctx: ctx.reply("text", ctx.select("chosen", cast("Any", [7]))),
    lambda ctx: ctx.notify(LONE),
    lambda ctx: ctx.notify(cast("str", None)),
    lambda ctx: ctx.notify("x" * 1_000_000),
    lambda ctx: ctx.open_form(cast("Any", "a form")),
    lambda ctx: ctx.open_form(ctx.form(LONE, "filled", Field("a", "A"))),
]


@pytest.mark.parametrize("show", SHOWN, ids=[str(number) for number in range(len(SHOWN))])
async def test_what_nobody_could_be_shown_is_a_failure_that_changes_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, show: Callable[[Context], Awaitable[Any]]
) -> None:
    async def on_button(_: Counter, ctx: Context) -> None:
        await show(ctx)

    handle = await with_handler(desk, kinds, counter, on_button)
    before = await dump(desk, handle.id)
    assert (await desk.dispatch(button(handle.id, platform=desk.screen))).result == "failed"
    assert desk.last.notices
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


# -- What handlers do -------------------------------------------------------------------------------------------------


class Mishap(BaseException):
    """What is no `Exception`, as those of test runners and of other event loops."""


async def cancelled() -> None:
    """Wait for something that somebody has cancelled."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def hanging(*_: object) -> Any:
    await asyncio.Event().wait()


async def stubborn(*asked: object) -> Any:
    """Hang, and take a cancellation for a reason to go on for a while."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        for _ in range(20):
            await asyncio.sleep(0)
    return KEEP


@pytest.mark.parametrize("where", ["handler", "filter", "middleware"])
@pytest.mark.parametrize("how", [hanging, stubborn], ids=["waits", "swallows its cancellation"])
async def test_what_hangs_before_and_in_a_handler_fails_and_frees_the_dialog(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, where: str, how: Handler
) -> None:
    more: dict[str, object] = {"update_filter": hangs_at_first(how)} if where == "filter" else {}
    handle = await with_handler(desk, kinds, counter, how if where == "handler" else hanging, **more)
    remove = desk.dialogs.use(cast("Any", how), at=Phase.UPDATE) if where == "middleware" else lambda: True
    before = await dump(desk, handle.id)
    came = button(handle.id, platform=desk.screen)
    clicked = await at_last(desk, clock, desk.dispatch(came))
    if clicked.result == "kept":  # it answered when it was told to stop
        assert how is stubborn
        assert came.is_answered
    else:
        assert clicked.result in {"failed", "denied"}
        assert came.notices
        assert await dump(desk, handle.id) == before
    remove()
    await lives_on(desk, handle)


def hangs_at_first(how: Handler) -> Callable[[Counter, Context], Any]:
    times: list[None] = []

    def update_filter(self: Counter, ctx: Context) -> Any:
        times.append(None)
        return how(self, ctx) if len(times) == 1 else True

    return update_filter


@pytest.mark.parametrize("where", ["start", "start_filter", "middleware"])
async def test_what_hangs_in_a_start_fails_and_leaves_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, where: str
) -> None:
    attributes = {} if where == "middleware" else {where: hanging}
    kinds["hanging"] = kind = variant(counter, **attributes)
    await desk.restart()
    remove = desk.dialogs.use(hanging, at=Phase.START) if where == "middleware" else lambda: True
    handle = await at_last(desk, clock, desk.start(kind, id="one"))
    assert handle.outcome in {"failed", "denied"}
    assert desk.last.notices
    assert await records(desk.store, "one") == []
    remove()
    assert (await desk.start(counter, id="one")).outcome == "started"


@pytest.mark.parametrize("how", ["click", "from outside", "deadline"])
async def test_an_end_hook_that_hangs_does_not_keep_a_dialog_from_ending(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, how: str
) -> None:
    kinds["hanging"] = kind = variant(counter, end=hanging)
    await desk.restart()
    handle = await desk.start(kind, ttl=MINUTES * 10)
    match how:
        case "click":
            ending: asyncio.Task[Any] = asyncio.ensure_future(desk.click("Done"))
        case "from outside":
            ending = asyncio.ensure_future(handle.end())
        case _:
            clock.advance(MINUTES * 10)
            ending = asyncio.ensure_future(desk.dialogs.expire())
    await in_time(desk.store, clock, ending, STEP)
    ended = await at_last(desk, clock, handle.wait())  # perhaps it is being ended in the background
    assert ended.code == {"click": "self_ended", "from outside": "cancelled"}.get(how, "expired")


NONSENSE = [7, "keep", "end", object(), [], {}, float("nan"), KEEP.__class__, End, asyncio.sleep]


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: repr(answer)[:20])
async def test_an_answer_that_means_nothing_is_a_failure(desk: Desk, counter: Kind, kinds: Kinds, answer: Any) -> None:
    async def on_button(self: Counter, _: Context) -> Any:
        self.data.clicks = 99
        return answer

    handle = await with_handler(desk, kinds, counter, on_button)
    before = await dump(desk, handle.id)
    clicked = await desk.dispatch(button(handle.id, platform=desk.screen))
    assert clicked.result == "failed"
    assert isinstance(clicked.error, InvalidError)
    assert desk.last.notices
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


async def test_a_handler_that_is_no_coroutine_is_a_failure(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    def on_button(_: Counter, __: Context) -> Any:
        return KEEP

    handle = await with_handler(desk, kinds, counter, on_button)
    assert (await desk.dispatch(button(handle.id, platform=desk.screen))).result in {"failed", "kept"}
    assert desk.last.is_answered
    await lives_on(desk, handle)


async def test_of_two_ends_of_one_handler_the_first_counts(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    async def on_button(_: Counter, ctx: Context) -> End:
        ctx.end(1, code="first", reason="said first")
        return ctx.end(2, code="second")

    handle = await with_handler(desk, kinds, counter, on_button)
    told = telling(desk.dialogs)
    assert (await desk.dispatch(button(handle.id))).result == "ended"
    ended = await handle.wait()
    assert (ended.code, ended.reason, ended.result) == ("first", "said first", 1)
    assert await heard(told, "ended")


async def test_an_end_hook_that_ends_again_changes_nothing(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    async def end(self: Counter, ctx: Context, _: Ended[int]) -> None:
        ctx.end(7, code="again")
        await desk.dialogs.end(self.dialog_id, code="once more")

    kinds["again"] = kind = variant(counter, end=end)
    await desk.restart()
    handle = await desk.start(kind)
    assert (await soon(desk.click("Done"))).result == "ended"
    ended = await handle.wait()
    assert (ended.code, ended.result) == ("self_ended", 0)


async def test_a_context_that_is_kept_beyond_its_handler_does_nothing(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    kept: list[Context] = []

    async def on_button(_: Counter, ctx: Context) -> Answer:
        kept.append(ctx)
        if ctx.page:
            raise Oops("on purpose")
        return KEEP

    handle = await with_handler(desk, kinds, counter, on_button)
    await desk.dispatch(button(handle.id, platform=desk.screen))
    await desk.dispatch(button(handle.id, page=1, platform=desk.screen))
    before = await dump(desk, handle.id)
    for ctx in kept:
        for late in (ctx.reply("late"), ctx.edit_origin("late"), ctx.notify("late")):
            with pytest.raises(DialogStateError):
                await late
        for call in (ctx.focus, ctx.unfocus, ctx.end, lambda ctx=ctx: ctx.button("late", "more")):
            with pytest.raises(DialogStateError):
                call()
        with pytest.raises((DialogStateError, InvalidError)):
            await ctx.open_form(ctx.form("late", "filled"))
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


@pytest.mark.parametrize("where", ["handler", "update_filter", "end", "start", "start_filter"])
async def test_something_cancelled_that_a_handler_waited_for_is_a_failure_and_no_cancellation(
    desk: Desk, counter: Kind, kinds: Kinds, where: str
) -> None:
    async def cancels(*_: object) -> Any:
        await cancelled()

    kinds["cancels"] = kind = variant(counter, **{"on_button" if where == "handler" else where: cancels})
    await desk.restart()
    handle = await soon(desk.start(kind, id="one"))
    if where.startswith("start"):
        assert handle.outcome in {"failed", "denied"}
        assert desk.last.notices
        assert await records(desk.store, "one") == []
        return
    came = button(handle.id, *([kind.done] if where == "end" else []), platform=desk.screen)
    clicked = await soon(desk.dispatch(came))
    assert clicked.result == {"end": "ended", "handler": "failed"}.get(where, "denied")
    assert came.is_answered
    if where == "handler":
        await lives_on(desk, handle)


async def test_what_is_no_exception_goes_through_and_frees_the_dialog(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    """Proves that nobody swallows what is meant for the process, and that the next click works all the same."""

    async def on_button(self: Counter, _: Context) -> None:
        self.data.clicks = 99
        raise Mishap

    handle = await with_handler(desk, kinds, counter, on_button)
    before = await dump(desk, handle.id)
    with pytest.raises(Mishap):
        await desk.dispatch(button(handle.id, platform=desk.screen))
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


async def test_a_dispatch_that_is_cancelled_frees_the_dialog(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    handle = await with_handler(desk, kinds, counter, hanging)
    before = await dump(desk, handle.id)
    clicking = asyncio.ensure_future(desk.dispatch(button(handle.id, platform=desk.screen)))
    await settled(desk.store)
    clicking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await clicking
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


async def test_a_handler_that_clicks_its_own_dialog_does_not_stand_still_for_ever(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock
) -> None:
    inner: list[Dispatched] = []

    async def on_button(self: Counter, _: Context) -> None:
        inner.append(await desk.dialogs.dispatch(button(self.dialog_id, "more", platform=desk.screen)))

    handle = await with_handler(desk, kinds, counter, on_button)
    came = button(handle.id, platform=desk.screen)
    clicked = await at_last(desk, clock, desk.dispatch(came))
    assert all(one.result == "busy" for one in inner)
    assert clicked.result in {"kept", "failed"}
    assert came.is_answered
    await lives_on(desk, handle)


@pytest.mark.parametrize("where", ["__init__", "ttl", "update_filter", "data", "handler_limit"])
async def test_a_class_that_cannot_make_objects_any_more_is_no_exception_and_keeps_no_other_from_ending(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, where: str
) -> None:
    def breaks(_: Any, *__: object) -> Any:
        raise Oops("on purpose")

    kinds["broken"] = kind = variant(counter)
    await desk.restart()
    first, other = await desk.start(kind), await desk.start(counter, ttl=MINUTES * 2)
    setattr(kind, where, breaks if where == "__init__" else property(breaks, lambda *_: None))
    came = button(first.id, kind.more, platform=desk.screen)
    clicked = await soon(desk.dispatch(came))
    assert clicked.is_handled
    assert came.is_answered
    clock.advance(MINUTES * 2)
    await desk.dialogs.expire()
    await settled(desk.store)
    assert (await soon(other.wait())).code == "expired"


# -- What is asked beside dialogs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raises", "cancelled", "nonsense"])
async def test_whatever_answers_for_missing_dialogs_does_the_person_is_answered(
    desk: Desk, counter: Kind, how: str
) -> None:
    @desk.dialogs.on_missing
    async def missing(_: Cause, __: Interaction, ___: DialogInfo | None) -> object:
        if how == "raises":
            raise Oops("on purpose")
        if how == "cancelled":
            await cancelled()
        return object()

    clicked = await soon(desk.dispatch(button("unknown", counter.more, platform=desk.screen)))
    assert (clicked.result, clicked.cause) == ("missing", Cause.UNKNOWN)
    assert desk.last.is_answered


@pytest.mark.parametrize("where", ["start", "update", "end", "missing"])
async def test_whatever_is_told_and_hangs_keeps_nobody_without_an_answer(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, where: str
) -> None:
    async def breaks(*_: object) -> None:
        raise Oops("on purpose")

    hook = {} if where in {"update", "missing"} else {where: breaks}
    kinds["failing"] = failing = variant(counter, **hook)
    await desk.restart()
    desk.dialogs.on_missing(cast("Any", hanging))
    for handlers in (desk.dialogs.errors.start, desk.dialogs.errors.update, desk.dialogs.errors.end):
        handlers.set_fallback(hanging)
    handle = await at_last(desk, clock, desk.start(failing, id="one"))
    assert handle.outcome == ("failed" if where == "start" else "started")
    if where == "start":
        assert desk.last.notices
    else:
        came = button(
            "unknown" if where == "missing" else "one", "breaks" if where == "update" else "done", platform=desk.screen
        )
        clicked = await at_last(desk, clock, desk.dispatch(came))
        assert clicked.result == {"update": "failed", "end": "ended"}.get(where, "missing")
        assert came.is_answered
    assert (await soon(desk.start(counter))).outcome == "started"


class Broken(Screen):
    """A platform of which everything fails."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    async def perform(self, *_: object) -> None:
        raise self.error


class Mute:
    """A responder of which everything fails."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    async def ack(self) -> None:
        raise self.error

    async def defer(self) -> None:
        raise self.error

    async def reply(self, _: View) -> Place:
        raise self.error

    async def notify(self, _: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [Oops, asyncio.CancelledError, TimeoutError])
async def test_a_platform_of_which_everything_fails_gets_no_exception_back(
    desk: Desk, counter: Kind, error: type[BaseException]
) -> None:
    handle = await desk.start(counter, id="one")
    screen = Broken(error)
    for dialog_id, action in (
        ("one", "more"),
        ("one", "breaks"),
        ("unknown", "more"),
        ("one", "done"),
        ("one", "more"),
    ):
        came = button(dialog_id, action, platform=screen)
        came.responder = Mute(error)
        assert (await soon(desk.dialogs.dispatch(came))).is_handled
    assert (await soon(handle.wait())).result == 1
    came = command(platform=screen)
    came.responder = Mute(error)
    started = await soon(desk.dialogs.start(counter, came, id="two"))
    assert started.outcome == "failed"
    assert await records(desk.store, "two") == []


async def test_dialogs_and_a_store_that_were_closed_answer_that_they_are_away(
    desk: Desk, counter: Kind, elsewhere: Start
) -> None:
    handle = await desk.start(counter)
    other = await elsewhere()
    await other.dialogs.close()
    assert (await soon(other.dispatch(button(handle.id, counter.more)))).result == "unavailable"
    assert other.last.notices
    other = await elsewhere()
    await other.store.close()
    assert (await soon(other.dispatch(button(handle.id, counter.more)))).result == "unavailable"
    assert other.last.notices
    with pytest.raises(ClosedError):
        await soon(other.start(counter))
    await lives_on(desk, handle)


async def test_a_store_that_is_away_is_answered(desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock) -> None:
    handle = await desk.start(counter)
    other = await elsewhere()
    other.wire.cut()
    came = button(handle.id, counter.more, platform=other.screen)
    clicked = await at_last(desk, clock, other.dispatch(came))
    assert clicked.result == "unavailable"
    assert came.notices
    other.wire.resume()
    await lives_on(desk, handle)
