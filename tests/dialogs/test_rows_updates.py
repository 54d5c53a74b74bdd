"""Rows about interactions with a dialog that is there: answers, failures, crowds, repeats and old views."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn.dialogs import KEEP, REFRESH, Answer, Context, User
from sojourn.kernel import Key, Reads, Store
from sojourn.testing.dialogs import Desk, button, select
from tests.dialogs.conftest import (
    BRIEF_S,
    MINUTES,
    Counter,
    Kind,
    Kinds,
    Oops,
    Start,
    heard,
    records,
    soon,
    telling,
    variant,
)
from tests.documents.conftest import HastyClock, until

MINUTE = timedelta(minutes=1)


async def remaining(desk: Desk, dialog_id: str) -> timedelta | None:
    """How long a dialog that must be there has to live."""
    info = await desk.dialogs.get(dialog_id)
    assert info is not None
    return info.remaining


@pytest.mark.row("I-C32")
@pytest.mark.parametrize(
    ("answer", "result", "left"),
    [
        (KEEP, "kept", MINUTES - MINUTE),
        (False, "kept", MINUTES - MINUTE),
        (None, "kept", MINUTES - MINUTE),
        (REFRESH, "refreshed", MINUTES),
        (True, "refreshed", MINUTES),
    ],
    ids=str,
)
async def test_the_answer_of_a_handler_decides_the_deadline(
    desk: Desk, counter: Kind, kinds: Kinds, answer: Answer, result: str, left: timedelta
) -> None:
    async def on_button(self: Counter, ctx: Context) -> Answer:
        return answer

    kinds["plain"] = kind = variant(counter, on_button=on_button)
    await desk.restart()
    handle = await desk.start(kind)
    await desk.advance(MINUTE)
    assert await remaining(desk, handle.id) == MINUTES - MINUTE
    assert (await desk.dispatch(button(handle.id))).result == result
    assert await remaining(desk, handle.id) == left


@pytest.mark.row("I-C32")
async def test_refreshing_uses_the_time_to_live_that_was_given(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter, ttl=timedelta(minutes=10))
    await desk.advance(timedelta(minutes=9))
    await desk.click("Refresh")
    assert await remaining(desk, handle.id) == timedelta(minutes=10)


@pytest.mark.row("I-C33")
async def test_a_denied_click_changes_nothing(desk: Desk, counter: Kind) -> None:
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    await desk.advance(MINUTE)
    before = await handle.info()
    denied = await desk.dispatch(button(handle.id, counter.refresh, user="bob"))
    assert denied.result == "denied"
    assert await handle.info() == before
    assert await remaining(desk, handle.id) == MINUTES - MINUTE
    assert await heard(told, "started", "denied")
    assert counter.diary == ["start"]


@pytest.mark.row("I-C34")
async def test_a_handler_that_raises_has_changed_nothing(desk: Desk, counter: Kind, kinds: Kinds, store: Store) -> None:
    """Proves that data, page, result, focus, effects and writes through `tx` are undone, and the dialog goes on."""
    beside = Key("test", "beside", "one")

    async def on_button(self: Counter, ctx: Context) -> Answer:
        ctx.tx.put(beside, b"written")
        ctx.focus()
        await ctx.reply("more than that")
        return await self.breaks(ctx)

    kinds["failing"] = kind = variant(counter, on_button=on_button)
    await desk.restart()
    told, consumed = telling(desk.dialogs), list[Exception]()
    desk.dialogs.errors.update.set(Oops, lambda error, _: consumed.append(error))
    handle = await desk.start(kind)
    await desk.click("More")
    await desk.advance(MINUTE)
    before, shown = await handle.info(), desk.view
    failed = await desk.dispatch(button(handle.id))
    assert (failed.result, type(failed.error)) == ("failed", Oops)
    assert [type(error) for error in consumed] == [Oops]
    assert desk.last.is_answered
    assert (desk.last.replies, desk.last.edits) == ([], [])
    assert "said by who failed" not in desk.last.notices
    after = await handle.info()
    assert before is not None
    assert after is not None
    assert (after.view, after.page, after.deadline) == (before.view, before.page, before.deadline)
    assert desk.view == shown
    assert (await store.read(Reads((beside,)))).records.keys == (None,)
    assert (await desk.write("hello")).result == "foreign"
    assert await heard(told, "started", "updated", "update_failed")
    assert (await desk.click("Done")).result == "ended"
    assert (await handle.wait()).result == 1


@pytest.mark.row("I-C34", "I-C38")
async def test_a_delivery_that_failed_is_handled_when_it_comes_again(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    click = button(handle.id, counter.breaks)
    assert (await desk.dispatch(click)).result == "failed"
    assert desk.last.notices
    assert (await desk.dispatch(click.again())).result == "failed"
    assert counter.diary == ["start", "breaks", "breaks"]


@pytest.mark.row("I-C35")
async def test_a_kind_that_is_not_handled_is_answered_all_the_same(desk: Desk, counter: Kind) -> None:
    consumed = list[Exception]()
    desk.dialogs.errors.update.set(NotImplementedError, lambda error, _: consumed.append(error))
    handle = await desk.start(counter)
    dispatched = await desk.dispatch(select(handle.id, "nothing", ["a"]))
    assert (dispatched.result, type(dispatched.error)) == ("failed", NotImplementedError)
    assert len(consumed) == 1
    assert desk.last.is_answered
    assert (await desk.dispatch(select(handle.id, counter.chosen, ["a"]))).result == "kept"


@pytest.mark.row("I-C36")
async def test_a_handler_that_ends_its_dialog_tells_the_end_alone(desk: Desk, counter: Kind) -> None:
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    assert (await desk.click("Done")).result == "ended"
    info = await handle.info()
    assert info is not None
    assert (info.deadline, info.remaining) == (None, None)
    assert await heard(told, "started", "ended")


CROWD = 16


@pytest.mark.row("I-C37")
async def test_clicks_at_once_are_handled_one_after_another(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    clicks = (desk.dispatch(button(handle.id, counter.more)) for _ in range(CROWD))
    dispatched = await soon(asyncio.gather(*clicks))
    assert {one.result for one in dispatched} == {"kept"}
    assert counter.gate.crowd == 1
    assert counter.diary.count("more") == CROWD
    assert desk.view.text == str(CROWD)
    assert (await desk.click("Done")).result == "ended"
    assert (await handle.wait()).result == CROWD


@pytest.mark.row("I-C37")
async def test_clicks_are_handled_in_the_order_they_came(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    async def on_button(self: Counter, ctx: Context) -> Answer:
        self.data.words.extend(ctx.args)
        await self.gate.go_through()
        self.result = len(self.data.words)
        return ctx.end(reason=" ".join(self.data.words)) if len(self.data.words) == CROWD else KEEP

    kinds["list"] = kind = variant(counter, on_button=on_button)
    await desk.restart()
    handle = await desk.start(kind)
    clicks = [asyncio.create_task(desk.dispatch(button(handle.id, "none", number))) for number in range(CROWD)]
    await soon(asyncio.gather(*clicks))
    assert (await handle.wait()).reason == " ".join(map(str, range(CROWD)))


@pytest.mark.row("I-C37")
async def test_a_dialog_may_drop_what_comes_at_once(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    kinds["hasty"] = kind = variant(counter, concurrency="drop")
    await desk.restart()
    handle = await desk.start(kind)
    counter.gate.close()
    first = asyncio.create_task(desk.dispatch(button(handle.id, counter.more)))
    await until(lambda: counter.gate.inside)
    for _ in range(3):
        assert (await soon(desk.dispatch(button(handle.id, counter.more)))).result == "dropped"
        assert desk.last.is_answered
    counter.gate.open()
    assert (await soon(first)).result == "kept"
    assert (await desk.click("More")).result == "kept"
    assert desk.view.text == "2"


@pytest.mark.row("I-C37")
async def test_a_dialog_may_handle_side_by_side_and_loses_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock
) -> None:
    kinds["broad"] = kind = variant(counter, concurrency="parallel")
    await desk.restart()
    handle = await desk.start(kind)
    counter.gate.close()
    clicks = [asyncio.create_task(desk.dispatch(button(handle.id, counter.more))) for _ in range(4)]
    await until(lambda: counter.gate.inside > 1)
    counter.gate.open()
    with clock.hasty(BRIEF_S):
        assert {one.result for one in await soon(asyncio.gather(*clicks))} == {"kept"}
    assert counter.gate.crowd > 1
    assert (await desk.dispatch(button(handle.id, counter.done))).result == "ended"
    assert (await handle.wait()).result == 4


@pytest.mark.row("I-C37", "I-C38")
async def test_side_by_side_a_delivery_counts_once_too(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock
) -> None:
    kinds["broad"] = kind = variant(counter, concurrency="parallel")
    await desk.restart()
    handle = await desk.start(kind)
    click = button(handle.id, counter.more)
    counter.gate.close()
    both = [asyncio.create_task(desk.dispatch(one)) for one in (click, click.again())]
    await until(lambda: counter.gate.inside == 2)
    counter.gate.open()
    with clock.hasty(BRIEF_S):
        dispatched = await soon(asyncio.gather(*both))
    assert sorted(one.result for one in dispatched) == ["duplicate", "kept"]
    assert (await desk.dispatch(button(handle.id, counter.done))).result == "ended"
    assert (await handle.wait()).result == 1


@pytest.mark.row("I-C38")
async def test_a_delivery_that_comes_again_is_answered_and_not_handled(
    desk: Desk, counter: Kind, elsewhere: Start
) -> None:
    """Proves it for a repeat afterwards, at once, after a restart and in another process; others are handled."""
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    click = button(handle.id, counter.more, delivery_id="1")
    both = await soon(asyncio.gather(desk.dispatch(click), desk.dispatch(click.again())))
    assert sorted(one.result for one in both) == ["duplicate", "kept"]
    for process in (desk, await elsewhere()):
        repeated = await process.dispatch(click.again())
        assert (repeated.result, repeated.is_handled) == ("duplicate", True)
        assert process.last.is_answered
    await until(lambda: len(told) >= 4)
    assert sorted(event.name.value for event in told) == ["duplicate", "duplicate", "started", "updated"]
    await desk.restart()
    assert (await desk.dispatch(click.again())).result == "duplicate"
    assert counter.diary == ["start", "more"]
    assert (await desk.dispatch(button(handle.id, counter.more, delivery_id="2"))).result == "kept"


@pytest.mark.row("I-C38")
async def test_a_delivery_counts_for_its_own_dialog_only(desk: Desk, counter: Kind) -> None:
    one, other = await desk.start(counter), await desk.start(counter)
    for handle in (one, other):
        assert (await desk.dispatch(button(handle.id, counter.more, delivery_id="1"))).result == "kept"


@pytest.mark.row("I-C38")
async def test_the_delivery_that_ended_a_dialog_is_answered_when_it_comes_again(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    click = button(handle.id, counter.done)
    assert (await desk.dispatch(click)).result == "ended"
    repeated = await desk.dispatch(click.again())
    assert repeated.is_handled
    assert repeated.result in {"duplicate", "missing"}
    assert desk.last.is_answered
    assert counter.diary == ["start", "done", "end self_ended"]


@pytest.mark.row("I-C38")
async def test_without_a_delivery_id_each_click_counts(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    for _ in range(2):
        click = button(handle.id, counter.more)
        click.delivery_id = None
        assert (await desk.dispatch(click)).result == "kept"
    assert counter.diary == ["start", "more", "more"]


@pytest.mark.row("I-C39")
@pytest.mark.parametrize(
    ("stale", "result", "clicks"), [("accept", "kept", 2), ("reject", "stale", 1), ("render", "stale", 1)]
)
async def test_a_dialog_says_what_becomes_of_a_click_on_an_older_view(
    desk: Desk, counter: Kind, kinds: Kinds, stale: Any, result: str, clicks: int
) -> None:
    kinds["aging"] = kind = variant(counter, stale=stale)
    await desk.restart()
    await desk.start(kind)
    old = desk.view.rows[0][0].token
    assert (await desk.click("More")).result == "kept"
    new = desk.view
    dispatched = await desk.dispatch(button("", token=old))
    assert (dispatched.result, dispatched.is_handled) == (result, True)
    assert bool(desk.last.notices) is (stale != "accept")
    assert counter.diary.count("more") == clicks
    if stale == "render":
        assert desk.last.edits == [new]
    assert (await desk.click("More")).result == "kept"
    assert desk.view.text == str(clicks + 1)


@pytest.mark.row("I-C39")
async def test_a_view_grows_old_when_it_is_replaced_and_not_before(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    """Proves that a click which changes data only leaves what is shown as good as it was."""

    async def on_button(self: Counter, ctx: Context) -> Answer:
        self.data.clicks += 1
        return REFRESH

    kinds["aging"] = kind = variant(counter, stale="reject", on_button=on_button)
    await desk.restart()
    handle = await desk.start(kind)
    await desk.dispatch(button(handle.id))
    assert (await desk.click("More")).result == "kept"
    assert desk.view.text == "2"


@pytest.mark.row("I-C38", "I-C80")
async def test_a_denied_delivery_leaves_no_trace(desk: Desk, counter: Kind, store: Store) -> None:
    handle = await desk.start(counter)
    before = await records(store, handle.id)
    await desk.dispatch(button(handle.id, counter.more, user=User("bob")))
    assert await records(store, handle.id) == before
