"""The stock room in real browsers: how it looks, and that its total stays whoever carries and whatever is killed."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import SERVER_IS_AWAY, Shop, Visit, Visitor
from tests.browser.test_look import SIZES, faint, overflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOTAL = "144"


async def stock_room(visitor: Visitor) -> Page:
    """Go there from the shop, by its link."""
    page = await visitor.tab()
    await page.get_by_role("link", name="stock room").click()
    await expect(page.locator("#racks li")).to_have_count(6)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(mortal_shop: Shop, visit: Visit, size: str, scheme: str, tmp_path: Path) -> None:
    """Proves that nothing sticks out to the side and every text stands out, also when something is refused."""
    visitor = await visit(mortal_shop, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = await stock_room(visitor)
    for left in range(11, -1, -1):
        await page.get_by_role("button", name="To the loft: Storm lantern").click()
        await expect(page.locator(".lantern .cellar")).to_have_text(str(left))
    await page.get_by_role("button", name="To the loft: Storm lantern").click()
    await expect(page.locator("#trouble")).to_have_text("There is none of that left in the cellar.")
    assert (await overflow(page), await faint(page)) == (0, [])
    await page.screenshot(path=tmp_path / "stock.png", full_page=True)


async def test_one_sees_what_another_carries(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that the page keeps up with other visitors, and that both racks are shown as of one instant."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    carrying, watching = await stock_room(ada), await stock_room(bob)
    await carrying.get_by_role("button", name="To the cellar: Two pears").click()
    for page in (carrying, watching):
        await expect(page.locator(".pears p")).to_have_text("13 in the cellar 11 in the loft", use_inner_text=False)
        await expect(page.locator("#total")).to_have_text(TOTAL)
    assert ada.unexpected() == bob.unexpected() == []


async def test_the_server_is_killed_while_two_carry_and_the_total_stays(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that what was under way is carried once when the server is back, and nothing is lost on the stairs."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    pages = [await stock_room(ada), await stock_room(bob)]
    for page in pages:
        await page.locator("#shuffle").click()
    mortal_shop.kill_server()
    await mortal_shop.opened()
    for page in pages:
        await expect(page.locator("#stairs")).to_have_text("Nobody is on the stairs.")
        await expect(page.locator("#total")).to_have_text(TOTAL)
    assert [*ada.unexpected(SERVER_IS_AWAY), *bob.unexpected(SERVER_IS_AWAY)] == []
