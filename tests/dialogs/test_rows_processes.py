"""Rows about processes: those that die, come back, work side by side, wake up too late, or run older code."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.dialogs import KEEP, Answer, Cause, Context, Dialogs
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import SojournError
from sojourn.kernel import Store
from sojourn.testing import FaultyEngine
from sojourn.testing.dialogs import Desk, button, command
from tests.dialogs.conftest import (
    BRIEF_S,
    MINUTES,
    Count,
    Counter,
    Kind,
    Kinds,
    Make,
    Oops,
    Start,
    in_time,
    soon,
    variant,
)
from tests.documents.conftest import HastyClock, settled, until

MINUTE = timedelta(minutes=1)


async def clicks(desk: Desk, counter: Kind, dialog_id: str) -> Any:
    """End a dialog, and return how many clicks it has counted."""
    assert (await desk.dispatch(button(dialog_id, counter.done))).result == "ended"
    return (await desk.handle(dialog_id).wait()).result


@pytest.mark.row("I-C56")
async def test_a_process_that_dies_in_a_handler_has_changed_nothing(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that the delivery is handled when it comes again, at the latest when the dead one's lease has ended."""
    other = await elsewhere()
    handle = await desk.start(counter, ttl=None)
    click = button(handle.id, counter.more)
    counter.gate.close()
    dying = asyncio.create_task(other.dispatch(click))
    await until(lambda: counter.gate.inside)
    other.wire.cut()
    counter.gate.open()
    assert (await soon(dying)).result == "unavailable"
    await other.crash()
    info = await handle.info()
    assert info is not None
    assert info.view is not None
    assert info.view.text == "0"
    clock.advance(limits.DIALOG_LEASE)
    assert (await desk.dispatch(click.again())).result == "kept"
    assert counter.diary == ["start", "more", "more"]
    assert await clicks(desk, counter, handle.id) == 1


@pytest.mark.row("I-C56")
@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("commit", [0, 1, 2], ids=["lease", "step", "effects"])
async def test_wherever_a_process_dies_a_delivery_counts_once(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock, commit: int, *, arrives: bool
) -> None:
    """Proves it for a death in each commit of a click, before and after it: the platform delivers it again."""
    other = await elsewhere()
    handle = await desk.start(counter, ttl=None)
    click = button(handle.id, counter.more)
    other.wire.break_after(commit, arrives=arrives)
    dying = asyncio.create_task(other.dispatch(click))
    await soon(other.wire.broken.wait())
    await other.crash()
    await soon(dying)
    clock.advance(limits.DIALOG_LEASE)
    is_committed = commit > 1 or (commit == 1 and arrives)
    assert (await desk.dispatch(click.again())).result == ("duplicate" if is_committed else "kept")
    assert (await desk.dispatch(click.again())).result == "duplicate"
    assert await clicks(desk, counter, handle.id) == 1


