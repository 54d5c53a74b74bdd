"""The example's refunds: in this process, and asked of a server that is killed and decided at the next."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from examples.shop.model import FULL, Purchase, Rack
from examples.shop.refunds import PATIENCE, REASONS, SILENCE, WORD_CHARS, WORDS, Card, Click, Sale
from sojourn.documents import Documents
from sojourn.errors import ApplicationError, LeaseHeldError
from sojourn.functions import Bound
from sojourn.sessions import Session
from sojourn.testing import ManualClock
from tests.capabilities import needs

from .conftest import Load, issue, seen
from .test_stock import server

CELLAR = FULL.items["mug"]


@pytest.fixture
async def shop(load: Load) -> AsyncIterator[ModuleType]:
    module = await load("examples.shop", "SHOP_STORE")
    async with module.dialogs:
        yield module


class Person:
    """Somebody with a browser, before the counter or behind it."""

    def __init__(self, shop: ModuleType, session: Session) -> None:
        self.session = session
        self._shop = shop
        self._bound: Bound = shop.functions.bind(shop.store)
        self._clicks = 0

    async def buy(self, sku: str = "mug", count: int = 1) -> Purchase:
        """Buy something, and return what the book says of it."""
        await self.call("add", sku=sku, count=count)
        await self.call("check_out")
        bought: Purchase = (await self.book())[0].purchase
        return bought

    async def ask(self, purchase: Purchase, why: str = "It is chipped.") -> None:
        """Ask to give it back."""
        await self.call("ask_refund", purchase=purchase.id, why=why)

    async def book(self) -> list[Sale]:
        """Return what the page of the visitor shows."""
        return await self.call("book")  # type: ignore[no-any-return]

    async def told(self) -> Any:
        """Return the decision about what was bought last, once the book shows it."""
        async with self._bound.watch(self._shop.book, session=self.session) as watching:
            book = await seen(watching, lambda book: book[0].purchase.decision)
        return book[0].purchase.decision

    async def answer(self, token: str, text: str) -> None:
        """Write on the form of the visitor's page."""
        await self.call("answer_desk", click=self.click(token, fields={"text": text}))

    async def desk(self) -> list[Card]:
        """Return what the page of the desk shows."""
        return await self.call("desk")  # type: ignore[no-any-return]

    async def decide(self, click: Click) -> None:
        """Click on the desk."""
        await self.call("decide", click=click)

    async def cellar(self, sku: str = "mug") -> int:
        """Return how many lie in the cellar."""
        return int((await self.call("stock")).racks["cellar"].items[sku])

    def click(self, token: str, **what: Any) -> Click:
        """Return a click of its own."""
        self._clicks += 1
        return Click(f"{self.session.id}-{self._clicks}", token, **what)

    async def call(self, function: str, **arguments: Any) -> Any:
        """Call a function of the shop."""
        return await self._bound.run(getattr(self._shop, function), session=self.session, **arguments)


@pytest.fixture
async def visitor(shop: ModuleType) -> Person:
    return Person(shop, await issue(shop))


@pytest.fixture
async def clerk(shop: ModuleType) -> Person:
    return Person(shop, await issue(shop))


def approve(card: Card) -> str:
    """The token of the button that takes it back."""
    return card.rows[0][0].token


def decline(card: Card) -> str:
    """The token of the choice of reasons."""
    return card.rows[1][0].token


