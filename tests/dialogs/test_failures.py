"""Error handlers alone: who is told of which error, and what becomes of what they raise themselves."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sojourn.dialogs.context import Context
from sojourn.dialogs.failures import Consumer, ErrorHandlers, Errors
from sojourn.errors import InvalidError
from sojourn.testing.dialogs import Desk
from tests.dialogs.conftest import Counter, Kind, Kinds, Oops, heard, telling, variant

CTX = cast("Context", SimpleNamespace(dialog_id="d1"))


class Broken(Exception): ...  # noqa: N818


class VeryBroken(Broken): ...


class Told:
    """Consumers that note what they were told."""

    def __init__(self) -> None:
        self.of: list[tuple[str, Any]] = []

    def at_once(self, name: str) -> Consumer[Any]:
        def tell(error: Exception, ctx: Context) -> None:
            assert ctx is CTX
            self.of.append((name, error))

        return tell

    def later(self, name: str) -> Consumer[Any]:
        async def tell(error: Exception, ctx: Context) -> None:
            assert ctx is CTX
            self.of.append((name, error))

        return tell


@pytest.fixture
def handlers() -> ErrorHandlers:
    return ErrorHandlers("update")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.row("I-C65")
async def test_an_error_goes_to_its_own_class_or_the_nearest_above_or_the_fallback(
    handlers: ErrorHandlers, told: Told
) -> None:
    handlers.set_fallback(told.at_once("fallback"))
    error = VeryBroken()
    await handlers.tell(error, CTX)
    handlers.set(Exception, told.at_once("any"))
    await handlers.tell(error, CTX)
    handlers.set(Broken, told.later("broken"))
    await handlers.tell(error, CTX)
    handlers.set(VeryBroken, told.at_once("very broken"))
    await handlers.tell(error, CTX)
    await handlers.tell(LookupError("x"), CTX)
    assert [name for name, _ in told.of] == ["fallback", "any", "broken", "very broken", "any"]
    assert all(found is error for _, found in told.of[:4])


@pytest.mark.row("I-C65")
def test_whether_there_is_a_consumer_can_be_asked_for_classes_and_errors(handlers: ErrorHandlers, told: Told) -> None:
    consumer = told.at_once("broken")
    handlers.set(Broken, consumer)
    assert handlers.has(Broken)
    assert handlers.has(VeryBroken)
    assert handlers.has(Broken())
    assert handlers.has(VeryBroken())
    assert not handlers.has(Exception)
    assert not handlers.has(LookupError())
    assert handlers.get(VeryBroken) is handlers.get(Broken()) is consumer
    assert handlers.get(LookupError) is None


@pytest.mark.row("I-C65")
async def test_consumers_are_replaced_removed_and_cleared(handlers: ErrorHandlers, told: Told) -> None:
    handlers.set_fallback(told.at_once("fallback"))
    handlers.set(Broken, told.at_once("first"))
    handlers.set(Broken, told.at_once("second"))
    await handlers.tell(Broken(), CTX)
    assert handlers.remove(VeryBroken) is False
    assert handlers.remove(Broken) is True
    assert handlers.remove(Broken) is False
    await handlers.tell(Broken(), CTX)
    handlers.set(Broken, told.at_once("third"))
    handlers.clear()
    assert not handlers.has(Broken)
    await handlers.tell(Broken(), CTX)
    assert [name for name, _ in told.of] == ["second", "fallback"]


@pytest.mark.row("I-C65")
async def test_what_nobody_is_told_of_is_logged_with_its_traceback(
    handlers: ErrorHandlers, caplog: pytest.LogCaptureFixture
) -> None:
    await handlers.tell(Broken("on purpose"), CTX)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "update of dialog d1" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Broken)


@pytest.mark.row("I-C49")
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("raised", [LookupError("again"), asyncio.CancelledError(), TimeoutError()])
async def test_what_a_consumer_raises_is_contained_and_logged(
    handlers: ErrorHandlers, caplog: pytest.LogCaptureFixture, *, raised: BaseException, waits: bool
) -> None:
    def at_once(_: Exception, __: Context) -> None:
        raise raised

    async def later(_: Exception, __: Context) -> None:
        raise raised

    handlers.set(Broken, later if waits else at_once)
    assert await handlers.tell(Broken(), CTX) is False
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is raised


async def test_whether_an_error_was_dealt_with_is_told_and_the_fallback_does_not_count(
    handlers: ErrorHandlers, told: Told
) -> None:
    handlers.set_fallback(told.at_once("fallback"))
    assert await handlers.tell(Broken(), CTX) is False
    handlers.set(Broken, told.later("broken"))
    assert await handlers.tell(VeryBroken(), CTX) is True


async def test_a_cancellation_of_whoever_tells_goes_on(handlers: ErrorHandlers) -> None:
    reached = asyncio.Event()

    async def wait(_: Exception, __: Context) -> None:
        reached.set()
        await asyncio.Event().wait()

    handlers.set(Broken, wait)
    telling = asyncio.ensure_future(handlers.tell(Broken(), CTX))
    await reached.wait()
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling


@pytest.mark.parametrize("kind", [object, BaseException, KeyboardInterrupt, "Exception", None, Broken()])
def test_what_is_no_class_of_exceptions_is_refused(handlers: ErrorHandlers, told: Told, kind: Any) -> None:
    with pytest.raises(InvalidError):
        handlers.set(kind, told.at_once("never"))


def test_what_cannot_be_called_is_refused(handlers: ErrorHandlers) -> None:
    with pytest.raises(InvalidError):
        handlers.set(Broken, cast("Consumer[Broken]", None))
    with pytest.raises(InvalidError):
        handlers.set_fallback(cast("Consumer[Exception]", "log"))


def test_there_are_handlers_for_start_update_and_end(told: Told) -> None:
    errors = Errors()
    errors.start.set(Broken, told.at_once("start"))
    assert errors.start.has(Broken)
    assert not errors.update.has(Broken)
    assert not errors.end.has(Broken)


# -- Of dialogs -------------------------------------------------------------------------------------------------------


class Raising:
    """An error handler that raises, at once or when it is awaited, and counts how often it was told."""

    def __init__(self, how: str) -> None:
        self.count = 0
        self._how = how

    def __call__(self, _: Exception, __: Context) -> Any:
        self.count += 1
        return self._fail() if self._how == "later" else self._raise()

    async def _fail(self) -> None:
        self._raise()

    def _raise(self) -> None:
        raise asyncio.CancelledError if self._how == "cancelled" else LookupError("the error handler failed, too")


@pytest.fixture(params=["at once", "later", "cancelled"])
def raising(request: pytest.FixtureRequest) -> Raising:
    return Raising(request.param)


@pytest.mark.row("I-C49")
async def test_an_error_handler_that_raises_at_a_start_changes_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, raising: Raising
) -> None:
    async def start(_: Counter, __: Context) -> None:
        raise Oops("on purpose")

    kinds["failing"] = failing = variant(counter, start=start)
    await desk.restart()
    told = telling(desk.dialogs)
    desk.dialogs.errors.start.set(Oops, raising)
    assert (await desk.start(failing, id="one")).outcome == "failed"
    assert raising.count == 1
    assert desk.last.notices
    assert (await desk.start(counter, id="one")).outcome == "started"
    assert (await desk.click("Done")).result == "ended"
    assert await heard(told, "start_failed", "started", "ended")


@pytest.mark.row("I-C49")
async def test_an_error_handler_that_raises_at_a_use_changes_nothing(
    desk: Desk, counter: Kind, raising: Raising
) -> None:
    told = telling(desk.dialogs)
    desk.dialogs.errors.update.set(Oops, raising)
    handle = await desk.start(counter)
    clicked = await desk.click("Break")
    assert clicked.result == "failed"
    assert isinstance(clicked.error, Oops)
    assert raising.count == 1
    assert desk.last.notices
    assert (await desk.click("More")).result == "kept"
    assert (await desk.click("Done")).result == "ended"
    assert (await handle.wait()).result == 1
    assert await heard(told, "started", "update_failed", "updated", "ended")


@pytest.mark.row("I-C49")
@pytest.mark.parametrize("how", ["by a handler", "from outside", "by its deadline"])
async def test_an_error_handler_that_raises_at_an_end_changes_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, raising: Raising, how: str
) -> None:
    async def end(_: Counter, __: Context, ___: object) -> None:
        raise Oops("on purpose")

    kinds["failing"] = failing = variant(counter, end=end)
    await desk.restart()
    told = telling(desk.dialogs)
    desk.dialogs.errors.end.set(Oops, raising)
    handle = await desk.start(failing)
    match how:
        case "by a handler":
            assert (await desk.click("Done")).result == "ended"
        case "from outside":
            await handle.end()
        case _:
            await desk.advance(failing.ttl)
    ended = await handle.wait()
    assert raising.count == 1
    expired = ["expired"] if how == "by its deadline" else []
    assert (ended.code == "expired") is bool(expired)
    assert await heard(told, "started", "ended", *expired)
    assert (await desk.start(failing)).outcome == "started"


@pytest.mark.row("I-C65")
async def test_errors_of_start_use_and_end_go_to_the_consumer_of_their_class_with_the_context(
    desk: Desk, counter: Kind, kinds: Kinds
) -> None:
    told: list[tuple[str, str, str]] = []

    def telling_of(phase: str, name: str) -> Consumer[Exception]:
        return lambda error, ctx: told.append((phase, name, f"{type(error).__name__} at {ctx.dialog_id}"))

    async def start(_: Counter, __: Context) -> None:
        raise Oops("on purpose")

    async def end(_: Counter, __: Context, ___: object) -> None:
        raise LookupError("on purpose")

    kinds["still"] = still = variant(counter, start=start)
    kinds["loud"] = loud = variant(counter, end=end)
    await desk.restart()
    errors = desk.dialogs.errors
    for phase, handlers in (("start", errors.start), ("update", errors.update), ("end", errors.end)):
        handlers.set(Exception, telling_of(phase, "any"))
        handlers.set(Oops, telling_of(phase, "oops"))
    await desk.start(still, id="s")
    await desk.start(loud, id="l")
    await desk.click("Break")
    await desk.click("Done")
    assert told == [("start", "oops", "Oops at s"), ("update", "oops", "Oops at l"), ("end", "any", "LookupError at l")]