@pytest.mark.row("I-C56")
async def test_the_effects_of_a_process_that_died_are_performed_by_another(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    other = await elsewhere()
    await desk.start(counter)
    desk.screen.refusals = 1
    assert (await other.click("More")).result == "kept"
    await other.crash()
    assert desk.view.text == "0"
    async with desk.dialogs, asyncio.timeout(30):
        while desk.view.text == "0":
            clock.advance(limits.DUE_POLL)
            await settled(desk.store)
    assert desk.view.text == "1"
    assert counter.diary == ["start", "more"]


@pytest.mark.row("I-C57")
async def test_after_a_restart_a_click_finds_everything_as_it_was(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    seen = list[tuple[Any, ...]]()

    async def on_button(self: Counter, ctx: Context) -> Answer:
        seen.append((self.data, self.page, self.stage, self.extra, self.result, ctx.remaining, ctx.owner, ctx.origin))
        self.data, self.page, self.stage = Count(7, ["a", "ü"]), 3, "second"
        self.extra, self.result = {"mark": [1, None]}, 5
        return KEEP

    kinds["kept"] = kind = variant(counter, on_button=on_button)
    await desk.restart()
    handle = await desk.start(kind)
    await desk.dispatch(button(handle.id))
    before = await handle.info()
    await desk.restart()
    assert await desk.handle(handle.id).info() == before
    await desk.advance(MINUTE)
    assert (await desk.dispatch(button(handle.id))).result == "kept"
    assert before is not None
    expected = (
        Count(7, ["a", "ü"]),
        3,
        "second",
        {"mark": [1, None]},
        5,
        MINUTES - MINUTE,
        before.owner,
        before.origin,
    )
    assert seen[1] == expected
    await desk.restart()
    await desk.advance(MINUTES)
    ended = await desk.handle(handle.id).wait()
    assert (ended.code, ended.result) == ("expired", 5)
    assert counter.diary == ["start", "end expired"]


@pytest.mark.row("I-C58")
async def test_a_click_is_the_same_in_every_process(desk: Desk, counter: Kind, elsewhere: Start) -> None:
    other = await elsewhere()
    handle = await desk.start(counter)
    waiting = asyncio.create_task(handle.wait())
    for number, process in enumerate((desk, other, other, desk), start=1):
        dispatched = await process.click("More")
        assert (dispatched.result, dispatched.dialog_id) == ("kept", handle.id)
        assert [view.text for view in process.last.edits] == [str(number)]
    await other.click("Done")
    await desk.dialogs.expire()
    assert (await desk.handle(handle.id).wait()).result == 4
    waiting.cancel()


@pytest.mark.row("I-C58", "I-C37", "I-C38")
async def test_clicks_in_two_processes_each_delivered_twice_count_once(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that of 50 clicks, delivered to both of two processes at once, each is handled once and none is lost."""
    other = await elsewhere()
    handle = await desk.start(counter, ttl=None)

    async def deliver(process: Desk, number: int) -> str:
        for _ in range(1_000):
            click = button(handle.id, counter.more, delivery_id=str(number))
            result = (await process.dispatch(click)).result
            if result != "busy":
                return result
        raise AssertionError("it was busy all the time")

    with clock.hasty(BRIEF_S):
        results = await soon(asyncio.gather(*(deliver(one, n) for n in range(50) for one in (desk, other))))
    assert sorted(set(results)) == ["duplicate", "kept"]
    assert results.count("kept") == 50
    assert await clicks(desk, counter, handle.id) == 50
    assert counter.gate.crowd == 1


@pytest.mark.row("I-C59")
async def test_who_was_paused_past_its_lease_writes_nothing(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that a commit which arrives after another process took over is refused, and its click not lost."""
    other = await elsewhere()
    handle = await desk.start(counter)
    late = button(handle.id, counter.more, 10)
    counter.gate.close()
    slow = asyncio.create_task(other.dispatch(late))
    await until(lambda: counter.gate.inside)
    other.wire.hold()
    counter.gate.open()
    await until(lambda: other.wire.held)
    clock.advance(limits.DIALOG_LEASE)
    assert (await desk.dispatch(button(handle.id, counter.more))).result == "kept"
    between = await handle.info()
    assert between is not None
    assert between.view is not None
    assert between.view.text == "1"
    with clock.hasty(BRIEF_S):
        other.wire.resume()
        dispatched = await soon(slow)
        if dispatched.result != "kept":
            assert (await desk.dispatch(late.again())).result == "kept"
    assert await clicks(desk, counter, handle.id) == 11


@pytest.mark.row("I-C59")
async def test_a_late_commit_is_refused_while_another_process_holds_the_dialog(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that the lease alone refuses it: the dialog is as the late process has read it."""
    other = await elsewhere()
    handle = await desk.start(counter)
    slow = asyncio.create_task(other.dispatch(button(handle.id, counter.more, 10)))
    other.wire.break_after(1, arrives=False)
    await soon(other.wire.broken.wait())
    clock.advance(limits.DIALOG_LEASE)
    counter.gate.close()
    holding = asyncio.create_task(desk.dispatch(button(handle.id, counter.more)))
    await until(lambda: counter.gate.inside)
    before = await handle.info()
    other.wire.resume()
    clock.advance(limits.REPEAT_BACKOFF_MAX)
    await settled(other.store)
    after = await handle.info()
    assert before is not None
    assert after is not None
    assert after.revision == before.revision
    counter.gate.open()
    assert (await soon(holding)).result == "kept"
    with clock.hasty(BRIEF_S):
        late = await in_time(desk.store, clock, slow, timedelta(milliseconds=100))
    assert await clicks(desk, counter, handle.id) == (11 if late.result == "kept" else 1)


class Total(msgspec.Struct):
    """What a later version keeps in place of a `Count`."""

    total: int
    unit: str


def later(counter: Kind, migrate: Any) -> Make:
    """Make the dialogs of a process with version 2 of the counter."""

    async def on_button(self: Any, ctx: Context) -> Answer:
        self.data.total += 1
        await ctx.edit_origin(f"{self.data.total} {self.data.unit}")
        return KEEP

    kind = variant(counter, __annotations__={"data": Total}, on_button=on_button, migrate=classmethod(migrate))

    def make(store: Store) -> Dialogs:
        dialogs = Dialogs(store)
        dialogs.register("counter", version=2)(kind)
        return dialogs

    return make


@pytest.mark.row("I-C60")
async def test_a_dialog_of_an_older_version_is_migrated(desk: Desk, counter: Kind, elsewhere: Start) -> None:
    asked = list[tuple[int, Any]]()

    def migrate(cls: type, version: int, data: Any) -> Any:
        asked.append((version, data))
        return {"total": data["clicks"], "unit": "clicks"}

    handle = await desk.start(counter)
    await desk.click("More")
    other = await elsewhere(later(counter, migrate))
    assert (await other.dispatch(button(handle.id))).result == "kept"
    assert desk.view.text == "2 clicks"
    assert asked[0] == (1, {"clicks": 1, "words": []})
    asked.clear()
    assert (await other.dispatch(button(handle.id))).result == "kept"
    assert asked == []
    info = await handle.info()
    assert info is not None
    assert info.version == 2
    older = await desk.dispatch(button(handle.id, counter.more))
    assert (older.result, older.cause) == ("missing", Cause.VERSION)
    assert desk.last.notices
    assert await handle.info() == info


@pytest.mark.row("I-C60")
async def test_what_cannot_be_migrated_is_missing_and_breaks_nothing(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that it stays for whoever can read it, and that its deadline stops no other dialog from expiring."""

    def migrate(cls: type, version: int, data: Any) -> Any:
        raise Oops("on purpose")

    handle = await desk.start(counter)
    before = await handle.info()
    other = await elsewhere(later(counter, migrate))
    dispatched = await other.dispatch(button(handle.id, counter.more))
    assert (dispatched.result, dispatched.cause) == ("missing", Cause.VERSION)
    assert other.last.notices
    assert await handle.info() == before
    clock.advance(MINUTES)
    for _ in range(3):
        await soon(other.dialogs.expire())
    assert "end expired" not in counter.diary or counter.diary.count("end expired") == 1
    await desk.dialogs.expire()
    assert (await soon(handle.wait())).code == "expired"


@pytest.mark.row("I-C56")
@pytest.mark.parametrize("seed", range(5))
async def test_deliveries_count_once_while_answers_are_lost(
    make: Make, counter: Kind, clock: HastyClock, seed: int
) -> None:
    """Proves that a platform which repeats what was not answered for sure brings each click to count exactly once."""
    engine = FaultyEngine(MemoryEngine(clock=clock), seed, lose=0.1, drop=0.1, repeat=0.1, refuse=0.1, fail=0.05)
    async with Store(engine, clock=clock) as store, clock.rushing():
        dialogs = make(store)
        started = await _insist_start(dialogs, counter)
        for number in range(30):
            click = button(started, counter.more, delivery_id=str(number))
            async with asyncio.timeout(30):
                while (await dialogs.dispatch(click)).result not in {"kept", "duplicate"}:
                    click = click.again()
        async with asyncio.timeout(30):
            while (await dialogs.dispatch(button(started, counter.done))).result not in {"ended", "missing"}:
                pass
        assert (await dialogs.wait(started)).result == 30
        assert engine.faults.lost
        assert engine.faults.dropped


async def _insist_start(dialogs: Dialogs, counter: Kind) -> str:
    for number in range(20):
        try:
            handle = await dialogs.start(counter, command(), id=f"try{number}", ttl=None)
        except SojournError:  # what the faults made of it; anything else is one of ours
            continue
        if handle.outcome == "started":
            return handle.id
    raise AssertionError("no start got through")
