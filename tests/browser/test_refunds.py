"""Refunds in real browsers: asked in one window and decided in another, whatever is killed in between."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import REFUSED, SERVER_IS_AWAY, Shop, Visit, Visitor, add
from tests.browser.test_look import SIZES, faint, overflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON_MS = 2_000
TAKEN = "Taken back. It is back in the cellar"
WHY = "It is chipped, and not with the dignity that the shelf had promised."


async def bought(visitor: Visitor, *names: str) -> Page:
    """Buy something, and go to where it is written down."""
    page = await visitor.tab()
    for name in names:
        await add(page, name)
    await page.get_by_role("button", name="Check out").click()
    await expect(page.get_by_text("Thank you.")).to_be_visible()
    await page.get_by_role("link", name="What you bought").click()
    await expect(page.locator("#sales li.sale")).to_have_count(len(names))
    return page


async def desk(visitor: Visitor) -> Page:
    """Go behind the counter, from the shop."""
    page = await visitor.tab()
    await page.get_by_role("link", name="desk for refunds").click()
    await expect(page.locator("#cellar dd")).to_have_count(6)
    return page


def sale(page: Page, name: str) -> Locator:
    """What was bought, or what lies on the desk, of this name."""
    return page.locator("li.sale").filter(has=page.get_by_role("heading", name=name))


async def ask(page: Page, name: str, why: str = WHY) -> None:
    """Ask to give something back."""
    await sale(page, name).get_by_text("Give it back").click()
    await sale(page, name).get_by_label("Why?").fill(why)
    await sale(page, name).get_by_role("button", name="Ask the desk").click()
    await expect(sale(page, name)).to_contain_text("to decide.")


async def cellar(page: Page, sku: str) -> int:
    """How many lie in the cellar, as the desk shows."""
    return int(await page.locator(f"#cellar .{sku} dd").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(mortal_shop: Shop, visit: Visit, size: str, scheme: str, tmp_path: Path) -> None:
    """Proves that nothing sticks out to the side and every text stands out, in each state of a request."""
    visitor = await visit(mortal_shop, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = await bought(visitor, "Enamel mug", "Wool blanket", "Two pears", "Storm lantern", "Walking map")
    for name in ("Enamel mug", "Wool blanket", "Two pears", "Storm lantern"):
        await ask(page, name)
    clerk = await desk(visitor)
    await sale(clerk, "Enamel mug").get_by_label("A question to the visitor").fill("On the inside, or on the outside?")
    await sale(clerk, "Enamel mug").get_by_role("button", name="Ask back").click()
    await sale(clerk, "Two pears").get_by_role("combobox").select_option(label="It was eaten.")
    await sale(clerk, "Two pears").get_by_role("button", name="Decide so").click()
    await sale(clerk, "Storm lantern").get_by_role("button", name="Take it back").click()
    await expect(clerk.locator("li.sale")).to_have_count(2)
    await expect(sale(page, "Two pears")).to_contain_text("Not taken back. It was eaten.")
    await expect(sale(page, "Storm lantern")).to_contain_text(TAKEN)
    await expect(sale(page, "Enamel mug")).to_contain_text("The desk asks.")
    await sale(page, "Walking map").get_by_text("Give it back").click()
    for name, one in (("bought", page), ("desk", clerk)):
        await one.bring_to_front()
        await expect(one.locator("#notice")).to_have_text("")
        assert (await overflow(one), await faint(one)) == (0, []), name
        await one.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert visitor.unexpected() == []


async def test_asked_in_one_window_and_answered_in_another_after_every_process_was_killed(
    mortal_shop: Shop, visit: Visit
) -> None:
    """Proves that both windows go on with a server that never heard of them, and who waits is told soon."""
    visitor, clerk = await visit(mortal_shop), await visit(mortal_shop)
    asking = await bought(visitor, "Enamel mug")
    await ask(asking, "Enamel mug")
    await mortal_shop.kill()
    await mortal_shop.open()
    deciding = await desk(clerk)
    await expect(sale(deciding, "Enamel mug")).to_contain_text(WHY)
    before = await cellar(deciding, "mug")
    await sale(deciding, "Enamel mug").get_by_label("A question to the visitor").fill("How badly?")
    await sale(deciding, "Enamel mug").get_by_role("button", name="Ask back").click()
    await expect(sale(asking, "Enamel mug")).to_contain_text("The desk: How badly?", timeout=SOON_MS)
    await mortal_shop.kill()
    await mortal_shop.open()
    await sale(asking, "Enamel mug").get_by_label("Your answer to the desk").fill("It leaks.")
    await sale(asking, "Enamel mug").get_by_role("button", name="Answer").click()
    await expect(sale(deciding, "Enamel mug")).to_contain_text("It leaks.")
    await sale(deciding, "Enamel mug").get_by_role("button", name="Take it back").click()
    await expect(sale(asking, "Enamel mug")).to_contain_text(TAKEN, timeout=SOON_MS)
    await expect(asking.locator("#notice")).to_contain_text("Enamel mug: taken back.")
    await expect(sale(deciding, "Enamel mug")).to_have_count(0)
    assert await cellar(deciding, "mug") == before + 1
    assert [*visitor.unexpected(SERVER_IS_AWAY), *clerk.unexpected(SERVER_IS_AWAY)] == []


async def test_a_click_waits_for_the_server_to_be_started_again(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that what is clicked while there is no server is done when there is one, and counts once."""
    visitor = await visit(mortal_shop)
    asking = await bought(visitor, "Enamel mug")
    await ask(asking, "Enamel mug")
    deciding = await desk(visitor)
    before = await cellar(deciding, "mug")
    await mortal_shop.kill()
    await sale(deciding, "Enamel mug").get_by_role("button", name="Take it back").click()
    await expect(deciding.locator("#notice")).to_contain_text("The server does not answer.")
    await mortal_shop.open()
    await expect(sale(deciding, "Enamel mug")).to_have_count(0)
    await expect(deciding.locator("#notice")).to_have_text("")
    await expect(deciding.locator("#cellar .mug dd")).to_have_text(str(before + 1))
    await expect(sale(asking, "Enamel mug")).to_contain_text(TAKEN)
    await expect(deciding.locator("#trouble")).to_have_text("")
    assert visitor.unexpected(SERVER_IS_AWAY) == []


