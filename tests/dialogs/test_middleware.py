"""Middleware: alone, in what order it is asked and what its verdicts do; and before dialogs, on every engine."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sojourn.dialogs import Dialogs
from sojourn.dialogs.context import Context
from sojourn.dialogs.filters import Filter, anyone, filtered, nobody
from sojourn.dialogs.middleware import Middleware, MiddlewareList, Phase, Priority, Verdict
from sojourn.errors import InvalidError, MiddlewareFailedError
from sojourn.kernel import Store
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import Counter, Kind, Kinds, Oops, heard, records, telling, variant

CTX = cast("Context", SimpleNamespace(dialog_id="d1", interaction="a click", meta={"trace": 7}))


class Asked:
    """Middleware and filters that say what they were told to, and note that they were asked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def at_once(self, name: str, *, says: object = None) -> Middleware:
        def ask(_: Context) -> Verdict:
            self.names.append(name)
            return cast("Verdict", says)

        return ask

    def later(self, name: str, *, says: object = None) -> Middleware:
        async def ask(_: Context) -> Verdict:
            self.names.append(name)
            return cast("Verdict", says)

        return ask

    def filter(self, *, says: bool) -> Filter:
        return cast("Filter", self.at_once("filter", says=says))


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def listed() -> MiddlewareList:
    return MiddlewareList()


@pytest.mark.row("I-C61")
async def test_they_are_asked_from_high_to_low_and_equals_in_the_order_of_adding(
    listed: MiddlewareList, asked: Asked
) -> None:
    for name, priority in [
        ("low monitor", Priority.LOW_MONITOR),
        ("low", Priority.LOW),
        ("normal 1", Priority.NORMAL),
        ("lowest", Priority.LOWEST),
        ("high monitor", Priority.HIGH_MONITOR),
        ("low 2", Priority.LOW),
        ("highest 1", Priority.HIGHEST),
        ("high", Priority.HIGH),
        ("normal 2", Priority.NORMAL),
        ("highest 2", Priority.HIGHEST),
    ]:
        listed.add((asked.later if len(name) % 2 else asked.at_once)(name), priority)
    assert await listed.judge(CTX, asked.filter(says=True)) is True
    before = ["high monitor", "highest 1", "highest 2", "high", "normal 1", "normal 2"]
    assert asked.names == [*before, "filter", "low", "low 2", "lowest", "low monitor"]


@pytest.mark.row("I-C61")
def test_what_is_listed_is_shown_in_the_order_of_asking(listed: MiddlewareList, asked: Asked) -> None:
    low, one, two = (asked.at_once(name) for name in ("low", "one", "two"))
    listed.add(low, Priority.LOW)
    listed.add(one)
    listed.add(two)
    assert list(listed.view) == [one, two, low]
    assert listed.remove(one) is True
    assert listed.remove(one) is False
    assert list(listed.view) == [two, low]
    listed.add(one, Priority.HIGH)
    assert list(listed.view) == [one, two, low]
    listed.clear()
    assert list(listed.view) == []


@pytest.mark.row("I-C62")
@pytest.mark.parametrize("says", [Verdict.PASS, True, None])
async def test_a_pass_asks_the_next(listed: MiddlewareList, asked: Asked, says: object) -> None:
    listed.add(asked.at_once("one", says=says))
    listed.add(asked.later("two", says=says))
    assert await listed.judge(CTX, asked.filter(says=True)) is True
    assert asked.names == ["one", "two", "filter"]


@pytest.mark.row("I-C62")
@pytest.mark.parametrize("says", [Verdict.DENY, False])
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])
async def test_a_denial_asks_nobody_else(
    listed: MiddlewareList, asked: Asked, says: object, priority: Priority
) -> None:
    listed.add(asked.later("denies", says=says), priority)
    listed.add(asked.at_once("after", says=Verdict.FORCE_PASS), priority)
    assert await listed.judge(CTX, asked.filter(says=True)) is False
    assert asked.names == (["denies"] if priority is Priority.HIGH else ["filter", "denies"])


