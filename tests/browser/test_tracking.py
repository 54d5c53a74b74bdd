"""The tracker in a real browser: a bare page with the script's tag and nothing else, and `sojourn serve`."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route

import sojourn
from sojourn.kernel import Space, Store
from sojourn.visits import Action, ActiveChange, ChangeKind, Member, Visits, visitor_of
from sojourn.visits.layout import ACTION
from tests.browser.conftest import PATIENCE_MS, SERVER_IS_AWAY, Visitor, free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

BARE = '<!doctype html><link rel="icon" href="data:,"><script src="/sojourn.js" data-track{}></script>'
PATIENCE = PATIENCE_MS / 1_000
SOON = 2.0
# The agent of a headless browser says so, and bots are not tracked.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

# A headless browser shows every tab at once, so this one is told what it would hear of a tab behind another.
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class Site:
    """A server that knows nothing but its store, and that store as the test sees it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.visits = Visits(store)
        self.store = store
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._server: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start the server, and return when it takes requests."""
        self._server = await self._sojourn("serve", "--port", str(self.port))
        assert self._server.stdout is not None
        line = (await self._server.stdout.readline()).decode()
        assert self.url in line

    async def kill(self) -> None:
        """Kill the server as it stands."""
        assert self._server is not None
        self._server.kill()
        await self._server.wait()

    async def close(self) -> None:
        """Ask the server to stop."""
        assert self._server is not None
        if self._server.returncode is None:
            self._server.terminate()
            await self._server.wait()

    async def show(self, visitor: str) -> Any:
        """Return what `sojourn visits show` prints."""
        shown = await self._sojourn("visits", "show", visitor, "--json")
        printed, _ = await shown.communicate()
        return json.loads(printed)

    async def recorded(self, visitor: str, *names: str) -> list[Action]:
        """Return the visitor's named actions once these are there, in the order of their recording."""
        async with asyncio.timeout(PATIENCE), self.store.watch(Space(ACTION)) as changes:
            while True:
                actions = [action async for action in self.visits.actions(visitor_of(visitor))]
                if {action.action for action in actions} >= set(names):
                    return actions
                await anext(changes)

    async def _sojourn(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from sojourn.cli import main; raise SystemExit(main())", *words),
            cwd=self._folder,
            env={**os.environ, "SOJOURN_STORE": "sqlite:///x.db"},
            stdout=asyncio.subprocess.PIPE,
        )


Come = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncGenerator[Site]:
    async with sojourn.open(f"sqlite:///{tmp_path}/x.db") as store:
        opened = Site(tmp_path, store)
        await opened.open()
        yield opened
        await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def come(browser: Browser, site: Site) -> AsyncGenerator[Come]:
    """Make visitors of the site."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Visitor:
            context: BrowserContext = await browser.new_context(user_agent=AGENT, **settings)
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            return Visitor(context, site.url)

        yield make


async def tab(visitor: Visitor, attributes: str = "") -> Page:
    """Open the bare page in another tab."""
    page = await visitor.context.new_page()
    address = f"{visitor.url}/"

    async def bare(route: Route) -> None:
        await route.fulfill(body=BARE.format(attributes), content_type="text/html")

    await page.route(address, bare)
    await page.goto(address)
    # From here on nothing stands between the page and the server.
    await page.unroute(address, bare)
    return page


async def track(page: Page, action: str) -> None:
    """Have the page record an action."""
    await page.evaluate("(action) => sojourn.tracker.track(action)", action)


async def who(page: Page) -> str:
    """Return the visitor's id."""
    return str(await page.evaluate("sojourn.tracker.visitorId"))


async def beats(visitor: Visitor, times: int) -> list[Page]:
    """Return which tabs the next heartbeats come from."""
    heard: list[Page] = []
    for _ in range(times):
        request = await visitor.context.wait_for_event("request", lambda sent: sent.url.endswith("/visit"))
        heard.append(request.frame.page)
    return heard