async def test_a_double_click_in_two_windows_refunds_once(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that however many clerks click however often, one thing comes back."""
    ada, bob = await visit(mortal_shop), await visit(mortal_shop)
    asking = await bought(ada, "Enamel mug")
    await ask(asking, "Enamel mug")
    windows = [await desk(ada), await desk(bob)]
    before = await cellar(windows[0], "mug")
    buttons = [sale(window, "Enamel mug").get_by_role("button", name="Take it back") for window in windows]
    for button in buttons:
        await expect(button).to_be_visible()
    clicked = "button => { for (let times = 0; times < 2; times++) button.click(); }"
    # Found before either is clicked: the card leaves both windows with the first click that arrives.
    found = [await button.element_handle() for button in buttons]
    await asyncio.gather(*(handle.evaluate(clicked) for handle in found))
    for window in windows:
        await expect(sale(window, "Enamel mug")).to_have_count(0)
        await expect(window.locator("#cellar .mug dd")).to_have_text(str(before + 1))
    await expect(sale(asking, "Enamel mug")).to_contain_text(TAKEN)
    assert [*ada.unexpected(REFUSED), *bob.unexpected(REFUSED)] == []


async def test_the_page_of_the_visitor_kills_the_server_and_goes_on_waiting(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that the page's own button does it, and that the call that waited is made again."""
    visitor = await visit(mortal_shop)
    asking = await bought(visitor, "Two pears")
    await ask(asking, "Two pears", "Hard as stones.")
    await asking.get_by_role("button", name="kill the server").click()
    await mortal_shop.opened()
    deciding = await desk(visitor)
    await sale(deciding, "Two pears").get_by_role("combobox").select_option(label="It was eaten.")
    await sale(deciding, "Two pears").get_by_role("button", name="Decide so").click()
    await expect(sale(asking, "Two pears")).to_contain_text("Not taken back. It was eaten.", timeout=SOON_MS)
    await expect(asking.locator("#trouble")).to_have_text("")
    assert visitor.unexpected(SERVER_IS_AWAY) == []