@pytest.mark.row("I-C62")
@pytest.mark.parametrize("allows", [True, False])
async def test_forcing_skips_all_others_but_not_the_filter_of_the_dialog(
    listed: MiddlewareList, asked: Asked, *, allows: bool
) -> None:
    listed.add(asked.at_once("forces", says=Verdict.FORCE_PASS), Priority.HIGH)
    listed.add(asked.at_once("denies", says=Verdict.DENY))
    listed.add(asked.at_once("denies too", says=Verdict.DENY), Priority.LOW)
    assert await listed.judge(CTX, asked.filter(says=allows)) is allows
    assert asked.names == ["forces", "filter"]


@pytest.mark.row("I-C62")
async def test_forcing_skips_the_filter_where_that_was_asked_for(listed: MiddlewareList, asked: Asked) -> None:
    listed.add(asked.at_once("forces", says=Verdict.FORCE_PASS), skips_filter=True)
    assert await listed.judge(CTX, asked.filter(says=False)) is True
    assert asked.names == ["forces"]


@pytest.mark.row("I-C62")
async def test_only_forcing_skips_the_filter(listed: MiddlewareList, asked: Asked) -> None:
    listed.add(asked.at_once("passes", says=Verdict.PASS), Priority.HIGH, skips_filter=True)
    assert await listed.judge(CTX, nobody) is False
    listed.add(asked.at_once("forces late", says=Verdict.FORCE_PASS), Priority.LOW, skips_filter=True)
    assert await listed.judge(CTX, nobody) is False
    assert asked.names == ["passes", "passes"]


@pytest.mark.row("I-C62")
async def test_forcing_behind_the_filter_keeps_those_below_from_denying(listed: MiddlewareList, asked: Asked) -> None:
    listed.add(asked.at_once("forces", says=Verdict.FORCE_PASS), Priority.LOW)
    listed.add(asked.at_once("denies", says=Verdict.DENY), Priority.LOWEST)
    assert await listed.judge(CTX, anyone) is True


@pytest.mark.row("I-C63")
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("raised", [LookupError("on purpose"), asyncio.CancelledError()])
async def test_an_error_says_which_middleware_which_dialog_and_what_was_handed_along(
    listed: MiddlewareList, *, waits: bool, raised: BaseException
) -> None:
    def at_once(_: Context) -> Verdict:
        raise raised

    async def later(_: Context) -> Verdict:
        raise raised

    breaks = later if waits else at_once
    listed.add(breaks)
    with pytest.raises(MiddlewareFailedError) as failed:
        await listed.judge(CTX, anyone)
    error = failed.value
    assert error.__cause__ is raised
    assert (error.middleware, error.dialog_id, error.interaction) == (breaks, "d1", "a click")
    assert error.meta is CTX.meta


@pytest.mark.row("I-C63")
async def test_the_error_of_a_filter_is_told_like_that_of_a_middleware(listed: MiddlewareList) -> None:
    @filtered
    def breaks(_: Context) -> bool:
        raise LookupError("on purpose")

    with pytest.raises(MiddlewareFailedError) as failed:
        await listed.judge(CTX, breaks)
    assert failed.value.middleware is breaks


@pytest.mark.row("I-C63")
@pytest.mark.parametrize("says", ["pass", "deny", 0, 1, object(), Phase.START])
async def test_a_middleware_that_says_something_else_lets_nothing_through(
    listed: MiddlewareList, asked: Asked, says: object
) -> None:
    listed.add(asked.later("odd", says=says))
    with pytest.raises(MiddlewareFailedError) as failed:
        await listed.judge(CTX, anyone)
    assert isinstance(failed.value.__cause__, InvalidError)


async def test_a_filter_that_cannot_be_called_lets_nothing_through(listed: MiddlewareList) -> None:
    with pytest.raises(MiddlewareFailedError):
        await listed.judge(CTX, cast("Filter", None))


