"""What session helpers leave open, and what is closed here: the whole way, with both kinds of sessions."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

import sojourn
from sojourn import limits
from sojourn.kernel import RankSpan, Store
from sojourn.server import App
from sojourn.sessions import Mode, Sessions
from sojourn.testing import ManualClock

from .conftest import Browse, call, error
from .live import connected, make_app, opened, query, ticket

MINTED = "7f7c5d1e8f0a4b7e9a516f2f3a1c9d10"
OTHER = "0b6c2a541f4f4f578f5cc2f5b0a7c111"


class Site(NamedTuple):
    """An application on a file, and a page of it that has a session."""

    store: Store
    file: Path
    app: App
    page: httpx.AsyncClient

    async def refresh(self) -> None:
        """Give the session a new token, or the id that is another."""
        body = {"to": OTHER} if "sojourn-session" in self.page.headers else {}
        answer = await self.page.post("/session/rotate", json=body)
        answer.raise_for_status()
        if body:
            self.page.headers["sojourn-session"] = OTHER

    @property
    def credential(self) -> str:
        """What opens the session, as the browser has it."""
        return self.page.headers.get("sojourn-session") or self.page.cookies["sojourn"]


@pytest.fixture(params=list(Mode))
async def site(
    request: pytest.FixtureRequest, tmp_path: Path, browse: Browse, clock: ManualClock
) -> AsyncIterator[Site]:
    file = tmp_path / "site.db"
    async with sojourn.open(f"sqlite:///{file}", clock=clock) as store:
        app = make_app(Sessions(store, mode=request.param), browser_storage=request.param is Mode.MINTED)
        page = await browse(app)
        if request.param is Mode.MINTED:
            page.headers["sojourn-session"] = MINTED
        else:
            await page.post("/session", json={})
        yield Site(store, file, app, page)


@pytest.fixture
def url() -> str:
    return "memory:"


@pytest.mark.row("F-G8")
async def test_no_log_record_key_or_message_shows_what_opens_a_session(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves it for calls, live queries, a refresh and failures, in the log, in the file and in what is watched."""
    caplog.set_level(logging.DEBUG)
    opening, heard = [site.credential], list[str]()
    assert (await call(site.page, "mutation", "add", arguments={"by": 2})).json() == {"result": 2}
    unused = await ticket(site.page)
    async with connected(site.app, site.page) as line:
        line.watch(query(1, "total"), query(2, "absent"))
        heard.append(str(await line.shown()))
        heard.append(repr([*site.store.live._followed]))
        await site.refresh()
        opening.append(site.credential)
        bodies: tuple[object, ...] = (
            {"kind": "mutation", "function": "add", "arguments": {"by": "x"}},
            {"kind": "no"},
            [],
        )
        for body in bodies:
            heard.append((await site.page.post("/call", json=body)).text)
    await site.page.delete("/session")
    heard.append((await call(site.page, "query", "total")).text)
    secrets = [*(one.rpartition(".")[2] for one in opening), unused]
    assert len(set(secrets)) == 3
    kept = b"".join(file.read_bytes() for file in site.file.parent.iterdir())
    assert b"session" in kept
    assert [one for one in secrets if one in caplog.text or one in str(heard) or one.encode() in kept] == []


@pytest.mark.row("F-G9")
async def test_a_session_is_never_an_argument(site: Site) -> None:
    """Proves that whoever sends it as one is refused, whatever it is called, in calls and in what is watched."""
    public = (await site.page.get("/session")).json().get("session", {}).get("id", "")
    for name in ("session", "session_id"):
        for value in (site.credential, public):
            refused = await call(site.page, "query", "total", arguments={name: value})
            assert (refused.status_code, error(refused)["code"]) == (400, "invalid")
            assert value not in refused.text or not value
    async with connected(site.app, site.page) as line:
        line.watch(query(1, "total", session_id=public))
        assert await line.shown() == {1: "invalid"}


@pytest.mark.row("F-G9")
async def test_a_ticket_is_no_session_and_a_session_is_no_ticket(site: Site) -> None:
    """Proves that what opens a connection opens nothing else, and that a connection is opened by nothing else."""
    given = await ticket(site.page)
    own = (await site.page.get("/session")).json()["session"]["id"]
    async with opened(site.app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": site.credential})
        assert (await line.events.get())["type"] == "websocket.accept"
        assert await line.ended() == ("ticket_invalid", 4401)
    site.page.cookies.clear()
    for headers in ({"cookie": f"sojourn={given}"}, {"sojourn-session": given}):
        assert own not in (await site.page.get("/session", headers=headers)).text


@pytest.mark.row("F-G4")
async def test_an_id_that_somebody_planted_is_not_taken_over(browse: Browse, store: Store) -> None:
    """Proves for sessions that the server issues that a page which begins with a planted id gets another one."""
    page, thief = [await browse(make_app(Sessions(store), browser_storage=True)) for _ in range(2)]
    planted = f"{'A' * 22}.{'B' * 43}"
    for way in ("cookie", "sojourn-session"):
        headers = {way: f"sojourn={planted}" if way == "cookie" else planted}
        page.cookies.clear()
        began = await page.post("/session", json={}, headers=headers)
        began.raise_for_status()
        assert planted not in (began.headers.get("set-cookie", "") + began.headers.get("sojourn-session", ""))
        assert began.json()["session"]["id"] != planted[:22]
        assert (await thief.get("/session", headers=headers)).status_code == 401
        assert (await call(thief, "mutation", "add", headers=headers)).status_code == 401
    assert len((await store.rank(RankSpan("session"))).records) == 2, "those of the page"


@pytest.mark.row("F-G3", "F-G10")
async def test_a_session_is_listed_expires_and_can_be_ended(site: Site, clock: ManualClock) -> None:
    """Proves the life of a session that a page began, as an operator sees it and as the page does."""
    sessions, page = site.app.sessions, site.page

    async def add() -> int:
        answer = await call(page, "mutation", "add")
        return answer.json()["result"] if answer.status_code == 200 else answer.status_code

    assert await add() == 1
    (listed,) = [session async for session in sessions.list_all()]
    assert listed.id == (await page.get("/session")).json()["session"]["id"]
    assert listed.id not in site.credential.rpartition(".")[2]
    await sessions.revoke(listed.id)
    assert [session async for session in sessions.list_all()] == []
    assert await add() == 401
    page.cookies.clear()
    if "sojourn-session" in page.headers:
        page.headers["sojourn-session"] = OTHER
    else:
        await page.post("/session", json={})
    assert await add() == 1
    clock.advance(limits.SESSION_IDLE + timedelta(minutes=2))
    assert [session async for session in sessions.list_all()] == []
    assert await add() in {1, 401}, "an id that the browser makes begins anew, with nothing"
