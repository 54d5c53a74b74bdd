"""What a page shows follows the store by itself: through kills, without a network, over reloads, in every tab."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import SERVER_IS_AWAY, Served, Visit, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

NETWORK_IS_AWAY = re.compile(r"ERR_INTERNET_DISCONNECTED|WebSocket is closed before")
CUT = re.compile(r"ERR_FAILED")


def the_list(folder: Path) -> Served:
    """The list's server."""
    return Served("tests.browser.live.app:app", "LIVE_STORE", folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    """One server for the tests that leave it alone: each visitor has a session of its own."""
    opened = the_list(tmp_path_factory.mktemp("live"))
    await opened.open()
    yield opened
    await opened.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def mortal(tmp_path: Path) -> AsyncGenerator[Served]:
    """A server for one test, which may kill it."""
    opened = the_list(tmp_path)
    await opened.open()
    yield opened
    await opened.kill()


async def tab(visitor: Visitor, settings: str = "") -> Page:
    """Open the list in another tab."""
    page = await visitor.context.new_page()
    await page.goto(f"{visitor.url}/{settings}")
    await expect(page.locator("#state")).to_have_text("open")
    return page


async def shows(page: Page, *items: str) -> None:
    """Wait until the page shows just these."""
    await expect(page.locator("#items li")).to_have_text(list(items))


async def shown(page: Page) -> list[int]:
    """Return how many items the page has shown, in order."""
    lengths: list[int] = await page.evaluate("lengths")
    return lengths


@pytest.mark.row("F-C70", "P-R14")
async def test_tabs_follow_each_other_and_ask_for_nothing(served: Served, visit: Visit) -> None:
    """Proves that a change in one tab is shown in the other without a request, and in the first when it is done."""
    visitor = await visit(served)
    first, second = await tab(visitor), await tab(visitor)
    await shows(first)
    asked: list[str] = []
    second.on("request", lambda request: asked.append(request.url))
    assert await first.evaluate("add('pear').then(() => lengths.at(-1))") == 1
    assert await first.evaluate("add('mug', 'map').then(() => lengths.at(-1))") == 3
    await shows(second, "pear", "mug", "map")
    assert asked == []
    assert visitor.unexpected() == []


@pytest.mark.row("F-C29")
async def test_what_is_shown_in_advance_is_never_shown_twice(served: Served, visit: Visit) -> None:
    """Proves that of twenty clicks each is shown at once and once, whichever comes first, its answer or its effect."""
    visitor = await visit(served)
    page, other = await tab(visitor), await tab(visitor)
    await shows(page)
    items = [f"item {number}" for number in range(20)]
    for item in items:
        assert (
            await page.evaluate("(item) => { addInAdvance(item); return lengths.at(-1); }", item)
            == items.index(item) + 1
        )
    await shows(other, *items)
    await page.evaluate("add('last')")
    lengths = await shown(page)
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(items) + 1
    assert visitor.unexpected() == []


@pytest.mark.row("F-C74", "F-C60")
async def test_a_killed_server_costs_no_change_and_doubles_none(mortal: Served, visit: Visit) -> None:
    """Proves that pages come back by themselves when the server does, with all that was asked for, each once."""
    visitor = await visit(mortal)
    page, other = await tab(visitor), await tab(visitor)
    await page.evaluate("add('before')")
    await page.evaluate("void (sent = add(...Array.from({ length: 10 }, (_, n) => `amid ${n}`)))")
    await mortal.kill()
    await expect(page.locator("#state")).not_to_have_text("open")
    await shows(other, *[await item.inner_text() for item in await page.locator("#items li").all()])
    await page.evaluate("void (late = addInAdvance('meanwhile'))")
    await expect(page.locator("#items li").last).to_have_text("meanwhile")
    await mortal.open()
    await page.evaluate("Promise.all([sent, late])")
    for each in (page, other):
        await shows(each, "before", *(f"amid {number}" for number in range(10)), "meanwhile")
        await expect(each.locator("#state")).to_have_text("open")
    assert visitor.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("F-C74")
async def test_without_a_network_the_page_waits_and_catches_up_at_once(served: Served, visit: Visit) -> None:
    """Proves that what is asked for offline is done when the network is back, and what others did is shown."""
    visitor = await visit(served)
    page = await tab(visitor, "?queue=local")
    await page.evaluate("add('before')")
    outside = await tab(visitor)
    await visitor.context.set_offline(offline=True)
    await page.evaluate("void (sent = addInAdvance('offline'))")
    await shows(page, "before", "offline")
    await shows(outside, "before")
    await visitor.context.set_offline(offline=False)
    await page.evaluate("sent")
    for each in (page, outside):
        await shows(each, "before", "offline")
    assert visitor.unexpected(NETWORK_IS_AWAY, SERVER_IS_AWAY) == []


@pytest.mark.row("F-C60", "F-C74")
async def test_what_waits_survives_a_reload(served: Served, visit: Visit) -> None:
    """Proves that mutations which could not be sent are sent by the next page, in order, before its own, each once."""
    visitor = await visit(served)
    page = await tab(visitor, "?queue=local")

    async def lose(route: Route) -> None:
        """Let the server do it, and lose the answer."""
        await route.fetch()
        await route.abort()

    await page.route("**/call", lambda route: route.abort())
    await page.route("**/call", lose, times=1)  # the one that came last comes first
    await page.evaluate("void add('done', 'not sent', 'not sent either')")
    await shows(page, "done")
    await page.unroute_all(behavior="ignoreErrors")
    await page.reload()
    await page.evaluate("add('new')")
    await shows(page, "done", "not sent", "not sent either", "new")
    await expect(page.locator("#left")).to_have_text("done: 1,not sent: 2,not sent either: 3")
    assert await page.evaluate("localStorage.getItem('sojourn-session.mutations')") is None
    assert visitor.unexpected(CUT) == []


@pytest.mark.row("F-G5")
async def test_a_duplicated_tab_has_a_session_of_its_own(served: Served, visit: Visit) -> None:
    """Proves that a tab to which the browser copied another's storage is another visitor, and a reloaded one is not."""
    visitor = await visit(served)
    page = await tab(visitor, "?storage=session&issued=1")
    await page.evaluate("add('mine')")
    async with visitor.context.expect_page() as opened:
        await page.evaluate("void open(location.href)")
    copy: Page = await opened.value
    await expect(copy.locator("#state")).to_have_text("open")
    await shows(copy)
    await copy.evaluate("add('another')")
    await shows(page, "mine")
    for each, item in ((page, "mine"), (copy, "another")):
        await each.reload()
        await shows(each, item)
    assert visitor.unexpected() == []


@pytest.mark.row("F-C78", "P-R7")
async def test_signing_in_is_shown_in_every_tab(served: Served, visit: Visit) -> None:
    """Proves that the name is there in both tabs at once, and what was shown stays."""
    visitor = await visit(served)
    first, second = await tab(visitor), await tab(visitor)
    await first.evaluate("add('pear')")
    await first.evaluate("client.action('sign_in', { name: 'Ida' })")
    for page in (first, second):
        await expect(page.locator("#who")).to_have_text("Ida")
        await shows(page, "pear")
    await second.evaluate("add('mug')")
    await shows(first, "pear", "mug")
    assert await shown(first) == [0, 1, 2]
    assert visitor.unexpected() == []


@pytest.mark.row("F-C78")
async def test_ending_the_session_leaves_nothing_of_it_in_any_tab(served: Served, visit: Visit) -> None:
    """Proves that all tabs go on with a new session, one for all of them, which begins empty."""
    visitor = await visit(served)
    first, second = await tab(visitor), await tab(visitor)
    await first.evaluate("add('pear')")
    await shows(second, "pear")
    await first.evaluate("client.endSession()")
    for page in (first, second):
        await shows(page)
    await second.evaluate("add('mug')")
    await shows(first, "mug")
    assert visitor.unexpected(re.compile("401")) == []
