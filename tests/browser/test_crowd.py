"""Two hundred connected clients, and the server is killed among them: all are back, and nothing is lost or doubled."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

import sojourn
from sojourn import Functions, QueryCtx, SessionId, Sessions
from tests.browser.conftest import PATIENCE_MS, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZE, MARKS = 200, 4


@pytest_asyncio.fixture(loop_scope="session")
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    server = Served("tests.browser.crowd:app", "CROWD_STORE", tmp_path)
    await server.open()
    yield server
    await server.kill()


@pytest.mark.row("F-C74", "F-C70", "F-L3", "F-L4")
async def test_a_crowd_is_back_within_ten_seconds_and_nothing_is_lost_or_doubled(
    browser: Browser, served: Served
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(served.url)
    await page.evaluate(f"crowd.begin({SIZE})")
    await page.wait_for_function(f"crowd.open === {SIZE} && crowd.upToDate(0) === {SIZE}", timeout=PATIENCE_MS)
    await page.evaluate(f"crowd.work({MARKS})")
    await page.wait_for_function(f"crowd.acknowledged >= {SIZE}", timeout=PATIENCE_MS)
    await served.kill()
    await page.wait_for_function("crowd.open === 0", timeout=PATIENCE_MS)
    assert await page.evaluate("crowd.acknowledged") < SIZE * MARKS, "the server was killed too late to mean anything"
    await served.open()
    await page.wait_for_function(f"crowd.open === {SIZE}", timeout=10_000)  # the promise: ten seconds
    await page.evaluate("crowd.working")
    await page.wait_for_function(f"crowd.upToDate({MARKS}) === {SIZE}", timeout=PATIENCE_MS)
    assert await page.evaluate("crowd.troubles") == []
    await context.close()
    await served.kill()
    assert await marks_in(served.store) == [list(range(1, MARKS + 1))] * SIZE


async def marks_in(url: str) -> list[list[int]]:
    """Return what stands in the store, for each session that set a mark."""
    async with sojourn.open(url) as store:
        sessions = Sessions(store)
        functions = Functions(sessions)
        marks = functions.collection("marks", list[int], by=SessionId)

        @functions.query
        async def own(ctx: QueryCtx, session_id: SessionId) -> list[int]:
            return await ctx.db(marks).get(session_id, default=[])

        bound = functions.bind(store)
        return [found async for session in sessions.list_all() if (found := await bound.run(own, session=session))]
