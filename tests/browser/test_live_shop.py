"""The pages of the example follow by themselves: what is changed elsewhere shows, and nobody asks meanwhile."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from playwright.async_api import Page, Request, WebSocket, WebSocketRoute, expect

import sojourn
from examples.shop.model import FULL, Rack
from sojourn import Documents, Sessions, Visits
from sojourn.kernel import Attempt, Key, Store
from tests.browser.conftest import SERVER_IS_AWAY, Shop, Visit, Visitor, add, line, sign_in
from tests.browser.test_sessions import AT_ONCE_MS

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENCE_MS = 30_000
"""A page takes a connection for lost when the server has said nothing for longer than that."""

SOMEBODY = "b" * 22
READY = {"stock": "#racks", "assistant": "#said", "refunds": "#sales", "desk": "#cards"}


class Wire:
    """What goes between a visitor's tabs and the server from now on."""

    def __init__(self, visitor: Visitor) -> None:
        self.asked: list[str] = []
        self.sent: list[str] = []
        self.heard: list[dict[str, Any]] = []
        visitor.context.on("request", self._ask)
        visitor.context.on("page", lambda page: page.on("websocket", self._open))

    def clear(self) -> None:
        """Forget what went so far."""
        for each in (self.asked, self.sent, self.heard):
            each.clear()

    def _ask(self, request: Request) -> None:
        self.asked.append(re.sub(r"^\w+://[^/]+", "", request.url))

    def _open(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))
        socket.on("framereceived", lambda frame: self.heard.append(json.loads(frame)))


async def go(visitor: Visitor, name: str) -> Page:
    """Open one of the pages behind the counter in another tab, and return when it shows something."""
    page = await visitor.context.new_page()
    await page.goto(f"{visitor.url}/{name}.html")
    await expect(page.locator(READY[name])).to_have_attribute("aria-busy", "false")
    return page


def carried(drafts: dict[str, Rack]) -> bool:
    """Carry two pears up."""
    drafts["cellar"].items["pears"] -= 1
    drafts["loft"].items["pears"] += 1
    return True


async def carry(store: Store) -> None:
    """Carry two pears up, past the server."""
    async with Documents(store, "racks", schema=Rack, template=FULL) as racks:
        await racks.transact(["cellar", "loft"], carried)


async def test_an_idle_page_asks_for_nothing_but_a_sign_of_life(mortal_shop: Shop, visit: Visit) -> None:
    """Proves, by the page's own clock, that no page polls: what it shows comes to it, and it sends nothing for that."""
    visitor, clerk = await visit(mortal_shop), await visit(mortal_shop)
    wire, behind = Wire(visitor), Wire(clerk)
    for one in (visitor, clerk):
        await one.context.clock.install()
    shop = await visitor.tab()
    for name in READY:
        await go(clerk, name)
    await expect(shop.locator("#deeds li")).to_have_count(1)
    for each in (wire, behind):
        each.clear()
    await clerk.context.clock.run_for(SILENCE_MS)
    assert (behind.asked, behind.sent) == ([], [])
    async with sojourn.open(mortal_shop.store_url) as store:
        visits = Visits(store)
        for _ in range(5):  # somebody comes and goes, and five minutes pass
            await visits.track_session(SOMEBODY)
            await expect(shop.locator("#here")).to_have_text("2 visitors")
            await visitor.context.clock.run_for(SILENCE_MS)
            await visits.leave(SOMEBODY)
            await expect(shop.locator("#here")).to_have_text("One visitor")
            await visitor.context.clock.run_for(SILENCE_MS)
        await expect(shop.locator("#here")).to_have_text("One visitor")
    asked = Counter(wire.asked)
    assert asked.pop("/visit") == 1
    assert asked.pop("/visit/actions", 0) <= 1  # goes with the heartbeat: how long the page was looked at
    assert (asked, wire.sent) == (Counter(), [])
    assert clerk.unexpected() == []  # the other's reports have fractions of milliseconds by this clock, and are refused


