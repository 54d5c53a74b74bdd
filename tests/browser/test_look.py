"""How the page looks and is handled: on a phone and on a desk, in light and dark, without a mouse."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import SERVER_IS_AWAY, Shop, Visit, add, line, settled, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = {"phone": {"width": 400, "height": 860}, "desk": {"width": 1280, "height": 860}}

# Every text that can be seen, and its contrast with what is behind it, by the formula of WCAG 2.
CONTRASTS = """() => {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = color;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const linear = (part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    const [r, g, b] = color.map((part) => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (node) => {
    const color = rgba(getComputedStyle(node).backgroundColor);
    return color[3] === 255 || !node.parentElement ? color : behind(node.parentElement);
  };
  return [...document.querySelectorAll("body *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((node) => node.checkVisibility({ visibilityProperty: true }))
    .filter((node) => !node.closest("button:disabled, svg, .hidden"))
    .map((node) => {
      const [text, ground] = [rgba(getComputedStyle(node).color), behind(node)].map(light);
      return [(Math.max(text, ground) + .05) / (Math.min(text, ground) + .05), node.textContent.trim().slice(0, 40)];
    });
}"""
ENOUGH = 4.5


async def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(await page.evaluate("document.scrollingElement.scrollWidth - innerWidth"))


async def faint(page: Page) -> list[Any]:
    """The texts that are hard to read; no transition is under way."""
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
    contrasts = await page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    return [found for found in contrasts if found[0] < ENOUGH]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(mortal_shop: Shop, visit: Visit, size: str, scheme: str, tmp_path: Path) -> None:
    """Proves that nothing sticks out to the side and every text stands out, in each state of the page."""
    await mortal_shop.close()
    await mortal_shop.open(is_kept=False)  # dead until the pictures are taken
    visitor = await visit(mortal_shop, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = await visitor.tab()
    await add(page, "Two pears", 2)
    await add(page, "Storm lantern", 2)
    await settled(page, 4)
    seen = {"shop": (await overflow(page), await faint(page))}
    await page.screenshot(path=tmp_path / "shop.png", full_page=True)
    await sign_in(page, f"Wolfeschlegelsteinhausen{size}{scheme}")
    await expect(page.locator("#places li")).to_have_count(1)
    seen["signed in"] = (await overflow(page), await faint(page))
    await page.locator("#basket").screenshot(path=tmp_path / "basket.png")
    await page.get_by_role("button", name="Kill the server").click()
    await page.locator("#dots .doubtful").wait_for()
    seen["dead"] = (await overflow(page), await faint(page))
    await page.locator("#plug").screenshot(path=tmp_path / "dead.png")
    await mortal_shop.close()
    await mortal_shop.open()
    await expect(page.locator("#verdict")).to_contain_text("Nothing lost")
    seen["back"] = (await overflow(page), await faint(page))
    await page.locator("#plug").screenshot(path=tmp_path / "back.png")
    assert seen == dict.fromkeys(("shop", "signed in", "dead", "back"), (0, []))
    assert visitor.unexpected(SERVER_IS_AWAY) == []


async def test_it_can_be_used_by_keyboard_alone(shop: Shop, visit: Visit) -> None:
    """Proves that Tab reaches what there is to do, shows where it is, and Enter does it; focus is never lost."""
    visitor = await visit(shop)
    page = await visitor.tab()

    async def focus() -> tuple[str, bool]:
        """What has the focus, by its text or label, and whether that can be seen."""
        found = await page.evaluate(
            """() => {
              const node = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(node);
              return [node.labels?.[0]?.textContent ?? node.textContent, outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        return " ".join(found[0].split()), found[1] == "solid" and found[2] > 1

    async def tab_to(name: str) -> None:
        passed: list[str] = []
        while name not in passed:
            assert len(passed) < 40, f"Tab does not reach {name!r}, but {passed}"
            await page.keyboard.press("Tab")
            reached, is_visible = await focus()
            assert is_visible, f"{reached!r} has the focus and does not show it"
            passed.append(reached)

    await tab_to("Add to the basket: Beeswax candle")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Space")
    await expect(line(page, "Beeswax candle")).to_have_text("2")
    await tab_to("\N{MINUS SIGN}One less: Beeswax candle")
    await page.keyboard.press("Enter")
    await expect(line(page, "Beeswax candle")).to_have_text("1")
    await page.keyboard.press("Enter")  # the last one: its line goes, and the focus must not go with it
    await expect(page.locator("#empty")).to_be_visible()
    assert (await focus())[0] == "Your basket"
    await tab_to("Your name")
    await page.keyboard.type("Grace")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Hello, Grace")).to_be_focused()
    await tab_to("Sign out here")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Who is this?")).to_be_focused()
    assert visitor.unexpected() == []
