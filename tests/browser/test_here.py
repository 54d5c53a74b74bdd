"""Who is here in the example, what it notes of them, and how it forgets: several people in real browsers."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import SERVER_IS_AWAY, Shop, Visit, add

pytestmark = pytest.mark.asyncio(loop_scope="session")

TWO_SECONDS_MS = 2_000


async def says(page: Page, number: str) -> None:
    """Wait until the page says that so many are here."""
    await expect(page.locator("#here")).to_have_text(number)


@pytest.mark.row("F-W3", "F-W9")
async def test_two_people_are_here_until_one_goes(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that "here now" counts people, and that who closes the window is gone within two seconds."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    page = await ada.tab()
    await says(page, "One visitor")
    other = await bob.tab()
    await says(page, "2 visitors")
    await says(other, "2 visitors")
    await other.close()
    await expect(page.locator("#here")).to_have_text("One visitor", timeout=TWO_SECONDS_MS)
    assert ada.unexpected() == []


@pytest.mark.row("F-W9")
async def test_one_of_two_tabs_closes_and_nothing_changes(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that a visitor with two tabs is one, and stays while one of them does."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    watching = await bob.tab()
    first, second = await ada.tab(), await ada.tab()
    await says(watching, "2 visitors")
    left: list[str] = []
    ada.context.on("request", lambda request: left.append(request.url) if "/visit/leave" in request.url else None)
    await first.close()
    await add(second, "Two pears")
    await expect(second.locator("#deeds li").first).to_contain_text("You picked Two pears")
    await says(watching, "2 visitors")
    assert left == []
    await second.close()
    await says(watching, "One visitor")


async def test_what_was_done_is_shown_and_forgotten_when_asked(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that the log is the visitor's own, that it outlives the server, and that forgetting leaves nothing."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    page, other = await ada.tab(), await bob.tab()
    await add(page, "Enamel mug")
    deeds = page.locator("#deeds li")
    await expect(deeds).to_contain_text(["You picked Enamel mug", "You came to this page"])
    await expect(other.locator("#deeds li")).to_contain_text(["You came to this page"])
    mortal_shop.kill_server()
    await mortal_shop.opened()
    await expect(deeds).to_contain_text(["You picked Enamel mug", "You came to this page"])
    await page.get_by_role("button", name="Stop, and forget me").click()
    await expect(deeds).to_have_count(0)
    await expect(page.locator("#consent-text")).to_have_text("Nothing of what you do here is noted.")
    await add(page, "Walking map")
    await says(page, "One visitor")
    assert await page.evaluate("localStorage.getItem('anonymousUserId')") in {None, ""}
    await page.get_by_role("button", name="You may note it").click()
    await expect(deeds).to_have_count(0)
    await add(page, "Walking map")
    await expect(deeds).to_contain_text(["You picked Walking map"])
    assert ada.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("P-R20")
async def test_a_browser_that_asks_not_to_be_followed_is_not(mortal_shop: Shop, visit: Visit, browser: Browser) -> None:
    """Proves that Global Privacy Control is honoured by the script and by the server, and the shop works as ever."""
    watching = await (await visit(mortal_shop)).tab()
    shy = await visit(mortal_shop, extra_http_headers={"Sec-GPC": "1"})
    await shy.context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    asked: list[str] = []
    shy.context.on("request", lambda request: asked.append(request.url) if re.search(r"/visit", request.url) else None)
    page = await shy.tab()
    await add(page, "Two pears")
    await expect(page.locator("#consent-text")).to_contain_text("asks not to be followed")
    await expect(page.locator("#consent")).to_be_hidden()
    await says(watching, "One visitor")
    assert asked == []