async def test_a_cancellation_goes_on_to_whoever_asked(listed: MiddlewareList) -> None:
    reached = asyncio.Event()

    async def wait(_: Context) -> None:
        reached.set()
        await asyncio.Event().wait()

    listed.add(wait)
    judging = asyncio.ensure_future(listed.judge(CTX, anyone))
    await reached.wait()
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging


@pytest.mark.row("I-C61")
async def test_one_that_removes_itself_or_adds_another_changes_the_next_interaction_only(
    listed: MiddlewareList, asked: Asked
) -> None:
    def goes(_: Context) -> None:
        asked.names.append("goes")
        listed.remove(goes)
        listed.add(asked.at_once("came"), Priority.LOW)

    listed.add(goes)
    listed.add(asked.at_once("stays"))
    assert await listed.judge(CTX, anyone) is True
    assert asked.names == ["goes", "stays"]
    assert await listed.judge(CTX, anyone) is True
    assert asked.names == ["goes", "stays", "stays", "came"]


def test_one_middleware_is_added_once(listed: MiddlewareList) -> None:
    class Guard:
        def ask(self, _: Context) -> None: ...

    guard = Guard()
    listed.add(guard.ask)
    with pytest.raises(InvalidError):
        listed.add(guard.ask, Priority.LOW)
    listed.add(Guard().ask)
    assert listed.remove(guard.ask) is True


@pytest.mark.parametrize("given", [None, "middleware", Verdict.PASS])
def test_what_cannot_be_called_is_refused(listed: MiddlewareList, given: Any) -> None:
    with pytest.raises(InvalidError):
        listed.add(given)


@pytest.mark.parametrize("priority", [-1, 7, "high", None])
def test_what_is_no_priority_is_refused(listed: MiddlewareList, asked: Asked, priority: Any) -> None:
    with pytest.raises(InvalidError):
        listed.add(asked.at_once("one"), priority)
    assert list(listed.view) == []


# -- Before dialogs ---------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C61", "I-C62")
async def test_middleware_is_asked_in_order_around_the_filter_and_hands_on_to_the_handler(
    desk: Desk, counter: Kind, kinds: Kinds, asked: Asked
) -> None:
    async def on_button(_: Counter, ctx: Context) -> None:
        asked.names.append(f"handler of {ctx.meta['by']}")

    kinds["asked"] = kind = variant(counter, update_filter=filtered(asked.filter(says=True)), on_button=on_button)
    await desk.restart()
    dialogs = desk.dialogs
    dialogs.use(asked.later("low"), at=Phase.UPDATE, priority=Priority.LOW)
    dialogs.use(asked.at_once("first"), at=Phase.UPDATE)
    dialogs.use(asked.later("second"), at=Phase.UPDATE)
    dialogs.use(asked.at_once("start"), at=Phase.START)
    dialogs.use(lambda ctx: ctx.meta.update(by="ann"), at=Phase.UPDATE, priority=Priority.HIGH)
    handle = await desk.start(kind)
    assert asked.names == ["start"]
    assert (await desk.dispatch(button(handle.id))).result == "kept"
    assert asked.names == ["start", "first", "second", "filter", "low", "handler of ann"]


@pytest.mark.row("I-C62")
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])
async def test_a_denial_before_a_start_leaves_nothing_and_the_next_start_works(
    desk: Desk, counter: Kind, store: Store, asked: Asked, priority: Priority
) -> None:
    told = telling(desk.dialogs)
    allow = desk.dialogs.use(asked.later("denies", says=Verdict.DENY), at=Phase.START, priority=priority)
    assert (await desk.start(counter, id="one")).outcome == "denied"
    assert desk.last.notices
    assert counter.diary == []
    assert await records(store, "one") == []
    assert allow() is True
    assert allow() is False
    assert (await desk.start(counter, id="one")).outcome == "started"
    assert await heard(told, "denied", "started")


