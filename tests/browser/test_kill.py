"""The server is killed with SIGKILL: what the page was told is there, and nothing is there twice."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import SERVER_IS_AWAY, Shop, Visit, add, line, settled

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_basket_survives_kill_9(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that a server killed behind the page's back comes back with every acknowledged write."""
    visitor = await visit(mortal_shop)
    page = await visitor.tab()
    await add(page, "Two pears", 7)
    await settled(page, 7)
    mortal_shop.kill_server()
    await mortal_shop.opened()
    await page.reload()
    await expect(line(page, "Two pears")).to_have_text("7")
    await settled(page, 7)
    assert visitor.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("F-C60")
async def test_a_write_waits_for_the_server_to_be_started_again(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that the page keeps trying while there is no server at all, says so, and that each click counts once."""
    visitor = await visit(mortal_shop)
    page = await visitor.tab()
    await add(page, "Walking map", 3)
    await settled(page, 3)
    await mortal_shop.kill()
    await add(page, "Walking map", 2)
    await expect(line(page, "Walking map")).to_have_text("5")  # as it will be
    await expect(page.get_by_text("The server does not answer")).to_be_visible()
    await expect(page.locator("#acknowledged")).to_have_text("3")
    await mortal_shop.open()
    await expect(page.get_by_text("The server is back")).to_be_visible()
    await settled(page, 5)
    await page.reload()
    await expect(line(page, "Walking map")).to_have_text("5")
    await settled(page, 5)
    assert visitor.unexpected(SERVER_IS_AWAY) == []


@pytest.mark.row("F-C60")
async def test_the_kill_button_loses_and_doubles_nothing_under_load(shop: Shop, visit: Visit) -> None:
    """Proves the promise on the page: clicks go on while the server dies and comes back; each counts once."""
    visitor = await visit(shop)
    other, page = await visitor.tab(), await visitor.tab()  # the one opened last is in front
    await add(page, "Two pears", 5)
    await settled(page, 5)
    await page.get_by_role("button", name="Kill the server").click()
    await add(page, "Two pears", 20)
    await expect(page.locator("#verdict")).to_contain_text("Nothing lost, nothing doubled")
    before = await page.locator("#before").inner_text()
    assert 5 < int(before) < 65
    await expect(page.locator("#after")).to_have_text(before)
    for tab in (page, other):
        await settled(tab, 65)
        await expect(line(tab, "Two pears")).to_have_text("25")
    await page.reload()
    await expect(line(page, "Two pears")).to_have_text("25")
    await settled(page, 65)
    assert visitor.unexpected(SERVER_IS_AWAY) == []
