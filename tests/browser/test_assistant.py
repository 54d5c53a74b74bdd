"""The assistant in real browsers: how it looks, two windows at once, and a server that is killed in mid-sentence."""

from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from examples.shop.assistant import LEASE
from tests.browser.conftest import REFUSED, SERVER_IS_AWAY, Shop, Visit, Visitor
from tests.browser.test_look import SIZES, faint, overflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

COLD, MUCH, BASKET, MANAGER = (
    "What helps against the cold?",
    "How much is it?",
    "What is in my basket?",
    "May I see the manager?",
)
SOON_MS = 2_000


async def assistant(visitor: Visitor) -> Page:
    """Go there from the shop, by its link."""
    page = await visitor.tab()
    await page.get_by_role("link", name="assistant").click()
    await expect(page.locator("#said")).to_have_attribute("aria-busy", "false")
    return page


async def ask(page: Page, question: str) -> None:
    """Write a question and send it."""
    await page.get_by_label("Your question").fill(question)
    await page.get_by_role("button", name="Ask", exact=True).click()


def nodes(page: Page, status: str) -> Locator:
    """The knots of the tree of this status."""
    return page.locator(f"#nodes .{status}")


async def answered(page: Page, question: str, turns: int) -> None:
    """Ask, and wait until so many turns have been answered."""
    await ask(page, question)
    await expect(nodes(page, "completed")).to_have_count(turns)


