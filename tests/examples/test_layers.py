"""The layers that are there to be copied: in this process, over HTTP, and from a timer."""

import hashlib
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import msgspec
import pytest

from sojourn.errors import ApplicationError, FunctionUnknownError, InvalidError
from sojourn.functions import Bound, Caller, Kind
from sojourn.kernel import Attempt, Key, Now, Timer, Timers, set_timer
from sojourn.testing import ManualClock
from tests.capabilities import needs

from .conftest import Load, issue

ROOT = Path(__file__).parents[2]
SECRET = "k" * 22


@pytest.fixture
async def book(load: Load) -> ModuleType:
    return await load("examples.layers", "BOOK_STORE")  # type: ignore[no-any-return]  # a module imported by name


@pytest.fixture
def bound(book: ModuleType) -> Bound:
    return book.functions.bind(book.store)  # type: ignore[no-any-return]  # a module imported by name has no types


async def test_the_session_layer_tells_the_handler_who_is_signed_in(book: ModuleType, bound: Bound) -> None:
    assert await bound.run(book.page, session=await issue(book, "ada")) == ["You are ada."]
    with pytest.raises(ApplicationError, match="sign in"):
        await bound.run(book.page, session=await issue(book))
    by_another_way = Caller("grace")
    assert await bound.run(book.page, session=await issue(book), caller=by_another_way) == ["You are grace."]


async def test_the_anonymous_layer_shows_a_public_id_only(book: ModuleType, bound: Bound) -> None:
    session = await issue(book)
    with needs(book.store, "cross_partition"):
        for expected, secret in ((1, SECRET), (1, SECRET), (2, "x" * 22)):
            assert await bound.run(book.like, book.VisitorArg(secret), session=session) == expected
        kept = await book.store.run(lambda tx: tx.get(book.fans.key("page")))
        assert SECRET.encode() not in kept.value
        assert hashlib.blake2b(SECRET.encode(), digest_size=16).hexdigest().encode() in kept.value
    with pytest.raises(InvalidError, match="visitor"):
        await bound.run(book.like, book.VisitorArg("guessable"), session=session)


async def test_the_role_layer_asks_for_the_role_that_the_function_names(book: ModuleType, bound: Bound) -> None:
    ada, grace = await issue(book, "ada"), await issue(book, "grace")
    with needs(book.store, "cross_partition"):
        await bound.run(book.write, session=ada, text="hello")
        await bound.run(book.appoint, session=ada, user="grace", role="editor")
        with pytest.raises(ApplicationError, match="may not"):
            await bound.run(book.clear, session=ada)
        assert await bound.run(book.page, session=ada) == ["ada: hello", "You are ada."]
        await bound.run(book.clear, session=grace)
        assert await bound.run(book.page, session=ada) == ["You are ada."]


async def test_the_rate_limit_layer_says_when_to_come_again(book: ModuleType, bound: Bound, clock: ManualClock) -> None:
    ada = await issue(book, "ada")
    with needs(book.store, "cross_partition"):
        for count in (1, 2, 3):
            assert await bound.run(book.write, session=ada, text="hello") == count
        with pytest.raises(ApplicationError) as refused:
            await bound.run(book.write, session=ada, text="hello")
        kept = await book.store.run(lambda tx: tx.get(book.windows.key("ada")))
        window = book.windows.codec.decode(kept.value)
        assert (refused.value.data, window.count) == ({"retry_at": window.ends_at.isoformat()}, 3)
        clock.advance(timedelta(minutes=1))
        assert await bound.run(book.write, session=ada, text="hello") == 4


async def test_over_http_it_is_the_same_layers(book: ModuleType) -> None:
    transport, headers = httpx.ASGITransport(book.app), {"origin": "http://localhost"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        await client.post("/session", json={})

        async def call(kind: str, function: str, **arguments: Any) -> Any:
            body = {"kind": kind, "function": function, "arguments": arguments}
            return (await client.post("/call", json=body)).json()

        assert (await call("query", "page"))["error"]["message"] == "Please sign in."
        assert "visitor" in (await call("mutation", "like"))["error"]["message"], "named, since it is missing"
        assert (await call("mutation", "appoint", user="eve", role="editor"))["error"]["code"] == "function_unknown"
        if book.store.describe().cross_partition:
            assert await call("mutation", "like", visitor=SECRET) == {"result": 1}
        else:
            assert (await call("mutation", "like", visitor=SECRET))["error"]["code"] == "capability_missing"


async def test_from_a_timer_it_is_the_same_layers(book: ModuleType, bound: Bound, clock: ManualClock) -> None:
    """Proves the way that the page shows: the timer's handler runs the function, and the request id makes it once."""
    reminder = Key("reminder.timer", "ada", "")
    performed: list[int] = []

    async def remind(timer: Timer, tx: Attempt) -> None:
        session = await bound.session(msgspec.json.decode(timer.payload))
        run = bound.acting_as(session, request_id=f"reminder {timer.key.partition}").run
        performed.append(await run(book.write, text="it is time"))
        if tx.number == 1:
            await book.store.run(rearm)  # what the handler did stands, and it has to run again

    async def rearm(tx: Attempt) -> None:
        tx.write(set_timer(reminder, msgspec.json.encode(session.id), at=Now(0)))

    session = await issue(book, "ada")
    with needs(book.store, "cross_partition"):
        assert await bound.run(book.write, session=session, text="hello") == 1
        await book.store.run(rearm)
        timers = Timers(book.store, "reminder.timer", remind)
        for _ in range(3):
            clock.advance(timedelta(seconds=1))
            await timers.step()
        assert len(performed) > 1
        assert set(performed) == {2}, "each time the first result"
        assert (await bound.run(book.page, session=session))[:2] == ["ada: hello", "ada: it is time"]


def test_only_an_operator_reaches_what_is_internal(book: ModuleType, bound: Bound) -> None:
    with pytest.raises(FunctionUnknownError):
        bound.public(Kind.MUTATION, "appoint")
    assert bound.public(Kind.MUTATION, "appoint", is_operator=True) is book.appoint


def test_the_page_shows_them_as_they_are() -> None:
    """Proves that the program on the page is the file, which the other tests run."""
    page = (ROOT / "docs" / "how-to" / "write-layers.md").read_text(encoding="utf-8")
    assert f"```python\n{(ROOT / 'examples' / 'layers.py').read_text(encoding='utf-8')}```" in page
