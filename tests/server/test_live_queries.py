"""What a live connection shows: one instant after another, and nothing beside."""

import json

import httpx
import pytest

from sojourn import limits
from sojourn.kernel import Store
from sojourn.server import App
from sojourn.sessions import SessionId, Sessions
from sojourn.testing import ManualClock

from .conftest import Browse, call
from .live import change, connected, make_app, make_functions, opened, query, ticket


@pytest.fixture
def url() -> str:
    return "memory:"  # the kernel's tests watch on every engine


@pytest.fixture
def app(store: Store) -> App:
    return make_app(Sessions(store))


@pytest.fixture
async def page(browse: Browse, app: App) -> httpx.AsyncClient:
    client = await browse(app)
    await client.post("/session", json={})
    return client


@pytest.mark.row("F-C69", "F-L2")
async def test_one_commit_reaches_two_queries_in_one_transition(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "total"), query(2, "is_odd"))
        assert await line.shown() == {1: 0, 2: False}
        await change(page, "add", by=3)
        assert await line.shown() == {1: 3, 2: True}


@pytest.mark.row("F-C68", "F-L7")
async def test_an_equal_result_is_not_sent_again(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "is_odd"))
        assert await line.shown() == {1: False}
        await change(page, "add", by=2)
        line.say({"type": "sync", "id": 7})
        assert await line.hear() | {"version": 0} == {
            "type": "transition",
            "version": 0,
            "updates": [],
            "synced": [7],
            "more": False,
        }


@pytest.mark.row("F-L4")
async def test_a_sync_is_answered_when_what_was_committed_before_is_shown(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "total"))
        await line.shown()
        await change(page, "add")
        line.say({"type": "sync", "id": 1})
        updates, synced = [], list[int]()
        while not synced:
            message = await line.hear()
            updates += message["updates"]
            synced += message["synced"]
        assert (updates, synced) == ([{"id": 1, "result": 1}], [1])


@pytest.mark.row("F-L11")
async def test_what_is_watched_no_more_is_not_told_of(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "total"), query(2, "shown"))
        await line.shown()
        line.watch(query(2, "shown", place="there"), remove=(1, 2, 99))
        assert await line.shown() == {2: 0}
        await change(page, "add")
        await change(page, "show", count=5)
        await change(page, "show", count=6, place="there")
        assert await line.shown() == {2: 6}


@pytest.mark.row("F-L3")
async def test_versions_grow_over_connections_too(app: App, page: httpx.AsyncClient, clock: ManualClock) -> None:
    versions = list[int]()
    for count in (1, 2, 3):
        async with connected(app, page, seen=versions[-1] if versions else None) as line:
            line.watch(query(1, "shown"))
            versions.append((await line.hear())["version"])
            await change(page, "show", count=count)
            versions.append((await line.hear())["version"])
        clock.advance(limits.LIVE_BEHIND / 1_000)
    assert versions == sorted(set(versions))


