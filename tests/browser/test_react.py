"""The hooks for React in real browsers, over a real server: a board of notes, in strict mode."""

import asyncio
import fcntl
import os
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.conftest import REFUSED, ROOT, SERVER_IS_AWAY, Visit, Visitor, free_port
from web import build

pytestmark = pytest.mark.asyncio(loop_scope="session")

APP = build.REACT / "test" / "app"
OFFLINE = re.compile(r"ERR_INTERNET_DISCONNECTED")

# Counts the moments at which the list and its length, two queries, are not of one instant.
LOOK = """
window.torn = 0;
new MutationObserver(() => {
  if (document.querySelector("#notes")?.dataset.torn === "true") window.torn++;
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


class Board:
    """The server of the board, as a process that can be killed."""

    def __init__(self, store: str, pages: Path, *options: str) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._command = ["--port", str(self._port), "--store", store, "--pages", str(pages), *options]
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start it, and return when it takes requests."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.browser.react.server", *self._command),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        said = (await self._process.stdout.readline()).decode()
        assert self.url in said, f"the server did not start; it said {said!r}"

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, and the same with what a server has rendered into it; built once for the run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    site, settings = folder / "react-pages", str(APP / "vite.config.ts")
    with (folder / "react-pages.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not site.exists():
            build.install()
            built = folder / "react-server"
            command = ("vite", "build", "--config", settings, "--logLevel", "warn")
            build.run(*command, "--ssr", "server.tsx", "--outDir", built, folder=build.REACT)
            build.run(*command, "--outDir", site, folder=build.REACT)
            (built / "package.json").write_text('{"type": "module"}', encoding="utf-8")
            empty = (site / "index.html").read_text(encoding="utf-8")
            full = empty.replace('<main id="root">', f'<main id="root">{build.run("node", built / "server.js")}')
            (site / "rendered.html").write_text(full, encoding="utf-8")
    return site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def board(pages: Path) -> AsyncGenerator[Board]:
    """A server that issues the ids."""
    opened = Board("memory:", pages)
    await opened.open()
    yield opened
    await opened.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def minting(pages: Path) -> AsyncGenerator[Board]:
    """A server for browsers that make the ids."""
    opened = Board("memory:", pages, "--minted")
    await opened.open()
    yield opened
    await opened.kill()


async def tab(visitor: Visitor, address: str = "/?cookie") -> Page:
    """Open the board in another tab, and return when it shows what it watches."""
    page = await visitor.context.new_page()
    await page.add_init_script(LOOK)
    await page.goto(visitor.url + address)
    await shows(page)
    return page


async def shows(page: Page, *notes: str) -> None:
    """Wait until these are the notes, and what is shown of them is whole."""
    await expect(page.locator("#notes")).to_have_attribute("data-state", "there")
    await expect(page.locator("#notes li")).to_have_text(list(notes))
    await expect(page.locator("#connection")).to_have_text("open")
    assert await page.evaluate("window.torn") == 0


async def write(page: Page, text: str) -> None:
    """Write a note, and do not wait for anything."""
    await page.get_by_label("Note").fill(text)
    await page.get_by_role("button", name="Write").click()


async def session(page: Page) -> str:
    """Return the id that is shown, once there is one."""
    await expect(page.locator("#session")).not_to_have_text("none")
    return await page.locator("#session").inner_text()


@pytest.mark.row("F-C22", "F-G1", "F-G10")
async def test_a_page_that_was_rendered_on_a_server_is_taken_over_without_a_word(board: Board, visit: Visit) -> None:
    """Proves that what the server sent has no id and no data, and that React finds nothing that does not fit."""
    visitor = await visit(board)
    page = await visitor.context.new_page()
    await page.route("**/*.js", lambda route: route.abort())
    await page.goto(f"{board.url}/rendered.html?cookie")
    for place, text in {"session": "none", "visitor": "nobody", "connection": "idle", "owner": "loading"}.items():
        assert await page.locator(f"#{place}").inner_text() == text
    await page.close()
    visitor.troubles.clear()

    page = await tab(visitor, "/rendered.html?cookie")
    shown = await session(page)
    await expect(page.locator("#visitor")).not_to_have_text("nobody")
    await write(page, "milk")
    await shows(page, "milk")
    await page.reload()
    await shows(page, "milk")
    assert await session(page) == shown
    assert await page.evaluate("Object.values({ ...localStorage, ...sessionStorage })") == [
        await page.locator("#visitor").inner_text()
    ]
    assert visitor.unexpected() == []


@pytest.mark.row("F-C22", "F-C9")
async def test_a_page_that_was_rendered_finds_the_id_that_the_tab_has_stored(minting: Board, visit: Visit) -> None:
    """Proves that the first render hides an id of the storage, the next one has it, and nothing warns of that."""
    visitor = await visit(minting)
    page = await tab(visitor, "/rendered.html?session")
    stored = await page.evaluate("sessionStorage.getItem('sojourn-session')")
    assert await session(page) == stored
    await page.reload()
    await shows(page)
    assert await session(page) == stored
    assert visitor.unexpected() == []


@pytest.mark.row("F-C15", "F-C69", "F-L3", "F-L4")
async def test_two_tabs_and_two_browsers_of_a_session_show_the_same(
    board: Board, visit: Visit, browser: Browser
) -> None:
    """Proves that what one writes is shown by all, at once, whole, and without asking again."""
    visitor = await visit(board)
    first, second = await tab(visitor), await tab(visitor)
    other = await visit(board, storage_state=await visitor.context.storage_state())
    third = await tab(other)
    asked: list[str] = []
    visitor.context.on("request", lambda request: asked.append(request.url) if "/call" in request.url else None)
    await write(first, "milk")
    for page in (first, second, third):
        await shows(page, "milk")
    await write(third, "tea")
    for page in (first, second, third):
        await shows(page, "milk", "tea")
    assert len(asked) == 1
    await first.get_by_role("button", name="Sign in").click()
    for page in (first, second):
        await expect(page.locator("#owner")).to_have_text("ada")
        await shows(page, "milk", "tea")
    assert visitor.unexpected() == []


@pytest.mark.row("F-C71")
async def test_an_error_of_a_query_is_shown_and_goes_by_itself(board: Board, visit: Visit) -> None:
    """Proves that a query that fails is a state of its own, and that the rest of the page goes on."""
    visitor = await visit(board)
    page = await tab(visitor)
    await page.get_by_role("button", name="Break or mend").click()
    await expect(page.locator("#fragile")).to_have_text("broken: application")
    await write(page, "milk")
    await shows(page, "milk")
    await page.get_by_role("button", name="Break or mend").click()
    await expect(page.locator("#fragile")).to_have_text("whole")
    assert visitor.unexpected() == []


@pytest.mark.row("F-C29")
async def test_an_optimistic_update_is_shown_at_once_and_taken_back(board: Board, visit: Visit) -> None:
    """Proves that a note is there before the server has heard of it, and is gone again when it is refused."""
    visitor = await visit(board)
    page = await tab(visitor)
    answer = asyncio.Event()

    async def hold(route: Route) -> None:
        await answer.wait()
        await route.continue_()

    await page.route("**/call", hold)
    await write(page, "a rude word")
    await write(page, "milk")
    await expect(page.locator("#notes li")).to_have_text(["a rude word…", "milk…"])
    await expect(page.locator("#told")).to_have_text("nothing")
    answer.set()
    await expect(page.locator("#told")).to_have_text("written: milk")
    await shows(page, "milk")
    assert visitor.unexpected(REFUSED) == []


@pytest.mark.row("F-G5")
async def test_a_duplicated_tab_has_an_id_of_its_own(minting: Board, visit: Visit) -> None:
    """Proves that a tab that was opened with a copy of another's storage is another session, and stays that."""
    visitor = await visit(minting)
    page = await tab(visitor, "/?session")
    mine = await session(page)
    await write(page, "mine")
    await shows(page, "mine")
    async with visitor.context.expect_page() as opening:
        await page.evaluate("void window.open(location.href)")
    copy = await opening.value
    await expect(copy.locator("#session")).not_to_have_text(mine)
    await copy.evaluate("window.torn = 0")
    theirs = await session(copy)
    await shows(copy)
    await write(copy, "another's")
    await shows(copy, "another's")
    for each, shown, note in [(page, mine, "mine"), (copy, theirs, "another's")]:
        await each.reload()
        await each.evaluate("window.torn ??= 0")
        await shows(each, note)
        assert await session(each) == shown
    assert visitor.unexpected() == []