@pytest.mark.row("P-R9", "P-R14")
async def test_what_python_changes_past_the_server_shows_at_once(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that documents, visitors and sessions are followed, whatever process changes them."""
    visitor = await visit(mortal_shop)
    shop, stock, desk = await visitor.tab(), await go(visitor, "stock"), await go(visitor, "desk")
    await add(shop, "Walking map")
    await sign_in(shop, "Ada")
    session = await shop.locator("#session").inner_text()
    async with sojourn.open(mortal_shop.store_url) as store:
        await carry(store)
        await expect(stock.locator(".pears .cellar")).to_have_text("11", timeout=AT_ONCE_MS)
        await expect(desk.locator("#cellar .pears dd")).to_have_text("11", timeout=AT_ONCE_MS)
        await Visits(store).track_session(SOMEBODY)
        await expect(shop.locator("#here")).to_have_text("2 visitors", timeout=AT_ONCE_MS)
        other = await Sessions(store).issue("Ada")
        await expect(shop.locator("#places li")).to_have_count(2, timeout=AT_ONCE_MS)
        await Sessions(store).revoke(other.session.id)
        await expect(shop.locator("#places li")).to_have_count(1, timeout=AT_ONCE_MS)
        await Sessions(store).revoke(session)
        await expect(shop.get_by_text("Your session was ended")).to_be_visible(timeout=AT_ONCE_MS)
    await expect(shop.locator("#empty")).to_be_visible()
    await expect(shop.locator("#session")).not_to_have_text(session)
    assert visitor.unexpected() == []


async def test_what_one_buys_is_gone_for_all_at_once(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that a shelf is followed by whoever looks at it, and a basket by both windows of who holds it."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    buying, watching, stranger = await ada.tab(), await ada.tab(), await bob.tab()
    await add(buying, "Storm lantern")
    await expect(line(watching, "Storm lantern")).to_have_text("1", timeout=AT_ONCE_MS)
    await buying.get_by_role("button", name="Check out").click()
    lantern = stranger.locator("#goods .lantern .left")
    await expect(lantern).to_have_text("gone until the hour", timeout=AT_ONCE_MS)
    await expect(watching.locator("#empty")).to_be_visible(timeout=AT_ONCE_MS)
    assert ada.unexpected() == bob.unexpected() == []


@pytest.mark.row("F-C69")
async def test_a_request_comes_to_the_desk_and_leaves_it_with_the_stock(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that cards come and go by themselves, and that what one commit changed is shown by one message."""
    visitor, clerk, watcher = await visit(mortal_shop), await visit(mortal_shop), await visit(mortal_shop)
    wire = Wire(watcher)
    deciding, watching = await go(clerk, "desk"), await go(watcher, "desk")
    shop = await visitor.tab()
    await add(shop, "Enamel mug")
    await shop.get_by_role("button", name="Check out").click()
    book = await go(visitor, "refunds")
    await book.get_by_text("Give it back", exact=True).click()
    await book.get_by_label("Why?").fill("It is chipped.")
    await book.get_by_role("button", name="Ask the desk").click()
    for page in (deciding, watching):
        await expect(page.locator("#cards > li")).to_contain_text("It is chipped.", timeout=AT_ONCE_MS)
    wire.clear()
    await deciding.get_by_role("button", name="Take it back").click()
    await expect(watching.locator("#none")).to_be_visible(timeout=AT_ONCE_MS)
    await expect(watching.locator("#cellar .mug dd")).to_have_text("13")
    told = [{update["id"] for update in each["updates"]} for each in wire.heard if each.get("updates")]
    assert told == [{1, 2}]
    await expect(book.locator("#sales > li")).to_contain_text("Taken back.", timeout=AT_ONCE_MS)
    assert [*visitor.unexpected(), *clerk.unexpected(), *watcher.unexpected()] == []


@pytest.mark.row("F-C68")
async def test_what_comes_to_the_same_is_not_told(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that a write of what was there before sends nothing to a page that has read it."""
    visitor = await visit(mortal_shop)
    wire = Wire(visitor)
    page = await visitor.tab()
    await add(page, "Walking map")
    await page.get_by_role("button", name="Check out").click()
    await expect(page.locator("#goods .map .left")).to_have_text("29 left")
    await expect(page.locator("#deeds li").first).to_contain_text("You checked out")
    wire.clear()

    async def again(tx: Attempt) -> None:
        key = Key("collection.shelves", "map", "")
        shelf = await tx.get(key)
        assert shelf is not None
        tx.put(key, shelf.value)

    async with sojourn.open(mortal_shop.store_url) as store:
        await store.run(again)
        await Visits(store).track_session(SOMEBODY)
        await expect(page.locator("#here")).to_have_text("2 visitors")
    assert [update["result"] for each in wire.heard for update in each.get("updates", ())] == [2]


async def test_pages_come_back_after_a_kill_and_show_what_was_changed_meanwhile(
    mortal_shop: Shop, visit: Visit
) -> None:
    """Proves that a page says that it waits, finds the next server by itself, and has missed nothing."""
    visitor = await visit(mortal_shop)
    shop, stock = await visitor.tab(), await go(visitor, "stock")
    await mortal_shop.kill()
    async with sojourn.open(mortal_shop.store_url) as store:
        await carry(store)
        await Visits(store).track_session(SOMEBODY)
    for page in (shop, stock):
        await expect(page.get_by_role("status").filter(has_text="The server does not answer")).to_be_visible()
    await expect(stock.locator(".pears .cellar")).to_have_text("12")
    await mortal_shop.open()
    await expect(stock.locator(".pears .cellar")).to_have_text("11")
    await expect(shop.locator("#here")).to_have_text("2 visitors")
    for page in (shop, stock):
        await expect(page.get_by_text("The server is back.")).to_be_visible()
    assert visitor.unexpected(SERVER_IS_AWAY) == []


async def test_what_cannot_be_shown_is_said_until_it_can(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that an error is a state, in a sentence, which the next value ends; and so with a page that is too old."""
    visitor = await visit(mortal_shop)
    routes: list[WebSocketRoute] = []
    seen: list[int] = []

    async def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        routes.append(route)

        def hear(frame: str | bytes) -> None:
            seen.append(json.loads(frame).get("version", 0))
            route.send(frame)

        server.on_message(hear)

    await visitor.context.route_web_socket("**/live", between)
    page = await go(visitor, "stock")
    error = {"code": "unavailable", "message": "the store is away", "retry": "later", "written": "no"}
    failed = {"type": "transition", "version": max(seen) + 1, "updates": [{"id": 1, "error": error}], "synced": []}
    routes[-1].send(json.dumps(failed))
    await expect(page.get_by_role("alert")).to_have_text("What you see may be out of date: the store is away.")
    async with sojourn.open(mortal_shop.store_url) as store:
        await carry(store)
    await expect(page.locator("#trouble")).to_have_text("")
    await expect(page.locator(".pears .cellar")).to_have_text("11")
    old = error | {"code": "protocol_unsupported", "message": "this server speaks another version", "retry": "never"}
    routes[-1].send(json.dumps({"type": "goodbye", "error": old}))
    await expect(page.get_by_role("alert")).to_contain_text("This page is older than its server.")
    assert visitor.unexpected() == []