@pytest.mark.row("I-C62")
async def test_a_denial_before_a_use_changes_nothing_and_the_next_use_works(
    desk: Desk, counter: Kind, asked: Asked
) -> None:
    handle = await desk.start(counter)
    before = await handle.info()
    allow = desk.dialogs.use(asked.at_once("denies", says=False), at=Phase.UPDATE)
    assert (await desk.click("Refresh")).result == "denied"
    assert desk.last.notices
    assert await handle.info() == before
    allow()
    assert (await desk.click("Refresh")).result == "refreshed"
    assert counter.diary == ["start", "refresh"]


@pytest.mark.row("I-C62")
@pytest.mark.parametrize("skips_filter", [False, True])
async def test_forcing_lets_in_who_may_not_only_where_that_was_asked_for(
    desk: Desk, counter: Kind, kinds: Kinds, asked: Asked, *, skips_filter: bool
) -> None:
    kinds["closed"] = closed = variant(counter, start_filter=nobody, update_filter=nobody)
    await desk.restart()
    for phase in (Phase.START, Phase.UPDATE):
        forces = asked.at_once("forces", says=Verdict.FORCE_PASS)
        desk.dialogs.use(forces, at=phase, skips_filter=skips_filter, priority=Priority.HIGH)
        desk.dialogs.use(asked.at_once("denies", says=Verdict.DENY), at=phase)
    handle = await desk.start(closed)
    assert handle.outcome == ("started" if skips_filter else "denied")
    if skips_filter:
        assert (await desk.click("More")).result == "kept"
    assert set(asked.names) == {"forces"}


@pytest.mark.row("I-C63")
@pytest.mark.parametrize("waits", [False, True])
async def test_middleware_that_raises_before_a_start_is_reported_and_the_next_start_works(
    desk: Desk, counter: Kind, store: Store, *, waits: bool
) -> None:
    def at_once(_: Context) -> None:
        raise Oops("on purpose")

    async def later(_: Context) -> None:
        raise Oops("on purpose")

    breaks = later if waits else at_once
    told, reported = telling(desk.dialogs), list[MiddlewareFailedError]()
    desk.dialogs.errors.start.set(MiddlewareFailedError, lambda error, _: reported.append(error))
    allow = desk.dialogs.use(breaks, at=Phase.START)
    assert (await desk.start(counter, id="one", meta={"trace": 7})).outcome == "denied"
    (error,) = reported
    assert (error.middleware, error.dialog_id, error.interaction) == (breaks, "one", desk.last)
    assert error.meta == {"trace": 7}
    assert isinstance(error.__cause__, Oops)
    assert desk.last.notices
    assert await records(store, "one") == []
    allow()
    assert (await desk.start(counter, id="one")).outcome == "started"
    assert await heard(told, "denied", "started")


@pytest.mark.row("I-C63")
@pytest.mark.parametrize("waits", [False, True])
async def test_middleware_that_raises_before_a_use_is_reported_and_the_next_use_works(
    desk: Desk, counter: Kind, *, waits: bool
) -> None:
    def at_once(_: Context) -> None:
        raise Oops("on purpose")

    async def later(_: Context) -> None:
        raise Oops("on purpose")

    breaks = later if waits else at_once
    told, reported = telling(desk.dialogs), list[MiddlewareFailedError]()
    desk.dialogs.errors.update.set(MiddlewareFailedError, lambda error, _: reported.append(error))
    handle = await desk.start(counter)
    allow = desk.dialogs.use(breaks, at=Phase.UPDATE)
    clicked = await desk.click("More")
    (error,) = reported
    assert clicked.result == "denied"
    assert clicked.error is error
    assert (error.middleware, error.dialog_id, error.interaction) == (breaks, handle.id, desk.last)
    assert desk.last.notices
    allow()
    assert (await desk.click("More")).result == "kept"
    assert counter.diary == ["start", "more"]
    assert await heard(told, "started", "denied", "updated")


def test_a_phase_that_is_none_is_refused(asked: Asked) -> None:
    store = cast("Store", SimpleNamespace(clock=None))
    with pytest.raises(InvalidError):
        Dialogs(store).use(asked.at_once("never"), at=cast("Phase", "end"))
