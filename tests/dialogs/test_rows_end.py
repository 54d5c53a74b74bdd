"""Rows about ends: by deadline, from outside, from within; and about those who wait for them."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.dialogs import KEEP, Answer, Context, Ended, EventName
from sojourn.errors import DialogGoneError
from sojourn.kernel import Key, Reads, Store
from sojourn.testing.dialogs import Desk, button, command
from tests.dialogs.conftest import (
    BRIEF_S,
    MINUTES,
    Counter,
    Kind,
    Kinds,
    Make,
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

MINUTE = timedelta(minutes=1)
SHORT = timedelta(seconds=4)
BESIDE = Key("test", "beside", "one")


@pytest.mark.row("I-C40")
@pytest.mark.parametrize("action", ["refresh", "more"])
async def test_a_deadline_that_passes_while_a_handler_runs_waits_for_it(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock, action: str
) -> None:
    """Proves that the end hook never runs beside a handler, in any process, and the handler's answer decides."""
    other = await elsewhere()
    handle = await desk.start(counter, ttl=SHORT)
    counter.gate.close()
    clicking = asyncio.create_task(desk.dispatch(button(handle.id, action)))
    await until(lambda: counter.gate.inside)
    clock.advance(SHORT * 2)
    expiring = [asyncio.create_task(process.dialogs.expire()) for process in (desk, other)]
    await settled(desk.store)
    assert counter.diary == ["start", action]
    counter.gate.open()
    dispatched = await soon(clicking)
    with clock.hasty(BRIEF_S):
        await soon(asyncio.gather(*expiring))
    info = await handle.info()
    assert info is not None
    if action == "refresh":
        assert dispatched.result == "refreshed"
        assert counter.diary == ["start", "refresh"]
        assert info.remaining == SHORT
    else:
        assert dispatched.result in {"kept", "ended"}
        ended = await in_time(desk.store, clock, asyncio.create_task(handle.wait()), limits.DUE_POLL)
        assert ended.code == "expired"
        assert counter.diary == ["start", "more", "end expired"]