@pytest.mark.row("F-G6", "F-G7")
@pytest.mark.parametrize("way", ["local", "hook"])
async def test_a_new_id_is_that_of_the_page_and_what_it_has_stays(minting: Board, visit: Visit, way: str) -> None:
    """Proves that after a refresh the notes are the same under another id, for other tabs that share it too."""
    visitor = await visit(minting)
    pages = [await tab(visitor, f"/?{way}") for _ in range(2 if way == "local" else 1)]
    page = pages[0]
    before = await session(page)
    await write(page, "milk")
    await page.get_by_role("button", name="New id").click()
    for each in pages:
        await expect(each.locator("#session")).not_to_have_text(before)
        await shows(each, "milk")
    assert len({await session(each) for each in pages}) == 1
    kept = "localStorage" if way == "local" else "sessionStorage"
    assert await page.evaluate(f"{kept}.getItem('sojourn-session')") == await session(page)
    assert visitor.unexpected() == []


@pytest.mark.row("F-C73", "F-C78")
async def test_a_page_that_was_offline_or_frozen_shows_all_that_it_missed(board: Board, visit: Visit) -> None:
    """Proves that what was written elsewhere meanwhile is there, and that what was written here is sent, once."""
    visitor = await visit(board)
    page = await tab(visitor)
    other = await visit(board, storage_state=await visitor.context.storage_state())
    elsewhere = await tab(other)

    await visitor.context.set_offline(True)
    await write(page, "here")
    await expect(page.locator("#notes li")).to_have_text(["here…"])
    await write(elsewhere, "there")
    await shows(elsewhere, "there")
    await visitor.context.set_offline(False)
    for each in (page, elsewhere):
        await shows(each, "there", "here")

    devtools = await visitor.context.new_cdp_session(page)
    await devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    await write(elsewhere, "meanwhile")
    await shows(elsewhere, "there", "here", "meanwhile")
    await devtools.send("Page.setWebLifecycleState", {"state": "active"})
    await shows(page, "there", "here", "meanwhile")
    assert visitor.unexpected(OFFLINE, SERVER_IS_AWAY) == []


@pytest.mark.row("F-C60", "F-C74")
async def test_the_server_is_killed_and_comes_back(pages: Path, tmp_path: Path, visit: Visit) -> None:
    """Proves that the page keeps what it shows, says how it stands, and then has every note exactly once."""
    mortal = Board(f"sqlite:///{tmp_path}/board.db", pages)
    await mortal.open()
    visitor = await visit(mortal)
    first, second = await tab(visitor), await tab(visitor)
    await write(first, "before")
    for page in (first, second):
        await shows(page, "before")
    await mortal.kill()
    await expect(second.locator("#connection")).not_to_have_text("open")
    await write(first, "meanwhile")
    await expect(first.locator("#notes li")).to_have_text(["before", "meanwhile…"])
    await expect(second.locator("#notes li")).to_have_text(["before"])
    await mortal.open()
    for page in (first, second):
        await shows(page, "before", "meanwhile")
    await second.reload()
    await shows(second, "before", "meanwhile")
    await mortal.kill()
    assert visitor.unexpected(SERVER_IS_AWAY) == []
