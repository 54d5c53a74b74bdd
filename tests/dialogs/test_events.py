"""The bus: alone, whom it tells of what and in which order; and that of dialogs, on every engine."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from sojourn import limits
from sojourn.dialogs.events import Bus, DialogEvent, EventFilter, EventName, Subscriber
from sojourn.dialogs.middleware import Priority
from sojourn.errors import InvalidError
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import Kind, heard, settled, soon, telling, until


def event(name: EventName = EventName.UPDATED, dialog_id: str = "d1") -> DialogEvent:
    return DialogEvent(name=name, dialog_id=dialog_id, type="counter")


class Told:
    """Subscribers that note what they were told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def at_once(self, name: str, do: Callable[[DialogEvent], object] | None = None) -> Subscriber:
        def tell(event: DialogEvent) -> None:
            self.names.append(name)
            if do is not None:
                do(event)

        return tell

    def later(self, name: str, do: Callable[[DialogEvent], object] | None = None) -> Subscriber:
        async def tell(event: DialogEvent) -> None:
            await asyncio.sleep(0)
            self.names.append(name)
            if do is not None:
                do(event)

        return tell


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def manual() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus(manual: ManualClock) -> Bus:
    return Bus(manual)


@pytest.mark.row("I-C67")
async def test_subscribers_are_told_from_high_to_low_and_equals_as_they_came(bus: Bus, told: Told) -> None:
    for name, priority in [
        ("low monitor", Priority.LOW_MONITOR),
        ("normal 1", Priority.NORMAL),
        ("lowest", Priority.LOWEST),
        ("high", Priority.HIGH),
        ("normal 2", Priority.NORMAL),
        ("high monitor", Priority.HIGH_MONITOR),
    ]:
        bus.subscribe((told.later if len(name) % 2 else told.at_once)(name), id=name, priority=priority)
    await bus.emit(event())
    assert told.names == ["high monitor", "high", "normal 1", "normal 2", "lowest", "low monitor"]
    assert list(bus.subscribers) == told.names


async def test_a_subscriber_is_told_of_the_events_that_it_named_or_of_all(bus: Bus, told: Told) -> None:
    bus.subscribe(told.at_once("ends"), EventName.ENDED, EventName.EXPIRED)
    assert bus.wants(EventName.ENDED)
    assert not bus.wants(EventName.STARTED)
    bus.subscribe(told.at_once("all"), priority=Priority.LOW)
    assert bus.wants(EventName.STARTED)
    for name in EventName:
        told.names.clear()
        await bus.emit(event(name))
        assert told.names == (["ends", "all"] if name in {EventName.ENDED, EventName.EXPIRED} else ["all"])


@pytest.mark.row("I-C66")
@pytest.mark.parametrize("waits", [False, True])
async def test_the_filter_of_a_subscriber_counts(bus: Bus, told: Told, *, waits: bool) -> None:
    async def later(event: DialogEvent) -> bool:
        return event.dialog_id == "d2"

    def at_once(event: DialogEvent) -> bool:
        return event.dialog_id == "d2"

    bus.subscribe(told.at_once("picky"), filter=later if waits else at_once)
    await bus.emit(event())
    await bus.emit(event(dialog_id="d2"))
    assert told.names == ["picky"]


@pytest.mark.row("I-C66")
async def test_what_is_handled_is_told_only_to_those_who_want_that_too(bus: Bus, told: Told) -> None:
    bus.subscribe(told.later("before"), priority=Priority.HIGH)
    bus.subscribe(told.later("handles", DialogEvent.handle))
    bus.subscribe(told.at_once("after"), priority=Priority.LOW)
    bus.subscribe(told.at_once("wants all"), priority=Priority.LOWEST, ignores_handled=False)
    one = event()
    await bus.emit(one)
    assert told.names == ["before", "handles", "wants all"]
    assert one.is_handled


@pytest.mark.row("I-C68")
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("raised", [LookupError("on purpose"), asyncio.CancelledError(), TimeoutError()])
async def test_a_subscriber_that_raises_is_logged_and_all_others_are_told(
    bus: Bus, told: Told, caplog: pytest.LogCaptureFixture, *, raised: BaseException, waits: bool
) -> None:
    def breaks(_: DialogEvent) -> None:
        raise raised

    bus.subscribe((told.later if waits else told.at_once)("breaks", breaks), id="breaks")
    bus.subscribe(told.at_once("after"))
    await bus.emit(event())
    assert told.names == ["breaks", "after"]
    (record,) = caplog.records
    assert "'breaks'" in record.message
    assert record.exc_info is not None
    assert record.exc_info[0] is type(raised)


@pytest.mark.row("I-C68")
async def test_a_filter_that_raises_is_logged_and_its_subscriber_is_not_told(
    bus: Bus, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: DialogEvent) -> bool:
        raise LookupError("on purpose")

    bus.subscribe(told.at_once("never"), filter=breaks)
    bus.subscribe(told.at_once("after"))
    await bus.emit(event())
    assert told.names == ["after"]
    assert len(caplog.records) == 1


