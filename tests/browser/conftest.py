"""The example as a real process, and people with real browsers who visit it."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Response,
    async_playwright,
    expect,
)

from tests.browser.chromium import FLAGS, chromium

ROOT = Path(__file__).parents[2]
OPEN = re.compile(r"open at (http://\S+) \(process (\d+);")
SERVER_IS_AWAY = re.compile(r"ERR_CONNECTION_|ERR_SOCKET_|ERR_EMPTY_RESPONSE|ERR_NETWORK_IO_SUSPENDED")
REFUSED = re.compile(r"status of 422|422 http")
PATIENCE_MS = 20_000

expect.set_options(timeout=PATIENCE_MS)


class Shop:
    """The example as `make run` starts it, with its data in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.store_url = f"sqlite:///{folder}/shop.db"
        self._folder = folder
        self._port = free_port()
        self._server = 0
        self._keeper: asyncio.subprocess.Process | None = None

    async def open(self, *, is_kept: bool = True) -> None:
        """Start it, and return when it takes requests; not kept, it stays dead when it is killed."""
        self._keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.shop", "--port", str(self._port), *(() if is_kept else ("--once",))),
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SHOP_STORE": self.store_url},
            stdout=asyncio.subprocess.PIPE,
        )
        await self.opened()

    async def opened(self) -> None:
        """Return when the server has said that it takes requests, the first time or again."""
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        line = (await self._keeper.stdout.readline()).decode()
        said = OPEN.search(line)
        assert said, f"the server did not start; it said {line!r}"
        self.url, self._server = said[1], int(said[2])

    def kill_server(self) -> None:
        """Kill the server's process; its keeper starts another."""
        os.kill(self._server, signal.SIGKILL)

    async def kill(self) -> None:
        """Kill both, so that nothing starts it again."""
        assert self._keeper is not None
        self._keeper.kill()
        self.kill_server()
        await self._keeper.wait()

    async def close(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self._keeper is not None
        if self._keeper.returncode is None:
            self._keeper.terminate()
        return await self._keeper.wait()


class Served:
    """An application of ours, served by `sojourn serve` as a process that can be killed."""

    def __init__(self, application: str, variable: str, folder: Path) -> None:
        self.store = f"sqlite:///{folder}/served.db"
        self._application = application
        self._variable = variable
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Start it, and return when it takes requests."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sojourn", "serve", self._application, "--port", str(self._port)),
            cwd=ROOT,
            env={**os.environ, self._variable: self.store},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        assert self.url in line, f"the server did not start; it said {line!r}"

    async def kill(self) -> None:
        """Kill it with SIGKILL, if it lives."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Visitor:
    """A person with a browser: one set of cookies, any number of tabs. What goes wrong there is noted."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.troubles: list[str] = []
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.troubles.append(f"uncaught: {error.error}"))
        context.on("requestfailed", lambda request: self.troubles.append(f"{request.failure} {request.url}"))
        context.on("response", self._look)

    async def tab(self) -> Page:
        """Open the shop in another tab."""
        page = await self.context.new_page()
        await page.goto(self.url)
        await expect(page.locator("#goods li")).to_have_count(6)
        return page

    async def cookie(self) -> Any:
        """Return the session's cookie as the browser keeps it."""
        (cookie,) = await self.context.cookies()
        return cookie

    def unexpected(self, *expected: re.Pattern[str]) -> list[str]:
        """Return what went wrong, but for what was to be expected."""
        # A tab that is reloaded or closed gives up what it is just asking for.
        allowed = (*expected, re.compile("ERR_ABORTED"))
        return [trouble for trouble in self.troubles if not any(one.search(trouble) for one in allowed)]

    def _look(self, answer: Response) -> None:
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self.troubles.append(f"{answer.status} {answer.url}")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"{message.type}: {message.text}")


Visit = Callable[..., Awaitable[Visitor]]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


async def add(page: Page, name: str, times: int = 1) -> None:
    """Put a product into the basket by its button."""
    for _ in range(times):
        await page.get_by_role("button", name=f"Add to the basket: {name}").click()


def line(page: Page, name: str) -> Locator:
    """The count of a product in the basket."""
    return page.locator("#lines li").filter(has_text=name).locator(".count")


async def sign_in(page: Page, name: str) -> None:
    """Sign in by a name."""
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()


async def settled(page: Page, writes: int) -> None:
    """Wait until this many writes have been acknowledged, and see that the store has the same number."""
    await expect(page.locator("#acknowledged")).to_have_text(str(writes))
    await expect(page.locator("#found")).to_have_text(str(writes))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    """One shop for the tests that end as they began: each visitor has a session of its own."""
    opened = Shop(tmp_path_factory.mktemp("shop"))
    await opened.open()
    yield opened
    assert await opened.close() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def mortal_shop(tmp_path: Path) -> AsyncGenerator[Shop]:
    """A shop for one test, which may kill it."""
    opened = Shop(tmp_path)
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncGenerator[Visit]:
    """Make visitors."""
    async with AsyncExitStack() as stack:

        async def come(shop: Shop, **settings: Any) -> Visitor:
            context = await browser.new_context(**settings)
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            return Visitor(context, shop.url)

        yield come