@pytest.mark.row("F-C73", "F-C80", "F-L9")
async def test_an_error_is_a_state_and_tells_no_more_than_a_call_would(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        await change(page, "show", count=-1)
        line.watch(query(1, "risky"))
        (update,) = (await line.hear())["updates"]
        assert (update["error"]["code"], update["error"]["data"]) == ("application", {"found": -1})
        await change(page, "show", count=-2)
        (update,) = (await line.hear())["updates"]
        assert update["error"]["data"] == {"found": -2}, "the same sentence, and yet another error"
        await change(page, "show", count=13)
        (update,) = (await line.hear())["updates"]
        assert update["error"]["code"] == "internal"
        assert update["error"]["report"]
        assert "hunter2" not in json.dumps(update)
        await change(page, "show", count=1)
        assert await line.shown() == {1: 1}


async def test_a_fault_is_logged_once_however_many_are_told(
    app: App, page: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(app, page) as line, connected(app, page) as other:
        await change(page, "show", count=13)
        told = list[str]()
        for each in (line, other):
            each.watch(query(1, "risky"))
            told.append((await each.hear())["updates"][0]["error"]["report"])
        assert told[0] == told[1]
        assert [record.name for record in caplog.records].count("sojourn.server.reports") == 1


@pytest.mark.row("F-C79")
async def test_what_cannot_be_watched_says_why_in_its_own_place(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(
            query(0, "shown"), query(1, "secret"), query(2, "nowhere"), query(3, "add"), query(4, "total", many=True)
        )
        assert await line.shown() == {0: 0} | dict.fromkeys((1, 2, 3), "function_unknown") | {4: "invalid"}
        line.watch(query(5, "secret"), query(6, "secrex"))
        first, second = (update["error"] for update in (await line.hear())["updates"])
        assert first["message"].replace("secret", "") == second["message"].replace("secrex", "")


async def test_without_a_session_only_what_needs_none_can_be_watched(app: App, browse: Browse) -> None:
    stranger = await browse(app)
    async with connected(app, stranger) as line:
        line.watch(query(1, "shown"), query(2, "total"))
        assert await line.shown() == {1: 0, 2: "session_invalid"}
        await change(stranger, "show", count=2)
        assert await line.shown() == {1: 2}


@pytest.mark.row("F-C78", "F-L10")
async def test_each_session_is_shown_its_own(app: App, browse: Browse, page: httpx.AsyncClient) -> None:
    other = await browse(app)
    await other.post("/session", json={})
    async with connected(app, page) as line, connected(app, other) as others:
        for each in (line, others):
            each.watch(query(1, "total"))
            assert await each.shown() == {1: 0}
        await change(page, "add", by=5)
        await change(other, "add", by=7)
        assert (await line.shown(), await others.shown()) == ({1: 5}, {1: 7})


async def test_an_operator_may_watch_what_is_internal(store: Store, browse: Browse) -> None:
    app = make_app(Sessions(store), admin=lambda asker: asker.headers.get("x-badge") == "1")
    operator = await browse(app)
    operator.headers["x-badge"] = "1"
    await operator.post("/session", json={})
    async with connected(app, operator) as line:
        line.watch(query(1, "secret"))
        assert await line.shown() == {1: 0}


async def test_a_query_without_end_is_given_up(app: App, page: httpx.AsyncClient, clock: ManualClock) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "endless"))
        for _ in range(int(limits.LIVE_EVALUATION.total_seconds()) + 1):
            await clock.until_sleeping(2)  # the beat, and what bounds the evaluation
            clock.advance(limits.LIVE_EVALUATION / 10)
            if not line.events.empty():
                break
        assert await line.shown() == {1: "call_timeout"}
        line.watch(query(2, "shown"))
        assert await line.shown() == {2: 0}


async def test_a_large_transition_comes_in_parts_and_a_result_too_large_is_an_error(
    app: App, page: httpx.AsyncClient
) -> None:
    size = limits.RESULT_BYTES - 100
    async with connected(app, page) as line:
        line.watch(*(query(number, "letters", size=size + number) for number in range(3)), query(3, "shown"))
        parts = [await line.hear() for _ in range(3)]
        assert [(part["more"], [one["id"] for one in part["updates"]]) for part in parts] == [
            (True, [0]),
            (True, [1]),
            (False, [2, 3]),
        ]
        assert len({part["version"] for part in parts}) == 1
        line.watch(query(9, "letters", size=10 * limits.RESULT_BYTES))
        assert await line.shown() == {9: "limit"}


@pytest.mark.row("F-C76")
async def test_a_server_that_is_far_behind_refuses(app: App, page: httpx.AsyncClient, clock: ManualClock) -> None:
    async with opened(app) as line:
        seen = (clock.now() + 60_000) * 1_000
        line.say({"type": "connect", "protocol": 1, "ticket": await ticket(page), "seen": seen})
        await line.events.get()
        assert await line.ended() == ("unavailable", 1013)


@pytest.mark.row("P-R14", "P-R7")
async def test_a_sign_in_ends_the_connection_and_the_next_shows_the_same_session(store: Store, browse: Browse) -> None:
    sessions = Sessions(store)
    app = make_app(sessions)
    page = await browse(app)
    await page.post("/session", json={})
    async with connected(app, page) as line:
        line.watch(query(1, "whoever"), query(2, "total"))
        assert await line.shown() == {1: None, 2: 0}
        await change(page, "add")
        assert await line.shown() == {2: 1}
        issued = await sessions.rotate(page.cookies["sojourn"], subject="ada")
        assert await line.ended() == ("session_invalid", 4401)
    page.cookies.clear()
    page.cookies.set("sojourn", issued.token)
    async with connected(app, page) as line:
        line.watch(query(1, "whoever"), query(2, "total"))
        assert await line.shown() == {1: "ada", 2: 1}


@pytest.mark.row("P-R14")
async def test_what_is_read_by_other_verbs_of_the_session_is_live_too(store: Store, browse: Browse) -> None:
    sessions = Sessions(store)
    functions = make_functions(sessions)

    @functions.query
    async def devices(ctx: object, session_id: SessionId) -> int:
        return len([session async for session in sessions.list_for("ada")])

    app = App(store, functions=functions, dev=True)
    page = await browse(app)
    await page.post("/session", json={})
    async with connected(app, page) as line:
        line.watch(query(1, "devices"))
        assert await line.shown() == {1: 0}
        issued = await sessions.issue("ada")
        assert await line.shown() == {1: 1}
        await sessions.revoke(issued.session.id)
        assert await line.shown() == {1: 0}


async def test_a_mutation_that_needs_no_session_can_be_called_without_one(app: App, browse: Browse) -> None:
    stranger = await browse(app)
    assert (await call(stranger, "mutation", "show", arguments={"count": 3})).json() == {"result": None}
    assert (await call(stranger, "query", "shown")).json() == {"result": 3}
    stranger.cookies.set("sojourn", "nonsense")
    assert (await call(stranger, "query", "shown")).json() == {"result": 3}
    assert (await call(stranger, "query", "total")).status_code == 401
