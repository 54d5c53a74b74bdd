"""Dialogs as pages in a real browser without JavaScript, and a server that is killed under way."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.browser.conftest import PATIENCE_MS, ROOT, free_port
from tests.browser.test_look import CONTRASTS, ENOUGH, SIZES, overflow

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Server:
    """The process that serves the pages; it can be killed and started again on the same store."""

    def __init__(self, folder: Path) -> None:
        self._store = f"sqlite:///{folder}/forms.db"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start it, and return when it takes requests."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.browser.forms", str(self._port), self._store), cwd=ROOT
        )
        while True:
            assert self._process.returncode is None, "the server did not start"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionError:
                continue
            writer.close()
            return

    async def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    opened = Server(tmp_path)
    await opened.open()
    yield opened
    await opened.kill()


Window = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser) -> AsyncGenerator[Window]:
    """Open windows of one browser in which no script runs; what the browser refuses or complains of fails the test."""
    troubles: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "the server responded with a status of" not in message.text:
            troubles.append(message.text)

    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> Page:
            context = await browser.new_context(java_script_enabled=False, **settings)
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            context.on("console", hear)
            return await context.new_page()

        yield open_one
        assert troubles == []


async def begin(page: Page, server: Server) -> str:
    """Start a dialog, and return where its page is."""
    await page.goto(server.url)
    await page.get_by_role("button", name="Ask for a refund").click()
    await expect(page.get_by_role("heading", name="Send the storm lantern back?")).to_be_visible()
    return page.url


@pytest.mark.row("I-C56", "I-C57")
async def test_a_dialog_goes_from_start_to_end_without_a_script_and_over_a_killed_server(
    server: Server, window: Window
) -> None:
    page = await window()
    place = await begin(page, server)
    await expect(page.get_by_role("button", name="Send it back")).to_be_disabled()
    await page.get_by_label("It is broken").check()
    await page.get_by_label("It came too late").check()
    await page.get_by_role("button", name="Choose").click()
    await expect(page.get_by_role("status")).to_have_text("Thank you. Is there more to say?")
    await expect(page.get_by_text("Reasons: broken, late")).to_be_visible()
    await server.kill()
    await server.open()
    await page.get_by_role("button", name="Tell the story").click()
    await expect(page.get_by_role("heading", name="What happened?")).to_be_visible()
    await page.get_by_label("The story").fill("It fell.\n<b>Twice.</b>")
    await server.kill()
    await server.open()
    await page.get_by_role("button", name="Send").click()
    await expect(page).to_have_url(place)
    await expect(page.get_by_text("<b>Twice.</b>")).to_be_visible()
    await page.get_by_role("button", name="Send it back").click()
    await expect(page.get_by_role("heading", name="The storm lantern is sent back.")).to_be_visible()
    await expect(page.get_by_role("button")).to_have_count(0)
    await page.go_back()
    await page.reload()
    await expect(page.get_by_role("heading", name="The storm lantern is sent back.")).to_be_visible()


@pytest.mark.row("I-C38", "I-C39")
async def test_a_double_click_is_one_and_an_older_window_is_told(server: Server, window: Window) -> None:
    page = await window()
    place = await begin(page, server)
    older = await page.context.new_page()
    await older.goto(place)
    await page.get_by_label("It came too late").check()
    await page.get_by_role("button", name="Choose").dblclick()
    await expect(page.get_by_text("Reasons: late")).to_be_visible()
    async with older.expect_response(place) as refused:
        await older.get_by_role("button", name="Keep it").click()
    assert (await refused.value).status == 409
    await expect(older.get_by_role("alert")).to_be_visible()
    await older.get_by_role("button", name="Keep it").click()
    await expect(older.get_by_role("heading", name="The storm lantern is kept.")).to_be_visible()
    await page.get_by_role("button", name="Send it back").click()
    await expect(page.get_by_role("heading", name="This is over")).to_be_visible()


async def test_it_can_be_used_by_keyboard_alone(server: Server, window: Window) -> None:
    page = await window()
    await begin(page, server)

    async def focus() -> tuple[str, bool]:
        """What has the focus, by its text or label, and whether that can be seen."""
        found = await page.evaluate(
            """() => {
              const node = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(node);
              return [node.labels?.[0]?.textContent || node.textContent, outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        return found[0], found[1] == "solid" and found[2] > 1

    reached: list[str] = []
    for _ in range(7):
        await page.keyboard.press("Tab")
        name, is_visible = await focus()
        assert is_visible, name
        reached.append(name)
        if "late" in name:
            await page.keyboard.press("Space")
    assert [name[:12] for name in reached] == [
        *("It is broken", "It came too ", "It is not wh", "Choose", "Tell the sto", "Keep it", "Look again")
    ]
    for _ in range(3):
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Reasons: late")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(server: Server, window: Window, size: str, scheme: str, tmp_path: Path) -> None:
    """Proves that nothing sticks out to the side and every text stands out, on each page."""
    page = await window(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    seen: dict[str, tuple[int, list[Any]]] = {}

    async def look(name: str, waits_for: Locator) -> None:
        await expect(waits_for).to_be_visible()
        contrasts = await page.evaluate(CONTRASTS)
        assert len(contrasts) >= 3
        seen[name] = (await overflow(page), [found for found in contrasts if found[0] < ENOUGH])
        await page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

    place = await begin(page, server)
    await look("dialog", page.get_by_text("Reasons: none yet"))
    await page.get_by_label("It is broken").check()
    await page.get_by_role("button", name="Choose").click()
    await look("told", page.get_by_role("status"))
    await page.get_by_role("button", name="Tell the story").click()
    await look("form", page.get_by_role("heading", name="What happened?"))
    await page.get_by_label("The story").fill(" ")
    await page.get_by_role("button", name="Send").click()
    await look("again", page.get_by_text("Please fill in “The story”."))
    await page.get_by_label("The story").fill("Wolfeschlegelsteinhausenbergerdorff" * 3)
    await page.get_by_role("button", name="Send").click()
    await look("long", page.get_by_role("button", name="Send it back"))
    await page.get_by_role("button", name="Send it back").click()
    await look("ended", page.get_by_text("This is finished."))
    await page.goto(f"{place}x")
    await look("unknown", page.get_by_role("heading", name="There is nothing here"))
    assert seen == dict.fromkeys(seen, (0, []))
    assert len(seen) == 7