@pytest.mark.row("I-C41", "I-C42")
async def test_an_idle_dialog_expires_once_in_one_process(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    other = await elsewhere()
    here, there = telling(desk.dialogs), telling(other.dialogs)
    handle = await desk.start(counter)
    waiting = asyncio.create_task(handle.wait())
    await desk.advance(MINUTES - timedelta(milliseconds=1))
    assert counter.diary == ["start"]
    clock.advance(timedelta(milliseconds=1))
    assert sum(await soon(asyncio.gather(desk.dialogs.expire(), other.dialogs.expire()))) <= 1
    ended = await soon(waiting)
    assert (ended.code, ended.result) == ("expired", None)
    assert counter.diary.count("end expired") == 1
    assert await other.handle(handle.id).wait() == ended
    await until(lambda: len(here + there) >= 3)
    await settled(desk.store)
    assert desk.view.text == "Closed: expired"
    assert await heard(here[:1], "started")
    assert await heard(here[1:] + there, "ended", "expired")
    assert {event.ended for event in here[1:] + there} == {ended}


@pytest.mark.row("I-C41")
async def test_many_dialogs_expire_in_one_go(desk: Desk, counter: Kind) -> None:
    handles = [await desk.start(counter) for _ in range(limits.DIALOG_DUE_PAGE // 10)]
    endless = await desk.start(counter, ttl=None)
    await desk.advance(MINUTES)
    assert {(await handle.wait()).code for handle in handles} == {"expired"}
    assert [one.dialog_id async for one in desk.dialogs.list()] == [endless.id]


@pytest.mark.row("I-C43")
async def test_who_only_constructs_the_face_sees_its_dialogs_expire(
    store: Store, make: Make, counter: Kind, clock: HastyClock
) -> None:
    """Proves that there is nothing to switch on: the deadline passes, and hook and waiter are told."""
    dialogs = make(store)
    handle = await dialogs.start(counter, command())
    waiting = asyncio.create_task(handle.wait())
    await settled(store)
    clock.advance(MINUTES)
    assert (await in_time(store, clock, waiting, limits.DUE_POLL)).code == "expired"
    assert counter.diary == ["start", "end expired"]
    await dialogs.close()


@pytest.mark.row("I-C43", "I-C41")
async def test_a_process_in_the_background_ends_what_is_overdue(
    store: Store, make: Make, counter: Kind, clock: HastyClock
) -> None:
    async with make(store) as dialogs:
        handle = await dialogs.start(counter, command())
        await settled(store)
        clock.advance(MINUTES)
        async with asyncio.timeout(30):
            while "end expired" not in counter.diary:
                clock.advance(limits.DUE_POLL)
                await settled(store)
        assert (await soon(handle.wait())).code == "expired"
    assert counter.diary == ["start", "end expired"]


@pytest.mark.row("I-C44")
async def test_what_remains_is_a_duration(desk: Desk, counter: Kind, clock: HastyClock) -> None:
    handle, endless = await desk.start(counter), await desk.start(counter, ttl=None)

    async def remaining(dialog_id: str) -> timedelta | None:
        info = await desk.dialogs.get(dialog_id)
        return None if info is None else info.remaining

    assert await remaining(handle.id) == MINUTES
    clock.advance(MINUTE)
    assert await remaining(handle.id) == MINUTES - MINUTE
    clock.advance(MINUTES)
    assert await remaining(handle.id) == timedelta()
    assert await remaining(endless.id) is None
    assert await remaining("nobody") is None


@pytest.mark.row("I-C45")
async def test_what_is_not_there_cannot_be_ended(desk: Desk, counter: Kind) -> None:
    for end in (desk.dialogs.end("nobody"), desk.handle("nobody").end()):
        with pytest.raises(DialogGoneError, match="nobody"):
            await end
    handle = await desk.start(counter)
    await handle.end()
    await desk.advance(limits.DIALOG_RETAIN)
    with pytest.raises(DialogGoneError, match=handle.id):
        await handle.end()


@pytest.mark.row("I-C46")
async def test_ending_twice_gives_the_first_outcome(desk: Desk, counter: Kind, elsewhere: Start) -> None:
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    first = await handle.end(code="first", reason="one", result=5)
    assert (first.code, first.reason, first.result) == ("first", "one", 5)
    for process in (desk, await elsewhere()):
        assert await process.handle(handle.id).end(code="second", result=6) == first
        assert await process.handle(handle.id).wait() == first
    assert counter.diary == ["start", "end first"]
    assert await heard(told, "started", "ended")


@pytest.mark.row("I-C46")
async def test_of_ends_at_once_one_counts_for_all(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves it for two ends here, one in another process, and a click that ends."""
    other = await elsewhere()
    told = telling(desk.dialogs), telling(other.dialogs)
    handle = await desk.start(counter)
    with clock.hasty(BRIEF_S):
        *ends, dispatched = await soon(
            asyncio.gather(
                handle.end(code="a"),
                handle.end(code="b"),
                other.handle(handle.id).end(code="c"),
                desk.dispatch(button(handle.id, counter.done)),
            )
        )
    outcome = await handle.wait()
    assert ends == [outcome] * 3, (ends, dispatched)
    assert dispatched.result == "ended" if outcome.code == "self_ended" else dispatched.result == "missing"
    await until(lambda: any(one.name is EventName.ENDED for one in told[0] + told[1]))
    await settled(desk.store)
    assert [one.name for one in told[0] + told[1]].count(EventName.ENDED) == 1


@pytest.mark.row("I-C47")
async def test_ending_within_the_end_hook_changes_nothing(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    seen = list[Ended[Any]]()

    async def end(self: Counter, ctx: Context, ended: Ended[int]) -> None:
        await Counter.end(self, ctx, ended)
        ctx.end(9, code="again")
        seen.append(await desk.dialogs.end(self.dialog_id, code="again", result=9))

    kinds["keen"] = kind = variant(counter, end=end)
    await desk.restart()
    handle = await desk.start(kind)
    ended = await soon(handle.end(code="first", result=5))
    assert (ended.code, ended.result) == ("first", 5)
    assert await soon(handle.wait()) == ended
    assert [one.code for one in seen] == ["first"]
    assert counter.diary == ["start", "end first"]


@pytest.mark.row("I-C48")
@pytest.mark.parametrize("how", ["click", "outside", "deadline"])
async def test_an_end_hook_that_raises_stops_no_end(
    desk: Desk, counter: Kind, kinds: Kinds, store: Store, how: str
) -> None:
    """Proves that what it said, wrote and set is undone, and what was given before is the result."""

    async def more(self: Counter, ctx: Context) -> Answer:
        self.result = 3
        await self.count(ctx)
        return KEEP

    async def end(self: Counter, ctx: Context, ended: Ended[int]) -> None:
        await Counter.end(self, ctx, ended)
        ctx.tx.put(BESIDE, b"written")
        self.result = 4
        raise Oops("on purpose")

    kinds["broken"] = kind = variant(counter, on_button=more, end=end)
    await desk.restart()
    consumed, told = list[Exception](), telling(desk.dialogs)
    desk.dialogs.errors.end.set(Oops, lambda error, _: consumed.append(error))
    handle = await desk.start(kind)
    waiting = asyncio.create_task(handle.wait())
    assert (await desk.dispatch(button(handle.id))).result == "kept"
    if how == "click":
        assert (await desk.click("Done")).result == "ended"
    elif how == "outside":
        await handle.end(result=1)
    else:
        await desk.advance(MINUTES)
    ended = await soon(waiting)
    assert [type(error) for error in consumed] == [Oops]
    assert ended.result == {"click": 1, "outside": 1, "deadline": 3}[how]
    assert desk.view.text == "1"
    assert (await store.read(Reads((BESIDE,)))).records.keys == (None,)
    beside = ["expired"] if how == "deadline" else []
    assert await heard(told, "started", "updated", "ended", *beside)


@pytest.mark.row("I-C49")
async def test_error_handlers_that_raise_are_contained(
    desk: Desk, counter: Kind, kinds: Kinds, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves it for start, update and end: each goes on as if the handler had returned, and the log says so."""

    async def start(self: Counter, ctx: Context) -> None:
        raise Oops("start")

    async def end(self: Counter, ctx: Context, ended: Ended[int]) -> None:
        raise Oops("end")

    def worse(error: Exception, ctx: Context) -> None:
        raise RuntimeError("worse")

    kinds["unborn"] = unborn = variant(counter, start=start)
    kinds["broken"] = broken = variant(counter, end=end)
    await desk.restart()
    errors = desk.dialogs.errors
    for one in (errors.start, errors.update, errors.end):
        one.set(Oops, worse)
    with caplog.at_level(logging.ERROR):
        assert (await desk.start(unborn, id="unborn")).outcome == "failed"
        assert await records(store, "unborn") == []
        handle = await desk.start(broken)
        assert (await desk.click("Break")).result == "failed"
        assert (await desk.click("More")).result == "kept"
        assert (await desk.click("Done")).result == "ended"
        assert (await handle.wait()).result == 1
    assert sum(record.exc_info is not None and "worse" in str(record.exc_info[1]) for record in caplog.records) == 3


@pytest.mark.row("I-C50")
@pytest.mark.parametrize(("given", "result"), [(4, 4), (None, 9)])
async def test_the_result_is_what_was_given_or_else_what_the_hook_leaves(
    desk: Desk, counter: Kind, kinds: Kinds, given: int | None, result: int
) -> None:
    async def on_button(self: Counter, ctx: Context) -> Answer:
        self.result = 3
        return ctx.end() if given is None else ctx.end(given)

    async def end(self: Counter, ctx: Context, ended: Ended[int]) -> None:
        assert ended.result == (given or 3)
        self.result = 9

    kinds["late"] = kind = variant(counter, on_button=on_button, end=end)
    await desk.restart()
    handle = await desk.start(kind)
    assert (await desk.dispatch(button(handle.id))).result == "ended"
    assert (await handle.wait()).result == result


@pytest.mark.row("I-C51")
async def test_who_comes_late_is_told_while_the_end_is_remembered(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    handle = await desk.start(counter)
    ended = await handle.end(result=5)
    clock.advance(limits.DIALOG_RETAIN - timedelta(milliseconds=1))
    other = await elsewhere()
    await desk.restart()
    for process in (desk, other):
        assert await soon(process.handle(handle.id).wait()) == ended
    clock.advance(timedelta(milliseconds=1))
    for process in (desk, other):
        with pytest.raises(DialogGoneError):
            await soon(process.handle(handle.id).wait())


@pytest.mark.row("I-C51")
async def test_who_waits_for_what_never_was_is_told_at_once(desk: Desk) -> None:
    with pytest.raises(DialogGoneError):
        await soon(desk.handle("nobody").wait())


@pytest.mark.row("I-C52")
async def test_all_who_wait_get_the_same_end(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    waiting = [asyncio.create_task(desk.handle(handle.id).wait()) for _ in range(20)]
    await settled(desk.store)
    await desk.click("Done")
    ends = await soon(asyncio.gather(*waiting))
    assert ends == [await handle.wait()] * 20


@pytest.mark.row("I-C53")
async def test_who_waits_in_another_process_is_told_within_bounds(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    other = await elsewhere()
    handle = await desk.start(counter)
    waiting = asyncio.create_task(other.handle(handle.id).wait())
    await settled(desk.store)
    await settled(other.store)
    await desk.click("Done")
    before = clock.now()
    ended = await in_time(other.store, clock, waiting, limits.DUE_POLL / 4)
    assert ended == await handle.wait()
    assert timedelta(milliseconds=clock.now() - before) <= 5 * limits.DUE_POLL


@pytest.mark.row("I-C53", "I-C41")
async def test_who_waits_in_another_process_is_told_of_the_deadline(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    other = await elsewhere()
    handle = await desk.start(counter)
    waiting = asyncio.create_task(other.handle(handle.id).wait())
    await settled(desk.store)
    clock.advance(MINUTES)
    await desk.dialogs.expire()
    assert (await in_time(other.store, clock, waiting, limits.DUE_POLL)).code == "expired"
    assert counter.diary == ["start", "end expired"]


@pytest.mark.row("I-C54")
async def test_who_gives_up_waiting_changes_nothing(desk: Desk, counter: Kind, clock: HastyClock) -> None:
    handle = await desk.start(counter)
    before = await handle.info()
    late = [asyncio.create_task(handle.wait(timeout)) for timeout in (SHORT, 4.0)]
    cancelled = asyncio.create_task(handle.wait())
    patient = asyncio.create_task(handle.wait(MINUTE))
    await settled(desk.store)
    cancelled.cancel()
    for task in late:
        with pytest.raises(TimeoutError):
            await in_time(desk.store, clock, task, SHORT)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    after = await handle.info()
    assert before is not None
    assert after is not None
    assert (after.revision, after.deadline) == (before.revision, before.deadline)
    assert (await desk.click("Done")).result == "ended"
    assert (await soon(patient)).code == "self_ended"


@pytest.mark.row("I-C55")
async def test_closing_tells_who_waits_and_the_dialog_goes_on(desk: Desk, counter: Kind, elsewhere: Start) -> None:
    handle = await desk.start(counter)
    other = await elsewhere()
    waiting = asyncio.create_task(handle.wait())
    await settled(desk.store)
    await desk.restart()
    suspended = await soon(waiting)
    assert (suspended.dialog_id, suspended.code, suspended.result) == (handle.id, "suspended", None)
    assert counter.diary == ["start"]
    for process in (desk, other):
        assert (await process.click("More")).result == "kept"
    assert (await desk.click("Done")).result == "ended"
    assert (await desk.handle(handle.id).wait()).result == 2


@pytest.mark.row("I-C55")
async def test_closing_waits_for_handlers_within_its_grace(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    counter.gate.close()
    clicking = asyncio.create_task(desk.dispatch(button(handle.id, counter.more)))
    await until(lambda: counter.gate.inside)
    closing = asyncio.create_task(desk.dialogs.close())
    await settled(desk.store)
    assert not closing.done()
    late = await soon(desk.dispatch(button(handle.id, counter.more)))
    assert late.is_handled
    assert late.result != "kept"
    assert desk.last.notices
    counter.gate.open()
    assert (await soon(clicking)).result == "kept"
    await soon(closing)
    assert counter.diary == ["start", "more"]


@pytest.mark.row("I-C55")
async def test_closing_may_end_the_dialogs_that_were_started_here(
    store: Store, make: Make, counter: Kind, options: dict[str, Any], elsewhere: Start
) -> None:
    """Proves that who waits is told the end, and not that it goes on; what others have started goes on."""
    others = await (await elsewhere()).start(counter)
    options["end_on_stop"] = True
    dialogs = make(store)
    handle = await dialogs.start(counter, command())
    waiting = asyncio.create_task(handle.wait())
    await settled(store)
    await dialogs.close()
    assert (await soon(waiting)).code == "stopped"
    assert counter.diary == ["start", "start", "end stopped"]
    again = make(store)
    assert (await again.wait(handle.id)).code == "stopped"
    assert [one.dialog_id async for one in again.list()] == [others.id]