async def test_a_tag_is_the_whole_set_up(site: Site, come: Come) -> None:
    """Proves that on a bare page, with a bare server, the visit and its actions are there for an operator to see."""
    visitor = await come()
    page = await tab(visitor)
    await page.evaluate("history.pushState({}, '', '/cart')")
    await page.evaluate("sojourn.tracker.track('add', { resourceId: 'sku 1', metadata: { price: 3 } })")
    secret = await who(page)
    await site.recorded(secret, "add")
    shown = await site.show(secret)
    assert shown["visitor"]["id"] == visitor_of(secret)
    assert shown["visitor"]["visit"]["index"] == 1
    actions = [(each["action"], each["resource_id"], each["metadata"]) for each in shown["actions"]]
    assert sorted(actions, key=str) == [
        ("add", "sku 1", {"price": 3}),
        ("page_view", None, {"path": "/"}),
        ("page_view", None, {"path": "/cart"}),
    ]
    assert secret not in json.dumps(shown)
    assert visitor.unexpected() == []


@pytest.mark.row("F-W9")
async def test_one_tab_beats_and_a_hidden_one_stops(site: Site, come: Come) -> None:
    """Proves that of two tabs one beats, that the other takes over when that is hidden, and then falls silent too.

    How long nobody beats is measured in the heartbeats of somebody else.
    """
    visitor, other = await come(), await come()
    first = await tab(visitor, ' data-interval="0.2"')
    assert await beats(visitor, 2) == [first] * 2
    second = await tab(visitor, ' data-interval="0.2"')
    assert await beats(visitor, 5) == [first] * 5
    await first.evaluate(HIDE)
    assert await beats(visitor, 5) == [second] * 5
    await second.evaluate(HIDE)
    heard: list[str] = []
    visitor.context.on("request", lambda sent: heard.append(sent.url))
    await tab(other, ' data-interval="0.2"')
    await beats(other, 10)
    assert [url for url in heard if url.endswith("/visit")] == []
    assert await site.visits.count_active() == 2
    assert visitor.unexpected() == []


@pytest.mark.row("F-W10")
async def test_what_is_tracked_while_a_page_is_closed_arrives(site: Site, come: Come) -> None:
    """Proves that an action is recorded when the page is gone at once, and one that the page tracks as it goes."""
    visitor = await come()
    page = await tab(visitor)
    secret = await who(page)
    await page.evaluate("addEventListener('pagehide', () => sojourn.tracker.track('farewell'))")
    await track(page, "click")
    await page.close()
    actions = await site.recorded(secret, "click", "farewell")
    assert [action.action for action in actions].count("click") == 1
    assert visitor.unexpected() == []


@pytest.mark.row("F-W10", "P-R16")
async def test_what_a_closed_page_could_not_send_is_sent_by_the_next(site: Site, come: Come) -> None:
    """Proves that actions tracked while there is no server outlive their page, and are recorded once each."""
    visitor = await come()
    page = await tab(visitor)
    secret = await who(page)
    await site.recorded(secret, "page_view")
    waiting = await tab(visitor)
    await site.kill()
    await track(page, "click")
    await page.close()
    await site.open()
    await waiting.evaluate("dispatchEvent(new Event('online'))")
    actions = await site.recorded(secret, "click")
    assert [action.action for action in actions].count("click") == 1
    assert visitor.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("P-R16")
async def test_a_server_killed_between_click_and_answer_records_it_once(site: Site, come: Come) -> None:
    """Proves that a batch whose answer was lost is sent again, to a server that was started anew, and counts once."""
    visitor = await come()
    page = await tab(visitor)
    secret = await who(page)
    await site.recorded(secret, "page_view")

    async def lose(route: Route) -> None:
        await route.fetch()  # the server has recorded it
        await site.kill()
        await route.abort("connectionreset")

    await page.route("**/visit/actions", lose, times=1)
    async with page.expect_event("requestfailed", lambda request: request.url.endswith("/visit/actions")):
        await track(page, "pay")
    await site.open()
    async with page.expect_event("response", lambda answer: answer.url.endswith("/visit/actions")) as answered:
        await page.evaluate("dispatchEvent(new Event('online'))")
    answer = await (await answered.value).json()
    assert (answer["accepted"], answer["repeated"]) == (0, 1)
    actions = await site.recorded(secret, "pay")
    assert [action.action for action in actions].count("pay") == 1
    assert visitor.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("F-W9")
