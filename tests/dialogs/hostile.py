"""What the tests of hostile input share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import pytest

from sojourn.dialogs import Context, Handle
from sojourn.dialogs.layout import Address
from sojourn.kernel import Reads
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import Kind, Kinds, in_time, soon, variant
from tests.documents.conftest import HastyClock

R = TypeVar("R")

STEP = timedelta(seconds=1)

LONG = "x" * 10_000
NUL = "a\0b"
LONE = "a\ud800b"
TEXTS = pytest.mark.parametrize(
    "text", [LONG, NUL, LONE, "", "\x01#;.~%", "\u202e\u200d"], ids=lambda text: ascii(text)[:12]
)

UNSTORABLE = pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param(object(), id="object"),
        pytest.param({1: 2}, id="a key that is no text"),
        pytest.param({"a": [object()]}, id="an object within"),
        pytest.param("a\ud800b", id="half a character"),
        pytest.param({"a": "\ud800"}, id="half a character within"),
        pytest.param("x" * 1_000_000, id="a megabyte"),
        pytest.param(["x" * 1_000] * 1_000, id="a megabyte in parts"),
        pytest.param(10**5_000, id="five thousand digits"),
    ],
)
"""Neither plain JSON data nor the count of a counter; or too large."""

Handler: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


async def dump(desk: Desk, dialog_id: str) -> tuple[bytes, int | None]:
    """The stored dialog and its deadline: all that must not change where nothing happens."""
    key = Address(dialog_id, dialog_id).dialog
    (record,) = (await desk.store.read(Reads((key,)))).records.keys
    assert record is not None
    return record.value, record.rank


async def lives_on(desk: Desk, handle: Handle[Any]) -> None:
    """Prove that the dialog can be used, and ended by its own button."""
    assert (await soon(desk.dispatch(button(handle.id, "more", platform=desk.screen)))).result == "kept"
    assert desk.last.is_answered
    assert (await soon(desk.dispatch(button(handle.id, "done", platform=desk.screen)))).result == "ended"
    assert (await soon(desk.handle(handle.id).wait())).code == "self_ended"


async def with_handler(desk: Desk, kinds: Kinds, counter: Kind, handler: Handler, **more: object) -> Handle[Any]:
    """Start a counter whose nameless button is handled so."""
    kinds["hostile"] = kind = variant(counter, on_button=handler, **more)
    await desk.restart()
    return await desk.start(kind)


async def at_last(desk: Desk, clock: HastyClock, work: Coroutine[Any, Any, R]) -> R:
    """Let time pass until this is done, and return what it gives; what never is done is cancelled."""
    task = asyncio.create_task(work)
    try:
        return await in_time(desk.store, clock, task, STEP)
    finally:
        task.cancel()