def exchange(page: Page, question: str) -> Locator:
    """A question and what became of it."""
    return page.locator(".exchange").filter(has_text=question).last


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(shop: Shop, visit: Visit, size: str, scheme: str, tmp_path: Path) -> None:
    """Proves that nothing sticks out to the side and every text stands out, however a turn has ended."""
    visitor = await visit(shop, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = await assistant(visitor)
    await answered(page, COLD, 1)
    await page.get_by_role("button", name=MANAGER).click()
    await expect(nodes(page, "failed")).to_have_count(1)
    await expect(exchange(page, MANAGER)).to_contain_text("It failed: The manager has gone home.")
    seen = {"failed": (await overflow(page), await faint(page))}
    for failed in range(2, 8):  # a tree that is wider than its frame
        await exchange(page, MANAGER).get_by_role("button", name="Answer again").click()
        await expect(nodes(page, "failed")).to_have_count(failed)
    await page.get_by_role("button", name="Turn 1, completed").click()
    await expect(page.locator("#from")).to_have_text("Your question, from 1 on")
    await ask(page, BASKET)
    await expect(exchange(page, BASKET)).to_contain_text("Your basket")
    await ask(page, MUCH)
    await expect(page.locator("#busy")).to_contain_text("another answer is still under way")
    seen["busy"] = (await overflow(page), await faint(page))
    await page.screenshot(path=tmp_path / "busy.png", full_page=True)
    await page.get_by_role("button", name="Stop").click()
    await expect(nodes(page, "aborted")).to_have_count(1)
    await expect(exchange(page, BASKET)).to_contain_text("Stopped.")
    seen["stopped"] = (await overflow(page), await faint(page))
    await page.screenshot(path=tmp_path / "stopped.png", full_page=True)
    assert seen == dict.fromkeys(("failed", "busy", "stopped"), (0, []))
    assert visitor.unexpected(REFUSED) == []


async def test_the_conversation_is_a_tree_that_can_be_walked(shop: Shop, visit: Visit) -> None:
    """Proves that each way is kept: a click shows what was said up to a turn, and a question goes on from there."""
    visitor = await visit(shop)
    page = await assistant(visitor)
    await answered(page, COLD, 1)
    await answered(page, MUCH, 2)
    await exchange(page, COLD).get_by_role("button", name="Answer again").click()
    await expect(nodes(page, "completed")).to_have_count(3)
    await expect(page.locator(".exchange h3")).to_have_text([COLD])
    await expect(exchange(page, COLD)).to_contain_text("Let me think.")
    await page.get_by_role("button", name="Turn 2, completed").click()
    await expect(page.locator(".exchange h3")).to_have_text([COLD, MUCH])
    await page.get_by_role("button", name="Turn 1, completed").click()
    await expect(page.locator(".exchange h3")).to_have_text([COLD])
    await answered(page, "And for tea?", 4)
    await expect(page.locator(".exchange h3")).to_have_text([COLD, "And for tea?"])
    await expect(page.locator("#edges .edge")).to_have_count(4)
    await expect(page.locator("#edges .on")).to_have_count(2)
    await page.reload()
    await expect(page.locator(".exchange h3")).to_have_text([COLD, "And for tea?"])
    await page.get_by_role("button", name="Begin anew").click()
    await expect(page.locator("#nodes .node")).to_have_count(0)
    await expect(page.locator("#greeting")).to_be_visible()
    assert visitor.unexpected() == []


async def test_one_window_stops_what_the_other_has_asked(shop: Shop, visit: Visit) -> None:
    """Proves that both windows see the words come, and that a stop in one shows in the other within two seconds."""
    visitor = await visit(shop)
    asking, watching = await assistant(visitor), await assistant(visitor)
    await ask(asking, COLD)
    for page in (asking, watching):
        await expect(exchange(page, COLD).locator(".answer")).to_contain_text("For that I would")
    await exchange(watching, COLD).get_by_role("button", name="Stop").click()
    await expect(exchange(asking, COLD)).to_contain_text("Stopped.", timeout=SOON_MS)
    for page in (asking, watching):
        await expect(nodes(page, "aborted")).to_have_count(1)
    assert visitor.unexpected() == []


async def test_a_second_window_is_told_to_wait_or_asks_beside(shop: Shop, visit: Visit) -> None:
    """Proves that a question meanwhile is refused politely and kept, and becomes a branch when that is wanted."""
    visitor = await visit(shop)
    first, second = await assistant(visitor), await assistant(visitor)
    await ask(first, COLD)
    await expect(nodes(second, "pending")).to_have_count(1)
    await ask(second, "Something to eat?")
    await expect(second.locator("#busy")).to_contain_text("another answer is still under way")
    await expect(second.get_by_label("Your question")).to_have_value("Something to eat?")
    await second.get_by_role("button", name="Ask beside it").click()
    for page in (first, second):
        await expect(nodes(page, "completed")).to_have_count(2)
    await expect(second.locator("#busy")).to_be_hidden()
    await expect(second.locator(".exchange h3")).to_have_text(["Something to eat?"])
    assert visitor.unexpected(REFUSED) == []


async def test_the_server_is_killed_in_mid_sentence(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that its turn stays pending no longer than the lease, keeps its words, and the conversation goes on."""
    visitor = await visit(mortal_shop)
    page = await assistant(visitor)
    await answered(page, COLD, 1)
    await ask(page, "And for tea?")
    await expect(exchange(page, "And for tea?").locator(".answer")).to_contain_text("For that I")
    mortal_shop.kill_server()
    await mortal_shop.opened()
    await expect(nodes(page, "expired")).to_have_count(1, timeout=LEASE.total_seconds() * 1_000 + 2 * SOON_MS)
    for told in ("For that I", "Given up, because its server died."):
        await expect(exchange(page, "And for tea?")).to_contain_text(told)
    await answered(page, MUCH, 2)
    await expect(page.locator(".exchange h3")).to_have_text([COLD, MUCH])
    await expect(exchange(page, MUCH)).to_contain_text("€78.00")
    assert visitor.unexpected(SERVER_IS_AWAY) == []


async def test_a_page_kills_the_server_and_goes_on(mortal_shop: Shop, visit: Visit) -> None:
    """Proves that the page's own button does it, and that the page finds the server again."""
    visitor = await visit(mortal_shop)
    page = await assistant(visitor)
    await ask(page, COLD)
    await expect(nodes(page, "pending")).to_have_count(1)
    await page.get_by_role("button", name="kill the server").click()
    await mortal_shop.opened()
    await expect(nodes(page, "expired")).to_have_count(1)
    await exchange(page, COLD).get_by_role("button", name="Answer again").click()
    await expect(nodes(page, "completed")).to_have_count(1)
    await expect(page.locator("#trouble")).to_have_text("")
    assert visitor.unexpected(SERVER_IS_AWAY) == []