@pytest.mark.row("I-C68")
async def test_a_subscriber_that_hangs_is_logged_and_cancelled_when_its_time_is_over(
    bus: Bus, told: Told, manual: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    became: list[str] = []

    async def hangs(_: DialogEvent) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            became.append("cancelled")
            raise

    bus.subscribe(hangs)
    bus.subscribe(told.at_once("after"))
    emitting = asyncio.ensure_future(bus.emit(event()))
    await manual.until_sleeping(1)
    assert told.names == []
    manual.advance(limits.DIALOG_HANDLER)
    await emitting
    assert became == ["cancelled"]
    assert told.names == ["after"]
    assert len(caplog.records) == 1


@pytest.mark.row("I-C69")
@pytest.mark.parametrize("waits", [False, True])
async def test_a_subscriber_that_wants_one_event_gets_one_of_many_at_once(bus: Bus, told: Told, *, waits: bool) -> None:
    async def slow(_: DialogEvent) -> bool:
        await asyncio.sleep(0)
        return True

    bus.subscribe(told.later("once"), once=True, id="one", filter=slow if waits else None)
    await asyncio.gather(*(bus.emit(event()) for _ in range(16)))
    assert told.names == ["once"]
    assert bus.subscribers == {}
    assert not bus.wants(EventName.UPDATED)
    bus.subscribe(told.at_once("again"), id="one")


@pytest.mark.row("I-C69")
async def test_an_event_that_its_filter_refuses_does_not_count(bus: Bus, told: Told) -> None:
    bus.subscribe(told.at_once("once"), once=True, filter=lambda event: event.dialog_id == "d2")
    await bus.emit(event())
    assert told.names == []
    await bus.emit(event(dialog_id="d2"))
    await bus.emit(event(dialog_id="d2"))
    assert told.names == ["once"]


@pytest.mark.row("I-C70")
async def test_a_second_subscriber_of_one_id_is_refused(bus: Bus, told: Told) -> None:
    first = told.at_once("first")
    bus.subscribe(first, id="one")
    with pytest.raises(InvalidError, match="one"):
        bus.subscribe(told.at_once("second"), id="one")
    assert bus.subscribers == {"one": first}
    assert bus.unsubscribe("one") is True
    assert bus.unsubscribe("one") is False
    bus.subscribe(told.at_once("third"), id="one")
    await bus.emit(event())
    assert told.names == ["third"]


@pytest.mark.row("I-C70")
async def test_a_locked_subscriber_is_removed_only_by_who_subscribed_it(bus: Bus, told: Told) -> None:
    remove = bus.subscribe(told.at_once("locked"), id="one", locked=True)
    with pytest.raises(InvalidError, match="locked"):
        bus.unsubscribe("one")
    await bus.emit(event())
    assert told.names == ["locked"]
    remove()
    await bus.emit(event())
    assert told.names == ["locked"]


async def test_subscribers_without_an_id_have_one_of_their_own(bus: Bus, told: Told) -> None:
    bus.subscribe(told.at_once("taken"), id="1")
    remove = bus.subscribe(told.at_once("first"))
    bus.subscribe(told.at_once("second"))
    assert len(bus.subscribers) == 3
    remove()
    remove()
    await bus.emit(event())
    assert told.names == ["taken", "second"]


@pytest.mark.row("I-C71")
async def test_a_subscriber_is_exchanged_again_and_again_and_keeps_its_place(bus: Bus, told: Told) -> None:
    shown = first = told.at_once("first")
    bus.subscribe(told.at_once("before"), priority=Priority.HIGH)
    bus.subscribe(first, EventName.ENDED, id="one", locked=True)
    bus.subscribe(told.at_once("after"))
    for name in ("second", "third", "fourth"):
        new = told.at_once(name)
        assert bus.swap("one", new) is shown
        assert bus.subscribers["one"] is new
        shown = new
        told.names.clear()
        await bus.emit(event(EventName.ENDED))
        assert told.names == ["before", name, "after"]
    await bus.emit(event(EventName.UPDATED))
    assert told.names == ["before", "fourth", "after", "before", "after"]
    with pytest.raises(InvalidError):
        bus.swap("two", first)
    with pytest.raises(InvalidError):
        bus.swap("one", cast("Subscriber", None))
    assert bus.subscribers["one"] is shown


async def test_who_goes_while_an_event_is_told_is_not_told_of_it_and_who_comes_is_told_of_the_next(
    bus: Bus, told: Told
) -> None:
    def change(_: DialogEvent) -> None:
        bus.unsubscribe("changes")
        bus.unsubscribe("goes")
        bus.subscribe(told.at_once("comes"), id="comes")

    bus.subscribe(told.later("changes", change), id="changes")
    bus.subscribe(told.at_once("goes"), id="goes")
    bus.subscribe(told.at_once("stays"), priority=Priority.LOW)
    await bus.emit(event())
    assert told.names == ["changes", "stays"]
    told.names.clear()
    await bus.emit(event())
    assert told.names == ["comes", "stays"]


async def test_a_cancellation_of_the_telling_goes_on(bus: Bus, told: Told) -> None:
    reached = asyncio.Event()

    async def waits(_: DialogEvent) -> None:
        reached.set()
        await asyncio.Event().wait()

    bus.subscribe(waits)
    bus.subscribe(told.at_once("after"))
    emitting = asyncio.ensure_future(bus.emit(event()))
    await reached.wait()
    emitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await emitting
    assert told.names == []


@pytest.mark.parametrize(
    ("events", "options"),
    [
        (("started!",), {}),
        ((None,), {}),
        ((), {"id": ""}),
        ((), {"priority": 7}),
        ((), {"priority": "high"}),
        ((), {"filter": cast("EventFilter", "all")}),
    ],
)
def test_what_makes_no_sense_is_refused(bus: Bus, told: Told, events: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        bus.subscribe(told.at_once("never"), *events, **options)
    assert bus.subscribers == {}


def test_what_cannot_be_called_is_refused(bus: Bus) -> None:
    with pytest.raises(InvalidError):
        bus.subscribe(cast("Subscriber", None))


# -- Of dialogs -------------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C68")
async def test_a_subscriber_that_raises_changes_nothing_of_a_dialog(desk: Desk, counter: Kind) -> None:
    def breaks(_: DialogEvent) -> None:
        raise LookupError("on purpose")

    desk.dialogs.subscribe(breaks, priority=Priority.HIGH)
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    assert (await desk.click("More")).result == "kept"
    assert (await desk.click("Done")).result == "ended"
    assert (await handle.wait()).result == 1
    assert await heard(told, "started", "updated", "ended")


@pytest.mark.row("I-C68")
async def test_nobody_waits_for_a_subscriber_that_takes_a_while(desk: Desk, counter: Kind) -> None:
    free, told = asyncio.Event(), list[str]()

    async def slow(event: DialogEvent) -> None:
        await free.wait()
        told.append(event.name)

    desk.dialogs.subscribe(slow)
    handle = await soon(desk.start(counter))
    assert (await soon(desk.click("More"))).result == "kept"
    assert (await soon(desk.click("Done"))).result == "ended"
    assert (await soon(handle.wait())).result == 1
    assert told == []
    free.set()
    await until(lambda: len(told) == 3)
    assert sorted(told) == ["ended", "started", "updated"]


@pytest.mark.row("I-C68")
async def test_a_subscriber_that_unsubscribes_itself_is_told_no_more(desk: Desk, counter: Kind, told: Told) -> None:
    await desk.start(counter)
    remove = desk.dialogs.subscribe(told.at_once("leaves", lambda _: remove()))
    desk.dialogs.subscribe(told.at_once("stays"))

    def reached(count: int) -> bool:
        return len(told.names) >= count

    for at_least in (2, 3):
        await desk.click("More")
        await until(partial(reached, at_least))
    assert told.names == ["leaves", "stays", "stays"]


@pytest.mark.row("I-C69")
async def test_one_event_is_one_event_under_sixteen_clicks_at_once(
    desk: Desk, counter: Kind, store: Store, told: Told
) -> None:
    handle = await desk.start(counter)
    desk.dialogs.subscribe(told.later("once"), EventName.UPDATED, once=True)
    clicks = [desk.dialogs.dispatch(button(handle.id, counter.more, platform=desk.screen)) for _ in range(16)]
    assert {dispatched.result for dispatched in await asyncio.gather(*clicks)} == {"kept"}
    await until(lambda: told.names)
    await settled(store)
    assert told.names == ["once"]


@pytest.mark.row("I-C66", "I-C67")
async def test_filters_priorities_and_handled_events_hold_for_dialogs(desk: Desk, counter: Kind, told: Told) -> None:
    subscribe = desk.dialogs.subscribe
    subscribe(told.later("low"), EventName.UPDATED, priority=Priority.LOW)
    subscribe(told.at_once("never"), EventName.UPDATED, filter=lambda event: event.dialog_id == "another")
    subscribe(
        told.later("handles", DialogEvent.handle), EventName.UPDATED, filter=lambda event: event.type == "counter"
    )
    subscribe(told.at_once("high"), EventName.UPDATED, priority=Priority.HIGH)
    subscribe(told.at_once("lowest"), EventName.UPDATED, priority=Priority.LOWEST, ignores_handled=False)
    await desk.start(counter)
    await desk.click("More")
    await until(lambda: "lowest" in told.names)
    assert told.names == ["high", "handles", "lowest"]


@pytest.mark.row("I-C70", "I-C71")
async def test_subscribers_of_dialogs_are_exchanged_and_locked(desk: Desk, counter: Kind, told: Told) -> None:
    bus = desk.dialogs.events
    desk.dialogs.subscribe(told.at_once("first"), EventName.UPDATED, id="one", locked=True)
    with pytest.raises(InvalidError):
        desk.dialogs.subscribe(told.at_once("second"), id="one")
    with pytest.raises(InvalidError):
        bus.unsubscribe("one")
    await desk.start(counter)

    def reached(count: int) -> bool:
        return len(told.names) >= count

    for at, name in enumerate(("second", "third"), 1):
        bus.swap("one", told.at_once(name))
        await desk.click("More")
        await until(partial(reached, at))
    assert told.names == ["second", "third"]
