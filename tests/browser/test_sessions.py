"""The session as a person meets it: reload, second tab, signing in and out."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import REFUSED, Shop, Visit, add, line, settled, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE_MS = 2_000
"""A second is the promise for what is open; the rest is for a machine that does other things."""


async def test_a_basket_is_there_after_a_reload(shop: Shop, visit: Visit) -> None:
    """Proves that what was put into the basket is kept by the server, under the cookie."""
    visitor = await visit(shop)
    page = await visitor.tab()
    await add(page, "Two pears", 2)
    await add(page, "Wool blanket")
    await settled(page, 3)
    await page.reload()
    await expect(line(page, "Two pears")).to_have_text("2")
    await expect(line(page, "Wool blanket")).to_have_text("1")
    await expect(page.locator("#total")).to_have_text("€82.80")
    assert visitor.unexpected() == []


async def test_a_second_tab_has_the_same_basket(shop: Shop, visit: Visit) -> None:
    """Proves that two tabs are one session: each shows what was done in the other, and one that comes later too."""
    visitor = await visit(shop)
    first, second = await visitor.tab(), await visitor.tab()
    await add(first, "Enamel mug", 2)
    await expect(line(second, "Enamel mug")).to_have_text("2", timeout=AT_ONCE_MS)
    await second.get_by_role("button", name="One less: Enamel mug").click()
    await expect(line(first, "Enamel mug")).to_have_text("1")
    await expect(line(await visitor.tab(), "Enamel mug")).to_have_text("1")
    await settled(first, 3)
    await settled(second, 3)
    assert visitor.unexpected() == []


async def test_another_browser_has_another_basket(shop: Shop, visit: Visit) -> None:
    """Proves that a session is not shared between two sets of cookies."""
    first, second = await (await visit(shop)).tab(), await (await visit(shop)).tab()
    await add(first, "Walking map")
    await settled(first, 1)
    await second.reload()
    await expect(second.locator("#empty")).to_be_visible()
    assert await first.locator("#session").text_content() != await second.locator("#session").text_content()


@pytest.mark.row("F-G1", "F-G10")
async def test_no_script_can_read_the_cookie(shop: Shop, visit: Visit) -> None:
    """Proves that the token is the browser's alone: HttpOnly, and nowhere in the page's storages.

    The visitor's id is there: it opens nothing but what this browser itself has done.
    """
    visitor = await visit(shop)
    page = await visitor.tab()
    await sign_in(page, "Ida")
    cookie = await visitor.cookie()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    cookies, local, of_tab = await page.evaluate("[document.cookie, {...localStorage}, {...sessionStorage}]")
    assert (cookies, of_tab) == ("", {})
    assert not {name for name in local if not name.startswith("anonymousUserId")}
    assert not any(part in str(local) for part in cookie["value"].split("."))
    assert visitor.unexpected() == []


@pytest.mark.row("P-R7")
async def test_signing_in_keeps_the_basket_and_changes_the_secret(shop: Shop, visit: Visit) -> None:
    """Proves that signing in rotates: same session and basket, a new cookie, and the old one opens nothing."""
    visitor, thief = await visit(shop), await visit(shop)
    page = await visitor.tab()
    await add(page, "Beeswax candle", 2)
    await settled(page, 2)
    session = await page.locator("#session").text_content()
    before = await visitor.cookie()
    await sign_in(page, "Grace")
    await expect(line(page, "Beeswax candle")).to_have_text("2")
    assert await page.locator("#session").text_content() == session
    after = await visitor.cookie()
    assert after["value"] != before["value"]

    async def status(cookie: dict[str, str]) -> int:
        await thief.context.clear_cookies()
        await thief.context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": shop.url}])
        return (await thief.context.request.get(f"{shop.url}/session")).status

    assert [await status(before), await status(after)] == [401, 200]
    assert visitor.unexpected() == []


async def test_signing_out_in_one_tab_ends_the_other(shop: Shop, visit: Visit) -> None:
    """Proves that after signing out no tab holds the old session: each shows a new one with an empty basket."""
    visitor = await visit(shop)
    first, second = await visitor.tab(), await visitor.tab()
    await add(first, "Two pears")
    await sign_in(first, "Alan")
    await expect(second.get_by_role("heading", name="Hello, Alan")).to_be_visible()
    await first.get_by_role("button", name="Sign out here").click()
    for page in (first, second):
        await expect(page.get_by_role("heading", name="Who is this?")).to_be_visible()
        await expect(page.locator("#empty")).to_be_visible()
    await expect(second.get_by_text("Your session was ended")).to_be_visible()
    assert await first.locator("#session").text_content() == await second.locator("#session").text_content()


@pytest.mark.row("P-R9")
async def test_signing_out_everywhere_ends_the_other_browser(shop: Shop, visit: Visit) -> None:
    """Proves that all sessions of a name end at once, those of other names do not, and the list shows who is in."""
    home, work, stranger = await visit(shop), await visit(shop), await visit(shop)
    at_home, at_work, elsewhere = await home.tab(), await work.tab(), await stranger.tab()
    await add(at_home, "Enamel mug")
    for page, name in ((at_home, "Lise"), (at_work, "Lise"), (elsewhere, "Otto")):
        await sign_in(page, name)
    await expect(at_home.locator("#places li")).to_have_count(2)
    await expect(elsewhere.locator("#places li")).to_have_count(1)
    await at_work.get_by_role("button", name="Sign out everywhere").click()
    await expect(at_home.get_by_text("Your session was ended")).to_be_visible(timeout=AT_ONCE_MS)
    await expect(at_work.get_by_text("2 sessions ended")).to_be_visible()
    await expect(at_home.get_by_role("heading", name="Who is this?")).to_be_visible()
    await expect(at_home.locator("#empty")).to_be_visible()
    await expect(elsewhere.get_by_role("heading", name="Hello, Otto")).to_be_visible()
    assert stranger.unexpected() == []


async def test_an_order_is_filled_whole_or_refused_in_a_sentence(shop: Shop, visit: Visit) -> None:
    """Proves that the shelf is shared: one gets the lantern, who wants two is told why not and keeps the basket."""
    buyers = [await visit(shop), await visit(shop)]
    modest, greedy = [await buyer.tab() for buyer in buyers]
    await add(modest, "Storm lantern")
    await add(greedy, "Storm lantern", 2)
    await add(greedy, "Two pears")
    await modest.get_by_role("button", name="Check out").click()
    await expect(modest.get_by_text("It is all yours")).to_be_visible()
    await expect(modest.locator("#empty")).to_be_visible()
    await greedy.get_by_role("button", name="Check out").click()
    sentence = re.compile(r"^Storm lantern: (nothing|only 1) left until the next delivery\.$")
    await expect(greedy.get_by_role("alert")).to_have_text(sentence)
    await expect(line(greedy, "Two pears")).to_have_text("1")
    await expect(line(greedy, "Storm lantern")).to_have_text("2")
    assert [buyer.unexpected(REFUSED) for buyer in buyers] == [[], []]
