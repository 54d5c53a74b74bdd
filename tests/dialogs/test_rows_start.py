"""Rows about starts: the whole life of a dialog, and the starts that come to nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.dialogs import Cause, Context, Phase, State, nobody
from sojourn.errors import DialogExistsError, DialogGoneError, InvalidError, LimitError, MiddlewareFailedError
from sojourn.kernel import Store
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import (
    BRIEF_S,
    Counter,
    Kind,
    Kinds,
    Oops,
    Start,
    heard,
    in_time,
    records,
    soon,
    telling,
    variant,
)
from tests.documents.conftest import HastyClock, settled, until


async def gated(self: Counter, ctx: Context) -> None:
    """A start that waits at the gate, its first message out."""
    await Counter.start(self, ctx)
    await self.gate.go_through()


@pytest.mark.row("I-C01")
async def test_a_dialog_is_started_clicked_and_ended(desk: Desk, counter: Kind) -> None:
    """Proves that hooks and events come once each, in order, and who waits gets code, reason and result."""
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    assert handle.outcome == "started"
    assert desk.view.text == "0"
    waiting = asyncio.create_task(handle.wait())
    assert (await desk.click("More")).result == "kept"
    assert desk.view.text == "1"
    clicked = await desk.click("Done")
    assert (clicked.result, clicked.dialog_id) == ("ended", handle.id)
    ended = await soon(waiting)
    assert (ended.dialog_id, ended.code, ended.reason, ended.result) == (handle.id, "self_ended", "self_ended", 1)
    assert clicked.ended == ended
    assert desk.view.text == "Closed: self_ended"
    assert counter.diary == ["start", "more", "done", "end self_ended"]
    assert await heard(told, "started", "updated", "ended")
    assert [event.dialog_id for event in told] == [handle.id] * 3
    revisions = [event.revision or 0 for event in told]
    assert revisions == sorted(set(revisions))


@pytest.mark.row("I-C20")
async def test_a_start_that_is_denied_leaves_nothing(desk: Desk, counter: Kind, kinds: Kinds, store: Store) -> None:
    kinds["closed"] = closed = variant(counter, start_filter=nobody)
    await desk.restart()
    told = telling(desk.dialogs)
    handle = await desk.start(closed, id="closed")
    assert handle.outcome == "denied"
    assert await records(store, "closed") == []
    assert await desk.dialogs.get("closed") is None
    assert counter.diary == []
    assert await heard(told, "denied")
    assert desk.last.notices
    with pytest.raises(DialogGoneError):
        await handle.wait()


@pytest.mark.row("I-C21")
async def test_a_start_that_raises_leaves_nothing(desk: Desk, counter: Kind, kinds: Kinds, store: Store) -> None:
    async def start(self: Counter, ctx: Context) -> None:
        await Counter.start(self, ctx)
        ctx.focus()
        raise Oops("on purpose")

    kinds["failing"] = failing = variant(counter, start=start)
    await desk.restart()
    told, consumed = telling(desk.dialogs), list[Exception]()
    desk.dialogs.errors.start.set(Oops, lambda error, _: consumed.append(error))
    handle = await desk.start(failing, id="failing")
    assert handle.outcome == "failed"
    assert [str(error) for error in consumed] == ["on purpose"]
    assert await records(store, "failing") == []
    assert counter.diary == ["start"]
    assert await heard(told, "start_failed")
    assert desk.last.is_answered
    assert (await desk.write("hello")).result == "foreign"
    assert (await desk.dispatch(button("failing", counter.more))).cause is Cause.UNKNOWN


@pytest.mark.row("I-C22")
async def test_a_middleware_that_raises_denies_the_start(desk: Desk, counter: Kind, store: Store) -> None:
    told, consumed = telling(desk.dialogs), list[Exception]()

    def broken(ctx: Context) -> None:
        raise Oops("on purpose")

    desk.dialogs.use(broken, at=Phase.START)
    desk.dialogs.errors.start.set(MiddlewareFailedError, lambda error, _: consumed.append(error))
    handle = await desk.start(counter, id="one", meta={"from": "test"})
    assert handle.outcome == "denied"
    (error,) = consumed
    assert isinstance(error, MiddlewareFailedError)
    assert (error.middleware, error.dialog_id, error.interaction) == (broken, "one", desk.last)
    assert error.meta["from"] == "test"
    assert isinstance(error.__cause__, Oops)
    assert counter.diary == []
    assert await records(store, "one") == []
    assert await heard(told, "denied")


@pytest.mark.row("I-C23")
@pytest.mark.parametrize(
    ("ttl", "error"),
    [
        (timedelta(), InvalidError),
        (timedelta(seconds=-1), InvalidError),
        (timedelta(microseconds=1), InvalidError),
        (180, InvalidError),
        ("soon", InvalidError),
        (limits.DIALOG_TTL_MAX + timedelta(milliseconds=1), LimitError),
    ],
    ids=str,
)
async def test_a_time_to_live_that_cannot_be_is_refused_before_anything_is_stored(
    desk: Desk, counter: Kind, kinds: Kinds, store: Store, ttl: Any, error: type[Exception]
) -> None:
    kinds["odd"] = odd = variant(counter, ttl=ttl)
    await desk.restart()
    with pytest.raises(error, match="ttl"):
        await desk.start(counter, id="one", ttl=ttl)
    with pytest.raises(error, match="ttl"):
        await desk.start(odd, id="one")
    assert counter.diary == []
    assert await records(store, "one") == []


@pytest.mark.row("I-C24")
async def test_a_dialog_without_a_deadline_lives_on_and_is_listed(desk: Desk, counter: Kind) -> None:
    brief = await desk.start(counter)
    endless = await desk.start(counter, ttl=None)
    await desk.advance(timedelta(days=1_000))
    info = await endless.info()
    assert info is not None
    assert (info.state, info.deadline, info.remaining, info.is_overdue) == (State.RUNNING, None, None, False)
    assert [one.dialog_id async for one in desk.dialogs.list()] == [endless.id]
    assert (await desk.dispatch(button(endless.id, counter.more))).result == "kept"
    assert brief.id != endless.id


@pytest.mark.row("I-C25")
async def test_what_was_started_cannot_be_started_again(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter, id="one")
    await desk.click("More")
    running = await handle.info()
    with pytest.raises(DialogExistsError, match="one"):
        await desk.start(counter, id="one")
    assert await handle.info() == running
    first = await handle.end()
    with pytest.raises(DialogExistsError, match="one"):
        await desk.start(counter, id="one")
    assert await handle.wait() == first
    assert counter.diary.count("start") == 1


@pytest.mark.row("I-C26")
async def test_of_two_starts_at_once_one_is_refused(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    kinds["gated"] = kind = variant(counter, start=gated)
    await desk.restart()
    counter.gate.close()
    starts = [asyncio.create_task(desk.start(kind, id="one")) for _ in range(2)]
    done, (slow,) = await soon(asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED))
    assert [type(task.exception()) for task in done] == [DialogExistsError]
    counter.gate.open()
    assert (await soon(slow)).outcome == "started"
    assert counter.diary == ["start"]
    assert (await desk.click("More")).result == "kept"


@pytest.mark.row("I-C27")
async def test_an_id_in_use_is_refused_in_every_process(desk: Desk, counter: Kind, elsewhere: Start) -> None:
    handle = await desk.start(counter, id="one")
    await desk.click("More")
    before = await handle.info()
    for process in (desk, await elsewhere()):
        with pytest.raises(DialogExistsError, match="one"):
            await process.start(counter, id="one")
    assert await handle.info() == before
    assert counter.diary == ["start", "more"]


@pytest.mark.row("I-C28")
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_click_during_the_start_waits_for_it(
    desk: Desk, counter: Kind, kinds: Kinds, elsewhere: Start, clock: HastyClock, where: str
) -> None:
    kinds["gated"] = kind = variant(counter, start=gated)
    await desk.restart()
    process = desk if where == "here" else await elsewhere()
    counter.gate.close()
    starting = asyncio.create_task(desk.start(kind, id="one"))
    await until(lambda: counter.gate.entered)
    click = button("one", counter.more)
    clicking = asyncio.create_task(process.dispatch(click))
    await settled(desk.store)
    assert not clicking.done()
    counter.gate.open()
    with clock.hasty(BRIEF_S):
        assert (await soon(starting)).outcome == "started"
        assert (await soon(clicking)).result == "kept"
    assert desk.view.text == "1"


@pytest.mark.row("I-C28")
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_click_during_a_long_start_is_told_to_come_again(
    desk: Desk, kinds: Kinds, options: dict[str, Any], elsewhere: Start, clock: HastyClock, where: str
) -> None:
    """Proves that it waits no longer than it was told to, raises nothing, and says something."""
    options["wait"] = wait = timedelta(seconds=2)
    kinds["gated"] = kind = variant(counter := kinds["counter"], start=gated)
    await desk.restart()
    process = desk if where == "here" else await elsewhere()
    counter.gate.close()
    starting = asyncio.create_task(desk.start(kind, id="one"))
    await until(lambda: counter.gate.entered)
    clicking = asyncio.create_task(process.dispatch(button("one", counter.more)))
    assert (await in_time(process.store, clock, clicking, wait / 4)).result == "busy"
    assert process.last.notices
    counter.gate.open()
    assert (await soon(starting)).outcome == "started"
    assert counter.diary == ["start"]


@pytest.mark.row("I-C29")
async def test_a_slow_start_takes_nothing_from_the_time_to_live(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock
) -> None:
    async def start(self: Counter, ctx: Context) -> None:
        await Counter.start(self, ctx)
        clock.advance(timedelta(seconds=5))
        await desk.dialogs.expire()

    kinds["slow"] = slow = variant(counter, start=start, ttl=timedelta(seconds=2))
    await desk.restart()
    handle = await desk.start(slow)
    info = await handle.info()
    assert info is not None
    assert (handle.outcome, info.state, info.remaining) == ("started", State.RUNNING, timedelta(seconds=2))
    assert (await desk.click("More")).result == "kept"
    await desk.advance(timedelta(seconds=2))
    assert counter.diary == ["start", "more", "end expired"]
    assert (await handle.wait()).code == "expired"