async def test_what_is_taken_back_is_in_the_cellar(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves the way of a request: asked, on the desk, decided; the stock, whoever waits and the book know of it."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy(count=3)
        await visitor.ask(mugs)
        waiting = asyncio.create_task(visitor.told())
        (card,) = await clerk.desk()
        assert [word.text for word in card.request.said] == ["It is chipped."]
        await clerk.decide(clerk.click(approve(card)))
        decision = await waiting
        assert decision.is_approved
        assert await clerk.cellar() == CELLAR + 3
        assert await clerk.desk() == []
        (sale,) = await visitor.book()
        assert (sale.purchase.decision, sale.said) == (decision, [])


async def test_the_end_and_the_stock_are_one_commit(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves it by the revision, which all that is written by one commit has in common."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        (card,) = await clerk.desk()
        await clerk.decide(clerk.click(approve(card)))
        closed = await shop.dialogs.get(mugs.id)
        (rack,) = [info async for info in shop.racks.list()]
        assert closed.revision == rack.revision


@pytest.mark.row("I-C34")
async def test_a_rack_that_cannot_be_had_leaves_the_request_open(
    shop: ModuleType, visitor: Person, clerk: Person
) -> None:
    """Proves that a stock movement that fails ends nothing, and that the same click does it later."""
    elsewhere = Documents(shop.store, "racks", schema=Rack, template=FULL)
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        (card,) = await clerk.desk()
        click = clerk.click(approve(card))
        async with elsewhere.open("cellar"):
            with pytest.raises(LeaseHeldError):
                await clerk.decide(click)
            assert await clerk.desk() == [card]
        assert await clerk.cellar() == CELLAR
        await clerk.decide(click)
        assert (await clerk.desk(), await clerk.cellar()) == ([], CELLAR + 1)


@pytest.mark.row("I-C37", "I-C38")
async def test_a_double_click_and_two_clerks_refund_once(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that a click that comes twice counts once, and that of two clerks the second is told."""
    other = Person(shop, await issue(shop))
    with needs(shop.store, "cross_partition"):
        await visitor.ask(await visitor.buy())
        (card,) = await clerk.desk()
        twice, later = clerk.click(approve(card)), other.click(approve(card))
        clicks = (clerk.decide(twice), clerk.decide(twice), other.decide(later))
        told = await asyncio.gather(*clicks, return_exceptions=True)
        assert await clerk.cellar() == CELLAR + 1
        assert all(one is None or isinstance(one, ApplicationError) for one in told), told
        assert [one is None for one in told] in ([True, True, False], [False, False, True]), "one of the clerks did it"
        with pytest.raises(ApplicationError):
            await other.decide(other.click(decline(card), values=(REASONS[0],)))
        assert await visitor.told() is not None
        assert await clerk.cellar() == CELLAR + 1


async def test_a_request_is_declined_for_a_reason(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that the reason reaches the visitor, and the stock stays."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        (card,) = await clerk.desk()
        with pytest.raises(ApplicationError, match="no reason"):
            await clerk.decide(clerk.click(decline(card), values=("Because.",)))
        await clerk.decide(clerk.click(decline(card), values=(REASONS[1],)))
        decision = await visitor.told()
        assert (decision.is_approved, decision.word) == (False, REASONS[1])
        assert await clerk.cellar() == CELLAR


@pytest.mark.row("I-C32")
async def test_the_desk_asks_back_and_the_visitor_answers(
    shop: ModuleType, visitor: Person, clerk: Person, clock: ManualClock
) -> None:
    """Proves that each side sees what the other says, and that a word gives the request its full time again."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        assert (await visitor.book())[0].form is None, "nobody has asked"
        (card,) = await clerk.desk()
        clock.advance(PATIENCE - timedelta(minutes=1))
        await clerk.decide(clerk.click(card.form.token, fields={"text": "How badly?"}))
        clock.advance(PATIENCE - timedelta(minutes=1))
        (asked,) = await visitor.book()
        assert asked.form is not None
        await visitor.answer(asked.form.token, "It leaks.")
        clock.advance(PATIENCE - timedelta(minutes=1))
        (card,) = await clerk.desk()
        assert [(word.by, word.text) for word in card.request.said] == [
            ("visitor", "It is chipped."),
            ("clerk", "How badly?"),
            ("visitor", "It leaks."),
        ]
        assert (await visitor.book())[0].form is None
        await clerk.decide(clerk.click(approve(card)))
        assert (await visitor.told()).is_approved


@pytest.mark.row("I-C41")
async def test_a_request_that_nobody_answers_ends_by_itself(
    shop: ModuleType, visitor: Person, clerk: Person, clock: ManualClock
) -> None:
    """Proves that time declines it, in the book too, and that the desk comes too late then."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        (card,) = await clerk.desk()
        clock.advance(PATIENCE)
        assert await visitor.told() == SILENCE
        with pytest.raises(ApplicationError):
            await clerk.decide(clerk.click(approve(card)))
        assert (await clerk.desk(), await clerk.cellar()) == ([], CELLAR)


@pytest.mark.row("I-C80")
async def test_only_the_desk_decides_and_only_the_visitor_answers(
    shop: ModuleType, visitor: Person, clerk: Person
) -> None:
    """Proves that a token opens nothing to whom its button was not meant for, nor does one that was changed."""
    with needs(shop.store, "cross_partition"):
        await visitor.ask(await visitor.buy())
        (card,) = await clerk.desk()
        await clerk.decide(clerk.click(card.form.token, fields={"text": "How badly?"}))
        (asked,) = await visitor.book()
        assert asked.form is not None
        with pytest.raises(ApplicationError):
            await visitor.answer(card.form.token, "I ask.")
        with pytest.raises(ApplicationError):
            await visitor.call("answer_desk", click=visitor.click(approve(card)))
        with pytest.raises(ApplicationError):
            await clerk.answer(asked.form.token, "I answer.")
        with pytest.raises(ApplicationError):
            await clerk.decide(clerk.click(asked.form.token, fields={"text": "I answer."}))
        for forged in ("", "nonsense", approve(card)[:-1], f"{approve(card)}x"):
            with pytest.raises(ApplicationError, match="no such request"):
                await clerk.decide(clerk.click(forged))
        (card,) = await clerk.desk()
        assert len(card.request.said) == 2


async def test_who_asks_twice_has_asked_once(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that a purchase has one request, and none once it was decided."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        await visitor.ask(mugs)
        await visitor.ask(mugs, "It is chipped, I say.")
        (card,) = await clerk.desk()
        assert [word.text for word in card.request.said] == ["It is chipped."]
        await clerk.decide(clerk.click(decline(card), values=(REASONS[0],)))
        assert await visitor.told() is not None
        with pytest.raises(ApplicationError, match="decided already"):
            await visitor.ask(mugs)
        assert await clerk.desk() == []


async def test_what_is_said_is_bounded(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that no word is too long, none empty, and that they come to an end; a refused one changes nothing."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        for wrong in ("", "  ", "x" * (WORD_CHARS + 1)):
            with pytest.raises(ApplicationError, match="say something"):
                await visitor.ask(mugs, wrong)
        assert await clerk.desk() == []
        await visitor.ask(mugs)
        for _ in range(WORDS - 1):
            (card,) = await clerk.desk()
            await clerk.decide(clerk.click(card.form.token, fields={"text": "Are you sure?"}))
        (card,) = await clerk.desk()
        with pytest.raises(ApplicationError, match="Enough was said"):
            await clerk.decide(clerk.click(card.form.token, fields={"text": "Really?"}))
        assert len((await clerk.desk())[0].request.said) == WORDS


async def test_a_book_is_the_sessions_own(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that who knows the id of another's purchase can neither give it back nor see it."""
    with needs(shop.store, "cross_partition"):
        mugs = await visitor.buy()
        with pytest.raises(ApplicationError, match="no such purchase"):
            await clerk.ask(mugs)
        assert await clerk.book() == []


async def test_a_request_outlives_the_session_of_its_visitor(shop: ModuleType, visitor: Person, clerk: Person) -> None:
    """Proves that the desk still decides, and that nothing is written for who is gone."""
    with needs(shop.store, "cross_partition"):
        await visitor.ask(await visitor.buy())
        await shop.sessions.revoke(visitor.session.id)
        (card,) = await clerk.desk()
        await clerk.decide(clerk.click(approve(card)))
        assert (await clerk.desk(), await clerk.cellar()) == ([], CELLAR + 1)


# -- Servers that are killed ------------------------------------------------------------------------------------------


class Window:
    """A page of the shop, over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.url = ""
        self._client = client

    async def enter(self, url: str) -> None:
        """Begin a session, at this server."""
        self.url = url
        await self._client.post(f"{url}/session", json={}, headers={"origin": url})

    async def call(self, kind: str, function: str, **arguments: Any) -> Any:
        """Call a function."""
        body = {"kind": kind, "function": function, "arguments": arguments}
        answer = await self._client.post(f"{self.url}/call", json=body, headers={"origin": self.url})
        return answer.json()["result"]

    async def decision(self, moved: asyncio.Event) -> Any:
        """Watch the book until it has a decision, as the page does: at the next server once this one is gone."""
        try:
            return await self._decision()
        except httpx.TransportError:
            await moved.wait()
            return await self._decision()

    async def _decision(self) -> Any:
        queries = {"queries": '[{"id": 0, "function": "book", "arguments": {}}]'}
        async with self._client.stream("GET", f"{self.url}/live", params=queries) as events:
            async for line in events.aiter_lines():
                updates = json.loads(line.removeprefix("data: "))["updates"] if line.startswith("data: {") else ()
                for book in (update["result"] for update in updates):
                    if book[0]["purchase"]["decision"] is not None:
                        return book[0]["purchase"]["decision"]
        raise httpx.ReadError("the stream has ended")


@pytest.mark.row("I-C53", "I-C56", "I-C57")
@pytest.mark.parametrize("shared_url", ["sqlite", "postgres18", "valkey"], indirect=True)
async def test_asked_of_one_server_decided_at_another_after_every_process_was_killed(
    shared_url: str, tmp_path: Path
) -> None:
    """Proves that a request needs no process, and who watches is told by a server that never heard of the asking."""
    async with AsyncExitStack() as stack:
        visitor, clerk = [Window(await stack.enter_async_context(httpx.AsyncClient(timeout=30))) for _ in range(2)]
        killed, url = await stack.enter_async_context(server(shared_url, tmp_path))
        for window in (visitor, clerk):
            await window.enter(url)
        await visitor.call("mutation", "add", sku="mug")
        await visitor.call("mutation", "check_out")
        purchase = (await visitor.call("query", "book"))[0]["purchase"]["id"]
        await visitor.call("action", "ask_refund", purchase=purchase, why="It is chipped.")
        moved = asyncio.Event()
        waiting = asyncio.create_task(visitor.decision(moved))
        (card,) = await clerk.call("query", "desk")
        killed.kill()
        assert await killed.wait() == -signal.SIGKILL
        _, url = await stack.enter_async_context(server(shared_url, tmp_path))
        visitor.url = clerk.url = url
        click = {"delivery": "once", "token": card["rows"][0][0]["token"]}
        moved.set()
        for _ in range(2):
            await clerk.call("action", "decide", click=click)
        assert (await waiting)["is_approved"]
        stock = await clerk.call("query", "stock")
        assert stock["racks"]["cellar"]["items"]["mug"] == CELLAR + 1