async def test_the_last_tab_takes_the_visitor_along(site: Site, come: Come) -> None:
    """Proves that a visitor stays while one of two tabs is there, and leaves within two seconds of the last one."""
    visitor = await come()
    first, second = await tab(visitor), await tab(visitor)
    secret = await who(first)
    changes = site.visits.watch_active()
    assert await anext(changes) == ActiveChange(ChangeKind.JOIN, visitor_of(secret))
    await track(second, "first click")
    await site.recorded(secret, "first click")
    await track(first, "last click")
    await first.close()
    await site.recorded(secret, "last click")
    assert await site.visits.count_active() == 1
    await second.close()
    async with asyncio.timeout(SOON):
        assert await anext(changes) == ActiveChange(ChangeKind.LEAVE, visitor_of(secret))
    assert visitor.unexpected() == []


@pytest.mark.row("F-W9")
async def test_two_visitors_are_two_until_one_closes_the_browser(site: Site, come: Come) -> None:
    """Proves that each browser is a visitor of its own, and that one which is closed is gone within two seconds."""
    visitors = await come(), await come()
    pages = [await tab(visitor) for visitor in visitors]
    secrets = [await who(page) for page in pages]
    changes = site.visits.watch_active()
    joined = {(await anext(changes)).name, (await anext(changes)).name}
    assert joined == {visitor_of(secret) for secret in secrets}
    for secret in secrets:
        await site.recorded(secret, "page_view")
    await visitors[0].context.close()
    async with asyncio.timeout(SOON):
        assert await anext(changes) == ActiveChange(ChangeKind.LEAVE, visitor_of(secrets[0]))
    assert await site.visits.count_active() == 1


@pytest.mark.row("F-C92")
async def test_a_member_is_in_a_room_while_one_of_its_tabs_is(site: Site, come: Come) -> None:
    """Proves that two tabs are one member, which shows what the last one said, and leaves once: with the last tab."""
    visitor = await come()
    first, second = await tab(visitor), await tab(visitor)
    name = visitor_of(await who(first))
    room = site.visits.room("lobby")
    changes = room.watch()
    for page, data in ((first, "reading"), (second, "writing")):
        async with page.expect_response("**/presence"):
            await page.evaluate("(data) => { room = sojourn.tracker.room('lobby', { data }) }", data)
    assert await anext(changes) == ActiveChange(ChangeKind.JOIN, name)
    assert await room.list() == (Member(name, "writing"),)
    async with second.expect_response("**/presence"):
        await second.evaluate("room.update('thinking')")
    assert await room.list() == (Member(name, "thinking"),)
    await first.close()
    await second.evaluate("room.leave()")
    assert await anext(changes) == ActiveChange(ChangeKind.LEAVE, name)
    assert await room.list() == ()
    assert visitor.unexpected() == []


@pytest.mark.row("P-R20")
async def test_nothing_is_stored_or_sent_without_consent(site: Site, come: Come) -> None:
    """Proves that a page which asks first leaves no trace until the answer, and none after a refusal."""
    visitor = await come()
    asked: list[str] = []
    visitor.context.on("request", lambda sent: asked.append(sent.url))
    page = await tab(visitor, ' data-consent="required"')
    await track(page, "click")
    assert await page.evaluate("JSON.stringify({ ...localStorage })") == "{}"
    assert [url for url in asked if re.search(r"/visit", url)] == []
    await page.evaluate("sojourn.tracker.consent('granted')")
    secret = await who(page)
    await site.recorded(secret, "page_view", "click")
    changes = site.visits.watch_active()
    await anext(changes)
    await page.evaluate("sojourn.tracker.consent('denied')")
    assert (await anext(changes)).kind is ChangeKind.LEAVE
    kept = json.loads(await page.evaluate("JSON.stringify({ ...localStorage })"))
    assert kept == {"anonymousUserId.consent": "denied"}
    assert visitor.unexpected() == []


@pytest.mark.row("P-R20")
async def test_a_visitor_without_cookies_leaves_nothing_in_the_browser(site: Site, come: Come) -> None:
    """Proves that the cookieless mode stores nothing, and that two tabs are one visitor all the same."""
    visitor = await come()
    page, other = [await tab(visitor, " data-cookieless") for _ in range(2)]
    for each in (page, other):
        async with each.expect_response("**/visit/actions"):
            await track(each, "click")
    assert await page.evaluate("JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }])") == (
        '["",{},{}]'
    )
    assert await site.visits.count_active() == 1
    assert visitor.unexpected() == []
